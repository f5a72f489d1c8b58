#include "coordinator/sampler.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/rand.h"

void trib_sampler_draw(uint64_t seed, uint64_t round_number, uint32_t *order, size_t count)
{
    struct trib_rng rng;
    trib_rng_init(&rng, seed, "cohort", round_number, NULL);
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    trib_rng_shuffle(&rng, order, count);
}

struct stratum {
    double share;  // of the devices that are taken
    size_t taken;  // so far
    size_t next;   // place in the order drawn to look on from
    bool has_more; // devices that are not taken
};

// The group that is furthest behind its share when one more is taken.
static struct stratum *furthest_behind(struct stratum *strata, uint32_t count, size_t taken)
{
    struct stratum *worst = NULL;
    double most = 0;
    for (uint32_t g = 0; g < count; g++) {
        struct stratum *s = &strata[g];
        const double deficit = s->share * (double)(taken + 1) - (double)s->taken;
        if (s->has_more && (!worst || deficit > most)) {
            worst = s;
            most = deficit;
        }
    }
    return worst;
}

static void go_on(struct stratum *s, uint32_t group, const uint32_t *groups, size_t count)
{
    while (s->next < count && groups[s->next] != group)
        s->next++;
    s->has_more = s->next < count;
}

enum trib_err trib_sampler_stratify(uint32_t *order, const uint32_t *groups, size_t count,
                                    uint32_t group_count, bool is_equal)
{
    struct stratum *strata = trib_alloc_array(group_count ? group_count : 1, sizeof(*strata));
    uint32_t *drawn = trib_alloc_array(count ? count : 1, sizeof(*drawn));
    enum trib_err err = strata && drawn ? TRIB_OK : TRIB_ERR_NOMEM;
    for (size_t i = 0; !err && i < count; i++) {
        assert(groups[i] < group_count);
        drawn[i] = order[i];
        strata[groups[i]].share += 1 / (double)count;
    }
    for (uint32_t g = 0; !err && g < group_count; g++) {
        if (is_equal)
            strata[g].share = 1 / (double)group_count;
        go_on(&strata[g], g, groups, count);
    }
    for (size_t i = 0; !err && i < count; i++) {
        struct stratum *s = furthest_behind(strata, group_count, i);
        assert(s); // as many are left as places
        order[i] = drawn[s->next++];
        s->taken++;
        go_on(s, (uint32_t)(s - strata), groups, count);
    }
    free(strata);
    free(drawn);
    return err;
}
