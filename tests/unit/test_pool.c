// Max-pooling by every set of kernels that this processor can run, against the definition.
#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/kernels.h"

enum {
    COUNT_MAX = 3,
    SIDE_MAX = 3,
    CHANNELS_MAX = 37, // two vectors of the widest set, and a part
    GAP = 5,           // numbers between the rows that belong to nobody
    ROW_MAX = COUNT_MAX * SIDE_MAX * CHANNELS_MAX + GAP,
};

static float x[SIDE_MAX * ROW_MAX], below[SIDE_MAX * ROW_MAX], wanted_below[SIDE_MAX * ROW_MAX];
static float largest[COUNT_MAX * CHANNELS_MAX + 1], delta[COUNT_MAX * CHANNELS_MAX];

// What the squares of one row and channel come to, by the definition; checks `largest`, and makes
// `wanted_below`.
static void pool_slowly(const struct trib_unpool *u, int square, int channel)
{
    const struct trib_pool *p = &u->pool;
    const int pixel = square * p->channels + channel;
    float best = -INFINITY;
    ptrdiff_t best_at = 0;
    for (int i = 0; i < p->side * p->side; i++) {
        const ptrdiff_t at = i / p->side * p->x_row +
                             (ptrdiff_t)(square * p->side + i % p->side) * p->channels + channel;
        wanted_below[at] = 0;
        best_at = p->x[at] > best ? at : best_at;
        best = p->x[at] > best ? p->x[at] : best;
    }
    assert_true(largest[pixel] == best);
    wanted_below[best_at] = u->is_gated && best <= 0 ? 0 : u->delta[pixel];
}

static void check(const struct trib_kernels *set, const struct trib_unpool *u)
{
    const struct trib_pool *p = &u->pool;
    const size_t size = sizeof(below);
    memset(below, 0x55, size); // no number that a kernel makes
    memset(wanted_below, 0x55, size);
    largest[p->count * p->channels] = 77;
    set->pool(p, largest);
    set->unpool(u);
    assert_true(largest[p->count * p->channels] == 77);
    for (int square = 0; square < p->count; square++) {
        for (int channel = 0; channel < p->channels; channel++)
            pool_slowly(u, square, channel);
    }
    for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) { // the gaps too
        if (memcmp(&below[i], &wanted_below[i], sizeof(below[i])) != 0 &&
            !(below[i] == 0 && wanted_below[i] == 0))
            fail_msg("%s: side %d, %d channels, %zu: %g, not %g", set->name, p->side, p->channels,
                     i, (double)below[i], (double)wanted_below[i]);
    }
}

static void every_set_pools_by_the_definition(void **state)
{
    (void)state;
    static const char *const names[] = {"plain", "neon", "avx2", "avx512"};
    uint64_t seed = 9;
    int sets = 0;
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        const struct trib_kernels *set = trib_kernels_find(names[n]);
        sets += set != NULL;
        for (int trial = 0; set && trial < 4 * SIDE_MAX * CHANNELS_MAX; trial++) {
            struct trib_unpool u = {
                .pool = {.side = 1 + trial % SIDE_MAX,
                         .channels = 1 + trial % CHANNELS_MAX,
                         .count = 1 + (int)(test_rand(&seed) % COUNT_MAX),
                         .x = x},
                .largest = largest,
                .delta = delta,
                .below = below,
                .is_gated = test_rand(&seed) % 2 == 0,
            };
            u.pool.x_row = u.pool.side * u.pool.count * u.pool.channels + GAP;
            for (size_t i = 0; i < sizeof(x) / sizeof(x[0]); i++)
                x[i] = (float)(test_rand(&seed) % 5) - 3; // many are equal, few are positive
            for (size_t i = 0; i < sizeof(delta) / sizeof(delta[0]); i++)
                delta[i] = (float)(1 + test_rand(&seed) % 100);
            check(set, &u);
        }
    }
    assert_true(sets >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_set_pools_by_the_definition)};
    trib_crypto_init();
    return RUN_TESTS(tests);
}
