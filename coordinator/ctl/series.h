// series.h - jobs one after another on a running coordinator, told apart by their names.
//
// The series is not written down anywhere but in the coordinator's store: each of its jobs has a
// name that follows from what is asked ("tune-5f3a90c2-3"). A series that was interrupted finds the
// jobs that it had, waits for the one that runs, and goes on.
#ifndef TRIB_COORDINATOR_CTL_SERIES_H
#define TRIB_COORDINATOR_CTL_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/wire/admin.h"

enum {
    TRIB_SERIES_SETS_MAX = 24, // of a job, those of the caller included
};

struct trib_series {
    const char *dir;     // of the coordinator
    const char *path;    // of the job file
    const char *command; // "tune": begins the names and the messages
    uint64_t jobs;       // how many there are: with privacy on they share the target
    bool accepts_drowned;
    char id[9]; // trib_series_identify
    struct trib_buf file;
    char *folder; // where the job file is, absolute; owned
};

struct trib_series_job {
    uint64_t id;
    char state[16]; // "done", "failed", ...
    char reason[256];
};

// Read the job file. An exit code; what is wrong is said on stderr.
int trib_series_open(struct trib_series *series);
void trib_series_close(struct trib_series *series);

// Its name is a hash of the job file and of these texts: what is tried, and how.
void trib_series_identify(struct trib_series *series, const char *const *texts, size_t count);

// The value of a key in the job file, or "": the file says nothing.
void trib_series_value_of(const struct trib_series *series, const char *section, const char *key,
                          char *ret_value, size_t size);

// The job NUMBER of the series, or with `word` the job of that name: find it or submit it with these
// overrides, and wait until it is over. An exit code. A coordinator that goes away is waited for.
int trib_series_run(const struct trib_series *series, uint64_t number, const char *word,
                    const char *const *sets, size_t set_count, struct trib_series_job *ret_job);

struct trib_series_value {
    char metric[32];
    double value;     // NaN: nothing was measured
    uint64_t version; // of the held-out rows: the job's last
};

// What devices measured of the job's last version on the rows that they keep aside: the metric that
// `value` names, or the first, whose name it then has. An exit code.
int trib_series_measured(const struct trib_series *series, uint64_t job,
                         struct trib_series_value *value);

// What the coordinator measured of it on its held-out rows, the primary metric. An exit code.
int trib_series_held_out(const struct trib_series *series, uint64_t job,
                         struct trib_series_value *ret_value);

// Ask; an answer that refuses is said on stderr and its exit code comes back. Free the reply.
int trib_series_ask(const struct trib_series *series, const struct trib_admin_request *request,
                    struct trib_admin_reply *ret_reply);

#endif // TRIB_COORDINATOR_CTL_SERIES_H
