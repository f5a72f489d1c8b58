#include "common/math/advice.h"

#include <stdbool.h>

static const double turnover_fast = 1;       // of a device's rows a day
static const double turnover_slow = 0.01;    // the same
static const double epoch_large = 1e10;      // flops: seconds on a small processor
static const double params_online_max = 1e6; // each few rows a step over all of them

const char *trib_advice_mode_text(enum trib_advice_mode mode)
{
    switch (mode) {
    case TRIB_ADVICE_BATCH: return "batch";
    case TRIB_ADVICE_INCREMENTAL: return "incremental";
    case TRIB_ADVICE_ONLINE: return "online";
    }
    return "unknown";
}

static const struct trib_advice advices[] = {
    [TRIB_ADVICE_BATCH] =
        {.mode = TRIB_ADVICE_BATCH,
         .stability =
             "the most stable: each version is of all rows, old and new; what is new counts "
             "with the next round only, and no more than its share",
         .bias = "none of the order in which rows came; a model it starts from is unlearnt where "
                 "rows say otherwise",
         .overhead = "every round costs a pass over all rows, also over those learnt before"},
    [TRIB_ADVICE_INCREMENTAL] =
        {.mode = TRIB_ADVICE_INCREMENTAL,
         .stability = "between the two: what is new counts at once and in full, and old rows are "
                      "only remembered by the parameters",
         .bias = "towards what was learnt first, a pretrained model included, as long as new rows "
                 "are few; away from old rows when they are many",
         .overhead = "a round costs a pass over the new rows; a watermark is kept on the device"},
    [TRIB_ADVICE_ONLINE] =
        {.mode = TRIB_ADVICE_ONLINE,
         .stability = "the least stable: the model follows the last rows, noise and all, within "
                      "minutes; a small learning_rate steadies it",
         .bias = "towards the order of the rows, and for long towards a pretrained model when the "
                 "learning_rate is small",
         .overhead = "a step for every few rows as they come, and no row is kept for it; no early "
                     "stopping on the device"},
};

struct trib_advice trib_advise(const struct trib_advice_facts *facts)
{
    const double turnover = facts->new_per_day / facts->rows;
    const double epoch_flops = 6 * facts->rows * facts->params;
    const bool is_fast = facts->drift == TRIB_DRIFT_FAST || turnover >= turnover_fast;
    const bool is_costly = turnover >= turnover_slow && epoch_flops >= epoch_large;
    struct trib_advice advice;
    if (is_fast && facts->params <= params_online_max) {
        advice = advices[TRIB_ADVICE_ONLINE];
        advice.why = facts->drift == TRIB_DRIFT_FAST
                         ? "what rows say is untrue within hours: old ones are not worth a pass"
                         : "a day brings as many rows as a device has: they need not be kept";
    } else if (is_fast) {
        advice = advices[TRIB_ADVICE_INCREMENTAL];
        advice.why = "rows change fast, but the model is too large for a step every few of them";
    } else if (facts->drift == TRIB_DRIFT_SLOW) {
        advice = advices[TRIB_ADVICE_INCREMENTAL];
        advice.why = "what rows say changes over weeks: new ones should count for more than old";
    } else if (is_costly) {
        advice = advices[TRIB_ADVICE_INCREMENTAL];
        advice.why = "rows keep coming, and a pass over all of them is long";
    } else {
        advice = advices[TRIB_ADVICE_BATCH];
        advice.why = turnover >= turnover_slow
                         ? "rows keep coming, but a pass over all of them is short"
                         : "few rows are new: all of them can be learnt from each time";
    }
    advice.epoch_flops = epoch_flops;
    return advice;
}
