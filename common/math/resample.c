#include "common/math/resample.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

// Rows of a class lie together in `rows`, from `first` on.
struct class
{
    size_t first;
    size_t count;
    size_t visits;
};

struct trib_resample {
    struct trib_resample_options options;
    uint32_t class_count;
    struct class *classes;              // (class_count)
    uint32_t *rows;                     // (rows_max) by class
    uint32_t *drawn;                    // (rows_max) the same, in the order of an epoch's draw
    uint32_t *neighbours;               // (rows_max, options.neighbours), of smote
    uint32_t *neighbour_counts;         // (rows_max), of smote; 0: not looked for yet
    const struct trib_samples *samples; // borrowed
};

enum trib_err trib_resample_create(const struct trib_resample_options *options, uint32_t classes,
                                   size_t rows_max, size_t inputs,
                                   struct trib_resample **ret_resample)
{
    const bool is_smote = options->kind == TRIB_SAMPLING_SMOTE;
    assert(options->kind != TRIB_SAMPLING_NONE && options->ratio > 0 && options->ratio <= 1);
    assert(!is_smote ||
           (options->neighbours >= 1 && options->neighbours <= TRIB_NEIGHBOURS_MAX && inputs > 0));
    struct trib_resample *resample = trib_alloc(sizeof(*resample));
    if (!resample)
        return TRIB_ERR_NOMEM;
    resample->options = *options;
    resample->class_count = classes;
    resample->classes = trib_alloc_array(classes, sizeof(*resample->classes));
    resample->rows = trib_alloc_array(rows_max, sizeof(*resample->rows));
    resample->drawn = trib_alloc_array(rows_max, sizeof(*resample->drawn));
    if (is_smote) {
        resample->neighbours =
            trib_alloc_array(rows_max, options->neighbours * sizeof(*resample->neighbours));
        resample->neighbour_counts =
            trib_alloc_array(rows_max, sizeof(*resample->neighbour_counts));
    }
    if (!resample->classes || !resample->rows || !resample->drawn ||
        (is_smote && (!resample->neighbours || !resample->neighbour_counts))) {
        trib_resample_destroy(resample);
        return TRIB_ERR_NOMEM;
    }
    *ret_resample = resample;
    return TRIB_OK;
}

void trib_resample_destroy(struct trib_resample *resample)
{
    if (!resample)
        return;
    free(resample->classes);
    free(resample->rows);
    free(resample->drawn);
    free(resample->neighbours);
    free(resample->neighbour_counts);
    free(resample);
}

size_t trib_resample_visits_max(const struct trib_resample_options *options, uint32_t classes,
                                size_t rows)
{
    const size_t growth =
        classes < TRIB_SAMPLING_GROWTH_MAX ? classes : (size_t)TRIB_SAMPLING_GROWTH_MAX;
    return options->kind == TRIB_SAMPLING_UNDER ? rows : rows * growth;
}

// ---- How often each class is visited

static size_t set_visits(struct trib_resample *r, double ratio)
{
    size_t largest = 0, smallest = SIZE_MAX, sum = 0;
    for (uint32_t c = 0; c < r->class_count; c++) {
        const size_t count = r->classes[c].count;
        largest = count > largest ? count : largest;
        smallest = count > 0 && count < smallest ? count : smallest;
    }
    const size_t low = (size_t)llround(ratio * (double)largest);
    const size_t high = (size_t)llround((double)smallest / ratio);
    for (uint32_t c = 0; c < r->class_count; c++) {
        struct class *class = &r->classes[c];
        class->visits = class->count;
        if (class->count == 0)
            continue;
        if (r->options.kind == TRIB_SAMPLING_UNDER)
            class->visits = class->count < high ? class->count : high;
        else
            class->visits = class->count > low ? class->count : low;
        sum += class->visits;
    }
    return sum;
}

size_t trib_resample_begin(struct trib_resample *r, const struct trib_samples *samples,
                           const uint32_t *rows, size_t count)
{
    double ratio = r->options.ratio;
    const size_t visits_max = trib_resample_visits_max(&r->options, r->class_count, count);
    size_t next = 0;
    r->samples = samples;
    for (uint32_t c = 0; c < r->class_count; c++)
        r->classes[c] = (struct class){.count = 0};
    for (size_t i = 0; i < count; i++)
        r->classes[(size_t)samples->y[rows[i]]].count++;
    for (uint32_t c = 0; c < r->class_count; c++) {
        r->classes[c].first = next;
        next += r->classes[c].count;
        r->classes[c].count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct class *class = &r->classes[(size_t)samples->y[rows[i]]];
        r->rows[class->first + class->count++] = rows[i];
    }
    memcpy(r->drawn, r->rows, count * sizeof(*r->rows));
    if (r->neighbour_counts)
        memset(r->neighbour_counts, 0, count * sizeof(*r->neighbour_counts));
    size_t visits = set_visits(r, ratio);
    while (visits > visits_max) // more than TRIB_SAMPLING_GROWTH_MAX classes
        visits = set_visits(r, ratio /= 2);
    return visits;
}

// ---- Neighbours

static double distance(const float *a, const float *b, size_t inputs)
{
    double sum = 0;
    for (size_t i = 0; i < inputs; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

// The nearest rows of the class to its `index`-th, by insertion into a short sorted list; of rows
// at the same distance the first. In large classes every n-th row is looked at.
static void find_neighbours(struct trib_resample *r, const struct class *class, size_t index)
{
    const size_t inputs = r->samples->inputs;
    const size_t stride = (class->count + TRIB_SMOTE_POOL_MAX - 1) / TRIB_SMOTE_POOL_MAX;
    const uint32_t *rows = r->rows + class->first;
    const float *x = r->samples->x + rows[index] * inputs;
    uint32_t *found = r->neighbours + (class->first + index) * r->options.neighbours;
    double distances[TRIB_NEIGHBOURS_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < class->count; i += stride) {
        if (i == index)
            continue;
        const double d = distance(x, r->samples->x + rows[i] * inputs, inputs);
        uint32_t at = count;
        while (at > 0 && d < distances[at - 1])
            at--;
        if (at == r->options.neighbours)
            continue;
        const uint32_t last = count < r->options.neighbours ? count++ : r->options.neighbours - 1;
        for (uint32_t j = last; j > at; j--) {
            distances[j] = distances[j - 1];
            found[j] = found[j - 1];
        }
        distances[at] = d;
        found[at] = rows[i];
    }
    r->neighbour_counts[class->first + index] = count;
}

// A point between the row and one of its neighbours; the row itself when it is alone.
static struct trib_visit make_up(struct trib_resample *r, const struct class *class, size_t index,
                                 struct trib_rng *rng)
{
    const size_t at = class->first + index;
    struct trib_visit visit = {.row = r->rows[at], .neighbour = r->rows[at]};
    if (class->count > 1 && r->neighbour_counts[at] == 0)
        find_neighbours(r, class, index);
    if (r->neighbour_counts[at] > 0) {
        visit.neighbour = r->neighbours[at * r->options.neighbours +
                                        trib_rng_below(rng, r->neighbour_counts[at])];
        visit.gap = (float)((double)(trib_rng_next(rng) >> 40) * 0x1p-24); // below 1 as a float too
    }
    return visit;
}

// ---- Epochs

static struct trib_visit as_it_is(uint32_t row)
{
    return (struct trib_visit){.row = row, .neighbour = row};
}

// `count` different rows of the class, to the front of its part of `drawn`.
static const uint32_t *draw(struct trib_resample *r, const struct class *class, size_t count,
                            struct trib_rng *rng)
{
    uint32_t *rows = r->drawn + class->first;
    for (size_t i = 0; i < count; i++) {
        const size_t j = i + trib_rng_below(rng, class->count - i);
        const uint32_t row = rows[i];
        rows[i] = rows[j];
        rows[j] = row;
    }
    return rows;
}

static struct trib_visit *visit_class(struct trib_resample *r, const struct class *class,
                                      struct trib_rng *rng, struct trib_visit *visits)
{
    const uint32_t *rows = r->rows + class->first;
    const size_t whole = class->visits / class->count, rest = class->visits % class->count;
    if (r->options.kind == TRIB_SAMPLING_SMOTE) {
        for (size_t i = 0; i < class->count; i++)
            *visits++ = as_it_is(rows[i]);
        for (size_t i = class->count; i < class->visits; i++)
            *visits++ = make_up(r, class, trib_rng_below(rng, class->count), rng);
        return visits;
    }
    for (size_t times = 0; times < whole; times++) {
        for (size_t i = 0; i < class->count; i++)
            *visits++ = as_it_is(rows[i]);
    }
    const uint32_t *drawn = rest > 0 ? draw(r, class, rest, rng) : NULL;
    for (size_t i = 0; i < rest; i++)
        *visits++ = as_it_is(drawn[i]);
    return visits;
}

void trib_resample_epoch(struct trib_resample *resample, struct trib_rng *rng,
                         struct trib_visit *ret_visits)
{
    for (uint32_t c = 0; c < resample->class_count; c++) {
        if (resample->classes[c].count > 0)
            ret_visits = visit_class(resample, &resample->classes[c], rng, ret_visits);
    }
}

void trib_visit_features(const struct trib_visit *visit, const struct trib_samples *samples,
                         float *ret_x)
{
    const size_t inputs = samples->inputs;
    const float *row = samples->x + visit->row * inputs;
    const float *neighbour = samples->x + visit->neighbour * inputs;
    if (visit->row == visit->neighbour) {
        memcpy(ret_x, row, inputs * sizeof(*ret_x));
        return;
    }
    for (size_t i = 0; i < inputs; i++)
        ret_x[i] = row[i] + visit->gap * (neighbour[i] - row[i]);
}
