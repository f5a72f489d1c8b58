// What a channel sends: a message may come at any moment, before each lock that it takes, one by one; and
// nobody holds what is sent for ever.
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/wire/channel_parts.h"
#include "common/wire/frames.h"
#include "common/wire/message.h"

enum {
    LONG = 2000, // bytes of a message that a small buffer has no room for
    SHORT = 20,
    CHUNKS = 6, // of a model: more than one run takes
    TURNS = 100,
};

static struct trib_channel channel;
static struct {
    int comes_at;  // the lock before which a message comes; 0: never
    size_t size;   // of it
    int locks;     // taken so far
    bool has_come; // it has
    size_t messages, message_bytes, chunks;
} moment;

static bool is_stuck; // the peer takes nothing

// Nothing of a network.
void __wrap_trib_channel_wake(struct trib_channel *woken);
void __wrap_trib_channel_wake(struct trib_channel *woken)
{
    assert_ptr_equal(woken, &channel);
}

size_t __wrap_trib_conn_send_now(struct trib_conn *conn, const struct trib_conn_parts *parts);
size_t __wrap_trib_conn_send_now(struct trib_conn *conn, const struct trib_conn_parts *parts)
{
    (void)conn;
    return is_stuck ? 0 : parts->head_size + parts->tail_size;
}

void __wrap_trib_conn_send_parts(struct trib_conn *conn, const struct trib_conn_parts *parts);
void __wrap_trib_conn_send_parts(struct trib_conn *conn, const struct trib_conn_parts *parts)
{
    (void)conn;
    assert_true(is_stuck);
    assert_true(parts->head_size > 0);
}

// The lengths of records instead of records; that there is room for them.
enum trib_err __wrap_trib_session_seal(struct trib_session *session,
                                       const struct trib_record *record, uint8_t *out,
                                       size_t *ret_size);
enum trib_err __wrap_trib_session_seal(struct trib_session *session,
                                       const struct trib_record *record, uint8_t *out,
                                       size_t *ret_size)
{
    assert_ptr_equal(session, &channel.session);
    const uint8_t *begin = channel.frame_out ? channel.frame_out->data : channel.small_out;
    const size_t room = channel.frame_out ? trib_frames_capacity(channel.options.send_frames)
                                          : TRIB_CHANNEL_SMALL_SIZE;
    *ret_size = record->payload_size + TRIB_SEALED_OVERHEAD;
    assert_true(out >= begin && *ret_size <= room - (size_t)(out - begin));
    if (record->type == TRIB_RECORD_RUN) {
        moment.chunks += record->payload[1];
        return TRIB_OK;
    }
    moment.messages++;
    moment.message_bytes += record->payload_size;
    return TRIB_OK;
}

static void come(void)
{
    static const uint8_t bytes[LONG];
    moment.has_come = true;
    assert_int_equal(trib_channel_send(&channel, TRIB_RECORD_NEW_VERSION, 0, bytes, moment.size),
                     TRIB_OK);
}

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (mutex == &channel.lock && ++moment.locks == moment.comes_at)
        come();
    return __real_pthread_mutex_lock(mutex);
}

// Closing asks for a run of the work item, which nothing comes of here.
static void ignore(void *executor, struct trib_work *work)
{
    (void)executor;
    assert_ptr_equal(work, &channel.work);
}

static void set_up(struct trib_frames *frames)
{
    memset(&channel, 0, sizeof(channel));
    memset(&moment, 0, sizeof(moment));
    assert_int_equal(pthread_mutex_init(&channel.lock, NULL), 0);
    channel.refs = 1; // ours
    channel.items_end = &channel.items;
    channel.bulks_end = &channel.bulks;
    channel.options.send_frames = frames;
    channel.options.receive_frames = frames;
    channel.options.submit = ignore;
    channel.session.state = TRIB_SESSION_OPEN;
    channel.turns = TURNS;
}

// Sends a model, or only a short message, while one of `size` bytes comes before the lock `comes_at`.
// False: fewer were taken.
static bool send_beside(bool has_model, int comes_at, size_t size)
{
    struct trib_frames *frames = NULL;
    struct trib_sealed *sealed = NULL;
    struct trib_blob *blob =
        trib_blob_take(trib_alloc(CHUNKS * TRIB_CHUNK_SIZE), CHUNKS * TRIB_CHUNK_SIZE);
    assert_non_null(blob);
    assert_int_equal(trib_sealed_create(blob, &sealed), TRIB_OK);
    assert_int_equal(trib_frames_create(1, 1, &frames), TRIB_OK);
    set_up(frames);
    if (has_model)
        assert_int_equal(
            trib_channel_send_sealed(&channel, TRIB_RECORD_MODEL_CHUNK, 0, sealed, 0, CHUNKS),
            TRIB_OK);
    else
        assert_int_equal(
            trib_channel_send(&channel, TRIB_RECORD_PONG, 0, "12345678901234567890", SHORT),
            TRIB_OK);
    moment.locks = 0;
    moment.comes_at = comes_at;
    moment.size = size;
    trib_channel_work_send(&channel);
    const bool has_come = moment.has_come;
    moment.comes_at = 0;
    trib_channel_work_send(&channel); // it was woken again

    assert_int_equal(moment.chunks, has_model ? CHUNKS : 0);
    assert_int_equal(moment.messages, !has_model + has_come);
    assert_int_equal(moment.message_bytes, (has_model ? 0 : SHORT) + (has_come ? size : 0));
    assert_null(channel.items);
    assert_null(channel.bulks);
    assert_null(channel.frame_out); // a large buffer is not kept
    assert_null(channel.sealed_out);
    assert_false(channel.wants_close);
    (void)pthread_mutex_destroy(&channel.lock);
    trib_frames_destroy(frames);
    assert_false(trib_sealed_is_shared(sealed));
    trib_sealed_unref(sealed);
    trib_blob_unref(blob);
    return has_come;
}

static void a_message_may_come_at_any_moment(void **state)
{
    (void)state;
    static const size_t sizes[] = {SHORT, LONG};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int moments = 1;
        while (send_beside(true, moments, sizes[i]))
            moments++;
        assert_true(moments > 8); // there were some: between all that is done for two runs
        for (moments = 1; send_beside(false, moments, sizes[i]);)
            moments++;
        assert_true(moments > 4);
    }
}

// A peer that takes nothing of a model, and gives a sign of life: it is closed, and the model is let go.
static void assert_closes(bool in_runs)
{
    struct trib_frames *frames = NULL;
    struct trib_sealed *sealed = NULL;
    struct trib_blob *blob =
        trib_blob_take(trib_alloc(CHUNKS * TRIB_CHUNK_SIZE), CHUNKS * TRIB_CHUNK_SIZE);
    assert_non_null(blob);
    assert_int_equal(trib_sealed_create(blob, &sealed), TRIB_OK);
    assert_int_equal(trib_frames_create(1, 1, &frames), TRIB_OK);
    set_up(frames);
    is_stuck = true;
    if (in_runs)
        assert_int_equal(
            trib_channel_send_sealed(&channel, TRIB_RECORD_MODEL_CHUNK, 0, sealed, 0, CHUNKS),
            TRIB_OK);
    else
        assert_int_equal(
            trib_channel_send_blob(&channel, TRIB_RECORD_MODEL_CHUNK, 0, blob, 0, blob->size),
            TRIB_OK);
    const uint64_t begun_ms = trib_clock_mono_ms();
    trib_channel_work_send(&channel);
    assert_true(channel.is_sending);
    channel.heard_ms = begun_ms + TRIB_RECORD_MS + 1000;
    trib_channel_tick(&channel, begun_ms + TRIB_RECORD_MS / 2);
    assert_false(channel.wants_close);
    trib_channel_tick(&channel, begun_ms + TRIB_RECORD_MS + 1000);
    assert_true(channel.wants_close);
    assert_int_equal(channel.reason, TRIB_CLOSE_SLOW);
    is_stuck = false;
    trib_channel_drop_queues(&channel);
    trib_sealed_unref(channel.sealed_out);
    if (channel.frame_out)
        trib_frame_give(frames, channel.frame_out);
    (void)pthread_mutex_destroy(&channel.lock);
    trib_frames_destroy(frames);
    trib_sealed_unref(sealed);
    trib_blob_unref(blob);
}

static void who_takes_nothing_of_a_model_is_closed(void **state)
{
    (void)state;
    assert_closes(false);
    assert_closes(true);
}

// It took all of a run, and what comes next waits for a buffer that somebody else has.
static void who_waits_for_a_buffer_is_not_slow(void **state)
{
    (void)state;
    struct trib_frames *frames = NULL;
    struct trib_sealed *sealed = NULL;
    struct trib_channel other = {.refs = 1};
    static const uint8_t bytes[LONG];
    struct trib_blob *blob = trib_blob_take(trib_alloc(TRIB_CHUNK_SIZE), TRIB_CHUNK_SIZE);
    assert_non_null(blob);
    assert_int_equal(trib_sealed_create(blob, &sealed), TRIB_OK);
    assert_int_equal(trib_frames_create(1, 1, &frames), TRIB_OK);
    set_up(frames);
    other.options.send_frames = frames;
    struct trib_frame *taken = trib_frame_take(frames, &other);
    assert_non_null(taken);
    is_stuck = true;
    assert_int_equal(trib_channel_send_sealed(&channel, TRIB_RECORD_MODEL_CHUNK, 0, sealed, 0, 1),
                     TRIB_OK);
    trib_channel_work_send(&channel);
    assert_true(channel.run_ms > 0);
    is_stuck = false; // it has left
    channel.is_sending = false;
    assert_int_equal(trib_channel_send(&channel, TRIB_RECORD_NEW_VERSION, 0, bytes, LONG), TRIB_OK);
    trib_channel_work_send(&channel);
    assert_non_null(channel.items); // no buffer is free
    trib_channel_tick(&channel, trib_clock_mono_ms() + TRIB_RECORD_MS + 1000);
    assert_false(channel.wants_close);
    trib_channel_drop_queues(&channel);
    trib_frame_give(frames, taken);
    (void)pthread_mutex_destroy(&channel.lock);
    trib_frames_destroy(frames);
    trib_sealed_unref(sealed);
    trib_blob_unref(blob);
}

// When all has left nothing is waited for any more, however long the session lasts.
static void who_took_all_of_it_is_not(void **state)
{
    (void)state;
    assert_false(send_beside(true, 0, SHORT));
    assert_int_equal(channel.out_ms + channel.run_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_may_come_at_any_moment),
        cmocka_unit_test(who_takes_nothing_of_a_model_is_closed),
        cmocka_unit_test(who_waits_for_a_buffer_is_not_slow),
        cmocka_unit_test(who_took_all_of_it_is_not),
    };
    return RUN_TESTS(tests);
}
