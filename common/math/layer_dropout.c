// dropout P: no parameters.
//
// Inverted dropout (Srivastava et al. 2014, section 10): a value stays with probability 1 - P and
// is then divided by it, so that evaluation needs no factor.

#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/math/layer.h"

// The share is written with the fewest digits that say it: one canonical text for one model.
static enum trib_err parse(struct trib_spec *spec, struct trib_layer *layer)
{
    char word[TRIB_SPEC_WORD_SIZE], text[TRIB_REAL_TEXT_SIZE];
    char *end;
    trib_spec_take(spec, word);
    layer->drop = strtod(word, &end);
    if (strspn(word, "0123456789.") != strlen(word) || *end || layer->drop < 1e-4 ||
        layer->drop > 0.9999)
        return trib_spec_wrong_layer(spec, "dropout wants a share from 0.0001 to 0.9999, not '%s'",
                                     word);
    layer->out = layer->in;
    trib_real_text(layer->drop, text);
    return trib_spec_write(spec, " - dropout %s", text);
}

// The mask: 0 or 1 / (1 - P) for each value.
static size_t space_count(const struct trib_layer *layer, size_t rows)
{
    return rows * layer->outputs;
}

// Two values from each draw of 64 bits.
static void draw_mask(float *mask, size_t count, double drop, struct trib_rng *rng)
{
    const uint64_t limit = (uint64_t)(drop * 0x1p32);
    const float kept = (float)(1 / (1 - drop));
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++) {
        bits = i % 2 == 0 ? trib_rng_next(rng) : bits >> 32;
        mask[i] = (bits & UINT32_MAX) < limit ? 0 : kept;
    }
}

static void times_mask(const float *mask, const float *values, size_t count, float *ret_values)
{
    for (size_t i = 0; i < count; i++)
        ret_values[i] = mask[i] * values[i];
}

static void forward(const struct trib_layer_pass *pass)
{
    const size_t count = pass->rows * pass->layer->outputs;
    draw_mask(pass->space, count, pass->layer->drop, pass->drops);
    times_mask(pass->space, pass->x, count, pass->z);
}

static void backward(const struct trib_layer_pass *pass)
{
    if (pass->below)
        times_mask(pass->space, pass->delta, pass->rows * pass->layer->outputs, pass->below);
}

const struct trib_layer_ops trib_layer_dropout = {
    .word = "dropout",
    .is_training_only = true,
    .is_elementwise = true,
    .parse = parse,
    .space_count = space_count,
    .forward = forward,
    .backward = backward,
};
