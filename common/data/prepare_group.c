// Steps for groups of features, each of which describes one side of a thing: group and fuse.
#include <math.h>
#include <string.h>

#include "common/data/prepare_step.h"

// A range times a factor.
static struct trib_variable scaled(const struct trib_variable *v, double factor)
{
    const double a = v->min * factor, b = v->max * factor; // NaN: 0 times an end that is not known
    return (struct trib_variable){.column = SIZE_MAX,
                                  .min = factor == 0 ? 0 : fmin(a, b),
                                  .max = factor == 0 ? 0 : fmax(a, b)};
}

// ---- group: features get the name of their group, and are multiplied by its weight

static const struct trib_prepare_key group_keys[] = {
    TRIB_PREPARE_KEY("name", TRIB_PREPARE_TEXT, text, "", 0, 0, NULL),
    TRIB_PREPARE_KEY("weight", TRIB_PREPARE_REAL, weight, "1", -1e6, 1e6, NULL),
    TRIB_PREPARE_KEY("dims", TRIB_PREPARE_INT, dims, "0", 0, TRIB_PREPARE_VARIABLES_MAX, NULL),
};

const struct trib_prepare_step *trib_prepare_find_group(const struct trib_prepare *prepare,
                                                        const char *name)
{
    for (size_t i = 0; i < prepare->step_count; i++) {
        const struct trib_prepare_step *step = &prepare->steps[i];
        if (step->kind == &trib_prepare_group && step->output_count > 0 &&
            strcmp(step->options.text, name) == 0)
            return step;
    }
    return NULL;
}

static enum trib_err settle_group(const struct trib_prepare_parser *p,
                                  struct trib_prepare_step *step)
{
    const struct trib_prepare_options *o = &step->options;
    if (!o->text[0])
        return trib_prepare_wrong(p, "group wants a name");
    if (trib_prepare_find_group(p->prepare, o->text))
        return trib_prepare_wrong(p, "there is a group '%s' already", o->text);
    if (o->dims > 0 && o->dims != step->input_count)
        return trib_prepare_wrong(p, "group '%s' has %zu columns, not the %llu of dims", o->text,
                                  step->input_count, (unsigned long long)o->dims);
    for (size_t i = 0; i < step->input_count; i++) {
        const struct trib_variable v = scaled(&step->was[i], o->weight);
        enum trib_err err =
            trib_prepare_add(p->prepare, &v, step->inputs[i], "%s %s", o->text, step->was[i].name);
        if (err)
            return err;
    }
    for (size_t i = 0; i < step->input_count; i++)
        trib_prepare_remove(p->prepare, step->inputs[i]);
    return TRIB_OK;
}

static bool apply_group(const struct trib_prepare_step *step, void *state,
                        struct trib_prepare_row *row)
{
    (void)state;
    for (size_t i = 0; i < step->input_count; i++)
        row->values[step->first_output + i] = row->values[step->inputs[i]] * step->options.weight;
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_group = {
    .name = "group",
    .keys = group_keys,
    .key_count = sizeof(group_keys) / sizeof(group_keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_group,
    .apply = apply_group,
};

// ---- fuse: groups of equal dimension become one, dimension by dimension

enum {
    BY_SUM,
    BY_MEAN, // over the sum of the groups' weights, so that weights say shares
};

static const struct trib_prepare_key fuse_keys[] = {
    TRIB_PREPARE_KEY("name", TRIB_PREPARE_TEXT, text, "", 0, 0, NULL),
    TRIB_PREPARE_KEY("by", TRIB_PREPARE_CHOICE, by, "sum", 0, 0, "sum|mean"),
};

// The group that made a variable; NULL: none did.
static const struct trib_prepare_step *group_of(const struct trib_prepare *prepare, size_t variable)
{
    for (size_t i = 0; i < prepare->step_count; i++) {
        const struct trib_prepare_step *step = &prepare->steps[i];
        if (step->kind == &trib_prepare_group && variable >= step->first_output &&
            variable < step->first_output + step->output_count)
            return step;
    }
    return NULL;
}

// Are the inputs whole groups, one behind the other, all of one dimension? Which, and what their
// weights add up to.
static enum trib_err check_groups(const struct trib_prepare_parser *p,
                                  const struct trib_prepare_step *step, size_t *ret_dims,
                                  double *ret_weights)
{
    const struct trib_prepare *prepare = p->prepare;
    size_t dims = 0, groups = 0;
    *ret_dims = 0;
    *ret_weights = 0;
    for (size_t i = 0; i < step->input_count; i += dims) {
        const struct trib_prepare_step *group = group_of(prepare, step->inputs[i]);
        if (!group)
            return trib_prepare_wrong(p, "fuse wants groups: column '%s' is in none",
                                      step->was[i].name);
        if (dims > 0 && group->output_count != dims)
            return trib_prepare_wrong(p, "group '%s' has %zu columns, the groups before it %zu",
                                      group->options.text, group->output_count, dims);
        dims = group->output_count;
        *ret_weights += group->options.weight;
        groups++;
        for (size_t k = 0; k < dims; k++) {
            if (i + k >= step->input_count || step->inputs[i + k] != group->first_output + k)
                return trib_prepare_wrong(p, "fuse wants the whole of group '%s', in its order",
                                          group->options.text);
        }
    }
    if (groups < 2)
        return trib_prepare_wrong(p, "fuse wants two groups or more");
    *ret_dims = dims;
    return TRIB_OK;
}

static enum trib_err settle_fuse(const struct trib_prepare_parser *p,
                                 struct trib_prepare_step *step)
{
    struct trib_prepare_options *o = &step->options;
    size_t dims;
    double weights;
    if (!o->text[0])
        return trib_prepare_wrong(p, "fuse wants a name");
    enum trib_err err = check_groups(p, step, &dims, &weights);
    if (err)
        return err;
    if (o->by == BY_MEAN && !(fabs(weights) > 0))
        return trib_prepare_wrong(p, "the weights of the groups add up to 0");
    o->weight = o->by == BY_MEAN ? weights : 1; // what the sum is divided by; no key of this step
    for (size_t k = 0; !err && k < dims; k++) {
        struct trib_variable sum = {.column = SIZE_MAX};
        for (size_t i = k; i < step->input_count; i += dims) {
            sum.min += step->was[i].min;
            sum.max += step->was[i].max;
        }
        const struct trib_variable v = scaled(&sum, 1 / o->weight);
        err = trib_prepare_add(p->prepare, &v, SIZE_MAX, "%s %zu", step->options.text, k + 1);
    }
    for (size_t i = 0; !err && i < step->input_count; i++)
        trib_prepare_remove(p->prepare, step->inputs[i]);
    return err;
}

static bool apply_fuse(const struct trib_prepare_step *step, void *state,
                       struct trib_prepare_row *row)
{
    (void)state;
    const size_t dims = step->output_count;
    for (size_t k = 0; k < dims; k++) {
        double sum = 0;
        for (size_t i = k; i < step->input_count; i += dims)
            sum += row->values[step->inputs[i]];
        row->values[step->first_output + k] = sum / step->options.weight;
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_fuse = {
    .name = "fuse",
    .keys = fuse_keys,
    .key_count = sizeof(fuse_keys) / sizeof(fuse_keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle_fuse,
    .apply = apply_fuse,
};
