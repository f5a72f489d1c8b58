// What stands between training and the sum costs: nanoseconds of CPU time for a parameter, the
// median of several runs, and as a multiple of a copy of the floats in the same runs.
//
//     ninja -C build tests/bench/bench_codec && build/tests/bench/bench_codec
//
// Not a test: figures of a shared machine decide nothing. docs/benchmarks.md quotes it.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/privacy/encode.h"
#include "common/wire/codec.h"

enum {
    COUNT = 200000, // of the 2NN of McMahan et al. 2017: vectors stay in the second cache
    RUNS = 21,
    CALLS = 20, // in each run
    FAR_VECTORS = 48,
    FAR_COUNT = 1000000, // words of each: 144 MB, far more than any cache
    FAR_BLOCK = 65536,   // words whose sums stay in the second cache, as in coordinator/aggregate.c
    FAR_RUNS = 5,
};

struct work {
    float *delta, *copy;
    int32_t *words;
    uint8_t *packed; // 24 bits
    int64_t *sums;
    struct trib_encoding encoding;
    struct trib_noise noise;
    struct trib_codec_norms norms;
    uint64_t failures;
    uint32_t checksum; // kept, so that it is made
};

static void copy(struct work *work)
{
    memcpy(work->copy, work->delta, COUNT * sizeof(*work->delta));
}

static void encode(struct work *work)
{
    struct trib_encode_report report;
    work->failures += trib_encode_clip(&work->encoding, &work->noise, work->delta, COUNT,
                                       work->words, &report) != TRIB_OK;
}

static void pack(struct work *work)
{
    trib_codec_pack(work->words, COUNT, 24, work->packed);
}

static void measure_norms(struct work *work)
{
    trib_codec_norms_add(work->packed, COUNT, 24, &work->norms);
}

static void add(struct work *work)
{
    trib_codec_add(work->packed, COUNT, 24, 600, work->sums);
}

static void checksum(struct work *work)
{
    work->checksum += trib_crc32c(0, work->packed, 3 * COUNT);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double time_of(struct work *work, void (*step)(struct work *))
{
    uint64_t times[RUNS];
    for (int i = 0; i < RUNS; i++) {
        uint64_t began = trib_clock_thread_us();
        for (int call = 0; call < CALLS; call++)
            step(work);
        times[i] = trib_clock_thread_us() - began;
    }
    qsort(times, RUNS, sizeof(times[0]), by_size);
    return 1e3 * (double)times[RUNS / 2] / COUNT / CALLS;
}

// Vectors that lie in memory, block by block over all of them: gigabytes of their floats a second.
static double far_gigabytes(int64_t *sums)
{
    const size_t stride = 3 * (size_t)FAR_COUNT;
    uint8_t *vectors = trib_alloc_aligned(FAR_VECTORS * stride, 1);
    uint64_t times[FAR_RUNS];
    if (!vectors)
        return 0;
    for (int run = 0; run < FAR_RUNS; run++) {
        const uint64_t began = trib_clock_thread_us();
        for (size_t at = 0; at < FAR_COUNT; at += FAR_BLOCK) {
            const size_t part = FAR_COUNT - at < FAR_BLOCK ? FAR_COUNT - at : FAR_BLOCK;
            memset(sums, 0, part * sizeof(*sums));
            for (size_t v = 0; v < FAR_VECTORS; v++)
                trib_codec_add(vectors + v * stride + 3 * at, part, 24, 600, sums);
        }
        times[run] = trib_clock_thread_us() - began;
    }
    free(vectors);
    qsort(times, FAR_RUNS, sizeof(times[0]), by_size);
    return 4e-3 * FAR_VECTORS * FAR_COUNT / (double)times[FAR_RUNS / 2];
}

int main(void)
{
    static const struct {
        const char *name;
        void (*step)(struct work *);
    } steps[] = {{"encode, mode off", encode},
                 {"pack", pack},
                 {"norms of packed words", measure_norms},
                 {"checksum of packed words", checksum},
                 {"add to the sums, weighed", add}};
    struct work work = {
        .delta = trib_alloc_aligned(COUNT, sizeof(float)),
        .copy = trib_alloc_aligned(COUNT, sizeof(float)),
        .words = trib_alloc_aligned(COUNT, sizeof(int32_t)),
        .packed = trib_alloc_aligned(3 * COUNT, 1),
        .sums = trib_alloc_aligned(COUNT, sizeof(int64_t)),
        .encoding = {.mode = TRIB_PRIVACY_OFF, .grid = 0x1p-20, .word_bits = 24},
    };
    struct trib_rng rng;
    if (!work.delta || !work.copy || !work.words || !work.packed || !work.sums)
        return 6;
    trib_rng_init(&rng, 1, "bench", 0, NULL);
    for (size_t i = 0; i < COUNT; i++)
        work.delta[i] = (float)(trib_rng_real(&rng) - 0.5);
    const double whole = time_of(&work, copy);
    printf("%-28s %6.3f ns\n", "copy of the floats", whole);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        const double ns = time_of(&work, steps[i].step);
        printf("%-28s %6.3f ns  %5.1f copies\n", steps[i].name, ns, ns / whole);
    }
    printf("add, out of memory           %6.2f GB/s of floats\n", far_gigabytes(work.sums));
    free(work.delta);
    free(work.copy);
    free(work.words);
    free(work.packed);
    free(work.sums);
    return work.failures ? 6 : 0;
}
