// An update that is sent once more: nothing of the attempt before follows its beginning.
#include "tests/test.h"

#include <string.h>

#include "client/client_state.h"

static struct trib_client client;
static uint8_t queued[2]; // types of what waits to be sent, in bulk
static bool has_begun;

void __wrap_trib_channel_drop_blobs(struct trib_channel *channel, uint8_t type);
void __wrap_trib_channel_drop_blobs(struct trib_channel *channel, uint8_t type)
{
    assert_ptr_equal(channel, client.channel);
    assert_false(has_begun);
    for (size_t i = 0; i < sizeof(queued); i++) {
        if (queued[i] == type)
            queued[i] = 0;
    }
}

enum trib_err __wrap_trib_channel_send(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                       const void *payload, size_t size);
enum trib_err __wrap_trib_channel_send(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                       const void *payload, size_t size)
{
    assert_ptr_equal(channel, client.channel);
    assert_int_equal(type, TRIB_RECORD_UPLOAD_BEGIN);
    assert_int_equal(stream, client.upload.stream);
    assert_true(payload && size > 0);
    has_begun = true;
    return TRIB_OK;
}

static void nothing_of_the_first_attempt_follows_the_second(void **state)
{
    (void)state;
    static uint8_t channel;
    client.channel = (struct trib_channel *)(void *)&channel;
    client.is_up = true;
    client.upload.has_update = true;
    client.upload.begin.size = 30;
    queued[0] = TRIB_RECORD_UPLOAD_CHUNK; // the coordinator had waited too long, and said SLOW
    queued[1] = TRIB_RECORD_UPLOAD_END;
    trib_client_begin_upload(&client);
    assert_true(has_begun);
    assert_int_equal(queued[0] + queued[1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_the_first_attempt_follows_the_second),
    };
    return RUN_TESTS(tests);
}
