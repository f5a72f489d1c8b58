// children.h - starting real programs, watching them, and leaving none behind.
//
// A child dies with us, however we end (PR_SET_PDEATHSIG). Its output goes to a log file, whose
// last lines are shown when it ends before it was asked to.
#ifndef TRIB_SIMULATIONS_CHILDREN_H
#define TRIB_SIMULATIONS_CHILDREN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/base/limits.h"
#include "tributary/err.h"

struct trib_child {
    pid_t pid; // 0: not running
    char name[TRIB_NAME_MAX + 1];
    char log[TRIB_PATH_MAX + 1];
};

// Where a sibling program lies: relative to this executable as in a build directory
// (../coordinator/tributary-coordinator), beside it, or in PATH.
TRIB_CHECKED enum trib_err trib_child_find(const char *folder, const char *program,
                                           char ret_path[static TRIB_PATH_MAX + 1]);

// Run `argv` (NULL-ended), output to `log`, which is appended to.
TRIB_CHECKED enum trib_err trib_child_start(struct trib_child *child, const char *name,
                                            const char *log, const char *const *argv);
// Has it ended? Then it is said, with its last lines.
bool trib_child_has_died(struct trib_child *child);
// Has it ended by SIGKILL? Then nothing is said, and it is no longer running.
bool trib_child_was_killed(struct trib_child *child);
// SIGTERM to all, and SIGKILL to those that are still there after `patience_ms`.
void trib_children_stop(struct trib_child *children, size_t count, unsigned patience_ms);

#endif // TRIB_SIMULATIONS_CHILDREN_H
