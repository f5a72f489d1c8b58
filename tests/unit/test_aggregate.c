#include "tests/test.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/codec.h"
#include "coordinator/aggregate.h"

enum {
    ROUND = 9,
    DEVICES_MAX = 16,
};

// A round on disk: updates in the slots of a segment, and the plan that adds them.
struct fleet {
    char dir[TEST_FOLDER_SIZE];
    struct trib_segment *segment;
    size_t packed_size;
    size_t checksum_count;
    uint32_t count;
    uint8_t *packed;     // (count, packed_size)
    uint32_t *checksums; // (count, checksum_count)
    struct trib_aggregate_member members[DEVICES_MAX];
    struct trib_aggregate_plan plan;
};

__extension__ typedef __int128 wide_sum; // wider than any sum can be

static char logged[1024];

static void keep_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)snprintf(logged, sizeof(logged), "%s", line);
}

static void *memory_of(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

static void fleet_open(struct fleet *fleet, size_t params, uint32_t word_bits, uint32_t count)
{
    assert_true(count <= DEVICES_MAX);
    *fleet = (struct fleet){.count = count};
    assert_true(test_folder(fleet->dir));
    fleet->packed_size = trib_codec_size(params, word_bits);
    fleet->checksum_count = trib_segment_checksum_count(fleet->packed_size);
    fleet->packed = memory_of(count, fleet->packed_size);
    fleet->checksums = memory_of(count * fleet->checksum_count, sizeof(uint32_t));
    fleet->plan = (struct trib_aggregate_plan){.params = params,
                                               .word_bits = word_bits,
                                               .grid = ldexp(1.0, -20),
                                               .count = count,
                                               .members = fleet->members};
    // One slot more than there are members, with garbage that nobody asks for.
    assert_int_equal(
        trib_segment_create(fleet->dir, ROUND, fleet->packed_size, count + 1, &fleet->segment),
        TRIB_OK);
    uint8_t garbage = 0xa5;
    assert_int_equal(trib_segment_write(fleet->segment, count, 0, &garbage, 1), TRIB_OK);
}

static void fleet_close(struct fleet *fleet)
{
    trib_segment_unref(fleet->segment);
    assert_int_equal(trib_segment_remove(fleet->dir, ROUND), TRIB_OK);
    assert_int_equal(rmdir(fleet->dir), 0);
    free(fleet->packed);
    free(fleet->checksums);
}

static uint8_t *packed_of(const struct fleet *fleet, uint32_t device)
{
    return fleet->packed + device * fleet->packed_size;
}

// Put a device's words (params) into its slot, with the checksums that the ledger would have.
static void fleet_put(struct fleet *fleet, uint32_t device, const int32_t *words, uint32_t weight)
{
    uint8_t *packed = packed_of(fleet, device);
    uint32_t *checksums = fleet->checksums + device * fleet->checksum_count;
    trib_codec_pack(words, fleet->plan.params, fleet->plan.word_bits, packed);
    for (size_t b = 0; b < fleet->checksum_count; b++) {
        size_t at = b * TRIB_SEGMENT_BLOCK;
        size_t left = fleet->packed_size - at;
        checksums[b] =
            trib_crc32c(0, packed + at, left < TRIB_SEGMENT_BLOCK ? left : TRIB_SEGMENT_BLOCK);
    }
    assert_int_equal(trib_segment_write(fleet->segment, device, 0, packed, fleet->packed_size),
                     TRIB_OK);
    fleet->members[device] =
        (struct trib_aggregate_member){.slot = device, .weight = weight, .checksums = checksums};
}

static int32_t random_word(uint64_t *seed, uint32_t word_bits)
{
    return (int32_t)(uint32_t)(test_rand(seed) >> 32) >> (32 - word_bits);
}

// Every device with random words of the full range and a random weight; returns the words.
static int32_t *fleet_fill(struct fleet *fleet, uint64_t seed)
{
    const size_t params = fleet->plan.params;
    int32_t *words = memory_of(params * fleet->count, sizeof(*words));
    for (uint32_t d = 0; d < fleet->count; d++) {
        for (size_t i = 0; i < params; i++)
            words[d * params + i] = random_word(&seed, fleet->plan.word_bits);
        fleet_put(fleet, d, words + d * params, 1 + (uint32_t)(test_rand(&seed) >> 40));
    }
    return words;
}

static float *mean_on_disk(const struct fleet *fleet, const struct trib_aggregate_plan *plan,
                           unsigned threads)
{
    float *mean = memory_of(plan->params, sizeof(*mean));
    assert_int_equal(trib_aggregate_segment(plan, fleet->segment, threads, mean), TRIB_OK);
    return mean;
}

// Sizes around the ends of checksum blocks and of the blocks that threads take.
static const size_t sizes[] = {1, 1000, 21845, 21846, 49153, 65536, 65537, 98304, 98305, 200003};

static void the_mean_is_that_of_the_written_formula(void **state)
{
    (void)state;
    for (uint32_t word_bits = 16; word_bits <= 32; word_bits += 8) {
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            struct fleet fleet;
            const size_t params = sizes[s];
            fleet_open(&fleet, params, word_bits, 3);
            int32_t *words = fleet_fill(&fleet, 11 + s);
            float *mean = mean_on_disk(&fleet, &fleet.plan, 2);
            uint64_t total = 0;
            for (uint32_t d = 0; d < fleet.count; d++)
                total += fleet.members[d].weight;
            for (size_t i = 0; i < params; i++) {
                wide_sum sum = 0;
                for (uint32_t d = 0; d < fleet.count; d++)
                    sum += (wide_sum)fleet.members[d].weight * words[d * params + i];
                float wanted = (float)((double)sum * fleet.plan.grid / (double)total);
                assert_memory_equal(&mean[i], &wanted, sizeof(wanted));
            }
            free(mean);
            free(words);
            fleet_close(&fleet);
        }
    }
}

static void order_threads_and_place_do_not_change_a_bit(void **state)
{
    (void)state;
    static const unsigned threads[] = {1, 2, 4, 1000};
    for (uint32_t word_bits = 16; word_bits <= 32; word_bits += 8) {
        struct fleet fleet;
        struct trib_sums sums;
        struct trib_aggregate_member mixed[DEVICES_MAX];
        uint64_t seed = word_bits;
        const size_t params = 300007;
        fleet_open(&fleet, params, word_bits, 7);
        free(fleet_fill(&fleet, 3));
        float *wanted = mean_on_disk(&fleet, &fleet.plan, 1);
        struct trib_aggregate_plan plan = fleet.plan;
        plan.members = mixed;
        for (size_t t = 0; t < sizeof(threads) / sizeof(threads[0]); t++) {
            for (uint32_t i = 0; i < fleet.count; i++) { // Fisher-Yates, inside out
                uint32_t j = (uint32_t)(test_rand(&seed) % (i + 1));
                mixed[i] = mixed[j];
                mixed[j] = fleet.members[i];
            }
            float *mean = mean_on_disk(&fleet, &plan, threads[t]);
            assert_memory_equal(mean, wanted, params * sizeof(*mean));
            free(mean);
        }

        float *mean = memory_of(params, sizeof(*mean));
        int32_t *words = memory_of(params, sizeof(*words));
        assert_int_equal(trib_sums_init(&sums, params), TRIB_OK);
        for (int pass = 0; pass < 2; pass++) { // the second after a reset
            for (uint32_t i = 0; i < fleet.count; i++) {
                const struct trib_aggregate_member *member = &mixed[i];
                trib_codec_unpack(packed_of(&fleet, member->slot), params, word_bits, words);
                trib_sums_add(&sums, words, member->weight);
            }
            trib_sums_mean(&sums, plan.grid, mean);
            assert_memory_equal(mean, wanted, params * sizeof(*mean));
            trib_sums_reset(&sums, sums.capacity);
        }
        trib_sums_fini(&sums);
        free(words);
        free(mean);
        free(wanted);
        fleet_close(&fleet);
    }
}

static void the_grid_costs_less_than_a_millionth_of_the_range(void **state)
{
    (void)state;
    const double range = 8;                // of a coordinate at 24 bits and a grid of 2^-20
    const double tolerance = 1e-6 * range; // half a grid step, 4.8e-7, and the float's 4.8e-7
    struct fleet fleet;
    uint64_t seed = 77;
    const size_t params = 70001;
    fleet_open(&fleet, params, 24, DEVICES_MAX);
    int32_t *words = memory_of(params, sizeof(*words));
    double *sums = memory_of(params, sizeof(*sums));
    double total = 0;
    for (uint32_t d = 0; d < fleet.count; d++) {
        uint32_t weight = 1 + (uint32_t)(test_rand(&seed) % 5000);
        for (size_t i = 0; i < params; i++) {
            double unit = (double)(test_rand(&seed) >> 11) * ldexp(1.0, -53);
            double x = (2 * unit - 1) * (range - 1e-6);
            words[i] = (int32_t)lround(x / fleet.plan.grid);
            sums[i] += weight * x;
        }
        total += weight;
        fleet_put(&fleet, d, words, weight);
    }
    float *mean = mean_on_disk(&fleet, &fleet.plan, 2);
    for (size_t i = 0; i < params; i++)
        assert_true(fabs((double)mean[i] - sums[i] / total) < tolerance);
    free(mean);
    free(sums);
    free(words);
    fleet_close(&fleet);
}

static void extreme_words_and_weights_do_not_overflow(void **state)
{
    (void)state;
    struct fleet fleet;
    const int32_t words[3] = {INT32_MIN, INT32_MAX, 0};
    fleet_open(&fleet, 3, 32, 4);
    for (uint32_t d = 0; d < 3; d++)
        fleet_put(&fleet, d, words, 1u << 30);
    fleet_put(&fleet, 3, words, (1u << 30) - 1); // 2^32 - 1 in all
    float *mean = mean_on_disk(&fleet, &fleet.plan, 2);
    assert_true(mean[0] == -2048.0f); // -2^31 * 2^-20, exactly
    assert_true(mean[1] == 2048.0f);  // 2^31 - 1 has no float of its own
    assert_true(mean[2] == 0.0f);
    free(mean);

    fleet_put(&fleet, 0, words, UINT32_MAX); // and all the weight in one device
    fleet.plan.count = 1;
    mean = mean_on_disk(&fleet, &fleet.plan, 1);
    assert_true(mean[0] == -2048.0f && mean[1] == 2048.0f && mean[2] == 0.0f);
    free(mean);
    fleet_close(&fleet);
}

static void flip_bit(struct fleet *fleet, uint32_t slot, size_t at)
{
    uint8_t byte;
    assert_int_equal(trib_segment_read(fleet->segment, slot, at, &byte, 1), TRIB_OK);
    byte ^= 0x10;
    assert_int_equal(trib_segment_write(fleet->segment, slot, at, &byte, 1), TRIB_OK);
}

static void a_flipped_bit_is_refused_and_located(void **state)
{
    (void)state;
    const size_t params = 150001; // 450003 bytes: seven checksum blocks, the last one short
    static const size_t places[] = {0, 65535, 65536, 196608, 393216, 450002};
    struct fleet fleet;
    fleet_open(&fleet, params, 24, 3);
    free(fleet_fill(&fleet, 8));
    float *mean = memory_of(params, sizeof(*mean));
    trib_log_set_sink(keep_line, NULL);
    for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
        char wanted[32];
        uint32_t slot = (uint32_t)(p % fleet.count);
        flip_bit(&fleet, slot, places[p]);
        for (unsigned threads = 1; threads <= 4; threads *= 2) {
            logged[0] = '\0';
            assert_int_equal(trib_aggregate_segment(&fleet.plan, fleet.segment, threads, mean),
                             TRIB_ERR_CORRUPT);
            (void)snprintf(wanted, sizeof(wanted), "slot=%u block=%zu ", slot,
                           places[p] / TRIB_SEGMENT_BLOCK);
            assert_non_null(strstr(logged, wanted));
        }
        flip_bit(&fleet, slot, places[p]); // back again
        assert_int_equal(trib_aggregate_segment(&fleet.plan, fleet.segment, 2, mean), TRIB_OK);
    }
    trib_log_set_sink(NULL, NULL);
    free(mean);
    fleet_close(&fleet);
}

static void slots_without_a_member_do_not_matter(void **state)
{
    (void)state;
    struct fleet fleet;
    const size_t params = 66000;
    fleet_open(&fleet, params, 24, 3);
    free(fleet_fill(&fleet, 21));
    fleet.plan.count = 2; // the third never got its ledger row
    float *before = mean_on_disk(&fleet, &fleet.plan, 2);
    flip_bit(&fleet, 2, 12345);
    float *after = mean_on_disk(&fleet, &fleet.plan, 2);
    assert_memory_equal(before, after, params * sizeof(*before));
    free(before);
    free(after);
    fleet_close(&fleet);
}

// 100 devices of a million parameters, for people: test_aggregate --bench
static int bench(void)
{
    enum {
        COUNT = 100,
        PARAMS = 1000000,
        RUNS = 5
    };
    char dir[TEST_FOLDER_SIZE];
    const size_t size = trib_codec_size(PARAMS, 24);
    const size_t blocks = trib_segment_checksum_count(size);
    struct trib_aggregate_member members[COUNT];
    struct trib_segment *segment = NULL;
    uint8_t *packed = trib_alloc_array(size, 1);
    uint32_t *checksums = calloc(COUNT * blocks, sizeof(*checksums));
    float *mean = trib_alloc_array(PARAMS, sizeof(*mean));
    uint64_t seed = 1;
    enum trib_err err = packed && checksums && mean && test_folder(dir) ? TRIB_OK : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_segment_create(dir, ROUND, size, COUNT, &segment);
    for (uint32_t d = 0; !err && d < COUNT; d++) {
        for (size_t i = 0; i < size; i++)
            packed[i] = (uint8_t)(test_rand(&seed) >> 56);
        uint32_t *row = checksums + d * blocks;
        for (size_t b = 0; b < blocks; b++) {
            size_t left = size - b * TRIB_SEGMENT_BLOCK;
            row[b] = trib_crc32c(0, packed + b * TRIB_SEGMENT_BLOCK,
                                 left < TRIB_SEGMENT_BLOCK ? left : TRIB_SEGMENT_BLOCK);
        }
        members[d] = (struct trib_aggregate_member){.slot = d, .weight = 1 + d, .checksums = row};
        err = trib_segment_write(segment, d, 0, packed, size);
    }
    const struct trib_aggregate_plan plan = {
        .params = PARAMS, .word_bits = 24, .grid = 1e-6, .count = COUNT, .members = members};
    for (unsigned threads = 1; !err && threads <= 4; threads *= 2) {
        uint64_t best_us = UINT64_MAX;
        for (int i = 0; !err && i < RUNS; i++) {
            uint64_t start = trib_clock_mono_us();
            err = trib_aggregate_segment(&plan, segment, threads, mean);
            uint64_t us = trib_clock_mono_us() - start;
            best_us = us < best_us ? us : best_us;
        }
        (void)printf("%u threads: %.1f ms, %.2f GB/s of packed updates\n", threads,
                     (double)best_us / 1e3, (double)size * COUNT / 1e3 / (double)best_us);
    }
    trib_segment_unref(segment);
    if (segment && trib_segment_remove(dir, ROUND) == TRIB_OK)
        (void)rmdir(dir);
    free(packed);
    free(checksums);
    free(mean);
    return err ? 1 : 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean_is_that_of_the_written_formula),
        cmocka_unit_test(order_threads_and_place_do_not_change_a_bit),
        cmocka_unit_test(the_grid_costs_less_than_a_millionth_of_the_range),
        cmocka_unit_test(extreme_words_and_weights_do_not_overflow),
        cmocka_unit_test(a_flipped_bit_is_refused_and_located),
        cmocka_unit_test(slots_without_a_member_do_not_matter),
    };
    if (argc == 2 && strcmp(argv[1], "--bench") == 0)
        return bench();
    return RUN_TESTS(tests);
}
