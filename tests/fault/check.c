// What was promised, held against what is on the disk.
#include "tests/fault/rig_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/state.h"
#include "common/base/file.h"
#include "common/privacy/ledger.h"
#include "coordinator/identity.h"
#include "coordinator/job.h"
#include "coordinator/publish.h"
#include "coordinator/round.h"
#include "coordinator/store.h"

enum {
    FIRST_DEVICE = 1, // of the store: the one whose ledger is looked at
    SUM_SIZE_MAX = 1 << 20,
};

struct disk {
    const struct rig *rig;
    char dir[TRIB_PATH_MAX + 1]; // of the coordinator
    struct trib_identity identity;
    struct rig_outcome outcome;
    bool is_good;
    uint64_t job_state;
    struct rig_promise rows[RIG_PROMISES_MAX]; // of the coordinator's ledger
    uint64_t devices[RIG_PROMISES_MAX];        // whose each is
    size_t row_count;
    uint64_t over[RIG_PROMISES_MAX]; // rounds
    size_t over_count;
    struct {
        uint64_t round;
        bool is_refunded;
    } charges[RIG_PROMISES_MAX]; // by sequence - 1
    size_t charge_count;
};

static void take_job(void *user, const struct trib_store_job *job)
{
    struct disk *disk = user;
    disk->job_state = job->state;
}

static void take_version(void *user, const struct trib_store_version *row)
{
    struct disk *disk = user;
    struct trib_version *version = NULL;
    if (row->version != disk->outcome.versions + 1)
        disk->is_good = rig_wrong("version %llu follows %llu", (unsigned long long)row->version,
                                  (unsigned long long)disk->outcome.versions);
    // Reads its file, and verifies signature and digest
    const enum trib_err err = trib_version_read(disk->dir, &disk->identity, row->manifest,
                                                row->manifest_size, row->signature, &version);
    if (err)
        disk->is_good =
            rig_wrong("version %llu: %s", (unsigned long long)row->version, trib_err_text(err));
    trib_version_destroy(version);
    disk->outcome.versions = row->version;
    memcpy(disk->outcome.head, row->digest, sizeof(disk->outcome.head));
}

static void take_round(void *user, const struct trib_store_round *round)
{
    struct disk *disk = user;
    disk->outcome.committed += round->state == TRIB_ROUND_COMMITTED;
    disk->outcome.abandoned += round->state == TRIB_ROUND_ABANDONED;
    const bool is_over =
        round->state == TRIB_ROUND_COMMITTED || round->state == TRIB_ROUND_ABANDONED;
    if (is_over && disk->over_count < RIG_PROMISES_MAX)
        disk->over[disk->over_count++] = round->id;
}

static void take_update(void *user, const struct trib_store_update *update)
{
    struct disk *disk = user;
    struct rig_promise *row = &disk->rows[disk->row_count];
    if (disk->row_count == RIG_PROMISES_MAX)
        return;
    for (size_t i = 0; i < disk->row_count; i++) {
        if (disk->rows[i].round == update->round && disk->devices[i] == update->device)
            disk->is_good = rig_wrong("the device counts twice in round %llu",
                                      (unsigned long long)update->round);
    }
    disk->devices[disk->row_count++] = update->device;
    disk->outcome.rows = disk->row_count;
    row->round = update->round;
    memcpy(row->id, update->id, sizeof(row->id));
    memcpy(row->digest, update->digest, sizeof(row->digest));
}

static void take_charge(void *user, const struct trib_ledger_entry *entry)
{
    struct disk *disk = user;
    if (entry->sequence > RIG_PROMISES_MAX)
        return;
    disk->charge_count = (size_t)entry->sequence;
    disk->charges[entry->sequence - 1].round = entry->charge.round_id;
    if (entry->refunds) {
        disk->charges[entry->refunds - 1].is_refunded = true;
        disk->charges[entry->sequence - 1].is_refunded = true; // no charge itself
    }
}

static bool read_store(struct disk *disk)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_store *store = NULL;
    (void)snprintf(disk->dir, sizeof(disk->dir), "%s/coordinator", disk->rig->dir);
    (void)snprintf(path, sizeof(path), "%s/coordinator/store.db", disk->rig->dir);
    enum trib_err err = trib_identity_load(disk->dir, &disk->identity);
    if (!err)
        err = trib_store_open(path, &store);
    if (!err)
        err = trib_store_verify(store);
    if (!err)
        err = trib_store_jobs(store, take_job, disk);
    if (!err)
        err = trib_store_versions(store, 0, UINT32_MAX, take_version, disk);
    if (!err)
        err = trib_store_rounds(store, 0, 0, UINT32_MAX, take_round, disk);
    if (!err)
        err = trib_store_updates(store, 0, take_update, disk);
    trib_store_close(store);
    trib_identity_wipe(&disk->identity);
    return err ? rig_wrong("%s: %s", path, trib_err_text(err)) : true;
}

static bool read_ledger(struct disk *disk)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_state_keys keys;
    struct trib_ledger *ledger;
    rig_device_dir(disk->rig, 0, dir);
    enum trib_err err = trib_state_keys_load(dir, &keys);
    if (!err) {
        const struct trib_ledger_options options = {
            .dir = dir, .secret = keys.secret, .visit = take_charge, .user = disk};
        err = trib_ledger_open(&options, &ledger);
        trib_state_keys_wipe(&keys);
    }
    if (err)
        return rig_wrong("the ledger of the device: %s", trib_err_text(err));
    trib_ledger_close(ledger);
    for (size_t i = 0; i < disk->charge_count; i++)
        disk->outcome.charges += !disk->charges[i].is_refunded;
    return true;
}

static bool read_disk(const struct rig *rig, struct disk *disk)
{
    *disk = (struct disk){.rig = rig, .is_good = true};
    return read_store(disk) && read_ledger(disk) && disk->is_good;
}

bool rig_look(const struct rig *rig, struct rig_outcome *ret_outcome)
{
    struct disk disk;
    const bool is_good = read_disk(rig, &disk);
    *ret_outcome = disk.outcome;
    return is_good;
}

static const struct rig_promise *row_of(const struct disk *disk, const uint8_t id[static 16])
{
    for (size_t i = 0; i < disk->row_count; i++) {
        if (memcmp(disk->rows[i].id, id, sizeof(disk->rows[i].id)) == 0)
            return &disk->rows[i];
    }
    return NULL;
}

static bool is_charged(const struct disk *disk, uint64_t round)
{
    for (size_t i = 0; i < disk->charge_count; i++) {
        if (disk->charges[i].round == round && !disk->charges[i].is_refunded)
            return true;
    }
    return false;
}

// The same update has the same bytes each time; all that may have left is charged.
static bool hold_begun(const struct rig *rig, const struct disk *disk)
{
    bool is_good = true;
    const struct rig_promise *promises = rig->shared->promises[RIG_BEGUN];
    for (size_t i = 0; i < rig->shared->promise_count[RIG_BEGUN]; i++) {
        const struct rig_promise *begun = &promises[i];
        for (size_t j = 0; j < i; j++) {
            if (memcmp(promises[j].id, begun->id, sizeof(begun->id)) == 0 &&
                memcmp(promises[j].digest, begun->digest, sizeof(begun->digest)) != 0)
                is_good = rig_wrong("an update was sent again with other bytes");
        }
        if (strcmp(rig->mode, "off") != 0 && !is_charged(disk, begun->round))
            is_good = rig_wrong("the update of round %llu was sent and is not charged",
                                (unsigned long long)begun->round);
    }
    return is_good;
}

bool rig_sum_digest(const char *dir, uint64_t round, uint8_t digest[static TRIB_DIGEST_SIZE])
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf bytes = {0};
    (void)snprintf(path, sizeof(path), "%s/%" PRIu64 ".sum", dir, round);
    const bool is_good =
        trib_file_exists(path) && trib_file_read(path, SUM_SIZE_MAX, &bytes) == TRIB_OK;
    if (is_good)
        trib_digest(bytes.data, bytes.size, digest);
    trib_buf_fini(&bytes);
    return is_good;
}

static bool is_round_over(const struct disk *disk, uint64_t round)
{
    for (size_t i = 0; i < disk->over_count; i++) {
        if (disk->over[i] == round)
            return true;
    }
    return false;
}

// Noise is drawn once, and is there as long as something may be made of it.
static bool hold_noised(const struct rig *rig, const struct disk *disk)
{
    const struct rig_promise *promises = rig->shared->promises[RIG_NOISED];
    char dir[TRIB_PATH_MAX + 1];
    uint8_t digest[TRIB_DIGEST_SIZE];
    bool is_good = true;
    (void)snprintf(dir, sizeof(dir), "%s/coordinator/updates", rig->dir);
    for (size_t i = 0; i < rig->shared->promise_count[RIG_NOISED]; i++) {
        const uint64_t round = promises[i].round;
        for (size_t j = 0; j < i; j++) {
            if (promises[j].round == round)
                is_good = rig_wrong("noise was drawn twice in round %" PRIu64, round);
        }
        if (!is_round_over(disk, round) &&
            (!rig_sum_digest(dir, round, digest) ||
             memcmp(digest, promises[i].digest, sizeof(digest)) != 0))
            is_good = rig_wrong("the noised sum of round %" PRIu64 " was used, and is gone", round);
    }
    return is_good;
}

static bool hold_promises(const struct rig *rig, const struct disk *disk)
{
    bool is_good = hold_begun(rig, disk);
    is_good = hold_noised(rig, disk) && is_good;
    for (size_t i = 0; i < rig->shared->promise_count[RIG_COUNTED]; i++) {
        if (!row_of(disk, rig->shared->promises[RIG_COUNTED][i].id))
            is_good = rig_wrong("an update was told that it counts, and has no row");
    }
    for (size_t i = 0; i < disk->row_count; i++) {
        if (strcmp(rig->mode, "off") != 0 && disk->devices[i] == FIRST_DEVICE &&
            !is_charged(disk, disk->rows[i].round))
            is_good = rig_wrong("the update of round %llu counts and is not charged",
                                (unsigned long long)disk->rows[i].round);
    }
    return is_good;
}

bool rig_hold(const struct rig *rig)
{
    struct disk disk;
    return read_disk(rig, &disk) && hold_promises(rig, &disk);
}

bool rig_check(struct rig *rig, const struct rig_outcome *expected, struct rig_outcome *ret_outcome)
{
    struct disk disk;
    if (rig->scene && !rig->scene->has_job)
        return rig->scene->check(rig);
    bool is_good = read_disk(rig, &disk) && hold_promises(rig, &disk);
    const struct rig_outcome *got = &disk.outcome;
    *ret_outcome = *got;
    if (disk.job_state != TRIB_JOB_DONE)
        is_good = rig_wrong("the job is in state %llu", (unsigned long long)disk.job_state);
    // The round of its own that a device did not take part in changes nothing.
    if (got->versions != got->committed + 1)
        is_good = rig_wrong("%u rounds made %llu versions", got->committed,
                            (unsigned long long)got->versions);
    if (rig->scene)
        return rig->scene->check(rig) && is_good;
    if (!expected || !is_good)
        return is_good;
    if (got->committed + got->abandoned < expected->committed)
        is_good = rig_wrong("%u of %u rounds", got->committed, expected->committed);
    // A masked round goes on without who is lost, and makes another sum.
    if (got->abandoned == 0 && got->rows == expected->rows &&
        (got->versions != expected->versions ||
         memcmp(got->head, expected->head, sizeof(got->head)) != 0))
        is_good = rig_wrong("another model than without faults");
    return is_good;
}
