// tally.h - exact sums of doubles over many devices, as vectors of integers.
//
// Each value of a tally is a fixed-point number of 270 bits: LIMBS limbs of 30 bits, the lowest
// first and the highest with the sign, value = sum limb_i * 2^(30 i - 160). A device adds its terms
// up in one and sends the limbs as the coordinates of an ordinary update with words of 32 bits and
// weight 1; the coordinator adds coordinate by coordinate in int64, as always. So the sum is that
// of the real numbers, whatever the order of rows and devices, and is rounded once, to the nearest
// double, when it is read (a superaccumulator; Kulisch & Miranker 1986).
//
//     range        |x| < 2^109 (6.5e32), of each term and of a device's sum; beyond it is refused
//     resolution   2^-160 (6.9e-49): every double of 2^-108 (3.1e-33) and more is exact, smaller
//                  ones are rounded to the nearest multiple of it
//
// 2^33 terms fit one value, and the sums of 2^33 devices: more than limits.h lets there be of
// rows and devices.
#ifndef TRIB_MATH_TALLY_H
#define TRIB_MATH_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "tributary/err.h"

enum {
    TRIB_TALLY_LIMBS = 9,
    TRIB_TALLY_LIMB_BITS = 30,
    TRIB_TALLY_LOW = -160,     // exponent of the lowest bit
    TRIB_TALLY_HIGH = 109,     // values are below 2^109
    TRIB_TALLY_WORD_BITS = 32, // of a limb on the wire
};

// Which limbs go on the wire.
enum trib_tally_layout {
    TRIB_TALLY_WHOLE = 0, // all of them
    TRIB_TALLY_CELLS = 1, // for counts and what is kept in such units: multiples of 2^-40 from 0 to
                          // 2^50 on a device, the limbs 4 to 6
};
enum {
    TRIB_TALLY_LAYOUTS = 2
};

struct trib_tally {
    size_t count;                  // values
    int64_t *limbs;                // (count, LIMBS), owned
    enum trib_tally_layout layout; // of its words
};

// All 0, and whole.
TRIB_CHECKED enum trib_err trib_tally_init(struct trib_tally *tally, size_t count);
void trib_tally_fini(struct trib_tally *tally);  // wipes
void trib_tally_reset(struct trib_tally *tally); // all 0 again

// Add `x` to a value. TRIB_ERR_DATA: it is NaN or infinite; TRIB_ERR_LIMIT: out of range. The tally
// is then unchanged.
TRIB_CHECKED enum trib_err trib_tally_add(struct trib_tally *tally, size_t index, double x);

// Limbs of a tally of `count` values, and words if it is whole.
size_t trib_tally_words(size_t count);
// Words in that layout.
size_t trib_tally_packed(enum trib_tally_layout layout, size_t count);
// The limbs of the layout as words (trib_tally_packed), each |word| < 2^30. TRIB_ERR_LIMIT: the
// value *ret_index, the first such, is out of range, and nothing is to be used.
TRIB_CHECKED enum trib_err trib_tally_pack(const struct trib_tally *tally, int32_t *ret_words,
                                           size_t *ret_index);
// Take what the words of many devices add up to: trib_tally_packed sums.
void trib_tally_take(struct trib_tally *tally, const int64_t *sums);

// The double nearest to the sum, ties to even.
double trib_tally_value(const struct trib_tally *tally, size_t index);
// All of them divided by `scale`, as the floats that privacy's boundary takes (count).
void trib_tally_floats(const struct trib_tally *tally, double scale, float *ret_values);

#endif // TRIB_MATH_TALLY_H
