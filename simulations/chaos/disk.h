// disk.h - the disk of a world: folders in memory, and the time that a sync takes.
#ifndef TRIB_CHAOS_DISK_H
#define TRIB_CHAOS_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "tributary/err.h"

// Make a folder in memory, and go there: paths are relative to it, and the same in each run. SQLite
// syncs as everybody does from then on.
TRIB_CHECKED enum trib_err trib_disk_open(void);
void trib_disk_remove(void); // all of it

// The running fiber syncs: it waits, for long while its process has a slow disk.
void trib_disk_wait(void);
// Of the database: syncs that have ended, and whether one is under way.
uint64_t trib_disk_commits(void);
bool trib_disk_is_committing(void);

// Whoever worked in this folder was killed: what is there is another's from now on, who has a copy
// with the same bytes, while locks and descriptors of the dead stay with what they had.
struct trib_process;
TRIB_CHECKED enum trib_err trib_disk_orphan(const struct trib_process *process);

#endif // TRIB_CHAOS_DISK_H
