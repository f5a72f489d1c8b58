#include "coordinator/ctl/advise.h"

#include <math.h>
#include <string.h>

#include "common/math/advice.h"
#include "tributary/err.h"

static double fact(double given, const struct trib_admin_reply *measured, const char *name)
{
    if (given >= 0 || !measured || measured->row_count == 0)
        return given >= 0 ? given : (double)NAN;
    return trib_admin_find_real(&measured->rows[0], name);
}

static bool read_drift(const char *word, enum trib_advice_drift *ret_drift)
{
    static const char *const words[] = {"none", "slow", "fast"};
    *ret_drift = TRIB_DRIFT_NONE;
    for (int i = 0; word && i < 3; i++) {
        if (strcmp(word, words[i]) == 0) {
            *ret_drift = (enum trib_advice_drift)i;
            return true;
        }
    }
    return !word;
}

void trib_ctl_advise(const struct trib_advise_options *options,
                     const struct trib_admin_reply *measured, struct trib_admin_reply *reply)
{
    struct trib_advice_facts facts = {
        .rows = fact(options->rows, measured, "rows"),
        .new_per_day = fact(options->new_per_day, measured, "new_per_day"),
        .params = fact(options->params, measured, "params"),
    };
    const char *missing = !(facts.rows >= 1)          ? "--rows"
                          : !(facts.new_per_day >= 0) ? "--new-per-day"
                          : !(facts.params >= 1)      ? "--params"
                                                      : NULL;
    if (!read_drift(options->drift, &facts.drift)) {
        trib_admin_fail(reply, TRIB_EXIT_USAGE, "advise: --drift %s: want none, slow or fast",
                        options->drift);
        return;
    }
    if (missing) {
        trib_admin_fail(reply, TRIB_EXIT_USAGE,
                        "advise: %s is missing: the coordinator has not measured it (privacy hides "
                        "rows; new ones want rounds over an hour or more)",
                        missing);
        return;
    }
    const struct trib_advice advice = trib_advise(&facts);
    (void)trib_admin_row_add(reply);
    trib_admin_text(reply, "mode", trib_advice_mode_text(advice.mode));
    trib_admin_text(reply, "why", advice.why);
    trib_admin_real(reply, "rows", facts.rows);
    trib_admin_real(reply, "new_per_day", facts.new_per_day);
    trib_admin_real(reply, "params", facts.params);
    trib_admin_real(reply, "epoch_flops", advice.epoch_flops);
    trib_admin_text(reply, "stability", advice.stability);
    trib_admin_text(reply, "bias", advice.bias);
    trib_admin_text(reply, "overhead", advice.overhead);
}
