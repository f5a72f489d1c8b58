#include "common/math/ranked_users.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/ask.h"
#include "common/math/train.h"
#include "coordinator/evaluate.h"
#include "tests/unit/models.h"

static void assert_near(double value, double wanted)
{
    if (!(fabs(value - wanted) < 1e-8)) // a user's numbers are rounded to 2^-30
        fail_msg("%.17g, wanted %.17g", value, wanted);
}

// Six items whose biases are their scores: 5 is shown first, 0 last.
static const float biases[6 + 6 + 1 + 2] = {[6] = 0, 1, 2, 3, 4, 5};

static struct trib_ranked_sums measured(const char *spec, const float *params,
                                        const struct trib_ranking_plan *plan,
                                        const struct trib_samples *held,
                                        const struct trib_samples *seen)
{
    const struct trib_model model = parsed(spec);
    struct trib_ranked_users *users;
    struct trib_ranked_sums sums = {.users = 0}, again = {.users = 0};
    struct trib_net *net;
    assert_true(trib_recommender_fits(&model));
    assert_int_equal(trib_net_create(&model, 4, &net), TRIB_OK);
    assert_int_equal(trib_ranked_users_create(&model, plan, held->rows + seen->rows, &users),
                     TRIB_OK);
    trib_ranked_users_add_all(users, held, true);
    trib_ranked_users_add_all(users, seen, false);
    assert_int_equal(trib_ranked_users_measure(users, net, params, &sums), TRIB_OK);
    assert_int_equal(trib_ranked_users_measure(users, net, params, &again), TRIB_OK);
    assert_memory_equal(&sums, &again, sizeof(sums)); // nothing of a measurement stays
    trib_ranked_users_destroy(users);
    trib_net_destroy(net);
    return sums;
}

static void factors_leave_out_what_was_seen_and_judge_by_what_is_held(void **state)
{
    (void)state;
    static const float held_x[] = {3, 1, 2, 4}, held_y[] = {4, 5, 2, 5};
    static const float seen_x[] = {5, 4}, seen_y[] = {5, 1};
    const struct trib_samples held = {.x = held_x, .y = held_y, .rows = 4, .inputs = 1};
    const struct trib_samples seen = {.x = seen_x, .y = seen_y, .rows = 2, .inputs = 1};
    struct trib_ranking_plan plan = {.k = 2, .relevant = 4};
    struct trib_evaluation e;
    // Candidates by score: 3 (relevant), 2 (held, rated low), 1 (relevant), 0; 5 and 4 were seen.
    struct trib_ranked_sums sums = measured("1 - factors 6x1 linear", biases, &plan, &held, &seen);
    assert_near(sums.users, 1);
    assert_near(sums.sums[TRIB_RANKED_HIT], 1);
    assert_near(sums.sums[TRIB_RANKED_RECALL], 0.5);
    assert_near(sums.sums[TRIB_RANKED_NDCG], 1 / (1 + 1 / log2(3)));
    plan.k = 3;
    sums = measured("1 - factors 6x1 linear", biases, &plan, &held, &seen);
    assert_near(sums.sums[TRIB_RANKED_RECALL], 1);
    assert_near(sums.sums[TRIB_RANKED_NDCG], 1.5 / (1 + 1 / log2(3)));
    trib_evaluation_init(&e, 0);
    assert_false(isfinite(e.ranking_k));
    trib_ranked_sums_fill(&sums, plan.k, &e);
    assert_true(e.ranking_k == 3 && e.ranking_users == 1);
    assert_near(e.ndcg_at_k, 1.5 / (1 + 1 / log2(3)));
    plan.relevant = 5.5; // nobody likes anything
    sums = measured("1 - factors 6x1 linear", biases, &plan, &held, &seen);
    assert_true(sums.users == 0);
    trib_ranked_sums_fill(&sums, plan.k, &e);
    assert_true(isnan(e.hit_rate_at_k) && e.ranking_users == 0);
}

static void negatives_are_as_many_as_asked_for_and_the_relevant_stay(void **state)
{
    (void)state;
    static const float held_x[] = {0}, held_y[] = {5};
    const struct trib_samples held = {.x = held_x, .y = held_y, .rows = 1, .inputs = 1};
    const struct trib_samples none = {.inputs = 1};
    double found = 0;
    // Item 0 has the lowest score: it is among the first k only if no more than k - 1 others are.
    for (uint32_t negatives = 1; negatives <= 5; negatives++) {
        for (uint32_t k = 1; k <= 6; k++) {
            const struct trib_ranking_plan plan = {
                .k = k, .relevant = 1, .negatives = negatives, .seed = 7};
            const struct trib_ranked_sums sums =
                measured("1 - factors 6x1 linear", biases, &plan, &held, &none);
            assert_near(sums.sums[TRIB_RANKED_HIT], negatives < k);
        }
    }
    // Item 3 is first unless 4 or 5 is the one that is drawn: 3 in 5.
    static const float third[] = {3};
    const struct trib_samples other = {.x = third, .y = held_y, .rows = 1, .inputs = 1};
    for (uint64_t seed = 0; seed < 1000; seed++) {
        const struct trib_ranking_plan plan = {.k = 1, .relevant = 1, .negatives = 1, .seed = seed};
        found +=
            measured("1 - factors 6x1 linear", biases, &plan, &other, &none).sums[TRIB_RANKED_HIT];
    }
    assert_in_range((uint64_t)found, 540, 660); // 4 standard deviations of 15.5 around 600
}

enum {
    USERS = 5,
    ITEMS = 7,
    ROWS = 40,
};

// Users and items of two numbers each; u^T W i with a W of 4.
static void draw_rows(uint64_t seed, float *x, float *y)
{
    for (size_t r = 0; r < ROWS; r++) {
        const float user = (float)(test_rand(&seed) % USERS),
                    item = (float)(test_rand(&seed) % ITEMS);
        const float row[4] = {user - 2, 1, item / 3, 1 - item};
        memcpy(x + 4 * r, row, sizeof(row));
        y[r] = (float)(test_rand(&seed) % 5 + 1);
    }
}

// The same by hand: pairs of a user and an item are told apart by their numbers.
static double hits_of(const float *x, const float *y, size_t held, const float *w, size_t k)
{
    double hits = 0;
    for (int user = 0; user < USERS; user++) {
        double scores[ITEMS];
        bool known[ITEMS] = {0}, seen[ITEMS] = {0}, liked[ITEMS] = {0};
        for (size_t r = 0; r < ROWS; r++) {
            const int item = (int)lroundf(1 - x[4 * r + 3]);
            const bool is_mine = (int)lroundf(x[4 * r] + 2) == user;
            known[item] = true;
            seen[item] = seen[item] || (is_mine && r >= held);
            liked[item] = liked[item] || (is_mine && r < held && y[r] >= 4);
            scores[item] = (double)w[0] * (user - 2) * item / 3 +
                           (double)w[1] * (user - 2) * (1 - item) + (double)w[2] * item / 3 +
                           (double)w[3] * (1 - item);
        }
        bool is_hit = false;
        for (int item = 0; item < ITEMS; item++) {
            size_t above = 0;
            for (int other = 0; other < ITEMS; other++)
                above += known[other] && !seen[other] && scores[other] > scores[item];
            is_hit = is_hit || (known[item] && !seen[item] && liked[item] && above < k);
        }
        hits += is_hit;
    }
    return hits;
}

static void users_of_bilinear_are_told_apart_by_their_numbers(void **state)
{
    (void)state;
    static const float w[4] = {0.31F, -0.7F, 0.43F, 0.11F};
    float x[4 * ROWS], y[ROWS];
    double all = 0;
    for (uint64_t trial = 0; trial < 200; trial++) {
        const struct trib_ranking_plan plan = {.k = 1 + (uint32_t)(trial % 3), .relevant = 4};
        const size_t held = 5 + trial % 20;
        draw_rows(trial + 1, x, y);
        const struct trib_samples judging = {.x = x, .y = y, .rows = held, .inputs = 4};
        const struct trib_samples seen = {
            .x = x + 4 * held, .y = y + held, .rows = ROWS - held, .inputs = 4};
        const struct trib_ranked_sums sums =
            measured("4 - bilinear 2x2 linear", w, &plan, &judging, &seen);
        assert_near(sums.sums[TRIB_RANKED_HIT], hits_of(x, y, held, w, plan.k));
        all += sums.sums[TRIB_RANKED_HIT];
    }
    assert_true(all > 100); // there is something to find
}

static void an_evaluation_of_devices_has_the_sums_of_users_behind_the_others(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1 - factors 6x1 linear");
    const struct trib_model other = parsed("6 - dense 1 linear");
    struct trib_ask ask = {.kind = TRIB_TALLY_EVALUATION,
                           .model = &model,
                           .kept.fraction = 0.5,
                           .ranking = {.k = 2, .relevant = 1}};
    struct trib_ask plain = ask;
    static const float x[] = {0, 1, 2, 3, 4, 5}, y[] = {1, 1, 1, 1, 1, 1};
    const struct trib_samples samples = {.x = x, .y = y, .rows = 6, .inputs = 1};
    uint32_t order[6];
    float kept_x[6], kept_y[6], learnt_x[6], learnt_y[6];
    struct trib_tally tally;
    plain.ranking.k = 0;
    const size_t values = trib_ask_values(&ask);
    assert_int_equal(values, trib_ask_values(&plain) + TRIB_RANKED_VALUES);
    assert_int_equal(trib_tally_init(&tally, values), TRIB_OK);
    assert_int_equal(trib_ask_count(&ask, biases, &samples, &tally), TRIB_OK);
    const size_t learnt =
        trib_train_split(&samples, &(const struct trib_kept_rows){.fraction = 0.5}, order);
    assert_in_range(learnt, 1, 5);
    for (size_t i = 0; i < learnt; i++) {
        learnt_x[i] = x[order[i]];
        learnt_y[i] = y[order[i]];
    }
    for (size_t i = learnt; i < 6; i++) {
        kept_x[i - learnt] = x[order[i]];
        kept_y[i - learnt] = y[order[i]];
    }
    const struct trib_samples held = {.x = kept_x, .y = kept_y, .rows = 6 - learnt, .inputs = 1};
    const struct trib_samples seen = {.x = learnt_x, .y = learnt_y, .rows = learnt, .inputs = 1};
    const struct trib_ranked_sums sums =
        measured("1 - factors 6x1 linear", biases, &ask.ranking, &held, &seen);
    double wanted[TRIB_RANKED_VALUES];
    trib_ranked_sums_put(&sums, wanted);
    for (size_t i = 0; i < TRIB_RANKED_VALUES; i++)
        assert_true(trib_tally_value(&tally, values - TRIB_RANKED_VALUES + i) == wanted[i]);
    assert_true(wanted[0] == 1);
    trib_tally_fini(&tally);
    ask.model = &other;
    assert_false(trib_recommender_fits(&other));
    assert_int_equal(trib_ask_values(&ask), 0); // such a task is refused
}

static void a_coordinator_ranks_its_held_out_rows_and_puts_them_into_the_report(void **state)
{
    (void)state;
    static const float w[4] = {0.31F, -0.7F, 0.43F, 0.11F};
    const struct trib_model model = parsed("4 - bilinear 2x2 linear");
    const struct trib_evaluator_plan plan = {
        .primary = "ndcg_at_k", .test_share = 0.5, .ranking = {.k = 2, .relevant = 4}};
    struct trib_dataset *dataset;
    struct trib_evaluator *evaluator;
    struct trib_held_out held_out;
    char why[256];
    assert_int_equal(trib_dataset_create(ROWS, 4, false, "rows.csv", &dataset), TRIB_OK);
    draw_rows(11, dataset->x, dataset->y);
    assert_int_equal(trib_evaluator_take(dataset, &model, &plan, &evaluator, why, sizeof(why)),
                     TRIB_OK);
    assert_int_equal(trib_evaluator_run(evaluator, w, &held_out), TRIB_OK);
    char *text = trib_evaluator_text(evaluator, &held_out);
    assert_non_null(text);
    assert_non_null(strstr(text, "\"ranking_k\":2,\"ranking_users\":"));
    assert_non_null(strstr(strstr(text, "\"test\":"), "\"ndcg_at_k\":"));
    free(text);
    double value;
    bool higher_is_better;
    assert_string_equal(trib_evaluation_primary(&held_out.validation, &value, &higher_is_better),
                        "ndcg_at_k");
    assert_true(higher_is_better && value > 0 && value <= 1);
    assert_true(held_out.validation.intervals.ndcg_at_k.low < value);
    assert_true(held_out.test.ranking_users >= 1);
    trib_evaluator_destroy(evaluator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_leave_out_what_was_seen_and_judge_by_what_is_held),
        cmocka_unit_test(negatives_are_as_many_as_asked_for_and_the_relevant_stay),
        cmocka_unit_test(users_of_bilinear_are_told_apart_by_their_numbers),
        cmocka_unit_test(an_evaluation_of_devices_has_the_sums_of_users_behind_the_others),
        cmocka_unit_test(a_coordinator_ranks_its_held_out_rows_and_puts_them_into_the_report),
    };
    return RUN_TESTS(tests);
}
