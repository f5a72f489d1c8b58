// counters.h - numbers that an application counts on devices (docs/operating.md, Counters): which
// there are, the totals of an arm (a version, a group of devices), and how far two arms lie apart.
//
// A declaration is one text, at most COUNTERS_MAX of
//
//     NAME:rate             trials and how many of them succeeded, e.g. clicks:rate
//     NAME:sum:LOW:HIGH     numbers from LOW to HIGH, e.g. minutes:sum:0:60
//
// with commas in between. A NAME has 1 to 23 of a-z, 0-9 and _, and begins with a letter.
#ifndef TRIB_MATH_COUNTERS_H
#define TRIB_MATH_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/math/intervals.h"
#include "tributary/err.h"

enum {
    TRIB_COUNTERS_MAX = 8,
    TRIB_COUNTER_NAME_SIZE = 24, // with NUL
    TRIB_COUNTER_VERSIONS = 4,   // arms of a collection: the newest version and those before it
    TRIB_ARM_VALUES = 3,
};

struct trib_counter {
    char name[TRIB_COUNTER_NAME_SIZE];
    bool is_sum;      // of numbers; else a rate
    double low, high; // of the numbers; a rate: 0 and 1
};

struct trib_counter_list {
    size_t count; // 0: none is declared
    struct trib_counter list[TRIB_COUNTERS_MAX];
};

// "" declares none. TRIB_ERR_INVAL with a text in `why`.
TRIB_CHECKED enum trib_err trib_counters_parse(const char *text,
                                               struct trib_counter_list *ret_counters, char *why,
                                               size_t why_size);
// NULL: it is not declared.
const struct trib_counter *trib_counters_find(const struct trib_counter_list *counters,
                                              const char *name);

// What was counted: trials or numbers, their sum (successes), and the sum of their squares.
struct trib_arm {
    double n, sum, squares;
};
void trib_arm_add(struct trib_arm *arm, const struct trib_arm *other);

// Values of a collection, for version after version, the newest first: the devices that counted
// anything under it, then n, sum and squares of each counter.
size_t trib_counters_values(const struct trib_counter_list *counters);
// Where an arm's values begin.
size_t trib_counters_place(const struct trib_counter_list *counters, size_t version,
                           size_t counter);

// The share of successes or the mean of the numbers; NaN: nothing was counted.
double trib_arm_value(const struct trib_arm *arm);
// Of a rate Wilson's interval (1927); of numbers the normal law's, not cut. Two-sided, of
// confidence 0.95, for trials that are independent; those of one device, or user, make it too
// narrow.
struct trib_interval trib_arm_interval(const struct trib_counter *counter,
                                       const struct trib_arm *arm);
// Of the value of `arm` less that of `from`. Of rates Newcombe 1998, method 10: with d the
// difference, and p, l, u and q, m, v the shares and Wilson ends of both, d - sqrt((p - l)^2 + (v
// - q)^2) and d + sqrt((u - p)^2 + (q - m)^2). Of numbers Welch 1938 with the normal law: d -+
// 1.96 times the root of the sum of both squared standard errors.
struct trib_interval trib_arm_difference(const struct trib_counter *counter,
                                         const struct trib_arm *arm, const struct trib_arm *from);

#endif // TRIB_MATH_COUNTERS_H
