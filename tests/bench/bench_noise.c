// What privacy noise costs: nanoseconds of CPU time for a coordinate, the median of several runs.
//
//     ninja -C build tests/bench/bench_noise && build/tests/bench/bench_noise
//
// Not a test: figures of a shared machine decide nothing. docs/privacy-math.md 2.3 and 3.3 quote
// it.

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/privacy/noise.h"
#include "common/privacy/polya.h"

enum {
    COUNT = 1000000,
    REPEATS = 9,
};

struct work {
    struct trib_noise noise;
    int32_t *words; // COUNT
    unsigned grid_bits;
    uint32_t shares;
    uint64_t sink; // what comes out is used: nothing can be left out
};

static void draw_words(struct work *work)
{
    for (size_t i = 0; i < COUNT; i++) // 64 bits a step
        work->sink += trib_noise_bits(&work->noise, 32) ^ trib_noise_bits(&work->noise, 32);
}

static void ask_system(struct work *work)
{
    for (size_t i = 0; i < COUNT; i++) { // what the buffer saves
        uint64_t word;
        trib_random_bytes(&word, sizeof(word));
        work->sink += word;
    }
}

static void draw_laplace(struct work *work)
{
    for (size_t i = 0; i < COUNT; i++)
        work->words[i] = (int32_t)trib_noise_dlap(&work->noise, work->grid_bits);
}

static void draw_share(struct work *work)
{
    trib_polya_add(&work->noise, work->words, COUNT, work->grid_bits, work->shares);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double median_ns(struct work *work, void (*run)(struct work *work))
{
    uint64_t us[REPEATS];
    run(work); // warms the caches
    for (int r = 0; r < REPEATS; r++) {
        uint64_t start = trib_clock_thread_us();
        run(work);
        us[r] = trib_clock_thread_us() - start;
    }
    qsort(us, REPEATS, sizeof(us[0]), by_size);
    return (double)us[REPEATS / 2] * 1000 / COUNT;
}

int main(void)
{
    static const unsigned laplace_bits[] = {4, 12, 20};
    static const uint32_t shares[] = {1, 2, 10, 60, 600};
    static const unsigned share_bits[] = {12, 16};
    static struct work work;

    trib_crypto_init();
    trib_noise_init(&work.noise);
    work.words = trib_alloc_array(COUNT, sizeof(*work.words));
    if (!work.words) {
        fprintf(stderr, "bench_noise: out of memory\n");
        return 1;
    }
    printf("ns of CPU time a coordinate, median of %d runs over %d coordinates\n", REPEATS, COUNT);
    printf("generator, 64 bits          %8.2f\n", median_ns(&work, draw_words));
    printf("system call, 64 bits        %8.2f\n", median_ns(&work, ask_system));
    for (size_t i = 0; i < sizeof(laplace_bits) / sizeof(laplace_bits[0]); i++) {
        work.grid_bits = laplace_bits[i];
        printf("dlap t=2^%-2u                %8.2f\n", work.grid_bits,
               median_ns(&work, draw_laplace));
    }
    for (size_t b = 0; b < sizeof(share_bits) / sizeof(share_bits[0]); b++) {
        work.grid_bits = share_bits[b];
        for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
            work.shares = shares[i];
            printf("share m=%-4u t=2^%-2u         %8.2f\n", work.shares, work.grid_bits,
                   median_ns(&work, draw_share));
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        work.sink += (uint32_t)work.words[i];
    trib_noise_fini(&work.noise);
    free(work.words);
    return work.sink == 0; // it never is
}
