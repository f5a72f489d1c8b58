#include "common/privacy/pld.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/privacy/fft.h"

enum {
    CELLS_MIN = 256,
    CELLS_OF_ONE = 1024, // nothing is composed: only epsilon between two points is at stake
};

// By how much of itself epsilon may grow on the grid.
static const double excess_share = 2.5e-4;

// e^-46 = 1e-20: tilted mass that may be cut off at an end of the window.
static const double cut_nats = 46;

// ---- The release itself: losses under p0 and p1, which p1 / p0 of a point makes

enum direction {
    REMOVE_ONE, // upper law (1 - q) p0 + q p1, lower law p0
    ADD_ONE,    // the other way round
};

struct release {
    enum trib_mechanism_kind kind;
    double scale;
    double q;
    double loss_max; // of p1 / p0; beyond: nothing (Laplace), or next to nothing
    double loss_min;
};

struct masses {
    double p0;
    double p1;
};

static double normal_mass(double from, double to)
{
    if (from > 0) // by the smaller tails, which have the digits
        return (erfc(from * M_SQRT1_2) - erfc(to * M_SQRT1_2)) / 2;
    return (erfc(-to * M_SQRT1_2) - erfc(-from * M_SQRT1_2)) / 2;
}

// Masses of the losses in (from, to), without the atoms of Laplace noise at its ends.
static struct masses masses_between(const struct release *r, double from, double to)
{
    if (r->kind == TRIB_MECHANISM_GAUSSIAN) {
        // loss = (2 x - 1) / (2 scale^2), x of N(0, scale^2) or N(1, scale^2)
        double a = from * r->scale + 0.5 / r->scale;
        double b = to * r->scale + 0.5 / r->scale;
        return (struct masses){.p0 = normal_mass(a, b),
                               .p1 = normal_mass(a - 1 / r->scale, b - 1 / r->scale)};
    }
    // loss = 2 x - shift, x in (0, shift), p0 = e^-x / 2, p1 = e^(x - shift) / 2
    double shift = 1 / r->scale;
    double share = -expm1((from - to) / 2) / 2;
    return (struct masses){.p0 = share * exp(-(from + shift) / 2),
                           .p1 = share * exp((to - shift) / 2)};
}

// Masses at and beyond an end.
static struct masses masses_at_end(const struct release *r, bool is_upper)
{
    if (r->kind == TRIB_MECHANISM_GAUSSIAN)
        return is_upper ? masses_between(r, r->loss_max, (double)INFINITY)
                        : masses_between(r, -(double)INFINITY, r->loss_min);
    double far = exp(-1 / r->scale) / 2;
    return is_upper ? (struct masses){.p0 = far, .p1 = 0.5} : (struct masses){.p0 = 0.5, .p1 = far};
}

static struct release make_release(const struct trib_mechanism *m, double delta)
{
    struct release r = {.kind = m->kind, .scale = m->scale, .q = m->sampling};
    if (m->kind == TRIB_MECHANISM_LAPLACE) {
        r.loss_max = 1 / m->scale;
        r.loss_min = -r.loss_max;
        return r;
    }
    // All the mass beyond both ends, over all rounds, is to be far below delta.
    double beyond = 1e-8 * delta / (double)m->rounds;
    double z = 1;
    while (erfc(z * M_SQRT1_2) > beyond)
        z += 0.25;
    double x = 0.5 / m->scale;
    r.loss_max = (z + x) / m->scale; // at 1 + z scale
    r.loss_min = -r.loss_max;        // at -z scale
    return r;
}

// ---- The law on a grid: loss low + i step has mass[i], and `infinite` is the rest

struct law {
    double low;
    double step;
    size_t count;
    double *mass; // owned
    double infinite;
};

struct pair {
    double upper;
    double lower;
};

static struct pair pair_of(const struct release *r, enum direction direction, struct masses m)
{
    double mixed = (1 - r->q) * m.p0 + r->q * m.p1;
    return direction == REMOVE_ONE ? (struct pair){.upper = mixed, .lower = m.p0}
                                   : (struct pair){.upper = m.p0, .lower = mixed};
}

static struct pair pair_at_end(const struct release *r, enum direction direction, bool is_upper)
{
    return pair_of(r, direction, masses_at_end(r, is_upper == (direction == REMOVE_ONE)));
}

// The masses of the losses between two neighbours of the grid. Adding one turns the order round.
static struct pair pair_between(const struct release *r, enum direction direction, double from,
                                double to)
{
    double sign = direction == REMOVE_ONE ? 1 : -1;
    double a = trib_loss_unsampled(r->q, sign * (sign > 0 ? from : to));
    double b = trib_loss_unsampled(r->q, sign * (sign > 0 ? to : from));
    a = isnan(a) || a < r->loss_min ? r->loss_min : a; // rounding at the ends
    b = b > r->loss_max ? r->loss_max : b;
    struct masses none = {0};
    return pair_of(r, direction, a < b ? masses_between(r, a, b) : none);
}

// Connect the dots: the mass of a cell goes to its two ends so that both the upper and the lower
// mass are kept. With A = e^-from, B = e^-to the far end gets (upper A - lower) / (A - B).
static void fill_law(const struct release *r, enum direction direction, struct law *law)
{
    struct pair end = pair_at_end(r, direction, false);
    law->mass[0] = end.upper; // the loss of all below is raised to here
    for (size_t i = 0; i + 1 < law->count; i++) {
        double from = law->low + law->step * (double)i;
        double to = law->low + law->step * (double)(i + 1);
        struct pair cell = pair_between(r, direction, from, to);
        double far = (cell.upper - cell.lower * exp(from)) / -expm1(-law->step);
        far = fmin(fmax(far, 0), cell.upper);
        law->mass[i] += cell.upper - far;
        law->mass[i + 1] += far;
    }
    end = pair_at_end(r, direction, true);
    double top = law->low + law->step * (double)(law->count - 1);
    double at_top =
        r->kind == TRIB_MECHANISM_LAPLACE ? end.upper : fmin(end.lower * exp(top), end.upper);
    law->mass[law->count - 1] += at_top; // B = 0: the far end is infinity
    law->infinite = end.upper - at_top;
}

static enum trib_err make_law(const struct release *r, enum direction direction, uint32_t cells,
                              struct law *ret_law)
{
    double max = trib_loss_sampled(r->q, r->loss_max);
    double min = trib_loss_sampled(r->q, r->loss_min);
    struct law law = {.low = direction == REMOVE_ONE ? min : -max,
                      .step = (max - min) / cells,
                      .count = (size_t)cells + 1,
                      .mass = trib_alloc_array((size_t)cells + 1, sizeof(*law.mass))};
    if (!law.mass)
        return TRIB_ERR_NOMEM;
    fill_law(r, direction, &law);
    *ret_law = law;
    return TRIB_OK;
}

static double loss_at(const struct law *law, size_t i)
{
    return law->low + law->step * (double)i;
}

// K(s) = ln E e^(s loss), of the finite losses.
static double cumulant(const struct law *law, double s)
{
    double top = s * (s > 0 ? loss_at(law, law->count - 1) : law->low);
    double sum = 0;
    for (size_t i = 0; i < law->count; i++)
        sum += law->mass[i] * exp(s * loss_at(law, i) - top);
    return top + log(sum);
}

// ---- Composition

// Mean and deviation of one loss tilted by e^(tilt loss).
struct moments {
    double mean;
    double deviation;
};

static struct moments tilted_moments(const struct law *law, double tilt)
{
    const double k = cumulant(law, tilt);
    double mean = 0;
    double square = 0;
    for (size_t i = 0; i < law->count; i++)
        mean += law->mass[i] * exp(tilt * loss_at(law, i) - k) * loss_at(law, i);
    for (size_t i = 0; i < law->count; i++) {
        double off = loss_at(law, i) - mean;
        square += law->mass[i] * exp(tilt * loss_at(law, i) - k) * off * off;
    }
    return (struct moments){.mean = mean, .deviation = sqrt(square)};
}

// delta(epsilon) <= e^(rounds K(s) - s epsilon) max over x of e^(-s x) (1 - e^-x), whose maximum is
// s^s / (1 + s)^(1 + s): the epsilon at which that is delta.
static double epsilon_bound(const struct law *law, double rounds, double log_delta, double s)
{
    double log_max = s * log(s) - (1 + s) * log1p(s);
    return (rounds * cumulant(law, s) + log_max - log_delta) / s;
}

// The tilt s of the best bound: tilted so, the sum of all losses lies around the epsilon wanted.
static double choose_tilt(const struct law *law, double rounds, double delta)
{
    const double golden = 0.6180339887498949;
    const double log_delta = log(delta);
    const double span = law->step * (double)(law->count - 1);
    double low = log(1e-5 / span);
    double high = log(1e3 / span);
    double best = HUGE_VAL;
    double at = low;
    for (double s = low; s <= high; s += 0.5) {
        double epsilon = epsilon_bound(law, rounds, log_delta, exp(s));
        if (epsilon < best) {
            best = epsilon;
            at = s;
        }
    }
    low = at - 0.5;
    high = at + 0.5;
    for (int step = 0; step < 15; step++) { // any tilt is sound: near the best is enough
        double a = high - golden * (high - low);
        double b = low + golden * (high - low);
        if (epsilon_bound(law, rounds, log_delta, exp(a)) <
            epsilon_bound(law, rounds, log_delta, exp(b)))
            high = b;
        else
            low = a;
    }
    return exp((low + high) / 2);
}

// The sums of `rounds` losses that matter: number j of mass p[j] is the loss low + j step.
struct sums {
    double low;
    double step;
    size_t count;
    double *p;     // owned
    double beyond; // infinite losses, and what was cut off above
};

// Where the tilted sum lies, but for e^-cut_nats at each end, as indices of the sum's grid: the
// Chernoff bound at shifts around the one that suits a normal law.
struct window {
    double first;
    double last;
};

static struct window choose_window(const struct law *law, double rounds, double tilt,
                                   double deviation)
{
    const double k = cumulant(law, tilt);
    const double suits = sqrt(2 * cut_nats / rounds) / fmax(deviation, 1e-6 * law->step);
    double low = -HUGE_VAL;
    double high = HUGE_VAL;
    for (int i = -10; i <= 10; i++) {
        const double s = suits * pow(1.3, i);
        double up = rounds * (cumulant(law, tilt + s) - k);
        double down = rounds * (cumulant(law, tilt - s) - k);
        high = fmin(high, (up + cut_nats) / s);
        low = fmax(low, -(down + cut_nats) / s);
    }
    double last = rounds * (double)(law->count - 1);
    return (struct window){.first = fmax(floor((low - rounds * law->low) / law->step), 0),
                           .last = fmin(ceil((high - rounds * law->low) / law->step), last)};
}

static unsigned bits_for(double count)
{
    unsigned bits = 1;
    while (ldexp(1, (int)bits) < count)
        bits++;
    return bits;
}

// p: 2^bits sums modulo their number, still tilted. Put the window in order and take the tilt away.
static void untilt(const struct law *law, double rounds, double tilt, const struct window *window,
                   const double *p, size_t size, struct sums *sums)
{
    const double k = rounds * cumulant(law, tilt);
    size_t at = (size_t)fmod(window->first, (double)size);
    for (size_t j = 0; j < sums->count; j++) {
        double loss = sums->low + sums->step * (double)j;
        sums->p[j] = fmax(p[at], 0) * exp(k - tilt * loss); // rounding may leave -1e-17
        at = at + 1 == size ? 0 : at + 1;
    }
    if (window->last < rounds * (double)(law->count - 1)) {
        double end = sums->low + sums->step * (double)(sums->count - 1);
        sums->beyond += exp(k - tilt * end - cut_nats);
    }
}

static enum trib_err compose(const struct law *law, uint64_t rounds, double tilt,
                             const struct window *window, struct sums *ret_sums)
{
    const unsigned bits = bits_for(window->last - window->first + 1);
    const size_t size = (size_t)1 << bits;
    const double k = cumulant(law, tilt);
    struct sums sums = {.low = (double)rounds * law->low + law->step * window->first,
                        .step = law->step,
                        .count = (size_t)(window->last - window->first) + 1,
                        .beyond = -expm1((double)rounds * log1p(-law->infinite))};
    double *p = trib_alloc_array(size, sizeof(*p));
    enum trib_err err = p ? TRIB_OK : TRIB_ERR_NOMEM;
    if (err)
        return err;
    for (size_t i = 0; i < law->count; i++)
        p[i & (size - 1)] += law->mass[i] * exp(tilt * loss_at(law, i) - k);
    err = trib_fft_convolve_power(p, bits, rounds);
    if (!err) {
        sums.p = trib_alloc_array(sums.count, sizeof(*sums.p));
        err = sums.p ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    if (!err) {
        untilt(law, (double)rounds, tilt, window, p, size, &sums);
        *ret_sums = sums;
    }
    free(p);
    return err;
}

// The smallest epsilon >= 0 with beyond + sum over losses above it of p (1 - e^(epsilon - loss)) <=
// delta. Downwards, with S and D the sums of p and of p (1 - e^(at - loss)) over the losses above:
// one step down makes D' = (1 - e^-step) S' + e^-step D.
static double epsilon_of(const struct sums *sums, double delta)
{
    const double shrink = exp(-sums->step);
    const double lost = -expm1(-sums->step);
    double above = 0;   // S
    double decayed = 0; // S - D = sum of p e^(at - loss)
    double d = 0;
    if (sums->beyond > delta)
        return (double)INFINITY;
    for (size_t j = sums->count; j-- > 0;) {
        const double loss = sums->low + sums->step * (double)j;
        // At `loss`: the sums over the losses above it.
        if (sums->beyond + d > delta) {
            // between here and one step up: S - e^(epsilon - loss) (S - D) = delta - beyond
            return fmax(loss + log1p((sums->beyond + d - delta) / decayed), 0);
        }
        if (loss <= 0)
            return 0;
        above += sums->p[j];
        decayed = shrink * (decayed + sums->p[j]);
        d = lost * above + shrink * d;
    }
    // Here all of the window is above: one step below its first loss.
    return fmax(sums->low, 0);
}

// Connecting the dots keeps E 1 and E e^-loss of each cell and so raises E e^(s loss) by a share of
// s (s + 1) step^2 / 12 at most: over all rounds, epsilon by rounds (s + 1) step^2 / 12 at the tilt
// s.
static enum trib_err choose_cells(const struct release *r, enum direction direction, double rounds,
                                  double delta, uint32_t *ret_cells)
{
    struct law law;
    if (rounds <= 1) {
        *ret_cells = CELLS_OF_ONE;
        return TRIB_OK;
    }
    enum trib_err err = make_law(r, direction, CELLS_MIN, &law);
    if (err)
        return err;
    double span = law.step * (double)(law.count - 1);
    double tilt = choose_tilt(&law, rounds, delta);
    double epsilon = fmax(epsilon_bound(&law, rounds, log(delta), tilt), 1e-4 * span);
    double step = sqrt(12 * excess_share * epsilon / (rounds * (tilt + 1)));
    free(law.mass);
    *ret_cells = (uint32_t)fmin(fmax(ceil(span / step), CELLS_MIN), TRIB_PLD_CELLS_MAX);
    return TRIB_OK;
}

static enum trib_err solve(const struct trib_mechanism *m, enum direction direction, uint32_t cells,
                           double delta, double *ret_epsilon)
{
    const struct release release = make_release(m, delta);
    const double rounds = (double)m->rounds;
    struct law law = {0};
    struct sums sums = {0};
    enum trib_err err = TRIB_OK;

    if (cells == 0)
        err = choose_cells(&release, direction, rounds, delta, &cells);
    if (!err)
        err = make_law(&release, direction, cells, &law);
    if (err)
        return err;
    if (m->rounds == 1) {
        const struct sums one = {.low = law.low,
                                 .step = law.step,
                                 .count = law.count,
                                 .p = law.mass,
                                 .beyond = law.infinite};
        *ret_epsilon = epsilon_of(&one, delta);
        goto out;
    }
    double tilt = choose_tilt(&law, rounds, delta);
    struct moments moments = tilted_moments(&law, tilt);
    struct window window = choose_window(&law, rounds, tilt, moments.deviation);
    if (!(window.last - window.first < ldexp(1, TRIB_FFT_BITS_MAX))) {
        err = TRIB_ERR_LIMIT;
        goto out;
    }
    err = compose(&law, m->rounds, tilt, &window, &sums);
    if (!err)
        *ret_epsilon = epsilon_of(&sums, delta);

out:
    free(law.mass);
    free(sums.p);
    return err;
}

enum trib_err trib_pld_epsilon(const struct trib_mechanism *m, uint32_t cells, double delta,
                               double *ret_epsilon)
{
    double removed;
    double added = 0;
    assert(cells <= TRIB_PLD_CELLS_MAX);
    const double loss_max = make_release(m, delta).loss_max;
    if (!(loss_max <= TRIB_MECHANISM_LOSS_MAX))
        return TRIB_ERR_LIMIT;
    enum trib_err err = solve(m, REMOVE_ONE, cells, delta, &removed);
    if (!err && m->sampling < 1) // without sampling the two laws mirror each other
        err = solve(m, ADD_ONE, cells, delta, &added);
    if (!err)
        *ret_epsilon = fmax(removed, added);
    return err;
}
