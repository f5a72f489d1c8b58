// secagg_bytes.h - adverts and entries of secure aggregation as bytes of a fixed layout.
//
//     advert   mask key 32 | share key 32 | commitment 32 | signature 64
//     entry    name 64, padded with zeros | sign key 32 | roster signature 64 | advert
#ifndef TRIB_PRIVACY_SECAGG_BYTES_H
#define TRIB_PRIVACY_SECAGG_BYTES_H

#include "common/privacy/secagg.h"

enum {
    TRIB_SECAGG_ADVERT_SIZE = 2 * TRIB_SECAGG_KEY_SIZE + TRIB_DIGEST_SIZE + TRIB_SIGNATURE_SIZE,
    TRIB_SECAGG_ENTRY_SIZE =
        TRIB_NAME_MAX + 1 + TRIB_SIGN_KEY_SIZE + TRIB_SIGNATURE_SIZE + TRIB_SECAGG_ADVERT_SIZE,
};

void trib_secagg_advert_pack(const struct trib_secagg_advert *advert, struct trib_buf *buf);
// TRIB_ERR_DATA: not an advert's size.
TRIB_CHECKED enum trib_err trib_secagg_advert_unpack(const uint8_t *data, size_t size,
                                                     struct trib_secagg_advert *ret_advert);

void trib_secagg_entry_pack(const struct trib_secagg_entry *entry, struct trib_buf *buf);
// TRIB_ERR_DATA: not an entry's size, or a name that is empty, has no end or is padded with more
// than zeros.
TRIB_CHECKED enum trib_err trib_secagg_entry_unpack(const uint8_t *data, size_t size,
                                                    struct trib_secagg_entry *ret_entry);

#endif // TRIB_PRIVACY_SECAGG_BYTES_H
