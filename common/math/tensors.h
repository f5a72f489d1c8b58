// tensors.h - what a file of named arrays holds, and the parameters of a model out of it.
//
// Both container formats (safetensors.h, npz.h) read into this list and are written from a model
// with its texts, so that a model goes from one to the other and back without a bit changed.
#ifndef TRIB_MATH_TENSORS_H
#define TRIB_MATH_TENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/math/model.h"
#include "tributary/err.h"

enum {
    TRIB_TENSORS_MAX = 4 * TRIB_LAYERS_MAX,
    TRIB_TENSOR_TEXTS_MAX = 32,
    TRIB_TENSOR_NAME_MAX = 127,
    TRIB_TENSOR_TEXT_NAME_MAX = 100, // "metadata/NAME.npy" is the name of an entry too
    TRIB_TENSOR_DIMENSIONS_MAX = 4,
};

struct trib_tensor {
    char name[TRIB_TENSOR_NAME_MAX + 1]; // "0.weight"
    uint64_t shape[TRIB_TENSOR_DIMENSIONS_MAX];
    size_t dimensions;
    const uint8_t *data; // little-endian float32, row-major, unaligned, borrowed from the file
    size_t count;        // elements: the product of the shape
};

// A text that goes with the arrays: spec, version, digest, ...
struct trib_tensor_text {
    char *name; // owned
    char *value;
};

struct trib_tensors {
    struct trib_tensor tensors[TRIB_TENSORS_MAX];
    size_t count;
    struct trib_tensor_text texts[TRIB_TENSOR_TEXTS_MAX]; // in the order of the file
    size_t text_count;
};

void trib_tensors_fini(struct trib_tensors *tensors);

// Append. TRIB_ERR_DATA with a text in `why`: too many, the same name twice, too long a name.
TRIB_CHECKED enum trib_err trib_tensors_add(struct trib_tensors *tensors,
                                            const struct trib_tensor *tensor, char *why,
                                            size_t why_size);
TRIB_CHECKED enum trib_err trib_tensors_add_text(struct trib_tensors *tensors, const char *name,
                                                 const char *value, size_t size, char *why,
                                                 size_t why_size);

// A text by its name, or NULL.
const char *trib_tensors_text(const struct trib_tensors *tensors, const char *name);

// The flat parameters of `model` (param_count): layer l is the pair `N.weight` (out, in) and
// `N.bias` (out) with the l-th smallest N, so that the numbers may have gaps, as they have where
// activations are counted too. TRIB_ERR_DATA with a text in `why`: a tensor is missing, too many,
// of another shape or not finite, or the file says that it is of another architecture.
TRIB_CHECKED enum trib_err trib_tensors_params(const struct trib_tensors *tensors,
                                               const struct trib_model *model, float *ret_params,
                                               char *why, size_t why_size);

// Of a model with another architecture: `map` is a list like "0:0,1:2" of pairs OLD:NEW. The arrays
// `OLD.weight`, ... become the parameters of layer NEW of `model` (from 0); what it does not name
// stays in `params` as it is. TRIB_ERR_INVAL: not such a list, or a layer that has nothing to
// learn, or twice the same NEW; TRIB_ERR_DATA: an array is missing, of another shape or not finite.
// Text in `why`.
TRIB_CHECKED enum trib_err trib_tensors_map(const struct trib_tensors *tensors,
                                            const struct trib_model *model, const char *map,
                                            float *params, char *why, size_t why_size);

#endif // TRIB_MATH_TENSORS_H
