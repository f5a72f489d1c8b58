// fft.h - the discrete Fourier transform, for powers of a convolution.
//
// Own code, since no double-precision transform with a permissive licence is packaged. Radix 2 and
// in place; the spectrum stays in bit-reversed order, which pointwise products do not mind.
#ifndef TRIB_PRIVACY_FFT_H
#define TRIB_PRIVACY_FFT_H

#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum {
    TRIB_FFT_BITS_MAX = 22, // 2^22 complex numbers are 64 MiB
};

// data (2^bits complex numbers, real and imaginary parts apart) -> its spectrum, in bit-reversed
// order. cosines, sines (2^bits / 2): of 2 pi k / 2^bits.
void trib_fft_forward(double *re, double *im, const double *cosines, const double *sines,
                      unsigned bits);
// The inverse, from bit-reversed to natural order, without the factor 2^-bits.
void trib_fft_inverse(double *re, double *im, const double *cosines, const double *sines,
                      unsigned bits);

// Replace p (2^bits) by its convolution with itself, `times` factors in all, indices modulo 2^bits.
// times >= 1. The error of each element is some 1e-16 * times of the root of the sum of squares.
// TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_fft_convolve_power(double *p, unsigned bits, uint64_t times);

#endif // TRIB_PRIVACY_FFT_H
