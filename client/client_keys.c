// The coordinator has other keys: follow to them, and pin them before anything rests on them.
#include <inttypes.h>
#include <string.h>

#include "client/client_state.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/wire/key_chain.h"

#define TRIB_LOG_MODULE "keys"

enum {
    SILENT = 3 // sessions in a row that were hung up on before a word
};

// What is installed was signed by the key that is about to be a former one, or by one before it.
static void keep_model_key(const struct trib_client *client, struct trib_state_enrolment *next)
{
    const struct trib_state_enrolment *now = &client->enrolment;
    next->has_model_key = client->slot.manifest.version > 0;
    if (!client->slot.is_former)
        memcpy(next->model_key, now->release_key, sizeof(next->model_key));
}

static bool is_same(const uint8_t a[static 32], const uint8_t b[static 32])
{
    return memcmp(a, b, 32) == 0;
}

// Durable first: from then on the device knows nobody by the old keys.
static enum trib_code pin(struct trib_client *client, const struct trib_key_pins *pins)
{
    const bool has_other_release = !is_same(pins->release_key, client->enrolment.release_key);
    struct trib_state_enrolment next = client->enrolment;
    next.key_sequence = pins->sequence;
    memcpy(next.release_key, pins->release_key, sizeof(next.release_key));
    memcpy(next.coordinator_key, pins->coordinator_key, sizeof(next.coordinator_key));
    if (has_other_release)
        keep_model_key(client, &next);
    TRIB_CRASH_POINT("keys.followed");
    if (trib_state_enrolment_save(client->dir, &next)) {
        TRIB_WARN("the coordinator's other keys cannot be written down; the old ones stay pinned");
        return TRIB_CODE_RETRY_LATER;
    }
    TRIB_CRASH_POINT("keys.pinned");
    client->enrolment = next;
    if (has_other_release) {
        client->slot.is_former = next.has_model_key;
        trib_client_fetch_drop(client); // signed by the old one; it is announced anew
    }
    return TRIB_CODE_ACCEPTED;
}

bool trib_client_take_keys(struct trib_client *client, const struct trib_record *record)
{
    struct trib_msg_keys keys;
    struct trib_buf packed = {0};
    struct trib_key_pins pins = {.sequence = client->enrolment.key_sequence};
    struct trib_msg_keys_reply reply = {.code = TRIB_CODE_ACCEPTED};
    if (trib_msg_keys_unpack(record->payload, record->payload_size, &keys))
        return false;
    memcpy(pins.release_key, client->enrolment.release_key, sizeof(pins.release_key));
    memcpy(pins.coordinator_key, client->enrolment.coordinator_key, sizeof(pins.coordinator_key));
    for (uint32_t i = 0; i < keys.count && reply.code == TRIB_CODE_ACCEPTED; i++)
        reply.code = trib_key_link_follow(&pins, &keys.links[i], NULL);
    if (reply.code != TRIB_CODE_ACCEPTED)
        TRIB_ERROR("id=keys-refused code=%s: a statement of other keys is not good for a device "
                   "that pins those of statement %" PRIu64 "; they stay pinned",
                   trib_code_text(reply.code), pins.sequence);
    if (pins.sequence > client->enrolment.key_sequence) { // as far as it was good
        const enum trib_code code = pin(client, &pins);
        reply.code = code == TRIB_CODE_ACCEPTED ? reply.code : code;
        if (code == TRIB_CODE_ACCEPTED)
            TRIB_WARN("id=keys-pinned the coordinator has other keys, those of statement %" PRIu64
                      ": they are pinned, and the old ones are refused",
                      pins.sequence);
    }
    reply.sequence = client->enrolment.key_sequence;
    trib_msg_keys_reply_pack(&reply, &packed);
    trib_client_send(client, TRIB_RECORD_KEYS_REPLY, 0, &packed);
    return true;
}

void trib_client_note_silence(struct trib_client *client, bool was_up,
                              enum trib_close_reason reason)
{
    if (was_up || reason != TRIB_CLOSE_PEER) {
        client->silences = 0;
        return;
    }
    if (++client->silences == SILENT)
        TRIB_ERROR(
            "id=coordinator-silent code=AUTH url=%s hangs up on this device: it was revoked, "
            "or the coordinator does not answer to the key that is pinned here, of "
            "statement %" PRIu64 ". If that key was retired while this device was away, "
            "enrol it anew with a token, into an empty directory",
            client->url, client->enrolment.key_sequence);
}
