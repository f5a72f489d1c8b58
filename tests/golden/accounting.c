// KIND accounting: columns mechanism, param, q, rounds, delta and epsilons of several ledgers; one
// row a mechanism. KIND rdp: columns mechanism, param, q, order and two divergences of one round.
//
// An empty field has no reference value; `inf` says that the ledger does not apply.
#include "tests/golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/privacy/accountant.h"
#include "common/privacy/pld.h"
#include "common/privacy/pure.h"
#include "common/privacy/rdp.h"

static bool read_mechanism(const struct golden_row *row, bool has_rounds, struct trib_mechanism *m)
{
    const char *name = golden_field(row, "mechanism");
    double rounds = 1;
    char why[128];
    *m = (struct trib_mechanism){.kind = strcmp(name, "laplace") == 0 ? TRIB_MECHANISM_LAPLACE
                                                                      : TRIB_MECHANISM_GAUSSIAN};
    if (m->kind == TRIB_MECHANISM_GAUSSIAN && strcmp(name, "gaussian") != 0)
        return false;
    if (!golden_number(golden_field(row, "param"), &m->scale) ||
        !golden_number(golden_field(row, "q"), &m->sampling) ||
        (has_rounds && !golden_number(golden_field(row, "rounds"), &rounds)) || !(rounds >= 1))
        return false;
    m->rounds = (uint64_t)rounds;
    return !trib_mechanism_check(m, why, sizeof(why));
}

// Compare with a column; an empty one has nothing to say. False: not a number.
static bool wants(const struct golden_row *row, const char *column, double *ret_expected)
{
    return golden_field(row, column)[0] && golden_number(golden_field(row, column), ret_expected);
}

static void compare(struct golden_tally *tally, const struct golden_row *row, const char *column,
                    double got, double rtol)
{
    double expected;
    char what[128];
    if (!golden_field(row, column)[0])
        return;
    (void)snprintf(what, sizeof(what), "%s(%s, q %s, %s rounds) %s", golden_field(row, "mechanism"),
                   golden_field(row, "param"), golden_field(row, "q"), golden_field(row, "rounds"),
                   column);
    if (!wants(row, column, &expected))
        golden_fail(tally, row, "the expected value is not a number");
    else
        golden_check(tally, row, what, expected, got, rtol);
}

static double curve_of(void *user, double order)
{
    return trib_rdp_of(user, order);
}

// The bound for any sampled mechanism, on the curve of this one without sampling.
static double generic_rdp(const struct trib_mechanism *m, double order)
{
    struct trib_mechanism base = *m;
    base.sampling = 1;
    return trib_rdp_sampled_any(m->sampling, (unsigned)order, curve_of, &base);
}

static void check_rdp(const struct golden_row *row, const struct trib_mechanism *m, double delta,
                      struct golden_tally *tally)
{
    double order;
    const double rounds = (double)m->rounds;
    if (wants(row, "rdp_order", &order))
        compare(tally, row, "eps_rdp",
                trib_rdp_epsilon(rounds * trib_rdp_of(m, order), order, delta), 1e-6);
    else if (golden_field(row, "eps_rdp")[0])
        golden_fail(tally, row, "eps_rdp without its order");
    if (wants(row, "rdp_generic_order", &order))
        compare(tally, row, "eps_rdp_generic_sub",
                trib_rdp_epsilon(rounds * generic_rdp(m, order), order, delta), 1e-6);
    else if (golden_field(row, "eps_rdp_generic_sub")[0])
        golden_fail(tally, row, "eps_rdp_generic_sub without its order");
}

// Pessimistic, so never below the reference by more than its own rounding, and not far above it.
static void check_pld(const struct golden_row *row, const struct trib_mechanism *m, double delta,
                      struct golden_tally *tally)
{
    double expected;
    double got = -1;
    char text[256];
    if (!wants(row, "eps_ref", &expected)) {
        golden_fail(tally, row, "eps_ref is not a number");
        return;
    }
    enum trib_err err = trib_pld_epsilon(m, 0, delta, &got);
    if (!err && got >= expected * (1 - 1e-6) && got <= expected * (1 + 2e-3) + 1e-4) {
        tally->passed++;
        return;
    }
    (void)snprintf(text, sizeof(text), "%s(%s, q %s, %s rounds) PLD: expected %.17g, got %.17g",
                   golden_field(row, "mechanism"), golden_field(row, "param"),
                   golden_field(row, "q"), golden_field(row, "rounds"), expected, got);
    golden_fail(tally, row, text);
}

static void check_laplace(const struct golden_row *row, const struct trib_mechanism *m,
                          double delta, struct golden_tally *tally)
{
    const double epsilon = trib_pure_sampled(1 / m->scale, m->sampling);
    compare(tally, row, "eps_pure", epsilon * (double)m->rounds, 1e-9);
    compare(tally, row, "eps_advcomp", trib_pure_advanced(epsilon, m->rounds, delta), 1e-9);
    compare(tally, row, "eps_kov", trib_pure_optimal(epsilon, m->rounds, delta), 1e-9);
}

void golden_accounting(const struct golden_row *row, struct golden_tally *tally)
{
    struct trib_mechanism m;
    double delta;
    char why[128];
    if (!read_mechanism(row, true, &m) || !golden_number(golden_field(row, "delta"), &delta) ||
        trib_delta_check(delta, why, sizeof(why))) {
        golden_fail(tally, row, "the row cannot be read");
        return;
    }
    const double loss = 1 / m.scale;
    double rho = loss * loss / 2;
    if (m.kind == TRIB_MECHANISM_LAPLACE) {
        check_laplace(row, &m, delta, tally);
        rho = trib_zcdp_laplace(loss, loss);
    } else {
        compare(tally, row, "eps_pure", (double)INFINITY, 1e-9); // no bound on the loss
    }
    compare(tally, row, "eps_zcdp", trib_zcdp_epsilon(rho * (double)m.rounds, delta), 1e-5);
    check_rdp(row, &m, delta, tally);
    check_pld(row, &m, delta, tally);
}

void golden_rdp(const struct golden_row *row, struct golden_tally *tally)
{
    struct trib_mechanism m;
    double order;
    if (!read_mechanism(row, false, &m) || !golden_number(golden_field(row, "order"), &order)) {
        golden_fail(tally, row, "the row cannot be read");
        return;
    }
    compare(tally, row, "rdp_one_round", trib_rdp_of(&m, order), 1e-6);
    if (golden_field(row, "rdp_generic_sub_one_round")[0])
        compare(tally, row, "rdp_generic_sub_one_round", generic_rdp(&m, order), 1e-6);
}
