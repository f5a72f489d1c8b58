// fault.h - memory and disks that fail when a test says so.
//
// A test that links fault.c brings its own malloc, write, fsync, rename and so on, for itself and for
// every library it uses: libsodium, nng and SQLite fail as well. Calls are counted by kind; the n-th
// of one kind fails. Nothing of it is in a program that is delivered.
//
// Of files, only regular ones count, and only those below the folder that was named. A thread may be
// exempt, so that a test can look on while what it tests fails.
#ifndef TRIB_TESTS_FAULT_H
#define TRIB_TESTS_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_MEMORY, // malloc and the like: NULL; not where nng asks for it
    FAULT_LINK,   // the same where nng does, which does not survive all of it
    FAULT_WRITE,  // write, pwrite, ftruncate, posix_fallocate
    FAULT_SHORT,  // a write that takes half of it, and the next one fails
    FAULT_SYNC,   // fsync, fdatasync
    FAULT_RENAME,
    FAULT_OPEN, // of a file that is made or written, mkdir
    FAULT_UNLINK,
    FAULT_READ, // read, pread; not what the C library reads for itself
    FAULT_KINDS
};

struct fault {
    enum fault_kind kind;
    unsigned long nth; // from 1
    bool lasts;        // all that follow fail, too, until it is disarmed
    int code;          // errno
};

// Files below this folder (borrowed) can fail, others never do. NULL: none.
void fault_watch(const char *folder);
// From now on; counts begin at 0. Where the first one fails is shown on stderr.
void fault_arm(const struct fault *fault);
void fault_disarm(void);
// How many calls of a kind there were since fault_arm, and how many of all kinds failed.
unsigned long fault_passes(enum fault_kind kind);
unsigned long fault_fired(void);
// The calling thread never fails.
void fault_exempt(bool is_exempt);

// What the calling thread asks to be synced is not: a bug that a test plants.
void fault_forget_syncs(bool is_forgotten);

const char *fault_name(enum fault_kind kind);

// ---- What was done to files, in order

enum fault_op_kind {
    FAULT_OP_CREATE, // or emptied
    FAULT_OP_WRITE,
    FAULT_OP_SIZE, // `offset`: the new size
    FAULT_OP_SYNC,
    FAULT_OP_SYNC_FOLDER,
    FAULT_OP_RENAME, // from `path` to `other`
    FAULT_OP_UNLINK,
    FAULT_OP_MAKE_FOLDER,
};
struct fault_op {
    enum fault_op_kind kind;
    const char *path; // relative to the watched folder
    const char *other;
    uint64_t offset;
    const void *data; // of a write
    size_t size;
};
// Told of everything that succeeded, on the thread that did it, in the order in which the kernel saw
// it: calls wait for each other. NULL: no more.
typedef void (*fault_op_fn)(void *user, const struct fault_op *op);
void fault_trace(fault_op_fn op, void *user);

// ---- The wall clock

// It shows so much more than the system's, in ms, as it changes (borrowed): for this process, and for
// those that it makes, when it is in memory that they share. NULL: nothing more.
void fault_clock(const atomic_llong *ms);

#endif // TRIB_TESTS_FAULT_H
