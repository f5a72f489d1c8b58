#include "common/math/counters.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct trib_interval none = {(double)NAN, (double)NAN};

enum {
    FIELD_SIZE = 64
};

// ---- Declarations

static enum trib_err wrong(char *why, size_t why_size, const char *item)
{
    (void)snprintf(why, why_size,
                   "'%s' is not NAME:rate or NAME:sum:LOW:HIGH, with a NAME of 1 to %d of a-z, 0-9 "
                   "and _ that begins with a letter",
                   item, TRIB_COUNTER_NAME_SIZE - 1);
    return TRIB_ERR_INVAL;
}

static bool is_name(const char *text, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    if (size == 0 || size >= TRIB_COUNTER_NAME_SIZE || !(text[0] >= 'a' && text[0] <= 'z'))
        return false;
    return strspn(text, plain) >= size;
}

// Takes a number and what ends it. False: there is none.
static bool take_real(const char **at, char end, double *ret_value)
{
    char *rest;
    const double value = strtod(*at, &rest);
    if (rest == *at || *rest != end || !isfinite(value))
        return false;
    *at = rest + (end != '\0');
    *ret_value = value;
    return true;
}

static bool parse_one(const char *item, struct trib_counter *ret_counter)
{
    const char *colon = strchr(item, ':');
    struct trib_counter counter = {.high = 1};
    if (!colon || !is_name(item, (size_t)(colon - item)))
        return false;
    memcpy(counter.name, item, (size_t)(colon - item));
    const char *rest = colon + 1;
    if (strcmp(rest, "rate") == 0) {
        *ret_counter = counter;
        return true;
    }
    if (strncmp(rest, "sum:", 4) != 0)
        return false;
    rest += 4;
    counter.is_sum = true;
    // So large a number, squared and added 2^33 times, is within a tally (tally.h).
    if (!take_real(&rest, ':', &counter.low) || !take_real(&rest, '\0', &counter.high) ||
        !(counter.low < counter.high) || fmax(fabs(counter.low), fabs(counter.high)) > 1e9)
        return false;
    *ret_counter = counter;
    return true;
}

enum trib_err trib_counters_parse(const char *text, struct trib_counter_list *ret_counters,
                                  char *why, size_t why_size)
{
    struct trib_counter_list counters = {.count = 0};
    while (*text == ' ')
        text++;
    while (*text) {
        char item[FIELD_SIZE];
        struct trib_counter counter;
        size_t size = strcspn(text, ",");
        const size_t taken = size;
        while (size > 0 && text[size - 1] == ' ')
            size--;
        (void)snprintf(item, sizeof(item), "%.*s", (int)(size < FIELD_SIZE ? size : FIELD_SIZE),
                       text);
        if (size >= sizeof(item) || !parse_one(item, &counter))
            return wrong(why, why_size, item);
        if (counters.count == TRIB_COUNTERS_MAX) {
            (void)snprintf(why, why_size, "has more than %d counters", TRIB_COUNTERS_MAX);
            return TRIB_ERR_INVAL;
        }
        if (trib_counters_find(&counters, counter.name)) {
            (void)snprintf(why, why_size, "has %s twice", counter.name);
            return TRIB_ERR_INVAL;
        }
        counters.list[counters.count++] = counter;
        text += taken;
        const bool has_comma = *text == ',';
        text += has_comma;
        while (*text == ' ')
            text++;
        if (has_comma && !*text)
            return wrong(why, why_size, "");
    }
    *ret_counters = counters;
    return TRIB_OK;
}

const struct trib_counter *trib_counters_find(const struct trib_counter_list *counters,
                                              const char *name)
{
    for (size_t i = 0; i < counters->count; i++) {
        if (strcmp(counters->list[i].name, name) == 0)
            return &counters->list[i];
    }
    return NULL;
}

// ---- Arms

void trib_arm_add(struct trib_arm *arm, const struct trib_arm *other)
{
    arm->n += other->n;
    arm->sum += other->sum;
    arm->squares += other->squares;
}

size_t trib_counters_values(const struct trib_counter_list *counters)
{
    return counters->count ? TRIB_COUNTER_VERSIONS * (1 + TRIB_ARM_VALUES * counters->count) : 0;
}

size_t trib_counters_place(const struct trib_counter_list *counters, size_t version, size_t counter)
{
    assert(version < TRIB_COUNTER_VERSIONS && counter < counters->count);
    return version * (1 + TRIB_ARM_VALUES * counters->count) + 1 + TRIB_ARM_VALUES * counter;
}

double trib_arm_value(const struct trib_arm *arm)
{
    return arm->n > 0 ? arm->sum / arm->n : (double)NAN;
}

// The square of the standard error of the mean.
static double error_square(const struct trib_arm *arm)
{
    const double mean = trib_arm_value(arm);
    if (!(arm->n > 1))
        return (double)NAN;
    return fmax(arm->squares / arm->n - mean * mean, 0) / (arm->n - 1);
}

static struct trib_interval around(double value, double half)
{
    if (!isfinite(value) || !isfinite(half))
        return none;
    return (struct trib_interval){value - half, value + half};
}

struct trib_interval trib_arm_interval(const struct trib_counter *counter,
                                       const struct trib_arm *arm)
{
    const double value = trib_arm_value(arm);
    if (!counter->is_sum)
        return trib_interval_share(value, arm->n);
    return around(value, TRIB_CONFIDENCE_ERRORS * sqrt(error_square(arm)));
}

struct trib_interval trib_arm_difference(const struct trib_counter *counter,
                                         const struct trib_arm *arm, const struct trib_arm *from)
{
    const double p = trib_arm_value(arm), q = trib_arm_value(from);
    if (counter->is_sum)
        return around(p - q, TRIB_CONFIDENCE_ERRORS * sqrt(error_square(arm) + error_square(from)));
    const struct trib_interval one = trib_interval_share(p, arm->n);
    const struct trib_interval other = trib_interval_share(q, from->n);
    const double low = p - q - hypot(p - one.low, other.high - q);
    const double high = p - q + hypot(one.high - p, q - other.low);
    if (!isfinite(low) || !isfinite(high))
        return none;
    return (struct trib_interval){low, high};
}
