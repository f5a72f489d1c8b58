#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/privacy/noise.h"
#include "common/privacy/secagg_core.h"

enum trib_err trib_secagg_graph_init(struct trib_secagg_graph *graph,
                                     const struct trib_secagg_plan *plan, uint32_t count,
                                     const uint8_t cohort_hash[static TRIB_DIGEST_SIZE])
{
    static const char label[] = "trib-graph";
    struct trib_noise draws; // an exact sampler over a stream that the hash seeds
    struct trib_hash hash;
    uint8_t seed[TRIB_NOISE_SEED_SIZE];

    assert(count > 1);
    *graph = (struct trib_secagg_graph){.count = count, .degree = count - 1};
    if (plan->neighbours == 0 || plan->neighbours >= count - 1)
        return TRIB_OK;
    graph->degree = plan->neighbours;
    graph->order = trib_alloc_array(count, sizeof(*graph->order));
    graph->place = trib_alloc_array(count, sizeof(*graph->place));
    if (!graph->order || !graph->place) {
        trib_secagg_graph_fini(graph);
        return TRIB_ERR_NOMEM;
    }
    trib_hash_init(&hash, NULL, 0, sizeof(seed));
    trib_hash_update(&hash, label, sizeof(label));
    trib_hash_update(&hash, cohort_hash, TRIB_DIGEST_SIZE);
    trib_hash_final(&hash, seed, sizeof(seed));
    trib_noise_init_seed(&draws, seed);
    for (uint32_t i = 0; i < count; i++) { // Fisher and Yates, inside out
        uint32_t j = trib_noise_below(&draws, i + 1);
        graph->order[i] = graph->order[j];
        graph->order[j] = i;
    }
    for (uint32_t i = 0; i < count; i++)
        graph->place[graph->order[i]] = i;
    trib_noise_fini(&draws);
    return TRIB_OK;
}

void trib_secagg_graph_fini(struct trib_secagg_graph *graph)
{
    free(graph->order);
    free(graph->place);
    *graph = (struct trib_secagg_graph){0};
}

// Neighbour number `index` of `member`, 0 <= index < degree, in no order.
static uint32_t neighbour(const struct trib_secagg_graph *graph, uint32_t member, uint32_t index)
{
    if (!graph->order)
        return index + (index >= member);
    uint32_t half = graph->degree / 2;
    uint32_t step = index < half ? index + 1 : graph->count - (index - half + 1);
    return graph->order[(graph->place[member] + step) % graph->count];
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void trib_secagg_graph_row(const struct trib_secagg_graph *graph, uint32_t member,
                           uint32_t *ret_row)
{
    for (uint32_t i = 0; i < graph->degree; i++)
        ret_row[i] = neighbour(graph, member, i);
    if (graph->order)
        qsort(ret_row, graph->degree, sizeof(*ret_row), compare_numbers);
}

bool trib_secagg_graph_is_edge(const struct trib_secagg_graph *graph, uint32_t a, uint32_t b)
{
    if (a == b || !graph->order)
        return a != b;
    uint32_t forward = (graph->place[a] + graph->count - graph->place[b]) % graph->count;
    uint32_t half = graph->degree / 2;
    return forward <= half || graph->count - forward <= half;
}

uint32_t trib_secagg_graph_rank(const struct trib_secagg_graph *graph, uint32_t member,
                                const uint8_t *set, uint32_t limit)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < graph->degree; i++) {
        uint32_t other = neighbour(graph, member, i);
        rank += other < limit && (!set || trib_secagg_has(set, other));
    }
    return rank;
}
