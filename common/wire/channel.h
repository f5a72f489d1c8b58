// channel.h - a connection with its session: records in, records out.
//
// A channel is an actor. Threads of nng and of its owner only note what happened or what is wanted;
// the work (parsing, deciphering, sealing, callbacks) is done by trib_channel's work item, which is
// handed to the owner's executor and never runs twice at once. So handlers of one channel are
// called one at a time, and records arrive in order.
//
// An idle channel keeps 512 bytes for what may come. A frame that is longer is only read after
// authentication, into one of the owner's few large buffers; when none is free, the channel does
// not read until one is, and TCP holds the peer back. Who sends half a frame, or takes half a one
// away, and then stops does not keep a buffer from the others: trib_channel_tick.
//
// Channels are counted references: the creator has one, a pending work item another.
#ifndef TRIB_WIRE_CHANNEL_H
#define TRIB_WIRE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/pool.h"
#include "common/wire/blob.h"
#include "common/wire/frames.h"
#include "common/wire/link.h"
#include "common/wire/sealed.h"
#include "common/wire/session.h"
#include "tributary/err.h"

struct trib_channel;

// Why a channel was closed: one counter each.
enum trib_close_reason {
    TRIB_CLOSE_PEER,      // the peer went away
    TRIB_CLOSE_FULL,      // too many connections
    TRIB_CLOSE_SLOW,      // no handshake, or no whole record, in time
    TRIB_CLOSE_OVERSIZE,  // a frame longer than allowed before authentication
    TRIB_CLOSE_BAD_MAC,   // does not know our key
    TRIB_CLOSE_HANDSHAKE, // its handshake is not genuine
    TRIB_CLOSE_UNKNOWN,   // genuine, but nobody we serve
    TRIB_CLOSE_REPLAY,
    TRIB_CLOSE_BUDGET,    // handshake budget used up
    TRIB_CLOSE_CIPHER,    // a record is not genuine
    TRIB_CLOSE_MALFORMED, // a record or message makes no sense
    TRIB_CLOSE_IDLE,      // nothing heard for too long
    TRIB_CLOSE_REPLACED,  // a newer session of the same device
    TRIB_CLOSE_REVOKED,
    TRIB_CLOSE_RETIRED, // it called us by a key that is answered no more
    TRIB_CLOSE_LIMIT,   // more in its queue than it takes away
    TRIB_CLOSE_DONE,    // it did what it came for
    TRIB_CLOSE_SHUTDOWN,
    TRIB_CLOSE_NOMEM,
    TRIB_CLOSE_REASONS,
};
const char *trib_close_reason_text(enum trib_close_reason reason);

struct trib_channel_handler {
    // Server, when a hello was made for us, before its curve arithmetic: is it to be read? False:
    // silence and close, for *ret_reason. Nobody has proven that the ephemeral is theirs. NULL: all.
    bool (*knock)(void *user, struct trib_channel *channel,
                  const uint8_t ephemeral[static TRIB_NOISE_KEY_SIZE],
                  enum trib_close_reason *ret_reason);
    // Server: may this device come in? False: silence and close, for *ret_reason.
    bool (*hello)(void *user, struct trib_channel *channel, const struct trib_hello *hello,
                  struct trib_welcome *ret_welcome, enum trib_close_reason *ret_reason);
    // The session is open: client, after the welcome; server, with the device's first record.
    void (*opened)(void *user, struct trib_channel *channel, const struct trib_welcome *welcome);
    // False: the record makes no sense, close (malformed).
    bool (*record)(void *user, struct trib_channel *channel, const struct trib_record *record);
    // Once and last. The owner's reference is still there.
    void (*closed)(void *user, struct trib_channel *channel, enum trib_close_reason reason);
};

struct trib_channel_options {
    const struct trib_channel_handler *handler;             // borrowed for the channel's life
    void *user;                                             // what the handlers are given
    void (*submit)(void *executor, struct trib_work *work); // from any thread
    void *executor;
    // Handlers may be called on threads of nng, too: then what is short is done where it came in,
    // without waking a thread of the executor, which costs more than the work.
    bool does_short_work_at_once;
    struct trib_frames *receive_frames; // borrowed; two sets, so that neither direction
    struct trib_frames *send_frames;    // can starve the other
    uint64_t *received_bytes;           // atomic counters of the owner, or NULL
    uint64_t *sent_bytes;
    const uint8_t *secret;                  // 32 bytes: ours, read while creating
    const uint8_t *coordinator;             // the coordinator's public key
    const struct trib_session_keys *former; // server: borrowed for the channel's life, or NULL
    const struct trib_hello *hello;         // client
};

// Both take the connection, also when they fail.
TRIB_CHECKED enum trib_err trib_channel_accept(struct trib_conn *conn,
                                               const struct trib_channel_options *options,
                                               struct trib_channel **ret_channel);
TRIB_CHECKED enum trib_err trib_channel_connect(struct trib_conn *conn,
                                                const struct trib_channel_options *options,
                                                struct trib_channel **ret_channel);
struct trib_channel *trib_channel_ref(struct trib_channel *channel);
void trib_channel_unref(struct trib_channel *channel); // NULL is fine

// Begin reading, and for a client say hello: after the owner has stored the channel.
void trib_channel_start(struct trib_channel *channel);

enum {
    TRIB_CHANNEL_QUEUE_MAX = 256, // messages that wait to be sent
};

// Queue a control message; the payload is copied. TRIB_ERR_LIMIT: the peer takes nothing away and
// the channel is being closed. TRIB_ERR_STATE: it is closed. Any thread.
TRIB_CHECKED enum trib_err trib_channel_send(struct trib_channel *channel, uint8_t type,
                                             uint16_t stream, const void *payload, size_t size);
// Queue bytes [begin, end) of a blob as chunk records; their offset is that in the blob. Control
// messages overtake them. Any thread.
TRIB_CHECKED enum trib_err trib_channel_send_blob(struct trib_channel *channel, uint8_t type,
                                                  uint16_t stream, struct trib_blob *blob,
                                                  size_t begin, size_t end);
// Queue chunks [begin, end) of what is sealed for many, in runs, if the peer said that it takes them.
TRIB_CHECKED enum trib_err trib_channel_send_sealed(struct trib_channel *channel, uint8_t type,
                                                    uint16_t stream, struct trib_sealed *sealed,
                                                    size_t begin, size_t end);
// Drop blobs that wait with this type.
void trib_channel_drop_blobs(struct trib_channel *channel, uint8_t type);

// Close at once, or when what is queued now was sent. The first reason counts. Any thread.
void trib_channel_close(struct trib_channel *channel, enum trib_close_reason reason);
void trib_channel_close_after(struct trib_channel *channel, enum trib_close_reason reason);
// Call now and then: ends the wait of close_after for a peer that does not go by itself (1 s), and
// closes (slow) who holds a large buffer with half a record for too long: TRIB_RECORD_MS, or
// TRIB_RECORD_WANTED_MS when others wait for one; or a run for TRIB_RECORD_MS.
void trib_channel_tick(struct trib_channel *channel, uint64_t now_ms);

void trib_channel_set_user(struct trib_channel *channel, void *user); // from its own handlers only
void *trib_channel_user(const struct trib_channel *channel);
// Server, after hello: which of our public keys the peer called us by.
const uint8_t *trib_channel_own_key(const struct trib_channel *channel);
const uint8_t *trib_channel_remote_key(const struct trib_channel *channel); // after hello
bool trib_channel_is_open(const struct trib_channel *channel);
// Server, any thread: no whole hello has come, and nothing that came waits to be looked at.
bool trib_channel_is_mute(const struct trib_channel *channel);
uint64_t trib_channel_created_ms(const struct trib_channel *channel);
uint64_t trib_channel_heard_ms(const struct trib_channel *channel); // last record, any thread
void trib_channel_peer_text(const struct trib_channel *channel,
                            char text[static TRIB_PEER_TEXT_SIZE]);

#endif // TRIB_WIRE_CHANNEL_H
