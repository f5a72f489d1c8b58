// oracle_parts.h - what the oracle remembers: oracle*.c only.
#ifndef TRIB_CHAOS_ORACLE_PARTS_H
#define TRIB_CHAOS_ORACLE_PARTS_H

#include "common/base/hash.h"
#include "common/privacy/encode.h"
#include "coordinator/store.h"
#include "simulations/chaos/oracle.h"

// An update that was seen anywhere. Kept for ever: a world is short.
struct trib_seen_update {
    struct trib_seen_update *next;
    int member; // whose
    struct trib_msg_upload_begin begin;
    uint8_t *packed; // (begin.size); NULL: masked, nobody can tell what it says
    bool is_lie;
    bool is_released; // its first byte has left
    uint64_t stamp;   // the last look at which it had a row; 0: none yet
};

struct trib_seen_version {
    struct trib_seen_version *next;
    uint64_t version, parent;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t stamp;
    size_t count;
    float *params; // (count)
};

// The noised sum of a round.
struct trib_seen_noise {
    struct trib_seen_noise *next;
    uint64_t round;
    int64_t *sums;
};

struct trib_seen {
    struct trib_seen_update *updates;   // newest first
    struct trib_seen_version *versions; // newest first
    struct trib_seen_noise *noises;
    struct trib_encoding encoding; // of the job; mode of the first round
    bool has_encoding;
};
extern struct trib_seen trib_seen;

struct trib_seen_update *trib_seen_find(const uint8_t id[static TRIB_MSG_ID_SIZE]);
// What `member` keeps to send; NULL: nothing, or it is damaged.
struct trib_seen_update *trib_seen_spool(int member);

// oracle_sum.c: `version` is made of what it says it is.
struct trib_version;
void trib_oracle_sum(const struct trib_store_version *row, const struct trib_version *version);
// oracle_final.c: the leases of the newest round, as they are durable.
TRIB_CHECKED enum trib_err trib_oracle_leases(struct trib_store *store);
// oracle_budget.c: the first byte of an update has left.
void trib_oracle_budget(const struct trib_seen_update *update);

#endif // TRIB_CHAOS_ORACLE_PARTS_H
