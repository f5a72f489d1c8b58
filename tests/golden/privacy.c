// KIND privacy: columns kind, a, b, c, d, value.
//
// The zCDP kinds run the product. The probabilities have no function in the product, whose sampler
// never computes one; their formulas here are the reference that the tests of the samplers use.
#include "tests/golden/golden.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/privacy/accountant.h"

// P(k) = (1 - l) / (1 + l) l^|k|, l = e^(-1/t)
static double dlap_pmf(double t, double k)
{
    return tanh(0.5 / t) * exp(-fabs(k) / t);
}

// P(k) = G(k + r) / (G(r) k!) (1 - l)^r l^k, by the ratio of neighbours
static long double nb_pmf(long double r, long double t, int64_t k)
{
    long double l = expl(-1 / t);
    long double p = powl(-expm1l(-1 / t), r);
    for (int64_t j = 0; j < k; j++)
        p *= l * ((long double)j + r) / ((long double)j + 1);
    return p;
}

// The difference of two NB(r): sum over j of P(j) P(j + k). Terms shrink as l^(2j).
static long double gdl_pmf(long double r, long double t, int64_t k)
{
    long double l = expl(-1 / t);
    long double low = nb_pmf(r, t, 0);
    long double high = nb_pmf(r, t, k);
    long double sum = 0;
    for (int64_t j = 0; low * high > sum * 1e-22L; j++) {
        sum += low * high;
        low *= l * ((long double)j + r) / ((long double)j + 1);
        high *= l * ((long double)(j + k) + r) / ((long double)(j + k) + 1);
    }
    return sum;
}

// For a share b < 1 of the noise the law has its peak at 0 and is log-convex on both sides, so the
// worst output for a shift of d is 0 (Harrison & Manurangsi 2025).
static double gdl_epsilon(long double b, long double t, double d)
{
    return (double)logl(gdl_pmf(b, t, 0) / gdl_pmf(b, t, (int64_t)d));
}

void golden_privacy(const struct golden_row *row, struct golden_tally *tally)
{
    static const char columns[4][2] = {"a", "b", "c", "d"};
    const char *kind = golden_field(row, "kind");
    double x[4] = {0};
    double expected;
    char what[256];

    for (int i = 0; i < 4; i++) {
        const char *text = golden_field(row, columns[i]);
        if (*text && !golden_number(text, &x[i])) {
            golden_fail(tally, row, "an argument is not a number");
            return;
        }
    }
    if (!golden_number(golden_field(row, "value"), &expected)) {
        golden_fail(tally, row, "the value is not a number");
        return;
    }
    const long double first = (long double)x[0];
    const long double second = (long double)x[1];
    (void)snprintf(what, sizeof(what), "%s(%g, %g, %g)", kind, x[0], x[1], x[2]);

    if (strcmp(kind, "zcdp_dual_norm") == 0)
        golden_check(tally, row, what, expected, trib_zcdp_laplace(x[0], x[1]), 1e-9);
    else if (strcmp(kind, "dlap_zcdp_rho") == 0)
        golden_check(tally, row, what, expected, trib_zcdp_discrete_shift(x[0], x[1]), 1e-9);
    else if (strcmp(kind, "zcdp_to_eps") == 0)
        golden_check(tally, row, what, expected, trib_zcdp_epsilon(x[0], x[1]), 1e-5);
    else if (strcmp(kind, "dlap_pmf") == 0)
        golden_check(tally, row, what, expected, dlap_pmf(x[0], x[1]), 1e-9);
    else if (strcmp(kind, "nb_pmf") == 0)
        golden_check(tally, row, what, expected, (double)nb_pmf(1 / first, second, (int64_t)x[2]),
                     1e-9);
    else if (strcmp(kind, "gdl_pmf") == 0)
        golden_check(tally, row, what, expected, (double)gdl_pmf(1 / first, second, (int64_t)x[2]),
                     1e-9);
    else if (strcmp(kind, "gdl_eps_beta_lt1") == 0)
        golden_check(tally, row, what, expected, gdl_epsilon(first, second, x[2]), 1e-8);
    else
        golden_fail(tally, row, "an unknown kind of value");
}
