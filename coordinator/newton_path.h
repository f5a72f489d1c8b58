// newton_path.h - the way of Newton's method from version to version: whole steps, halved where one
// went too far (Dennis & Schnabel 1983, section 6.3).
//
// Far from the optimum a whole step may raise the loss. What a version's loss is says the tally
// that is counted at it, one round later: with F the mean loss with its penalty, a the last version
// that was good and x the newest one,
//
//     F(x) <= F(a)    x is good: the next version is x + d, a whole step from x, and a := x
//     F(x) >  F(a)    the next version is (a + x) / 2: half of the way from a
//
// up to 1e-9 (1 + F), which float32 versions may miss it by. Only with privacy off, and when both
// were counted over as many rows: other devices have another F.
//
// The report of each round names a, F(a) and its rows, and a's parameters are those of its version:
// so a restart goes on with the same numbers.
#ifndef TRIB_COORDINATOR_NEWTON_PATH_H
#define TRIB_COORDINATOR_NEWTON_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/math/newton.h"
#include "coordinator/job.h"
#include "tributary/err.h"

struct trib_newton_point {
    uint64_t version; // 0: none
    double objective; // F
    double rows;
    float *params; // (param_count), owned
};

struct trib_newton_path {
    struct trib_newton_point good;    // a, as of the durable rounds
    struct trib_newton_point pending; // the same as of the round being made
};

// NULL in *ret_path: the job's strategy is another.
TRIB_CHECKED enum trib_err trib_newton_path_create(const struct trib_job *job,
                                                   struct trib_newton_path **ret_path);
void trib_newton_path_destroy(struct trib_newton_path *path); // NULL is fine

// What a tally was counted at.
struct trib_newton_base {
    uint64_t version;
    const float *params; // (param_count), borrowed
};

// The next version from the values that were counted at `base`, and the round's report; `ret_next`
// may be the base's parameters. False in *ret_is_step: refused. `path` has something pending
// afterwards.
TRIB_CHECKED enum trib_err trib_newton_path_step(struct trib_newton_path *path,
                                                 const struct trib_job *job, const double *values,
                                                 const struct trib_newton_base *base,
                                                 float *ret_next, bool *ret_is_step,
                                                 struct trib_buf *json);
// The round is durable: what was pending holds. NULL is fine.
void trib_newton_path_take(struct trib_newton_path *path);

// After a restart: what the report of the last durable round says, but for the parameters; the
// version that is to bring them, or 0.
uint64_t trib_newton_path_recall(struct trib_newton_path *path, const char *report);

#endif // TRIB_COORDINATOR_NEWTON_PATH_H
