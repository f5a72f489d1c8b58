// The first byte says what the rest is: 0 frames as a peer may send them, to a session with fixed
// keys; 1 the inside of a record, which is sealed and must come out as it went in; 2 the offset and
// payload of a record that begins a run, and the frames after it.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/wipe.h"
#include "common/wire/message.h"
#include "common/wire/sealed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

static void open_session(struct trib_session *session)
{
    static const struct trib_noise_cipher cipher = {.key = "one key for both directions"};
    *session = (struct trib_session){.state = TRIB_SESSION_OPEN, .send = cipher, .receive = cipher};
}

// A record of every frame in `data`, until one is refused.
static void open_frames(const uint8_t *data, size_t size)
{
    struct trib_session session;
    struct trib_record record;
    open_session(&session);
    while (size >= TRIB_FRAME_PREFIX_SIZE) {
        size_t body_size = trib_load_be16(data);
        data += TRIB_FRAME_PREFIX_SIZE;
        size -= TRIB_FRAME_PREFIX_SIZE;
        if (body_size > size)
            return;
        uint8_t *body = malloc(body_size > 0 ? body_size : 1); // exact, for the sanitizer
        require(body != NULL);
        memcpy(body, data, body_size);
        uint64_t received = session.received;
        enum trib_err err = trib_session_open(&session, body, body_size, &record);
        if (!err) {
            require(session.received == received + 1);
            require(record.payload == body + TRIB_RECORD_HEADER_SIZE);
            require(record.payload_size + TRIB_RECORD_HEADER_SIZE + TRIB_AEAD_TAG_SIZE ==
                    body_size);
        }
        free(body);
        if (err) {
            require(session.state == TRIB_SESSION_DEAD);
            return;
        }
        data += body_size;
        size -= body_size;
    }
}

static void seal_and_open(const uint8_t *data, size_t size)
{
    struct trib_session session;
    struct trib_record got;
    size_t frame_size;
    if (size < TRIB_RECORD_HEADER_SIZE || size - TRIB_RECORD_HEADER_SIZE > TRIB_RECORD_PAYLOAD_MAX)
        return;
    const struct trib_record record = {.type = data[0],
                                       .flags = data[1],
                                       .stream = trib_load_le16(data + 2),
                                       .offset = trib_load_le32(data + 4),
                                       .payload = data + TRIB_RECORD_HEADER_SIZE,
                                       .payload_size = size - TRIB_RECORD_HEADER_SIZE};
    uint8_t *frame = malloc(record.payload_size + TRIB_SEALED_OVERHEAD);
    require(frame != NULL);
    open_session(&session);
    require(trib_session_seal(&session, &record, frame, &frame_size) == TRIB_OK);
    require(frame_size == record.payload_size + TRIB_SEALED_OVERHEAD);
    require(trib_load_be16(frame) == frame_size - TRIB_FRAME_PREFIX_SIZE);
    require(trib_session_open(&session, frame + TRIB_FRAME_PREFIX_SIZE,
                              frame_size - TRIB_FRAME_PREFIX_SIZE, &got) == TRIB_OK);
    require(got.type == record.type && got.flags == record.flags && got.stream == record.stream &&
            got.offset == record.offset && got.payload_size == record.payload_size);
    require(memcmp(got.payload, record.payload, got.payload_size) == 0);
    free(frame);
}

static void open_run(const uint8_t *data, size_t size)
{
    struct trib_run run = {.left = 0};
    struct trib_record record = {.type = TRIB_RECORD_RUN};
    if (size < 4)
        return;
    record.offset = trib_load_le32(data);
    record.payload = data + 4;
    record.payload_size = size - 4 < TRIB_SEALED_RUN_PAYLOAD ? size - 4 : TRIB_SEALED_RUN_PAYLOAD;
    if (trib_run_begin(&run, &record))
        return;
    data += 4 + TRIB_SEALED_RUN_PAYLOAD;
    size -= 4 + TRIB_SEALED_RUN_PAYLOAD;
    while (run.left > 0 && size > 0) {
        const size_t left = run.left;
        const size_t body_size = size < 40 ? size : 40;
        uint8_t *body = malloc(body_size);
        require(body != NULL);
        memcpy(body, data, body_size);
        enum trib_err err = trib_run_open(&run, body, body_size, &record);
        require(err || (run.left == left - 1 && record.payload == body));
        free(body);
        if (err)
            break;
        data += body_size;
        size -= body_size;
    }
    trib_run_fini(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    trib_crypto_init();
    if (size >= 1 && data[0] == 2)
        open_run(data + 1, size - 1);
    if (size >= 1 && data[0] == 0)
        open_frames(data + 1, size - 1);
    else if (size >= 1 && data[0] == 1)
        seal_and_open(data + 1, size - 1);
    return 0;
}
