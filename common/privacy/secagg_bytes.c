#include "common/privacy/secagg_bytes.h"

#include <string.h>

void trib_secagg_advert_pack(const struct trib_secagg_advert *advert, struct trib_buf *buf)
{
    trib_buf_append(buf, advert->mask_key, sizeof(advert->mask_key));
    trib_buf_append(buf, advert->share_key, sizeof(advert->share_key));
    trib_buf_append(buf, advert->commitment, sizeof(advert->commitment));
    trib_buf_append(buf, advert->signature, sizeof(advert->signature));
}

static void take(const uint8_t **at, void *out, size_t size)
{
    memcpy(out, *at, size);
    *at += size;
}

enum trib_err trib_secagg_advert_unpack(const uint8_t *data, size_t size,
                                        struct trib_secagg_advert *ret_advert)
{
    if (size != TRIB_SECAGG_ADVERT_SIZE)
        return TRIB_ERR_DATA;
    take(&data, ret_advert->mask_key, sizeof(ret_advert->mask_key));
    take(&data, ret_advert->share_key, sizeof(ret_advert->share_key));
    take(&data, ret_advert->commitment, sizeof(ret_advert->commitment));
    take(&data, ret_advert->signature, sizeof(ret_advert->signature));
    return TRIB_OK;
}

void trib_secagg_entry_pack(const struct trib_secagg_entry *entry, struct trib_buf *buf)
{
    char name[sizeof(entry->name)] = {0};
    memcpy(name, entry->name, strlen(entry->name));
    trib_buf_append(buf, name, sizeof(name));
    trib_buf_append(buf, entry->sign_key, sizeof(entry->sign_key));
    trib_buf_append(buf, entry->roster_signature, sizeof(entry->roster_signature));
    trib_secagg_advert_pack(&entry->advert, buf);
}

static bool name_is_sound(const char name[static TRIB_NAME_MAX + 1])
{
    size_t length = strnlen(name, TRIB_NAME_MAX + 1);
    for (size_t i = length; i <= TRIB_NAME_MAX; i++) {
        if (name[i])
            return false;
    }
    return length >= 1 && length <= TRIB_NAME_MAX;
}

enum trib_err trib_secagg_entry_unpack(const uint8_t *data, size_t size,
                                       struct trib_secagg_entry *ret_entry)
{
    struct trib_secagg_entry entry;
    if (size != TRIB_SECAGG_ENTRY_SIZE)
        return TRIB_ERR_DATA;
    take(&data, entry.name, sizeof(entry.name));
    take(&data, entry.sign_key, sizeof(entry.sign_key));
    take(&data, entry.roster_signature, sizeof(entry.roster_signature));
    enum trib_err err = trib_secagg_advert_unpack(data, TRIB_SECAGG_ADVERT_SIZE, &entry.advert);
    if (err || !name_is_sound(entry.name))
        return TRIB_ERR_DATA;
    *ret_entry = entry;
    return TRIB_OK;
}
