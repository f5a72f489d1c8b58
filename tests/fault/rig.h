// rig.h - a coordinator and a device, or three for a masked round, from a folder to a finished job.
//
// rig_make prepares a folder once: a coordinator with a job that is about to begin, and a device that
// is enrolled. Each life begins with a copy of it: rig_live runs both until the job is over, and
// starts again whoever ends, as systemd would. Each is a process made by fork, so that what is
// looked at is in the test's hands, and ends as a process ends. What was promised meanwhile is noted,
// and rig_check holds it against the disk.
#ifndef TRIB_TESTS_FAULT_RIG_H
#define TRIB_TESTS_FAULT_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/hash.h"
#include "common/base/log.h"
#include "tests/fault/fault.h"
#include "tests/fault/folder.h"

enum {
    RIG_ROUNDS = 2,
    RIG_PROMISES_MAX = 64,
    RIG_LIFE_MS = 60000, // a life that takes longer hangs
    RIG_PROCESSES_MAX = 4,
    RIG_TOKEN_SIZE = 1024,
};

enum rig_promise_kind {
    RIG_BEGUN,   // a device began to send an update
    RIG_COUNTED, // one was told that it counts
    RIG_NOISED,  // the noised sum of a round is about to be used
    RIG_PROMISE_KINDS
};
struct rig_promise {
    uint64_t round;
    uint8_t id[16];                   // of an update
    uint8_t digest[TRIB_DIGEST_SIZE]; // of an update as its device says, of a noised sum
};

// What a life came to.
struct rig_outcome {
    uint64_t versions;
    uint8_t head[TRIB_DIGEST_SIZE];
    unsigned committed, abandoned; // rounds
    size_t rows;                   // updates that count
    uint64_t charges;              // entries of the device's ledger that were not taken back
};

enum rig_side {
    RIG_COORDINATOR,
    RIG_DEVICE, // the first one
    RIG_SIDES,  // who can be a victim; from here on others
};

// What was told in a scene (scenes.h).
struct rig_told {
    char token[RIG_TOKEN_SIZE]; // "": none yet
    bool is_enrolled;
    uint64_t job;            // 0: none yet
    unsigned tokens_tried;   // each with a name of its own
    unsigned backups_tried;  // each into a folder of its own
    unsigned backup, pushes; // the folder of one that was made, or 0; pushes that were taken
};

// What the processes of a life tell each other, and the test.
struct rig_shared {
    pthread_mutex_t lock; // of the promises
    struct rig_promise promises[RIG_PROMISE_KINDS][RIG_PROMISES_MAX];
    size_t promise_count[RIG_PROMISE_KINDS];
    atomic_uint retries;     // answers that told the device to come again
    atomic_bool job_is_over; // the log says so
    atomic_bool act_is_over; // that of the scene
    struct rig_told told;
    unsigned long passes[RIG_SIDES][FAULT_KINDS]; // of the first start of each
    atomic_ulong fired;
    struct rig_outcome outcome;
    uint64_t lived_ms;
    unsigned ends; // of the coordinator or the device, by themselves
};

struct rig;
// What is done in a life in place of the rounds of a job, or beside them.
struct rig_scene {
    const char *name;
    enum rig_side actor; // whose process does it; from RIG_SIDES on one more
    bool has_job;
    bool (*prepare)(struct rig *rig); // the coordinator of the first folder runs
    // In the actor's process, again until it returns 0; one of the documented exit codes.
    int (*act)(struct rig *rig);
    bool (*check)(const struct rig *rig); // nobody runs any more
};

struct rig {
    char root[128];                // made and removed
    char mode[16];                 // of privacy
    const struct rig_scene *scene; // NULL: none
    unsigned devices;
    // Of the life that runs:
    char dir[160]; // with coordinator/ and device/
    struct fault fault;
    enum rig_side victim;
    struct rig_shared *shared;
    bool dies_at_receipt; // the coordinator, before it sends the first one
    // In each process of a life; NULL: nothing.
    void (*on_start)(void *user, enum rig_side side); // before it begins
    // Before anybody is told, or anything is made of it.
    void (*on_promise)(void *user, enum rig_promise_kind kind, const struct rig_promise *promise);
    void *user;
};

// The folder, prepared. False: said on stderr.
bool rig_make(struct rig *rig, const char *mode, const struct rig_scene *scene);
void rig_remove(struct rig *rig);

// A fresh copy in ROOT/NAME for the next life; watched for faults.
bool rig_begin(struct rig *rig, const char *name);
// Until the job is over and the device has its last version. rig->fault befalls the first start of
// rig->victim; whoever starts again does so with nothing wrong. False: said on stderr.
bool rig_live(struct rig *rig);
// Until the coordinator died at a receipt; the device is killed as well. What is on the disk then: an
// open round with an update that counts, and a device that still has it in its spool.
bool rig_live_to_receipt(struct rig *rig);
// Both again, with what is in `rig->dir`, until the job is over.
bool rig_live_on(struct rig *rig);
// Is all there that was promised? `expected`: of a life without faults, or NULL.
bool rig_check(struct rig *rig, const struct rig_outcome *expected,
               struct rig_outcome *ret_outcome);
// Is what rig->shared says was promised on the disk, whether or not the job is over?
bool rig_hold(const struct rig *rig);
// Both files and rows, of a coordinator that does not run; of a device that does not.
bool rig_look(const struct rig *rig, struct rig_outcome *ret_outcome);

// Say what is wrong; false.
bool rig_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Run `body` in a process of its own with its output in `log`; the process.
pid_t rig_fork(int (*body)(void *user), void *user, const char *log);
// Memory that the processes of a test share.
void *rig_share(size_t size);

#endif // TRIB_TESTS_FAULT_RIG_H
