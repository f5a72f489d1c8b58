// tributaryctl models ...
#include "coordinator/server_command.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/math/safetensors.h"

enum {
    EXPORT_STEP = 4 << 20, // bytes of a model file in one answer
};

static void put_version(struct trib_admin_reply *reply, const struct trib_store_version *v)
{
    char hex[TRIB_DIGEST_TEXT_SIZE];
    char when[TRIB_CLOCK_TEXT_SIZE];
    trib_hex_encode(v->digest, TRIB_DIGEST_SIZE, hex);
    trib_clock_text(v->created_ms, when);
    (void)trib_admin_row_add(reply);
    trib_admin_number(reply, "version", v->version);
    trib_admin_number(reply, "generation", v->generation);
    trib_admin_number(reply, "parent", v->parent);
    trib_admin_text(reply, "kind", v->kind);
    trib_admin_number(reply, "job", v->job);
    trib_admin_number(reply, "round", v->round_number);
    if (v->has_value)
        trib_admin_real(reply, "value", v->value);
    else
        trib_admin_text(reply, "value", NULL);
    trib_admin_text(reply, "created", when);
    trib_admin_flag(reply, "kept", !v->is_dropped);
    trib_admin_text(reply, "model_digest", hex);
}

static void put_model(void *user, const struct trib_store_version *v)
{
    put_version(&((struct trib_query *)user)->reply, v);
}

static enum trib_err ask_models(struct trib_query *q, struct trib_store *store)
{
    return trib_store_versions_of(store, q->c, q->a, q->b, put_model, q);
}

void trib_cmd_models_ls(struct trib_admin_call *call)
{
    struct trib_query *q = trib_query_create(call, ask_models);
    if (!q)
        return;
    q->a = trib_command_number(call, "--after", 0);
    q->b = trib_command_limit(call);
    q->c = trib_command_number(call, "--job", 0);
    trib_query_submit(q);
}

// What its signed manifest says that it was made from.
static void put_parent(struct trib_admin_reply *reply, const struct trib_store_version *v)
{
    static const uint8_t none[TRIB_DIGEST_SIZE];
    struct trib_msg_manifest manifest;
    char hex[TRIB_DIGEST_TEXT_SIZE];
    bool is_known = !trib_msg_manifest_unpack(v->manifest, v->manifest_size, &manifest) &&
                    memcmp(manifest.parent_digest, none, sizeof(none)) != 0;
    if (is_known)
        trib_hex_encode(manifest.parent_digest, TRIB_DIGEST_SIZE, hex);
    trib_admin_text(reply, "parent_digest", is_known ? hex : NULL);
}

static void put_model_whole(void *user, const struct trib_store_version *v)
{
    struct trib_query *q = user;
    if (v->version != q->a + 1)
        return;
    q->found = true;
    memcpy(q->digest, v->digest, sizeof(q->digest));
    put_version(&q->reply, v);
    put_parent(&q->reply, v);
    trib_admin_text(&q->reply, "spec", v->spec);
    trib_admin_number(&q->reply, "params", v->params);
    trib_admin_json(&q->reply, "metrics", v->metrics && *v->metrics ? v->metrics : NULL);
}

static enum trib_err ask_model(struct trib_query *q, struct trib_store *store)
{
    enum trib_err err = trib_store_versions(store, q->a, 1, put_model_whole, q);
    if (!err && !q->found)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, "no version %" PRIu64, q->a + 1);
    return err;
}

// ---- The file of a version: its own header, and the parameters, which it may share with another

struct model_file {
    struct trib_query *query;
    struct trib_buf header;
    char path[TRIB_PATH_MAX + 1];
    uint64_t params_at; // in the file at `path`
    uint64_t size;      // of all
    bool is_dropped;
    enum trib_err err;
};

static void take_model_file(void *user, const struct trib_store_version *v)
{
    struct model_file *file = user;
    put_model_whole(file->query, v);
    file->is_dropped = v->is_dropped;
    if (file->query->found)
        file->err = trib_version_header(v->manifest, v->manifest_size, v->signature, &file->header);
    file->size = file->header.size + v->params * sizeof(float);
}

static enum trib_err open_model_file(struct model_file *file)
{
    uint8_t first[TRIB_SAFETENSORS_LENGTH_SIZE];
    enum trib_err err = file->err;
    if (!err)
        err = trib_version_path(file->query->op.server->dir, file->query->digest, file->path);
    if (!err)
        err = trib_file_read_at(file->path, 0, first, sizeof(first));
    return err ? err : trib_safetensors_data_offset(first, &file->params_at);
}

static enum trib_err read_model_file(const struct model_file *file, uint64_t offset, size_t size,
                                     uint8_t *ret_bytes)
{
    size_t of_header = 0;
    if (offset < file->header.size) {
        const size_t left = file->header.size - (size_t)offset;
        of_header = left < size ? left : size;
        memcpy(ret_bytes, file->header.data + offset, of_header);
    }
    if (of_header == size)
        return TRIB_OK;
    const uint64_t at = file->params_at + (offset + of_header - file->header.size);
    return trib_file_read_at(file->path, at, ret_bytes + of_header, size - of_header);
}

// What is wrong with one file is the answer to a question, and no reason to stop: the store is whole.
static enum trib_err refuse_model_file(const struct model_file *file, enum trib_err err)
{
    struct trib_query *q = file->query;
    free(q->reply.body);
    q->reply.body = NULL;
    q->reply.body_size = 0;
    if (err == TRIB_ERR_NOMEM)
        return err;
    trib_admin_fail(&q->reply, TRIB_EXIT_DATA, "the file of version %" PRIu64 " cannot be read: %s",
                    q->a + 1, trib_err_text(err));
    return TRIB_OK;
}

// A piece of it, from offset b on.
static enum trib_err ask_model_bytes(struct trib_query *q, struct trib_store *store)
{
    struct model_file file = {.query = q};
    enum trib_err err = trib_store_versions(store, q->a, 1, take_model_file, &file);
    if (!err && !q->found)
        trib_admin_fail(&q->reply, TRIB_EXIT_USAGE, "no version %" PRIu64, q->a + 1);
    if (!err && q->found && file.is_dropped)
        trib_admin_fail(&q->reply, TRIB_EXIT_DATA,
                        "the file of version %" PRIu64
                        " was removed (store.keep_versions = %" PRIu64 ")",
                        q->a + 1, q->op.server->config.keep_versions);
    if (err || !q->found || file.is_dropped)
        goto out;
    err = open_model_file(&file);
    if (err) {
        err = refuse_model_file(&file, err);
        goto out;
    }
    uint64_t left = q->b < file.size ? file.size - q->b : 0;
    size_t step = left < EXPORT_STEP ? (size_t)left : EXPORT_STEP;
    trib_admin_number(&q->reply, "size", file.size);
    if (step == 0)
        goto out;
    q->reply.body = trib_alloc(step);
    if (!q->reply.body) {
        err = TRIB_ERR_NOMEM;
        goto out;
    }
    q->reply.body_size = step;
    err = read_model_file(&file, q->b, step, q->reply.body);
    if (err)
        err = refuse_model_file(&file, err);

out:
    trib_buf_fini(&file.header);
    return err;
}

static void model_query(struct trib_admin_call *call,
                        enum trib_err (*ask)(struct trib_query *, struct trib_store *))
{
    struct trib_server *server = trib_admin_server(call);
    const char *word = trib_command_word(call, 2);
    uint64_t version = server->head ? server->head->manifest.version : 0;
    if (strcmp(word, "latest") != 0 && !trib_command_parse(word, &version))
        version = 0;
    if (version == 0) {
        trib_command_fail(call, TRIB_EXIT_USAGE,
                          strcmp(word, "latest") == 0
                              ? "there is no version yet"
                              : "want the number of a version, or latest (models ls)");
        return;
    }
    struct trib_query *q = trib_query_create(call, ask);
    if (!q)
        return;
    q->a = version - 1;
    q->b = trib_command_number(call, "--offset", 0);
    trib_query_submit(q);
}

void trib_cmd_models_show(struct trib_admin_call *call)
{
    model_query(call, ask_model);
}

void trib_cmd_models_export(struct trib_admin_call *call)
{
    model_query(call, ask_model_bytes);
}
