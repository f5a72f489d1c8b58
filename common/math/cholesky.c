#include "common/math/cholesky.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

// ---- The scaled matrix

// L L^T = S in place, column by column (Golub & Van Loan 2013, algorithm 4.2.1).
static enum trib_err factor(double *s, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        double pivot = s[j * n + j];
        for (size_t k = 0; k < j; k++)
            pivot -= s[j * n + k] * s[j * n + k];
        if (!(pivot > 0) || !isfinite(pivot))
            return TRIB_ERR_DATA;
        const double root = sqrt(pivot);
        s[j * n + j] = root;
        for (size_t i = j + 1; i < n; i++) {
            double sum = s[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= s[i * n + k] * s[j * n + k];
            s[i * n + j] = sum / root;
        }
    }
    return TRIB_OK;
}

static void solve_scaled(const struct trib_cholesky *c, double *x)
{
    const double *l = c->factor;
    const size_t n = c->n;
    for (size_t i = 0; i < n; i++) { // L y = b
        for (size_t k = 0; k < i; k++)
            x[i] -= l[i * n + k] * x[k];
        x[i] /= l[i * n + i];
    }
    for (size_t i = n; i-- > 0;) { // L^T x = y
        for (size_t k = i + 1; k < n; k++)
            x[i] -= l[k * n + i] * x[k];
        x[i] /= l[i * n + i];
    }
}

// ---- Its condition

static double norm1(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs(x[i]);
    return sum;
}

// A lower bound of the 1-norm of the inverse: climb from corner to corner of the unit ball. The
// inverse is symmetric, so that one way of solving serves both steps. `x` and `z` are (n).
static double inverse_norm(const struct trib_cholesky *c, double *x, double *z)
{
    enum {
        STEPS_MAX = 5
    };
    const size_t n = c->n;
    double best = 0;
    for (size_t i = 0; i < n; i++)
        x[i] = 1 / (double)n;
    for (int step = 0; step < STEPS_MAX; step++) {
        size_t corner = 0;
        solve_scaled(c, x);
        const double norm = norm1(x, n);
        if (step > 0 && norm <= best)
            break;
        best = norm;
        for (size_t i = 0; i < n; i++)
            z[i] = x[i] >= 0 ? 1 : -1;
        solve_scaled(c, z);
        for (size_t i = 1; i < n; i++)
            corner = fabs(z[i]) > fabs(z[corner]) ? i : corner;
        memset(x, 0, n * sizeof(*x));
        x[corner] = 1;
    }
    for (size_t i = 0; i < n; i++) // the vector that Higham adds, against unlucky cancellations
        x[i] = (i % 2 ? -1 : 1) * (1 + (n > 1 ? (double)i / (double)(n - 1) : 0));
    solve_scaled(c, x);
    return fmax(best, 2 * norm1(x, n) / (3 * (double)n));
}

// Of the scaled matrix, whose lower triangle `s` still is.
static double matrix_norm(const double *s, size_t n)
{
    double largest = 0;
    for (size_t j = 0; j < n; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += fabs(i >= j ? s[i * n + j] : s[j * n + i]);
        largest = fmax(largest, sum);
    }
    return largest;
}

// ---- Life

enum trib_err trib_cholesky_create(const double *matrix, size_t n,
                                   struct trib_cholesky *ret_cholesky)
{
    struct trib_cholesky c = {.n = n};
    double *work = trib_alloc_array(2 * n, sizeof(*work));
    c.factor = trib_alloc_array(n * n, sizeof(*c.factor));
    c.scale = trib_alloc_array(n, sizeof(*c.scale));
    enum trib_err err = work && c.factor && c.scale ? TRIB_OK : TRIB_ERR_NOMEM;
    for (size_t i = 0; i < n && !err; i++) {
        const double diagonal = matrix[i * n + i];
        if (!(diagonal > 0) || !isfinite(diagonal))
            err = TRIB_ERR_DATA;
        else
            c.scale[i] = 1 / sqrt(diagonal);
    }
    if (err)
        goto out;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++)
            c.factor[i * n + j] = matrix[i * n + j] * c.scale[i] * c.scale[j];
    }
    const double norm = matrix_norm(c.factor, n);
    err = factor(c.factor, n);
    if (!err)
        c.condition = norm * inverse_norm(&c, work, work + n);

out:
    free(work);
    if (err)
        trib_cholesky_fini(&c);
    else
        *ret_cholesky = c;
    return err;
}

void trib_cholesky_fini(struct trib_cholesky *cholesky)
{
    free(cholesky->factor);
    free(cholesky->scale);
    *cholesky = (struct trib_cholesky){.n = 0};
}

void trib_cholesky_solve(const struct trib_cholesky *cholesky, double *x)
{
    for (size_t i = 0; i < cholesky->n; i++)
        x[i] *= cholesky->scale[i];
    solve_scaled(cholesky, x);
    for (size_t i = 0; i < cholesky->n; i++)
        x[i] *= cholesky->scale[i];
}
