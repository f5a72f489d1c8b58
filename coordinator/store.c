#include "coordinator/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/store_db.h"
#include "coordinator/tally_round.h"

// ---- Devices and tokens

enum trib_err trib_store_device_insert(struct trib_store *store,
                                       const struct trib_store_device *device, uint64_t *ret_id)
{
    enum trib_err err = trib_db_run(
        store, "INSERT INTO device VALUES(NULL,?,?,?,?,0,?,0,NULL,?,NULL,NULL)", "ttbbii",
        device->name, device->group, device->key, sizeof(device->key), device->sign_key,
        sizeof(device->sign_key), device->enrolled_ms, device->enrolled_ms);
    if (!err)
        *ret_id = trib_db_last_id(store);
    return err;
}

enum trib_err trib_store_device_revoke(struct trib_store *store, uint64_t id, uint64_t now_ms)
{
    return trib_db_run_one(store, "UPDATE device SET revoked=1, revoked_ms=? WHERE id=?", "ii",
                           now_ms, id);
}

enum trib_err trib_store_device_next(struct trib_store *store, uint64_t id,
                                     const uint8_t key[static 32],
                                     const uint8_t sign_key[static 32])
{
    return trib_db_run_one(store, "UPDATE device SET next_key=?, next_sign_key=? WHERE id=?", "bbi",
                           key, (size_t)32, sign_key, (size_t)32, id);
}

enum trib_err trib_store_device_promote(struct trib_store *store, uint64_t id)
{
    return trib_db_run_one(store,
                           "UPDATE device SET key=next_key, sign_key=next_sign_key, next_key=NULL,"
                           " next_sign_key=NULL, roster=NULL WHERE id=? AND next_key IS NOT NULL",
                           "i", id);
}

enum trib_err trib_store_device_roster(struct trib_store *store, uint64_t id,
                                       const uint8_t signature[static TRIB_SIGNATURE_SIZE])
{
    return trib_db_run_one(store, "UPDATE device SET roster=? WHERE id=?", "bi", signature,
                           (size_t)TRIB_SIGNATURE_SIZE, id);
}

enum trib_err trib_store_device_seen(struct trib_store *store, uint64_t id, uint64_t seen_ms)
{
    return trib_db_run_one(store, "UPDATE device SET seen_ms=? WHERE id=?", "ii", seen_ms, id);
}

enum trib_err trib_store_token_insert(struct trib_store *store,
                                      const struct trib_store_token *token)
{
    return trib_db_run(store, "INSERT INTO token VALUES(?,?,?,?,?)", "bbtii", token->id,
                       sizeof(token->id), token->secret_hash, sizeof(token->secret_hash),
                       token->name, token->uses_left, token->expires_ms);
}

static void see_any(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    (void)stmt;
    *(bool *)reader->user = true;
}

enum trib_err trib_store_tokens_void_named(struct trib_store *store, const char *name)
{
    bool is_taken = false;
    const struct trib_db_reader reader = {see_any, NULL, &is_taken};
    enum trib_err err =
        trib_db_query(store, "SELECT 1 FROM device WHERE name=?", &reader, "t", name);
    if (!err && is_taken)
        err = TRIB_ERR_STATE;
    return err ? err : trib_db_run(store, "UPDATE token SET uses_left=0 WHERE name=?", "t", name);
}

enum trib_err trib_store_tokens_void(struct trib_store *store)
{
    return trib_db_run(store, "UPDATE token SET uses_left=0", "");
}

enum trib_err trib_store_token_use(struct trib_store *store, const uint8_t id[8], uint64_t device)
{
    enum trib_err err = trib_db_run_one(store, "UPDATE token SET uses_left=uses_left-1 WHERE id=?",
                                        "b", id, (size_t)8);
    return err ? err
               : trib_db_run(store, "INSERT INTO token_use VALUES(?,?)", "bi", id, (size_t)8,
                             device);
}

static void read_device(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    struct trib_store_device device = {.id = trib_db_number(stmt, 0)};
    trib_db_name(stmt, 1, device.name);
    trib_db_name(stmt, 2, device.group);
    trib_db_bytes(stmt, 3, device.key, sizeof(device.key));
    trib_db_bytes(stmt, 4, device.sign_key, sizeof(device.sign_key));
    device.is_revoked = trib_db_number(stmt, 5) != 0;
    device.enrolled_ms = trib_db_number(stmt, 6);
    device.revoked_ms = trib_db_number(stmt, 7);
    device.has_roster = sqlite3_column_type(stmt, 8) != SQLITE_NULL;
    if (device.has_roster)
        trib_db_bytes(stmt, 8, device.roster, sizeof(device.roster));
    device.seen_ms = trib_db_number(stmt, 9);
    device.has_next = sqlite3_column_type(stmt, 10) != SQLITE_NULL;
    if (device.has_next) {
        trib_db_bytes(stmt, 10, device.next_key, sizeof(device.next_key));
        trib_db_bytes(stmt, 11, device.next_sign_key, sizeof(device.next_sign_key));
    }
    (*(const trib_store_device_fn *)reader->callback)(reader->user, &device);
}

enum trib_err trib_store_devices(struct trib_store *store, trib_store_device_fn row, void *user)
{
    const struct trib_db_reader reader = {read_device, &row, user};
    return trib_db_query(store, "SELECT * FROM device ORDER BY name", &reader, "");
}

static void read_token(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    struct trib_store_token token = {.uses_left = trib_db_number(stmt, 3),
                                     .expires_ms = trib_db_number(stmt, 4)};
    trib_db_bytes(stmt, 0, token.id, sizeof(token.id));
    trib_db_bytes(stmt, 1, token.secret_hash, sizeof(token.secret_hash));
    trib_db_name(stmt, 2, token.name);
    (*(const trib_store_token_fn *)reader->callback)(reader->user, &token);
}

enum trib_err trib_store_tokens(struct trib_store *store, trib_store_token_fn row, void *user)
{
    const struct trib_db_reader reader = {read_token, &row, user};
    return trib_db_query(store, "SELECT * FROM token", &reader, "");
}

static void read_token_use(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    uint8_t token[8];
    trib_db_bytes(stmt, 0, token, sizeof(token));
    (*(const trib_store_token_use_fn *)reader->callback)(reader->user, token,
                                                         trib_db_number(stmt, 1));
}

enum trib_err trib_store_token_uses(struct trib_store *store, trib_store_token_use_fn row,
                                    void *user)
{
    const struct trib_db_reader reader = {read_token_use, &row, user};
    return trib_db_query(store, "SELECT token, device FROM token_use", &reader, "");
}

// ---- Jobs

enum trib_err trib_store_job_insert(struct trib_store *store, const struct trib_store_job *job,
                                    uint64_t *ret_id)
{
    enum trib_err err =
        trib_db_run(store, "INSERT INTO job VALUES(NULL,?,?,?,?,0,?,0,0,0,'')", "ttiii", job->name,
                    job->config, (uint64_t)job->state, job->submitted_ms, job->start_version);
    if (!err)
        *ret_id = trib_db_last_id(store);
    return err;
}

enum trib_err trib_store_job_update(struct trib_store *store, const struct trib_store_job *job)
{
    return trib_db_run_one(store,
                           "UPDATE job SET state=?, ended_ms=?, start_version=?, rounds_done=?,"
                           " epsilon_pure=?, rho=?, reason=? WHERE id=?",
                           "iiiirrti", (uint64_t)job->state, job->ended_ms, job->start_version,
                           job->rounds_done, job->epsilon_pure, job->rho,
                           job->reason ? job->reason : "", job->id);
}

static void read_job(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    const struct trib_store_job job = {
        .id = trib_db_number(stmt, 0),
        .name = trib_db_text(stmt, 1),
        .config = trib_db_text(stmt, 2),
        .state = (uint32_t)trib_db_number(stmt, 3),
        .submitted_ms = trib_db_number(stmt, 4),
        .ended_ms = trib_db_number(stmt, 5),
        .start_version = trib_db_number(stmt, 6),
        .rounds_done = trib_db_number(stmt, 7),
        .epsilon_pure = sqlite3_column_double(stmt, 8),
        .rho = sqlite3_column_double(stmt, 9),
        .reason = trib_db_text(stmt, 10),
    };
    (*(const trib_store_job_fn *)reader->callback)(reader->user, &job);
}

enum trib_err trib_store_jobs(struct trib_store *store, trib_store_job_fn row, void *user)
{
    const struct trib_db_reader reader = {read_job, &row, user};
    return trib_db_query(store, "SELECT * FROM job ORDER BY id", &reader, "");
}

// ---- Versions

enum trib_err trib_store_version_insert(struct trib_store *store,
                                        const struct trib_store_version *v)
{
    enum trib_err err = trib_db_run(
        store, "INSERT INTO version VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,NULL)",
        "iiibiiittibbit", v->version, v->generation, v->parent, v->digest, sizeof(v->digest),
        v->job, v->round, v->round_number, v->kind, v->spec, v->params, v->manifest,
        v->manifest_size, v->signature, sizeof(v->signature), v->created_ms, v->metrics);
    if (!err && v->has_value)
        err = trib_db_run(store, "UPDATE version SET value=? WHERE version=?", "ri", v->value,
                          v->version);
    return err;
}

static void read_version(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    struct trib_store_version v = {
        .version = trib_db_number(stmt, 0),
        .generation = trib_db_number(stmt, 1),
        .parent = trib_db_number(stmt, 2),
        .job = trib_db_number(stmt, 4),
        .round = trib_db_number(stmt, 5),
        .round_number = trib_db_number(stmt, 6),
        .kind = trib_db_text(stmt, 7),
        .spec = trib_db_text(stmt, 8),
        .params = trib_db_number(stmt, 9),
        .manifest = sqlite3_column_blob(stmt, 10),
        .manifest_size = (size_t)sqlite3_column_bytes(stmt, 10),
        .created_ms = trib_db_number(stmt, 12),
        .metrics = trib_db_text(stmt, 13),
        .has_value = sqlite3_column_type(stmt, 14) != SQLITE_NULL,
        .value = sqlite3_column_double(stmt, 14),
        .is_dropped = sqlite3_column_type(stmt, 15) != SQLITE_NULL,
    };
    trib_db_bytes(stmt, 3, v.digest, sizeof(v.digest));
    trib_db_bytes(stmt, 11, v.signature, sizeof(v.signature));
    (*(const trib_store_version_fn *)reader->callback)(reader->user, &v);
}

enum trib_err trib_store_versions(struct trib_store *store, uint64_t after, uint64_t limit,
                                  trib_store_version_fn row, void *user)
{
    const struct trib_db_reader reader = {read_version, &row, user};
    return trib_db_query(store, "SELECT * FROM version WHERE version>? ORDER BY version LIMIT ?",
                         &reader, "ii", after, limit);
}

enum trib_err trib_store_versions_of(struct trib_store *store, uint64_t job, uint64_t after,
                                     uint64_t limit, trib_store_version_fn row, void *user)
{
    const struct trib_db_reader reader = {read_version, &row, user};
    return trib_db_query(store,
                         "SELECT * FROM version WHERE version>? AND (job=? OR ?=0)"
                         " ORDER BY version LIMIT ?",
                         &reader, "iiii", after, job, job, limit);
}

enum trib_err trib_store_version_head(struct trib_store *store, trib_store_version_fn row,
                                      void *user)
{
    const struct trib_db_reader reader = {read_version, &row, user};
    return trib_db_query(
        store, "SELECT * FROM version ORDER BY generation DESC, version DESC LIMIT 1", &reader, "");
}

enum trib_err trib_store_version_best(struct trib_store *store, uint64_t job, bool higher_is_better,
                                      trib_store_version_fn row, void *user)
{
    const struct trib_db_reader reader = {read_version, &row, user};
    return trib_db_query(store,
                         "SELECT * FROM version WHERE job=? AND value IS NOT NULL"
                         " ORDER BY value*? DESC, version LIMIT 1",
                         &reader, "ir", job, higher_is_better ? 1.0 : -1.0);
}

// ---- Rounds, leases, updates

enum trib_err trib_store_round_insert(struct trib_store *store,
                                      const struct trib_store_round *round)
{
    return trib_db_run(store,
                       "INSERT INTO round(id,job,number,state,base_version,opened_ms,ended_ms)"
                       " VALUES(?,?,?,?,?,?,0)",
                       "iiiiii", round->id, round->job, round->number, (uint64_t)round->state,
                       round->base_version, round->opened_ms);
}

enum trib_err trib_store_round_state(struct trib_store *store, uint64_t id, uint32_t state)
{
    return trib_db_run_one(store, "UPDATE round SET state=? WHERE id=?", "ii", (uint64_t)state, id);
}

// SQLite stores a NaN as NULL.
enum trib_err trib_store_round_end(struct trib_store *store, uint64_t id, uint32_t state,
                                   uint64_t ended_ms, const struct trib_round_result *r)
{
    return trib_db_run_one(
        store,
        "UPDATE round SET state=?, ended_ms=?, version=?, state_text=?, reason=?, asked=?,"
        " accepted=?, refused=?, loss=?, metric=?, value=?, metrics=?, epsilon_pure=?,"
        " epsilon=?, delta=?, bytes_up=?, bytes_down=?, seconds=?, privacy=?, kind=?, tally=?,"
        " phases=? WHERE id=?",
        "iiittiiirtrtrrriirtttti", (uint64_t)state, ended_ms, r->version, r->state, r->reason,
        r->asked, r->accepted, r->refused, r->loss, r->metric, r->value, r->metrics,
        r->epsilon_pure, r->epsilon, r->delta, r->bytes_up, r->bytes_down, r->seconds, r->privacy,
        r->kind, r->tally, r->phases, id);
}

static double real_at(sqlite3_stmt *stmt, int column)
{
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL)
        return (double)NAN;
    return sqlite3_column_double(stmt, column);
}

static void copy_text(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
    const char *text = trib_db_text(stmt, column);
    (void)snprintf(out, size, "%s", text ? text : "");
}

static void read_round(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    struct trib_store_round round = {
        .id = trib_db_number(stmt, 0),
        .job = trib_db_number(stmt, 1),
        .number = trib_db_number(stmt, 2),
        .state = (uint32_t)trib_db_number(stmt, 3),
        .base_version = trib_db_number(stmt, 4),
        .opened_ms = trib_db_number(stmt, 5),
        .ended_ms = trib_db_number(stmt, 6),
        .result =
            {
                .id = trib_db_number(stmt, 0),
                .round = trib_round_key_number(trib_db_number(stmt, 2)),
                .version = trib_db_number(stmt, 7),
                .asked = trib_db_number(stmt, 10),
                .accepted = trib_db_number(stmt, 11),
                .refused = trib_db_number(stmt, 12),
                .loss = real_at(stmt, 13),
                .value = real_at(stmt, 15),
                .epsilon_pure = real_at(stmt, 17),
                .epsilon = real_at(stmt, 18),
                .delta = real_at(stmt, 19),
                .bytes_up = trib_db_number(stmt, 20),
                .bytes_down = trib_db_number(stmt, 21),
                .seconds = real_at(stmt, 22),
            },
    };
    copy_text(stmt, 8, round.result.state, sizeof(round.result.state));
    copy_text(stmt, 9, round.result.reason, sizeof(round.result.reason));
    copy_text(stmt, 14, round.result.metric, sizeof(round.result.metric));
    copy_text(stmt, 16, round.result.metrics, sizeof(round.result.metrics));
    copy_text(stmt, 23, round.result.privacy, sizeof(round.result.privacy));
    copy_text(stmt, 24, round.result.kind, sizeof(round.result.kind));
    if (!round.result.kind[0]) // of before there was another
        (void)snprintf(round.result.kind, sizeof(round.result.kind), "train");
    copy_text(stmt, 25, round.result.tally, sizeof(round.result.tally));
    copy_text(stmt, 26, round.result.phases, sizeof(round.result.phases));
    (*(const trib_store_round_fn *)reader->callback)(reader->user, &round);
}

enum trib_err trib_store_rounds(struct trib_store *store, uint64_t job, uint64_t after,
                                uint64_t limit, trib_store_round_fn row, void *user)
{
    const struct trib_db_reader reader = {read_round, &row, user};
    return trib_db_query(
        store,
        "SELECT * FROM round WHERE id>? AND (job=? OR ?=0) AND state_text IS NOT NULL"
        " ORDER BY id LIMIT ?",
        &reader, "iiii", after, job, job, limit);
}

enum trib_err trib_store_round_get(struct trib_store *store, uint64_t id, trib_store_round_fn row,
                                   void *user)
{
    const struct trib_db_reader reader = {read_round, &row, user};
    return trib_db_query(store, "SELECT * FROM round WHERE id=? OR ?=0 ORDER BY id DESC LIMIT 1",
                         &reader, "ii", id, id);
}

enum trib_err trib_store_lease_put(struct trib_store *store, const struct trib_store_lease *lease)
{
    return trib_db_run(store, "INSERT OR REPLACE INTO lease VALUES(?,?,?,?,?,?)", "iiiiii",
                       lease->round, lease->device, (uint64_t)lease->order, (uint64_t)lease->state,
                       (uint64_t)lease->code, lease->changed_ms);
}

static void read_lease(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    const struct trib_store_lease lease = {
        .round = trib_db_number(stmt, 0),
        .device = trib_db_number(stmt, 1),
        .order = (uint32_t)trib_db_number(stmt, 2),
        .state = (uint32_t)trib_db_number(stmt, 3),
        .code = (uint32_t)trib_db_number(stmt, 4),
        .changed_ms = trib_db_number(stmt, 5),
    };
    (*(const trib_store_lease_fn *)reader->callback)(reader->user, &lease, trib_db_text(stmt, 6));
}

enum trib_err trib_store_leases(struct trib_store *store, uint64_t round, trib_store_lease_fn row,
                                void *user)
{
    const struct trib_db_reader reader = {read_lease, &row, user};
    return trib_db_query(
        store,
        "SELECT lease.*, device.name FROM lease JOIN device ON device.id=lease.device"
        " WHERE round=? ORDER BY ord",
        &reader, "i", round);
}

enum trib_err trib_store_update_insert(struct trib_store *store, const struct trib_store_update *u)
{
    return trib_db_run(store, "INSERT INTO ledger VALUES(?,?,?,?,?,?,?)", "biiiibb", u->id,
                       sizeof(u->id), u->round, u->device, (uint64_t)u->slot, (uint64_t)u->weight,
                       u->digest, sizeof(u->digest), u->checksums, u->checksums_size);
}

static void read_update(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    struct trib_store_update update = {
        .round = trib_db_number(stmt, 1),
        .device = trib_db_number(stmt, 2),
        .slot = (uint32_t)trib_db_number(stmt, 3),
        .weight = (uint32_t)trib_db_number(stmt, 4),
        .checksums = sqlite3_column_blob(stmt, 6),
        .checksums_size = (size_t)sqlite3_column_bytes(stmt, 6),
    };
    trib_db_bytes(stmt, 0, update.id, sizeof(update.id));
    trib_db_bytes(stmt, 5, update.digest, sizeof(update.digest));
    (*(const trib_store_update_fn *)reader->callback)(reader->user, &update);
}

enum trib_err trib_store_updates(struct trib_store *store, uint64_t round_min,
                                 trib_store_update_fn row, void *user)
{
    const struct trib_db_reader reader = {read_update, &row, user};
    return trib_db_query(store,
                         "SELECT ledger.* FROM ledger JOIN device ON device.id=ledger.device"
                         " WHERE round>=? ORDER BY round, device.name",
                         &reader, "i", round_min);
}

enum trib_err trib_store_update_get(struct trib_store *store, const uint8_t id[static 16],
                                    trib_store_update_fn row, void *user)
{
    const struct trib_db_reader reader = {read_update, &row, user};
    return trib_db_query(store, "SELECT * FROM ledger WHERE update_id=?", &reader, "b", id,
                         (size_t)16);
}

enum trib_err trib_store_updates_prune(struct trib_store *store, uint64_t round_min)
{
    return trib_db_run(store, "DELETE FROM ledger WHERE round<?", "i", round_min);
}

// ---- Secure aggregation

enum trib_err trib_store_secagg_put(struct trib_store *store, const struct trib_store_secagg *piece)
{
    return trib_db_run(store, "INSERT OR REPLACE INTO secagg VALUES(?,?,?,?)", "iiib", piece->round,
                       (uint64_t)piece->kind, (uint64_t)piece->member, piece->data, piece->size);
}

static void read_secagg(void *user, sqlite3_stmt *stmt)
{
    const struct trib_db_reader *reader = user;
    const struct trib_store_secagg piece = {
        .round = trib_db_number(stmt, 0),
        .kind = (uint32_t)trib_db_number(stmt, 1),
        .member = (uint32_t)trib_db_number(stmt, 2),
        .data = sqlite3_column_blob(stmt, 3),
        .size = (size_t)sqlite3_column_bytes(stmt, 3),
    };
    (*(const trib_store_secagg_fn *)reader->callback)(reader->user, &piece);
}

enum trib_err trib_store_secagg(struct trib_store *store, uint64_t round, trib_store_secagg_fn row,
                                void *user)
{
    const struct trib_db_reader reader = {read_secagg, &row, user};
    return trib_db_query(store, "SELECT * FROM secagg WHERE round=? ORDER BY kind, member", &reader,
                         "i", round);
}

enum trib_err trib_store_secagg_drop(struct trib_store *store, uint64_t round)
{
    return trib_db_run(store, "DELETE FROM secagg WHERE round=?", "i", round);
}
