#include "common/privacy/secagg_plan.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/base/limits.h"

struct graph {
    uint32_t neighbours;
    uint32_t threshold;
};

// Neighbours k and threshold t of a random k-regular graph of up to `members` members, of which a
// share colludes and a share drops out. Each entry keeps two probabilities over all members small:
// that some member's colluding neighbours reach 2t - k, with whom the coordinator could open two
// answers (2^-40), and that fewer than t neighbours of some member stay (2^-20); the unit tests
// compute both. Bell, Bonawitz, Gascon, Lepoint & Raykova 2020, 3.
static const struct {
    uint32_t colluders_percent;
    uint32_t drop_percent;
    struct graph up_to_1000;
    struct graph up_to_10000;
} table[] = {
    {5, 10, {78, 52}, {96, 64}},      {10, 10, {96, 67}, {122, 85}},
    {10, 20, {194, 124}, {280, 179}}, {33, 10, {218, 171}, {310, 242}},
    {10, 30, {414, 247}, {778, 465}},
};

// The cheapest entry that covers the numbers: rows and columns are rounded up, never interpolated.
static bool choose_graph(const struct trib_secagg_plan *plan, struct graph *ret_graph)
{
    const struct graph complete = {.neighbours = 0, .threshold = plan->threshold};
    const uint64_t n = plan->members;
    bool is_found = false;
    if (n <= TRIB_SECAGG_COMPLETE_MAX) {
        *ret_graph = complete;
        return true;
    }
    if (n > TRIB_SECAGG_MEMBERS_MAX)
        return false;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct graph *graph = n <= 1000 ? &table[i].up_to_1000 : &table[i].up_to_10000;
        bool covers = plan->colluders <= (n * table[i].colluders_percent + 99) / 100 &&
                      plan->drop_max <= n * table[i].drop_percent / 100;
        if (covers && (!is_found || graph->neighbours < ret_graph->neighbours)) {
            *ret_graph = *graph;
            is_found = true;
        }
    }
    if (is_found && ret_graph->neighbours >= n - 1)
        *ret_graph = complete;
    return is_found;
}

// A share of n, rounded up; 0.1 * 30 is 3 and not 4, whatever the last bit of 0.1 says.
static uint32_t share_of(double share, uint64_t members)
{
    return (uint32_t)ceil(share * (double)members - 1e-9);
}

static enum trib_err check_asked(uint64_t members, double threshold_frac, double colluders_frac,
                                 char *why, size_t why_size)
{
    if (members < 1 || members > TRIB_COHORT_MAX)
        (void)snprintf(why, why_size, "a cohort of %llu: want 1 to %d", (unsigned long long)members,
                       TRIB_COHORT_MAX);
    else if (!(threshold_frac > 0 && threshold_frac <= 1))
        (void)snprintf(why, why_size, "secagg.threshold_frac %g: want a share of the cohort",
                       threshold_frac);
    else if (!(colluders_frac >= 0 && colluders_frac < 1))
        (void)snprintf(why, why_size, "secagg.max_colluders_frac %g: want a share of the cohort",
                       colluders_frac);
    else
        return TRIB_OK;
    return TRIB_ERR_INVAL;
}

enum trib_err trib_secagg_plan_make(uint64_t members, double threshold_frac, double colluders_frac,
                                    struct trib_secagg_plan *ret_plan, char *why, size_t why_size)
{
    struct graph graph;
    enum trib_err err = check_asked(members, threshold_frac, colluders_frac, why, why_size);
    if (err)
        return err;
    struct trib_secagg_plan plan = {.members = (uint32_t)members,
                                    .threshold = share_of(threshold_frac, members),
                                    .colluders = share_of(colluders_frac, members)};
    plan.drop_max = plan.members - plan.threshold;
    if (plan.threshold <= plan.colluders) {
        (void)snprintf(why, why_size,
                       "no honest share of the noise is left: of %u members %u must stay and %u "
                       "may collude",
                       plan.members, plan.threshold, plan.colluders);
        return TRIB_ERR_INVAL;
    }
    if (2 * plan.threshold <= plan.members + plan.colluders) {
        (void)snprintf(why, why_size,
                       "of %u members %u must stay and %u may collude: twice the threshold must "
                       "exceed members and colluders together, or two sums of a round could be "
                       "opened; raise secagg.threshold_frac or lower secagg.max_colluders_frac",
                       plan.members, plan.threshold, plan.colluders);
        return TRIB_ERR_INVAL;
    }
    if (!choose_graph(&plan, &graph)) {
        (void)snprintf(why, why_size,
                       "no graph is known for %u members of which %u may drop out and %u collude: "
                       "above %d members at most 10 %% colluders with 30 %% dropouts, or 33 %% "
                       "with 10 %%, and %d members",
                       plan.members, plan.drop_max, plan.colluders, TRIB_SECAGG_COMPLETE_MAX,
                       TRIB_SECAGG_MEMBERS_MAX);
        return TRIB_ERR_INVAL;
    }
    plan.shares = plan.threshold - plan.colluders;
    plan.neighbours = graph.neighbours;
    plan.neighbour_threshold = graph.threshold;
    *ret_plan = plan;
    return TRIB_OK;
}

enum trib_err trib_secagg_plan_check(const struct trib_secagg_plan *plan)
{
    struct graph graph;
    // With n bounded first, and T and D by n, no sum below can wrap.
    if (plan->members < 1 || plan->members > TRIB_COHORT_MAX || plan->threshold > plan->members ||
        plan->drop_max > plan->members - plan->threshold || plan->colluders >= plan->threshold)
        return TRIB_ERR_INVAL;
    if (2 * plan->threshold <= plan->members + plan->colluders)
        return TRIB_ERR_INVAL;
    if (plan->shares != plan->threshold - plan->colluders)
        return TRIB_ERR_INVAL;
    if (!choose_graph(plan, &graph) || plan->neighbours != graph.neighbours ||
        plan->neighbour_threshold != graph.threshold)
        return TRIB_ERR_INVAL;
    return TRIB_OK;
}
