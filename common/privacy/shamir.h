// shamir.h - Shamir's secret sharing (1979) over the scalars of ed25519, a field of about 2^252.
//
// A polynomial is `threshold` scalars, lowest degree first: the secret, then uniform ones. Any
// `threshold` of its values at different points above 0 give the secret; fewer say nothing about
// it. Scalars are 32 bytes, little-endian. Secrets are handled in constant time; points are public.
#ifndef TRIB_PRIVACY_SHAMIR_H
#define TRIB_PRIVACY_SHAMIR_H

#include <stdint.h>

enum {
    TRIB_SHAMIR_SIZE = 32,           // a scalar: coefficient, share, weight, secret
    TRIB_SHAMIR_POINT_MAX = 1 << 15, // so that products of four differences fit 64 bits
    TRIB_SHAMIR_UNIFORM_SIZE = 64,   // random bytes behind a uniform scalar
};

// A scalar that is uniform, but for 2^-256, when `bytes` are.
void trib_shamir_scalar(const uint8_t bytes[static TRIB_SHAMIR_UNIFORM_SIZE],
                        uint8_t ret_scalar[static TRIB_SHAMIR_SIZE]);

// The value of the polynomial of `threshold` coefficients at `point`, 1 <= point <= POINT_MAX.
void trib_shamir_share(const uint8_t *coefficients, uint32_t threshold, uint32_t point,
                       uint8_t ret_share[static TRIB_SHAMIR_SIZE]);

// Lagrange's weights of the values at `points` (different, `count` of them) for the value at 0:
// one set serves every polynomial. `ret_weights` holds count * TRIB_SHAMIR_SIZE bytes.
void trib_shamir_weights(const uint32_t *points, uint32_t count, uint8_t *ret_weights);

// sum weights[i] * shares[i]: the secret, if `count` shares are enough and all of them genuine.
void trib_shamir_combine(const uint8_t *weights, const uint8_t *shares, uint32_t count,
                         uint8_t ret_secret[static TRIB_SHAMIR_SIZE]);

#endif // TRIB_PRIVACY_SHAMIR_H
