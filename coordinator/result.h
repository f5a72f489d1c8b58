// result.h - what became of a round: the numbers that are stored, shown and written to files.
//
// Values that do not exist (not evaluated, mode off) are NaN here, NULL in the store and null in
// JSON; they are never invented.
#ifndef TRIB_COORDINATOR_RESULT_H
#define TRIB_COORDINATOR_RESULT_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/wire/admin.h"
#include "coordinator/evaluate.h"

enum {
    TRIB_RESULT_METRICS_SIZE = 6144, // some 35 values twice, with intervals
    TRIB_RESULT_PRIVACY_SIZE = 640,
    TRIB_RESULT_PHASES_SIZE = 256,
    TRIB_RESULT_TALLY_SIZE = 65536, // the coefficients of newton.h and the arms of all counters fit
};

// The kind (ask.h) whose object is called "device_metrics" in reports, and not "tally".
#define TRIB_RESULT_EVALUATION "evaluation"

struct trib_round_result {
    uint64_t id;                       // of the round, unique at the coordinator
    uint64_t round;                    // number within the job, from 1
    uint64_t version;                  // the newest one afterwards
    char state[16];                    // "committed" or "abandoned"
    char reason[24];                   // of abandoning, else ""
    uint64_t asked, accepted, refused; // devices
    double loss;
    char metric[24]; // the primary one, "" if not evaluated
    double value;
    char metrics[TRIB_RESULT_METRICS_SIZE]; // JSON object, "" if not evaluated
    double epsilon_pure, epsilon, delta;    // cumulative over the job; NaN with mode off
    char privacy[TRIB_RESULT_PRIVACY_SIZE]; // JSON object (job.h), "" with mode off
    uint64_t bytes_up, bytes_down;
    double seconds;
    // JSON object: of those seconds, how many in which phase (telemetry.h); "" where nobody looked.
    char phases[TRIB_RESULT_PHASES_SIZE];
    char kind[16];                      // "train", or what was counted (ask.h)
    char tally[TRIB_RESULT_TALLY_SIZE]; // JSON object of a tally round, else ""
};

// Nothing evaluated, nothing spent.
void trib_result_init(struct trib_round_result *result);
void trib_result_set_evaluation(struct trib_round_result *result,
                                const struct trib_held_out *held_out);

// Keep a JSON object as the round's `privacy`; nothing when it is empty or failed.
void trib_result_set_privacy(struct trib_round_result *result, const struct trib_buf *json);

// Keep a JSON object as its `phases`.
void trib_result_set_phases(struct trib_round_result *result, const struct trib_buf *json);

void trib_result_set_tally(struct trib_round_result *result, const struct trib_buf *json);

// A number in the JSON text of a round: the member `name`, of the object `object` in it when that
// is not NULL. NaN: there is none.
double trib_result_member(const char *json, const char *object, const char *name);
// The same of a text, cut to `size` with its NUL; empty: there is none.
void trib_result_text(const char *json, const char *object, const char *name, char *ret_text,
                      size_t size);

// As a row of an admin reply, with "event" first, and back.
void trib_result_to_row(const struct trib_round_result *result, struct trib_admin_reply *reply);
void trib_result_from_row(const struct trib_admin_row *row, struct trib_round_result *ret_result);

#endif // TRIB_COORDINATOR_RESULT_H
