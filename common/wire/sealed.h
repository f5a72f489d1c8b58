// sealed.h - bytes that are sealed once and sent to many: a model, to every device of a fleet.
//
// A session's own records are sealed for that session alone. For four megabytes that a thousand
// devices get alike that is a thousand times the same work. So the bytes are sealed once, under a
// key of their own, and each session tells its device that key, in a record, before what it is for:
//
//     run     := record RUN | frame x count                    RUN: type 128, offset of the first
//     payload := u8 type of the chunks | u8 count | key (32)   of RUN
//     frame   := u16 big-endian length | sealed chunk          length = chunk + 16
//
// A chunk has TRIB_CHUNK_SIZE bytes, the last one what is left; it is sealed with
// ChaCha20-Poly1305, the nonce is its number in the whole (Noise 5.1), nothing is authenticated
// beside it. The key is random and seals nothing else, so that no nonce comes twice.
// Who is not in a session learns no more and can change no more than with records of a session:
// the frames of a run have their place in it, and one that is missing, doubled, moved or changed
// does not open. Who has the key, any device that was sent the same, could put other bytes in their
// place for somebody whose connection he holds: so nothing may be sent in runs that is not checked
// against a signed digest afterwards.
#ifndef TRIB_WIRE_SEALED_H
#define TRIB_WIRE_SEALED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/wire/blob.h"
#include "common/wire/noise_ik.h"
#include "common/wire/session.h"
#include "tributary/err.h"

enum {
    TRIB_SEALED_RUN_MAX = 4, // frames of a run that we send: as long does a control message wait
    TRIB_SEALED_RUN_PAYLOAD = 2 + TRIB_NOISE_KEY_SIZE,
};

struct trib_sealed; // a counted reference

// Nothing is sealed yet; holds a reference to the blob until everything is.
TRIB_CHECKED enum trib_err trib_sealed_create(struct trib_blob *blob,
                                              struct trib_sealed **ret_sealed);
struct trib_sealed *trib_sealed_ref(struct trib_sealed *sealed);
void trib_sealed_unref(struct trib_sealed *sealed);           // NULL is fine
bool trib_sealed_is_shared(const struct trib_sealed *sealed); // there is more than one reference
size_t trib_sealed_chunks(const struct trib_sealed *sealed);

// The frames of chunks [first, first + count), and their size; sealed now if nobody was sent them
// before. Any thread.
const uint8_t *trib_sealed_frames(struct trib_sealed *sealed, size_t first, size_t count,
                                  size_t *ret_size);

// The record that comes before them; its payload is `payload`.
void trib_sealed_announce(const struct trib_sealed *sealed, uint8_t type, uint16_t stream,
                          size_t first, size_t count,
                          uint8_t payload[static TRIB_SEALED_RUN_PAYLOAD],
                          struct trib_record *ret_record);

// ---- Receiving

// A run that has begun; all zeroes: none has.
struct trib_run {
    size_t left; // frames that are still to come
    uint8_t type;
    uint16_t stream;
    uint32_t offset; // of the next chunk
    struct trib_noise_cipher cipher;
};

// Begin with a record RUN. TRIB_ERR_PROTO: it makes no sense.
TRIB_CHECKED enum trib_err trib_run_begin(struct trib_run *run, const struct trib_record *record);
// Open its next frame in place. TRIB_ERR_AUTH or TRIB_ERR_PROTO: it is not the one that was meant.
TRIB_CHECKED enum trib_err trib_run_open(struct trib_run *run, uint8_t *body, size_t size,
                                         struct trib_record *ret_record);
void trib_run_fini(struct trib_run *run);

#endif // TRIB_WIRE_SEALED_H
