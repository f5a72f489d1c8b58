#include "common/privacy/encode.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "common/base/wide.h"
#include "common/privacy/polya.h"

__extension__ typedef unsigned __int128 uint128;

enum {
    FRACTION_BITS = 20, // of the fixed-point magnitudes w
    BISECT_STEPS = 20,
};

static uint64_t word_limit(const struct trib_encoding *encoding)
{
    return (1ull << (encoding->word_bits - 1)) - 1;
}

static bool is_norm(double value)
{
    return isfinite(value) && value >= 0;
}

enum trib_err trib_encoding_check(const struct trib_encoding *e)
{
    const double grid_min = 1e-30; // keeps |x| / grid * 2^20 finite for every float x
    const double grid_max = 1e30;

    if (e->word_bits != 16 && e->word_bits != 24 && e->word_bits != 32)
        return TRIB_ERR_INVAL;
    if (!(e->grid >= grid_min && e->grid <= grid_max))
        return TRIB_ERR_INVAL;
    if (e->mode == TRIB_PRIVACY_DISTRIBUTED ? e->shares == 0 || e->shares > TRIB_POLYA_SHARES_MAX
                                            : e->shares != 0)
        return TRIB_ERR_INVAL;
    switch (e->mode) {
    case TRIB_PRIVACY_OFF:
        return is_norm(e->clip_l1) && is_norm(e->clip_l2) ? TRIB_OK : TRIB_ERR_INVAL;
    case TRIB_PRIVACY_LOCAL:
    case TRIB_PRIVACY_DISTRIBUTED:
    case TRIB_PRIVACY_CENTRAL: break;
    default: return TRIB_ERR_INVAL;
    }
    if (e->grid_bits > TRIB_NOISE_GRID_BITS_MAX || e->s1 == 0 || e->s2 == 0 || e->sinf == 0)
        return TRIB_ERR_INVAL;
    if (e->s1 >> TRIB_ENCODING_S1_BITS || e->s2 >> TRIB_ENCODING_S2_BITS)
        return TRIB_ERR_INVAL;
    if (e->sinf > e->s1 || e->sinf > e->s2 || e->sinf > word_limit(e))
        return TRIB_ERR_INVAL;
    return TRIB_OK;
}

struct norms {
    double l1;
    double l2;
    uint64_t nonfinite;
};

static struct norms norms_of(const float *x, size_t count)
{
    struct norms norms = {0};
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) {
            norms.nonfinite++;
            continue;
        }
        norms.l1 += fabs((double)x[i]);
        squares += (double)x[i] * (double)x[i];
    }
    norms.l2 = sqrt(squares);
    return norms;
}

// The factor that brings a vector with these norms within bounds; a bound of 0 does not bind.
static double clip_factor(const struct norms *norms, double bound_l1, double bound_l2)
{
    double factor = 1;
    if (bound_l1 > 0 && norms->l1 > bound_l1)
        factor = bound_l1 / norms->l1;
    if (bound_l2 > 0 && norms->l2 > bound_l2 && bound_l2 / norms->l2 < factor)
        factor = bound_l2 / norms->l2;
    return factor;
}

// ---- Privacy on

struct rounding {
    const struct trib_encoding *encoding;
    const float *x;
    size_t count;
    uint64_t dither; // u, uniform in [0, 2^FRACTION_BITS), one for the vector
};

struct integer_norms {
    uint64_t l1;
    uint128 squares;
};

// Systematic rounding of a * x: q_i = floor((C_i + u) / 2^f) - floor((C_{i-1} + u) / 2^f), where C
// are the running sums of the fixed-point magnitudes: each q_i is an unbiased rounding, and the
// sum of all is within 1 of the sum of the magnitudes. Writes the words when asked to.
static struct integer_norms round_scaled(const struct rounding *r, double a, int32_t *words)
{
    const uint64_t sinf = r->encoding->sinf;
    const uint64_t magnitude_max = sinf << FRACTION_BITS;
    const double factor = a / r->encoding->grid * (double)(1 << FRACTION_BITS);
    struct integer_norms norms = {0};
    uint64_t carried = r->dither; // fraction of the running sum

    for (size_t i = 0; i < r->count; i++) {
        float x; // copied before its word is written, which may lie in its place
        uint64_t w = 0;
        memcpy(&x, r->x + i, sizeof(x));
        if (isfinite(x)) {
            double magnitude = fabs((double)x) * factor;
            w = magnitude < (double)magnitude_max ? (uint64_t)magnitude : magnitude_max;
        }
        uint64_t sum = carried + w; // below 2^52: floors differ by the floor of this
        uint64_t q = sum >> FRACTION_BITS;
        carried = sum & ((1u << FRACTION_BITS) - 1);
        q = q > sinf ? sinf : q;
        norms.l1 += q;
        norms.squares += (uint128)q * q;
        if (words)
            words[i] = x < 0 ? -(int32_t)q : (int32_t)q;
    }
    return norms;
}

static bool is_within(const struct trib_encoding *e, const struct integer_norms *norms)
{
    return norms->l1 <= e->s1 && norms->squares <= (uint128)e->s2 * e->s2;
}

static enum trib_err clip_bounded(const struct trib_encoding *e, struct trib_noise *noise,
                                  const float *x, size_t count, int32_t *ret_words,
                                  struct trib_encode_report *ret_report)
{
    const struct norms norms = norms_of(x, count);
    const struct rounding rounding = {
        .encoding = e, .x = x, .count = count, .dither = trib_noise_bits(noise, FRACTION_BITS)};
    double a = clip_factor(&norms, (double)e->s1 * e->grid, (double)e->s2 * e->grid);
    struct integer_norms got = round_scaled(&rounding, a, NULL);

    // Rounding inflates the L2 norm a little: find the largest a that fits.
    if (!is_within(e, &got)) {
        double low = 0;
        double high = a;
        for (int step = 0; step < BISECT_STEPS; step++) {
            double middle = low + (high - low) / 2;
            got = round_scaled(&rounding, middle, NULL);
            if (is_within(e, &got))
                low = middle;
            else
                high = middle;
        }
        a = low;
    }
    got = round_scaled(&rounding, a, ret_words); // nothing is read of x after this
    assert(is_within(e, &got));                  // the one thing the privacy proof needs
    *ret_report = (struct trib_encode_report){
        .nonfinite = norms.nonfinite, .scale = a, .l1 = got.l1, .l2 = sqrt((double)got.squares)};
    return TRIB_OK;
}

// ---- Privacy off

enum {
    BLOCK = 1024 // coordinates at a time, so that they stay in the first cache
};

struct plain {
    double a;
    double grid;
    double inverse; // of the grid where that is exact, else 0
    double limit;   // of a word
};

struct plain_norms {
    bool is_over; // a coordinate is not finite or does not fit its word
    uint64_t l1;
    uint64_t low, high; // of the squares, halved so that neither sum can overflow
};

typedef struct plain_norms plain_fn(const struct plain *plain, const float *x, size_t count,
                                    int32_t *words);

// To nearest, ties to even: adding this to a double below 2^51 leaves no bits for a fraction. What
// is larger stays large, and what is not finite stays so.
static const double no_fraction = 0x1.8p52;

// Words of coordinates that do not fit are 0.
TRIB_INLINE struct plain_norms plain_loop(const struct plain *plain, const float *x, size_t count,
                                          int32_t *words)
{
    struct plain_norms norms = {0};
    uint32_t over = 0;
    for (size_t i = 0; i < count; i++) {
        const double scaled = plain->a * (double)x[i];
        double q = plain->inverse > 0 ? scaled * plain->inverse : scaled / plain->grid;
        q = q + no_fraction - no_fraction;
        const bool is_within = fabs(q) <= plain->limit; // false for NaN
        over |= !is_within;
        words[i] = (int32_t)(is_within ? q : 0);
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t magnitude = words[i] < 0 ? -(uint32_t)words[i] : (uint32_t)words[i];
        const uint64_t square = (uint64_t)magnitude * magnitude;
        norms.l1 += magnitude;
        norms.low += square & UINT32_MAX;
        norms.high += square >> 32;
    }
    norms.is_over = over != 0;
    return norms;
}

static struct plain_norms plain_block(const struct plain *plain, const float *x, size_t count,
                                      int32_t *words)
{
    return plain_loop(plain, x, count, words);
}

TRIB_WIDE static struct plain_norms plain_block_wide(const struct plain *plain, const float *x,
                                                     size_t count, int32_t *words)
{
    return plain_loop(plain, x, count, words);
}

// The same where nothing is lost in floats: no factor, a grid that is a power of two, and words of 24
// bits or less, whose squares add up in 64. Twice as many fit a vector.
TRIB_INLINE struct plain_norms fine_loop(const struct plain *plain, const float *x, size_t count,
                                         int32_t *words)
{
    struct plain_norms norms = {0};
    const float inverse = (float)plain->inverse;
    const float limit = (float)plain->limit;
    uint32_t over = 0;
    for (size_t i = 0; i < count; i++) {
        const float q = rintf(x[i] * inverse);
        const bool is_within = fabsf(q) <= limit; // false for NaN
        over |= !is_within;
        words[i] = (int32_t)(is_within ? q : 0);
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t magnitude = words[i] < 0 ? -(uint32_t)words[i] : (uint32_t)words[i];
        norms.l1 += magnitude;
        norms.low += (uint64_t)magnitude * magnitude;
    }
    norms.is_over = over != 0;
    return norms;
}

static struct plain_norms fine_block(const struct plain *plain, const float *x, size_t count,
                                     int32_t *words)
{
    return fine_loop(plain, x, count, words);
}

TRIB_WIDE static struct plain_norms fine_block_wide(const struct plain *plain, const float *x,
                                                    size_t count, int32_t *words)
{
    return fine_loop(plain, x, count, words);
}

static bool is_fine(const struct plain *plain)
{
    return plain->a == 1 && plain->inverse >= (double)FLT_MIN &&
           plain->inverse <= (double)FLT_MAX && plain->limit < 0x1p24;
}

static enum trib_err round_plain(const struct trib_encoding *e, const float *x, size_t count,
                                 int32_t *ret_words, struct trib_encode_report *ret_report)
{
    struct plain plain = {.a = 1, .grid = e->grid, .limit = (double)word_limit(e)};
    float copy[BLOCK]; // the words may lie where x does
    double squares = 0;
    uint64_t l1 = 0, nonfinite = 0;
    bool is_over = false;
    int exponent;

    if (e->clip_l1 > 0 || e->clip_l2 > 0) {
        const struct norms norms = norms_of(x, count);
        plain.a = clip_factor(&norms, e->clip_l1, e->clip_l2);
    }
    if (frexp(e->grid, &exponent) == 0.5) // a power of two
        plain.inverse = 1 / e->grid;
    plain_fn *const round_block = is_fine(&plain)  ? trib_is_wide() ? fine_block_wide : fine_block
                                  : trib_is_wide() ? plain_block_wide
                                                   : plain_block;
    for (size_t first = 0; first < count; first += BLOCK) {
        const size_t block = count - first < BLOCK ? count - first : BLOCK;
        memcpy(copy, x + first, block * sizeof(*copy));
        const struct plain_norms got = round_block(&plain, copy, block, ret_words + first);
        is_over = is_over || got.is_over;
        if (got.is_over)
            nonfinite += norms_of(copy, block).nonfinite;
        l1 += got.l1;
        squares += (double)got.high * 0x1p32 + (double)got.low;
    }
    *ret_report = (struct trib_encode_report){.scale = plain.a, .l1 = l1, .l2 = sqrt(squares)};
    ret_report->nonfinite = nonfinite;
    return is_over ? TRIB_ERR_DATA : TRIB_OK;
}

enum trib_err trib_encode_clip(const struct trib_encoding *encoding, struct trib_noise *noise,
                               const float *delta, size_t count, int32_t *ret_words,
                               struct trib_encode_report *ret_report)
{
    assert(trib_encoding_check(encoding) == TRIB_OK);
    if (encoding->mode == TRIB_PRIVACY_OFF)
        return round_plain(encoding, delta, count, ret_words, ret_report);
    return clip_bounded(encoding, noise, delta, count, ret_words, ret_report);
}

static void add_laplace(const struct trib_encoding *e, struct trib_noise *noise, int32_t *words,
                        size_t count)
{
    const int64_t limit = (int64_t)word_limit(e);
    for (size_t i = 0; i < count; i++) {
        int64_t z = words[i] + trib_noise_dlap(noise, e->grid_bits);
        z = z > limit ? limit : z;
        words[i] = (int32_t)(z < -limit ? -limit : z);
    }
}

enum trib_err trib_encode(const struct trib_encoding *encoding, struct trib_noise *noise,
                          const float *delta, size_t count, int32_t *ret_words,
                          struct trib_encode_report *ret_report)
{
    enum trib_err err = trib_encode_clip(encoding, noise, delta, count, ret_words, ret_report);
    if (err)
        return err;
    switch (encoding->mode) {
    case TRIB_PRIVACY_OFF:
    case TRIB_PRIVACY_CENTRAL: break; // no noise, or the coordinator's
    case TRIB_PRIVACY_LOCAL: add_laplace(encoding, noise, ret_words, count); break;
    case TRIB_PRIVACY_DISTRIBUTED:
        trib_polya_add(noise, ret_words, count, encoding->grid_bits, encoding->shares);
        break;
    }
    return TRIB_OK;
}

uint64_t trib_encoding_word_max(const struct trib_encoding *encoding, uint64_t count)
{
    const uint64_t limit = word_limit(encoding);
    if (encoding->mode == TRIB_PRIVACY_CENTRAL)
        return encoding->sinf;
    if (encoding->mode != TRIB_PRIVACY_LOCAL)
        return limit;
    // P(|noise| > n) < 2 e^(-n/t) for one coordinate; a union bound over `count` of them.
    const double tail = log(2.0 * (double)count) + 40 * log(2.0);
    const double bound = (double)encoding->sinf + ceil(ldexp(tail, (int)encoding->grid_bits));
    return bound < (double)limit ? (uint64_t)bound : limit;
}
