// model.h - a model is one line of text and one flat vector of float32 parameters (docs/models.md).
//
//     spec  := input { "-" layer }                e.g. 784 - dense 200 relu - dense 10 softmax
//     input := N | CxHxW
//     layer := dense N [relu|tanh|sigmoid|softmax|linear] | dropout P
//
// The words conv, maxpool and bilinear belong to the language, but not to this version. Parameters
// lie layer by layer: weights row-major (out, in), then the bias (out); dropout has none. The last
// activation fixes the loss: softmax -> cross-entropy, sigmoid -> binary cross-entropy, linear ->
// half the mean squared error.
#ifndef TRIB_MATH_MODEL_H
#define TRIB_MATH_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/hash.h"
#include "common/base/limits.h"
#include "tributary/err.h"

enum trib_activation {
    TRIB_ACTIVATION_LINEAR,
    TRIB_ACTIVATION_RELU,
    TRIB_ACTIVATION_TANH,
    TRIB_ACTIVATION_SIGMOID,
    TRIB_ACTIVATION_SOFTMAX,
};

enum trib_loss {
    TRIB_LOSS_HALF_MSE,
    TRIB_LOSS_BINARY_CROSS_ENTROPY,
    TRIB_LOSS_CROSS_ENTROPY,
};

enum trib_layer_kind {
    TRIB_LAYER_DENSE,
    TRIB_LAYER_DROPOUT, // outputs = inputs, no parameters
};

struct trib_layer {
    enum trib_layer_kind kind;
    uint32_t inputs;
    uint32_t outputs;
    enum trib_activation activation; // dense
    double drop;                     // dropout: share of the inputs set to 0 while training, (0, 1)
    size_t weight;                   // offset of the weights (outputs, inputs) in the parameters
    size_t bias;                     // offset of the bias (outputs)
};

struct trib_model {
    char spec[TRIB_SPEC_MAX + 1]; // canonical: single blanks, every activation written
    uint32_t inputs;
    uint32_t outputs;
    uint32_t layer_count;
    struct trib_layer layers[TRIB_LAYERS_MAX];
    size_t param_count;
    enum trib_loss loss;
    uint32_t classes;                      // labels are 0 .. classes-1; 0: regression
    uint8_t arch_digest[TRIB_DIGEST_SIZE]; // BLAKE2b-256 of the canonical text
};

// TRIB_ERR_INVAL with a text for people in `why` (at most `why_size` bytes with the NUL).
TRIB_CHECKED enum trib_err trib_model_parse(const char *text, struct trib_model *ret_model,
                                            char *why, size_t why_size);

// Initial parameters: weights uniform in +-sqrt(6/(in+out)) (Glorot & Bengio 2010, eq. 16), or
// +-sqrt(6/in) before relu (He et al. 2015, eq. 10 with a uniform law); bias 0. The same seed gives
// the same bytes on every machine.
void trib_model_init(const struct trib_model *model, uint64_t seed, float *ret_params);

// BLAKE2b-256 of canonical spec, 0x00, parameters as little-endian float32.
void trib_model_digest(const struct trib_model *model, const float *params,
                       uint8_t ret_digest[static TRIB_DIGEST_SIZE]);

#endif // TRIB_MATH_MODEL_H
