#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/score_intervals.h"

enum {
    CLASSES_MAX = 3,
    SCORES = 9
};

// The scores and their intervals, in the same order.
struct found {
    double scores[SCORES];
    struct trib_interval intervals[SCORES];
};

static struct found find(const uint64_t *counts, uint32_t classes)
{
    uint64_t copy[CLASSES_MAX * CLASSES_MAX];
    memcpy(copy, counts, (size_t)classes * classes * sizeof(*copy));
    const struct trib_confusion confusion = {.classes = classes, .counts = copy};
    struct trib_class_scores s;
    struct trib_score_intervals i;
    assert_int_equal(trib_class_scores(&confusion, &s), TRIB_OK);
    assert_int_equal(trib_score_intervals(&confusion, &s, &i), TRIB_OK);
    return (struct found){{s.macro.precision, s.macro.recall, s.macro.f1, s.balanced_accuracy,
                           s.mcc, s.kappa, s.binary.precision, s.binary.recall, s.binary.f1},
                          {i.precision, i.recall, i.f1, i.balanced_accuracy, i.mcc, i.kappa,
                           i.positive_precision, i.positive_recall, i.positive_f1}};
}

// The gradients, against differences of the scores themselves: moving rows from one cell to another
// by h changes f by h (g_a - g_b), and variances are of those differences.
static void variances_are_those_of_the_scores_slopes(void **state)
{
    (void)state;
    static const uint64_t two[4] = {50000000, 9000000, 6000000, 35000000};
    static const uint64_t three[9] = {40000000, 3000000, 2000000, 1000000, 25000000,
                                      4000000,  2000000, 5000000, 18000000};
    const double z = TRIB_CONFIDENCE_ERRORS;
    for (uint32_t classes = 2; classes <= 3; classes++) {
        const uint64_t *counts = classes == 2 ? two : three;
        const size_t cells = (size_t)classes * classes;
        const double rows = 100000000, step = 20000;
        const struct found at = find(counts, classes);
        double slopes[SCORES][CLASSES_MAX * CLASSES_MAX] = {{0}};
        for (size_t c = 1; c < cells; c++) { // against cell 0
            uint64_t moved[CLASSES_MAX * CLASSES_MAX];
            memcpy(moved, counts, cells * sizeof(*moved));
            moved[0] -= 20000;
            moved[c] += 20000;
            const struct found up = find(moved, classes);
            moved[0] += 40000;
            moved[c] -= 40000;
            const struct found down = find(moved, classes);
            for (size_t s = 0; s < SCORES; s++)
                slopes[s][c] = (up.scores[s] - down.scores[s]) / (2 * step / rows);
        }
        for (size_t s = 0; s < SCORES; s++) {
            double mean = 0, square = 0;
            if (s == 6 || s == 7 || (classes == 3 && s == 8)) // Wilson's, or none
                continue;
            for (size_t c = 0; c < cells; c++) {
                mean += (double)counts[c] / rows * slopes[s][c];
                square += (double)counts[c] / rows * slopes[s][c] * slopes[s][c];
            }
            const double error = sqrt((square - mean * mean) / rows);
            const double got = (at.intervals[s].high - at.intervals[s].low) / 2 / z;
            if (!(fabs(got / error - 1) < 1e-4))
                fail_msg("score %zu of %u classes: %.9g is not %.9g", s, classes, got, error);
            assert_true(fabs((at.intervals[s].high + at.intervals[s].low) / 2 - at.scores[s]) <
                        1e-9);
        }
    }
}

static void draw_rows(const uint64_t *shares, size_t cells, int rows, uint64_t *seed,
                      uint64_t *ret_counts)
{
    memset(ret_counts, 0, cells * sizeof(*ret_counts));
    for (int r = 0; r < rows; r++) {
        uint64_t at = test_rand(seed) % 1000; // the shares are in thousands
        size_t c = 0;
        while (at >= shares[c])
            at -= shares[c++];
        ret_counts[c]++;
    }
}

// Of 2,000 samples 95 in 100 cover the truth; the normal law is a little short of that with 400
// rows, and chance moves the share by 0.02 in one of 10,000 seeds.
static void scores_are_covered_as_often_as_stated(void **state)
{
    (void)state;
    static const uint64_t two[4] = {520, 80, 60, 340};
    static const uint64_t three[9] = {400, 30, 20, 10, 250, 40, 20, 50, 180};
    uint64_t seed = 31;
    for (uint32_t classes = 2; classes <= 3; classes++) {
        const uint64_t *shares = classes == 2 ? two : three;
        const struct found truth = find(shares, classes);
        int covered[SCORES] = {0};
        for (int trial = 0; trial < 2000; trial++) {
            uint64_t counts[CLASSES_MAX * CLASSES_MAX];
            draw_rows(shares, (size_t)classes * classes, 400, &seed, counts);
            const struct found got = find(counts, classes);
            for (size_t s = 0; s < SCORES; s++)
                covered[s] += got.intervals[s].low <= truth.scores[s] &&
                              truth.scores[s] <= got.intervals[s].high;
        }
        for (size_t s = 0; s < SCORES; s++) {
            if (classes == 3 && s >= 6)
                assert_int_equal(covered[s], 0); // of class 1 alone
            else
                assert_in_range(covered[s], 1860, 1940);
        }
    }
}

// No row wrong is not the same as none that could be.
static void what_has_no_variance_has_no_interval(void **state)
{
    (void)state;
    static const uint64_t right[4] = {10, 0, 0, 7}, one[4] = {10, 3, 0, 0};
    struct found found = find(right, 2);
    for (size_t s = 0; s < SCORES; s++)
        assert_true(isnan(found.intervals[s].low) == (s != 6 && s != 7));
    found = find(one, 2);                                  // class 1 has no rows
    assert_true(isnan(found.intervals[4].low));            // mcc
    assert_true(found.intervals[3].low < found.scores[3]); // balanced accuracy: that of class 0
    assert_true(isnan(found.intervals[7].low) && isfinite(found.intervals[6].low));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variances_are_those_of_the_scores_slopes),
        cmocka_unit_test(scores_are_covered_as_often_as_stated),
        cmocka_unit_test(what_has_no_variance_has_no_interval),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
