// rig.h - a coordinator and a device in one process, over a socket, from a folder to a finished job.
//
// rig_make prepares a folder once: a coordinator with a job that is about to begin, and a device that
// is enrolled. Each life begins with a copy of it: rig_live runs both until the job is over, and
// starts again whoever ends, as systemd would. What was promised meanwhile is noted, and
// rig_check holds it against the disk. A life belongs into a process of its own (fork), so that
// nothing is left of it.
#ifndef TRIB_TESTS_FAULT_RIG_H
#define TRIB_TESTS_FAULT_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/hash.h"
#include "common/base/log.h"
#include "tests/fault/folder.h"

enum {
    RIG_ROUNDS = 2,
    RIG_PROMISES_MAX = 64,
    RIG_LIFE_MS = 30000, // a life that takes longer hangs
};

// What a device began to send, or was told.
struct rig_promise {
    uint64_t round;
    uint8_t id[16];
    uint8_t digest[TRIB_DIGEST_SIZE];
};

struct rig {
    char root[128]; // made and removed
    char mode[16];  // of privacy
    // Of the life that runs:
    char dir[160]; // with coordinator/ and device/
    struct rig_promise begun[RIG_PROMISES_MAX], counted[RIG_PROMISES_MAX];
    size_t begun_count, counted_count;
    unsigned ends;    // of the coordinator or the device, by themselves
    unsigned retries; // answers that told the device to come again
    uint64_t lived_ms;
    // Looked at while a life runs, for every line of the log; NULL: nobody is.
    void (*on_line)(void *user, const char *line);
    void *user;
};

// What a life came to.
struct rig_outcome {
    uint64_t versions;
    uint8_t head[TRIB_DIGEST_SIZE];
    unsigned committed, abandoned; // rounds
    uint64_t charges;              // entries of the device's ledger that were not taken back
};

// The folder, prepared. False: said on stderr.
bool rig_make(struct rig *rig, const char *mode);
void rig_remove(struct rig *rig);

// A fresh copy in ROOT/NAME for the next life; watched for faults.
bool rig_begin(struct rig *rig, const char *name);
// Until the job is over and the device has its last version; whoever starts again does so with
// nothing armed. False: said on stderr.
bool rig_live(struct rig *rig);
// Is all there that was promised? `expected`: of a life without faults, or NULL.
bool rig_check(struct rig *rig, const struct rig_outcome *expected,
               struct rig_outcome *ret_outcome);
// Both files and rows, of a coordinator that does not run; of a device that does not.
bool rig_look(const struct rig *rig, struct rig_outcome *ret_outcome);

// Say what is wrong; false.
bool rig_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Run `body` in a process of its own with its output in `log`, and wait. Its status as of waitpid.
int rig_fork(bool (*body)(void *user), void *user, const char *log);

#endif // TRIB_TESTS_FAULT_RIG_H
