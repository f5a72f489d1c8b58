#include "simulations/fleet_folder.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/wire/noise_ik.h"
#include "coordinator/publish.h"
#include "coordinator/round.h"
#include "coordinator/segment.h"
#include "coordinator/server_state.h"
#include "coordinator/store_audit.h"

#define TRIB_LOG_MODULE "fleet"

enum {
    CONFIG_MAX = 65536,
    BATCH = 50, // versions in a transaction
    JOB = 1,
};

struct folder {
    const char *dir;
    const struct trib_fleet_plan *plan;
    struct trib_identity identity;
    struct trib_store *store;
    struct trib_model model;
    float *params; // (model.param_count)
    uint8_t *checksums;
    size_t checksums_size;
    uint64_t now_ms;
    struct trib_version *version; // the last one made
    struct trib_round_result result;
};

void trib_fleet_secret(uint64_t seed, uint64_t index,
                       uint8_t ret_secret[static TRIB_FLEET_SECRET_SIZE])
{
    struct trib_hash hash;
    uint8_t place[16];
    trib_store_le64(place, seed);
    trib_store_le64(place + 8, index);
    trib_hash_init(&hash, "fleet", 5, TRIB_FLEET_SECRET_SIZE);
    trib_hash_update(&hash, place, sizeof(place));
    trib_hash_final(&hash, ret_secret, TRIB_FLEET_SECRET_SIZE);
}

// ---- Identity and devices

static enum trib_err add_settings(const char *dir, const char *settings)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf text = {0};
    enum trib_err err = trib_path_join(path, dir, "tributary.ini");
    if (!err)
        err = trib_file_read(path, CONFIG_MAX, &text);
    if (err)
        return err;
    trib_buf_printf(&text, "%s", settings); // what is there is one section, [fleet]
    err = text.failed ? TRIB_ERR_NOMEM : trib_file_write(path, text.data, text.size, 0644);
    trib_buf_fini(&text);
    return err;
}

static enum trib_err put_devices(const struct folder *folder)
{
    enum trib_err err = trib_store_begin(folder->store);
    for (uint64_t i = 0; i < folder->plan->devices && !err; i++) {
        struct trib_store_device row = {.enrolled_ms = folder->now_ms, .seen_ms = folder->now_ms};
        uint8_t secret[TRIB_FLEET_SECRET_SIZE];
        uint64_t id;
        trib_fleet_secret(folder->plan->seed, i, secret);
        trib_noise_public(secret, row.key);
        trib_digest(row.key, sizeof(row.key), row.sign_key); // nobody signs with it
        (void)snprintf(row.name, sizeof(row.name), "d%06" PRIu64, i);
        err = trib_store_device_insert(folder->store, &row, &id);
        if (!err)
            err = trib_audit_enrolment(folder->store, &row, "made-up fleet");
    }
    return err ? err : trib_store_commit(folder->store);
}

// ---- A job with its versions

static enum trib_err put_job(const struct folder *folder)
{
    const struct trib_fleet_plan *plan = folder->plan;
    char config[512];
    uint64_t id = 0;
    (void)snprintf(config, sizeof(config),
                   "[model]\nspec = %s\n"
                   "[round]\nrounds = %" PRIu64 "\ncohort = %" PRIu64 "\neval_every = 0\n"
                   "[privacy]\nmode = off\n",
                   folder->model.spec, plan->versions + 1, plan->accepted);
    struct trib_store_job job = {.name = "made-up",
                                 .config = config,
                                 .state = TRIB_JOB_ACTIVE,
                                 .submitted_ms = folder->now_ms,
                                 .reason = ""};
    enum trib_err err = trib_store_begin(folder->store);
    if (!err)
        err = trib_store_job_insert(folder->store, &job, &id);
    assert(err || id == JOB);
    job.id = id;
    job.start_version = 1;
    job.rounds_done = plan->versions - 1;
    if (!err)
        err = trib_store_job_update(folder->store, &job);
    return err ? err : trib_store_commit(folder->store);
}

static enum trib_err make_version(struct folder *folder, uint64_t number)
{
    const struct trib_version *parent = folder->version;
    struct trib_version *version;
    struct trib_msg_manifest manifest = {.generation = 1,
                                         .version = number,
                                         .parent = number - 1,
                                         .job = JOB,
                                         .round_id = number - 1,
                                         .round_number = number - 1,
                                         .created_ms = folder->now_ms};
    (void)snprintf(manifest.kind, sizeof(manifest.kind), "%s", parent ? "round" : "initial");
    (void)snprintf(manifest.population, sizeof(manifest.population), "default");
    if (parent) {
        manifest.accepted = folder->plan->accepted;
        memcpy(manifest.parent_digest, parent->manifest.digest, TRIB_DIGEST_SIZE);
    }
    folder->params[0] = (float)number; // so that each has a digest of its own
    enum trib_err err =
        trib_version_make(&folder->identity, &folder->model, folder->params, &manifest, &version);
    if (err)
        return err;
    trib_version_destroy(folder->version);
    folder->version = version;
    return trib_version_write(folder->dir, version);
}

static enum trib_err put_version(const struct folder *folder)
{
    const struct trib_msg_manifest *m = &folder->version->manifest;
    struct trib_store_version row = {
        .version = m->version,
        .generation = m->generation,
        .parent = m->parent,
        .job = m->job,
        .round = m->round_id,
        .round_number = m->round_number,
        .kind = m->kind,
        .spec = folder->model.spec,
        .params = m->params,
        .manifest = folder->version->announcement.manifest,
        .manifest_size = folder->version->announcement.manifest_size,
        .created_ms = m->created_ms,
        .has_value = true,
        .value = 1.0 / (double)m->version,
    };
    memcpy(row.digest, m->digest, TRIB_DIGEST_SIZE);
    memcpy(row.signature, folder->version->announcement.signature, TRIB_SIGNATURE_SIZE);
    enum trib_err err = trib_store_version_insert(folder->store, &row);
    return err ? err : trib_audit_version(folder->store, &row);
}

// The devices take turns.
static enum trib_err put_updates(const struct folder *folder, uint64_t round)
{
    const struct trib_fleet_plan *plan = folder->plan;
    enum trib_err err = TRIB_OK;
    for (uint64_t i = 0; i < plan->accepted && !err; i++) {
        const uint64_t device = 1 + (round * plan->accepted + i) % plan->devices;
        const struct trib_store_lease lease = {.round = round,
                                               .device = device,
                                               .order = (uint32_t)i,
                                               .state = TRIB_LEASE_COUNTED,
                                               .changed_ms = folder->now_ms};
        struct trib_store_update update = {.round = round,
                                           .device = device,
                                           .slot = (uint32_t)i,
                                           .weight = 1,
                                           .checksums = folder->checksums,
                                           .checksums_size = folder->checksums_size};
        trib_store_le64(update.id, round);
        trib_store_le64(update.id + 8, device);
        trib_digest(update.id, sizeof(update.id), update.digest);
        err = trib_store_lease_put(folder->store, &lease);
        if (!err)
            err = trib_store_update_insert(folder->store, &update);
    }
    return err;
}

static enum trib_err put_round(struct folder *folder, uint64_t number)
{
    struct trib_round_result *result = &folder->result;
    const struct trib_store_round row = {.id = number,
                                         .job = JOB,
                                         .number = trib_round_key(TRIB_PASS_MAIN, number),
                                         .state = TRIB_ROUND_SELECTING,
                                         .base_version = number,
                                         .opened_ms = folder->now_ms};
    trib_result_init(result);
    result->id = result->round = number;
    result->version = number + 1;
    (void)snprintf(result->state, sizeof(result->state), "committed");
    result->asked = result->accepted = folder->plan->accepted;
    enum trib_err err = trib_store_round_insert(folder->store, &row);
    if (!err)
        err = put_updates(folder, number);
    if (!err)
        err = trib_store_round_end(folder->store, number, TRIB_ROUND_COMMITTED, folder->now_ms,
                                   result);
    if (!err && number > TRIB_SERVER_LEDGER_ROUNDS)
        err = trib_store_updates_prune(folder->store, number - TRIB_SERVER_LEDGER_ROUNDS);
    return err;
}

static enum trib_err put_versions(struct folder *folder)
{
    enum trib_err err = TRIB_OK;
    for (uint64_t number = 1; number <= folder->plan->versions && !err; number++) {
        if (number % BATCH == 1)
            err = trib_store_begin(folder->store);
        if (!err && number > 1)
            err = put_round(folder, number - 1);
        if (!err)
            err = make_version(folder, number);
        if (!err)
            err = put_version(folder);
        if (!err && (number % BATCH == 0 || number == folder->plan->versions))
            err = trib_store_commit(folder->store);
    }
    return err;
}

static enum trib_err put_learning(struct folder *folder)
{
    char spec[64];
    char why[256];
    (void)snprintf(spec, sizeof(spec), "%" PRIu64 " - dense 1 linear", folder->plan->params - 1);
    enum trib_err err = trib_model_parse(spec, &folder->model, why, sizeof(why));
    if (err) {
        TRIB_ERROR("%s: %s", spec, why);
        return err;
    }
    folder->checksums_size =
        trib_segment_checksum_count(3 * folder->plan->params) * sizeof(uint32_t);
    folder->params = trib_alloc_aligned(folder->model.param_count, sizeof(*folder->params));
    folder->checksums = trib_alloc_array(folder->checksums_size, 1);
    err = folder->params && folder->checksums ? put_job(folder) : TRIB_ERR_NOMEM;
    return err ? err : put_versions(folder);
}

enum trib_err trib_fleet_folder_make(const char *dir, const struct trib_fleet_plan *plan,
                                     const char *settings, struct trib_identity *ret_identity)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_audit_signer signer;
    assert(plan->devices > 0 && plan->accepted <= plan->devices);
    struct folder *folder = trib_alloc(sizeof(*folder)); // a result is large
    if (!folder)
        return TRIB_ERR_NOMEM;
    folder->dir = dir;
    folder->plan = plan;
    folder->now_ms = trib_clock_wall_ms();
    enum trib_err err = trib_identity_make(dir, "tcp://127.0.0.1:0", NULL, &folder->identity);
    if (!err)
        err = add_settings(dir, settings);
    if (!err)
        err = trib_path_join(path, dir, "store.db");
    if (!err)
        err = trib_store_open(path, &folder->store);
    if (!err) {
        memcpy(signer.seed, folder->identity.release_seed, sizeof(signer.seed));
        memcpy(signer.key, folder->identity.release_key, sizeof(signer.key));
        trib_store_audit_signer(folder->store, &signer);
        err = put_devices(folder);
    }
    if (!err && plan->versions > 0)
        err = put_learning(folder);
    if (!err)
        *ret_identity = folder->identity;
    trib_store_close(folder->store);
    trib_version_destroy(folder->version);
    free(folder->params);
    free(folder->checksums);
    trib_identity_wipe(&folder->identity);
    free(folder);
    return err;
}
