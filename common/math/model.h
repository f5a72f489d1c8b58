// model.h - a model is one line of text and one flat vector of float32 parameters (docs/models.md).
//
//     spec  := input { "-" layer }                e.g. 784 - dense 200 relu - dense 10 softmax
//     input := N | CxHxW
//     layer := dense N [ACTIVATION] [local] | conv N KxK [same|valid] [ACTIVATION] [local]
//            | bilinear UxI [bias] [ACTIVATION] [local] | maxpool K | dropout P
//            | factors NxK [ACTIVATION]
//     ACTIVATION := relu | tanh | sigmoid | softmax | linear
//
// A layer with the word `local` behind it is of the device alone: its parameters are not in the
// flat vector, have no place in files and messages, and are not in the architecture's parameter
// count. Whoever trains or predicts has both parts in one vector, the common one (param_count) and
// behind it the local one (local_count).
//
// Parameters lie layer by layer: weights row-major, (out, in) or (out, in, kernel height, kernel
// width), then the bias (out); maxpool and dropout have none. A picture is flattened as (channels,
// height, width). The last
// activation fixes the loss: softmax -> cross-entropy, sigmoid -> binary cross-entropy, linear ->
// half the mean squared error.
//
// A version may also be an ensemble of such models, with the same inputs, outputs and loss:
//
//     ensemble: SPEC | SPEC ...
//
// Its layers are those of the members, one member after the other, and behind them one that mixes
// what they say (ensemble.h); its weights, one a member, are the last parameters. Nobody trains it.
#ifndef TRIB_MATH_MODEL_H
#define TRIB_MATH_MODEL_H

#include <stdbool.h>
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
    TRIB_LAYER_CONV,
    TRIB_LAYER_MAXPOOL, // no parameters
    TRIB_LAYER_BILINEAR,
    TRIB_LAYER_FACTORS,
    TRIB_LAYER_ENSEMBLE, // the last one of an ensemble, and only there
};

enum {
    TRIB_LAYER_TENSORS_MAX = 3,
    TRIB_LAYER_LOCALS_MAX = 3,
    TRIB_LAYER_DIMENSIONS_MAX = 4,
};

// What the numbers of a row are between two layers: C x H x W, row-major, or just C of them.
// Between two layers that work on pictures they lie as H x W x C.
struct trib_shape {
    bool is_picture;       // false: height = width = 1
    bool is_channels_last; // H x W x C
    uint32_t channels;
    uint32_t height;
    uint32_t width;
};

// A named part of a layer's parameters.
struct trib_layer_tensor {
    const char *name; // "weight", "bias": static
    size_t offset;    // in the flat parameters, of both parts
    size_t count;     // the product of the shape
    uint32_t shape[TRIB_LAYER_DIMENSIONS_MAX];
    uint32_t dimensions;
};

struct trib_layer {
    enum trib_layer_kind kind;
    struct trib_shape in;
    struct trib_shape out;
    uint32_t inputs;                 // numbers in a row of `in`
    uint32_t outputs;                // and of `out`
    enum trib_activation activation; // linear where the kind has none
    double drop;                     // dropout: share of the inputs set to 0 while training, (0, 1)
    uint32_t kernel_height;          // conv, and maxpool, where both are the stride too
    uint32_t kernel_width;
    bool takes_rows; // begins a member of an ensemble: it gets the rows, not what is before it
    bool is_same;    // conv: outputs as high and wide as the picture, with zeros around it

    uint32_t users, items; // bilinear: how long its two vectors are
    uint32_t factors;      // factors: of each of its `items`
    bool has_bias;         // bilinear

    // Of layers with parameters. The first tensor is the weight, in flat order.
    struct trib_layer_tensor tensors[TRIB_LAYER_TENSORS_MAX];
    uint32_t tensor_count;                                  // 0: nothing to learn together
    struct trib_layer_tensor locals[TRIB_LAYER_LOCALS_MAX]; // of the local part
    uint32_t local_count;
    size_t weight;   // offset of the weights in the parameters
    size_t bias;     // offset of the bias
    double fan_in;   // inputs that one output adds up
    double fan_out;  // outputs that one input adds to
    double products; // multiplications of a forward pass, per row
};

struct trib_model {
    char spec[TRIB_SPEC_MAX + 1]; // canonical: single blanks, every activation written
    struct trib_shape shape;      // of the input
    uint32_t inputs;
    uint32_t outputs;
    uint32_t layer_count;
    struct trib_layer layers[TRIB_LAYERS_MAX];
    size_t param_count;
    size_t local_count;    // parameters of the local part; most models have none
    uint32_t member_count; // of an ensemble; 0: it is none
    uint32_t items;        // above 0: the input is the number of an item, 0 .. items-1
    enum trib_loss loss;
    uint32_t classes;                      // labels are 0 .. classes-1; 0: regression
    uint8_t arch_digest[TRIB_DIGEST_SIZE]; // BLAKE2b-256 of the canonical text
};

// TRIB_ERR_INVAL with a text for people in `why` (at most `why_size` bytes with the NUL).
TRIB_CHECKED enum trib_err trib_model_parse(const char *text, struct trib_model *ret_model,
                                            char *why, size_t why_size);

// The same of whatever a version may be: a model that is trained, or an ensemble. Texts that begin
// with "ensemble" are refused by trib_model_parse. Members have no local part and are no
// recommenders with users of their own (factors).
TRIB_CHECKED enum trib_err trib_model_parse_version(const char *text, struct trib_model *ret_model,
                                                    char *why, size_t why_size);

// The canonical text of an ensemble of `count` models, at least 1. TRIB_ERR_INVAL: it is too long, said in `why`.
TRIB_CHECKED enum trib_err trib_model_ensemble_spec(const struct trib_model *const *members,
                                                    size_t count,
                                                    char ret_spec[static TRIB_SPEC_MAX + 1],
                                                    char *why, size_t why_size);

// Are the parameters of a version such that it says something? Of an ensemble the weights are to be
// at least 0 and to add up to 1. TRIB_ERR_DATA with a text in `why`.
TRIB_CHECKED enum trib_err trib_model_check_params(const struct trib_model *model,
                                                   const float *params, char *why, size_t why_size);

// Initial parameters: weights uniform in +-sqrt(6/(in+out)) (Glorot & Bengio 2010, eq. 16), or
// +-sqrt(6/in) before relu (He et al. 2015, eq. 10 with a uniform law), in and out the layer's
// fans; bias 0. The same seed gives the same bytes on every machine.
void trib_model_init(const struct trib_model *model, uint64_t seed, float *ret_params);

// Floats of both parts.
size_t trib_model_total(const struct trib_model *model);

// The local part (local_count) of a device that has none yet: drawn like the rest, for the device
// of this name.
void trib_model_init_local(const struct trib_model *model, uint64_t seed, const char *device,
                           float *ret_local);

// BLAKE2b-256 of canonical spec, 0x00, parameters as little-endian float32.
void trib_model_digest(const struct trib_model *model, const float *params,
                       uint8_t ret_digest[static TRIB_DIGEST_SIZE]);

#endif // TRIB_MATH_MODEL_H
