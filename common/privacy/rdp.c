#include "common/privacy/rdp.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

const uint16_t trib_rdp_orders[TRIB_RDP_ORDERS] = {
    2,  3,  4,  5,  6,  7,  8,  9,  10,  11,  12,  13,  14,  15,  16,  17,  18, 19, 20,
    21, 22, 23, 24, 25, 26, 27, 28, 29,  30,  31,  32,  33,  34,  35,  36,  37, 38, 39,
    40, 41, 42, 43, 44, 45, 46, 47, 48,  49,  50,  51,  52,  53,  54,  55,  56, 57, 58,
    59, 60, 61, 62, 63, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024};

double trib_rdp_laplace(double loss, double order)
{
    double excess = expm1(loss * (1 - 2 * order)) * (order - 1) / (2 * order - 1);
    return loss + log1p(excess) / (order - 1);
}

double trib_rdp_gaussian(double scale, double order)
{
    return order / (2 * scale * scale);
}

// ---- Sums of exponentials that need not fit a double

struct log_sum {
    double top; // the largest exponent so far
    double sum; // of weight e^(exponent - top)
};

static void add(struct log_sum *total, double exponent, double weight)
{
    if (exponent > total->top) {
        total->sum *= exp(total->top - exponent);
        total->top = exponent;
    }
    total->sum += weight * exp(exponent - total->top);
}

static double value_of(const struct log_sum *total)
{
    return total->top + log(total->sum);
}

// ---- Integrals: 16 points of Gauss & Legendre in each of many panels

static const double nodes[8][2] = { // (x, weight), and the same at -x
    {0.98940093499164994, 0.027152459411754096}, {0.9445750230732326, 0.062253523938647894},
    {0.86563120238783176, 0.095158511682492786}, {0.755404408355003, 0.12462897125553388},
    {0.61787624440264377, 0.14959598881657674},  {0.45801677765722737, 0.16915651939500254},
    {0.28160355077925892, 0.18260341504492358},  {0.095012509837637441, 0.1894506104550685}};

struct grid {
    double from;
    double width; // of a panel
    uint64_t panels;
};

static struct grid make_grid(double from, double to, double width)
{
    uint64_t panels = (uint64_t)ceil((to - from) / width);
    panels = panels ? panels : 1;
    return (struct grid){.from = from, .width = (to - from) / (double)panels, .panels = panels};
}

// Point `index` of 16 in a panel, and its weight in units of x.
static double grid_point(const struct grid *grid, uint64_t panel, int index, double *ret_weight)
{
    double x = index % 2 ? nodes[index / 2][0] : -nodes[index / 2][0];
    *ret_weight = nodes[index / 2][1] * grid->width / 2;
    return grid->from + grid->width * ((double)panel + (1 + x) / 2);
}

// ---- Laplace with sampling

// E over p0 of (1 - q + q L)^power - 1, as the mean of f = (1 - q + q L)^power - 1 - power q (L -
// 1): the mean of L is 1, so the last term adds nothing, and f is never negative and keeps its
// digits.
static double excess_term(double q, double power, double loss)
{
    return expm1(power * trib_loss_sampled(q, loss)) - power * q * expm1(loss);
}

// ln E over p0 of (1 - q + q L)^power. With noise e^-|x|/2 and a shift of `shift`, the loss ln L is
// -shift with mass 1/2, shift with mass e^-shift / 2, and 2x - shift for x in (0, shift) of
// density e^-x / 2.
static double laplace_log_moment(double shift, double q, double power)
{
    // A panel is narrow for the growth e^(2 power x) and for the bend of ln(1 - q + q e^loss).
    const struct grid grid = make_grid(0, shift, fmin(0.5, 4 / fabs(power)));
    // ln(1 - q + q e^loss) is largest in size at the upper end.
    const bool is_small = fabs(power) * trib_loss_sampled(q, shift) < 30;
    struct log_sum total = {.top = -HUGE_VAL};
    double excess = 0;
    if (is_small) {
        excess = excess_term(q, power, -shift) / 2 + exp(-shift) / 2 * excess_term(q, power, shift);
    } else {
        add(&total, power * trib_loss_sampled(q, -shift), 0.5);
        add(&total, power * trib_loss_sampled(q, shift) - shift, 0.5);
    }
    for (uint64_t panel = 0; panel < grid.panels; panel++) {
        for (int i = 0; i < 16; i++) {
            double weight;
            double x = grid_point(&grid, panel, i, &weight);
            if (is_small)
                excess += weight * exp(-x) / 2 * excess_term(q, power, 2 * x - shift);
            else
                add(&total, power * trib_loss_sampled(q, 2 * x - shift) - x, weight / 2);
        }
    }
    return is_small ? log1p(excess) : value_of(&total);
}

// ---- Gaussian with sampling

// Of the two directions E over p0 of (1 - q + q L)^alpha is the larger one (Mironov, Talwar & Zhang
// 2019, Theorem 5). At integer orders a binomial sum (their 3.3); E L^k = e^((k^2 - k) / 2
// sigma^2).
static double gaussian_log_moment_sum(double scale, double q, unsigned order)
{
    struct log_sum total = {.top = -HUGE_VAL};
    const double alpha = order;
    double excess = 0; // of the moments over 1: the masses of the binomial law add up to 1
    const double top = (alpha * alpha - alpha) / (2 * scale * scale);
    for (unsigned k = 0; k <= order; k++) {
        double log_mass = lgamma(alpha + 1) - lgamma(k + 1.0) - lgamma(alpha - k + 1) + k * log(q) +
                          (alpha - k) * log1p(-q);
        double moment = ((double)k * k - k) / (2 * scale * scale);
        if (top < 30)
            excess += exp(log_mass) * expm1(moment);
        else
            add(&total, log_mass + moment, 1);
    }
    return top < 30 ? log1p(excess) : value_of(&total);
}

// ln erfc(x), also where erfc underflows: there its asymptotic series.
static double log_erfc(double x)
{
    if (x < 20)
        return log(erfc(x));
    double y = 1 / (2 * x * x);
    return -x * x - log(x * sqrt(M_PI)) + log1p(y * (-1 + y * (3 - 15 * y)));
}

// At fractional orders two alternating series (their 3.3), one for the points where the sample's
// part of 1 - q + q L is the smaller one and one for the rest. Adding up the sizes of all terms
// gives an upper bound; infinity where 1000 of them are not enough for 13 digits.
static double gaussian_log_moment_series(double scale, double q, double order)
{
    const double turn = scale * scale * log(1 / q - 1) + 0.5; // there 1 - q = q L
    const double width = M_SQRT2 * scale;
    struct log_sum total = {.top = -HUGE_VAL};
    double before[2] = {-HUGE_VAL, -HUGE_VAL};
    for (int i = 0; i < 1000; i++) {
        const double j = order - i;
        const double size = lgamma(order + 1) - lgamma(i + 1.0) - lgamma(j + 1) - M_LN2;
        const double terms[2] = {
            size + i * log(q) + j * log1p(-q) + (i * (i - 1.0)) / (width * width) +
                log_erfc((i - turn) / width),
            size + j * log(q) + i * log1p(-q) + (j * (j - 1)) / (width * width) +
                log_erfc((turn - j) / width),
        };
        add(&total, terms[0], 1);
        add(&total, terms[1], 1);
        bool both_shrink = terms[0] < before[0] && terms[1] < before[1];
        if (both_shrink && fmax(terms[0], terms[1]) < value_of(&total) - 30)
            return value_of(&total);
        before[0] = terms[0];
        before[1] = terms[1];
    }
    return HUGE_VAL;
}

double trib_rdp_of(const struct trib_mechanism *m, double order)
{
    assert(order > 1 && order <= TRIB_RDP_ORDER_MAX);
    const bool is_laplace = m->kind == TRIB_MECHANISM_LAPLACE;
    const double q = m->sampling;
    if (q >= 1)
        return is_laplace ? trib_rdp_laplace(1 / m->scale, order)
                          : trib_rdp_gaussian(m->scale, order);
    if (is_laplace) {
        assert(m->scale * TRIB_MECHANISM_LOSS_MAX >= 1);
        double add_one = laplace_log_moment(1 / m->scale, q, order);
        double remove_one = laplace_log_moment(1 / m->scale, q, 1 - order);
        return fmax(add_one, remove_one) / (order - 1);
    }
    double log_moment = order == floor(order)
                            ? gaussian_log_moment_sum(m->scale, q, (unsigned)order)
                            : gaussian_log_moment_series(m->scale, q, order);
    return log_moment / (order - 1);
}

// ---- Any mechanism with sampling

// Zhu & Wang 2019, Theorem 6: e^((alpha - 1) R') <= (1 - q)^(alpha - 1) (alpha q - q + 1)
//   + C(alpha, 2) q^2 (1 - q)^(alpha - 2) e^R(2)
//   + 3 sum over l = 3 .. alpha of C(alpha, l) q^l (1 - q)^(alpha - l) e^((l - 1) R(l)).
// As an excess over 1 while it is small: without the exponentials and with factor 1 it adds up to
// 1.
double trib_rdp_sampled_any(double q, unsigned order, trib_rdp_curve_fn curve, void *user)
{
    assert(order >= 2 && order <= TRIB_RDP_ORDER_MAX);
    if (q >= 1)
        return curve(user, order);
    const double alpha = order;
    struct log_sum total = {.top = -HUGE_VAL};
    double excess = 0;
    double top = 0;
    add(&total, (alpha - 1) * log1p(-q) + log1p((alpha - 1) * q), 1);
    for (unsigned l = 2; l <= order; l++) {
        const double factor = l == 2 ? 1 : 3;
        const double exponent = (l - 1) * curve(user, l);
        double log_mass = lgamma(alpha + 1) - lgamma(l + 1.0) - lgamma(alpha - l + 1) + l * log(q) +
                          (alpha - l) * log1p(-q);
        add(&total, log_mass + exponent, factor);
        top = fmax(top, exponent);
        if (top < 30)
            excess += exp(log_mass) * (factor * expm1(exponent) + factor - 1);
    }
    return (top < 30 ? log1p(excess) : value_of(&total)) / (alpha - 1);
}

// ---- Epsilon

double trib_rdp_epsilon(double rdp, double order, double delta)
{
    return rdp + log1p(-1 / order) - (log(delta) + log(order)) / (order - 1);
}

double trib_rdp_epsilon_best(const double rdp[TRIB_RDP_ORDERS], uint64_t rounds, double delta)
{
    double best = HUGE_VAL;
    for (int i = 0; i < TRIB_RDP_ORDERS; i++)
        best = fmin(best, trib_rdp_epsilon(rdp[i] * (double)rounds, trib_rdp_orders[i], delta));
    return fmax(best, 0);
}
