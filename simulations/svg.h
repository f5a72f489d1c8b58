// svg.h - the curves of a run as one self-contained picture for a browser.
#ifndef TRIB_SIMULATIONS_SVG_H
#define TRIB_SIMULATIONS_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

// One round. Values that do not exist are NaN.
struct trib_svg_point {
    double round;
    double value; // of the metric
    double loss;
    double epsilon;
    bool is_abandoned;
};

struct trib_svg_chart {
    const char *title;
    const char *facts;  // one line
    const char *model;  // one line
    const char *metric; // what `value` is
    uint64_t averaged;  // versions behind `final`; 0: it is the last round's
    double final, best; // NaN: none
    double best_round;
    const struct trib_svg_point *points;
    size_t count;
};

// Append the picture. buf->failed tells of a want of memory.
void trib_svg_draw(const struct trib_svg_chart *chart, struct trib_buf *buf);

#endif // TRIB_SIMULATIONS_SVG_H
