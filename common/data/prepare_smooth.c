// smooth: less noise in numbers that follow one another, from the rows of the same device before.
#include <math.h>
#include <string.h>

#include "common/data/prepare_step.h"

enum {
    BY_MEAN,
    BY_MEDIAN,
    BY_EWMA,
    BY_SAVGOL, // the end of the parabola nearest to the window (Savitzky and Golay 1964)

    WINDOW_MAX = 256,
    DEGREE = 2,
    SAVGOL_WINDOW_MIN = DEGREE + 2, // a parabola goes through any three values
};

static const struct trib_prepare_key keys[] = {
    TRIB_PREPARE_KEY("by", TRIB_PREPARE_CHOICE, by, "mean", 0, 0, "mean|median|ewma|savgol"),
    TRIB_PREPARE_KEY("window", TRIB_PREPARE_INT, window, "5", 1, WINDOW_MAX, NULL),
    TRIB_PREPARE_KEY("alpha", TRIB_PREPARE_REAL, alpha, "0.3", 1e-6, 1, NULL),
};

// Of each input: how many values there were, and the last of them; for ewma one, the mean.
struct memory {
    double count;
    double values[]; // (window), the oldest is replaced
};

static size_t memory_size(const struct trib_prepare_step *step)
{
    return (1 + (step->options.by == BY_EWMA ? 1 : step->options.window)) * sizeof(double);
}

static enum trib_err settle(const struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    if (step->options.by == BY_SAVGOL && step->options.window < SAVGOL_WINDOW_MIN)
        return trib_prepare_wrong(p, "by = savgol wants a window of %d or more", SAVGOL_WINDOW_MIN);
    for (size_t i = 0; i < step->input_count; i++)
        p->prepare->variables[step->inputs[i]].column = SIZE_MAX; // no longer whole numbers
    return TRIB_OK;
}

static size_t state_size(const struct trib_prepare_step *step)
{
    return step->input_count * memory_size(step);
}

static double mean_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

static double median_of(const double *values, size_t count)
{
    double sorted[WINDOW_MAX];
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && sorted[at - 1] > values[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = values[i];
    }
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

// The least squares polynomial of the values, oldest first, at the last of them: the sum over k of
// <p_k, values> p_k(1) / <p_k, p_k>, where the p_k are orthogonal on the points, which lie evenly
// from
// -1 to 1 (Forsythe 1957; the middle terms of the recurrence are 0 because the points are
// symmetric). With fewer than three values the degree is as high as they determine.
static double savgol_of(const double *values, size_t count)
{
    double before[WINDOW_MAX] = {0}; // p_(k-1), then p_k
    double p[WINDOW_MAX];
    double norm_before = 1, end = 0;
    for (size_t i = 0; i < count; i++)
        p[i] = 1;
    for (size_t k = 0; k <= DEGREE && k < count; k++) {
        double norm = 0, product = 0;
        for (size_t i = 0; i < count; i++) {
            norm += p[i] * p[i];
            product += p[i] * values[i];
        }
        end += product * p[count - 1] / norm;
        for (size_t i = 0; count > 1 && i < count; i++) {
            const double at = 2 * (double)i / (double)(count - 1) - 1;
            const double next = at * p[i] - norm / norm_before * before[i];
            before[i] = p[i];
            p[i] = next;
        }
        norm_before = norm;
    }
    return end;
}

// `seen` values were written in turn; the last of them is the newest.
static double savgol_of_ring(const double *ring, size_t window, size_t seen)
{
    double values[WINDOW_MAX];
    const size_t count = seen < window ? seen : window;
    for (size_t i = 0; i < count; i++)
        values[i] = ring[(seen - count + i) % window];
    return savgol_of(values, count);
}

static double smoothed(const struct trib_prepare_options *o, struct memory *memory, double x)
{
    if (o->by == BY_EWMA) { // s = alpha x + (1 - alpha) s
        const double before = memory->count > 0 ? memory->values[0] : x;
        memory->count = 1;
        memory->values[0] = o->alpha * x + (1 - o->alpha) * before;
        return memory->values[0];
    }
    const size_t seen = (size_t)memory->count;
    memory->values[seen % o->window] = x;
    memory->count++;
    if (o->by == BY_SAVGOL)
        return savgol_of_ring(memory->values, o->window, seen + 1);
    const size_t count = seen + 1 < o->window ? seen + 1 : o->window;
    return o->by == BY_MEAN ? mean_of(memory->values, count) : median_of(memory->values, count);
}

// What is missing stays so and is not remembered.
static bool apply(const struct trib_prepare_step *step, void *state, struct trib_prepare_row *row)
{
    for (size_t i = 0; i < step->input_count; i++) {
        double *x = &row->values[step->inputs[i]];
        void *memory = (char *)state + i * memory_size(step);
        if (!isnan(*x))
            *x = smoothed(&step->options, memory, *x);
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_smooth = {
    .name = "smooth",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .wants_columns = true,
    .may_use_number = true,
    .settle = settle,
    .state_size = state_size,
    .apply = apply,
};
