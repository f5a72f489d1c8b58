// tributaryctl backup: a copy of the state while it changes.
//
// The store, and what the job's strategy remembers, are copied by the commit thread, which so cannot change
// them meanwhile. Model files never
// change, and none goes away while a backup runs (server_old.c): workers copy those that the copied store
// names, one after another, between their other work. The list is written last and signed: a backup
// that was cut short has none.
#include "coordinator/server_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/copy.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "coordinator/backup.h"
#include "coordinator/keys.h"
#include "coordinator/moments.h"

#define TRIB_LOG_MODULE "backup"

// Copied by the commit thread, and once more, with their digests, to where they belong.
#define STORE_COPY   "store.tmp"
#define MOMENTS_COPY "moments.tmp"

struct backup_op {
    struct trib_server_op op; // first
    struct trib_work work;
    struct trib_server_event event;
    struct trib_admin_call *call;
    char dir[TRIB_PATH_MAX + 1];
    struct trib_backup backup;
    struct trib_map *seen; // digests, while versions are listed
    size_t next;           // file to copy
    uint64_t bytes;
    enum trib_err err; // what stopped it: never a reason to stop the coordinator
};

// ---- The commit thread: the store, and the names of what belongs to it

static void take_version(void *user, const struct trib_store_version *v)
{
    struct backup_op *op = user;
    char hex[TRIB_DIGEST_TEXT_SIZE];
    char name[TRIB_DIGEST_TEXT_SIZE + 32];
    op->backup.generation = v->generation;
    op->backup.version = v->version;
    if (op->err || v->is_dropped || trib_map_get(op->seen, v->digest, TRIB_DIGEST_SIZE))
        return; // two versions of the same parameters have one file
    trib_hex_encode(v->digest, TRIB_DIGEST_SIZE, hex);
    (void)snprintf(name, sizeof(name), "models/%s.safetensors", hex);
    op->err = trib_map_put(op->seen, v->digest, TRIB_DIGEST_SIZE, op);
    if (!op->err)
        op->err = trib_backup_add(&op->backup, name);
}

static bool lies_in(const char *dir, const char *path)
{
    char folder[TRIB_PATH_MAX + 1];
    struct stat one;
    struct stat other;
    return !trib_path_dir(folder, path) && stat(dir, &one) == 0 && stat(folder, &other) == 0 &&
           one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

// A file that the configuration names, when it lies in the directory: the coordinator does not
// start without it.
static enum trib_err add_named(struct backup_op *op, const char *path)
{
    if (!path[0] || !lies_in(op->op.server->dir, path))
        return TRIB_OK;
    enum trib_err err = trib_backup_add(&op->backup, trib_path_base(path));
    if (err != TRIB_ERR_INVAL)
        return err;
    TRIB_WARN("id=backup-left-out %s: no name for a backup; keep it elsewhere", path);
    return TRIB_OK;
}

// How it came to its keys, and those it answers to still.
static enum trib_err add_changed_keys(struct backup_op *op)
{
    const struct trib_identity *identity = &op->op.server->identity;
    char name[TRIB_KEYS_NAME_SIZE];
    if (!op->backup.has_keys || identity->chain.count == 0)
        return TRIB_OK;
    enum trib_err err = trib_backup_add(&op->backup, TRIB_KEYS_CHAIN);
    for (uint32_t i = 0; i < identity->former_count && !err; i++) {
        if (trib_session_key_is_void(&op->op.server->former.keys[i]))
            continue;
        trib_keys_former_name(identity->former[i].id, name);
        err = trib_backup_add(&op->backup, name);
    }
    return err;
}

// What the strategy of the job remembers, if it does: its file goes when the next version is there.
static enum trib_err add_moments(struct backup_op *op)
{
    char name[64];
    char from[TRIB_PATH_MAX + 1];
    char to[TRIB_PATH_MAX + 1];
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t size;
    if (!trib_moments_exist(op->op.server->updates_dir, op->backup.version))
        return TRIB_OK;
    (void)snprintf(name, sizeof(name), "updates/%" PRIu64 ".moments", op->backup.version);
    enum trib_err err = trib_path_join(to, op->dir, "updates");
    if (!err)
        err = trib_dir_make(to, 0700);
    if (!err)
        err = trib_path_join(from, op->op.server->dir, name);
    if (!err)
        err = trib_path_join(to, op->dir, MOMENTS_COPY);
    if (!err)
        err = trib_file_copy(from, to, 0600, &size, digest);
    return err ? err : trib_backup_add(&op->backup, name);
}

static enum trib_err list_files(struct backup_op *op)
{
    static const char *const fixed[] = {"store.db", "tributary.ini", "coordinator.pub",
                                        "coordinator.key", "roster.key"};
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < (op->backup.has_keys ? 5 : 3) && !err; i++)
        err = trib_backup_add(&op->backup, fixed[i]);
    if (!err)
        err = add_changed_keys(op);
    if (!err)
        err = add_named(op, op->op.server->config.allow_list);
    if (!err && op->backup.has_keys)
        err = add_named(op, op->op.server->config.http.token_file);
    if (!err)
        err = trib_map_create(&op->seen);
    if (!err)
        err = trib_store_versions(op->op.server->store, 0, INT64_MAX, take_version, op);
    trib_map_destroy(op->seen);
    if (!err)
        err = op->err;
    return err ? err : add_moments(op);
}

static enum trib_err copy_store(struct backup_op *op)
{
    struct trib_store *store = op->op.server->store;
    char path[TRIB_PATH_MAX + 1];
    struct trib_audit_check check;
    enum trib_err err = trib_dir_make_empty(op->dir, 0700);
    if (!err)
        err = trib_path_join(path, op->dir, "models");
    if (!err)
        err = trib_dir_make(path, 0700);
    if (!err)
        err = trib_path_join(path, op->dir, STORE_COPY);
    if (!err)
        err = trib_store_copy(store, path);
    if (!err)
        err = list_files(op);
    trib_keys_audit_check(&op->op.server->identity, &check);
    if (!err)
        err = trib_store_audit_check(store, &check);
    if (!err && check.is_broken)
        TRIB_WARN("id=audit-broken %s; the backup has it as it is", check.what);
    op->backup.audit_number = check.is_broken ? 0 : check.records;
    memcpy(op->backup.audit_hash, check.hash, TRIB_DIGEST_SIZE);
    return err;
}

static enum trib_err backup_prepare(struct trib_commit_op *commit_op)
{
    struct backup_op *op = (struct backup_op *)commit_op;
    op->err = copy_store(op);
    return TRIB_OK;
}

// ---- Workers: one file, then whatever else waits

// What it was copied to before, since it changes; NULL: it does not.
static const char *copy_of(const char *name)
{
    if (strcmp(name, "store.db") == 0)
        return STORE_COPY;
    return strncmp(name, "updates/", 8) == 0 ? MOMENTS_COPY : NULL;
}

static enum trib_err copy_file(struct backup_op *op, struct trib_backup_file *file)
{
    char from[TRIB_PATH_MAX + 1];
    char to[TRIB_PATH_MAX + 1];
    const char *copy = copy_of(file->name);
    enum trib_err err =
        trib_path_join(from, copy ? op->dir : op->op.server->dir, copy ? copy : file->name);
    if (!err)
        err = trib_path_join(to, op->dir, file->name);
    if (!err)
        err = trib_file_copy(from, to, 0600, &file->size, file->digest);
    if (!err && copy)
        err = trib_file_remove(from);
    op->bytes += file->size;
    return err;
}

static enum trib_err write_list(struct backup_op *op)
{
    static const char *const folders[] = {"models", "updates"};
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf list = {0};
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < 2 && !err; i++) {
        err = trib_path_join(path, op->dir, folders[i]);
        if (!err && trib_file_exists(path))
            err = trib_dir_sync(path);
    }
    trib_backup_print(&op->backup, op->op.server->signer.seed, &list);
    if (!err)
        err = list.failed ? TRIB_ERR_NOMEM : trib_path_join(path, op->dir, TRIB_BACKUP_LIST);
    if (!err)
        err = trib_file_write(path, list.data, list.size, 0600); // syncs the directory
    trib_buf_fini(&list);
    return err;
}

static void work(struct trib_work *step)
{
    struct backup_op *op =
        (struct backup_op *)(void *)((char *)step - offsetof(struct backup_op, work));
    if (!op->err && op->next < op->backup.count) {
        op->err = copy_file(op, &op->backup.files[op->next++]);
        trib_pool_submit(op->op.server->pool, &op->work);
        return;
    }
    if (!op->err)
        op->err = write_list(op);
    trib_server_post(op->op.server, &op->event);
}

// ---- The state thread

static void answer(struct backup_op *op)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    char text[TRIB_DIGEST_TEXT_SIZE + 32];
    char hash[TRIB_DIGEST_TEXT_SIZE];
    if (op->err == TRIB_ERR_STATE) {
        trib_admin_fail(&reply, TRIB_EXIT_USAGE,
                        "%s: is not empty: a backup wants a directory of "
                        "its own",
                        op->dir);
    } else if (op->err) {
        trib_admin_fail(&reply, TRIB_EXIT_INTERNAL,
                        "%s: the backup was not finished (%s); the "
                        "coordinator's log says why",
                        op->dir, trib_err_text(op->err));
    } else {
        (void)trib_admin_row_add(&reply);
        trib_admin_text(&reply, "backup", op->dir);
        trib_admin_number(&reply, "files", op->backup.count);
        trib_admin_number(&reply, "bytes", op->bytes);
        (void)snprintf(text, sizeof(text), "%" PRIu64 ".%" PRIu64, op->backup.generation,
                       op->backup.version);
        trib_admin_text(&reply, "version", text);
        trib_hex_encode(op->backup.audit_hash, TRIB_DIGEST_SIZE, hash);
        (void)snprintf(text, sizeof(text), "%" PRIu64 ":%s", op->backup.audit_number, hash);
        trib_admin_text(&reply, "audit_head", text);
        trib_admin_flag(&reply, "keys", op->backup.has_keys);
        TRIB_INFO("backup=%s files=%zu bytes=%" PRIu64, op->dir, op->backup.count, op->bytes);
    }
    trib_admin_answer(op->call, &reply);
    trib_backup_fini(&op->backup);
    free(op);
}

static void work_is_back(struct trib_server *server, struct trib_server_event *event)
{
    server->ops_in_flight--;
    server->backups--;
    answer((struct backup_op *)(void *)((char *)event - offsetof(struct backup_op, event)));
}

static void backup_finish(struct trib_server *server, struct trib_server_op *server_op)
{
    struct backup_op *op = (struct backup_op *)server_op;
    if (op->err || op->op.op.result) {
        op->err = op->err ? op->err : op->op.op.result;
        server->backups--;
        answer(op);
        return;
    }
    op->work.run = work;
    op->event.handle = work_is_back;
    server->ops_in_flight++;
    trib_pool_submit(server->pool, &op->work);
}

void trib_cmd_backup(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    const char *path = trib_command_word(call, 1);
    char parent[TRIB_PATH_MAX + 1];
    char text[TRIB_PATH_MAX + 64];
    struct backup_op *op;
    if (path[0] != '/' || strlen(path) > TRIB_PATH_MAX - TRIB_BACKUP_NAME_MAX) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "want the path of a directory, from / on");
        return;
    }
    op = trib_alloc(sizeof(*op));
    if (!op) {
        trib_command_fail(call, TRIB_EXIT_INTERNAL, "out of memory");
        return;
    }
    (void)snprintf(op->dir, sizeof(op->dir), "%s", path);
    for (size_t size = strlen(op->dir); size > 1 && op->dir[size - 1] == '/'; size--)
        op->dir[size - 1] = '\0';
    if (trib_path_dir(parent, op->dir) || !trib_file_exists(parent)) {
        (void)snprintf(text, sizeof(text), "%s: there is no such directory to make it in", parent);
        trib_command_fail(call, TRIB_EXIT_USAGE, text);
        free(op);
        return;
    }
    op->call = call;
    op->backup.made_ms = trib_clock_wall_ms();
    op->backup.generation = server->generation;
    op->backup.has_keys = !trib_command_has(call, "--no-keys");
    op->op.op.prepare = backup_prepare;
    op->op.finish = backup_finish;
    server->backups++;
    trib_server_submit(server, &op->op);
}
