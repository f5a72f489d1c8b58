// update_label.h - the label that an update is sent with, worked out apart from client/task.c.
#ifndef TRIB_TESTS_UNIT_UPDATE_LABEL_H
#define TRIB_TESTS_UNIT_UPDATE_LABEL_H

#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/wire/message.h"
#include "tests/test.h"

static inline void assert_label(const struct trib_msg_upload_begin *begin, const uint8_t *packed)
{
    uint8_t text[11 + TRIB_MSG_ID_SIZE + 12] = "trib-update";
    uint8_t digest[TRIB_DIGEST_SIZE];
    memcpy(text + 11, begin->update_id, TRIB_MSG_ID_SIZE);
    trib_store_le64(text + 11 + TRIB_MSG_ID_SIZE, begin->size);
    trib_store_le32(text + 11 + TRIB_MSG_ID_SIZE + 8, trib_crc32c(0, packed, begin->size));
    trib_digest(text, sizeof(text), digest);
    assert_memory_equal(begin->digest, digest, sizeof(digest));
}

#endif // TRIB_TESTS_UNIT_UPDATE_LABEL_H
