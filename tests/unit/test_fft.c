#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/privacy/fft.h"

static double uniform(uint64_t *seed)
{
    return (double)(test_rand(seed) >> 11) * 0x1p-53;
}

enum {
    SIZE_MAX_BITS = 8,
    LONGEST = 1 << SIZE_MAX_BITS
};

// a := a * b modulo `size`, from the definition.
static void convolve(long double *a, const double *b, size_t size)
{
    long double c[LONGEST] = {0};
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j < size; j++)
            c[(i + j) % size] += a[i] * (long double)b[j];
    }
    memcpy(a, c, size * sizeof(*a));
}

static void a_power_is_the_repeated_convolution(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (unsigned bits = 1; bits <= SIZE_MAX_BITS; bits++) {
        const size_t size = (size_t)1 << bits;
        for (uint64_t times = 1; times <= 21; times += 4) {
            double p[LONGEST];
            double original[LONGEST];
            long double direct[LONGEST];
            double mass = 0;
            for (size_t i = 0; i < size; i++)
                mass += p[i] = test_rand(&seed) % 3 ? uniform(&seed) : 0;
            for (size_t i = 0; i < size; i++) {
                original[i] = p[i] /= mass > 0 ? mass : 1;
                direct[i] = (long double)p[i];
            }
            for (uint64_t time = 1; time < times; time++)
                convolve(direct, original, size);
            assert_int_equal(trib_fft_convolve_power(p, bits, times), TRIB_OK);
            for (size_t i = 0; i < size; i++)
                assert_true(fabs(p[i] - (double)direct[i]) < 1e-15 * (double)(times + 8));
        }
    }
}

static void a_spectrum_is_the_sum_it_is_defined_as(void **state)
{
    (void)state;
    enum {
        BITS = 5,
        SIZE = 1 << BITS
    };
    uint64_t seed = 8;
    double re[SIZE], im[SIZE], x[SIZE], y[SIZE], cosines[SIZE / 2], sines[SIZE / 2];
    for (int k = 0; k < SIZE / 2; k++) {
        cosines[k] = cos(2 * M_PI * k / SIZE);
        sines[k] = sin(2 * M_PI * k / SIZE);
    }
    for (int i = 0; i < SIZE; i++) {
        re[i] = x[i] = uniform(&seed) - 0.5;
        im[i] = y[i] = uniform(&seed) - 0.5;
    }
    trib_fft_forward(re, im, cosines, sines, BITS);
    for (int k = 0; k < SIZE; k++) {
        double a = 0, b = 0;
        int at = 0; // where number k is: its bits in reverse
        for (int bit = 0; bit < BITS; bit++)
            at |= (k >> bit & 1) << (BITS - 1 - bit);
        for (int i = 0; i < SIZE; i++) {
            double angle = -2 * M_PI * (k * i % SIZE) / SIZE;
            a += x[i] * cos(angle) - y[i] * sin(angle);
            b += x[i] * sin(angle) + y[i] * cos(angle);
        }
        assert_true(fabs(re[at] - a) < 1e-14 && fabs(im[at] - b) < 1e-14);
    }
    trib_fft_inverse(re, im, cosines, sines, BITS);
    for (int i = 0; i < SIZE; i++)
        assert_true(fabs(re[i] / SIZE - x[i]) < 1e-15 && fabs(im[i] / SIZE - y[i]) < 1e-15);
}

// The binomial law has every digit known: a thousand coins.
static void a_thousand_coins_are_binomial(void **state)
{
    (void)state;
    enum {
        BITS = 10,
        SIZE = 1 << BITS,
        COINS = 1000
    };
    static double p[SIZE];
    memset(p, 0, sizeof(p));
    p[0] = 0.3;
    p[1] = 0.7;
    assert_int_equal(trib_fft_convolve_power(p, BITS, COINS), TRIB_OK);
    double mass = 0;
    for (int k = 0; k <= COINS; k++) {
        double expected = exp(lgamma(COINS + 1.0) - lgamma(k + 1.0) - lgamma(COINS - k + 1.0) +
                              k * log(0.7) + (COINS - k) * log(0.3));
        assert_true(fabs(p[k] - expected) < 1e-13); // 1000 roundings
        mass += p[k];
    }
    assert_true(fabs(mass - 1) < 1e-11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_is_the_repeated_convolution),
        cmocka_unit_test(a_spectrum_is_the_sum_it_is_defined_as),
        cmocka_unit_test(a_thousand_coins_are_binomial),
    };
    return RUN_TESTS(tests);
}
