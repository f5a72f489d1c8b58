#include "common/privacy/ledgers.h"

#include <math.h>
#include <stdio.h>

#include "common/privacy/accountant.h"
#include "common/privacy/pld.h"
#include "common/privacy/pure.h"
#include "common/privacy/rdp.h"

static double zcdp_of(const struct trib_mechanism *m, double delta)
{
    if (m->sampling < 1)
        return HUGE_VAL; // zCDP is not amplified by sampling (Bun, Dwork, Rothblum & Steinke 2018)
    double loss = 1 / m->scale;
    double rho =
        m->kind == TRIB_MECHANISM_LAPLACE ? trib_zcdp_laplace(loss, loss) : loss * loss / 2;
    return trib_zcdp_epsilon(rho * (double)m->rounds, delta);
}

static double rdp_of(const struct trib_mechanism *m, double delta)
{
    double curve[TRIB_RDP_ORDERS];
    if (m->kind == TRIB_MECHANISM_LAPLACE && m->sampling < 1 &&
        m->scale * TRIB_MECHANISM_LOSS_MAX < 1)
        return HUGE_VAL;
    for (int i = 0; i < TRIB_RDP_ORDERS; i++)
        curve[i] = trib_rdp_of(m, trib_rdp_orders[i]);
    return trib_rdp_epsilon_best(curve, m->rounds, delta);
}

static void find_smallest(struct trib_ledgers *ledgers)
{
    const struct {
        double epsilon;
        const char *name;
    } all[] = {{ledgers->pure, "pure"},
               {ledgers->zcdp, "zcdp"},
               {ledgers->rdp, "rdp"},
               {ledgers->pld, "pld"}};
    ledgers->epsilon = all[0].epsilon;
    ledgers->ledger = all[0].name;
    for (int i = 1; i < 4; i++) {
        if (all[i].epsilon < ledgers->epsilon) {
            ledgers->epsilon = all[i].epsilon;
            ledgers->ledger = all[i].name;
        }
    }
}

enum trib_err trib_ledgers_of(const struct trib_mechanism *m, double delta,
                              struct trib_ledgers *ret_ledgers, char *why, size_t why_size)
{
    struct trib_ledgers ledgers;
    enum trib_err err = trib_mechanism_check(m, why, why_size);
    if (!err)
        err = trib_delta_check(delta, why, why_size);
    if (err)
        return err;
    ledgers.pure = m->kind == TRIB_MECHANISM_LAPLACE
                       ? trib_pure_sampled(1 / m->scale, m->sampling) * (double)m->rounds
                       : HUGE_VAL;
    ledgers.zcdp = zcdp_of(m, delta);
    ledgers.rdp = rdp_of(m, delta);
    err = trib_pld_epsilon(m, 0, delta, &ledgers.pld);
    if (err == TRIB_ERR_LIMIT) {
        ledgers.pld = HUGE_VAL;
        err = TRIB_OK;
    }
    if (err) {
        (void)snprintf(why, why_size, "%s", trib_err_text(err));
        return err;
    }
    find_smallest(&ledgers);
    *ret_ledgers = ledgers;
    return TRIB_OK;
}

// Is the target met at this scale?
static enum trib_err try_scale(struct trib_mechanism *m, double scale, double epsilon, double delta,
                               bool *ret_is_met)
{
    struct trib_ledgers ledgers;
    char why[128];
    m->scale = scale;
    enum trib_err err = trib_ledgers_of(m, delta, &ledgers, why, sizeof(why));
    if (!err)
        *ret_is_met = ledgers.epsilon <= epsilon;
    return err;
}

// A scale from which on the target is met, by the pure ledger or by zCDP without sampling: where
// the search begins.
static double guess_scale(const struct trib_mechanism *m, double epsilon, double delta)
{
    double rounds = (double)m->rounds;
    double scale = m->kind == TRIB_MECHANISM_LAPLACE
                       ? 1 / trib_loss_unsampled(m->sampling, epsilon / rounds)
                       : sqrt(rounds / (2 * trib_zcdp_rho(epsilon, delta)));
    return fmin(fmax(scale, 2e-9), 0.5e9);
}

enum trib_err trib_ledgers_solve(const struct trib_mechanism *mechanism, double epsilon,
                                 double delta, double *ret_scale, char *why, size_t why_size)
{
    struct trib_mechanism m = *mechanism;
    bool is_met = false;
    m.scale = 1;
    enum trib_err err = trib_mechanism_check(&m, why, why_size);
    if (!err)
        err = trib_delta_check(delta, why, why_size);
    if (err)
        return err;
    if (!(epsilon >= 1e-9 && epsilon <= 1e9)) {
        (void)snprintf(why, why_size, "target epsilon %g: want 1e-9 to 1e9", epsilon);
        return TRIB_ERR_INVAL;
    }
    double high = guess_scale(&m, epsilon, delta);
    while (!(err = try_scale(&m, high, epsilon, delta, &is_met)) && !is_met)
        high *= 2;
    double low = high / 2;
    while (!err && !(err = try_scale(&m, low, epsilon, delta, &is_met)) && is_met) {
        high = low;
        low /= 2;
    }
    while (!err && high > low * (1 + 1e-7)) {
        double middle = sqrt(low * high);
        err = try_scale(&m, middle, epsilon, delta, &is_met);
        *(is_met ? &high : &low) = middle;
    }
    if (err == TRIB_ERR_INVAL)
        (void)snprintf(why, why_size,
                       "target epsilon %g: no scale of 1e-9 to 1e9 just meets it at delta %g",
                       epsilon, delta);
    else if (err)
        (void)snprintf(why, why_size, "%s", trib_err_text(err));
    else
        *ret_scale = high;
    return err;
}

// ---- A fleet with sampling

struct curve {
    double rho;
    double pure;
};

// rho-zCDP is R(alpha) <= rho alpha, and R never exceeds pure epsilon.
static double curve_of(void *user, double order)
{
    const struct curve *curve = user;
    return fmin(curve->rho * order, curve->pure);
}

double trib_epsilon_outsiders(const struct trib_encoding *encoding, double q, uint64_t rounds,
                              double delta)
{
    struct curve curve = {.rho = trib_rho_of(encoding), .pure = trib_epsilon_pure(encoding)};
    struct trib_privacy_spent spent = {0};
    double rdp[TRIB_RDP_ORDERS];
    trib_privacy_spend(&spent, encoding, rounds);
    for (int i = 0; i < TRIB_RDP_ORDERS; i++)
        rdp[i] = trib_rdp_sampled_any(q, trib_rdp_orders[i], curve_of, &curve);
    double pure = trib_pure_sampled(curve.pure, q) * (double)rounds;
    return fmin(fmin(pure, trib_privacy_epsilon(&spent, delta)),
                trib_rdp_epsilon_best(rdp, rounds, delta));
}
