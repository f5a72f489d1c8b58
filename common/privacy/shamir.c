#include "common/privacy/shamir.h"

#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/wipe.h"

_Static_assert(TRIB_SHAMIR_SIZE == crypto_core_ed25519_SCALARBYTES, "a share is a scalar");
_Static_assert(TRIB_SHAMIR_UNIFORM_SIZE == crypto_core_ed25519_NONREDUCEDSCALARBYTES, "ditto");

enum {
    SIZE = TRIB_SHAMIR_SIZE,
    BATCH = 64, // weights inverted together
};

static void small_scalar(uint64_t value, uint8_t ret_scalar[static SIZE])
{
    memset(ret_scalar, 0, SIZE);
    trib_store_le64(ret_scalar, value);
}

void trib_shamir_scalar(const uint8_t bytes[static TRIB_SHAMIR_UNIFORM_SIZE],
                        uint8_t ret_scalar[static TRIB_SHAMIR_SIZE])
{
    crypto_core_ed25519_scalar_reduce(ret_scalar, bytes);
}

void trib_shamir_share(const uint8_t *coefficients, uint32_t threshold, uint32_t point,
                       uint8_t ret_share[static TRIB_SHAMIR_SIZE])
{
    assert(threshold > 0 && point > 0 && point <= TRIB_SHAMIR_POINT_MAX);
    uint8_t x[SIZE];
    uint8_t value[SIZE];

    small_scalar(point, x);
    memcpy(value, coefficients + (size_t)(threshold - 1) * SIZE, SIZE);
    for (uint32_t i = threshold - 1; i-- > 0;) { // Horner
        crypto_core_ed25519_scalar_mul(value, value, x);
        crypto_core_ed25519_scalar_add(value, value, coefficients + (size_t)i * SIZE);
    }
    memcpy(ret_share, value, SIZE);
    trib_wipe(value, sizeof(value));
}

// A running product of small numbers: a scalar, times what has gathered in 64 bits.
struct product {
    uint8_t scalar[SIZE];
    uint64_t small; // at most 2^48 between two factors of at most 2^15
};

static void product_flush(struct product *product)
{
    uint8_t factor[SIZE];
    small_scalar(product->small, factor);
    crypto_core_ed25519_scalar_mul(product->scalar, product->scalar, factor);
    product->small = 1;
}

static void product_times(struct product *product, uint32_t factor)
{
    product->small *= factor;
    if (product->small >> 48)
        product_flush(product);
}

static struct product product_one(void)
{
    struct product product = {.small = 1};
    small_scalar(1, product.scalar);
    return product;
}

// x_j * prod over m != j of (x_m - x_j)
static void denominator(const uint32_t *points, uint32_t count, uint32_t j,
                        uint8_t ret_scalar[static SIZE])
{
    struct product product = product_one();
    bool is_negative = false;

    product_times(&product, points[j]);
    for (uint32_t m = 0; m < count; m++) {
        if (m == j)
            continue;
        assert(points[m] != points[j]);
        bool below = points[m] < points[j];
        is_negative ^= below;
        product_times(&product, below ? points[j] - points[m] : points[m] - points[j]);
    }
    product_flush(&product);
    if (is_negative)
        crypto_core_ed25519_scalar_negate(product.scalar, product.scalar);
    memcpy(ret_scalar, product.scalar, SIZE);
}

// scalars[i] := factor / scalars[i], with one inversion for all (Montgomery 1987, 10.3.1).
static void divide_by_all(const uint8_t factor[static SIZE], uint8_t *scalars, uint32_t count)
{
    uint8_t before[BATCH][SIZE]; // the product of those before
    uint8_t rest[SIZE];

    small_scalar(1, rest);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(before[i], rest, SIZE);
        crypto_core_ed25519_scalar_mul(rest, rest, scalars + (size_t)i * SIZE);
    }
    int failed = crypto_core_ed25519_scalar_invert(rest, rest);
    assert(failed == 0); // a product of numbers that are not 0
    (void)failed;
    crypto_core_ed25519_scalar_mul(rest, rest, factor);
    for (uint32_t i = count; i-- > 0;) { // rest is factor / (scalars[0] * ... * scalars[i])
        uint8_t *at = scalars + (size_t)i * SIZE;
        uint8_t quotient[SIZE];
        crypto_core_ed25519_scalar_mul(quotient, rest, before[i]);
        crypto_core_ed25519_scalar_mul(rest, rest, at);
        memcpy(at, quotient, SIZE);
    }
}

void trib_shamir_weights(const uint32_t *points, uint32_t count, uint8_t *ret_weights)
{
    // w_j = prod over m != j of x_m / (x_m - x_j) = prod x_m / (x_j * prod of (x_m - x_j))
    struct product numerator = product_one();
    for (uint32_t i = 0; i < count; i++) {
        assert(points[i] > 0 && points[i] <= TRIB_SHAMIR_POINT_MAX);
        product_times(&numerator, points[i]);
    }
    product_flush(&numerator);
    for (uint32_t begin = 0; begin < count; begin += BATCH) {
        uint32_t end = count - begin < BATCH ? count : begin + BATCH;
        for (uint32_t j = begin; j < end; j++)
            denominator(points, count, j, ret_weights + (size_t)j * SIZE);
        divide_by_all(numerator.scalar, ret_weights + (size_t)begin * SIZE, end - begin);
    }
}

void trib_shamir_combine(const uint8_t *weights, const uint8_t *shares, uint32_t count,
                         uint8_t ret_secret[static TRIB_SHAMIR_SIZE])
{
    uint8_t sum[SIZE] = {0};
    uint8_t term[SIZE];

    for (uint32_t i = 0; i < count; i++) {
        crypto_core_ed25519_scalar_mul(term, weights + (size_t)i * SIZE, shares + (size_t)i * SIZE);
        crypto_core_ed25519_scalar_add(sum, sum, term);
    }
    memcpy(ret_secret, sum, SIZE);
    trib_wipe(sum, sizeof(sum));
    trib_wipe(term, sizeof(term));
}
