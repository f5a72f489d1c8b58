#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/limits.h"
#include "common/wire/admin.h"
#include "tributary.pb-c.h"

// Append `message` behind its length.
static void pack_framed(struct trib_buf *buf, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *room = trib_buf_extend(buf, TRIB_ADMIN_LENGTH_SIZE + size);
    if (!room)
        return;
    trib_store_be32(room, (uint32_t)size);
    (void)protobuf_c_message_pack(message, room + TRIB_ADMIN_LENGTH_SIZE);
}

static char *borrow(const char *text)
{
    union { // protobuf-c declares borrowed texts without const; packing only reads them
        const char *borrowed;
        char *plain;
    } pointer = {.borrowed = text ? text : ""};
    return pointer.plain;
}

void trib_admin_request_pack(const struct trib_admin_request *request, struct trib_buf *buf)
{
    Tributary__V1__AdminRequest out;
    char *words[TRIB_ADMIN_WORDS_MAX];
    union {
        const uint8_t *borrowed;
        uint8_t *plain;
    } body = {.borrowed = request->body};

    tributary__v1__admin_request__init(&out);
    for (size_t i = 0; i < request->word_count; i++)
        words[i] = borrow(request->words[i]);
    out.n_words = request->word_count;
    out.words = words;
    out.body_name = borrow(request->body_name);
    out.body_dir = borrow(request->body_dir);
    out.body = (ProtobufCBinaryData){.len = request->body_size, .data = body.plain};
    pack_framed(buf, &out.base);
}

enum trib_err trib_admin_request_unpack(const uint8_t *data, size_t size,
                                        struct trib_admin_request *ret_request)
{
    if (size > TRIB_ADMIN_REQUEST_MAX)
        return TRIB_ERR_PROTO;
    Tributary__V1__AdminRequest *in = tributary__v1__admin_request__unpack(NULL, size, data);
    if (!in || in->n_words == 0 || in->n_words > TRIB_ADMIN_WORDS_MAX) {
        tributary__v1__admin_request__free_unpacked(in, NULL);
        return TRIB_ERR_PROTO;
    }
    *ret_request = (struct trib_admin_request){
        .word_count = in->n_words,
        .body_name = in->body_name,
        .body_dir = in->body_dir,
        .body = in->body.data,
        .body_size = in->body.len,
        .memory = in,
    };
    for (size_t i = 0; i < in->n_words; i++)
        ret_request->words[i] = in->words[i];
    return TRIB_OK;
}

void trib_admin_request_fini(struct trib_admin_request *request)
{
    if (request->memory)
        tributary__v1__admin_request__free_unpacked(request->memory, NULL);
    *request = (struct trib_admin_request){0};
}

static void fill_field(Tributary__V1__AdminField *out, const struct trib_admin_field *field)
{
    tributary__v1__admin_field__init(out);
    out->name = field->name;
    switch (field->kind) {
    case TRIB_ADMIN_NULL: break;
    case TRIB_ADMIN_TEXT:
        out->value_case = TRIBUTARY__V1__ADMIN_FIELD__VALUE_TEXT;
        out->text = field->text;
        break;
    case TRIB_ADMIN_NUMBER:
        out->value_case = TRIBUTARY__V1__ADMIN_FIELD__VALUE_NUMBER;
        out->number = field->number;
        break;
    case TRIB_ADMIN_REAL:
        out->value_case = TRIBUTARY__V1__ADMIN_FIELD__VALUE_REAL;
        out->real = field->real;
        break;
    case TRIB_ADMIN_FLAG:
        out->value_case = TRIBUTARY__V1__ADMIN_FIELD__VALUE_FLAG;
        out->flag = field->flag;
        break;
    case TRIB_ADMIN_JSON:
        out->value_case = TRIBUTARY__V1__ADMIN_FIELD__VALUE_JSON;
        out->json = field->text;
        break;
    }
}

struct packed_row {
    Tributary__V1__AdminRow row;
    Tributary__V1__AdminField fields[TRIB_ADMIN_FIELDS_MAX];
    Tributary__V1__AdminField *list[TRIB_ADMIN_FIELDS_MAX];
};

void trib_admin_reply_pack(const struct trib_admin_reply *reply, struct trib_buf *buf)
{
    Tributary__V1__AdminReply out;
    struct packed_row *rows = NULL;
    Tributary__V1__AdminRow **list = NULL;

    tributary__v1__admin_reply__init(&out);
    out.exit_code = reply->exit_code;
    out.error = borrow(reply->error);
    out.body = (ProtobufCBinaryData){.len = reply->body_size, .data = reply->body};
    if (reply->row_count > 0) {
        rows = calloc(reply->row_count, sizeof(*rows));
        list = calloc(reply->row_count, sizeof(Tributary__V1__AdminRow *));
    }
    if (reply->row_count > 0 && (!rows || !list)) {
        buf->failed = true;
        goto out;
    }
    for (size_t i = 0; i < reply->row_count; i++) {
        const struct trib_admin_row *row = &reply->rows[i];
        tributary__v1__admin_row__init(&rows[i].row);
        for (size_t j = 0; j < row->count; j++) {
            fill_field(&rows[i].fields[j], &row->fields[j]);
            rows[i].list[j] = &rows[i].fields[j];
        }
        rows[i].row.n_fields = row->count;
        rows[i].row.fields = rows[i].list;
        list[i] = &rows[i].row;
    }
    out.n_rows = reply->row_count;
    out.rows = list;
    pack_framed(buf, &out.base);

out:
    free(list);
    free(rows);
}

static void take_field(struct trib_admin_reply *reply, const Tributary__V1__AdminField *in)
{
    switch (in->value_case) {
    case TRIBUTARY__V1__ADMIN_FIELD__VALUE_TEXT: trib_admin_text(reply, in->name, in->text); return;
    case TRIBUTARY__V1__ADMIN_FIELD__VALUE_NUMBER:
        trib_admin_number(reply, in->name, in->number);
        return;
    case TRIBUTARY__V1__ADMIN_FIELD__VALUE_REAL: trib_admin_real(reply, in->name, in->real); return;
    case TRIBUTARY__V1__ADMIN_FIELD__VALUE_FLAG: trib_admin_flag(reply, in->name, in->flag); return;
    case TRIBUTARY__V1__ADMIN_FIELD__VALUE_JSON: trib_admin_json(reply, in->name, in->json); return;
    case TRIBUTARY__V1__ADMIN_FIELD__VALUE__NOT_SET:
    case _TRIBUTARY__V1__ADMIN_FIELD__VALUE__CASE_IS_INT_SIZE: break;
    }
    trib_admin_text(reply, in->name, NULL);
}

enum trib_err trib_admin_reply_unpack(const uint8_t *data, size_t size,
                                      struct trib_admin_reply *ret_reply)
{
    if (size > TRIB_ADMIN_REPLY_MAX)
        return TRIB_ERR_PROTO;
    Tributary__V1__AdminReply *in = tributary__v1__admin_reply__unpack(NULL, size, data);
    if (!in)
        return TRIB_ERR_PROTO;

    bool fits = in->n_rows <= TRIB_ADMIN_ROWS_MAX;
    for (size_t i = 0; fits && i < in->n_rows; i++)
        fits = in->rows[i]->n_fields <= TRIB_ADMIN_FIELDS_MAX;
    if (!fits) {
        tributary__v1__admin_reply__free_unpacked(in, NULL);
        return TRIB_ERR_PROTO;
    }
    struct trib_admin_reply reply = {0};
    for (size_t i = 0; i < in->n_rows; i++) {
        (void)trib_admin_row_add(&reply);
        for (size_t j = 0; j < in->rows[i]->n_fields; j++)
            take_field(&reply, in->rows[i]->fields[j]);
    }
    if (in->exit_code)
        trib_admin_fail(&reply, in->exit_code, "%s", in->error);
    if (in->body.len > 0) { // the bytes move to the reply
        reply.body = in->body.data;
        reply.body_size = in->body.len;
        in->body = (ProtobufCBinaryData){.len = 0, .data = NULL};
    }
    tributary__v1__admin_reply__free_unpacked(in, NULL);
    if (reply.failed) {
        trib_admin_reply_fini(&reply);
        return TRIB_ERR_NOMEM;
    }
    *ret_reply = reply;
    return TRIB_OK;
}
