#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/math/probabilities.h"
#include "common/math/ranking.h"
#include "common/math/score_sums.h"
#include "common/math/scores.h"

enum {
    CLASSES_MAX = 5,
    ROWS = 400,
};

static double uniform(uint64_t *seed)
{
    return (double)(test_rand(seed) >> 11) * 0x1p-53;
}

struct rows {
    uint32_t classes;
    double p[ROWS][CLASSES_MAX];
    uint32_t labels[ROWS];
};

// Rows whose scores say something of the label: sharper, coarser or blunter from trial to trial.
static void draw_rows(struct rows *rows, uint32_t classes, uint64_t *seed)
{
    const double sharp = exp(6 * uniform(seed) - 3);
    const double grid = test_rand(seed) % 2 ? 16 : 0x1p40;
    rows->classes = classes;
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0;
        rows->labels[r] = r < classes ? (uint32_t)r : (uint32_t)(test_rand(seed) % classes);
        for (uint32_t c = 0; c < classes; c++) {
            const double lift = c == rows->labels[r] ? 0.3 : 0;
            rows->p[r][c] = floor(grid * exp(sharp * (uniform(seed) + lift))) + 1;
            sum += rows->p[r][c];
        }
        for (uint32_t c = 0; c < classes; c++)
            rows->p[r][c] /= sum;
    }
}

static struct trib_score_sums sums_of(uint32_t classes)
{
    struct trib_score_sums sums;
    assert_int_equal(trib_score_sums_init(&sums, classes, 2), TRIB_OK);
    assert_true(sums.count == trib_score_sums_count(classes));
    return sums;
}

static struct trib_score_sums sum_all(const struct rows *rows)
{
    struct trib_score_sums sums = sums_of(rows->classes);
    for (size_t r = 0; r < ROWS; r++)
        trib_score_sums_add(&sums, rows->p[r], rows->labels[r]);
    return sums;
}

static void any_split_into_devices_sums_to_the_same_bits(void **state)
{
    (void)state;
    enum {
        DEVICES = 50
    };
    uint64_t seed = 31;
    static struct rows rows;
    for (int trial = 0; trial < 40; trial++) {
        struct trib_score_sums devices[DEVICES];
        draw_rows(&rows, 2 + (uint32_t)trial % (CLASSES_MAX - 1), &seed);
        struct trib_score_sums pooled = sum_all(&rows), merged = sums_of(rows.classes);
        for (size_t d = 0; d < DEVICES; d++)
            devices[d] = sums_of(rows.classes);
        for (size_t r = ROWS; r-- > 0;)
            trib_score_sums_add(&devices[test_rand(&seed) % DEVICES], rows.p[r], rows.labels[r]);
        for (size_t d = 0; d < DEVICES; d++) {
            assert_int_equal(trib_score_sums_merge(&merged, &devices[d]), TRIB_OK);
            trib_score_sums_fini(&devices[d]);
        }
        assert_memory_equal(merged.cells, pooled.cells, pooled.count * sizeof(*pooled.cells));
        trib_score_sums_fini(&pooled);
        trib_score_sums_fini(&merged);
    }
}

static void sums_that_add_up_are_those_of_the_rows(void **state)
{
    (void)state;
    uint64_t seed = 37;
    static struct rows rows;
    for (int trial = 0; trial < 20; trial++) {
        double log_loss = 0, log_loss_square = 0, brier = 0, top = 0, right = 0;
        struct trib_score_values values;
        struct trib_class_scores scores;
        draw_rows(&rows, 2 + (uint32_t)trial % (CLASSES_MAX - 1), &seed);
        struct trib_score_sums sums = sum_all(&rows);
        for (size_t r = 0; r < ROWS; r++) {
            const double *p = rows.p[r];
            const double loss =
                trib_log_loss(p, rows.classes, rows.labels[r], TRIB_PROBABILITY_CLIP);
            log_loss += loss / ROWS;
            log_loss_square += loss * loss / ROWS;
            brier += trib_brier(p, rows.classes, rows.labels[r]) / ROWS;
            top += trib_is_in_top(p, rows.classes, rows.labels[r], 2);
            if (rows.classes > 2)
                right += trib_is_in_top(p, rows.classes, rows.labels[r], 1);
            else
                right += (p[1] >= 0.5) == (rows.labels[r] == 1);
        }
        const struct trib_confusion confusion = trib_score_sums_confusion(&sums);
        assert_int_equal(trib_class_scores(&confusion, &scores), TRIB_OK);
        assert_int_equal(trib_score_sums_values(&sums, &values), TRIB_OK);
        assert_true(values.rows == ROWS && values.left_out == 0);
        assert_true(scores.accuracy == right / ROWS && values.top_k == top / ROWS);
        assert_true(fabs(values.log_loss - log_loss) <= 0x1p-31);
        assert_true(fabs(values.brier - brier) <= 0x1p-31);
        const double error = sqrt((log_loss_square - log_loss * log_loss) / (ROWS - 1));
        assert_true(fabs(values.log_loss_error - error) < 1e-6);
        trib_score_sums_fini(&sums);
    }
}

// The exact value of one machine is never further away than stated.
static void bounds_hold_on_a_thousand_random_cases(void **state)
{
    (void)state;
    uint64_t seed = 41;
    static struct rows rows;
    for (int trial = 0; trial < 1000; trial++) {
        static double flat[ROWS * CLASSES_MAX];
        static struct trib_scored scored[ROWS];
        struct trib_ranking_scores exact;
        struct trib_multi_auc auc;
        struct trib_score_values v;
        draw_rows(&rows, trial % 4 ? 2 : 3 + (uint32_t)(trial / 4) % 3, &seed);
        struct trib_score_sums sums = sum_all(&rows);
        assert_int_equal(trib_score_sums_values(&sums, &v), TRIB_OK);
        trib_score_sums_fini(&sums);
        for (size_t r = 0; r < ROWS; r++)
            memcpy(flat + r * rows.classes, rows.p[r], rows.classes * sizeof(*flat));
        if (rows.classes > 2) {
            const struct trib_multi_scored multi = {flat, rows.labels, ROWS, rows.classes};
            assert_int_equal(trib_multi_auc_ovr(&multi, &auc), TRIB_OK);
            assert_true(fabs(v.roc_auc - auc.ovr_macro) <= v.roc_auc_bound + 1e-12);
            assert_true(isnan(v.average_precision));
            continue;
        }
        for (size_t r = 0; r < ROWS; r++)
            scored[r] = (struct trib_scored){rows.p[r][1], rows.labels[r] == 1};
        assert_int_equal(trib_ranking_scores(scored, ROWS, &exact), TRIB_OK);
        assert_true(fabs(v.roc_auc - exact.roc_auc) <= v.roc_auc_bound + 1e-12);
        assert_true(v.roc_auc_bound < 0.5);
        assert_true(exact.average_precision >= v.average_precision_low - 1e-12);
        assert_true(exact.average_precision <= v.average_precision_high + 1e-12);
        assert_true(v.average_precision_low <= v.average_precision + 1e-12);
        assert_true(v.average_precision <= v.average_precision_high + 1e-12);
    }
}

static void scores_on_bin_borders_lose_nothing(void **state)
{
    (void)state;
    uint64_t seed = 43;
    struct trib_score_sums sums = sums_of(2);
    struct trib_scored scored[ROWS];
    struct trib_ranking_scores exact;
    struct trib_score_values v;
    for (size_t r = 0; r < ROWS; r++) {
        const double p1 = (double)(r * 7 % TRIB_SCORE_BINS) / TRIB_SCORE_BINS;
        const double p[2] = {1 - p1, p1};
        const bool positive = uniform(&seed) < p1;
        trib_score_sums_add(&sums, p, positive);
        scored[r] = (struct trib_scored){p1, positive};
    }
    assert_int_equal(trib_score_sums_values(&sums, &v), TRIB_OK);
    assert_int_equal(trib_ranking_scores(scored, ROWS, &exact), TRIB_OK);
    assert_true(fabs(v.roc_auc - exact.roc_auc) < 1e-12);
    assert_true(fabs(v.average_precision - exact.average_precision) < 1e-12);
    trib_score_sums_fini(&sums);
}

static void calibration_is_that_worked_out_by_hand(void **state)
{
    (void)state;
    // Bin 1 of 16 holds 0.0625 .. 0.125, bin 12 holds 0.75 .. 0.8125, the last one also 1.
    static const double scores[6] = {0.0625, 0.125 - 0x1p-20, 0.75, 0.75, 0.78125, 1};
    static const uint32_t labels[6] = {0, 1, 1, 0, 1, 1};
    static const double three[3] = {0.25, 0.5, 0.25};
    struct trib_calibration_bin bins[TRIB_CALIBRATION_BINS];
    struct trib_score_sums sums = sums_of(2), multi = sums_of(3);
    struct trib_score_values v;
    for (size_t r = 0; r < 6; r++) {
        const double p[2] = {1 - scores[r], scores[r]};
        trib_score_sums_add(&sums, p, labels[r]);
    }
    trib_score_sums_calibration(&sums, bins);
    assert_true(bins[1].rows == 2 && bins[12].rows == 3 && bins[15].rows == 1);
    assert_true(bins[1].share == 0.5 && fabs(bins[12].share - 2.0 / 3) < 1e-12);
    assert_true(fabs(bins[12].mean - (1.5 + 0.78125) / 3) < 1e-9);
    assert_true(bins[0].rows == 0 && isnan(bins[0].mean) && isnan(bins[0].share));
    assert_int_equal(trib_score_sums_values(&sums, &v), TRIB_OK);
    const double first = fabs(1 - (0.1875 - 0x1p-20)), second = fabs(2 - 2.28125);
    assert_true(fabs(v.ece - (first + second) / 6) < 1e-9);
    trib_score_sums_fini(&sums);

    trib_score_sums_add(&multi, three, 1); // of the predicted class
    trib_score_sums_add(&multi, three, 0);
    trib_score_sums_add(&multi, three, 2);
    assert_int_equal(trib_score_sums_values(&multi, &v), TRIB_OK);
    assert_true(fabs(v.ece - (0.5 - 1.0 / 3)) < 1e-9);
    trib_score_sums_fini(&multi);
}

static void a_threshold_moves_the_confusion_only(void **state)
{
    (void)state;
    static const double p[2] = {0.7, 0.3};
    struct trib_score_sums half = sums_of(2), low = sums_of(2);
    low.threshold = 0.3;
    trib_score_sums_add(&half, p, 1);
    trib_score_sums_add(&low, p, 1);
    assert_int_equal(trib_score_sums_confusion(&half).counts[2], 1);
    assert_int_equal(trib_score_sums_confusion(&low).counts[3], 1);
    memset(trib_score_sums_confusion(&half).counts, 0, 4 * sizeof(uint64_t));
    memset(trib_score_sums_confusion(&low).counts, 0, 4 * sizeof(uint64_t));
    assert_memory_equal(half.cells, low.cells, low.count * sizeof(*low.cells));
    trib_score_sums_fini(&half);
    trib_score_sums_fini(&low);
}

static void rows_that_are_no_probabilities_are_counted_apart(void **state)
{
    (void)state;
    static const double bad[][2] = {
        {(double)NAN, 0.5}, {0.5, (double)NAN}, {0.5, (double)INFINITY}, {1.5, 0.5}, {-0.5, 0.5}};
    struct trib_score_sums sums = sums_of(2);
    struct trib_score_values v = {.rows = 77};
    for (size_t i = 0; i < 5; i++)
        trib_score_sums_add(&sums, bad[i], 1);
    assert_true(sums.cells[1] == 5);
    for (size_t i = 0; i < sums.count; i++)
        assert_true(i == 1 || sums.cells[i] == 0);
    assert_int_equal(trib_score_sums_values(&sums, &v), TRIB_ERR_DATA);
    assert_true(v.rows == 77);
    trib_score_sums_fini(&sums);
}

static void what_does_not_fit_is_not_merged(void **state)
{
    (void)state;
    struct trib_score_sums two = sums_of(2), full = sums_of(2), three = sums_of(3), other;
    assert_int_equal(trib_score_sums_init(&other, 2, 5), TRIB_OK);
    two.cells[0] = two.cells[9] = 1;
    full.cells[0] = 1;
    full.cells[9] = UINT64_MAX;
    assert_int_equal(trib_score_sums_merge(&two, &three), TRIB_ERR_DATA);
    assert_int_equal(trib_score_sums_merge(&two, &other), TRIB_ERR_DATA);
    assert_int_equal(trib_score_sums_merge(&two, &full), TRIB_ERR_DATA);
    assert_true(two.cells[0] == 1 && two.cells[9] == 1);
    trib_score_sums_fini(&two);
    trib_score_sums_fini(&full);
    trib_score_sums_fini(&three);
    trib_score_sums_fini(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_split_into_devices_sums_to_the_same_bits),
        cmocka_unit_test(sums_that_add_up_are_those_of_the_rows),
        cmocka_unit_test(bounds_hold_on_a_thousand_random_cases),
        cmocka_unit_test(scores_on_bin_borders_lose_nothing),
        cmocka_unit_test(calibration_is_that_worked_out_by_hand),
        cmocka_unit_test(a_threshold_moves_the_confusion_only),
        cmocka_unit_test(rows_that_are_no_probabilities_are_counted_apart),
        cmocka_unit_test(what_does_not_fit_is_not_merged),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
