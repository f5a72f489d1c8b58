#include "tests/test.h"

#include <math.h>

#include "common/base/wipe.h"
#include "common/math/intervals.h"
#include "common/math/ranking.h"
#include "common/math/residuals.h"

static double uniform(uint64_t *seed)
{
    return (double)(test_rand(seed) >> 11) * 0x1p-53;
}

static double normal(uint64_t *seed) // Box & Muller 1958
{
    const double u = 1 - uniform(seed); // one after the other: the order is fixed
    return sqrt(-2 * log(u)) * cos(2 * acos(-1) * uniform(seed));
}

static void ends_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    const double z = 1.959963984540054;
    struct trib_interval i = trib_interval_share(0, 10);
    assert_true(i.low < 1e-12 && fabs(i.high - z * z / (10 + z * z)) < 1e-12); // Wilson at no hit
    i = trib_interval_share(1, 10);
    assert_true(fabs(i.low - 10 / (10 + z * z)) < 1e-12 && i.high > 1 - 1e-12);
    // An end q of the interval has |share - q| = z sqrt(q (1 - q) / rows).
    i = trib_interval_share(0.3, 50);
    assert_true(fabs((0.3 - i.low) - z * sqrt(i.low * (1 - i.low) / 50)) < 1e-12);
    assert_true(fabs((i.high - 0.3) - z * sqrt(i.high * (1 - i.high) / 50)) < 1e-12);
    i = trib_interval_mean(2, 0.5);
    assert_true(fabs(i.low - (2 - z / 2)) < 1e-12 && fabs(i.high - (2 + z / 2)) < 1e-12);
    // Of one row of each class: variance A (1 - A).
    i = trib_interval_auc(0.5, 1, 1);
    assert_true(i.low == 0 && i.high == 1);
    i = trib_interval_auc(0.75, 2, 1);
    const double variance = (0.75 * 0.25 + 0.75 / 1.25 - 0.5625) / 2;
    assert_true(fabs(i.low - (0.75 - z * sqrt(variance))) < 1e-12);
}

static void what_does_not_exist_has_no_interval(void **state)
{
    (void)state;
    assert_true(isnan(trib_interval_share(0.5, 0).low));
    assert_true(isnan(trib_interval_share((double)NAN, 10).high));
    assert_true(isnan(trib_interval_mean(1, (double)NAN).low));
    assert_true(isnan(trib_interval_auc((double)NAN, 1, 1).low));
    assert_true(isnan(trib_interval_auc(0.5, 0, 1).low));
}

// Of 2,000 samples 95 in 100 cover the truth; by chance alone the share is within 0.02 of that in
// all but one of 10,000 seeds.
static void shares_are_covered_as_often_as_stated(void **state)
{
    (void)state;
    uint64_t seed = 23;
    int covered = 0;
    for (int trial = 0; trial < 2000; trial++) {
        double hits = 0;
        for (int r = 0; r < 200; r++)
            hits += uniform(&seed) < 0.9;
        const struct trib_interval i = trib_interval_share(hits / 200, 200);
        covered += i.low <= 0.9 && 0.9 <= i.high;
    }
    assert_in_range(covered, 1860, 1940);
}

static void areas_are_covered_as_often_as_stated(void **state)
{
    (void)state;
    enum {
        POSITIVES = 60,
        NEGATIVES = 100
    };
    const double truth =
        0.5 * erfc(-1 / 2.0); // P(N(1,1) > N(0,1)) shifted by sqrt(2) / 2 x sqrt(2)
    uint64_t seed = 29;
    int covered = 0;
    for (int trial = 0; trial < 2000; trial++) {
        struct trib_scored rows[POSITIVES + NEGATIVES];
        struct trib_ranking_scores s;
        for (int r = 0; r < POSITIVES + NEGATIVES; r++)
            rows[r] = (struct trib_scored){normal(&seed) + (r < POSITIVES ? 1 : 0), r < POSITIVES};
        assert_int_equal(trib_ranking_scores(rows, POSITIVES + NEGATIVES, &s), TRIB_OK);
        const struct trib_interval i = trib_interval_auc(s.roc_auc, POSITIVES, NEGATIVES);
        covered += i.low <= truth && truth <= i.high;
    }
    assert_in_range(covered, 1860, 1960); // it errs on the safe side
}

// Of three classes the errors of three areas are added up, though the areas go together.
static void areas_of_classes_are_covered_at_least_as_often(void **state)
{
    (void)state;
    enum {
        ROWS = 240,
        CLASSES = 3
    };
    static double scores[ROWS * CLASSES];
    static uint32_t labels[ROWS];
    const double truth = 0.5 * erfc(-1 / 2.0); // each score of its class is shifted by 1
    const struct trib_multi_scored scored = {scores, labels, ROWS, CLASSES};
    uint64_t seed = 31;
    int covered = 0;
    for (int trial = 0; trial < 1000; trial++) {
        struct trib_multi_auc auc;
        for (int r = 0; r < ROWS; r++) {
            labels[r] = (uint32_t)r % CLASSES;
            for (uint32_t c = 0; c < CLASSES; c++)
                scores[r * CLASSES + (int)c] = normal(&seed) + (c == labels[r] ? 1 : 0);
        }
        assert_int_equal(trib_multi_auc_ovr(&scored, &auc), TRIB_OK);
        const struct trib_interval i = trib_interval_below_one(auc.ovr_macro, auc.ovr_error, 0);
        covered += i.low <= truth && truth <= i.high;
        assert_true(i.high - i.low < 0.2);
    }
    assert_in_range(covered, 940, 1000);
}

static void a_share_of_variance_is_covered_as_often_as_stated(void **state)
{
    (void)state;
    uint64_t seed = 37;
    int covered = 0;
    for (int trial = 0; trial < 2000; trial++) {
        struct trib_residuals sums = {0};
        struct trib_residual_scores s;
        for (int r = 0; r < 400; r++) { // targets 50 + d, predicted as 50 + 0.8 d with d of N(0, 1)
            const double d = normal(&seed), noise = 0.5 * normal(&seed);
            assert_int_equal(trib_residuals_add(&sums, 50 + 0.8 * d, 50 + d + noise), TRIB_OK);
        }
        assert_int_equal(trib_residuals_scores(&sums, &s), TRIB_OK);
        const double truth = 1 - (0.04 + 0.25) / 1.25; // Var(0.2 d + noise) / Var(d + noise)
        const struct trib_interval i = trib_interval_below_one(s.r2, s.r2_error, -(double)INFINITY);
        covered += i.low <= truth && truth <= i.high;
    }
    assert_in_range(covered, 1850, 1940);
}

// Around the mean of many drawings, which is what they are about.
static void average_precisions_are_covered_as_often_as_stated(void **state)
{
    (void)state;
    enum {
        POSITIVES = 100,
        NEGATIVES = 300
    };
    static struct trib_scored rows[POSITIVES + NEGATIVES];
    struct trib_ranking_scores s;
    uint64_t seed = 41;
    double values[1000], mean = 0;
    int covered = 0;
    const struct trib_interval half = trib_interval_precision(0.5, 16);
    assert_true(fabs(half.high - 1 / (1 + exp(-1.959963984540054 / 2))) < 1e-12);
    assert_true(fabs(half.low + half.high - 1) < 1e-12);
    for (int trial = 0; trial < 1000; trial++) {
        for (int r = 0; r < POSITIVES + NEGATIVES; r++)
            rows[r] =
                (struct trib_scored){normal(&seed) + (r < POSITIVES ? 1.5 : 0), r < POSITIVES};
        assert_int_equal(trib_ranking_scores(rows, POSITIVES + NEGATIVES, &s), TRIB_OK);
        values[trial] = s.average_precision;
        mean += s.average_precision / 1000;
    }
    for (int trial = 0; trial < 1000; trial++) {
        const struct trib_interval i = trib_interval_precision(values[trial], POSITIVES);
        covered += i.low <= mean && mean <= i.high;
    }
    assert_in_range(covered, 940, 1000); // it errs on the safe side
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_are_those_worked_out_by_hand),
        cmocka_unit_test(what_does_not_exist_has_no_interval),
        cmocka_unit_test(shares_are_covered_as_often_as_stated),
        cmocka_unit_test(areas_are_covered_as_often_as_stated),
        cmocka_unit_test(areas_of_classes_are_covered_at_least_as_often),
        cmocka_unit_test(average_precisions_are_covered_as_often_as_stated),
        cmocka_unit_test(a_share_of_variance_is_covered_as_often_as_stated),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
