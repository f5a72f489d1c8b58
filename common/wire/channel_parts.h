// channel_parts.h - what a channel is made of: channel*.c and frames.c only.
#ifndef TRIB_WIRE_CHANNEL_PARTS_H
#define TRIB_WIRE_CHANNEL_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/pool.h"
#include "common/wire/channel.h"
#include "common/wire/sealed.h"
#include "common/wire/session.h"

enum {
    TRIB_CHANNEL_SMALL_SIZE = 512,
    TRIB_FRAME_SIZE = TRIB_FRAME_PREFIX_SIZE + TRIB_FRAME_MAX,
};

struct trib_frame {
    struct trib_frame *next; // free list
    uint8_t data[];
};

// What a channel waits for, one bit each, so that it is in a list at most once.
struct trib_frame_waiter {
    struct trib_channel *next;
    bool is_waiting;
};

struct trib_channel_item {
    struct trib_channel_item *next;
    uint8_t type;
    uint16_t stream;
    size_t size;
    uint8_t payload[];
};

struct trib_channel_bulk {
    struct trib_channel_bulk *next;
    uint8_t type;
    uint16_t stream;
    struct trib_blob *blob;     // a reference; or NULL
    struct trib_sealed *sealed; // a reference; or NULL
    size_t begin, end;          // what is left to send: bytes, or chunks of what is sealed
};

struct trib_channel {
    struct trib_work work; // first: the executor gives it back
    unsigned refs;         // atomic
    int schedule;          // atomic, enum schedule of channel.c
    struct trib_channel_options options;
    struct trib_conn *conn; // NULL once closing has begun; used by the work item only
    bool is_client;
    uint64_t created_ms;
    uint64_t heard_ms; // atomic

    // Only the work item touches these.
    struct trib_session session;
    struct trib_hello hello; // client
    bool has_said_hello;     // client
    bool is_answered;        // server, atomic: a hello was good
    bool is_welcomed;        // server: `opened` was called; client: the welcome came
    bool was_closed;         // `closed` was called
    int turns;               // that this run of it has, 0 on a thread of nng
    uint8_t small_in[TRIB_CHANNEL_SMALL_SIZE];
    uint8_t small_out[TRIB_CHANNEL_SMALL_SIZE];
    struct trib_frame *frame_in;
    struct trib_frame *frame_out;
    struct trib_sealed *sealed_out; // a reference, while its frames are being sent; or NULL
    struct trib_run run_in;         // client: what the next frames are
    size_t in_used;                 // bytes in the receive buffer
    uint64_t in_ms, out_ms; // atomic: when the frame in a large buffer began; 0: there is none
    uint64_t run_ms;        // atomic: the same of the run that is on its way
    struct trib_frame_waiter wait_in, wait_out; // guarded by the frames' locks

    pthread_mutex_t lock; // guards what follows
    bool is_started;
    bool is_receiving, is_sending;
    bool has_received; // `received_size` bytes came, or none: the peer is gone
    size_t received_size;
    bool has_failed;    // a send failed
    uint64_t linger_ms; // when the last message before closing was sent; 0: not yet
    bool is_gone;       // nng is done with the connection
    bool wants_close;
    bool closes_when_sent;
    enum trib_close_reason reason;
    struct trib_channel_item *items, **items_end;
    size_t item_count;
    struct trib_channel_bulk *bulks, **bulks_end;
};

// Any thread: something happened or is wanted, so the work item has to run.
void trib_channel_wake(struct trib_channel *channel);
bool trib_channel_wants_close(struct trib_channel *channel);

// frames.c. A buffer, or NULL: then the channel is woken when there may be one.
struct trib_frame *trib_frame_take(struct trib_frames *frames, struct trib_channel *channel);
size_t trib_frames_capacity(const struct trib_frames *frames); // of each, at least TRIB_FRAME_SIZE
void trib_frame_give(struct trib_frames *frames, struct trib_frame *frame);
bool trib_frames_are_wanted(struct trib_frames *frames); // somebody waits for one

// Steps of the work item: what came in (channel_receive.c), what goes out (channel_send.c).
void trib_channel_work_receive(struct trib_channel *channel);
void trib_channel_work_send(struct trib_channel *channel);
// Free what waits to be sent.
void trib_channel_drop_queues(struct trib_channel *channel);

#endif // TRIB_WIRE_CHANNEL_PARTS_H
