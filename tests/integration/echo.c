#include "tests/integration/echo.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/wipe.h"

const uint8_t echo_device_secret[32] = "the key of the only known device";

uint64_t echo_get(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static void count(uint64_t *counter, uint64_t amount)
{
    __atomic_add_fetch(counter, amount, __ATOMIC_ACQ_REL);
}

bool echo_wait(const uint64_t *counter, uint64_t value)
{
    uint64_t end_ms = trib_clock_mono_ms() + ECHO_WAIT_MS;
    while (echo_get(counter) < value) {
        if (trib_clock_mono_ms() > end_ms)
            return false;
        trib_clock_sleep_ms(1);
    }
    return true;
}

static void submit(void *executor, struct trib_work *work)
{
    trib_pool_submit(executor, work);
}

// ---- Server

static bool on_knock(void *user, struct trib_channel *channel, const uint8_t ephemeral[static 32],
                     enum trib_close_reason *ret_reason)
{
    struct echo_server *server = user;
    (void)channel;
    (void)ephemeral;
    *ret_reason = TRIB_CLOSE_BUDGET;
    return !__atomic_load_n(&server->is_busy, __ATOMIC_ACQUIRE);
}

static bool on_hello(void *user, struct trib_channel *channel, const struct trib_hello *hello,
                     struct trib_welcome *ret_welcome, enum trib_close_reason *ret_reason)
{
    struct echo_server *server = user;
    (void)channel;
    (void)ret_reason; // unknown, unless said otherwise
    count(&server->hellos, 1);
    ret_welcome->retry_min_ms = 1;
    ret_welcome->retry_max_ms = 2;
    return memcmp(hello->static_key, server->device_key, 32) == 0;
}

static void on_opened(void *user, struct trib_channel *channel, const struct trib_welcome *welcome)
{
    struct echo_server *server = user;
    assert(!welcome && trib_channel_is_open(channel));
    count(&server->opened, 1);
}

static bool on_record(void *user, struct trib_channel *channel, const struct trib_record *record)
{
    (void)user;
    if (record->type == ECHO_NONSENSE)
        return false;
    if (record->type == ECHO_SILENT)
        return true;
    // A peer that takes nothing away is closed by the channel itself.
    (void)!trib_channel_send(channel, record->type, record->stream, record->payload,
                             record->payload_size);
    return true;
}

static void on_closed(void *user, struct trib_channel *channel, enum trib_close_reason reason)
{
    struct echo_server *server = user;
    size_t i = 0;
    (void)pthread_mutex_lock(&server->lock);
    while (server->live[i] != channel)
        i++;
    server->live[i] = server->live[--server->live_count];
    (void)pthread_mutex_unlock(&server->lock);
    trib_channel_unref(channel);
    count(&server->closed[reason], 1);
    count(&server->closed_count, 1);
}

static const struct trib_channel_handler server_handler = {.knock = on_knock,
                                                           .hello = on_hello,
                                                           .opened = on_opened,
                                                           .record = on_record,
                                                           .closed = on_closed};

static bool on_accepted(void *user, struct trib_conn *conn)
{
    struct echo_server *server = user;
    struct trib_channel *channel;
    const struct trib_channel_options options = {.handler = &server_handler,
                                                 .user = server,
                                                 .submit = submit,
                                                 .executor = server->pool,
                                                 .receive_frames = server->receive_frames,
                                                 .send_frames = server->send_frames,
                                                 .received_bytes = &server->received_bytes,
                                                 .sent_bytes = &server->sent_bytes,
                                                 .secret = server->secret,
                                                 .coordinator = server->key};
    if (trib_channel_accept(conn, &options, &channel))
        return false;
    count(&server->accepted, 1);
    (void)pthread_mutex_lock(&server->lock);
    assert(server->live_count < ECHO_LIVE_MAX);
    server->live[server->live_count++] = channel;
    (void)pthread_mutex_unlock(&server->lock);
    trib_channel_start(channel);
    return true;
}

void echo_server_start(struct echo_server *server, const char *url, size_t frame_count)
{
    *server = (struct echo_server){.secret = "the key of a tiny coordinator"};
    trib_noise_public(server->secret, server->key);
    trib_noise_public(echo_device_secret, server->device_key);
    (void)pthread_mutex_init(&server->lock, NULL);
    enum trib_err err = trib_frames_create(frame_count, 1, &server->receive_frames);
    if (!err)
        err = trib_frames_create(frame_count, 2, &server->send_frames);
    if (!err) // after what its threads use
        err = trib_pool_create(2, &server->pool);
    if (!err)
        err = trib_link_listen(url, 0600, on_accepted, server, &server->listener);
    assert(!err);
    uint16_t port = trib_listener_port(server->listener);
    if (port)
        (void)snprintf(server->url, sizeof(server->url), "tcp://127.0.0.1:%u", port);
    else
        (void)snprintf(server->url, sizeof(server->url), "%s", url);
}

// Close those that have waited for longer than `age_ms`, or everyone.
static void close_some(struct echo_server *server, bool is_for_all, uint64_t age_ms,
                       enum trib_close_reason reason)
{
    uint64_t now_ms = trib_clock_mono_ms();
    (void)pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->live_count; i++) {
        struct trib_channel *channel = server->live[i];
        bool is_late =
            !trib_channel_is_open(channel) && now_ms - trib_channel_created_ms(channel) >= age_ms;
        if (is_for_all || is_late)
            trib_channel_close(channel, reason);
    }
    (void)pthread_mutex_unlock(&server->lock);
}

void echo_server_tick(struct echo_server *server, uint64_t deadline_ms)
{
    close_some(server, false, deadline_ms, TRIB_CLOSE_SLOW);
}

void echo_server_stop(struct echo_server *server)
{
    trib_listener_close(server->listener);
    close_some(server, true, 0, TRIB_CLOSE_SHUTDOWN);
    bool is_closed = echo_wait(&server->closed_count, server->accepted);
    assert(is_closed && server->live_count == 0);
    (void)is_closed;
    trib_pool_destroy(server->pool);
    trib_frames_destroy(server->receive_frames);
    trib_frames_destroy(server->send_frames);
    (void)pthread_mutex_destroy(&server->lock);
}

// ---- Client

uint8_t echo_pattern(size_t offset)
{
    return (uint8_t)(offset * 2654435761u >> 13);
}

struct trib_blob *echo_blob(size_t size)
{
    uint8_t *data = malloc(size);
    assert(data);
    for (size_t i = 0; i < size; i++)
        data[i] = echo_pattern(i);
    return trib_blob_take(data, size);
}

static void on_welcome(void *user, struct trib_channel *channel, const struct trib_welcome *welcome)
{
    struct echo_client *client = user;
    assert(welcome && trib_channel_is_open(channel));
    count(&client->mistakes, welcome->retry_min_ms != 1 || welcome->retry_max_ms != 2);
    count(&client->opened, 1);
}

static bool on_echo(void *user, struct trib_channel *channel, const struct trib_record *record)
{
    struct echo_client *client = user;
    (void)channel;
    if (record->type == ECHO_TEXT) {
        if (echo_get(&client->texts) == 0)
            client->bulks_before_text = client->bulks;
        count(&client->texts, 1);
        return true;
    }
    uint64_t mistakes = 0;
    for (size_t i = 0; i < record->payload_size; i++)
        mistakes += record->payload[i] != echo_pattern(client->bulk_bytes + i);
    count(&client->mistakes, mistakes);
    count(&client->bulks, 1);
    count(&client->bulk_bytes, record->payload_size);
    return true;
}

static void on_end(void *user, struct trib_channel *channel, enum trib_close_reason reason)
{
    struct echo_client *client = user;
    (void)channel;
    client->reason = reason;
    count(&client->closed, 1);
}

static const struct trib_channel_handler client_handler = {
    .opened = on_welcome, .record = on_echo, .closed = on_end};

static void on_dialed(void *user, enum trib_err err, struct trib_conn *conn)
{
    struct echo_client *client = user;
    client->conn = conn;
    __atomic_store_n(&client->dial_err, (int)err, __ATOMIC_RELEASE);
}

bool echo_client_dial(struct echo_client *client, struct echo_server *server,
                      const uint8_t secret[static 32])
{
    static const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    *client = (struct echo_client){.server = server, .dial_err = -1};
    const struct trib_channel_options options = {.handler = &client_handler,
                                                 .user = client,
                                                 .submit = submit,
                                                 .executor = server->pool,
                                                 .receive_frames = server->receive_frames,
                                                 .send_frames = server->send_frames,
                                                 .secret = secret,
                                                 .coordinator = server->key,
                                                 .hello = &hello};
    if (trib_link_dial(server->url, on_dialed, client, &client->dial))
        return false;
    trib_dial_free(client->dial); // waits for the callback
    if (__atomic_load_n(&client->dial_err, __ATOMIC_ACQUIRE) != TRIB_OK)
        return false;
    return trib_channel_connect(client->conn, &options, &client->channel) == TRIB_OK;
}

void echo_client_end(struct echo_client *client)
{
    if (!client->channel)
        return;
    trib_channel_close(client->channel, TRIB_CLOSE_DONE);
    bool is_closed = echo_wait(&client->closed, 1);
    assert(is_closed);
    (void)is_closed;
    trib_channel_unref(client->channel);
    client->channel = NULL;
}

bool echo_client_exchange(struct echo_server *server, size_t bulk_size)
{
    struct echo_client client;
    struct trib_blob *blob = bulk_size > 0 ? echo_blob(bulk_size) : NULL;
    bool is_good = echo_client_dial(&client, server, echo_device_secret);
    if (is_good) {
        is_good =
            !trib_channel_send(client.channel, ECHO_TEXT, 0, "hello", 5) &&
            (!blob || !trib_channel_send_blob(client.channel, ECHO_BULK, 1, blob, 0, bulk_size));
        trib_channel_start(client.channel);
        is_good = is_good && echo_wait(&client.texts, 1) &&
                  echo_wait(&client.bulk_bytes, bulk_size) && client.opened == 1 &&
                  echo_get(&client.mistakes) == 0 && client.bulk_bytes == bulk_size;
        echo_client_end(&client);
    }
    trib_blob_unref(blob);
    return is_good;
}
