// ledger_file.h - the files of a ledger: records in a hash chain, and where the chain ends.
//
//     DIR/privacy.ledger  0600  records of 160 bytes, one behind the other
//     DIR/privacy.head    0600  how many records there are, and the chain's value there
//
// A record (little-endian):
//     0    8  sequence                  56   8  sequence it refunds, or 0
//     8    4  kind: 1 reserve 2 refund  64   8  wall clock, ms
//     12   4  mode                      72   8  ledger time, ms
//     16   8  S1                        80   8  pure epsilon (IEEE 754)
//     24   8  S2                        88   8  rho (IEEE 754)
//     32   4  log2 t                    96  16  coordinator and population
//     36   4  m                         112  4  n, 0: not noted
//     40   8  job                       116  4  c
//     48   8  round id                  120  4  1: a key that the coordinator does not hold vouches
//                                       124  4  zero
//                                       128 32  chain: BLAKE2b-256(chain key; chain before ‖ 0..127)
// The head: "TRIBLHD1", 8 bytes count, 32 bytes chain, 32 bytes BLAKE2b-256(head key; all before).
// Both keys come from the device's secret by keyed hashes of their own labels.
//
// An append: 1. write the record, 2. fsync, 3. replace the head (tmp, fsync, rename, fsync of the
// directory). Only then is the record promised. So after a crash at any point the head says n and
// the file has n whole records, all of them promised, and behind them at most one more:
//     in 1     part of it, or all of it unsynced: never promised; dropped unless whole and genuine
//     in 2, 3  whole: never promised either, kept all the same (it counts as spent)
// and the head is never ahead of the file, since 2 comes before 3. Everything else is tampering:
// fewer than n records, more than one behind them, a chain that breaks before n, a head that is not
// ours. The head is made before the file, so a file without a head is tampering, too.
#ifndef TRIB_PRIVACY_LEDGER_FILE_H
#define TRIB_PRIVACY_LEDGER_FILE_H

#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/privacy/ledger.h"

enum {
    TRIB_LEDGER_RECORD_SIZE = 160,
    TRIB_LEDGER_HEAD_SIZE = 80,
};

struct trib_ledger_file {
    int fd;           // -1: none
    bool is_unsynced; // an fsync failed: what is on the disk is not known
    uint64_t count;
    uint8_t chain[TRIB_DIGEST_SIZE];
    uint8_t chain_key[TRIB_DIGEST_SIZE], head_key[TRIB_DIGEST_SIZE];
    char path[TRIB_PATH_MAX + 1], head_path[TRIB_PATH_MAX + 1];
};

typedef void (*trib_ledger_visit_fn)(void *user, const struct trib_ledger_entry *entry);

// Read and verify all of it; a reader changes nothing. Close it also after a failure.
TRIB_CHECKED enum trib_err trib_ledger_file_open(struct trib_ledger_file *file,
                                                 const struct trib_ledger_options *options,
                                                 trib_ledger_visit_fn visit, void *user);
// Durable when it returns TRIB_OK. After a failure the file is not to be used again.
TRIB_CHECKED enum trib_err trib_ledger_file_append(struct trib_ledger_file *file,
                                                   const struct trib_ledger_entry *entry);
void trib_ledger_file_close(struct trib_ledger_file *file); // wipes

#endif // TRIB_PRIVACY_LEDGER_FILE_H
