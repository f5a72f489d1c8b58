// The step that takes features away: drop.
#include "common/data/prepare_step.h"

static enum trib_err settle_drop(const struct trib_prepare_parser *p,
                                 struct trib_prepare_step *step)
{
    for (size_t i = 0; i < step->input_count; i++)
        trib_prepare_remove(p->prepare, step->inputs[i]);
    return TRIB_OK;
}

// Nobody asks for the values any more.
static bool apply_drop(const struct trib_prepare_step *step, void *state,
                       struct trib_prepare_row *row)
{
    (void)state;
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_drop = {
    .name = "drop",
    .wants_columns = true,
    .may_use_category = true,
    .may_use_number = true,
    .settle = settle_drop,
    .apply = apply_drop,
};
