#include "common/privacy/plan.h"

#include <math.h>
#include <stdio.h>

#include "common/base/limits.h"

// ---- What was asked for

static enum trib_err check_reals(const struct trib_privacy_config *config, char *why,
                                 size_t why_size)
{
    const struct {
        const char *name;
        double value, max;
    } reals[] = {
        {"clip_l1", config->clip_l1, 1e9},
        {"clip_l2", config->clip_l2, 1e9},
        {"clip_linf", config->clip_linf, 1e9},
        {"noise_multiplier", config->noise_multiplier, 1e9},
        {"target_epsilon", config->target_epsilon, 1e6},
        {"target_delta", config->target_delta, 0.5},
    };
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        if (!(reals[i].value >= 0 && reals[i].value <= reals[i].max)) {
            (void)snprintf(why, why_size, "privacy.%s %g: want 0 to %g", reals[i].name,
                           reals[i].value, reals[i].max);
            return TRIB_ERR_INVAL;
        }
    }
    return TRIB_OK;
}

static enum trib_err check_counts(const struct trib_privacy_config *config, char *why,
                                  size_t why_size)
{
    const struct {
        const char *name;
        uint64_t value, max;
    } counts[] = {
        {"parameters", config->params, TRIB_PARAMS_MAX},
        {"devices a round", config->cohort, TRIB_COHORT_MAX},
        {"rounds", config->rounds, TRIB_ROUNDS_MAX},
    };
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        if (counts[i].value < 1 || counts[i].value > counts[i].max) {
            (void)snprintf(why, why_size, "%llu %s: want 1 to %llu",
                           (unsigned long long)counts[i].value, counts[i].name,
                           (unsigned long long)counts[i].max);
            return TRIB_ERR_INVAL;
        }
    }
    return TRIB_OK;
}

static bool is_word(uint32_t bits) // 0: chosen
{
    return bits == 0 || bits == 16 || bits == 24 || bits == 32;
}

static enum trib_err check_noise(const struct trib_privacy_config *config, char *why,
                                 size_t why_size)
{
    if (config->clip_l2 <= 0)
        (void)snprintf(why, why_size, "privacy is on: privacy.clip_l2 must be above 0");
    else if (config->noise_multiplier == 0 && config->target_epsilon == 0)
        (void)snprintf(
            why, why_size,
            "privacy is on: privacy.target_epsilon or privacy.noise_multiplier is wanted");
    else if (!is_word(config->secagg_word_bits))
        (void)snprintf(why, why_size, "secagg.word_bits %u: want 16, 24 or 32",
                       config->secagg_word_bits);
    else if (config->grid_bits > TRIB_NOISE_GRID_BITS_MAX)
        (void)snprintf(why, why_size, "privacy.grid_bits %u: want at most %d", config->grid_bits,
                       TRIB_NOISE_GRID_BITS_MAX);
    else
        return TRIB_OK;
    return TRIB_ERR_INVAL;
}

// ---- Noise

static double floor_to(double value, uint64_t max)
{
    return floor(fmin(value, (double)max));
}

// The largest L1 norm over the L2 clip that a clipped delta can have (Cauchy & Schwarz).
static double l1_over_l2(const struct trib_privacy_config *config)
{
    const double root = sqrt((double)config->params);
    return config->clip_l1 > 0 ? fmin(config->clip_l1 / config->clip_l2, root) : root;
}

// The smallest multiplier that meets the target by one of the ledgers. The grid is not known yet:
// a coarser one costs more, so the coarsest that can come is reckoned with.
static double solve_multiplier(const struct trib_privacy_config *config, double delta)
{
    const double rounds = (double)config->rounds;
    const double t = ldexp(1, config->grid_bits ? (int)config->grid_bits : 12);
    const double l1 = l1_over_l2(config);
    const double rho = trib_zcdp_rho(config->target_epsilon, delta) / rounds;
    const double by_pure = rounds * l1 / config->target_epsilon;
    double high = 1 / sqrt(2 * rho); // rho <= 1 / (2 z^2) whatever the L1 norm
    double low = high * 1e-6;
    if (trib_zcdp_discrete_laplace(t, l1 / low, 1 / low) <= rho)
        high = low;
    while (high > low * (1 + 1e-13)) {
        double z = sqrt(low * high);
        if (trib_zcdp_discrete_laplace(t, l1 / z, 1 / z) <= rho)
            high = z;
        else
            low = z;
    }
    return fmin(by_pure, high) * (1 + 1e-12); // roundings below stay under the target
}

// ---- Grid

// Bounds and grid for t = 2^bits.
static void place_on_grid(const struct trib_privacy_config *config, double z, uint32_t bits,
                          struct trib_encoding *e)
{
    const uint64_t max = (1ull << TRIB_ENCODING_S1_BITS) - 1;
    const double t = ldexp(1, (int)bits);
    e->grid_bits = bits;
    e->grid = z * config->clip_l2 / t;
    e->s2 = (uint64_t)floor_to(t / z, max);
    double s1 = sqrt((double)config->params) * (double)e->s2;
    if (config->clip_l1 > 0)
        s1 = fmin(s1, config->clip_l1 / e->grid);
    e->s1 = (uint64_t)floor_to(s1, max);
    e->sinf = e->s1 < e->s2 ? e->s1 : e->s2;
    if (config->clip_linf > 0)
        e->sinf = (uint64_t)floor_to(config->clip_linf / e->grid, e->sinf);
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

// ---- Words

// docs/privacy-math.md 3.4: but for a chance of 2^-40 a vector, no coordinate of a sum of `members`
// deltas and of `parts` whole noises leaves (-bound, bound).
static double word_bound(const struct trib_privacy_config *config, const struct trib_encoding *e,
                         double members, double parts)
{
    const double tail = log(2.0 * (double)config->params) + 40 * log(2.0) + 0.29 * parts;
    const double noise = parts > 0 ? ldexp(2 * tail, (int)e->grid_bits) : 0;
    return members * (double)e->sinf + noise;
}

// What one word must hold depends on who adds what before it travels.
static enum trib_err choose_word(const struct trib_privacy_config *config,
                                 struct trib_privacy_plan *plan, char *why, size_t why_size)
{
    const bool is_sum = config->mode == TRIB_PRIVACY_DISTRIBUTED;
    const uint32_t wanted = is_sum ? config->secagg_word_bits : config->word_bits;
    const char *key = is_sum ? "secagg.word_bits" : "privacy.word_bits";
    const double n = (double)config->cohort;
    double bound = word_bound(config, &plan->encoding, 1, 1);
    if (config->mode == TRIB_PRIVACY_CENTRAL) // the noise is added to a sum of 64 bits
        bound = word_bound(config, &plan->encoding, 1, 0);
    else if (is_sum) // masked words are only ever added up: the sum has to fit, with n shares
        bound = word_bound(config, &plan->encoding, n, n / plan->secagg.shares);
    for (uint32_t bits = 16; bits <= 32; bits += 8) {
        if ((wanted == 0 || wanted == bits) && bound < ldexp(1, (int)bits - 1)) {
            plan->encoding.word_bits = bits;
            return TRIB_OK;
        }
    }
    (void)snprintf(why, why_size, "a noised coordinate of up to %.3g grid steps does not fit %s",
                   bound, wanted ? key : "32 bits");
    return TRIB_ERR_INVAL;
}

// ---- Plans

static enum trib_err plan_off(const struct trib_privacy_config *config,
                              struct trib_privacy_plan *plan, char *why, size_t why_size)
{
    if (config->word_bits == 16) {
        (void)snprintf(why, why_size, "off sends 24 or 32 bits a coordinate, not 16");
        return TRIB_ERR_INVAL;
    }
    bool is_wide = config->word_bits == 32;
    plan->ledger = "none";
    plan->encoding = (struct trib_encoding){
        .mode = TRIB_PRIVACY_OFF,
        .grid = is_wide ? 0x1p-28 : 0x1p-20, // both leave a range of +-8
        .word_bits = is_wide ? 32 : 24,
        .clip_l1 = config->clip_l1,
        .clip_l2 = config->clip_l2,
    };
    return TRIB_OK;
}

// docs/privacy-math.md 7: signal per coordinate is about 0.5 C2 / sqrt(P), against the deviation of
// the noise on the mean.
static double predict_snr(const struct trib_privacy_config *config,
                          const struct trib_privacy_plan *plan)
{
    const double n = (double)config->cohort;
    const double one = 0.5 / (sqrt(2.0) * plan->noise_multiplier * sqrt((double)config->params));
    switch (config->mode) {
    case TRIB_PRIVACY_LOCAL: return one * sqrt(n);
    case TRIB_PRIVACY_DISTRIBUTED: return one * n * sqrt(plan->secagg.shares / n);
    case TRIB_PRIVACY_CENTRAL: return one * n;
    case TRIB_PRIVACY_OFF: break;
    }
    return 0;
}

static enum trib_err plan_noise(const struct trib_privacy_config *config,
                                struct trib_privacy_plan *plan, char *why, size_t why_size)
{
    enum trib_err err = check_noise(config, why, why_size);
    if (err)
        return err;
    double z = config->noise_multiplier > 0 ? config->noise_multiplier
                                            : solve_multiplier(config, plan->delta);
    if (!isfinite(z) || z <= 0) {
        (void)snprintf(why, why_size, "the target epsilon is too small to be met");
        return TRIB_ERR_INVAL;
    }
    plan->noise_multiplier = z;
    plan->encoding.mode = config->mode;
    if (config->mode == TRIB_PRIVACY_DISTRIBUTED)
        err = trib_secagg_plan_make(config->cohort, config->threshold_frac,
                                    config->max_colluders_frac, &plan->secagg, why, why_size);
    plan->encoding.shares = plan->secagg.shares;
    if (!err)
        err = choose_grid(config, z, &plan->encoding, why, why_size);
    if (!err)
        err = choose_word(config, plan, why, why_size);
    if (!err && trib_encoding_check(&plan->encoding)) {
        (void)snprintf(why, why_size, "these clips and this noise make no sound encoding");
        err = TRIB_ERR_INVAL;
    }
    plan->snr = predict_snr(config, plan);
    return err;
}

enum trib_err trib_privacy_plan_make(const struct trib_privacy_config *config,
                                     struct trib_privacy_plan *ret_plan, char *why, size_t why_size)
{
    struct trib_privacy_plan plan = {.delta = config->target_delta};
    struct trib_privacy_spent spent = {0};
    const uint64_t population =
        config->population > config->cohort ? config->population : config->cohort;

    enum trib_err err = check_reals(config, why, why_size);
    if (!err)
        err = check_counts(config, why, why_size);
    if (!err && !is_word(config->word_bits)) {
        (void)snprintf(why, why_size, "privacy.word_bits %u: want 16, 24 or 32", config->word_bits);
        err = TRIB_ERR_INVAL;
    }
    if (err)
        return err;
    if (plan.delta == 0)
        plan.delta = fmin(1e-6, 1 / (10.0 * (double)population));
    switch (config->mode) {
    case TRIB_PRIVACY_OFF: err = plan_off(config, &plan, why, why_size); break;
    case TRIB_PRIVACY_LOCAL:
    case TRIB_PRIVACY_DISTRIBUTED:
    case TRIB_PRIVACY_CENTRAL: err = plan_noise(config, &plan, why, why_size); break;
    default:
        (void)snprintf(why, why_size, "there is no privacy mode %d", (int)config->mode);
        err = TRIB_ERR_INVAL;
    }
    if (err)
        return err;
    trib_privacy_spend(&spent, &plan.encoding, config->rounds);
    plan.epsilon_pure_round = trib_epsilon_pure(&plan.encoding);
    plan.rho_round = trib_rho_of(&plan.encoding);
    plan.epsilon_pure_total = spent.epsilon_pure;
    plan.epsilon_total = trib_privacy_epsilon(&spent, plan.delta);
    if (config->mode != TRIB_PRIVACY_OFF)
        plan.ledger = trib_privacy_ledger(&spent, plan.delta);
    *ret_plan = plan;
    return TRIB_OK;
}

double trib_privacy_noise_std(const struct trib_encoding *encoding, uint64_t count)
{
    const double n = (double)count;
    double noises = 0; // whole ones in the sum
    switch (encoding->mode) {
    case TRIB_PRIVACY_OFF: return 0;
    case TRIB_PRIVACY_LOCAL: noises = n; break;
    case TRIB_PRIVACY_CENTRAL: noises = 1; break;
    case TRIB_PRIVACY_DISTRIBUTED: noises = n / (double)encoding->shares; break;
    }
    // The variance of discrete Laplace noise of scale t: 2 l / (1 - l)^2 with l = e^(-1/t).
    const double a = ldexp(1, -(int)encoding->grid_bits);
    const double one = -expm1(-a);
    return encoding->grid * sqrt(2 * exp(-a) * noises) / one / n;
}

double trib_privacy_snr_seen(const struct trib_encoding *encoding, uint64_t count, double rms)
{
    const double noise = trib_privacy_noise_std(encoding, count);
    const double signal = rms * rms - noise * noise;
    return signal > 0 ? sqrt(signal) / noise : 0;
}
