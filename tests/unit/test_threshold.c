#include "tests/test.h"

#include <math.h>

#include "common/base/wipe.h"
#include "common/math/threshold.h"

enum {
    ROWS = 60
};

static struct trib_threshold_goal parsed(const char *text)
{
    struct trib_threshold_goal goal;
    assert_int_equal(trib_threshold_goal_parse(text, &goal), TRIB_OK);
    return goal;
}

static void goals_are_read_and_others_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "f2",       "f1:0.5",      "recall",
                                      "recall:",  "recall:0", "recall:1.01", "recall:nan",
                                      "recall:x", "none:1",   "precision",   "precision:0.9x"};
    struct trib_threshold_goal goal = parsed("recall:0.9");
    assert_true(goal.goal == TRIB_GOAL_RECALL && goal.level == 0.9);
    goal = parsed("precision:1");
    assert_true(goal.goal == TRIB_GOAL_PRECISION && goal.level == 1);
    assert_int_equal(parsed("f1").goal, TRIB_GOAL_F1);
    assert_int_equal(parsed("none").goal, TRIB_GOAL_NONE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(trib_threshold_goal_parse(bad[i], &goal), TRIB_ERR_INVAL);
}

struct counts {
    double tp, fp, fn, tn;
};

static struct counts count_at(const struct trib_scored *rows, double threshold)
{
    struct counts c = {0};
    for (size_t i = 0; i < ROWS; i++) {
        const bool taken = rows[i].score >= threshold;
        c.tp += taken && rows[i].positive;
        c.fp += taken && !rows[i].positive;
        c.fn += !taken && rows[i].positive;
        c.tn += !taken && !rows[i].positive;
    }
    return c;
}

static double precision(const struct counts *c)
{
    return c->tp / (c->tp + c->fp);
}

// Every score is tried as a threshold. Is `c` the better one for the goal?
static bool is_better(const struct trib_threshold_goal *goal, const struct counts *c,
                      const struct counts *best)
{
    const double slack = 1e-12;
    const double recall = c->tp / (c->tp + c->fn), best_recall = best->tp / (best->tp + best->fn);
    const double level = goal->level;
    switch (goal->goal) {
    case TRIB_GOAL_NONE: return false;
    case TRIB_GOAL_F1:
        return 2 * c->tp / (2 * c->tp + c->fp + c->fn) >
               2 * best->tp / (2 * best->tp + best->fp + best->fn) + slack;
    case TRIB_GOAL_ACCURACY: return c->tp + c->tn > best->tp + best->tn;
    case TRIB_GOAL_YOUDEN:
        return recall + c->tn / (c->tn + c->fp) >
               best_recall + best->tn / (best->tn + best->fp) + slack;
    case TRIB_GOAL_RECALL:
        if (recall < level || best_recall < level)
            return recall > best_recall;
        return c->tp + c->fp < best->tp + best->fp;
    case TRIB_GOAL_PRECISION:
        if (precision(c) < level || precision(best) < level)
            return precision(c) > precision(best) + slack;
        return c->tp + c->fp > best->tp + best->fp;
    }
    return false;
}

static void a_chosen_threshold_equals_brute_force(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "f1", "accuracy", "youden", "recall:0.9", "recall:0.5", "precision:0.8", "precision:0.99"};
    uint64_t seed = 17;
    for (int trial = 0; trial < 300; trial++) {
        const struct trib_threshold_goal goal = parsed(texts[trial % 7]);
        const uint64_t distinct = 2 + test_rand(&seed) % 100;
        struct trib_scored rows[ROWS], copy[ROWS];
        double threshold;
        for (size_t i = 0; i < ROWS; i++) {
            const double score = (double)(test_rand(&seed) % distinct) / (double)(distinct - 1);
            const bool leans = (double)(test_rand(&seed) % 100) < 100 * score;
            rows[i] = copy[i] = (struct trib_scored){score, i < 2 ? i == 1 : leans};
        }
        assert_int_equal(trib_threshold_choose(copy, ROWS, &goal, &threshold), TRIB_OK);
        const struct counts chosen = count_at(rows, threshold);
        for (size_t i = 0; i < ROWS; i++) {
            const struct counts other = count_at(rows, rows[i].score);
            if (is_better(&goal, &other, &chosen))
                fail_msg("trial %d, goal %s: %g is better than %g", trial, texts[trial % 7],
                         rows[i].score, threshold);
            // Of equally good ones the highest
            assert_false(rows[i].score > threshold && !is_better(&goal, &chosen, &other) &&
                         other.tp + other.fp < chosen.tp + chosen.fp);
        }
    }
}

static void it_lies_half_way_between_two_scores(void **state)
{
    (void)state;
    struct trib_scored rows[4] = {{0.5, true}, {0.25, false}, {0.75, true}, {0.125, false}};
    const struct trib_threshold_goal all = parsed("precision:0.5"), f1 = parsed("f1");
    const struct trib_threshold_goal none = parsed("none");
    double threshold;
    assert_int_equal(trib_threshold_choose(rows, 4, &f1, &threshold), TRIB_OK);
    assert_true(threshold == 0.375);
    assert_int_equal(trib_threshold_choose(rows, 4, &all, &threshold), TRIB_OK);
    assert_true(threshold == 0.0625); // everything: half way to 0
    assert_int_equal(trib_threshold_choose(rows, 4, &none, &threshold), TRIB_OK);
    assert_true(threshold == 0.5);
}

static void rows_that_cannot_tell_are_refused(void **state)
{
    (void)state;
    struct trib_scored rows[3] = {{0.5, true}, {0.75, true}, {1.5, false}};
    const struct trib_threshold_goal f1 = parsed("f1");
    double threshold = 77;
    assert_int_equal(trib_threshold_choose(rows, 0, &f1, &threshold), TRIB_ERR_DATA);
    assert_int_equal(trib_threshold_choose(rows, 2, &f1, &threshold), TRIB_ERR_DATA);
    assert_int_equal(trib_threshold_choose(rows, 3, &f1, &threshold), TRIB_ERR_DATA);
    rows[2].score = (double)NAN;
    assert_int_equal(trib_threshold_choose(rows, 3, &f1, &threshold), TRIB_ERR_DATA);
    assert_true(threshold == 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goals_are_read_and_others_refused),
        cmocka_unit_test(a_chosen_threshold_equals_brute_force),
        cmocka_unit_test(it_lies_half_way_between_two_scores),
        cmocka_unit_test(rows_that_cannot_tell_are_refused),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
