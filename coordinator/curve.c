#include "coordinator/curve.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/aside.h"

enum {
    POINTS_MIN = 4,
    STALE_MIN = 3, // evaluations above the least loss
};
static const double rise_share = 0.1;
static const double gain_share = 0.05;
static const double skill_min = 0.1;

const char *trib_curve_text(enum trib_curve_shape shape)
{
    switch (shape) {
    case TRIB_CURVE_TOO_SHORT: return "too_short";
    case TRIB_CURVE_OVERFITTING: return "overfitting";
    case TRIB_CURVE_IMPROVING: return "improving";
    case TRIB_CURVE_UNDERFITTING: return "underfitting";
    case TRIB_CURVE_FINE: return "fine";
    }
    return "unknown";
}

const char *trib_curve_advice(enum trib_curve_shape shape)
{
    switch (shape) {
    case TRIB_CURVE_TOO_SHORT: return "Fewer than 4 evaluated rounds say nothing: play more.";
    case TRIB_CURVE_OVERFITTING:
        return "It learns rows by heart: fewer local_epochs, weight_decay or dropout, a smaller "
               "model, more devices, or stop_patience with keep = best.";
    case TRIB_CURVE_IMPROVING:
        return "It was still getting better when it ended: more rounds, or a higher learning_rate.";
    case TRIB_CURVE_UNDERFITTING:
        return "It is hardly better than a constant and has stopped learning: another "
               "learning_rate, a larger model, better features, or less noise.";
    case TRIB_CURVE_FINE: return "It has learnt what it can from these rows.";
    }
    return "";
}

void trib_curve_init(struct trib_curve *curve)
{
    const double none = (double)NAN;
    *curve = (struct trib_curve){.baseline_loss = none, .train = none, .validation = none};
}

void trib_curve_fini(struct trib_curve *curve)
{
    free(curve->losses);
    curve->losses = NULL;
    curve->count = curve->capacity = 0;
}

static enum trib_err add(struct trib_curve *curve, double loss)
{
    if (curve->count == curve->capacity) {
        const size_t capacity = curve->capacity ? 2 * curve->capacity : 64;
        double *losses = trib_alloc_array(capacity, sizeof(*losses));
        if (!losses)
            return TRIB_ERR_NOMEM;
        if (curve->count > 0)
            memcpy(losses, curve->losses, curve->count * sizeof(*losses));
        free(curve->losses);
        curve->losses = losses;
        curve->capacity = capacity;
    }
    curve->losses[curve->count++] = loss;
    return TRIB_OK;
}

enum trib_err trib_curve_observe(struct trib_curve *curve, const struct trib_round_result *result)
{
    if (strcmp(result->kind, TRIB_RESULT_EVALUATION) == 0 && result->tally[0]) {
        curve->train = trib_result_member(result->tally, "gap", "train");
        curve->validation = trib_result_member(result->tally, "gap", "validation");
        return TRIB_OK;
    }
    if (!result->metrics[0] || !isfinite(result->loss))
        return TRIB_OK;
    curve->baseline_loss = trib_result_member(result->metrics, "baseline", "loss");
    return add(curve, result->loss);
}

static double least(const double *losses, size_t count, size_t *ret_at)
{
    *ret_at = 0;
    for (size_t i = 1; i < count; i++) {
        if (losses[i] < losses[*ret_at])
            *ret_at = i;
    }
    return losses[*ret_at];
}

enum trib_curve_shape trib_curve_judge(const struct trib_curve *curve)
{
    const size_t count = curve->count;
    size_t best, unused;
    if (count < POINTS_MIN)
        return TRIB_CURVE_TOO_SHORT;
    const double last = curve->losses[count - 1];
    const double lowest = least(curve->losses, count, &best);
    const double gained = curve->losses[0] - lowest;
    const bool rises = count - 1 - best >= STALE_MIN && last - lowest > rise_share * gained;
    if (curve->train - curve->validation > TRIB_ASIDE_GAP || rises) // never with NaN
        return TRIB_CURVE_OVERFITTING;
    const double before = least(curve->losses, count - count / 4, &unused);
    if (before - lowest > gain_share * gained)
        return TRIB_CURVE_IMPROVING;
    if (1 - lowest / curve->baseline_loss < skill_min)
        return TRIB_CURVE_UNDERFITTING;
    return TRIB_CURVE_FINE;
}
