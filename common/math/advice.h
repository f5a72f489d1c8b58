// advice.h - how devices should go over rows that keep coming (docs/data.md, Data that grow): all
// of them each time, the new ones, or each once as it comes.
//
// The table of docs/models.md (Which mode), as a function.
#ifndef TRIB_MATH_ADVICE_H
#define TRIB_MATH_ADVICE_H

#include <stdint.h>

enum trib_advice_mode { // the words of round.mode
    TRIB_ADVICE_BATCH,
    TRIB_ADVICE_INCREMENTAL,
    TRIB_ADVICE_ONLINE,
};

enum trib_advice_drift { // how fast what the rows say becomes untrue
    TRIB_DRIFT_NONE,
    TRIB_DRIFT_SLOW, // weeks
    TRIB_DRIFT_FAST, // hours
};

struct trib_advice_facts {
    double rows;        // on a device, at least 1
    double new_per_day; // that come to it, at least 0
    double params;      // of the model
    enum trib_advice_drift drift;
};

struct trib_advice {
    enum trib_advice_mode mode;
    double epoch_flops;                      // of one pass over a device's rows: 6 rows params
    const char *why;                         // one line; these and the next are constants
    const char *stability, *bias, *overhead; // what is paid for it
};

const char *trib_advice_mode_text(enum trib_advice_mode mode); // "batch", ...
struct trib_advice trib_advise(const struct trib_advice_facts *facts);

#endif // TRIB_MATH_ADVICE_H
