// A hub as bytes, so that a coordinator that was killed goes on with the same survivors:
//
//     "TSA1"  round_hash  |U1| (4)
//     of each of U1: name's size (1), name, sign key, roster signature, advert, tag (4)
//     U2, U3, who signed, who sent shares: sets
//     the signatures, the shares, in ascending order of members
//     BLAKE2b of all that
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/wipe.h"
#include "common/privacy/secagg_hub.h"

static const uint8_t magic[4] = {'T', 'S', 'A', '1'};

static void put_u32(struct trib_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    trib_store_le32(bytes, value);
    trib_buf_append(buf, bytes, sizeof(bytes));
}

static void put_seat(struct trib_buf *buf, const struct trib_secagg_seat *seat)
{
    const struct trib_secagg_entry *entry = &seat->entry;
    const struct trib_secagg_advert *advert = &entry->advert;
    uint8_t size = (uint8_t)strlen(entry->name);

    trib_buf_append(buf, &size, 1);
    trib_buf_append(buf, entry->name, size);
    trib_buf_append(buf, entry->sign_key, sizeof(entry->sign_key));
    trib_buf_append(buf, entry->roster_signature, sizeof(entry->roster_signature));
    trib_buf_append(buf, advert->mask_key, sizeof(advert->mask_key));
    trib_buf_append(buf, advert->share_key, sizeof(advert->share_key));
    trib_buf_append(buf, advert->commitment, sizeof(advert->commitment));
    trib_buf_append(buf, advert->signature, sizeof(advert->signature));
    put_u32(buf, seat->tag);
}

// Who sent shares, as a set.
static void put_replied(struct trib_buf *buf, const struct trib_secagg_hub *hub)
{
    size_t size = trib_secagg_set_size(hub->count);
    uint8_t *set = trib_buf_extend(buf, size);
    if (!set)
        return;
    memset(set, 0, size);
    for (uint32_t i = 0; i < hub->count; i++) {
        if (hub->seats[i].reply)
            trib_secagg_set_add(set, i);
    }
}

void trib_secagg_hub_pack(const struct trib_secagg_hub *hub, struct trib_buf *buf)
{
    assert(hub->phase >= TRIB_SECAGG_PHASE_UNMASK);
    uint8_t digest[TRIB_DIGEST_SIZE];
    size_t begin = buf->size;
    size_t set_size = trib_secagg_set_size(hub->count);

    trib_buf_append(buf, magic, sizeof(magic));
    trib_buf_append(buf, hub->round_hash, sizeof(hub->round_hash));
    put_u32(buf, hub->count);
    for (uint32_t i = 0; i < hub->count; i++)
        put_seat(buf, &hub->seats[i]);
    trib_buf_append(buf, hub->shared_set, set_size);
    trib_buf_append(buf, hub->survivor_set, set_size);
    trib_buf_append(buf, hub->signer_set, set_size);
    put_replied(buf, hub);
    trib_secagg_hub_signatures(hub, buf);
    for (uint32_t i = 0; i < hub->count; i++) {
        if (hub->seats[i].reply)
            trib_buf_append(buf, hub->seats[i].reply, trib_secagg_hub_reply_size(hub, i));
    }
    if (buf->failed)
        return;
    trib_digest(buf->data + begin, buf->size - begin, digest);
    trib_buf_append(buf, digest, sizeof(digest));
}

// ---- And back

struct reader {
    const uint8_t *at;
    size_t left;
};

// The next `size` bytes, NULL if there are not that many.
static const uint8_t *take(struct reader *reader, size_t size)
{
    const uint8_t *at = reader->at;
    if (size > reader->left)
        return NULL;
    reader->at += size;
    reader->left -= size;
    return at;
}

static bool copy(struct reader *reader, void *ret_bytes, size_t size)
{
    const uint8_t *at = take(reader, size);
    if (at)
        memcpy(ret_bytes, at, size);
    return at != NULL;
}

static bool read_u32(struct reader *reader, uint32_t *ret_value)
{
    const uint8_t *at = take(reader, 4);
    if (at)
        *ret_value = trib_load_le32(at);
    return at != NULL;
}

static bool read_seat(struct reader *reader, struct trib_secagg_seat *seat)
{
    struct trib_secagg_entry *entry = &seat->entry;
    struct trib_secagg_advert *advert = &entry->advert;
    uint8_t size;

    if (!copy(reader, &size, 1) || size == 0 || size > TRIB_NAME_MAX ||
        !copy(reader, entry->name, size))
        return false;
    return strlen(entry->name) == size && copy(reader, entry->sign_key, sizeof(entry->sign_key)) &&
           copy(reader, entry->roster_signature, sizeof(entry->roster_signature)) &&
           copy(reader, advert->mask_key, sizeof(advert->mask_key)) &&
           copy(reader, advert->share_key, sizeof(advert->share_key)) &&
           copy(reader, advert->commitment, sizeof(advert->commitment)) &&
           copy(reader, advert->signature, sizeof(advert->signature)) &&
           read_u32(reader, &seat->tag);
}

static bool read_set(struct reader *reader, uint8_t *set, const uint8_t *within, uint32_t members)
{
    size_t size = trib_secagg_set_size(members);
    return copy(reader, set, size) && trib_secagg_set_is_valid(set, size, members) &&
           (!within || trib_secagg_set_is_within(set, within, members));
}

// U1, in order.
static bool read_members(struct reader *reader, struct trib_secagg_hub *hub)
{
    const struct trib_secagg_plan *plan = &hub->header.plan;
    const uint8_t *start = take(reader, sizeof(magic));
    const uint8_t *round_hash = take(reader, TRIB_DIGEST_SIZE);
    uint32_t count;

    if (!start || memcmp(start, magic, sizeof(magic)) != 0 || !round_hash ||
        memcmp(round_hash, hub->round_hash, TRIB_DIGEST_SIZE) != 0)
        return false;
    if (!read_u32(reader, &count) || count < plan->threshold || count > plan->members ||
        count < trib_secagg_share_threshold(plan))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_seat(reader, &hub->seats[i]))
            return false;
        if (i > 0 && strcmp(hub->seats[i - 1].entry.name, hub->seats[i].entry.name) >= 0)
            return false;
    }
    hub->count = count;
    return true;
}

static enum trib_err read_answers(struct reader *reader, struct trib_secagg_hub *hub)
{
    enum trib_err err = TRIB_ERR_CORRUPT;
    size_t set_size = trib_secagg_set_size(hub->count);
    uint8_t *replied = trib_alloc(set_size);
    if (!replied)
        return TRIB_ERR_NOMEM;

    if (!read_set(reader, hub->shared_set, NULL, hub->count) ||
        !read_set(reader, hub->survivor_set, hub->shared_set, hub->count) ||
        !read_set(reader, hub->signer_set, hub->survivor_set, hub->count) ||
        !read_set(reader, replied, hub->survivor_set, hub->count) ||
        trib_secagg_set_count(hub->survivor_set, hub->count) < hub->header.plan.threshold)
        goto out;
    trib_secagg_hub_seal(hub);
    for (uint32_t i = 0; i < hub->count; i++) {
        if (trib_secagg_has(hub->signer_set, i) &&
            !copy(reader, hub->seats[i].consent, sizeof(hub->seats[i].consent)))
            goto out;
    }
    for (uint32_t i = 0; i < hub->count; i++) {
        if (!trib_secagg_has(replied, i))
            continue;
        size_t size = trib_secagg_hub_reply_size(hub, i);
        const uint8_t *shares = take(reader, size);
        if (!shares)
            goto out;
        err = trib_secagg_hub_unmask(hub, i, shares, size);
        if (err)
            goto out;
        err = TRIB_ERR_CORRUPT;
    }
    err = reader->left == 0 ? TRIB_OK : TRIB_ERR_CORRUPT;
out:
    free(replied);
    return err;
}

enum trib_err trib_secagg_hub_unpack(const uint8_t *data, size_t size,
                                     const struct trib_secagg_header *header,
                                     const char *population, struct trib_secagg_hub **ret_hub)
{
    struct trib_secagg_hub *hub = NULL;
    uint8_t digest[TRIB_DIGEST_SIZE];

    if (size < sizeof(digest))
        return TRIB_ERR_CORRUPT;
    struct reader reader = {.at = data, .left = size - sizeof(digest)};
    trib_digest(data, reader.left, digest);
    if (!trib_equal_ct(digest, data + reader.left, sizeof(digest)))
        return TRIB_ERR_CORRUPT;
    enum trib_err err = trib_secagg_hub_create(header, population, &hub);
    if (err)
        return err;
    err = TRIB_ERR_CORRUPT;
    if (!read_members(&reader, hub))
        goto out;
    err = trib_secagg_hub_settle(hub);
    if (err)
        goto out;
    err = read_answers(&reader, hub);
out:
    if (err)
        trib_secagg_hub_destroy(hub);
    else
        *ret_hub = hub;
    return err;
}
