#include "coordinator/restore.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/copy.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "coordinator/identity.h"
#include "coordinator/keys.h"
#include "coordinator/moments.h"
#include "coordinator/publish.h"
#include "coordinator/store_audit.h"

#define TRIB_LOG_MODULE "restore"

static const char *const key_names[] = {"coordinator.key", "roster.key"};

static enum trib_err __attribute__((format(printf, 3, 4)))
fail(struct trib_restore *restore, enum trib_err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(restore->why, sizeof(restore->why), format, args);
    va_end(args);
    return err;
}

static bool is_key(const struct trib_restore *restore, const char *name)
{
    return strcmp(name, key_names[0]) == 0 || strcmp(name, key_names[1]) == 0 ||
           trib_keys_is_name(name) || strcmp(name, restore->token) == 0;
}

// What tributary.ini of `dir` says of a file, as it stands there; "": nothing.
static enum trib_err find_named(const char *dir, const char *section, const char *key,
                                char ret_value[static TRIB_PATH_MAX + 1])
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf text = {0};
    enum trib_err err = trib_path_join(path, dir, "tributary.ini");
    if (!err)
        err = trib_file_read(path, TRIB_CONF_FILE_MAX, &text);
    if (!err)
        trib_conf_find((const char *)text.data, text.size, section, key, ret_value,
                       TRIB_PATH_MAX + 1);
    trib_buf_fini(&text);
    return err;
}

// ---- Before anything is written

// Of a path that was mistyped the operator is not to hear that keys are missing.
static enum trib_err check_there(struct trib_restore *restore)
{
    char path[TRIB_PATH_MAX + 1];
    if (!trib_file_exists(restore->from))
        return fail(restore, TRIB_ERR_INVAL, "%s: is not there: want the directory of a backup",
                    restore->from);
    if (trib_path_join(path, restore->from, TRIB_BACKUP_LIST))
        return TRIB_ERR_LIMIT;
    if (!trib_file_exists(path))
        return fail(restore, TRIB_ERR_INVAL,
                    "%s: is not there: no backup, or one that was not finished", path);
    if (restore->keys && !trib_file_exists(restore->keys))
        return fail(restore, TRIB_ERR_INVAL, "--keys %s: is not there", restore->keys);
    return TRIB_OK;
}

static enum trib_err load_keys(struct trib_restore *restore, struct trib_identity *identity)
{
    const char *dir = restore->keys ? restore->keys : restore->from;
    for (size_t i = 0; i < 2; i++) {
        char path[TRIB_PATH_MAX + 1];
        if (trib_path_join(path, dir, key_names[i]))
            return TRIB_ERR_LIMIT;
        if (!trib_file_exists(path))
            return fail(restore, TRIB_ERR_INVAL, "%s: no %s there%s", dir, key_names[i],
                        restore->keys ? ""
                                      : "; a backup made with --no-keys wants --keys DIR, where "
                                        "they are kept");
    }
    enum trib_err err = trib_identity_load(dir, identity);
    return err ? fail(restore, TRIB_ERR_CORRUPT, "%s/coordinator.key or roster.key cannot be used",
                      dir)
               : TRIB_OK;
}

// A backup may be older than the keys that are kept elsewhere: then a key before them signed it.
static enum trib_err parse_list(struct trib_restore *restore, const struct trib_identity *identity,
                                const struct trib_buf *list, char *why)
{
    enum trib_err err =
        trib_backup_parse(list->data, list->size, identity->release_key, &restore->backup, why);
    for (uint32_t i = identity->chain.count; i > 0 && err == TRIB_ERR_CORRUPT; i--)
        err = trib_backup_parse(list->data, list->size, identity->pins[i - 1].release_key,
                                &restore->backup, why);
    return err;
}

static enum trib_err read_list(struct trib_restore *restore, const struct trib_identity *identity)
{
    char path[TRIB_PATH_MAX + 1];
    char why[TRIB_BACKUP_WHY_SIZE];
    struct trib_buf list = {0};
    enum trib_err err = trib_path_join(path, restore->from, TRIB_BACKUP_LIST);
    if (!err)
        err = trib_file_read(path, TRIB_BACKUP_LIST_MAX, &list);
    if (!err)
        err = parse_list(restore, identity, &list, why);
    if (err)
        (void)fail(restore, err, "%s: %s", path,
                   err == TRIB_ERR_CORRUPT ? why : trib_err_text(err));
    trib_buf_fini(&list);
    return err;
}

// Versions of an earlier restore have the generation that followed the backup's.
static enum trib_err check_generation(struct trib_restore *restore)
{
    const uint64_t wanted = restore->wanted_generation;
    if (!wanted || (wanted > restore->backup.generation && wanted <= TRIB_RESTORE_GENERATION_MAX))
        return TRIB_OK;
    return fail(restore, TRIB_ERR_INVAL,
                "--generation %" PRIu64 ": want one above that of the backup, which is %" PRIu64
                ", and at most %d",
                wanted, restore->backup.generation, TRIB_RESTORE_GENERATION_MAX);
}

static enum trib_err check_file(struct trib_restore *restore, const char *dir,
                                const struct trib_backup_file *file)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t size;
    enum trib_err err = trib_path_join(path, dir, file->name);
    if (err)
        return err;
    if (!trib_file_exists(path))
        return fail(restore, TRIB_ERR_CORRUPT, "%s: is not there", path);
    err = trib_file_digest(path, &size, digest);
    if (err)
        return fail(restore, err, "%s: cannot be read", path);
    if (size != file->size || memcmp(digest, file->digest, sizeof(digest)) != 0)
        return fail(restore, TRIB_ERR_CORRUPT,
                    "%s: is not what was backed up: %" PRIu64 " bytes of %" PRIu64
                    ", digest differs",
                    path, size, file->size);
    return TRIB_OK;
}

static enum trib_err check_files(struct trib_restore *restore)
{
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < restore->backup.count && !err; i++) {
        if (!restore->keys || !is_key(restore, restore->backup.files[i].name))
            err = check_file(restore, restore->from, &restore->backup.files[i]);
    }
    return err;
}

// The token of [http] is one of the keys: where they are kept elsewhere it is taken from there, if it
// is there, under the name that the configuration gives it.
static enum trib_err find_token(struct trib_restore *restore)
{
    char path[TRIB_PATH_MAX + 1];
    char value[TRIB_PATH_MAX + 1];
    enum trib_err err = find_named(restore->from, "http", "token_file", value);
    const char *name = trib_path_base(value);
    if (err || !restore->keys || !name[0] || strlen(name) > TRIB_BACKUP_NAME_MAX ||
        (value[0] != '/' && strchr(value, '/'))) // in a folder that a backup does not have either
        return err;
    err = trib_path_join(path, restore->keys, name);
    if (!err && trib_file_exists(path))
        (void)snprintf(restore->token, sizeof(restore->token), "%s", name);
    return err;
}

// ---- Writing

static enum trib_err copy_one(struct trib_restore *restore, const char *from, const char *name,
                              const struct trib_backup_file *listed)
{
    char source[TRIB_PATH_MAX + 1];
    char target[TRIB_PATH_MAX + 1];
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t size = 0;
    // As init and run make them; store.db, tributary.ini and keys are the owner's.
    const bool is_public = strncmp(name, "models/", 7) == 0 ||
                           strcmp(name, "coordinator.pub") == 0 ||
                           strcmp(name, TRIB_KEYS_CHAIN) == 0;
    enum trib_err err = trib_path_join(source, from, name);
    if (!err)
        err = trib_path_join(target, restore->to, name);
    if (!err)
        err = trib_file_copy(source, target, is_public ? 0644 : 0600, &size, digest);
    if (err)
        return fail(restore, err, "%s: cannot be copied: %s", source, trib_err_text(err));
    if (listed && memcmp(digest, listed->digest, sizeof(digest)) != 0)
        return fail(restore, TRIB_ERR_CORRUPT, "%s: changed while it was copied", source);
    restore->files++;
    restore->bytes += size;
    return TRIB_OK;
}

static enum trib_err copy_files(struct trib_restore *restore)
{
    static const char *const folders[] = {"models", "updates"};
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_dir_make_empty(restore->to, 0700);
    if (err)
        return fail(restore, err, "%s: %s", restore->to,
                    err == TRIB_ERR_STATE ? "is not empty: a coordinator is restored into a "
                                            "directory of its own"
                                          : trib_err_text(err));
    for (size_t i = 0; i < 2 && !err; i++) {
        err = trib_path_join(path, restore->to, folders[i]);
        if (!err)
            err = trib_dir_make(path, 0700);
    }
    for (size_t i = 0; i < restore->backup.count && !err; i++) {
        const struct trib_backup_file *file = &restore->backup.files[i];
        if (!is_key(restore, file->name)) // those come last: their presence says all is there
            err = copy_one(restore, restore->from, file->name, file);
    }
    for (size_t i = 0; i < 2 && !err; i++) {
        err = trib_path_join(path, restore->to, folders[i]);
        if (!err)
            err = trib_dir_sync(path);
    }
    return err;
}

static enum trib_err copy_changed_keys(struct trib_restore *restore, const char *from,
                                       const struct trib_identity *identity)
{
    char name[TRIB_KEYS_NAME_SIZE];
    if (identity->chain.count == 0)
        return TRIB_OK;
    enum trib_err err = copy_one(restore, from, TRIB_KEYS_CHAIN, NULL);
    for (uint32_t i = 0; i < identity->former_count && !err; i++) {
        trib_keys_former_name(identity->former[i].id, name);
        err = copy_one(restore, from, name, NULL);
    }
    return err ? err : trib_keys_write_public(restore->to, identity->public);
}

static enum trib_err copy_keys(struct trib_restore *restore, const struct trib_identity *identity)
{
    const char *from = restore->keys ? restore->keys : restore->from;
    enum trib_err err = copy_one(restore, from, key_names[1], NULL);
    if (!err && restore->token[0])
        err = copy_one(restore, from, restore->token, NULL);
    if (!err)
        err = copy_changed_keys(restore, from, identity);
    if (!err)
        err = trib_dir_sync(restore->to);
    if (!err)
        err = copy_one(restore, from, key_names[0], NULL);
    return err ? err : trib_dir_sync(restore->to);
}

// ---- The store: as it was, but of a generation of its own

struct newest {
    const struct trib_restore *restore;
    const struct trib_identity *identity;
    struct trib_version *version; // NULL: there is none; owned
    uint64_t round_id;
    bool has_value;
    double value;
    enum trib_err err;
};

static void take_head(void *user, const struct trib_store_version *v)
{
    struct newest *newest = user;
    newest->has_value = v->has_value;
    newest->value = v->value;
    newest->err = trib_version_read(newest->restore->to, newest->identity, v->manifest,
                                    v->manifest_size, v->signature, &newest->version);
}

static void take_round(void *user, const struct trib_store_round *round)
{
    struct newest *newest = user;
    newest->round_id = round->id;
}

// What the strategy of its job remembers goes on with it. Where that was damaged before it was backed up
// the job goes on without: nobody is to be left without a coordinator for that.
static enum trib_err move_moments(const struct trib_restore *restore, uint64_t from, uint64_t to)
{
    char dir[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(dir, restore->to, "updates");
    if (!err)
        err = trib_moments_move(dir, from, to);
    if (err != TRIB_ERR_CORRUPT)
        return err;
    TRIB_WARN("id=moments-corrupt %s/%" PRIu64 ".moments is damaged: they begin anew", dir, from);
    return trib_moments_remove(dir, from);
}

// The newest version once more, as the first of the new generation.
static enum trib_err renew_head(struct trib_restore *restore, struct trib_store *store,
                                const struct newest *newest)
{
    const struct trib_version *old = newest->version;
    struct trib_msg_manifest manifest = old->manifest;
    struct trib_version *version;
    manifest.generation = restore->generation;
    manifest.parent = old->manifest.version;
    manifest.version = old->manifest.version + 1;
    manifest.created_ms = trib_clock_wall_ms();
    memcpy(manifest.parent_digest, old->manifest.digest, TRIB_DIGEST_SIZE);
    (void)snprintf(manifest.kind, sizeof(manifest.kind), TRIB_VERSION_RESTORED);
    enum trib_err err = trib_version_make(newest->identity, &old->model, trib_version_params(old),
                                          &manifest, &version);
    if (err)
        return err;
    const struct trib_msg_manifest *m = &version->manifest;
    struct trib_store_version row = {.version = m->version,
                                     .generation = m->generation,
                                     .parent = m->parent,
                                     .job = m->job,
                                     .round = m->round_id,
                                     .round_number = m->round_number,
                                     .kind = m->kind,
                                     .spec = version->model.spec,
                                     .params = m->params,
                                     .manifest = version->announcement.manifest,
                                     .manifest_size = version->announcement.manifest_size,
                                     .created_ms = m->created_ms,
                                     .has_value = newest->has_value,
                                     .value = newest->value};
    memcpy(row.digest, m->digest, TRIB_DIGEST_SIZE);
    memcpy(row.signature, version->announcement.signature, TRIB_SIGNATURE_SIZE);
    err = trib_version_write(restore->to, version);
    if (!err)
        err = trib_store_version_insert(store, &row);
    restore->version = m->version;
    if (!err)
        err = move_moments(restore, old->manifest.version, m->version);
    trib_version_destroy(version);
    return err;
}

static enum trib_err record(const struct trib_restore *restore, struct trib_store *store)
{
    char subject[384];
    (void)snprintf(subject, sizeof(subject),
                   "backup of version %" PRIu64 ".%" PRIu64 ", audit record %" PRIu64
                   ", as %" PRIu64 ".%" PRIu64,
                   restore->backup.generation, restore->backup.version,
                   restore->backup.audit_number, restore->generation, restore->version);
    const struct trib_audit_record entry = {.time_ms = trib_clock_wall_ms(),
                                            .actor = "coordinator",
                                            .role = "coordinator",
                                            .action = "restore",
                                            .subject = subject,
                                            .outcome = "ok"};
    enum trib_err err = trib_store_audit(store, &entry);
    return err ? err : trib_store_audit_checkpoint(store);
}

static enum trib_err renew(struct trib_restore *restore, struct trib_store *store,
                           struct newest *newest)
{
    uint64_t floor = 0;
    enum trib_err err = trib_store_meta_get(store, "generation", 1, &restore->generation);
    if (!err)
        err = trib_store_meta_get(store, "round_floor", 0, &floor);
    if (!err)
        err = trib_store_version_head(store, take_head, newest);
    if (!err)
        err = newest->err;
    if (!err)
        err = trib_store_round_get(store, 0, take_round, newest);
    if (err)
        return err;
    if (floor < newest->round_id)
        floor = newest->round_id;
    const uint64_t generation =
        restore->wanted_generation ? restore->wanted_generation : restore->generation + 1;
    floor += (generation - restore->generation) * TRIB_RESTORE_ROUNDS_APART;
    restore->generation = generation;
    err = trib_store_begin(store);
    if (!err)
        err = trib_store_meta_set(store, "generation", restore->generation);
    if (!err)
        err = trib_store_meta_set(store, "lost_round", newest->round_id);
    if (!err)
        err = trib_store_meta_set(store, "round_floor", floor);
    if (!err)
        err = trib_store_tokens_void(store);
    if (!err && newest->version)
        err = renew_head(restore, store, newest);
    if (!err)
        err = record(restore, store);
    return err ? err : trib_store_commit(store);
}

// ---- Reading back

struct reading {
    struct trib_restore *restore;
    const struct trib_identity *identity;
    enum trib_err err;
};

static void read_back(void *user, const struct trib_store_version *v)
{
    struct reading *reading = user;
    struct trib_version *version;
    if (reading->err || v->is_dropped)
        return;
    reading->err = trib_version_read(reading->restore->to, reading->identity, v->manifest,
                                     v->manifest_size, v->signature, &version);
    if (reading->err)
        (void)fail(reading->restore, reading->err, "version %" PRIu64 " cannot be used: %s",
                   v->version, trib_err_text(reading->err));
    else
        trib_version_destroy(version);
}

static enum trib_err verify(struct trib_restore *restore, struct trib_store *store,
                            const struct trib_identity *identity)
{
    struct reading reading = {.restore = restore, .identity = identity};
    enum trib_err err = trib_store_verify(store);
    if (err)
        return fail(restore, err, "store.db fails its integrity check");
    err = trib_store_versions(store, 0, INT64_MAX, read_back, &reading);
    return err ? err : reading.err;
}

// The log goes on from the head that the list names.
static enum trib_err check_audit(struct trib_restore *restore, struct trib_store *store,
                                 const struct trib_identity *identity)
{
    struct trib_audit_check check;
    trib_keys_audit_check(identity, &check);
    check.known = restore->backup.audit_number;
    memcpy(check.known_hash, restore->backup.audit_hash, TRIB_DIGEST_SIZE);
    enum trib_err err = trib_store_audit_check(store, &check);
    if (!err && check.is_broken && restore->backup.audit_number > 0)
        return fail(restore, TRIB_ERR_CORRUPT, "store.db: the audit log is not whole: %s",
                    check.what);
    return err;
}

static enum trib_err settle_store(struct trib_restore *restore,
                                  const struct trib_identity *identity)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_store *store = NULL;
    struct trib_audit_signer signer;
    struct newest newest = {.restore = restore, .identity = identity};
    trib_keys_audit_signer(identity, &signer);
    enum trib_err err = trib_path_join(path, restore->to, "store.db");
    if (!err)
        err = trib_store_open(path, &store);
    if (!err) {
        trib_store_audit_signer(store, &signer);
        err = renew(restore, store, &newest);
    }
    if (!err)
        err = check_audit(restore, store, identity);
    if (!err && restore->verify)
        err = verify(restore, store, identity);
    if (err && !restore->why[0])
        (void)fail(restore, err, "%s: %s", path, trib_err_text(err));
    trib_version_destroy(newest.version);
    trib_store_close(store);
    trib_wipe(&signer, sizeof(signer));
    return err;
}

// A coordinator does not start without the files that its configuration names: of those that no
// backup has the operator hears now.
static enum trib_err name_missing(const struct trib_restore *restore)
{
    static const char *const names[][2] = {{"http", "token_file"}, {"enrol", "allow_list"}};
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < 2 && !err; i++) {
        char value[TRIB_PATH_MAX + 1];
        char path[TRIB_PATH_MAX + 1];
        err = find_named(restore->to, names[i][0], names[i][1], value);
        if (!err && value[0] != '/')
            err = trib_path_join(path, restore->to, value);
        const char *wanted = value[0] == '/' ? value : path;
        if (!err && value[0] && !trib_file_exists(wanted))
            TRIB_WARN("id=restore-wants-file %s is not there, and %s.%s of tributary.ini names it: "
                      "put it there, or the coordinator does not start",
                      wanted, names[i][0], names[i][1]);
    }
    return err;
}

enum trib_err trib_restore_run(struct trib_restore *restore)
{
    struct trib_identity identity;
    enum trib_err err = check_there(restore);
    if (!err)
        err = load_keys(restore, &identity);
    if (err)
        return err;
    err = read_list(restore, &identity);
    if (!err)
        err = check_generation(restore);
    if (!err)
        err = check_files(restore);
    if (!err)
        err = find_token(restore);
    if (!err)
        err = copy_files(restore);
    if (!err)
        err = settle_store(restore, &identity);
    if (!err)
        err = copy_keys(restore, &identity);
    if (!err)
        err = name_missing(restore);
    trib_identity_wipe(&identity);
    if (err && !restore->why[0])
        (void)fail(restore, err, "%s: %s", restore->to, trib_err_text(err));
    return err;
}

void trib_restore_fini(struct trib_restore *restore)
{
    trib_backup_fini(&restore->backup);
}
