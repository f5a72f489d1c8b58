#include "common/math/ask.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/math/aside.h"
#include "common/math/class_weights.h"
#include "common/math/newton.h"
#include "common/math/train.h"
#include "common/math/yardstick.h"

const char *trib_tally_kind_text(enum trib_tally_kind kind)
{
    switch (kind) {
    case TRIB_TALLY_NONE: return "train";
    case TRIB_TALLY_NEWTON: return "newton";
    case TRIB_TALLY_EVALUATION: return "evaluation";
    case TRIB_TALLY_PREPARE: return "prepare";
    case TRIB_TALLY_BASELINE: return "baseline";
    case TRIB_TALLY_COUNTERS: return "counters";
    case TRIB_TALLY_CLASSES: return "classes";
    }
    return "unknown";
}

static const double one_half = 0.5;

void trib_ask_decide(struct trib_ask *ask, double threshold)
{
    const bool is_half = !isfinite(threshold) || !(threshold < one_half || threshold > one_half);
    ask->is_decided = ask->kind == TRIB_TALLY_EVALUATION && ask->model->classes == 2 && !is_half;
    ask->threshold = ask->is_decided ? threshold : 0;
}

static size_t evaluation_values(const struct trib_ask *ask)
{
    const size_t values = trib_aside_values(ask->model);
    if (ask->ranking.k == 0 || values == 0)
        return values;
    return trib_recommender_fits(ask->model) ? values + TRIB_RANKED_VALUES : 0;
}

size_t trib_ask_values(const struct trib_ask *ask)
{
    // Of anything else we do not know what a threshold means.
    if (ask->is_decided && (ask->kind != TRIB_TALLY_EVALUATION || ask->model->classes != 2))
        return 0;
    switch (ask->kind) {
    case TRIB_TALLY_NONE:
    case TRIB_TALLY_PREPARE: break;
    case TRIB_TALLY_NEWTON:
        return trib_newton_fits(ask->model) ? trib_newton_values(ask->model) : 0;
    case TRIB_TALLY_EVALUATION: return evaluation_values(ask);
    case TRIB_TALLY_BASELINE: return trib_yardstick_values(ask->model);
    case TRIB_TALLY_COUNTERS: return ask->counters ? trib_counters_values(ask->counters) : 0;
    case TRIB_TALLY_CLASSES: return trib_class_counts_values(ask->model);
    }
    return 0;
}

enum trib_tally_layout trib_ask_layout(const struct trib_ask *ask)
{
    const bool is_of_cells = ask->kind == TRIB_TALLY_EVALUATION && ask->model->classes > 0 &&
                             ask->ranking.k == 0; // what is ranked is fractions
    return is_of_cells ? TRIB_TALLY_CELLS : TRIB_TALLY_WHOLE;
}

enum {
    BATCH = 256
};

// The rows kept aside judge, those learnt from are seen.
static enum trib_err rank(const struct trib_ask *ask, const float *params,
                          const struct trib_samples *samples, const uint32_t *order, size_t learnt,
                          struct trib_tally *tally)
{
    struct trib_ranked_users *users = NULL;
    struct trib_net *net = NULL;
    struct trib_ranked_sums sums = {.users = 0};
    double values[TRIB_RANKED_VALUES];
    enum trib_err err = trib_net_create(ask->model, BATCH, &net);
    if (!err)
        err = trib_ranked_users_create(ask->model, &ask->ranking, samples->rows, &users);
    for (size_t i = 0; i < samples->rows && !err; i++)
        trib_ranked_users_add(users, samples->x + order[i] * samples->inputs, samples->y[order[i]],
                              i >= learnt);
    if (!err)
        err = trib_ranked_users_measure(users, net, params, &sums);
    trib_ranked_sums_put(&sums, values);
    for (size_t i = 0; i < TRIB_RANKED_VALUES && !err; i++)
        err = trib_tally_add(tally, tally->count - TRIB_RANKED_VALUES + i, values[i]);
    trib_ranked_users_destroy(users);
    trib_net_destroy(net);
    return err;
}

enum trib_err trib_ask_count(const struct trib_ask *ask, const float *params,
                             const struct trib_samples *samples, struct trib_tally *tally)
{
    assert(tally->count == trib_ask_values(ask));
    if (samples->rows == 0)
        return TRIB_ERR_REFUSED;
    uint32_t *order = trib_alloc_array(samples->rows, sizeof(*order));
    if (!order)
        return TRIB_ERR_NOMEM;
    const size_t learnt = trib_train_split(samples, &ask->kept, order);
    enum trib_err err = TRIB_ERR_REFUSED;
    switch (ask->kind) {
    case TRIB_TALLY_NONE:
    case TRIB_TALLY_PREPARE:
    case TRIB_TALLY_COUNTERS: break;
    case TRIB_TALLY_NEWTON:
        err = trib_newton_count(ask->model, params, samples, order, learnt, tally);
        break;
    case TRIB_TALLY_EVALUATION:
        err = trib_aside_count(ask->model,
                               &(const struct trib_aside_way){
                                   ask->is_decided ? ask->threshold : one_half, ask->is_exact},
                               params, samples, order, learnt, tally);
        if (!err && ask->ranking.k > 0)
            err = rank(ask, params, samples, order, learnt, tally);
        break;
    case TRIB_TALLY_BASELINE:
        err = trib_yardstick_count(ask->model, samples, order, learnt, tally);
        break;
    case TRIB_TALLY_CLASSES: err = trib_class_counts_add(samples, order, learnt, tally); break;
    }
    free(order);
    return err;
}
