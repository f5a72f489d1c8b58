#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/privacy/accountant.h"

static double uniform(uint64_t *seed) // (0, 1)
{
    return ((double)(test_rand(seed) >> 11) + 0.5) * 0x1p-53;
}

static void assert_close(double got, double expected, double relative)
{
    assert_true(fabs(got - expected) <= relative * fabs(expected));
}

// ---- one round

static void shift_costs_have_their_digits_at_any_size(void **state)
{
    (void)state;
    // x + e^-x - 1 in 80 bits where that is enough, its first terms where it is not.
    for (double x = 1e-9; x < 1e3; x *= 1.7) {
        double expected = x < 1e-3 ? x * x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5)))
                                   : (double)((long double)x + expl(-(long double)x) - 1);
        assert_close(trib_zcdp_laplace(x, x), expected, 1e-12); // one coordinate: both norms are x
    }
    assert_true(trib_zcdp_laplace(0, 0) == 0);
    assert_true(trib_zcdp_laplace(5, 0) == 0);
}

// KL divergence of the discrete law from itself moved by `shift`, summed from the definition.
static double summed_divergence(double t, int shift)
{
    double l = exp(-1 / t);
    double sum = 0;
    for (double x = -60 * t - shift; x <= 60 * t + shift; x++)
        sum += (1 - l) / (1 + l) * exp(-fabs(x) / t) * (fabs(x - shift) - fabs(x)) / t;
    return sum;
}

static void the_discrete_cost_is_the_divergence_it_claims(void **state)
{
    (void)state;
    static const double scales[] = {1, 2, 8, 64, 1000};
    for (int s = 0; s < 5; s++) {
        for (int shift = 1; shift <= 64; shift *= 2)
            assert_close(trib_zcdp_discrete_shift(scales[s], shift),
                         summed_divergence(scales[s], shift), 1e-8);
    }
    assert_true(trib_zcdp_discrete_shift(8, 0) == 0);
}

static void the_dual_norm_bound_holds_for_random_vectors(void **state)
{
    (void)state;
    enum {
        VECTORS = 30000,
        COUNT_MAX = 40
    };
    uint64_t seed = 1;
    double largest = 0;
    for (int v = 0; v < VECTORS; v++) {
        const double t = ldexp(1, (int)(test_rand(&seed) % 13));
        const double spread = exp(8 * uniform(&seed) - 4);
        const size_t count = 1 + test_rand(&seed) % COUNT_MAX;
        double cost = 0, discrete = 0, l1 = 0, squares = 0, s1 = 0, s_squares = 0;
        for (size_t i = 0; i < count; i++) {
            double x = spread * (v % 3 ? -log(uniform(&seed)) : 1);
            double s = floor(x * t);
            cost += trib_zcdp_laplace(x, x);
            discrete += trib_zcdp_discrete_shift(t, s);
            l1 += x;
            squares += x * x;
            s1 += s;
            s_squares += s * s;
        }
        double bound = trib_zcdp_laplace(l1, sqrt(squares));
        assert_true(cost <= bound * (1 + 1e-12));
        assert_true(bound <= squares / 2 * (1 + 1e-12));
        largest = fmax(largest, cost / bound);
        double discrete_bound = trib_zcdp_discrete_laplace(t, s1 / t, sqrt(s_squares) / t);
        assert_true(discrete <= discrete_bound * (1 + 1e-12));
        assert_true(discrete_bound <= s_squares / t / t / 2 * (1 + 1e-12));
    }
    assert_true(largest > 1 - 1e-9); // vectors of equal coordinates reach it
}

static void the_cost_grows_with_each_norm(void **state)
{
    (void)state;
    for (double d1 = 0.01; d1 < 50; d1 *= 1.5) {
        for (double d2 = 0.01; d2 < d1; d2 *= 1.5) {
            double here = trib_zcdp_laplace(d1, d2);
            assert_true(trib_zcdp_laplace(d1 * 1.01, d2) >= here);
            assert_true(trib_zcdp_laplace(d1, d2 * 1.01) >= here);
            assert_true(trib_zcdp_discrete_laplace(64, d1 * 1.01, d2) >=
                        trib_zcdp_discrete_laplace(64, d1, d2));
            assert_true(trib_zcdp_discrete_laplace(1, d1, d2) <= d2 * d2 / 2); // coarsest grid
        }
        assert_true(trib_zcdp_laplace(d1, 2 * d1) == trib_zcdp_laplace(d1, d1));
    }
}

// ---- epsilon

static void epsilon_is_the_minimum_over_alpha(void **state)
{
    (void)state;
    // A plain walk over alpha, the other way to the same minimum.
    static const double rhos[] = {1e-6, 1e-3, 0.1, 1, 20, 500};
    static const double deltas[] = {1e-2, 1e-6, 1e-12};
    for (int r = 0; r < 6; r++) {
        for (int d = 0; d < 3; d++) {
            double rho = rhos[r], delta = deltas[d], least = (double)INFINITY;
            for (double a = 1e-4; a < 1e6; a *= 1.0005) { // alpha - 1
                double epsilon = rho * (1 + a) + log(a / (1 + a)) - (log(delta) + log(1 + a)) / a;
                least = fmin(least, epsilon);
            }
            double got = trib_zcdp_epsilon(rho, delta);
            assert_true(got <= fmax(least, 0) * (1 + 1e-9));
            assert_true(got >= fmax(least, 0) * (1 - 1e-5));
        }
    }
    assert_true(trib_zcdp_epsilon(0, 1e-6) == 0);
}

static void epsilon_is_monotonic(void **state)
{
    (void)state;
    double before = 0;
    for (double rho = 1e-8; rho < 1e4; rho *= 1.3) {
        double epsilon = trib_zcdp_epsilon(rho, 1e-6);
        assert_true(epsilon >= before);
        assert_true(epsilon <= trib_zcdp_epsilon(rho, 1e-7));
        before = epsilon;
    }
}

static void rho_is_the_inverse_of_epsilon(void **state)
{
    (void)state;
    // docs/privacy-math.md 1.3: rho of some targets at delta = 1e-6
    static const double known[][2] = {
        {1, 0.0244}, {2, 0.0882}, {4, 0.3111}, {8, 1.0524}, {16, 3.3505}};
    for (int i = 0; i < 5; i++)
        assert_true(fabs(trib_zcdp_rho(known[i][0], 1e-6) - known[i][1]) <= 0.5e-4);
    for (double epsilon = 0.01; epsilon < 1000; epsilon *= 1.6) {
        double rho = trib_zcdp_rho(epsilon, 1e-7);
        assert_true(trib_zcdp_epsilon(rho, 1e-7) <= epsilon); // never above
        assert_close(trib_zcdp_epsilon(rho, 1e-7), epsilon, 1e-9);
    }
}

static void both_ledgers_add_up_and_the_smaller_is_told(void **state)
{
    (void)state;
    const struct trib_encoding e = {.mode = TRIB_PRIVACY_LOCAL,
                                    .grid = 1,
                                    .grid_bits = 6,
                                    .s1 = 32,
                                    .s2 = 16,
                                    .sinf = 16,
                                    .word_bits = 32};
    struct trib_privacy_spent spent = {0};
    double before = 0;

    assert_true(trib_privacy_epsilon(&spent, 1e-6) == 0);
    assert_true(trib_epsilon_pure(&e) == 0.5);
    assert_close(trib_rho_of(&e), trib_zcdp_discrete_laplace(64, 0.5, 0.25), 1e-15);
    for (int round = 1; round <= 1000; round++) {
        trib_privacy_spend(&spent, &e, 1);
        double epsilon = trib_privacy_epsilon(&spent, 1e-6);
        assert_true(epsilon > before);
        assert_true(epsilon <= spent.epsilon_pure);
        before = epsilon;
    }
    assert_true(spent.rounds == 1000 && spent.epsilon_pure == 500);
    assert_true(before < 100); // by then zCDP is far ahead
    struct trib_privacy_spent at_once = {0};
    trib_privacy_spend(&at_once, &e, 1000);
    assert_close(at_once.rho, spent.rho, 1e-12);

    struct trib_privacy_spent one = {0};
    trib_privacy_spend(&one, &e, 1);
    assert_true(trib_privacy_epsilon(&one, 1e-15) == 0.5); // and here the pure one is smaller
}

// ---- plans

static struct trib_privacy_config example(void) // docs/privacy-math.md 7
{
    return (struct trib_privacy_config){.mode = TRIB_PRIVACY_LOCAL,
                                        .clip_l2 = 1,
                                        .target_epsilon = 8,
                                        .target_delta = 1e-6,
                                        .params = 10000,
                                        .cohort = 1000,
                                        .rounds = 100,
                                        .population = 5000};
}

static void the_example_of_the_design_comes_out(void **state)
{
    (void)state;
    struct trib_privacy_config config = example();
    struct trib_privacy_plan plan;
    char why[256];
    assert_int_equal(trib_privacy_plan_make(&config, &plan, why, sizeof(why)), TRIB_OK);
    assert_true(fabs(plan.rho_round - 0.0105) < 5e-5);
    assert_true(fabs(plan.noise_multiplier - 6.9) < 0.05);
    assert_int_equal(plan.encoding.grid_bits, 12);
    assert_true(plan.encoding.s2 >= 592 && plan.encoding.s2 <= 595);
    assert_true(fabs(plan.epsilon_pure_round - 14.5) < 0.05);
    assert_true(plan.epsilon_total <= 8 && plan.epsilon_total > 7.9);
    assert_true(plan.delta == 1e-6);
    assert_int_equal(plan.encoding.word_bits, 24);
    assert_close(plan.snr, 0.5 * sqrt(1000) / (sqrt(2) * plan.noise_multiplier * 100), 1e-12);
    assert_close(plan.encoding.grid * 4096, plan.noise_multiplier, 1e-12); // gamma = z C2 / t
}

static void no_plan_exceeds_its_target(void **state)
{
    (void)state;
    static const uint64_t params[] = {1, 2, 10, 650, 10000, 1000000};
    static const uint64_t rounds[] = {1, 10, 1000};
    static const double clips[] = {0, 0.3, 1, 30};
    uint64_t seed = 2;
    int made = 0;
    for (int trial = 0; trial < 300; trial++) {
        struct trib_privacy_config config = example();
        struct trib_privacy_plan plan;
        char why[256];
        config.params = params[test_rand(&seed) % 6];
        config.rounds = rounds[test_rand(&seed) % 3];
        config.clip_l1 = clips[test_rand(&seed) % 4];
        config.clip_l2 = exp(6 * uniform(&seed) - 3);
        config.target_epsilon = exp(7 * uniform(&seed) - 2);
        config.target_delta = trial % 2 ? 0 : pow(10, -3 - 9 * uniform(&seed));
        config.population = 1 + test_rand(&seed) % 10000000;
        if (trib_privacy_plan_make(&config, &plan, why, sizeof(why)) != TRIB_OK)
            continue; // refused with a text: the next test looks at those
        made++;
        const struct trib_encoding *e = &plan.encoding;
        struct trib_privacy_spent spent = {0};
        assert_int_equal(trib_encoding_check(e), TRIB_OK);
        trib_privacy_spend(&spent, e, config.rounds);
        assert_true(trib_privacy_epsilon(&spent, plan.delta) <= config.target_epsilon);
        assert_true(plan.epsilon_total == trib_privacy_epsilon(&spent, plan.delta));
        assert_true(plan.epsilon_pure_total == spent.epsilon_pure);
        // The bounds are those of the configured clips, and the grid is fine enough for them.
        assert_true((double)e->s2 * e->grid <= config.clip_l2 * (1 + 1e-12));
        assert_true((double)e->s2 >= 4 * sqrt((double)config.params));
        if (config.clip_l1 > 0)
            assert_true((double)e->s1 * e->grid <= config.clip_l1 * (1 + 1e-12));
        else
            assert_true((double)e->s1 <= sqrt((double)config.params) * (double)e->s2);
        if (config.target_delta == 0)
            assert_close(plan.delta, fmin(1e-6, 0.1 / (double)config.population), 1e-12);
    }
    assert_true(made > 150);
}

static void more_rounds_or_less_epsilon_want_more_noise(void **state)
{
    (void)state;
    double before = 0;
    for (uint64_t rounds = 1; rounds <= 4096; rounds *= 4) {
        struct trib_privacy_config config = example();
        struct trib_privacy_plan plan;
        char why[256];
        config.rounds = rounds;
        assert_int_equal(trib_privacy_plan_make(&config, &plan, why, sizeof(why)), TRIB_OK);
        assert_true(plan.noise_multiplier > before);
        before = plan.noise_multiplier;
        config.target_epsilon /= 2;
        assert_int_equal(trib_privacy_plan_make(&config, &plan, why, sizeof(why)), TRIB_OK);
        assert_true(plan.noise_multiplier > before);
    }
}

static void a_given_multiplier_is_used(void **state)
{
    (void)state;
    struct trib_privacy_config config = example();
    struct trib_privacy_plan plan;
    char why[256];
    config.target_epsilon = 0;
    config.noise_multiplier = 2;
    config.grid_bits = 13;
    config.word_bits = 32;
    config.clip_linf = 0.01;
    assert_int_equal(trib_privacy_plan_make(&config, &plan, why, sizeof(why)), TRIB_OK);
    assert_true(plan.noise_multiplier == 2);
    assert_int_equal(plan.encoding.grid_bits, 13);
    assert_int_equal(plan.encoding.word_bits, 32);
    assert_true(plan.encoding.s2 == 4096);
    assert_true(plan.encoding.sinf == 40); // 0.01 / (2 / 8192)
}

static void assert_refused(const struct trib_privacy_config *config, const char *expected)
{
    struct trib_privacy_plan plan;
    char why[256] = "";
    assert_int_equal(trib_privacy_plan_make(config, &plan, why, sizeof(why)), TRIB_ERR_INVAL);
    assert_non_null(strstr(why, expected));
}

static void what_cannot_be_is_refused_with_a_text(void **state)
{
    (void)state;
    struct trib_privacy_config config = example();
    config.mode = TRIB_PRIVACY_DISTRIBUTED;
    assert_refused(&config, "distributed is not in this version");
    config.mode = TRIB_PRIVACY_CENTRAL;
    assert_refused(&config, "central is not in this version");
    config.mode = TRIB_PRIVACY_OFF;
    config.word_bits = 16;
    assert_refused(&config, "24 or 32 bits");

    config = example();
    config.target_epsilon = 1e-4; // would drown every grid there is
    assert_refused(&config, "no noise grid");
    config = example();
    config.grid_bits = 4;
    assert_refused(&config, "no noise grid");
    config = example();
    config.word_bits = 16;
    assert_refused(&config, "privacy.word_bits");
}

static void off_has_the_two_grids_of_the_design(void **state)
{
    (void)state;
    struct trib_privacy_config config = example();
    struct trib_privacy_plan plan;
    char why[256];
    config.mode = TRIB_PRIVACY_OFF;
    config.clip_l2 = 3;
    assert_int_equal(trib_privacy_plan_make(&config, &plan, why, sizeof(why)), TRIB_OK);
    assert_true(plan.encoding.grid == 0x1p-20 && plan.encoding.word_bits == 24);
    assert_true(plan.encoding.clip_l2 == 3);
    assert_int_equal(trib_encoding_check(&plan.encoding), TRIB_OK);
    config.word_bits = 32;
    assert_int_equal(trib_privacy_plan_make(&config, &plan, why, sizeof(why)), TRIB_OK);
    assert_true(plan.encoding.grid == 0x1p-28 && plan.encoding.word_bits == 32);
}

static void modes_have_names(void **state)
{
    (void)state;
    enum trib_privacy_mode mode;
    for (int m = TRIB_PRIVACY_OFF; m <= TRIB_PRIVACY_CENTRAL; m++) {
        assert_true(
            trib_privacy_mode_parse(trib_privacy_mode_text((enum trib_privacy_mode)m), &mode));
        assert_int_equal(mode, m);
    }
    assert_false(trib_privacy_mode_parse("", &mode));
    assert_false(trib_privacy_mode_parse("Local", &mode));
    assert_string_equal(trib_privacy_mode_text((enum trib_privacy_mode)9), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shift_costs_have_their_digits_at_any_size),
        cmocka_unit_test(the_discrete_cost_is_the_divergence_it_claims),
        cmocka_unit_test(the_dual_norm_bound_holds_for_random_vectors),
        cmocka_unit_test(the_cost_grows_with_each_norm),
        cmocka_unit_test(epsilon_is_the_minimum_over_alpha),
        cmocka_unit_test(epsilon_is_monotonic),
        cmocka_unit_test(rho_is_the_inverse_of_epsilon),
        cmocka_unit_test(both_ledgers_add_up_and_the_smaller_is_told),
        cmocka_unit_test(the_example_of_the_design_comes_out),
        cmocka_unit_test(no_plan_exceeds_its_target),
        cmocka_unit_test(more_rounds_or_less_epsilon_want_more_noise),
        cmocka_unit_test(a_given_multiplier_is_used),
        cmocka_unit_test(what_cannot_be_is_refused_with_a_text),
        cmocka_unit_test(off_has_the_two_grids_of_the_design),
        cmocka_unit_test(modes_have_names),
    };
    return RUN_TESTS(tests);
}
