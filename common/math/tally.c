#include "common/math/tally.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/wipe.h"

enum {
    BITS = TRIB_TALLY_LIMB_BITS,
    LIMBS = TRIB_TALLY_LIMBS,
    DIGITS = LIMBS + 2, // with what the sum of many carries out of the highest limb
    MANTISSA_BITS = 52, // of a double (IEEE 754 binary64)
    EXPONENT_MAX = 0x7ff,
    EXPONENT_BIAS = 1023,
};

// The limbs that go on the wire.
static const struct {
    size_t first, count;
} windows[TRIB_TALLY_LAYOUTS] = {
    [TRIB_TALLY_WHOLE] = {0, LIMBS},
    [TRIB_TALLY_CELLS] = {4, 3},
};

static const int64_t base = (int64_t)1 << BITS;

enum trib_err trib_tally_init(struct trib_tally *tally, size_t count)
{
    *tally = (struct trib_tally){.count = count};
    assert(count >= 1 && count <= TRIB_TALLY_VALUES_MAX);
    tally->limbs = trib_alloc_aligned(trib_tally_words(count), sizeof(*tally->limbs));
    return tally->limbs ? TRIB_OK : TRIB_ERR_NOMEM;
}

void trib_tally_fini(struct trib_tally *tally)
{
    if (tally->limbs)
        trib_wipe(tally->limbs, trib_tally_words(tally->count) * sizeof(*tally->limbs));
    free(tally->limbs);
    *tally = (struct trib_tally){.count = 0};
}

void trib_tally_reset(struct trib_tally *tally)
{
    memset(tally->limbs, 0, trib_tally_words(tally->count) * sizeof(*tally->limbs));
}

size_t trib_tally_words(size_t count)
{
    return count * LIMBS;
}

size_t trib_tally_packed(enum trib_tally_layout layout, size_t count)
{
    return count * windows[layout].count;
}

// |x| in units of the lowest bit is *ret_bits * 2^exponent; returns that exponent, at least 0. What
// lies below the lowest bit is rounded to nearest, ties to even.
static int to_units(uint64_t x, uint64_t *ret_bits)
{
    const int biased = (int)(x >> MANTISSA_BITS & EXPONENT_MAX);
    uint64_t bits = x & ((1ull << MANTISSA_BITS) - 1);
    if (biased > 0)
        bits |= 1ull << MANTISSA_BITS;
    const int exponent = (biased > 0 ? biased : 1) - EXPONENT_BIAS - MANTISSA_BITS - TRIB_TALLY_LOW;
    if (exponent >= 0) {
        *ret_bits = bits;
        return exponent;
    }
    if (exponent < -MANTISSA_BITS - 1) { // less than half of the lowest bit
        *ret_bits = 0;
        return 0;
    }
    const uint64_t rest = bits & ((1ull << -exponent) - 1);
    const uint64_t half = 1ull << (-exponent - 1);
    bits >>= -exponent;
    *ret_bits = bits + (rest > half || (rest == half && (bits & 1)));
    return 0;
}

enum trib_err trib_tally_add(struct trib_tally *tally, size_t index, double x)
{
    uint64_t image, bits;
    assert(index < tally->count);
    if (!isfinite(x))
        return TRIB_ERR_DATA;
    if (fabs(x) >= 0x1p109) // TRIB_TALLY_HIGH
        return TRIB_ERR_LIMIT;
    memcpy(&image, &x, sizeof(image));
    const int exponent = to_units(image, &bits);
    const int shift = exponent % BITS;
    int64_t *limb = tally->limbs + index * LIMBS + exponent / BITS;
    // Cut at the borders of limbs: the lowest one takes fewer bits when they begin in its middle.
    uint64_t part = (bits & ((1ull << (BITS - shift)) - 1)) << shift;
    bits >>= BITS - shift;
    while (part | bits) {
        *limb++ += x < 0 ? -(int64_t)part : (int64_t)part;
        part = bits & (uint64_t)(base - 1);
        bits >>= BITS;
    }
    return TRIB_OK;
}

// The limbs of a value with everything carried to where it belongs: all but the highest in [0,
// base). False: it is out of range.
static bool carried(const int64_t *limbs, int32_t *ret_words)
{
    int64_t carry = 0;
    for (size_t l = 0; l < LIMBS - 1; l++) {
        ret_words[l] = (int32_t)((limbs[l] + carry) & (base - 1));
        carry = (limbs[l] + carry) >> BITS;
    }
    const int64_t highest = limbs[LIMBS - 1] + carry;
    ret_words[LIMBS - 1] = (int32_t)highest;
    return highest >= -base / 2 && highest < base / 2;
}

enum trib_err trib_tally_pack(const struct trib_tally *tally, int32_t *ret_words, size_t *ret_index)
{
    const size_t first = windows[tally->layout].first;
    const size_t count = windows[tally->layout].count;
    for (size_t i = 0; i < tally->count; i++) {
        int32_t words[LIMBS];
        bool is_good = carried(tally->limbs + i * LIMBS, words);
        for (size_t l = 0; l < LIMBS; l++)
            is_good = is_good && (words[l] == 0 || (l >= first && l < first + count));
        if (!is_good) {
            *ret_index = i;
            return TRIB_ERR_LIMIT;
        }
        memcpy(ret_words + i * count, words + first, count * sizeof(*words));
    }
    return TRIB_OK;
}

void trib_tally_take(struct trib_tally *tally, const int64_t *sums)
{
    const size_t first = windows[tally->layout].first;
    const size_t count = windows[tally->layout].count;
    trib_tally_reset(tally);
    for (size_t i = 0; i < tally->count; i++)
        memcpy(tally->limbs + i * LIMBS + first, sums + i * count, count * sizeof(*sums));
}

// The digits of sign * value, 0 <= digit < base. False: it is negative, and so are they not.
static bool to_digits(const int64_t *limbs, int sign, int64_t *digits)
{
    int64_t carry = 0;
    for (size_t l = 0; l < LIMBS; l++) {
        const int64_t limb = sign * limbs[l] + carry;
        digits[l] = limb & (base - 1);
        carry = limb >> BITS;
    }
    digits[LIMBS] = carry & (base - 1);
    digits[LIMBS + 1] = carry >> BITS;
    return carry >= 0;
}

double trib_tally_value(const struct trib_tally *tally, size_t index)
{
    const int64_t *limbs = tally->limbs + index * LIMBS;
    int64_t digits[DIGITS];
    int sign = 1;
    assert(index < tally->count);
    if (!to_digits(limbs, 1, digits)) {
        sign = -1;
        (void)to_digits(limbs, -1, digits);
    }
    // The highest 64 bits, or all; that any lower one is set is kept in the lowest of them, so that
    // the one rounding to 53 bits is right (64 > 53 + 1).
    int next = DIGITS - 1;
    uint64_t bits = 0;
    while (next >= 0 && bits >> (64 - BITS) == 0)
        bits = bits << BITS | (uint64_t)digits[next--];
    int exponent = BITS * (next + 1);
    if (next >= 0) {
        const int room = __builtin_clzll(bits); // below BITS
        const uint64_t digit = (uint64_t)digits[next--];
        bits = bits << room | digit >> (BITS - room);
        exponent -= room;
        bool is_rest = (digit & ((1ull << (BITS - room)) - 1)) != 0;
        while (next >= 0)
            is_rest = digits[next--] != 0 || is_rest;
        bits |= is_rest;
    }
    return sign * ldexp((double)bits, exponent + TRIB_TALLY_LOW);
}

void trib_tally_floats(const struct trib_tally *tally, double scale, float *ret_values)
{
    for (size_t i = 0; i < tally->count; i++)
        ret_values[i] = (float)(trib_tally_value(tally, i) / scale);
}
