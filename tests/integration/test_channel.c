// Channels over real sockets: sessions that go wrong after the handshake, queues, large buffers.
#include "tests/test.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/wipe.h"
#include "tests/integration/echo.h"
#include "tests/integration/plain.h"

enum {
    BULK_SIZE = 300000,
};

static const char *const tcp_url = "tcp://127.0.0.1:0";

// ---- Behind the handshake

static int raw_open(struct echo_server *server, struct trib_session *session)
{
    uint8_t frame[TRIB_HANDSHAKE_MAX];
    struct trib_welcome welcome;
    int fd = plain_connect(server);
    plain_hello(server, echo_device_secret, session, frame);
    plain_send(fd, frame, PLAIN_HELLO_SIZE);
    assert_true(plain_receive(fd, frame, 2));
    size_t size = trib_load_be16(frame);
    assert_true(size <= sizeof(frame) && plain_receive(fd, frame, size));
    assert_int_equal(trib_session_read_welcome(session, frame, size, &welcome), TRIB_OK);
    return fd;
}

static size_t seal(struct trib_session *session, uint8_t type, uint8_t *frame)
{
    const struct trib_record record = {
        .type = type, .payload = (const uint8_t *)"hello", .payload_size = 5};
    size_t size;
    assert_int_equal(trib_session_seal(session, &record, frame, &size), TRIB_OK);
    return size;
}

static void a_session_counts_as_open_with_its_first_record(void **state)
{
    struct echo_server server;
    struct trib_session session;
    uint8_t frame[64];
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    int fd = raw_open(&server, &session);
    assert_int_equal(echo_get(&server.opened), 0); // a replayed hello comes as far as this
    size_t size = seal(&session, ECHO_TEXT, frame);
    for (size_t i = 0; i < size; i++) // one byte a segment
        plain_send(fd, frame + i, 1);
    assert_true(plain_receive(fd, frame, size));
    struct trib_record record;
    assert_int_equal(trib_session_open(&session, frame + 2, size - 2, &record), TRIB_OK);
    assert_memory_equal(record.payload, "hello", 5);
    assert_int_equal(echo_get(&server.opened), 1);
    (void)close(fd);
    assert_true(echo_wait(&server.closed[TRIB_CLOSE_PEER], 1));
    echo_server_stop(&server);
}

static void forged_replayed_and_senseless_records_end_the_session(void **state)
{
    struct echo_server server;
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    for (int kind = 0; kind < 4; kind++) {
        static const enum trib_close_reason reasons[] = {
            TRIB_CLOSE_CIPHER, TRIB_CLOSE_CIPHER, TRIB_CLOSE_MALFORMED, TRIB_CLOSE_MALFORMED};
        struct trib_session session;
        uint8_t frame[128];
        uint64_t before = echo_get(&server.closed[reasons[kind]]);
        int fd = raw_open(&server, &session);
        size_t size = seal(&session, kind == 2 ? ECHO_NONSENSE : ECHO_TEXT, frame);
        if (kind == 0)
            frame[size / 2] ^= 1;
        if (kind == 3)
            frame[1] = 23; // one byte less than a record can have
        plain_send(fd, frame, size);
        if (kind == 1)
            plain_send(fd, frame, size);
        assert_true(echo_wait(&server.closed[reasons[kind]], before + 1));
        (void)close(fd);
    }
    echo_server_stop(&server);
}

// Half of a large record keeps one of the two buffers; the others still come through the second.
static void a_stalled_large_record_does_not_stop_the_others(void **state)
{
    struct echo_server server;
    struct trib_session session;
    (void)state;
    echo_server_start(&server, tcp_url, 2);
    int fd = raw_open(&server, &session);
    uint8_t *frame = calloc(1, 40000);
    assert_non_null(frame);
    trib_store_be16(frame, 60000);
    plain_send(fd, frame, 40000);
    assert_true(echo_wait(&server.received_bytes, PLAIN_HELLO_SIZE + 40000));
    assert_true(echo_client_exchange(&server, BULK_SIZE));
    free(frame);
    (void)close(fd);
    echo_server_stop(&server);
}

// What the owner's timer does, at that time.
static void tick_all(struct echo_server *server, uint64_t now_ms)
{
    (void)pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->live_count; i++)
        trib_channel_tick(server->live[i], now_ms);
    (void)pthread_mutex_unlock(&server->lock);
}

// The only large buffer is held by half a record; an honest client waits for it.
static void half_a_record_does_not_hold_a_buffer_that_others_want(void **state)
{
    struct echo_server server;
    struct echo_client client;
    struct trib_session session;
    struct trib_blob *blob = echo_blob(BULK_SIZE);
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    int fd = raw_open(&server, &session);
    uint8_t *frame = calloc(1, 40000);
    assert_non_null(frame);
    trib_store_be16(frame, 60000);
    const uint64_t begin_ms = trib_clock_mono_ms();
    plain_send(fd, frame, 40000);
    assert_true(echo_wait(&server.received_bytes, PLAIN_HELLO_SIZE + 40000));
    tick_all(&server, begin_ms + TRIB_RECORD_WANTED_MS + 5000); // nobody wants it yet
    trib_clock_sleep_ms(20);
    assert_int_equal(echo_get(&server.closed_count), 0);

    assert_true(echo_client_dial(&client, &server, echo_device_secret));
    assert_int_equal(trib_channel_send_blob(client.channel, ECHO_BULK, 1, blob, 0, BULK_SIZE),
                     TRIB_OK);
    trib_channel_start(client.channel);
    trib_clock_sleep_ms(50);
    assert_int_equal(echo_get(&client.bulk_bytes), 0);
    tick_all(&server, begin_ms + TRIB_RECORD_WANTED_MS - 1);
    trib_clock_sleep_ms(20);
    assert_int_equal(echo_get(&server.closed_count), 0);
    tick_all(&server, trib_clock_mono_ms() + TRIB_RECORD_WANTED_MS + 1);
    assert_true(echo_wait(&client.bulk_bytes, BULK_SIZE));
    assert_true(echo_wait(&server.closed_count, 1)); // its buffer is let go first
    assert_int_equal(server.closed[TRIB_CLOSE_SLOW], 1);
    assert_int_equal(client.mistakes, 0);
    free(frame);
    (void)close(fd);
    echo_client_end(&client);
    trib_blob_unref(blob);
    echo_server_stop(&server);
}

static void half_a_record_is_not_waited_for_for_ever(void **state)
{
    struct echo_server server;
    struct trib_session session;
    static const uint8_t half[] = {0xea, 0x60, 0};
    (void)state;
    echo_server_start(&server, tcp_url, 2);
    int fd = raw_open(&server, &session);
    plain_send(fd, half, sizeof(half));
    assert_true(echo_wait(&server.received_bytes, PLAIN_HELLO_SIZE + sizeof(half)));
    trib_clock_sleep_ms(20);
    tick_all(&server, trib_clock_mono_ms() + TRIB_RECORD_MS + 1);
    assert_true(echo_wait(&server.closed_count, 1));
    assert_int_equal(server.closed[TRIB_CLOSE_SLOW], 1);
    (void)close(fd);
    echo_server_stop(&server);
}

// Who asks for much and takes nothing away holds a buffer of the other direction.
static void who_takes_nothing_away_is_closed(void **state)
{
    struct echo_server server;
    struct trib_session session;
    struct trib_channel *live = NULL;
    struct trib_blob *blob = echo_blob(16 << 20);
    uint8_t frame[64];
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    int fd = raw_open(&server, &session);
    int few = 4096;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few)), 0);
    plain_send(fd, frame, seal(&session, ECHO_SILENT, frame));
    assert_true(echo_wait(&server.opened, 1));
    (void)pthread_mutex_lock(&server.lock);
    live = trib_channel_ref(server.live[0]);
    (void)pthread_mutex_unlock(&server.lock);
    assert_int_equal(trib_channel_send_blob(live, ECHO_BULK, 1, blob, 0, blob->size), TRIB_OK);
    trib_clock_sleep_ms(200);
    assert_int_equal(echo_get(&server.closed_count), 0);
    tick_all(&server, trib_clock_mono_ms() + TRIB_RECORD_MS + 1);
    assert_true(echo_wait(&server.closed_count, 1));
    assert_int_equal(server.closed[TRIB_CLOSE_SLOW], 1);
    trib_channel_unref(live);
    (void)close(fd);
    trib_blob_unref(blob);
    echo_server_stop(&server);
}

// ---- Channels among themselves

enum {
    CROWD = 24,
    LONG_TEXTS = 200,
};

// More channels than large buffers: each waits for its turn and none is forgotten.
static void few_large_buffers_serve_many_channels(void **state)
{
    struct echo_server server;
    struct echo_client clients[CROWD];
    struct trib_blob *blob = echo_blob(BULK_SIZE);
    (void)state;
    echo_server_start(&server, tcp_url, 2);
    for (size_t i = 0; i < CROWD; i++) {
        assert_true(echo_client_dial(&clients[i], &server, echo_device_secret));
        assert_int_equal(
            trib_channel_send_blob(clients[i].channel, ECHO_BULK, 1, blob, 0, BULK_SIZE), TRIB_OK);
    }
    for (size_t i = 0; i < CROWD; i++)
        trib_channel_start(clients[i].channel);
    for (size_t i = 0; i < CROWD; i++) {
        assert_true(echo_wait(&clients[i].bulk_bytes, BULK_SIZE));
        assert_int_equal(clients[i].mistakes, 0);
    }
    for (size_t i = 0; i < CROWD; i++)
        echo_client_end(&clients[i]);
    assert_int_equal(blob->refs, 1); // every channel gave its reference back
    trib_blob_unref(blob);
    echo_server_stop(&server);
}

// One sealing for all of them; what each asks for meanwhile comes between the runs.
static void what_is_sealed_once_comes_to_everybody(void **state)
{
    struct echo_server server;
    struct echo_client clients[CROWD];
    struct trib_blob *blob = echo_blob(10 * (size_t)BULK_SIZE);
    struct trib_sealed *sealed;
    (void)state;
    assert_int_equal(trib_sealed_create(blob, &sealed), TRIB_OK);
    echo_server_start(&server, tcp_url, 2);
    for (size_t i = 0; i < CROWD; i++) {
        assert_true(echo_client_dial(&clients[i], &server, echo_device_secret));
        assert_int_equal(trib_channel_send(clients[i].channel, ECHO_TEXT, 0, "x", 1), TRIB_OK);
        trib_channel_start(clients[i].channel);
        assert_true(echo_wait(&clients[i].texts, 1));
    }
    (void)pthread_mutex_lock(&server.lock);
    assert_int_equal(server.live_count, CROWD);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(trib_channel_send_sealed(server.live[i], ECHO_BULK, 1, sealed, 0,
                                                  trib_sealed_chunks(sealed)),
                         TRIB_OK);
    // A long message comes whenever it likes, also when there was room for the begin of a run only.
    for (size_t n = 0; n < LONG_TEXTS; n++) {
        for (size_t i = 0; i < CROWD; i++)
            assert_int_equal(trib_channel_send(server.live[i], ECHO_TEXT, 0, blob->data, 2000 + n),
                             TRIB_OK);
    }
    (void)pthread_mutex_unlock(&server.lock);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(trib_channel_send(clients[i].channel, ECHO_TEXT, 0, "y", 1), TRIB_OK);
    for (size_t i = 0; i < CROWD; i++) {
        assert_true(echo_wait(&clients[i].bulk_bytes, blob->size) &&
                    echo_wait(&clients[i].texts, 2 + LONG_TEXTS));
        assert_int_equal(clients[i].bulk_bytes, blob->size);
        assert_int_equal(clients[i].mistakes, 0);
        echo_client_end(&clients[i]);
    }
    echo_server_stop(&server);
    assert_false(trib_sealed_is_shared(sealed)); // every channel gave its references back
    trib_sealed_unref(sealed);
    assert_int_equal(blob->refs, 1);
    trib_blob_unref(blob);
}

static void control_messages_overtake_bulk_and_dropped_bulk_is_not_sent(void **state)
{
    struct echo_server server;
    struct echo_client client;
    struct trib_blob *blob = echo_blob(BULK_SIZE);
    (void)state;
    echo_server_start(&server, tcp_url, 2);
    assert_true(echo_client_dial(&client, &server, echo_device_secret));
    assert_int_equal(trib_channel_send_blob(client.channel, 3 + ECHO_BULK, 1, blob, 0, BULK_SIZE),
                     TRIB_OK);
    assert_int_equal(trib_channel_send_blob(client.channel, ECHO_BULK, 1, blob, 0, BULK_SIZE),
                     TRIB_OK);
    trib_channel_drop_blobs(client.channel, 3 + ECHO_BULK);
    assert_int_equal(trib_channel_send(client.channel, ECHO_TEXT, 0, "x", 1), TRIB_OK);
    trib_channel_start(client.channel);
    assert_true(echo_wait(&client.texts, 1) && echo_wait(&client.bulk_bytes, BULK_SIZE));
    assert_int_equal(client.bulks_before_text, 0);
    assert_int_equal(client.bulk_bytes, BULK_SIZE);
    assert_int_equal(client.mistakes, 0);
    echo_client_end(&client);
    trib_blob_unref(blob);
    echo_server_stop(&server);
}

static void a_full_queue_closes_the_channel_once(void **state)
{
    struct echo_server server;
    struct echo_client client;
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    assert_true(echo_client_dial(&client, &server, echo_device_secret));
    for (int i = 0; i < TRIB_CHANNEL_QUEUE_MAX; i++)
        assert_int_equal(trib_channel_send(client.channel, ECHO_TEXT, 0, "x", 1), TRIB_OK);
    assert_int_equal(trib_channel_send(client.channel, ECHO_TEXT, 0, "x", 1), TRIB_ERR_LIMIT);
    assert_int_equal(trib_channel_send(client.channel, ECHO_TEXT, 0, "x", 1), TRIB_ERR_STATE);
    assert_true(echo_wait(&client.closed, 1));
    trib_channel_close(client.channel, TRIB_CLOSE_SHUTDOWN); // too late to count
    trib_clock_sleep_ms(20);
    assert_int_equal(echo_get(&client.closed), 1);
    assert_int_equal(client.reason, TRIB_CLOSE_LIMIT);
    echo_client_end(&client);
    echo_server_stop(&server);
}

// The server sends everything back, and none of that is read by who is leaving: without the wait
// for the peer the kernel would reset the connection and lose what was sent last.
static void close_after_sends_what_is_queued(void **state)
{
    struct echo_server server;
    struct echo_client client;
    struct trib_blob *blob = echo_blob(BULK_SIZE);
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    assert_true(echo_client_dial(&client, &server, echo_device_secret));
    assert_int_equal(trib_channel_send_blob(client.channel, ECHO_BULK, 1, blob, 0, BULK_SIZE),
                     TRIB_OK);
    trib_channel_close_after(client.channel, TRIB_CLOSE_DONE);
    trib_channel_start(client.channel);
    uint64_t sealed = (BULK_SIZE + TRIB_CHUNK_SIZE - 1) / TRIB_CHUNK_SIZE * TRIB_SEALED_OVERHEAD;
    assert_true(echo_wait(&server.received_bytes, PLAIN_HELLO_SIZE + BULK_SIZE + sealed));
    for (int i = 0; i < 500 && echo_get(&client.closed) == 0; i++) { // its owner's timer
        trib_channel_tick(client.channel, trib_clock_mono_ms());
        trib_clock_sleep_ms(10);
    }
    assert_int_equal(echo_get(&client.closed), 1);
    assert_int_equal(client.reason, TRIB_CLOSE_DONE);
    echo_client_end(&client);
    trib_blob_unref(blob);
    echo_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_counts_as_open_with_its_first_record),
        cmocka_unit_test(forged_replayed_and_senseless_records_end_the_session),
        cmocka_unit_test(a_stalled_large_record_does_not_stop_the_others),
        cmocka_unit_test(half_a_record_does_not_hold_a_buffer_that_others_want),
        cmocka_unit_test(half_a_record_is_not_waited_for_for_ever),
        cmocka_unit_test(who_takes_nothing_away_is_closed),
        cmocka_unit_test(few_large_buffers_serve_many_channels),
        cmocka_unit_test(what_is_sealed_once_comes_to_everybody),
        cmocka_unit_test(control_messages_overtake_bulk_and_dropped_bulk_is_not_sent),
        cmocka_unit_test(a_full_queue_closes_the_channel_once),
        cmocka_unit_test(close_after_sends_what_is_queued),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
