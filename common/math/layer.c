#include "common/math/layer.h"

#include <string.h>

static const struct trib_layer_ops *const kinds[] = {
    [TRIB_LAYER_DENSE] = &trib_layer_dense,       [TRIB_LAYER_BILINEAR] = &trib_layer_bilinear,
    [TRIB_LAYER_FACTORS] = &trib_layer_factors,   [TRIB_LAYER_DROPOUT] = &trib_layer_dropout,
    [TRIB_LAYER_CONV] = &trib_layer_conv,         [TRIB_LAYER_MAXPOOL] = &trib_layer_maxpool,
    [TRIB_LAYER_ENSEMBLE] = &trib_layer_ensemble,
};

const struct trib_layer_ops *trib_layer_ops(enum trib_layer_kind kind)
{
    return kinds[kind];
}

bool trib_layer_ends_member(const struct trib_model *model, uint32_t index)
{
    if (model->member_count == 0 || index + 1 == model->layer_count)
        return false;
    const struct trib_layer *next = &model->layers[index + 1];
    return next->takes_rows || next->kind == TRIB_LAYER_ENSEMBLE;
}

bool trib_layer_find(const char *word, enum trib_layer_kind *ret_kind)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(word, kinds[i]->word) == 0) {
            *ret_kind = (enum trib_layer_kind)i;
            return true;
        }
    }
    return false;
}

void trib_transpose(const float *from, size_t rows, size_t columns, float *to)
{
    enum {
        BLOCK = 16 // rows at a time: a cache line
    };
    for (size_t first = 0; first < rows; first += BLOCK) {
        const size_t end = rows - first < BLOCK ? rows : first + BLOCK;
        for (size_t c = 0; c < columns; c++) {
            for (size_t r = first; r < end; r++)
                to[c * rows + r] = from[r * columns + c];
        }
    }
}
