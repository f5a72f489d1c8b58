#include "tests/test.h"

#include <math.h>

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
    assert_string_equal(trib_privacy_ledger(&one, 1e-15), "pure");
    assert_string_equal(trib_privacy_ledger(&spent, 1e-6), "zcdp");
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
        cmocka_unit_test(modes_have_names),
    };
    return RUN_TESTS(tests);
}
