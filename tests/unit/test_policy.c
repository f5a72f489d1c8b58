#include "client/policy.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "common/privacy/accountant.h"

// Pure epsilon of a round: s1 / 2^grid_bits = 0.5
static const struct trib_encoding local = {.mode = TRIB_PRIVACY_LOCAL,
                                           .grid = 1e-4,
                                           .grid_bits = 12,
                                           .s1 = 2048,
                                           .s2 = 512,
                                           .sinf = 512,
                                           .word_bits = 24};

static struct trib_policy defaults(void)
{
    struct trib_conf conf;
    struct trib_policy policy;
    trib_conf_init(&conf);
    trib_policy_conf_add(&conf, &policy);
    return policy;
}

static struct trib_policy with_modes(const char *modes)
{
    struct trib_policy policy = defaults();
    (void)snprintf(policy.allowed_modes, sizeof(policy.allowed_modes), "%s", modes);
    return policy;
}

static bool allows_mode(const struct trib_policy *policy, enum trib_privacy_mode mode)
{
    char why[256];
    struct trib_encoding encoding = local;
    encoding.mode = mode;
    return trib_policy_allows(policy, &encoding, why, sizeof(why));
}

static void by_default_nobody_else_sees_an_update(void **state)
{
    (void)state;
    const struct trib_policy policy = defaults();
    assert_true(allows_mode(&policy, TRIB_PRIVACY_LOCAL));
    assert_true(allows_mode(&policy, TRIB_PRIVACY_DISTRIBUTED));
    assert_false(allows_mode(&policy, TRIB_PRIVACY_OFF));
    assert_false(allows_mode(&policy, TRIB_PRIVACY_CENTRAL));
}

static void only_whole_words_of_the_list_count(void **state)
{
    (void)state;
    struct trib_policy policy = with_modes(" off ,, local");
    assert_true(allows_mode(&policy, TRIB_PRIVACY_OFF));
    assert_true(allows_mode(&policy, TRIB_PRIVACY_LOCAL));
    assert_false(allows_mode(&policy, TRIB_PRIVACY_CENTRAL));
    policy = with_modes("loca,locals,of");
    assert_false(allows_mode(&policy, TRIB_PRIVACY_LOCAL));
    assert_false(allows_mode(&policy, TRIB_PRIVACY_OFF));
    policy = with_modes("");
    for (int mode = TRIB_PRIVACY_OFF; mode <= TRIB_PRIVACY_CENTRAL; mode++)
        assert_false(allows_mode(&policy, (enum trib_privacy_mode)mode));
}

static bool allows_plan(const struct trib_policy *policy, uint64_t members, double threshold_frac,
                        double colluders_frac, const char *expected)
{
    char why[256] = "";
    struct trib_secagg_plan plan;
    assert_int_equal(
        trib_secagg_plan_make(members, threshold_frac, colluders_frac, &plan, why, sizeof(why)),
        TRIB_OK);
    bool allows = trib_policy_allows_plan(policy, &plan, why, sizeof(why));
    if (!allows && !strstr(why, expected))
        fail_msg("said '%s', wanted '%s'", why, expected);
    return allows;
}

static void a_coordinator_chooses_thresholds_only_above_the_devices_own(void **state)
{
    (void)state;
    struct trib_policy policy = defaults();
    assert_true(allows_plan(&policy, 20, 0.75, 0.1, ""));
    assert_false(allows_plan(&policy, 19, 0.75, 0.1, "a cohort of 19"));
    assert_true(allows_plan(&policy, 20, 0.55, 0, "")); // more than half, as any plan
    policy.min_threshold = 15;
    assert_true(allows_plan(&policy, 20, 0.75, 0, ""));
    assert_false(allows_plan(&policy, 20, 0.7, 0, "min_threshold is 15"));
    policy.min_threshold = 0;
    policy.min_colluders_frac = 0.1;
    assert_true(allows_plan(&policy, 20, 0.75, 0.1, ""));
    assert_false(allows_plan(&policy, 20, 0.75, 0.05, "against 1 of 20 devices"));
}

static void a_plan_that_protects_nobody_is_refused_whatever_the_policy(void **state)
{
    (void)state;
    const struct trib_policy policy = defaults();
    char why[256];
    struct trib_secagg_plan plan;
    assert_int_equal(trib_secagg_plan_make(30, 0.75, 0.1, &plan, why, sizeof(why)), TRIB_OK);
    assert_true(trib_policy_allows_plan(&policy, &plan, why, sizeof(why)));
    plan.shares++; // more noise is claimed than T - c devices make up
    assert_false(trib_policy_allows_plan(&policy, &plan, why, sizeof(why)));
    plan.shares--;
    plan.threshold = 16; // two sums could be opened
    plan.shares = plan.threshold - plan.colluders;
    assert_false(trib_policy_allows_plan(&policy, &plan, why, sizeof(why)));
}

static void an_unknown_word_is_named(void **state)
{
    (void)state;
    char word[8];
    struct trib_policy policy = with_modes("off,local,distributed,central");
    assert_true(trib_policy_check(&policy, word, sizeof(word)));
    policy = with_modes("local, lokal, off");
    assert_false(trib_policy_check(&policy, word, sizeof(word)));
    assert_string_equal(word, "lokal");
    policy = with_modes("a-word-that-is-longer-than-the-room");
    assert_false(trib_policy_check(&policy, word, sizeof(word)));
    assert_string_equal(word, "a-word-");
}

// What the coordinator claims a round to cost does not matter: the integers decide.
static void a_round_that_costs_more_than_the_limit_is_refused(void **state)
{
    (void)state;
    char why[256];
    struct trib_policy policy = defaults();
    policy.max_epsilon_pure_round = 0.5;
    assert_true(trib_policy_allows(&policy, &local, why, sizeof(why)));
    struct trib_encoding dearer = local;
    dearer.s1++;
    assert_false(trib_policy_allows(&policy, &dearer, why, sizeof(why)));
    assert_non_null(strstr(why, "max_epsilon_pure_round"));

    policy = defaults();
    const double rho = trib_rho_of(&local);
    assert_true(rho > 0);
    policy.max_rho_round = rho;
    assert_true(trib_policy_allows(&policy, &local, why, sizeof(why)));
    policy.max_rho_round = rho * 0.999;
    assert_false(trib_policy_allows(&policy, &local, why, sizeof(why)));
    assert_non_null(strstr(why, "max_rho_round"));
}

static void limits_do_not_apply_to_a_mode_without_a_promise(void **state)
{
    (void)state;
    struct trib_policy policy = with_modes("off");
    policy.max_epsilon_pure_round = 1e-9;
    policy.max_rho_round = 1e-9;
    assert_true(allows_mode(&policy, TRIB_PRIVACY_OFF));
}

static void a_budget_has_no_limit_until_the_owner_sets_one(void **state)
{
    (void)state;
    static const char text[] = "[client.policy]\nbudget_epsilon_pure_total = 3.5\n"
                               "budget_epsilon_total = 8\nbudget_delta = 1e-7\n"
                               "budget_rho_total = 0.25\nbudget_window_days = 30\n";
    struct trib_conf conf;
    struct trib_policy policy = defaults();
    struct trib_budget budget = trib_policy_budget(&policy);
    assert_true(budget.epsilon_pure == 0 && budget.epsilon == 0 && budget.rho == 0);
    assert_true(budget.delta == 1e-6);
    assert_int_equal(budget.window_ms, 0);
    trib_conf_init(&conf);
    trib_policy_conf_add(&conf, &policy);
    assert_int_equal(trib_conf_parse(&conf, text, sizeof(text) - 1, "client.ini", "."), TRIB_OK);
    budget = trib_policy_budget(&policy);
    assert_true(budget.epsilon_pure == 3.5 && budget.epsilon == 8 && budget.rho == 0.25);
    assert_true(budget.delta == 1e-7);
    assert_int_equal(budget.window_ms, (uint64_t)30 * 24 * 3600 * 1000);
    static const char *const bad[] = {"budget_rho_total = -1", "budget_delta = 0",
                                      "budget_delta = 1", "budget_window_days = 0.5",
                                      "budget_epsilon_total = nan"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[128];
        const int size = snprintf(line, sizeof(line), "[client.policy]\n%s\n", bad[i]);
        trib_conf_init(&conf);
        trib_policy_conf_add(&conf, &policy);
        assert_int_equal(trib_conf_parse(&conf, line, (size_t)size, "client.ini", "."),
                         TRIB_ERR_INVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_default_nobody_else_sees_an_update),
        cmocka_unit_test(only_whole_words_of_the_list_count),
        cmocka_unit_test(a_coordinator_chooses_thresholds_only_above_the_devices_own),
        cmocka_unit_test(a_plan_that_protects_nobody_is_refused_whatever_the_policy),
        cmocka_unit_test(an_unknown_word_is_named),
        cmocka_unit_test(a_round_that_costs_more_than_the_limit_is_refused),
        cmocka_unit_test(limits_do_not_apply_to_a_mode_without_a_promise),
        cmocka_unit_test(a_budget_has_no_limit_until_the_owner_sets_one),
    };
    return RUN_TESTS(tests);
}
