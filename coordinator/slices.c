#include "coordinator/slices.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "slices"

void trib_slices_fini(struct trib_slices *slices)
{
    free(slices->values);
    *slices = (struct trib_slices){.count = 0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct trib_tally_slice *)a)->group,
                  ((const struct trib_tally_slice *)b)->group);
}

// The names that there are. False: too many of them.
static bool find_groups(const char (*groups)[TRIB_NAME_MAX + 1], uint32_t count,
                        struct trib_slices *slices)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < slices->count && strcmp(slices->slices[at].group, groups[i]) != 0)
            at++;
        if (at < slices->count)
            continue;
        if (slices->count == TRIB_SLICES_MAX)
            return false;
        slices->slices[slices->count++] = (struct trib_tally_slice){.group = groups[i]};
    }
    qsort(slices->slices, slices->count, sizeof(slices->slices[0]), by_name);
    return true;
}

struct summing {
    const struct trib_job *job;
    const struct trib_round_shape *shape;
    struct trib_aggregate_plan plan; // its members and sums are ours
    struct trib_aggregate_member *members;
};

static enum trib_err sum_group(struct summing *s, const struct trib_aggregate_plan *whole,
                               const char (*groups)[TRIB_NAME_MAX + 1], const char *group,
                               struct trib_segment *segment, double *values)
{
    s->plan.count = 0;
    for (uint32_t i = 0; i < whole->count; i++) {
        if (strcmp(groups[i], group) == 0)
            s->members[s->plan.count++] = whole->members[i];
    }
    enum trib_err err = trib_aggregate_segment(&s->plan, segment, 1, NULL);
    return err ? err : trib_tally_round_values(s->job, s->shape, s->plan.sums, values);
}

enum trib_err trib_slices_sum(const struct trib_job *job, const struct trib_round_shape *shape,
                              const struct trib_aggregate_plan *plan,
                              const char (*groups)[TRIB_NAME_MAX + 1], struct trib_segment *segment,
                              struct trib_slices *ret_slices)
{
    struct trib_slices slices = {.count = 0};
    struct summing s = {.job = job, .shape = shape, .plan = *plan};
    enum trib_err err = TRIB_OK;
    const bool is_known = find_groups(groups, plan->count, &slices);
    if (!is_known)
        TRIB_WARN("id=many-groups the devices are of more than %d groups: no report by group",
                  TRIB_SLICES_MAX);
    if (!is_known || slices.count < 2) {
        *ret_slices = (struct trib_slices){.count = 0};
        return TRIB_OK;
    }
    s.members = trib_alloc_array(plan->count, sizeof(*s.members));
    s.plan.members = s.members;
    s.plan.sums = trib_alloc_aligned(shape->words, sizeof(*s.plan.sums));
    slices.values = trib_alloc_aligned(slices.count * shape->values, sizeof(*slices.values));
    if (!s.members || !s.plan.sums || !slices.values)
        err = TRIB_ERR_NOMEM;
    for (size_t i = 0; i < slices.count && !err; i++) {
        double *values = slices.values + i * shape->values;
        err = sum_group(&s, plan, groups, slices.slices[i].group, segment, values);
        slices.slices[i].values = values;
    }
    free(s.members);
    free(s.plan.sums);
    if (err)
        trib_slices_fini(&slices);
    else
        *ret_slices = slices;
    return err;
}
