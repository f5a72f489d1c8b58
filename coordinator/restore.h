// restore.h - a coordinator's directory made from a backup (backup.h).
//
// What comes back has the generation one higher, and the newest version once more under it, so that
// devices that went on to later versions take it, and what follows, as newer. Numbers of rounds
// begin far above those of the backup: updates of rounds that are lost are answered STALE. Tokens
// are void, since one that was used after the backup would be good again.
#ifndef TRIB_COORDINATOR_RESTORE_H
#define TRIB_COORDINATOR_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/backup.h"

enum {
    TRIB_RESTORE_ROUNDS_APART = 1000000, // numbers of rounds from generation to generation
    TRIB_RESTORE_GENERATION_MAX = 1000000,
};

struct trib_restore {
    const char *from, *to;
    const char *keys; // directory of coordinator.key, roster.key ...; NULL: they are in the backup
    bool verify;      // read back all that was written
    // Of what comes back; 0: that of the backup and one. A backup that was restored before, and
    // served, wants another than it got then: devices tell versions apart by it.
    uint64_t wanted_generation;
    // ---- What came of it
    // Name of the token of [http] when it is taken from `keys`, "" when it is not.
    char token[TRIB_BACKUP_NAME_MAX + 1];
    struct trib_backup backup; // owned
    uint64_t generation, version;
    uint64_t files, bytes;
    char why[TRIB_BACKUP_WHY_SIZE]; // after an error: one line
};

// Everything is checked before anything is written. TRIB_ERR_STATE: `to` is not empty;
// INVAL: keys are missing, or the generation is not above the backup's; CORRUPT: a file is not what the list says; IO.
TRIB_CHECKED enum trib_err trib_restore_run(struct trib_restore *restore);
void trib_restore_fini(struct trib_restore *restore);

#endif // TRIB_COORDINATOR_RESTORE_H
