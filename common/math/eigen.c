#include "common/math/eigen.h"

#include <math.h>

enum {
    SWEEPS_MAX = 64, // convergence is quadratic: about ten are enough
};

static double off_diagonal(const double *a, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++)
            sum += a[i * n + k] * a[i * n + k];
    }
    return sum;
}

// Rotate rows p and q of a matrix: (x, y) -> (c x - s y, s x + c y).
static void rotate_rows(double *a, size_t n, size_t p, size_t q, const double cs[2])
{
    for (size_t i = 0; i < n; i++) {
        const double x = a[p * n + i];
        const double y = a[q * n + i];
        a[p * n + i] = cs[0] * x - cs[1] * y;
        a[q * n + i] = cs[1] * x + cs[0] * y;
    }
}

static void rotate_columns(double *a, size_t n, size_t p, size_t q, const double cs[2])
{
    for (size_t i = 0; i < n; i++) {
        const double x = a[i * n + p];
        const double y = a[i * n + q];
        a[i * n + p] = cs[0] * x - cs[1] * y;
        a[i * n + q] = cs[1] * x + cs[0] * y;
    }
}

// The rotation that makes a[p][q] 0, by the smaller of the two angles (Golub & Van Loan, alg.
// 8.5.1).
static void make_zero(double *a, size_t n, size_t p, size_t q, double *vectors)
{
    const double off = a[p * n + q];
    if (off == 0)
        return;
    const double tau = (a[q * n + q] - a[p * n + p]) / (2 * off);
    const double t = copysign(1, tau) / (fabs(tau) + hypot(1, tau));
    const double c = 1 / hypot(1, t);
    const double cs[2] = {c, t * c};
    rotate_rows(a, n, p, q, cs);
    rotate_columns(a, n, p, q, cs);
    a[p * n + q] = a[q * n + p] = 0;
    rotate_rows(vectors, n, p, q, cs);
}

static void swap_rows(double *values, double *vectors, size_t n, size_t i, size_t k)
{
    const double value = values[i];
    values[i] = values[k];
    values[k] = value;
    for (size_t j = 0; j < n; j++) {
        const double entry = vectors[i * n + j];
        vectors[i * n + j] = vectors[k * n + j];
        vectors[k * n + j] = entry;
    }
}

static void settle_sign(double *vector, size_t n)
{
    size_t largest = 0;
    for (size_t j = 1; j < n; j++) {
        // A shade more, so that entries equal but for rounding do not decide by it.
        if (fabs(vector[j]) > fabs(vector[largest]) * (1 + 1e-9))
            largest = j;
    }
    if (vector[largest] >= 0)
        return;
    for (size_t j = 0; j < n; j++)
        vector[j] = -vector[j];
}

void trib_eigen_symmetric(double *a, size_t n, double *values, double *vectors)
{
    double size = 0;
    for (size_t i = 0; i < n * n; i++) {
        vectors[i] = i % (n + 1) == 0;
        size += a[i] * a[i];
    }
    // Below the rounding of the matrix itself.
    for (size_t sweep = 0; sweep < SWEEPS_MAX && off_diagonal(a, n) > 1e-34 * size; sweep++) {
        for (size_t p = 0; p + 1 < n; p++) {
            for (size_t q = p + 1; q < n; q++)
                make_zero(a, n, p, q, vectors);
        }
    }
    for (size_t i = 0; i < n; i++)
        values[i] = a[i * n + i];
    for (size_t i = 0; i < n; i++) {
        size_t largest = i;
        for (size_t k = i + 1; k < n; k++)
            largest = values[k] > values[largest] ? k : largest;
        swap_rows(values, vectors, n, i, largest);
        settle_sign(vectors + i * n, n);
    }
}
