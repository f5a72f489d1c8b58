// measure.h - what the product says of one row of a file of metrics.
#ifndef TRIB_TESTS_MEASURE_H
#define TRIB_TESTS_MEASURE_H

#include <stddef.h>

#include "common/base/buf.h"

enum measure_status {
    MEASURE_VALUE,
    MEASURE_REFUSED, // the product does not take the input
    MEASURE_UNKNOWN, // no such function, or no such value of it
    MEASURE_BROKEN,  // no memory
};

struct measure_values {
    double *items; // owned
    size_t count;
};

// A row that was read.
struct measure_input {
    const char *fn;
    const char *params; // "k=v;k=v"
    struct measure_values truth, predicted;
};

// The value that decides whether an input of this function is refused; NULL: no such function.
const char *measure_main_value(const char *fn);

// One named value.
enum measure_status measure_value(const struct measure_input *input, const char *name,
                                  double *ret_value);

// The counts of a confusion matrix, row by row, separated by blanks.
enum measure_status measure_confusion(const struct measure_input *input, struct trib_buf *text);

#endif // TRIB_TESTS_MEASURE_H
