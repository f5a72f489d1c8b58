// step.h - a step of secure aggregation on its way: one control message, then raw chunks.
//
// The receiver allocates what the step announces, after it compared it with what such a step may
// have; chunks of an older step (another stream number) are skipped.
#ifndef TRIB_WIRE_STEP_H
#define TRIB_WIRE_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "tributary/err.h"

// Zero-initialise to start.
struct trib_step_in {
    uint64_t round_id;
    uint32_t kind; // enum trib_secagg_step_kind
    uint16_t stream;
    size_t size, received;
    uint8_t *data; // owned, (size); NULL: none is on its way
};

// A step begins; an unfinished one is dropped.
TRIB_CHECKED enum trib_err trib_step_begin(struct trib_step_in *in, uint16_t stream,
                                           const struct trib_msg_secagg_step *step);
// A chunk record. TRIB_ERR_PROTO: it does not follow what came before. *ret_is_whole: all is there.
TRIB_CHECKED enum trib_err trib_step_chunk(struct trib_step_in *in,
                                           const struct trib_record *record, bool *ret_is_whole);
void trib_step_drop(struct trib_step_in *in);

// Send `blob` as a step; a step of ours that is still being sent is dropped.
TRIB_CHECKED enum trib_err trib_step_send(struct trib_channel *channel, uint16_t stream,
                                          uint64_t round_id, enum trib_secagg_step_kind kind,
                                          struct trib_blob *blob);

#endif // TRIB_WIRE_STEP_H
