// model_file.h - models as files of other programs: read safetensors or npz, write these, ONNX or
// C.
//
//     safetensors  the model file itself           npz  NumPy's arrays (npz.h)
//     onnx         for ONNX runtimes (onnx.h)      c    one C99 file (c_export.h)
//
// Converting does not touch a bit of the parameters; a file of ours that goes from safetensors to
// npz and back is the same file, byte for byte.
#ifndef TRIB_MATH_MODEL_FILE_H
#define TRIB_MATH_MODEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/math/model.h"
#include "tributary/err.h"

enum {
    TRIB_MODEL_FILE_SIZE_MAX = TRIB_PARAMS_MAX * 4 + (4 << 20), // the parameters and their names
};

enum trib_model_format {
    TRIB_MODEL_SAFETENSORS,
    TRIB_MODEL_NPZ,
    TRIB_MODEL_ONNX,
    TRIB_MODEL_C,
};
// By its word; false if there is no such format.
bool trib_model_format_find(const char *word, enum trib_model_format *ret_format);
// "safetensors", "npz", "onnx", "c": the word, and the ending of a file's name.
const char *trib_model_format_text(enum trib_model_format format);

// Convert a whole file that says of what model it is (every file of ours does). `name` is that of
// the C function. TRIB_ERR_DATA with a text in `why`: it cannot be read or does not say it.
TRIB_CHECKED enum trib_err trib_model_file_convert(const struct trib_buf *from,
                                                   enum trib_model_format format, const char *name,
                                                   struct trib_buf *ret_file, char *why,
                                                   size_t why_size);

// The same, written to `path`; the C function is named after the file. TRIB_ERR_IO: it cannot be
// written, logged, and `why` is empty.
TRIB_CHECKED enum trib_err trib_model_file_export(const struct trib_buf *from,
                                                  enum trib_model_format format, const char *path,
                                                  char *why, size_t why_size);

// The parameters of `model` (param_count) from a safetensors or npz file at `path`. TRIB_ERR_DATA
// with a text in `why` that begins with the path: it does not fit the model.
TRIB_CHECKED enum trib_err trib_model_file_load(const char *path, const struct trib_model *model,
                                                float *ret_params, char *why, size_t why_size);

// The model that the file at `path` says it is of, and its parameters (param_count, the caller's to
// free). Errors as above.
TRIB_CHECKED enum trib_err trib_model_file_open(const char *path, struct trib_model *ret_model,
                                                float **ret_params, char *why, size_t why_size);

// As trib_model_file_load, of a file of another architecture: layers go where `map` says
// (trib_tensors_map); the other parameters stay as they are. TRIB_ERR_INVAL: the map makes no
// sense.
TRIB_CHECKED enum trib_err trib_model_file_map(const char *path, const struct trib_model *model,
                                               const char *map, float *params, char *why,
                                               size_t why_size);

// A safetensors file of the model of `spec`, made from a whole file of another architecture: layers
// go where `map` says, all else is drawn from `seed`. Its texts are spec, digest, parent (the
// digest that the first file says it has) and map. TRIB_ERR_INVAL with a text in `why`: the spec or
// the map makes no sense; TRIB_ERR_DATA: the file cannot be read, or an array does not fit.
TRIB_CHECKED enum trib_err trib_model_file_derive(const struct trib_buf *from, const char *spec,
                                                  const char *map, uint64_t seed,
                                                  struct trib_buf *ret_file, char *why,
                                                  size_t why_size);

// The digest that a model file says it has, to trace a model that was made from it; empty: none.
// TRIB_ERR_DATA with a text in `why`.
TRIB_CHECKED enum trib_err trib_model_file_digest(const char *path,
                                                  char ret_digest[static TRIB_DIGEST_TEXT_SIZE],
                                                  char *why, size_t why_size);
// The same of the digest of the model that it was made from.
TRIB_CHECKED enum trib_err trib_model_file_parent(const char *path,
                                                  char ret_digest[static TRIB_DIGEST_TEXT_SIZE],
                                                  char *why, size_t why_size);

#endif // TRIB_MATH_MODEL_FILE_H
