// echo.h - a coordinator in miniature for tests of the wire: it serves one device key and sends
// every record back; and the honest client that uses it.
#ifndef TRIB_TESTS_ECHO_H
#define TRIB_TESTS_ECHO_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/pool.h"
#include "common/wire/channel.h"

enum {
    ECHO_LIVE_MAX = 8192,
    ECHO_WAIT_MS = 20000, // before a test gives up on something that takes milliseconds
    ECHO_TEXT = 1,        // record types: a control message,
    ECHO_BULK = 2,        // a chunk,
    ECHO_SILENT = 4,      // a chunk that is taken and not sent back,
    ECHO_NONSENSE = 3,    // what the server calls malformed
};

struct echo_server {
    uint8_t secret[32], key[32];
    uint8_t device_key[32]; // of the only device that is let in
    int is_busy;            // atomic: who knocks is turned away
    struct trib_pool *pool;
    struct trib_frames *receive_frames, *send_frames;
    struct trib_listener *listener;
    char url[128];                                   // as clients dial it
    uint64_t received_bytes, sent_bytes;             // atomic, as the next ones
    uint64_t accepted, hellos, opened, closed_count; // connections
    uint64_t closed[TRIB_CLOSE_REASONS];
    pthread_mutex_t lock; // guards the list
    struct trib_channel *live[ECHO_LIVE_MAX];
    size_t live_count;
};

// `url` may ask for port 0; `frame_count` large buffers for each direction.
void echo_server_start(struct echo_server *server, const char *url, size_t frame_count);
// Closes what is live, waits until all is closed and frees.
void echo_server_stop(struct echo_server *server);
// What an owner's timer does: close who has not opened a session `deadline_ms` after connecting.
void echo_server_tick(struct echo_server *server, uint64_t deadline_ms);

extern const uint8_t echo_device_secret[32];

struct echo_client {
    struct echo_server *server;
    struct trib_channel *channel;
    struct trib_dial *dial;
    struct trib_conn *conn;
    int dial_err;          // -1 until the dial has ended; atomic, as the next ones
    uint64_t opened;       // times
    uint64_t closed;       // times
    uint64_t reason;       // enum trib_close_reason, valid once closed
    uint64_t texts, bulks; // records that came back
    uint64_t bulk_bytes;
    uint64_t bulks_before_text;
    uint64_t mistakes; // bytes that came back changed or out of place
};

// The byte at `offset` of every blob of these tests.
uint8_t echo_pattern(size_t offset);
// A blob of that pattern.
struct trib_blob *echo_blob(size_t size);

// Dials and makes the channel, which is not started yet. False: no connection.
bool echo_client_dial(struct echo_client *client, struct echo_server *server,
                      const uint8_t secret[static 32]);
// Closes if need be, waits and frees.
void echo_client_end(struct echo_client *client);
// One text and `bulk_size` bytes there and back. False: something is missing or changed.
bool echo_client_exchange(struct echo_server *server, size_t bulk_size);

// Waits until *counter >= value; false after ECHO_WAIT_MS.
bool echo_wait(const uint64_t *counter, uint64_t value);
uint64_t echo_get(const uint64_t *counter);

#endif // TRIB_TESTS_ECHO_H
