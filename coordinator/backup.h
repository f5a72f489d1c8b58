// backup.h - a backup: a directory with copies, and BACKUP, the signed list of them.
//
//     tributary-backup 1
//     made 1790000000000          wall clock, milliseconds
//     version 1.7                 generation and newest version; 0 when there is none
//     audit 212:1a2b...           number and hash of the last audit record
//     keys yes                    or no: coordinator.key and roster.key are kept elsewhere
//     file DIGEST SIZE NAME       a line for each, BLAKE2b-256 in hexadecimal
//     signature HEX               of all before, by the key that signs versions
#ifndef TRIB_COORDINATOR_BACKUP_H
#define TRIB_COORDINATOR_BACKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/sign.h"
#include "tributary/err.h"

#define TRIB_BACKUP_LIST "BACKUP"

enum {
    TRIB_BACKUP_LIST_MAX = 256 << 20, // bytes
    TRIB_BACKUP_NAME_MAX = 255,
    TRIB_BACKUP_WHY_SIZE = 512,
};

struct trib_backup_file {
    char name[TRIB_BACKUP_NAME_MAX + 1]; // below the directory
    uint64_t size;
    uint8_t digest[TRIB_DIGEST_SIZE];
};

struct trib_backup {
    uint64_t made_ms;
    uint64_t generation, version;
    uint64_t audit_number;
    uint8_t audit_hash[TRIB_DIGEST_SIZE];
    bool has_keys;
    size_t count, capacity;
    struct trib_backup_file *files; // owned
};

// A name that is to be copied; size and digest come with the copy. INVAL: not a name for a backup.
TRIB_CHECKED enum trib_err trib_backup_add(struct trib_backup *backup, const char *name);
void trib_backup_fini(struct trib_backup *backup);

void trib_backup_print(const struct trib_backup *backup,
                       const uint8_t seed[static TRIB_SIGN_SEED_SIZE], struct trib_buf *buf);
// TRIB_ERR_CORRUPT with `why`: it is no list, or this coordinator's key did not sign it.
TRIB_CHECKED enum trib_err trib_backup_parse(const uint8_t *data, size_t size,
                                             const uint8_t key[static TRIB_SIGN_KEY_SIZE],
                                             struct trib_backup *ret_backup,
                                             char why[static TRIB_BACKUP_WHY_SIZE]);

#endif // TRIB_COORDINATOR_BACKUP_H
