#include "tests/test.h"

#include <math.h>

#include "common/privacy/accountant.h"
#include "common/privacy/rdp.h"

static void assert_close(double got, double expected, double relative)
{
    assert_true(fabs(got - expected) <= relative * fabs(expected));
}

static struct trib_mechanism sampled(enum trib_mechanism_kind kind, double scale, double q)
{
    return (struct trib_mechanism){.kind = kind, .scale = scale, .sampling = q, .rounds = 1};
}

// ln of the mean over p0 of (1 - q + q L)^power, summed by the trapezoidal rule; what is taken off
// has mean 1, so the digits of a small result are kept.
static double summed_moment(const struct trib_mechanism *m, double power)
{
    const int points = 100000;
    const bool is_laplace = m->kind == TRIB_MECHANISM_LAPLACE;
    const double s = m->scale;
    const double reach = is_laplace ? 40 * s : 14 * s;
    const double low = -reach + (power < 0 ? power : 0);
    const double high = reach + (power > 0 ? power : 0) + 1;
    const double width = (high - low) / points;
    double sum = 0;
    for (int i = 0; i <= points; i++) {
        double x = low + width * i;
        double loss = is_laplace ? (fabs(x) - fabs(x - 1)) / s : (2 * x - 1) / (2 * s * s);
        double log_density =
            is_laplace ? -fabs(x) / s - log(2 * s) : -x * x / (2 * s * s) - log(s * sqrt(2 * M_PI));
        double excess = m->sampling * expm1(loss);
        sum += exp(log_density + power * log1p(excess)) - exp(log_density) * (1 + power * excess);
    }
    return log1p(sum * width);
}

static void sampled_noise_has_the_moments_of_its_definition(void **state)
{
    (void)state;
    static const double orders[] = {1.5, 2, 3.7, 8, 20};
    static const double shares[] = {0.01, 0.3, 0.9};
    for (int o = 0; o < 5; o++) {
        for (int s = 0; s < 3; s++) {
            for (double scale = 0.8; scale < 4; scale *= 2) {
                struct trib_mechanism m = sampled(TRIB_MECHANISM_LAPLACE, scale, shares[s]);
                double a = orders[o];
                double expected = fmax(summed_moment(&m, a), summed_moment(&m, 1 - a)) / (a - 1);
                assert_close(trib_rdp_of(&m, a), expected, 1e-4);
                m.kind = TRIB_MECHANISM_GAUSSIAN;
                expected = summed_moment(&m, a) / (a - 1);
                // The other direction is never the larger one (a theorem for Gaussian noise).
                assert_true(summed_moment(&m, 1 - a) / (a - 1) <= expected * (1 + 1e-9));
                if (a == floor(a))
                    assert_close(trib_rdp_of(&m, a), expected, 1e-7);
                else
                    assert_true(trib_rdp_of(&m, a) >= expected * (1 - 1e-7)); // an upper bound
            }
        }
    }
}

static void tiny_shares_keep_their_digits(void **state)
{
    (void)state;
    // To second order in q the divergence is alpha q^2 E (L - 1)^2 / 2.
    for (double q = 1e-9; q < 1e-6; q *= 10) {
        struct trib_mechanism m = sampled(TRIB_MECHANISM_LAPLACE, 1, q);
        double e2 = (2 * exp(1) + exp(-2)) / 3 - 1; // E L^2 - 1
        assert_close(trib_rdp_of(&m, 2), q * q * e2, 1e-6);
        assert_close(trib_rdp_of(&m, 8), 4 * q * q * e2, 1e-4);
        m.kind = TRIB_MECHANISM_GAUSSIAN;
        assert_close(trib_rdp_of(&m, 2), q * q * expm1(1), 1e-6);
    }
}

static void sampling_everybody_is_not_sampling(void **state)
{
    (void)state;
    const double nearly = 1 - 1e-12;
    for (int o = 0; o < TRIB_RDP_ORDERS; o++) {
        double order = trib_rdp_orders[o];
        struct trib_mechanism m = sampled(TRIB_MECHANISM_LAPLACE, 1.5, nearly);
        assert_close(trib_rdp_of(&m, order), trib_rdp_laplace(1 / 1.5, order), 1e-8);
        m.kind = TRIB_MECHANISM_GAUSSIAN;
        assert_close(trib_rdp_of(&m, order), trib_rdp_gaussian(1.5, order), 1e-8);
        m.sampling = 1;
        assert_true(trib_rdp_of(&m, order) == trib_rdp_gaussian(1.5, order));
    }
}

static void divergence_grows_with_order_share_and_loss(void **state)
{
    (void)state;
    for (int kind = TRIB_MECHANISM_LAPLACE; kind <= TRIB_MECHANISM_GAUSSIAN; kind++) {
        for (double q = 0.001; q <= 1; q *= 10) {
            double before = 0;
            for (int o = 0; o < TRIB_RDP_ORDERS; o++) {
                double order = trib_rdp_orders[o];
                struct trib_mechanism m = sampled((enum trib_mechanism_kind)kind, 2, q);
                double here = trib_rdp_of(&m, order);
                assert_true(here >= before * (1 - 1e-12));
                before = here;
                m.sampling = q / 2;
                assert_true(trib_rdp_of(&m, order) < here);
                m = sampled((enum trib_mechanism_kind)kind, 4, q);
                assert_true(trib_rdp_of(&m, order) < here);
            }
        }
    }
}

static double curve_of(void *user, double order)
{
    return trib_rdp_of(user, order);
}

static void the_bound_for_any_mechanism_bounds_these(void **state)
{
    (void)state;
    for (int kind = TRIB_MECHANISM_LAPLACE; kind <= TRIB_MECHANISM_GAUSSIAN; kind++) {
        for (double q = 0.001; q < 1; q *= 3) {
            for (int o = 0; o < TRIB_RDP_ORDERS; o += 3) {
                struct trib_mechanism base = sampled((enum trib_mechanism_kind)kind, 1, 1);
                struct trib_mechanism m = sampled((enum trib_mechanism_kind)kind, 1, q);
                double bound = trib_rdp_sampled_any(q, trib_rdp_orders[o], curve_of, &base);
                assert_true(bound >= trib_rdp_of(&m, trib_rdp_orders[o]) * (1 - 1e-9));
            }
        }
    }
}

static void no_order_is_below_zcdp_of_laplace_noise(void **state)
{
    (void)state;
    // rho is the supremum of R(alpha) / alpha, which is reached towards 1.
    for (double loss = 0.01; loss < 20; loss *= 1.5) {
        double rho = trib_zcdp_laplace(loss, loss);
        for (double order = 1.001; order < 1000; order *= 1.3)
            assert_true(trib_rdp_laplace(loss, order) <= rho * order * (1 + 1e-9));
        assert_close(trib_rdp_laplace(loss, 1 + 1e-6), rho, 1e-4 * fmax(1, loss));
    }
}

static void the_best_order_is_found(void **state)
{
    (void)state;
    double rdp[TRIB_RDP_ORDERS];
    double least = HUGE_VAL;
    for (int o = 0; o < TRIB_RDP_ORDERS; o++) {
        rdp[o] = trib_rdp_gaussian(2, trib_rdp_orders[o]);
        least = fmin(least, trib_rdp_epsilon(100 * rdp[o], trib_rdp_orders[o], 1e-5));
    }
    assert_true(trib_rdp_epsilon_best(rdp, 100, 1e-5) == least);
    for (int o = 0; o < TRIB_RDP_ORDERS; o++)
        rdp[o] = 0;
    assert_true(trib_rdp_epsilon_best(rdp, 1, 0.5) == 0); // never negative
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampled_noise_has_the_moments_of_its_definition),
        cmocka_unit_test(tiny_shares_keep_their_digits),
        cmocka_unit_test(sampling_everybody_is_not_sampling),
        cmocka_unit_test(divergence_grows_with_order_share_and_loss),
        cmocka_unit_test(the_bound_for_any_mechanism_bounds_these),
        cmocka_unit_test(no_order_is_below_zcdp_of_laplace_noise),
        cmocka_unit_test(the_best_order_is_found),
    };
    return RUN_TESTS(tests);
}
