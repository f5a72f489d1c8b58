#include "common/wire/step.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

void trib_step_drop(struct trib_step_in *in)
{
    free(in->data);
    *in = (struct trib_step_in){.data = NULL};
}

enum trib_err trib_step_begin(struct trib_step_in *in, uint16_t stream,
                              const struct trib_msg_secagg_step *step)
{
    trib_step_drop(in);
    uint8_t *data = trib_alloc(step->size);
    if (!data)
        return TRIB_ERR_NOMEM;
    *in = (struct trib_step_in){.round_id = step->round_id,
                                .kind = step->kind,
                                .stream = stream,
                                .size = step->size,
                                .data = data};
    return TRIB_OK;
}

enum trib_err trib_step_chunk(struct trib_step_in *in, const struct trib_record *record,
                              bool *ret_is_whole)
{
    *ret_is_whole = false;
    if (!in->data || record->stream != in->stream || in->received == in->size)
        return TRIB_OK;
    if (record->offset != in->received || record->payload_size > in->size - in->received)
        return TRIB_ERR_PROTO;
    memcpy(in->data + in->received, record->payload, record->payload_size);
    in->received += record->payload_size;
    *ret_is_whole = in->received == in->size;
    return TRIB_OK;
}

enum trib_err trib_step_send(struct trib_channel *channel, uint16_t stream, uint64_t round_id,
                             enum trib_secagg_step_kind kind, struct trib_blob *blob)
{
    const struct trib_msg_secagg_step step = {
        .round_id = round_id, .kind = kind, .size = blob->size};
    struct trib_buf packed = {0};
    trib_msg_secagg_step_pack(&step, &packed);
    trib_channel_drop_blobs(channel, TRIB_RECORD_SECAGG_CHUNK);
    enum trib_err err = packed.failed ? TRIB_ERR_NOMEM
                                      : trib_channel_send(channel, TRIB_RECORD_SECAGG_STEP, stream,
                                                          packed.data, packed.size);
    if (!err)
        err =
            trib_channel_send_blob(channel, TRIB_RECORD_SECAGG_CHUNK, stream, blob, 0, blob->size);
    trib_buf_fini(&packed);
    return err;
}
