// Layers by number: which ones a list names, and what of the parameters is theirs.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/train.h"

enum trib_err trib_train_layers_parse(const char *text, const struct trib_model *model,
                                      uint64_t *ret_layers, char *why, size_t why_size)
{
    _Static_assert(TRIB_LAYERS_MAX <= 64, "a bit for each layer");
    uint64_t layers = 0;
    while (text[strspn(text, " ,")]) {
        char *end;
        text += strspn(text, " ,");
        const unsigned long number = strtoul(text, &end, 10);
        if (*text < '0' || *text > '9' || !strchr(" ,", *end)) {
            (void)snprintf(why, why_size, "wants numbers of layers like 0,1, not '%s'", text);
            return TRIB_ERR_INVAL;
        }
        if (number >= model->layer_count) {
            (void)snprintf(why, why_size, "names layer %lu; the model has 0 to %u", number,
                           model->layer_count - 1);
            return TRIB_ERR_INVAL;
        }
        if (model->layers[number].tensor_count == 0) {
            (void)snprintf(why, why_size, "names layer %lu, which has nothing to learn", number);
            return TRIB_ERR_INVAL;
        }
        layers |= UINT64_C(1) << number;
        text = end;
    }
    *ret_layers = layers;
    return TRIB_OK;
}

void trib_train_clear_layers(const struct trib_model *model, uint64_t layers, float *values)
{
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        for (uint32_t t = 0; t < layer->tensor_count && layers >> l & 1; t++)
            memset(values + layer->tensors[t].offset, 0, layer->tensors[t].count * sizeof(*values));
    }
}
