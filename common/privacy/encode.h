// encode.h - the privacy boundary: a float delta goes in, integers within exact bounds come out.
//
// With privacy on a delta is clipped and rounded to integers q with sum |q| <= s1,
// sum q^2 <= s2^2 and |q| <= sinf, checked in integers. Then comes discrete Laplace noise of scale
// t = 2^grid_bits: all of it here (local), a share of it here (distributed), or all of it on the
// sum, by the coordinator (central). The guarantee (pure epsilon = s1 / t) rests on these
// integers alone: whatever the floats did before cannot change it (docs/privacy-math.md 2.2).
//
// One integer is `grid` (gamma) in units of the parameters: x is about q * grid.
#ifndef TRIB_PRIVACY_ENCODE_H
#define TRIB_PRIVACY_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/privacy/mode.h"
#include "common/privacy/noise.h"
#include "tributary/err.h"

struct trib_encoding {
    enum trib_privacy_mode mode;
    double grid;           // gamma, above 0
    uint32_t grid_bits;    // t = 2^grid_bits; privacy on
    uint64_t s1, s2, sinf; // bounds on the integers; privacy on
    uint32_t word_bits;    // 16, 24 or 32: an integer on the wire
    uint32_t shares; // m: honest shares that make up the whole noise; mode distributed, else 0
    double clip_l1, clip_l2; // privacy off: clip to these norms; 0: do not
};

enum {
    TRIB_ENCODING_S1_BITS = 40, // s1 < 2^40 and sinf < 2^31: no sum below can overflow
    TRIB_ENCODING_S2_BITS = 32,
};

// Can these numbers be an encoding? They come from a coordinator that may be hostile or broken.
TRIB_CHECKED enum trib_err trib_encoding_check(const struct trib_encoding *encoding);

struct trib_encode_report {
    uint64_t nonfinite; // coordinates that were NaN or infinite and became 0
    double scale;       // factor a by which the delta was clipped, 1: not at all
    uint64_t l1;        // sum |q|, before noise
    double l2;          // root of sum q^2, before noise
};

// Clip and round `delta` (count) into `ret_words`, without noise. For privacy on, the integer
// bounds always hold afterwards. For mode off: rounds to nearest, ties to even; TRIB_ERR_DATA if a
// coordinate is not finite or does not fit a word, and then nothing is to be used.
TRIB_CHECKED enum trib_err trib_encode_clip(const struct trib_encoding *encoding,
                                            struct trib_noise *noise, const float *delta,
                                            size_t count, int32_t *ret_words,
                                            struct trib_encode_report *ret_report);

// The whole boundary, in every mode: clip and round, and then
//   off          nothing
//   local        discrete Laplace noise; clamped to the word (a wrap could flip a sign; clamping is
//                post-processing)
//   distributed  a share of the noise, 1/shares of it (polya.h). Not clamped: words are counted
//                modulo 2^32, and 2^word_bits divides that. They are for a mask and nothing else:
//                alone a share hides next to nothing
//   central      nothing: who receives the words sees q, and adds trib_noise_central_add to the sum
// On failure nothing in `ret_words` is to be used. The words may take the place of the floats: with
// `ret_words` and `delta` one piece of allocated memory the words are the same.
TRIB_CHECKED enum trib_err trib_encode(const struct trib_encoding *encoding,
                                       struct trib_noise *noise, const float *delta, size_t count,
                                       int32_t *ret_words, struct trib_encode_report *ret_report);

// The largest |word| that an honest device sends, but for a chance of 2^-40 in a vector of `count`
// coordinates with noise. Never above 2^(word_bits - 1) - 1, which is the answer where words are
// masked (distributed).
uint64_t trib_encoding_word_max(const struct trib_encoding *encoding, uint64_t count);

#endif // TRIB_PRIVACY_ENCODE_H
