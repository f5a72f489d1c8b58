// interact: products of pairs of numbers, behind all other features.
#include <math.h>

#include "common/data/prepare_step.h"

static const struct trib_prepare_key keys[] = {
    TRIB_PREPARE_KEY("squares", TRIB_PREPARE_BOOL, squares, "no", 0, 0, NULL),
};

static double product(double a, double b)
{
    const double value = a * b;
    return isnan(value) ? 0 : value; // 0 times an end that is not known
}

// The ends of a product are among the products of the ends.
static void find_range(const struct trib_variable *a, const struct trib_variable *b,
                       struct trib_variable *ret)
{
    const double corners[] = {product(a->min, b->min), product(a->min, b->max),
                              product(a->max, b->min), product(a->max, b->max)};
    ret->min = fmin(fmin(corners[0], corners[1]), fmin(corners[2], corners[3]));
    ret->max = fmax(fmax(corners[0], corners[1]), fmax(corners[2], corners[3]));
}

static enum trib_err settle(const struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    if (step->input_count < 2 && !step->options.squares)
        return trib_prepare_wrong(p, "interact wants two columns or more");
    for (size_t i = 0; i < step->input_count; i++) {
        for (size_t k = i + !step->options.squares; k < step->input_count; k++) {
            struct trib_variable v = {.column = SIZE_MAX};
            find_range(&step->was[i], &step->was[k], &v);
            enum trib_err err = trib_prepare_add(p->prepare, &v, SIZE_MAX, "%s * %s",
                                                 step->was[i].name, step->was[k].name);
            if (err)
                return err;
        }
    }
    return TRIB_OK;
}

static bool apply(const struct trib_prepare_step *step, void *state, struct trib_prepare_row *row)
{
    (void)state;
    double *output = row->values + step->first_output;
    for (size_t i = 0; i < step->input_count; i++) {
        for (size_t k = i + !step->options.squares; k < step->input_count; k++)
            *output++ = row->values[step->inputs[i]] * row->values[step->inputs[k]];
    }
    row->tally->values += step->output_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_interact = {
    .name = "interact",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle,
    .apply = apply,
};
