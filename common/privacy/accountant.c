#include "common/privacy/accountant.h"

#include <math.h>

// g(x) = x + e^-x - 1: rho of a shift by x noise scales (Harrison & Manurangsi 2025). The direct
// form loses all digits for small x, where the series has them.
static double g(double x)
{
    if (x > 0.05)
        return x + expm1(-x);
    double term = x * x / 2;
    double sum = 0;
    for (int n = 3; term > 1e-18 * sum || -term > 1e-18 * sum; n++) {
        sum += term;
        term *= -x / n;
    }
    return sum;
}

// 1 - kappa with kappa = a / sinh a.
static double one_minus_kappa(double a)
{
    if (a > 0.1)
        return 1 - a / sinh(a);
    double s = a * a;
    return s * (1.0 / 6 - s * (7.0 / 360 - s * (31.0 / 15120 - s * 127.0 / 604800)));
}

// g_d(x) = x - kappa (1 - e^-x) = (1 - kappa) x + kappa g(x)
double trib_zcdp_discrete_shift(double t, double shift)
{
    double loss = one_minus_kappa(1 / t);
    double x = shift / t;
    return loss * x + (1 - loss) * g(x);
}

double trib_zcdp_laplace(double d1, double d2)
{
    d2 = d2 < d1 ? d2 : d1; // an L2 norm is never above the L1 norm
    if (d2 <= 0)
        return 0;
    double u = d2 * d2 / d1;
    return d1 * g(u) / u;
}

double trib_zcdp_discrete_laplace(double t, double d1, double d2)
{
    d2 = d2 < d1 ? d2 : d1;
    if (d2 <= 0)
        return 0;
    double u = d2 * d2 / d1;
    double dual = d1 * trib_zcdp_discrete_shift(t, u * t) / u;
    double simple = d2 * d2 / 2; // epsilon-DP is epsilon^2/2-zCDP, coordinate by coordinate
    return dual < simple ? dual : simple;
}

// The bound at alpha = 1 + e^s.
static double epsilon_at(double rho, double log_delta, double s)
{
    double excess = exp(s); // alpha - 1
    double alpha = 1 + excess;
    double log_ratio = s - log1p(excess); // ln(1 - 1/alpha)
    return rho * alpha + log_ratio - (log_delta + log1p(excess)) / excess;
}

double trib_zcdp_epsilon(double rho, double delta)
{
    const double log_delta = log(delta);
    const double golden = 0.6180339887498949;
    double best = -20;
    if (rho <= 0)
        return 0;
    // One minimum in s = ln(alpha - 1); a coarse walk brackets it, golden sections close in.
    for (double s = -20; s <= 40; s += 0.25) {
        if (epsilon_at(rho, log_delta, s) < epsilon_at(rho, log_delta, best))
            best = s;
    }
    double low = best - 0.25;
    double high = best + 0.25;
    for (int step = 0; step < 80; step++) {
        double a = high - golden * (high - low);
        double b = low + golden * (high - low);
        if (epsilon_at(rho, log_delta, a) < epsilon_at(rho, log_delta, b))
            high = b;
        else
            low = a;
    }
    double epsilon = epsilon_at(rho, log_delta, (low + high) / 2);
    return epsilon > 0 ? epsilon : 0;
}

double trib_zcdp_rho(double epsilon, double delta)
{
    double low = 0;
    double high = epsilon + 1; // epsilon(rho) >= rho for every delta < 1
    for (int step = 0; step < 200; step++) {
        double middle = (low + high) / 2;
        if (trib_zcdp_epsilon(middle, delta) <= epsilon)
            low = middle;
        else
            high = middle;
    }
    return low;
}

double trib_epsilon_pure(const struct trib_encoding *e)
{
    return e->mode == TRIB_PRIVACY_OFF ? 0 : ldexp((double)e->s1, -(int)e->grid_bits);
}

double trib_rho_of(const struct trib_encoding *e)
{
    if (e->mode == TRIB_PRIVACY_OFF)
        return 0;
    double t = ldexp(1, (int)e->grid_bits);
    return trib_zcdp_discrete_laplace(t, (double)e->s1 / t, (double)e->s2 / t);
}

void trib_privacy_spend(struct trib_privacy_spent *spent, const struct trib_encoding *encoding,
                        uint64_t rounds)
{
    spent->rounds += rounds;
    spent->epsilon_pure += (double)rounds * trib_epsilon_pure(encoding);
    spent->rho += (double)rounds * trib_rho_of(encoding);
}

double trib_privacy_epsilon(const struct trib_privacy_spent *spent, double delta)
{
    double epsilon = trib_zcdp_epsilon(spent->rho, delta);
    return epsilon < spent->epsilon_pure ? epsilon : spent->epsilon_pure;
}

const char *trib_privacy_ledger(const struct trib_privacy_spent *spent, double delta)
{
    return trib_zcdp_epsilon(spent->rho, delta) < spent->epsilon_pure ? "zcdp" : "pure";
}
