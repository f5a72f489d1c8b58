#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/base/wipe.h"
#include "common/privacy/plan.h"
#include "common/privacy/polya.h"

static double uniform(uint64_t *seed) // (0, 1)
{
    return ((double)(test_rand(seed) >> 11) + 0.5) * 0x1p-53;
}

static void assert_close(double got, double expected, double relative)
{
    assert_true(fabs(got - expected) <= relative * fabs(expected));
}

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

static void a_text_names_what_makes_no_sense(void **state)
{
    (void)state;
    const double bad[] = {-1, -1e-300, (double)NAN, (double)INFINITY, -(double)INFINITY, 1e300};
    struct trib_privacy_config config;
#define REFUSED(field, value, text)    \
    do {                               \
        config = example();            \
        config.field = (value);        \
        assert_refused(&config, text); \
    } while (0)
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        REFUSED(clip_l1, bad[i], "clip_l1");
        REFUSED(clip_l2, bad[i], "clip_l2");
        REFUSED(clip_linf, bad[i], "clip_linf");
        REFUSED(noise_multiplier, bad[i], "noise_multiplier");
        REFUSED(target_epsilon, bad[i], "target_epsilon");
        REFUSED(target_delta, bad[i], "target_delta");
    }
    REFUSED(target_delta, 1, "target_delta");
    REFUSED(clip_l2, 0, "clip_l2");
    REFUSED(target_epsilon, 0, "target_epsilon or privacy.noise_multiplier");
    REFUSED(params, 0, "parameters");
    REFUSED(params, (uint64_t)TRIB_PARAMS_MAX + 1, "parameters");
    REFUSED(cohort, 0, "devices");
    REFUSED(cohort, (uint64_t)TRIB_COHORT_MAX + 1, "devices");
    REFUSED(rounds, 0, "rounds");
    REFUSED(rounds, (uint64_t)TRIB_ROUNDS_MAX + 1, "rounds");
    REFUSED(grid_bits, TRIB_NOISE_GRID_BITS_MAX + 1, "grid_bits");
    REFUSED(word_bits, 20, "privacy.word_bits");
    REFUSED(secagg_word_bits, 8, "secagg.word_bits");
    REFUSED(mode, (enum trib_privacy_mode)9, "no privacy mode 9");
#undef REFUSED
}

// ---- noise that others add

static struct trib_privacy_config shared_example(void)
{
    struct trib_privacy_config config = example();
    config.mode = TRIB_PRIVACY_DISTRIBUTED;
    config.cohort = 100;
    config.params = 650;
    config.rounds = 20;
    config.threshold_frac = 0.75;
    config.max_colluders_frac = 0.10;
    return config;
}

static struct trib_privacy_plan made(const struct trib_privacy_config *config)
{
    struct trib_privacy_plan plan;
    char why[256];
    if (trib_privacy_plan_make(config, &plan, why, sizeof(why)))
        fail_msg("refused: %s", why);
    return plan;
}

static void a_promise_is_the_same_whoever_adds_the_noise(void **state)
{
    (void)state;
    struct trib_privacy_config config = shared_example();
    const struct trib_privacy_plan shared = made(&config);
    config.mode = TRIB_PRIVACY_CENTRAL;
    const struct trib_privacy_plan central = made(&config);
    config.mode = TRIB_PRIVACY_LOCAL;
    const struct trib_privacy_plan local = made(&config);
    assert_true(shared.epsilon_total <= 8 && shared.epsilon_total > 7.9);
    assert_true(local.epsilon_total == shared.epsilon_total);
    assert_true(local.epsilon_total == central.epsilon_total);
    assert_true(local.noise_multiplier == shared.noise_multiplier);
    assert_string_equal(shared.ledger, "zcdp");

    // Only the signal differs: the mean of n noises, one noise on the sum, n/m noises on the sum.
    assert_close(central.snr, local.snr * 10, 1e-12);
    assert_close(shared.snr, central.snr * sqrt(65 / 100.0), 1e-12);
    assert_close(shared.snr,
                 0.5 * 100 / (sqrt(2) * shared.noise_multiplier * sqrt(650)) * sqrt(.65), 1e-12);
    const struct trib_secagg_plan nothing = {0};
    assert_memory_equal(&local.secagg, &nothing, sizeof(nothing));
    assert_memory_equal(&central.secagg, &nothing, sizeof(nothing));
    assert_int_equal(shared.secagg.shares, 65);
    assert_int_equal(shared.encoding.shares, 65);
    assert_int_equal(local.encoding.shares, 0);
    assert_int_equal(central.encoding.shares, 0);
}

static void words_hold_what_travels(void **state)
{
    (void)state;
    uint64_t seed = 5;
    int made_count = 0;
    for (int trial = 0; trial < 200; trial++) {
        struct trib_privacy_config config = shared_example();
        struct trib_privacy_plan plan;
        char why[256];
        config.cohort = 20 + test_rand(&seed) % 9000;
        config.params = 1 + test_rand(&seed) % 1000000;
        config.rounds = 1 + test_rand(&seed) % 200;
        config.mode = trial % 2 ? TRIB_PRIVACY_DISTRIBUTED : TRIB_PRIVACY_CENTRAL;
        if (trib_privacy_plan_make(&config, &plan, why, sizeof(why)))
            continue;
        made_count++;
        const struct trib_encoding *e = &plan.encoding;
        double bound = (double)e->sinf;
        assert_int_equal(trib_encoding_check(e), TRIB_OK);
        if (config.mode == TRIB_PRIVACY_DISTRIBUTED) { // docs/privacy-math.md 3.4
            double n = (double)config.cohort;
            assert_int_equal(trib_secagg_plan_check(&plan.secagg), TRIB_OK);
            bound = n * bound +
                    2 * ldexp(1, (int)e->grid_bits) *
                        (log(2 * (double)config.params * 0x1p40) + 0.29 * n / plan.secagg.shares);
        }
        assert_true(bound < ldexp(1, (int)e->word_bits - 1));
        assert_true(e->word_bits == 16 || bound >= ldexp(1, (int)e->word_bits - 9)); // the smallest
    }
    assert_true(made_count > 150);
}

static void the_sums_of_the_design_have_its_words(void **state)
{
    (void)state;
    struct trib_privacy_config config = shared_example();
    config.target_epsilon = 0;
    config.noise_multiplier = 1; // s2 = sinf = t
    config.grid_bits = 12;
    config.cohort = 1000;
    config.params = 1000000;
    assert_int_equal(made(&config).encoding.word_bits, 24);
    config.cohort = 10000;
    assert_int_equal(made(&config).encoding.word_bits, 32); // 27 bits would do
    config.secagg_word_bits = 24;
    assert_refused(&config, "secagg.word_bits");
    config.word_bits = 16; // is of the other modes
    config.secagg_word_bits = 0;
    assert_int_equal(made(&config).encoding.word_bits, 32);
    config.cohort = 10001;
    assert_refused(&config, "no graph is known");
}

static void the_noise_is_the_least_that_meets_the_target(void **state)
{
    (void)state;
    uint64_t seed = 9;
    for (int trial = 0; trial < 100; trial++) {
        struct trib_privacy_config config = shared_example();
        config.params = 1 + test_rand(&seed) % 5000;
        config.rounds = 1 + test_rand(&seed) % 50;
        config.target_epsilon = exp(5 * uniform(&seed) - 1);
        config.clip_l1 = trial % 3 ? 0 : 0.1 + 5 * uniform(&seed);
        config.grid_bits = 20; // so fine that the bounds hardly lose by rounding down
        config.secagg_word_bits = 32;
        struct trib_privacy_plan plan;
        char why[256];
        if (trib_privacy_plan_make(&config, &plan, why, sizeof(why)))
            continue;
        assert_true(plan.epsilon_total <= config.target_epsilon);
        assert_true(plan.epsilon_total >= config.target_epsilon * 0.999);
    }
    // With one parameter the pure ledger or the dual norm asks for less than the L2 norm alone.
    struct trib_privacy_config config = shared_example();
    config.params = 1;
    config.rounds = 1;
    config.target_epsilon = 4;
    const struct trib_privacy_plan plan = made(&config);
    assert_close(plan.noise_multiplier, 0.25, 1e-6);
    assert_string_equal(plan.ledger, "pure");
}

static void an_l1_clip_beyond_the_l2_clip_changes_nothing(void **state)
{
    (void)state;
    struct trib_privacy_config config = example();
    const struct trib_privacy_plan without = made(&config);
    config.clip_l1 = 1000;
    const struct trib_privacy_plan with = made(&config);
    assert_true(with.epsilon_pure_total == without.epsilon_pure_total);
    assert_true(with.noise_multiplier == without.noise_multiplier);
}

// The published figure against what the samplers do: shares of 30 of 20, all of the noise of each
// of 30, or one noise on the sum.
static void the_noise_on_the_mean_is_what_is_said(void **state)
{
    (void)state;
    enum {
        BITS = 6,
        DEVICES = 30,
        COORDINATES = 20000
    };
    static const uint8_t seed[TRIB_NOISE_SEED_SIZE] = {1};
    static int32_t words[COORDINATES];
    static struct trib_noise noise;
    struct trib_encoding encoding = {.grid = 0.25, .grid_bits = BITS, .shares = 20};
    trib_noise_init_seed(&noise, seed);
    for (int mode = TRIB_PRIVACY_LOCAL; mode <= TRIB_PRIVACY_CENTRAL; mode++) {
        encoding.mode = (enum trib_privacy_mode)mode;
        double squares = 0;
        memset(words, 0, sizeof(words));
        for (int device = 0; device < DEVICES; device++) {
            if (mode == TRIB_PRIVACY_DISTRIBUTED)
                trib_polya_add(&noise, words, COORDINATES, BITS, encoding.shares);
            for (int i = 0; i < COORDINATES; i++) {
                if (mode == TRIB_PRIVACY_LOCAL || (mode == TRIB_PRIVACY_CENTRAL && device == 0))
                    words[i] += (int32_t)trib_noise_dlap(&noise, BITS);
            }
        }
        for (int i = 0; i < COORDINATES; i++)
            squares += pow(words[i] * encoding.grid / DEVICES, 2);
        // The estimate of a deviation from N draws of excess kurtosis 3 is off by about
        // 1.1/sqrt(N).
        assert_close(sqrt(squares / COORDINATES), trib_privacy_noise_std(&encoding, DEVICES), 0.04);
    }
    trib_noise_fini(&noise);
    encoding.mode = TRIB_PRIVACY_OFF;
    assert_true(trib_privacy_noise_std(&encoding, DEVICES) == 0);
}

static void a_signal_is_seen_above_its_noise_only(void **state)
{
    (void)state;
    const struct trib_encoding encoding = {
        .mode = TRIB_PRIVACY_CENTRAL, .grid = 1, .grid_bits = 12};
    const double noise = trib_privacy_noise_std(&encoding, 10);
    assert_true(trib_privacy_snr_seen(&encoding, 10, noise / 2) == 0);
    assert_true(trib_privacy_snr_seen(&encoding, 10, noise) == 0);
    assert_close(trib_privacy_snr_seen(&encoding, 10, noise * sqrt(1.25)), 0.5, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_design_comes_out),
        cmocka_unit_test(no_plan_exceeds_its_target),
        cmocka_unit_test(more_rounds_or_less_epsilon_want_more_noise),
        cmocka_unit_test(a_given_multiplier_is_used),
        cmocka_unit_test(what_cannot_be_is_refused_with_a_text),
        cmocka_unit_test(off_has_the_two_grids_of_the_design),
        cmocka_unit_test(a_text_names_what_makes_no_sense),
        cmocka_unit_test(a_promise_is_the_same_whoever_adds_the_noise),
        cmocka_unit_test(words_hold_what_travels),
        cmocka_unit_test(the_sums_of_the_design_have_its_words),
        cmocka_unit_test(the_noise_is_the_least_that_meets_the_target),
        cmocka_unit_test(an_l1_clip_beyond_the_l2_clip_changes_nothing),
        cmocka_unit_test(the_noise_on_the_mean_is_what_is_said),
        cmocka_unit_test(a_signal_is_seen_above_its_noise_only),
    };
    return RUN_TESTS(tests);
}
