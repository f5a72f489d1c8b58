#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/privacy/ledgers.h"
#include "common/privacy/plan.h"

static struct trib_ledgers ledgers_of(const struct trib_mechanism *m, double delta)
{
    struct trib_ledgers ledgers;
    char why[256];
    if (trib_ledgers_of(m, delta, &ledgers, why, sizeof(why)))
        fail_msg("refused: %s", why);
    return ledgers;
}

static void the_smallest_ledger_is_told_by_name(void **state)
{
    (void)state;
    uint64_t seed = 6;
    int seen_pure = 0, seen_pld = 0;
    for (int trial = 0; trial < 30; trial++) {
        const struct trib_mechanism m = {.kind = trial % 2 ? TRIB_MECHANISM_LAPLACE
                                                           : TRIB_MECHANISM_GAUSSIAN,
                                         .scale = exp((double)(test_rand(&seed) % 1000) / 150 - 6),
                                         .sampling = trial % 3 ? 1 : 0.05,
                                         .rounds = 1 + test_rand(&seed) % 100};
        const struct trib_ledgers l = ledgers_of(&m, 1e-6);
        double named = strcmp(l.ledger, "pure") == 0   ? l.pure
                       : strcmp(l.ledger, "zcdp") == 0 ? l.zcdp
                       : strcmp(l.ledger, "rdp") == 0  ? l.rdp
                                                       : l.pld;
        assert_true(named == l.epsilon);
        assert_true(l.epsilon == fmin(fmin(l.pure, l.zcdp), fmin(l.rdp, l.pld)));
        assert_true(l.epsilon >= 0);
        assert_true(isinf(l.pure) == (m.kind == TRIB_MECHANISM_GAUSSIAN));
        assert_true(isinf(l.zcdp) == (m.sampling < 1));
        if (isfinite(l.pld))
            assert_true(l.pld <= fmin(l.pure, fmin(l.zcdp, l.rdp)) * (1 + 1e-3) + 1e-9);
        seen_pure += strcmp(l.ledger, "pure") == 0;
        seen_pld += strcmp(l.ledger, "pld") == 0;
    }
    assert_true(seen_pure > 0 && seen_pld > 0);
}

static void what_makes_no_sense_is_refused_by_name(void **state)
{
    (void)state;
    const double bad[] = {0, -1, (double)NAN, (double)INFINITY, -(double)INFINITY};
    const struct trib_mechanism good = {.scale = 1, .sampling = 0.5, .rounds = 3};
    struct trib_ledgers ledgers;
    double scale;
    char why[256];
    struct trib_mechanism m;
#define REFUSED(field, bad_value, text)                                                          \
    do {                                                                                         \
        m = good;                                                                                \
        m.field = (bad_value);                                                                   \
        assert_int_equal(trib_ledgers_of(&m, 1e-5, &ledgers, why, sizeof(why)), TRIB_ERR_INVAL); \
        assert_non_null(strstr(why, text));                                                      \
    } while (0)
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        REFUSED(scale, bad[i], "scale");
        REFUSED(sampling, bad[i], "sampling");
        assert_int_equal(trib_ledgers_of(&good, bad[i], &ledgers, why, sizeof(why)),
                         TRIB_ERR_INVAL);
        assert_non_null(strstr(why, "delta"));
        assert_int_equal(trib_ledgers_solve(&good, bad[i], 1e-5, &scale, why, sizeof(why)),
                         TRIB_ERR_INVAL);
        assert_non_null(strstr(why, "target epsilon"));
        assert_int_equal(trib_ledgers_solve(&good, 1, bad[i], &scale, why, sizeof(why)),
                         TRIB_ERR_INVAL);
    }
    REFUSED(sampling, 1.5, "sampling");
    REFUSED(rounds, 0, "rounds");
    REFUSED(rounds, (uint64_t)TRIB_ROUNDS_MAX + 1, "rounds");
    REFUSED(kind, (enum trib_mechanism_kind)7, "mechanism");
#undef REFUSED
    assert_int_equal(trib_ledgers_of(&good, 1, &ledgers, why, sizeof(why)), TRIB_ERR_INVAL);
}

static void the_solver_finds_the_smallest_scale(void **state)
{
    (void)state;
    static const double targets[] = {0.5, 30};
    static const uint64_t rounds[] = {1, 40};
    for (int t = 0; t < 2; t++) {
        for (int r = 0; r < 2; r++) {
            for (int kind = TRIB_MECHANISM_LAPLACE; kind <= TRIB_MECHANISM_GAUSSIAN; kind++) {
                struct trib_mechanism m = {.kind = (enum trib_mechanism_kind)kind,
                                           .sampling = t % 2 ? 1 : 0.1,
                                           .rounds = rounds[r]};
                char why[256];
                double scale;
                assert_int_equal(trib_ledgers_solve(&m, targets[t], 1e-6, &scale, why, sizeof(why)),
                                 TRIB_OK);
                m.scale = scale;
                assert_true(ledgers_of(&m, 1e-6).epsilon <= targets[t]);
                m.scale = scale * (1 - 1e-3);
                assert_true(ledgers_of(&m, 1e-6).epsilon > targets[t]);
            }
        }
    }
}

static void outsiders_learn_less_the_fewer_are_asked(void **state)
{
    (void)state;
    const struct trib_privacy_config config = {.mode = TRIB_PRIVACY_LOCAL,
                                               .clip_l2 = 1,
                                               .target_epsilon = 8,
                                               .target_delta = 1e-6,
                                               .params = 650,
                                               .cohort = 100,
                                               .rounds = 40};
    struct trib_privacy_plan plan;
    char why[256];
    assert_int_equal(trib_privacy_plan_make(&config, &plan, why, sizeof(why)), TRIB_OK);
    const struct trib_encoding *e = &plan.encoding;
    double before = 0;
    for (double q = 0.001; q < 1; q *= 1.5) {
        double epsilon = trib_epsilon_outsiders(e, q, config.rounds, plan.delta);
        assert_true(epsilon >= before);
        assert_true(epsilon <= plan.epsilon_total); // never worse than without sampling
        before = epsilon;
    }
    assert_true(trib_epsilon_outsiders(e, 0.01, config.rounds, plan.delta) <
                plan.epsilon_total / 10);
    assert_true(trib_epsilon_outsiders(e, 1, config.rounds, plan.delta) == plan.epsilon_total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_ledger_is_told_by_name),
        cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
        cmocka_unit_test(the_solver_finds_the_smallest_scale),
        cmocka_unit_test(outsiders_learn_less_the_fewer_are_asked),
    };
    return RUN_TESTS(tests);
}
