#include "common/privacy/accountant.h"

#include <math.h>
#include <stdio.h>

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

// ---- Planning

static enum trib_err plan_off(const struct trib_privacy_config *config,
                              struct trib_privacy_plan *plan, char *why, size_t why_size)
{
    if (config->word_bits == 16) {
        (void)snprintf(why, why_size, "off sends 24 or 32 bits a coordinate, not 16");
        return TRIB_ERR_INVAL;
    }
    bool is_wide = config->word_bits == 32;
    plan->encoding = (struct trib_encoding){
        .mode = TRIB_PRIVACY_OFF,
        .grid = is_wide ? 0x1p-28 : 0x1p-20, // both leave a range of +-8
        .word_bits = is_wide ? 32 : 24,
        .clip_l1 = config->clip_l1,
        .clip_l2 = config->clip_l2,
    };
    return TRIB_OK;
}

static uint64_t floor_to_count(double value)
{
    const double max = ldexp(1, TRIB_ENCODING_S1_BITS) - 1;
    return (uint64_t)floor(value < max ? value : max);
}

// Bounds and grid for t = 2^bits.
static void place_on_grid(const struct trib_privacy_config *config, double z, uint32_t bits,
                          struct trib_encoding *e)
{
    const double t = ldexp(1, (int)bits);
    e->grid_bits = bits;
    e->grid = z * config->clip_l2 / t;
    e->s2 = floor_to_count(t / z);
    e->s1 = config->clip_l1 > 0 ? floor_to_count(config->clip_l1 / e->grid)
                                : floor_to_count(sqrt((double)config->params) * (double)e->s2);
    e->sinf = e->s1 < e->s2 ? e->s1 : e->s2;
    if (config->clip_linf > 0 && config->clip_linf / e->grid < (double)e->sinf)
        e->sinf = floor_to_count(config->clip_linf / e->grid);
}

// docs/privacy-math.md 2.2: with s2 >= 4 sqrt(P) rounding adds at most 1/64 to the squared norm.
static enum trib_err choose_grid(const struct trib_privacy_config *config, double z,
                                 struct trib_encoding *e, char *why, size_t why_size)
{
    const double s2_min = 4 * sqrt((double)config->params);
    uint32_t first = config->grid_bits ? config->grid_bits : 12;
    uint32_t last = config->grid_bits ? config->grid_bits : TRIB_NOISE_GRID_BITS_MAX;
    for (uint32_t bits = first; bits <= last; bits++) {
        place_on_grid(config, z, bits, e);
        if ((double)e->s2 >= s2_min && e->sinf > 0)
            return TRIB_OK;
    }
    (void)snprintf(why, why_size,
                   "no noise grid up to 2^%d carries %llu parameters at noise multiplier %.3g: a "
                   "smaller model or less noise is needed",
                   TRIB_NOISE_GRID_BITS_MAX, (unsigned long long)config->params, z);
    return TRIB_ERR_INVAL;
}

// docs/privacy-math.md 3.4 with n = 1: a noised word leaves its range with a chance of 2^-40 a vector.
static enum trib_err choose_word(const struct trib_privacy_config *config, struct trib_encoding *e,
                                 char *why, size_t why_size)
{
    const double tail = log(2.0 * (double)config->params) + 40 * log(2.0) + 0.29;
    const double bound = (double)e->sinf + ldexp(2 * tail, (int)e->grid_bits);
    for (uint32_t bits = 16; bits <= 32; bits += 8) {
        if (config->word_bits && config->word_bits != bits)
            continue;
        if (bound < ldexp(1, (int)bits - 1)) {
            e->word_bits = bits;
            return TRIB_OK;
        }
    }
    (void)snprintf(why, why_size, "a noised coordinate of up to %.3g grid steps does not fit %s",
                   bound, config->word_bits ? "privacy.word_bits" : "32 bits");
    return TRIB_ERR_INVAL;
}

static enum trib_err plan_local(const struct trib_privacy_config *config,
                                struct trib_privacy_plan *plan, char *why, size_t why_size)
{
    double z = config->noise_multiplier;
    if (z == 0 && config->target_epsilon <= 0) {
        (void)snprintf(
            why, why_size,
            "privacy is on: privacy.target_epsilon or privacy.noise_multiplier is wanted");
        return TRIB_ERR_INVAL;
    }
    if (z == 0) {
        double rho = trib_zcdp_rho(config->target_epsilon, plan->delta) / (double)config->rounds;
        z = 1 / sqrt(2 * rho);
    }
    if (!isfinite(z) || z <= 0) {
        (void)snprintf(why, why_size, "the target epsilon is too small to be met");
        return TRIB_ERR_INVAL;
    }
    plan->noise_multiplier = z;
    plan->encoding.mode = TRIB_PRIVACY_LOCAL;
    enum trib_err err = choose_grid(config, z, &plan->encoding, why, why_size);
    if (!err)
        err = choose_word(config, &plan->encoding, why, why_size);
    if (!err && trib_encoding_check(&plan->encoding)) {
        (void)snprintf(why, why_size, "these clips and this noise make no sound encoding");
        err = TRIB_ERR_INVAL;
    }
    plan->snr = 0.5 * sqrt((double)config->cohort) / (sqrt(2.0) * z * sqrt((double)config->params));
    return err;
}

enum trib_err trib_privacy_plan_make(const struct trib_privacy_config *config,
                                     struct trib_privacy_plan *ret_plan, char *why, size_t why_size)
{
    enum trib_err err;
    struct trib_privacy_plan plan = {.delta = config->target_delta};
    struct trib_privacy_spent spent = {0};

    if (plan.delta == 0)
        plan.delta = fmin(1e-6, 1 / (10.0 * (double)config->population));
    switch (config->mode) {
    case TRIB_PRIVACY_OFF: err = plan_off(config, &plan, why, why_size); break;
    case TRIB_PRIVACY_LOCAL: err = plan_local(config, &plan, why, why_size); break;
    case TRIB_PRIVACY_DISTRIBUTED:
    case TRIB_PRIVACY_CENTRAL:
    default:
        (void)snprintf(why, why_size, "%s is not in this version; it has local and off",
                       trib_privacy_mode_text(config->mode));
        err = TRIB_ERR_INVAL;
    }
    if (err)
        return err;
    trib_privacy_spend(&spent, &plan.encoding, config->rounds);
    plan.epsilon_pure_round = trib_epsilon_pure(&plan.encoding);
    plan.rho_round = trib_rho_of(&plan.encoding);
    plan.epsilon_pure_total = spent.epsilon_pure;
    plan.epsilon_total = trib_privacy_epsilon(&spent, plan.delta);
    *ret_plan = plan;
    return TRIB_OK;
}
