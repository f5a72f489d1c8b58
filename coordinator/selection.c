#include "coordinator/selection.h"

#include <assert.h>
#include <math.h>

void trib_selection_init(struct trib_selection *selection, bool higher_is_better)
{
    *selection = (struct trib_selection){.higher_is_better = higher_is_better};
}

enum trib_choice trib_selection_take(struct trib_selection *selection, uint64_t version,
                                     double value)
{
    assert(!isnan(value));
    enum trib_choice choice = TRIB_CHOICE_FIRST;
    if (selection->has_best) {
        const bool is_above = value > selection->value;
        const bool is_below = value < selection->value;
        if (!is_above && !is_below)
            return TRIB_CHOICE_EQUAL;
        if (is_above != selection->higher_is_better)
            return TRIB_CHOICE_WORSE;
        choice = TRIB_CHOICE_BETTER;
    }
    selection->has_best = true;
    selection->version = version;
    selection->value = value;
    return choice;
}

const char *trib_choice_text(enum trib_choice choice)
{
    switch (choice) {
    case TRIB_CHOICE_FIRST: return "first";
    case TRIB_CHOICE_BETTER: return "better";
    case TRIB_CHOICE_EQUAL: return "equal";
    case TRIB_CHOICE_WORSE: break;
    }
    return "worse";
}
