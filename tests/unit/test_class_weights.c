#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/ask.h"
#include "common/math/train.h"
#include "coordinator/class_round.h"
#include "tests/unit/models.h"

enum {
    ROWS = 12
};

// Six of class 0, four of class 1, none of class 2, two of class 3
static const float y[ROWS] = {0, 0, 1, 0, 3, 1, 0, 0, 1, 3, 0, 1};
static float x[ROWS][2];

// What devices with the rows from each of `cuts` to the next count together.
static void gathered(const struct trib_ask *ask, const size_t *cuts, const float *weights,
                     double values[4])
{
    int64_t sums[4 * TRIB_TALLY_LIMBS] = {0};
    int32_t words[4 * TRIB_TALLY_LIMBS];
    struct trib_tally tally;
    size_t index;
    assert_int_equal(trib_ask_values(ask), 4);
    assert_int_equal(trib_tally_init(&tally, 4), TRIB_OK);
    for (size_t d = 0; cuts[d] < ROWS; d++) {
        const struct trib_samples samples = {.rows = cuts[d + 1] - cuts[d],
                                             .inputs = 2,
                                             .x = x[cuts[d]],
                                             .y = y + cuts[d],
                                             .weights = weights ? weights + cuts[d] : NULL};
        trib_tally_reset(&tally);
        assert_int_equal(trib_ask_count(ask, NULL, &samples, &tally), TRIB_OK);
        assert_int_equal(trib_tally_pack(&tally, words, &index), TRIB_OK);
        for (size_t w = 0; w < 4 * TRIB_TALLY_LIMBS; w++)
            sums[w] += words[w];
    }
    trib_tally_take(&tally, sums);
    for (size_t c = 0; c < 4; c++)
        values[c] = trib_tally_value(&tally, c);
    trib_tally_fini(&tally);
}

static void a_fleet_counts_what_its_rows_would_together(void **state)
{
    (void)state;
    const struct trib_model model = parsed("2 - dense 4 softmax");
    const struct trib_ask ask = {.kind = TRIB_TALLY_CLASSES, .model = &model};
    static const size_t one[] = {0, ROWS}, three[] = {0, 2, 9, ROWS};
    static const float heavy[ROWS] = {1, 1, 1, 1, 0.5f, 1, 1, 1, 1, 0.25f, 1, 1};
    double values[4], apart[4];
    gathered(&ask, one, NULL, values);
    gathered(&ask, three, NULL, apart);
    assert_memory_equal(values, apart, sizeof(values));
    assert_true(values[0] == 6 && values[1] == 4 && values[2] == 0 && values[3] == 2);
    gathered(&ask, three, heavy, values);
    assert_true(values[0] == 6 && values[1] == 4 && values[2] == 0 && values[3] == 0.75);
}

static void rows_kept_aside_are_not_counted(void **state)
{
    (void)state;
    const struct trib_model model = parsed("2 - dense 4 softmax");
    const struct trib_ask ask = {.kind = TRIB_TALLY_CLASSES, .model = &model, .kept.fraction = 0.5};
    static const size_t one[] = {0, ROWS};
    double values[4];
    uint32_t order[ROWS];
    const struct trib_samples samples = {.rows = ROWS, .inputs = 2, .x = x[0], .y = y};
    for (int r = 0; r < ROWS; r++)
        x[r][0] = (float)r; // each of its own
    gathered(&ask, one, NULL, values);
    const size_t learnt =
        trib_train_split(&samples, &(const struct trib_kept_rows){.fraction = 0.5}, order);
    assert_in_range(learnt, 1, ROWS - 1);
    assert_true(values[0] + values[1] + values[2] + values[3] == (double)learnt);
}

static void each_class_has_the_same_share(void **state)
{
    (void)state;
    static const double counts[4] = {6, 4, 0, 2};
    float weights[4];
    trib_class_weights_balance(counts, 4, 0, weights);
    assert_true(weights[0] == 12.0f / 18 && weights[1] == 1 && weights[2] == 1 && weights[3] == 2);
    // Noise of three rows: none counts as fewer, and one that is not there as so many.
    trib_class_weights_balance(counts, 4, 3, weights);
    assert_float_equal(weights[0], 16.0 / 24, 1e-6);
    assert_float_equal(weights[2], 16.0 / 12, 1e-6);
    assert_true(weights[3] == weights[2]);
    static const double nothing[2] = {0, 0};
    trib_class_weights_balance(nothing, 2, 0, weights);
    assert_true(weights[0] == 1 && weights[1] == 1);
}

static void a_report_brings_the_same_weights_back(void **state)
{
    (void)state;
    const struct trib_job job = {.model = parsed("2 - dense 4 softmax")};
    static const double counts[4] = {6, 7, 0, 3};
    float weights[4], back[4] = {0};
    struct trib_buf json = {0};
    trib_class_weights_balance(counts, 4, 0, weights);
    assert_int_equal(trib_class_round_use(&job, counts, 3, &json), TRIB_OK);
    assert_int_equal(trib_class_round_weights(&job, (const char *)json.data, back), TRIB_OK);
    assert_memory_equal(back, weights, sizeof(weights));
    static const char *const bad[] = {
        "",
        "{}",
        "{\"weights\":[1,2,3]}",
        "{\"weights\":[1,2,3,4,5]}",
        "{\"weights\":[1,2,3,-4]}",
        "{\"weights\":[1,2,3,null]}",
        "{\"weights\":[1,2,3,4",
        "{\"counts\":[1,2,3,4]}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(trib_class_round_weights(&job, bad[i], back), TRIB_ERR_DATA);
    trib_buf_fini(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fleet_counts_what_its_rows_would_together),
        cmocka_unit_test(rows_kept_aside_are_not_counted),
        cmocka_unit_test(each_class_has_the_same_share),
        cmocka_unit_test(a_report_brings_the_same_weights_back),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
