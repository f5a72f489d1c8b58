#include "common/math/class_weights.h"

size_t trib_class_counts_values(const struct trib_model *model)
{
    return model->classes <= TRIB_CLASS_WEIGHTS_MAX ? model->classes : 0;
}

enum trib_err trib_class_counts_add(const struct trib_samples *samples, const uint32_t *order,
                                    size_t count, struct trib_tally *tally)
{
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < count && !err; i++)
        err = trib_tally_add(tally, (size_t)samples->y[order[i]],
                             samples->weights ? (double)samples->weights[order[i]] : 1);
    return err;
}

void trib_class_weights_balance(const double *counts, size_t classes, double least,
                                float *ret_weights)
{
    size_t present = 0;
    double sum = 0;
    for (size_t c = 0; c < classes; c++) {
        const double rows = counts[c] > least ? counts[c] : least;
        present += rows > 0;
        sum += rows;
    }
    for (size_t c = 0; c < classes; c++) {
        const double rows = counts[c] > least ? counts[c] : least;
        ret_weights[c] = rows > 0 ? (float)(sum / ((double)present * rows)) : 1;
    }
}
