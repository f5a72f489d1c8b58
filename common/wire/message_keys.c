// The messages about a coordinator's keys (key_chain.h).
#include "common/wire/message_fields.h"

void trib_msg_key_statement_pack(const struct trib_msg_key_statement *msg, struct trib_buf *buf)
{
    Tributary__V1__KeyStatement out;
    tributary__v1__key_statement__init(&out);
    out.sequence = msg->sequence;
    out.old_release_key = trib_field_bytes(msg->old_release_key, sizeof(msg->old_release_key));
    out.old_coordinator_key =
        trib_field_bytes(msg->old_coordinator_key, sizeof(msg->old_coordinator_key));
    out.release_key = trib_field_bytes(msg->release_key, sizeof(msg->release_key));
    out.coordinator_key = trib_field_bytes(msg->coordinator_key, sizeof(msg->coordinator_key));
    out.made_ms = msg->made_ms;
    out.keep_until_ms = msg->keep_until_ms;
    trib_field_pack(buf, &out.base);
}

static bool take_statement(const Tributary__V1__KeyStatement *in,
                           struct trib_msg_key_statement *out)
{
    out->sequence = in->sequence;
    out->made_ms = in->made_ms;
    out->keep_until_ms = in->keep_until_ms;
    return in->sequence >= 1 &&
           trib_field_take_bytes(&in->old_release_key, out->old_release_key,
                                 sizeof(out->old_release_key)) &&
           trib_field_take_bytes(&in->old_coordinator_key, out->old_coordinator_key,
                                 sizeof(out->old_coordinator_key)) &&
           trib_field_take_bytes(&in->release_key, out->release_key, sizeof(out->release_key)) &&
           trib_field_take_bytes(&in->coordinator_key, out->coordinator_key,
                                 sizeof(out->coordinator_key)) &&
           (memcmp(out->release_key, out->old_release_key, sizeof(out->release_key)) != 0 ||
            memcmp(out->coordinator_key, out->old_coordinator_key, sizeof(out->coordinator_key)) !=
                0);
}

TRIB_DEFINE_UNPACK(key_statement, KeyStatement, key_statement, take_statement(in, out))

void trib_msg_keys_pack(const struct trib_msg_keys *msg, struct trib_buf *buf)
{
    Tributary__V1__Keys out;
    Tributary__V1__KeyLink links[TRIB_KEY_LINKS_MAX];
    Tributary__V1__KeyLink *list[TRIB_KEY_LINKS_MAX];
    tributary__v1__keys__init(&out);
    for (uint32_t i = 0; i < msg->count; i++) {
        const struct trib_msg_key_link *link = &msg->links[i];
        tributary__v1__key_link__init(&links[i]);
        links[i].statement = trib_field_bytes(link->statement, link->statement_size);
        links[i].signature = trib_field_bytes(link->signature, sizeof(link->signature));
        list[i] = &links[i];
    }
    out.n_links = msg->count;
    out.links = list;
    trib_field_pack(buf, &out.base);
}

static bool take_keys(const Tributary__V1__Keys *in, struct trib_msg_keys *out)
{
    if (in->n_links < 1 || in->n_links > TRIB_KEY_LINKS_MAX)
        return false;
    out->count = (uint32_t)in->n_links;
    for (uint32_t i = 0; i < out->count; i++) {
        const Tributary__V1__KeyLink *from = in->links[i];
        struct trib_msg_key_link *link = &out->links[i];
        link->statement_size = from->statement.len;
        if (link->statement_size < 1 || link->statement_size > sizeof(link->statement) ||
            !trib_field_take_bytes(&from->signature, link->signature, sizeof(link->signature)))
            return false;
        memcpy(link->statement, from->statement.data, link->statement_size);
    }
    return true;
}

TRIB_DEFINE_UNPACK(keys, Keys, keys, take_keys(in, out))

void trib_msg_keys_reply_pack(const struct trib_msg_keys_reply *msg, struct trib_buf *buf)
{
    Tributary__V1__KeysReply out;
    tributary__v1__keys_reply__init(&out);
    out.sequence = msg->sequence;
    out.code = msg->code;
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(keys_reply, KeysReply, keys_reply,
                   (out->sequence = in->sequence, trib_field_take_code(in->code, &out->code)))
