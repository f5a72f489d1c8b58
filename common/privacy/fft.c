#include "common/privacy/fft.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "common/base/alloc.h"

// Gentleman & Sande 1966: butterflies from large to small blocks, natural to bit-reversed order.
void trib_fft_forward(double *re, double *im, const double *cosines, const double *sines,
                      unsigned bits)
{
    const size_t size = (size_t)1 << bits;
    for (size_t half = size / 2; half >= 1; half /= 2) {
        const size_t stride = size / 2 / half;
        for (size_t block = 0; block < size; block += 2 * half) {
            for (size_t k = 0; k < half; k++) {
                const size_t a = block + k;
                const size_t b = a + half;
                const double c = cosines[k * stride];
                const double s = sines[k * stride];
                const double x = re[a] - re[b];
                const double y = im[a] - im[b];
                re[a] += re[b];
                im[a] += im[b];
                re[b] = x * c + y * s; // times e^(-2 pi i k / (2 half))
                im[b] = y * c - x * s;
            }
        }
    }
}

// Cooley & Tukey 1965: the same butterflies undone, from small to large blocks.
void trib_fft_inverse(double *re, double *im, const double *cosines, const double *sines,
                      unsigned bits)
{
    const size_t size = (size_t)1 << bits;
    for (size_t half = 1; half < size; half *= 2) {
        const size_t stride = size / 2 / half;
        for (size_t block = 0; block < size; block += 2 * half) {
            for (size_t k = 0; k < half; k++) {
                const size_t a = block + k;
                const size_t b = a + half;
                const double c = cosines[k * stride];
                const double s = sines[k * stride];
                const double x = re[b] * c - im[b] * s;
                const double y = im[b] * c + re[b] * s;
                re[b] = re[a] - x;
                im[b] = im[a] - y;
                re[a] += x;
                im[a] += y;
            }
        }
    }
}

// (x + i y)^times by repeated squaring: the relative error doubles with each squaring, so it ends
// near `times` roundings.
static void raise(double *x, double *y, uint64_t times)
{
    double base_x = *x;
    double base_y = *y;
    double power_x = 1;
    double power_y = 0;
    for (; times; times >>= 1) {
        if (times & 1) {
            double next = power_x * base_x - power_y * base_y;
            power_y = power_x * base_y + power_y * base_x;
            power_x = next;
        }
        double square = (base_x - base_y) * (base_x + base_y);
        base_y = 2 * base_x * base_y;
        base_x = square;
    }
    *x = power_x;
    *y = power_y;
}

enum trib_err trib_fft_convolve_power(double *p, unsigned bits, uint64_t times)
{
    assert(bits >= 1 && bits <= TRIB_FFT_BITS_MAX && times >= 1);
    const size_t size = (size_t)1 << bits;
    double *im = trib_alloc_array(size, sizeof(*im));
    double *cosines = trib_alloc_array(size, sizeof(*cosines)); // and the sines behind them
    if (!im || !cosines) {
        free(im);
        free(cosines);
        return TRIB_ERR_NOMEM;
    }
    double *sines = cosines + size / 2;
    for (size_t k = 0; k < size / 2; k++) {
        double angle = 2 * M_PI * (double)k / (double)size;
        cosines[k] = cos(angle);
        sines[k] = sin(angle);
    }
    trib_fft_forward(p, im, cosines, sines, bits);
    for (size_t k = 0; k < size; k++)
        raise(&p[k], &im[k], times);
    trib_fft_inverse(p, im, cosines, sines, bits);
    for (size_t k = 0; k < size; k++)
        p[k] /= (double)size;
    free(im);
    free(cosines);
    return TRIB_OK;
}
