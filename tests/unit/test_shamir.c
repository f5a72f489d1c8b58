#include "tests/test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/wipe.h"
#include "common/privacy/shamir.h"
#include "tests/unit/chi_square.h"

enum {
    SIZE = TRIB_SHAMIR_SIZE,
    COUNT_MAX = 200,
};

// A scalar that only the seed decides.
static void random_scalar(uint64_t *seed, uint8_t *ret_scalar)
{
    uint8_t bytes[TRIB_SHAMIR_UNIFORM_SIZE];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(test_rand(seed) >> 56);
    trib_shamir_scalar(bytes, ret_scalar);
}

static void random_polynomial(uint64_t *seed, uint32_t threshold, uint8_t *ret_coefficients)
{
    for (uint32_t i = 0; i < threshold; i++)
        random_scalar(seed, ret_coefficients + i * SIZE);
}

static void combine_at(const uint8_t *coefficients, uint32_t threshold, const uint32_t *points,
                       uint32_t count, uint8_t *ret_secret)
{
    static uint8_t weights[COUNT_MAX * SIZE];
    static uint8_t shares[COUNT_MAX * SIZE];
    assert_true(count <= COUNT_MAX);
    for (uint32_t i = 0; i < count; i++)
        trib_shamir_share(coefficients, threshold, points[i], shares + i * SIZE);
    trib_shamir_weights(points, count, weights);
    trib_shamir_combine(weights, shares, count, ret_secret);
}

// f(x) = 3 + 5 x + 7 x^2 over small numbers, worked out by hand.
static void a_share_is_the_value_of_the_polynomial(void **state)
{
    (void)state;
    const uint8_t coefficients[3 * SIZE] = {[0] = 3, [SIZE] = 5, [2 * SIZE] = 7};
    const uint8_t at_2[SIZE] = {41};                 // 3 + 10 + 28
    const uint8_t at_100[SIZE] = {0x67, 0x13, 0x01}; // 3 + 500 + 70000 = 70503 = 0x11367
    uint8_t share[SIZE];
    trib_shamir_share(coefficients, 3, 2, share);
    assert_memory_equal(share, at_2, SIZE);
    trib_shamir_share(coefficients, 3, 100, share);
    assert_memory_equal(share, at_100, SIZE);
}

// Two points: w_1 = x_2 / (x_2 - x_1), w_2 = x_1 / (x_1 - x_2); at 1 and 2 these are 2 and -1.
static void weights_are_those_of_lagrange(void **state)
{
    (void)state;
    const uint32_t points[] = {1, 2};
    const uint8_t two[SIZE] = {2};
    const uint8_t minus_one[SIZE] = {
        0xec, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
        0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10}; // L - 1
    uint8_t weights[2 * SIZE];
    trib_shamir_weights(points, 2, weights);
    assert_memory_equal(weights, two, SIZE);
    assert_memory_equal(weights + SIZE, minus_one, SIZE);
}

// Every subset of 6 points, for every threshold: enough shares give the secret, fewer do not.
static void any_threshold_of_shares_gives_the_secret_and_fewer_do_not(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (uint32_t threshold = 1; threshold <= 6; threshold++) {
        uint8_t coefficients[6 * SIZE];
        random_polynomial(&seed, threshold, coefficients);
        for (uint32_t subset = 1; subset < 1u << 6; subset++) {
            uint32_t points[6];
            uint32_t count = 0;
            uint8_t secret[SIZE];
            for (uint32_t i = 0; i < 6; i++) {
                if (subset >> i & 1)
                    points[count++] = i + 1;
            }
            combine_at(coefficients, threshold, points, count, secret);
            assert_int_equal(memcmp(secret, coefficients, SIZE) == 0, count >= threshold);
        }
    }
}

static void large_cohorts_and_points_far_apart_work(void **state)
{
    (void)state;
    static uint8_t coefficients[COUNT_MAX * SIZE];
    static uint32_t points[COUNT_MAX];
    uint64_t seed = 2;
    for (uint32_t threshold = 50; threshold <= COUNT_MAX; threshold += 75) {
        uint8_t secret[SIZE];
        random_polynomial(&seed, threshold, coefficients);
        for (uint32_t i = 0; i < threshold; i++) // in no order, up to the largest point
            points[i] = TRIB_SHAMIR_POINT_MAX - (i * 7919) % TRIB_SHAMIR_POINT_MAX;
        combine_at(coefficients, threshold, points, threshold, secret);
        assert_memory_equal(secret, coefficients, SIZE);
    }
}

// One set of weights for many secrets over the same points.
static void weights_serve_every_secret(void **state)
{
    (void)state;
    const uint32_t points[] = {9, 2, 5};
    uint64_t seed = 3;
    uint8_t weights[3 * SIZE];
    trib_shamir_weights(points, 3, weights);
    for (int i = 0; i < 20; i++) {
        uint8_t coefficients[3 * SIZE];
        uint8_t shares[3 * SIZE];
        uint8_t secret[SIZE];
        random_polynomial(&seed, 3, coefficients);
        for (int j = 0; j < 3; j++)
            trib_shamir_share(coefficients, 3, points[j], shares + j * SIZE);
        trib_shamir_combine(weights, shares, 3, secret);
        assert_memory_equal(secret, coefficients, SIZE);
    }
}

// For any T - 1 shares and any secret there is exactly one polynomial, so what T - 1 holders have
// fits every secret alike. Shown at points 1, 2, 3, where the weights are 3, -3, 1: the first two
// shares stay as they are, and each third share makes one secret of our choice.
static void too_few_shares_fit_every_secret(void **state)
{
    (void)state;
    const uint32_t points[] = {1, 2, 3};
    const uint8_t one[SIZE] = {1};
    uint64_t seed = 4;
    uint8_t coefficients[3 * SIZE];
    uint8_t shares[3 * SIZE];
    uint8_t weights[3 * SIZE];
    uint8_t signs[3 * SIZE] = {[0] = 1, [SIZE] = 1}; // 1, 1, and -1 from the weights at 1 and 2

    random_polynomial(&seed, 3, coefficients);
    for (int j = 0; j < 3; j++)
        trib_shamir_share(coefficients, 3, points[j], shares + j * SIZE);
    trib_shamir_weights(points, 2, weights);
    memcpy(signs + 2 * SIZE, weights + SIZE, SIZE);
    trib_shamir_weights(points, 3, weights);
    assert_memory_equal(weights + 2 * SIZE, one, SIZE);
    for (int i = 0; i < 20; i++) {
        uint8_t terms[3 * SIZE]; // share 3 + other secret - secret
        uint8_t view[3 * SIZE];
        uint8_t other[SIZE];
        uint8_t secret[SIZE];
        random_scalar(&seed, other);
        memcpy(terms, shares + 2 * SIZE, SIZE);
        memcpy(terms + SIZE, other, SIZE);
        memcpy(terms + 2 * SIZE, coefficients, SIZE);
        memcpy(view, shares, sizeof(view));
        trib_shamir_combine(signs, terms, 3, view + 2 * SIZE);
        trib_shamir_combine(weights, view, 3, secret);
        assert_memory_equal(secret, other, SIZE);
    }
}

// One share of a fixed secret is uniform: its bytes, over many polynomials, pass a chi-square test
// (the top byte apart: a scalar is below 2^252 and a bit).
static void a_share_of_a_fixed_secret_is_uniform(void **state)
{
    (void)state;
    enum {
        ROUNDS = 4000
    };
    static uint64_t counts[256];
    struct chi_square chi = {0};
    uint64_t seed = 5;
    memset(counts, 0, sizeof(counts));
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t coefficients[2 * SIZE] = {1}; // the secret is 1
        uint8_t share[SIZE];
        random_scalar(&seed, coefficients + SIZE);
        trib_shamir_share(coefficients, 2, 1 + (uint32_t)i % 7, share);
        for (int j = 0; j < SIZE - 1; j++)
            counts[share[j]]++;
    }
    for (int i = 0; i < 256; i++)
        chi_square_add(&chi, ROUNDS * (SIZE - 1) / 256.0, counts[i]);
    double deviate = chi_square_deviate(&chi);
    assert_true(deviate < CHI_SQUARE_MAX && deviate > -CHI_SQUARE_MAX);
}

static void a_wrong_share_gives_a_wrong_secret(void **state)
{
    (void)state;
    const uint32_t points[] = {4, 8, 15};
    uint64_t seed = 6;
    uint8_t coefficients[3 * SIZE];
    uint8_t weights[3 * SIZE];
    uint8_t shares[3 * SIZE];
    uint8_t secret[SIZE];
    random_polynomial(&seed, 3, coefficients);
    trib_shamir_weights(points, 3, weights);
    for (int j = 0; j < 3; j++)
        trib_shamir_share(coefficients, 3, points[j], shares + j * SIZE);
    for (int byte = 0; byte < 3 * SIZE; byte++) {
        shares[byte] ^= 1;
        trib_shamir_combine(weights, shares, 3, secret);
        assert_memory_not_equal(secret, coefficients, SIZE);
        shares[byte] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_is_the_value_of_the_polynomial),
        cmocka_unit_test(weights_are_those_of_lagrange),
        cmocka_unit_test(any_threshold_of_shares_gives_the_secret_and_fewer_do_not),
        cmocka_unit_test(large_cohorts_and_points_far_apart_work),
        cmocka_unit_test(weights_serve_every_secret),
        cmocka_unit_test(too_few_shares_fit_every_secret),
        cmocka_unit_test(a_share_of_a_fixed_secret_is_uniform),
        cmocka_unit_test(a_wrong_share_gives_a_wrong_secret),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
