// watermark.h - which rows the device's counted updates have used, durably (docs/data.md).
//
// The rule. A row is used when an update that was trained with it is counted, that is when the
// coordinator's receipt for it says so. Until then the rows are claimed: while an update waits,
// nothing new is trained. When it is refused, or never sent, the rows are free again, and the next
// task gets them. When nobody can know whether it was counted (a masked update, which does not
// outlive the process that sent it, or a damaged spool), its rows count as used.
//
//     claim      before the update is durable in the spool, or the first masked share leaves
//     commit     a receipt that counts it: before the spool is emptied
//     release    a receipt that refuses it: after the spool was emptied
//
// A kill between any two of these is repaired at the next start (trib_watermark_recover): a claim
// whose update is in the spool stands, one whose update is not was never sent or was refused. So no
// row is used by two counted updates, and none is lost with one that was refused. On disk, as
// DIR/watermark, replaced as a whole:
//
//     offset  size  field (little-endian)
//     0       8     "TRIBWMK1"
//     8       4     CRC32C of everything behind it
//     12      4     flags: 1 = there is a claim, 2 = of a masked update
//     16      40    used: position, digest (struct trib_data_mark)
//     56      40    claimed: the same
//     96      16    update id of the claim
#ifndef TRIB_CLIENT_WATERMARK_H
#define TRIB_CLIENT_WATERMARK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/data/source.h"
#include "common/wire/message.h"
#include "tributary/err.h"

// Up to where rows are used; all zero: none. TRIB_ERR_CORRUPT: the file is damaged, logged: the
// device takes no task that depends on it until its owner has removed it.
TRIB_CHECKED enum trib_err trib_watermark_load(const char *dir, struct trib_data_mark *ret_used);

// `update_id` is NULL for a masked update. There is no other claim.
TRIB_CHECKED enum trib_err trib_watermark_claim(const char *dir, const uint8_t *update_id,
                                                const struct trib_data_mark *mark);
// End the claim, if there is one. Committed: its rows are used.
TRIB_CHECKED enum trib_err trib_watermark_settle(const char *dir, bool is_counted);

enum trib_watermark_spool {
    TRIB_WATERMARK_SPOOL_EMPTY,
    TRIB_WATERMARK_SPOOL_WHOLE,
    TRIB_WATERMARK_SPOOL_DAMAGED,
};
// After a start: settle what the last run left open. *ret_has_claim: the update in the spool
// (`spooled_id`, when it is whole) has one.
TRIB_CHECKED enum trib_err trib_watermark_recover(const char *dir, enum trib_watermark_spool spool,
                                                  const uint8_t *spooled_id, bool *ret_has_claim);

#endif // TRIB_CLIENT_WATERMARK_H
