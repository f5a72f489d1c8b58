// report.h - what a run shows and keeps: a table for people, JSON lines for programs, files.
//
// In the folder of the run: rounds.csv and rounds.jsonl, one line a round as it ends, and
// report.svg at the end. The table goes to stdout, or to stderr when stdout carries JSON; a
// progress bar and colours appear on a terminal only, colours not with NO_COLOR.
#ifndef TRIB_SIMULATIONS_REPORT_H
#define TRIB_SIMULATIONS_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/curve.h"
#include "coordinator/result.h"
#include "tributary/err.h"

// Texts are borrowed from the caller for the life of the report.
struct trib_report_options {
    const char *name;  // of the scenario
    const char *dir;   // that exists
    const char *model; // canonical spec
    const char *mode;  // of privacy
    uint64_t clients;
    uint64_t rounds; // at most
    bool higher_is_better;
    double epsilon_total; // of all rounds, NaN with mode off
    bool json;            // events on stdout
    bool quiet;           // no table
};

// How it ended. The numbers are those of the version that was written as the model.
struct trib_report_end {
    uint64_t version;
    uint64_t averaged;  // versions that were averaged into it, 0: none
    const char *metric; // NULL: never evaluated
    double value;       // NaN: not evaluated
    bool is_refused;    // by the gate
    const char *model;  // path
    const char *digest; // hexadecimal
    double seconds;
};

struct trib_report;

TRIB_CHECKED enum trib_err trib_report_create(const struct trib_report_options *options,
                                              struct trib_report **ret_report);
void trib_report_destroy(struct trib_report *report);

// A line for people, which --quiet silences.
void trib_report_note(struct trib_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// A round is over. TRIB_ERR_IO: a file cannot be written.
TRIB_CHECKED enum trib_err trib_report_round(struct trib_report *report,
                                             const struct trib_round_result *result);

// The run is over: the last JSON line, and report.svg.
TRIB_CHECKED enum trib_err trib_report_finish(struct trib_report *report,
                                              const struct trib_report_end *end);

// What the last evaluated round stood beside (gate.h), and how much better `value` is: above 0 is
// better, whatever the metric's direction. False if there was no baseline.
bool trib_report_baseline(const struct trib_report *report, double value, const char **ret_name,
                          double *ret_baseline, double *ret_lift);

// What the learning curve says so far.
enum trib_curve_shape trib_report_curve(const struct trib_report *report);

// The best value so far and its round; false if nothing was evaluated.
bool trib_report_best(const struct trib_report *report, double *ret_value, uint64_t *ret_round);

#endif // TRIB_SIMULATIONS_REPORT_H
