// npz.h - NumPy's container: a zip file of .npy arrays (NumPy Enhancement Proposal 1).
//
// What is written is what numpy.load reads: entries are stored, not packed, in the order of the
// flat parameter vector, each an array of little-endian float32 (npy version 1.0) named as in our
// safetensors files. The texts of the model file are arrays too: `metadata/spec` and so on, each a
// single byte string ('|S').
//
// Read is any npz of numpy.savez with float32 arrays in C order.
#ifndef TRIB_MATH_NPZ_H
#define TRIB_MATH_NPZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/math/safetensors.h"
#include "common/math/tensors.h"
#include "tributary/err.h"

// Append a whole file. TRIB_ERR_NOMEM is in buf->failed.
void trib_npz_write(const struct trib_model *model, const float *params,
                    const struct trib_safetensors_text *texts, size_t text_count,
                    struct trib_buf *buf);

// Does a file begin like a zip file?
bool trib_npz_is(const uint8_t *data, size_t size);

// The arrays of a file, borrowed from `data`. `ret_tensors` is to be empty; the caller ends it with
// trib_tensors_fini, also after an error. TRIB_ERR_DATA with a text in `why`.
TRIB_CHECKED enum trib_err trib_npz_read(const uint8_t *data, size_t size,
                                         struct trib_tensors *ret_tensors, char *why,
                                         size_t why_size);

#endif // TRIB_MATH_NPZ_H
