// The whole boundary seen from outside: what comes out of the encoder, the noise and the sum, in
// each mode that has noise. Takes the guarantee at its word and tries to break it.
#include "tests/test.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/wipe.h"
#include "common/privacy/accountant.h"
#include "common/privacy/encode.h"
#include "tests/unit/clopper_pearson.h"

static struct trib_noise noise;

static void start_noise(uint8_t first)
{
    uint8_t seed[TRIB_NOISE_SEED_SIZE] = {first};
    trib_noise_init_seed(&noise, seed);
}

// One coordinate, S1 = t: epsilon = 1.
static struct trib_encoding encoding_of(enum trib_privacy_mode mode)
{
    return (struct trib_encoding){.mode = mode,
                                  .grid = 1,
                                  .grid_bits = 3,
                                  .s1 = 8,
                                  .s2 = 8,
                                  .sinf = 8,
                                  .word_bits = 16,
                                  .shares = mode == TRIB_PRIVACY_DISTRIBUTED ? 4 : 0};
}

static const enum trib_privacy_mode modes[] = {TRIB_PRIVACY_LOCAL, TRIB_PRIVACY_DISTRIBUTED,
                                               TRIB_PRIVACY_CENTRAL};

// What the other side sees of a device with update `x` in one round: its word (local); the sum of
// the words of `devices` devices, of which the others have no update, as unmasking gives it
// (distributed); the sum with the coordinator's noise (central).
static int64_t look(const struct trib_encoding *e, uint32_t devices, float x)
{
    struct trib_encode_report report;
    uint32_t sum = 0;
    for (uint32_t d = 0; d < devices; d++) {
        const float update = d == 0 ? x : 0;
        int32_t word;
        assert_int_equal(trib_encode(e, &noise, &update, 1, &word, &report), TRIB_OK);
        sum += (uint32_t)word;
    }
    const uint32_t half = UINT32_C(1) << (e->word_bits - 1);
    sum &= 2 * half - 1; // modulo 2^word_bits, and then the residue nearest to zero
    int64_t seen = sum < half ? (int64_t)sum : (int64_t)sum - 2 * (int64_t)half;
    if (e->mode == TRIB_PRIVACY_CENTRAL)
        trib_noise_central_add(&noise, &seen, 1, e->grid_bits);
    return seen;
}

static uint32_t devices_of(const struct trib_encoding *e)
{
    return e->mode == TRIB_PRIVACY_DISTRIBUTED ? e->shares : 1;
}

// A lower bound on epsilon, with 99.9 %: the event "S1 or more" under the update S1 and under none.
// It was chosen before looking, as the one whose ratio is e^epsilon by the law of the noise.
static double audited_epsilon(const struct trib_encoding *e, uint32_t devices)
{
    enum {
        TRIALS = 1000000
    };
    const float inputs[2] = {(float)e->s1, 0};
    uint64_t hits[2] = {0};
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < TRIALS; i++)
            hits[side] += look(e, devices, inputs[side]) >= (int64_t)e->s1;
    }
    return log(clopper_pearson_lower(hits[0], TRIALS, 0.0005) /
               clopper_pearson_upper(hits[1], TRIALS, 0.0005));
}

static void confidence_bounds_are_those_of_the_binomial_law(void **state)
{
    (void)state;
    const double alpha = 0.0005;
    for (uint64_t hits = 1; hits <= 30; hits++) { // the tail from its definition
        double p = clopper_pearson_lower(hits, 30, alpha);
        double tail = 0;
        for (uint64_t n = hits; n <= 30; n++)
            tail += exp(lgamma(31) - lgamma((double)n + 1) - lgamma(31 - (double)n) +
                        (double)n * log(p) + (double)(30 - n) * log1p(-p));
        assert_true(fabs(tail / alpha - 1) < 1e-9);
    }
    assert_true(clopper_pearson_lower(0, 1000, alpha) == 0);
    assert_true(fabs(clopper_pearson_lower(1000, 1000, alpha) - pow(alpha, 1e-3)) < 1e-12);
    assert_true(fabs(clopper_pearson_upper(0, 1000, alpha) - (1 - pow(alpha, 1e-3))) < 1e-12);
    // At a million it is nearly the normal law, 3.2905 deviations.
    double width = 0.5 - clopper_pearson_lower(500000, 1000000, alpha);
    assert_true(fabs(width / (3.2905 * 0.0005) - 1) < 0.01);
}

static void an_audit_finds_the_claimed_epsilon_and_no_more(void **state)
{
    (void)state;
    start_noise(8);
    for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
        const struct trib_encoding e = encoding_of(modes[m]);
        const double claimed = trib_epsilon_pure(&e);
        const double found = audited_epsilon(&e, devices_of(&e));
        print_message("audit of mode %s: epsilon %.4f claimed, %.4f found\n",
                      trib_privacy_mode_text(e.mode), claimed, found);
        assert_true(claimed == 1);
        assert_true(found <= claimed);        // not too little noise
        assert_true(found >= 0.98 * claimed); // nor too much
    }
}

static void an_audit_finds_noise_of_half_the_scale(void **state)
{
    (void)state;
    static const enum trib_privacy_mode whole[] = {TRIB_PRIVACY_LOCAL, TRIB_PRIVACY_CENTRAL};
    start_noise(9);
    for (size_t m = 0; m < sizeof(whole) / sizeof(whole[0]); m++) {
        struct trib_encoding e = encoding_of(whole[m]);
        const double claimed = trib_epsilon_pure(&e);
        e.grid_bits--;
        assert_true(audited_epsilon(&e, 1) > 1.5 * claimed);
    }
}

static void an_audit_finds_that_half_of_the_shares_are_missing(void **state)
{
    (void)state;
    const struct trib_encoding e = encoding_of(TRIB_PRIVACY_DISTRIBUTED);
    start_noise(10);
    assert_true(audited_epsilon(&e, e.shares / 2) > 1.2 * trib_epsilon_pure(&e));
}

// ---- The low bits of floats

static double naive_laplace(double x, uint64_t *seed) // the textbook sampler, scale 1
{
    double u = (double)(test_rand(seed) >> 11) * 0x1p-53 - 0.5;
    return x - copysign(1, u) * log(1 - 2 * fabs(u));
}

// Can the textbook sampler turn `x` into exactly `y`? Look at the uniforms around the inverse.
static bool naive_reaches(double x, double y)
{
    double z = y - x;
    double centre = nearbyint((1 - exp(-fabs(z))) / 2 * 0x1p53);
    for (int offset = -40; offset <= 40; offset++) {
        double u = (centre + offset) * 0x1p-53;
        if (x + copysign(1, z) * -log(1 - 2 * u) == y)
            return true;
    }
    return false;
}

static void floats_would_betray_their_input(void **state)
{
    (void)state;
    // The negative control for the next test: of the textbook sampler's outputs on one input, most
    // cannot come from its neighbour, so one look tells them apart (Mironov 2012). On a device, and
    // on a sum to which others have brought their share.
    enum {
        DRAWS = 20000
    };
    static const double others[] = {0, 1 / 3.0};
    uint64_t seed = 9;
    for (int o = 0; o < 2; o++) {
        int own = 0, other = 0;
        for (int i = 0; i < DRAWS; i++) {
            double y = naive_laplace(others[o], &seed);
            own += naive_reaches(others[o], y);
            other += naive_reaches(others[o] + 1, y);
        }
        assert_true(own > 0.99 * DRAWS); // the search does find what is there
        assert_true(DRAWS - other >= 0.70 * DRAWS);
    }
}

static void every_output_can_come_from_both_neighbours(void **state)
{
    (void)state;
    enum {
        DRAWS = 200000,
        REACH = 64
    };
    // Inputs that differ in their last bits too, and reach past the grid on both sides.
    static const float inputs[2] = {0.0f, 8.000001f};
    start_noise(11);
    for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
        const struct trib_encoding e = encoding_of(modes[m]);
        uint32_t counts[2][2 * REACH + 1] = {{0}};
        int compared = 0;
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < DRAWS; i++) {
                // Whole steps of the grid by type: there are no low bits to look at.
                int64_t seen = look(&e, devices_of(&e), inputs[side]);
                if (llabs(seen) <= REACH)
                    counts[side][seen + REACH]++;
            }
        }
        // Whatever one input gives at all often, the other gives too, within e^(S1/t) = e.
        for (int z = 0; z <= 2 * REACH; z++) {
            double high = fmax(counts[0][z], counts[1][z]);
            double low = fmin(counts[0][z], counts[1][z]);
            if (high < 200)
                continue;
            assert_true(low > 0 && high / low < exp(1) * (1 + 5 * sqrt(1 / low + 1 / high)));
            compared++;
        }
        assert_true(compared > 60);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confidence_bounds_are_those_of_the_binomial_law),
        cmocka_unit_test(an_audit_finds_the_claimed_epsilon_and_no_more),
        cmocka_unit_test(an_audit_finds_noise_of_half_the_scale),
        cmocka_unit_test(an_audit_finds_that_half_of_the_shares_are_missing),
        cmocka_unit_test(floats_would_betray_their_input),
        cmocka_unit_test(every_output_can_come_from_both_neighbours),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
