// layer.h - what the kinds of layer can do: one table, and one file for each kind.
//
// A pass goes over a batch of rows. Forward leaves z, which the net then puts through the layer's
// activation; backward gets dLoss/dz. The same struct serves both, filled by the net.
#ifndef TRIB_MATH_LAYER_H
#define TRIB_MATH_LAYER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/rand.h"
#include "common/math/model.h"
#include "common/math/spec.h"
#include "tributary/err.h"

struct trib_layer_pass {
    const struct trib_layer *layer;
    const float *params;      // of the whole model
    const float *x;           // (rows, inputs)
    const float *const *said; // of an ensemble: by each member (rows, outputs)
    size_t rows;
    float *space; // the layer's own, as large as space_count says, 0 at first; nobody else
                  // writes it
    struct trib_rng *drops; // the stream of what dropout drops; NULL: nothing is dropped

    // Forward
    float *z; // (rows, outputs), written

    // Backward
    const float *a;     // (rows, outputs): what came of z after the activation
    const float *delta; // (rows, outputs): dLoss/dz
    float *below;       // (rows, inputs): dLoss/dx, written; NULL: nobody wants it
    // Of the whole model: only the layer's tensors are written. It becomes keep * gradient + factor
    // * dLoss/dw. Layers that do not take steps get factor 1, keep 0; to the others `gradient` may
    // be `params` themselves, when they are done with these.
    float *gradient;
    float factor, keep;
    const float *gate; // (rows, inputs): `below` is 0 where this is not positive; NULL: nowhere
};

struct trib_layer_ops {
    const char *word;      // in the language
    bool is_for_last;      // may it end a model?
    bool is_training_only; // without `drops` it passes on what it gets, and is not called
    bool is_for_pictures;  // works with the channels last, and keeps a picture a picture
    bool is_elementwise;   // takes its numbers as they lie
    bool takes_steps;      // backward heeds factor and keep
    bool fuses_relu;       // forward applies a relu of the layer itself, backward heeds gate

    // The words behind the first, up to the next dash: they go to the canonical text, and what they
    // say to `layer`, whose `in` and `inputs` are set. Sets `out`, and adds the tensors.
    enum trib_err (*parse)(struct trib_spec *spec, struct trib_layer *layer);

    // Floats of `space` for batches of up to `rows`; NULL: none.
    size_t (*space_count)(const struct trib_layer *layer, size_t rows);

    void (*forward)(const struct trib_layer_pass *pass);
    void (*backward)(const struct trib_layer_pass *pass);
};

const struct trib_layer_ops *trib_layer_ops(enum trib_layer_kind kind);

// Is this the last layer of a member of an ensemble?
bool trib_layer_ends_member(const struct trib_model *model, uint32_t index);

// By the word of the language.
bool trib_layer_find(const char *word, enum trib_layer_kind *ret_kind);

// to (columns, rows) = from (rows, columns), for pictures that lie the other way round.
void trib_transpose(const float *from, size_t rows, size_t columns, float *to);

extern const struct trib_layer_ops trib_layer_bilinear;
extern const struct trib_layer_ops trib_layer_conv;
extern const struct trib_layer_ops trib_layer_dense;
extern const struct trib_layer_ops trib_layer_dropout;
extern const struct trib_layer_ops trib_layer_ensemble;
extern const struct trib_layer_ops trib_layer_factors;
extern const struct trib_layer_ops trib_layer_maxpool;

#endif // TRIB_MATH_LAYER_H
