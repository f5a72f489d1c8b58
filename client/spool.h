// spool.h - the finished update, durable before its first byte is sent.
//
// One at a time. Whatever happens, the device sends these very bytes again until it has an answer:
// a second update with fresh noise for the same round would leak (docs/durability.md). On disk:
//
//     offset  size  field (little-endian)
//     0       8     "TRIBSPL2"
//     8       4     CRC32C of the packed update, and then of the header behind this field
//     12      4     flags: 1 = has a weight
//     16      16    update id
//     32      8     round id
//     40      4     weight
//     44      4     zero
//     48      8     size of the packed update
//     56      32    digest: the label that the update is sent with (trib_task_begin)
//     88      32    base digest
//     120     32    architecture digest
//     152     n     the packed update
//
// "TRIBSPL1" of earlier versions, with the checksum of everything in the order of the file, is read.
#ifndef TRIB_CLIENT_SPOOL_H
#define TRIB_CLIENT_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire/message.h"
#include "tributary/err.h"

struct trib_spool {
    struct trib_msg_upload_begin begin; // what is said before sending; begin.size bytes follow
    uint8_t *packed;                    // owned
};

// Write `begin` and the packed bytes, whose CRC32C is `crc`, durably as DIR/spool.update.
TRIB_CHECKED enum trib_err trib_spool_write(const char *dir,
                                            const struct trib_msg_upload_begin *begin,
                                            const uint8_t *packed, uint32_t crc);
// Read it back. TRIB_ERR_STATE: there is none. TRIB_ERR_CORRUPT: damaged; it was removed and said.
TRIB_CHECKED enum trib_err trib_spool_read(const char *dir, struct trib_spool *ret_spool);
TRIB_CHECKED enum trib_err trib_spool_remove(const char *dir);
void trib_spool_fini(struct trib_spool *spool);

#endif // TRIB_CLIENT_SPOOL_H
