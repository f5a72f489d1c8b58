#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/math/cholesky.h"

enum {
    N_MAX = 12
};

static double draw(uint64_t *seed)
{
    return (double)(test_rand(seed) >> 11) * 0x1p-52 - 1;
}

// B B^T + shift I
static void fill_random(uint64_t *seed, double *a, size_t n, double shift)
{
    double b[N_MAX * N_MAX];
    for (size_t i = 0; i < n * n; i++)
        b[i] = draw(seed);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            a[i * n + j] = i == j ? shift : 0;
            for (size_t k = 0; k < n; k++)
                a[i * n + j] += b[i * n + k] * b[j * n + k];
        }
    }
}

// The inverse by Gauss-Jordan with pivots, in long double.
static void invert(const double *a, size_t n, long double *inverse)
{
    long double w[N_MAX][2 * N_MAX];
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            w[i][j] = (long double)a[i * n + j];
            w[i][n + j] = i == j;
        }
    }
    for (size_t c = 0; c < n; c++) {
        size_t pivot = c;
        for (size_t i = c; i < n; i++)
            pivot = fabsl(w[i][c]) > fabsl(w[pivot][c]) ? i : pivot;
        for (size_t j = 0; j < 2 * n; j++) {
            const long double swap = w[c][j];
            w[c][j] = w[pivot][j];
            w[pivot][j] = swap;
        }
        for (size_t j = 2 * n; j-- > c;)
            w[c][j] /= w[c][c];
        for (size_t i = 0; i < n; i++) {
            const long double factor = w[i][c];
            for (size_t j = c; j < 2 * n && i != c; j++)
                w[i][j] -= factor * w[c][j];
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            inverse[i * n + j] = w[i][n + j];
    }
}

static double true_condition(const double *a, size_t n)
{
    double scaled[N_MAX * N_MAX];
    long double inverse[N_MAX * N_MAX];
    double norm = 0, inverse_norm = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            scaled[i * n + j] = a[i * n + j] / sqrt(a[i * n + i] * a[j * n + j]);
    }
    invert(scaled, n, inverse);
    for (size_t j = 0; j < n; j++) {
        double sum = 0, inverse_sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += fabs(scaled[i * n + j]);
            inverse_sum += fabs((double)inverse[i * n + j]);
        }
        norm = fmax(norm, sum);
        inverse_norm = fmax(inverse_norm, inverse_sum);
    }
    return norm * inverse_norm;
}

static void systems_are_solved(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t n = 1; n <= N_MAX; n++) {
        double a[N_MAX * N_MAX], x[N_MAX];
        long double inverse[N_MAX * N_MAX];
        struct trib_cholesky c;
        fill_random(&seed, a, n, 0.1);
        a[(n - 1) * n + n - 1] *= 1e12; // units differ
        for (size_t k = 0; k + 1 < n; k++)
            a[(n - 1) * n + k] = a[k * n + n - 1] = a[k * n + n - 1] * 1e6;
        double b[N_MAX];
        for (size_t i = 0; i < n; i++)
            x[i] = b[i] = draw(&seed);
        invert(a, n, inverse);
        assert_int_equal(trib_cholesky_create(a, n, &c), TRIB_OK);
        trib_cholesky_solve(&c, x);
        for (size_t i = 0; i < n; i++) {
            long double expected = 0;
            for (size_t j = 0; j < n; j++)
                expected += inverse[i * n + j] * (long double)b[j];
            assert_true(fabsl((long double)x[i] - expected) <=
                        1e-15L * (long double)c.condition * (fabsl(expected) + 1e-12L));
        }
        trib_cholesky_fini(&c);
    }
}

static void the_estimate_of_the_condition_is_close_and_never_above(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (int run = 0; run < 300; run++) {
        const size_t n = 1 + test_rand(&seed) % N_MAX;
        double a[N_MAX * N_MAX];
        struct trib_cholesky c;
        fill_random(&seed, a, n, pow(10, -(double)(run % 8)));
        const double expected = true_condition(a, n);
        assert_int_equal(trib_cholesky_create(a, n, &c), TRIB_OK);
        assert_true(c.condition <= expected * (1 + 1e-6));
        assert_true(c.condition >= expected / 5);
        trib_cholesky_fini(&c);
    }
}

static void units_do_not_matter(void **state)
{
    (void)state;
    static const double plain[] = {2, 1, 1, 2}, scaled[] = {2e20, 1, 1, 2e-20};
    struct trib_cholesky a, b;
    assert_int_equal(trib_cholesky_create(plain, 2, &a), TRIB_OK);
    assert_int_equal(trib_cholesky_create(scaled, 2, &b), TRIB_OK);
    assert_true(fabs(a.condition - 3) < 1e-12); // 1.5 * 2
    assert_true(fabs(b.condition - a.condition) < 1e-12);
    trib_cholesky_fini(&a);
    trib_cholesky_fini(&b);
}

static void what_is_not_positive_definite_is_refused(void **state)
{
    (void)state;
    static const double bad[][4] = {
        {1, 1, 1, 1},
        {0, 0, 0, 1},
        {-1, 0, 0, 1},
        {1, 2, 2, 1},
    };
    struct trib_cholesky c;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(trib_cholesky_create(bad[i], 2, &c), TRIB_ERR_DATA);
    const double nan[] = {1, 0, (double)NAN, 1};
    assert_int_equal(trib_cholesky_create(nan, 2, &c), TRIB_ERR_DATA);
    const double infinite[] = {(double)INFINITY, 0, 0, 1};
    assert_int_equal(trib_cholesky_create(infinite, 2, &c), TRIB_ERR_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(systems_are_solved),
        cmocka_unit_test(the_estimate_of_the_condition_is_close_and_never_above),
        cmocka_unit_test(units_do_not_matter),
        cmocka_unit_test(what_is_not_positive_definite_is_refused),
    };
    return RUN_TESTS(tests);
}
