#include "common/wire/sealed.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/wire/message.h"

enum {
    FRAME = TRIB_FRAME_PREFIX_SIZE + TRIB_CHUNK_SIZE + TRIB_NOISE_TAG_SIZE,
};

struct trib_sealed {
    unsigned refs; // atomic
    size_t size;   // bytes that are sealed
    uint8_t key[TRIB_NOISE_KEY_SIZE];
    pthread_mutex_t lock;   // guards what follows
    size_t done;            // chunks that are sealed; what they became does not change any more
    struct trib_blob *blob; // what is sealed; NULL once all of it is
    uint8_t *frames;        // each FRAME bytes from the one before
};

// ---- Sealing

static size_t chunk_size(const struct trib_sealed *sealed, size_t chunk)
{
    const size_t left = sealed->size - chunk * TRIB_CHUNK_SIZE;
    return left < TRIB_CHUNK_SIZE ? left : TRIB_CHUNK_SIZE;
}

size_t trib_sealed_chunks(const struct trib_sealed *sealed)
{
    return (sealed->size + TRIB_CHUNK_SIZE - 1) / TRIB_CHUNK_SIZE;
}

enum trib_err trib_sealed_create(struct trib_blob *blob, struct trib_sealed **ret_sealed)
{
    assert(blob->size > 0 && blob->size <= UINT32_MAX);
    struct trib_sealed *sealed = trib_alloc(sizeof(*sealed));
    if (!sealed)
        return TRIB_ERR_NOMEM;
    sealed->size = blob->size;
    sealed->frames = trib_alloc_unset(trib_sealed_chunks(sealed), FRAME);
    if (!sealed->frames) {
        free(sealed);
        return TRIB_ERR_NOMEM;
    }
    sealed->refs = 1;
    sealed->blob = trib_blob_ref(blob);
    (void)pthread_mutex_init(&sealed->lock, NULL);
    trib_random_bytes(sealed->key, sizeof(sealed->key));
    *ret_sealed = sealed;
    return TRIB_OK;
}

struct trib_sealed *trib_sealed_ref(struct trib_sealed *sealed)
{
    __atomic_add_fetch(&sealed->refs, 1, __ATOMIC_RELAXED);
    return sealed;
}

void trib_sealed_unref(struct trib_sealed *sealed)
{
    if (!sealed || __atomic_sub_fetch(&sealed->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    trib_blob_unref(sealed->blob);
    trib_wipe(sealed->key, sizeof(sealed->key));
    (void)pthread_mutex_destroy(&sealed->lock);
    free(sealed->frames);
    free(sealed);
}

bool trib_sealed_is_shared(const struct trib_sealed *sealed)
{
    return __atomic_load_n(&sealed->refs, __ATOMIC_ACQUIRE) > 1;
}

static void seal_next(struct trib_sealed *sealed)
{
    const size_t chunk = sealed->done;
    const size_t size = chunk_size(sealed, chunk);
    uint8_t *frame = sealed->frames + chunk * FRAME;
    struct trib_noise_cipher cipher = {.nonce = chunk};
    memcpy(cipher.key, sealed->key, sizeof(cipher.key));
    trib_store_be16(frame, (uint16_t)(size + TRIB_NOISE_TAG_SIZE));
    uint8_t *body = frame + TRIB_FRAME_PREFIX_SIZE;
    memcpy(body, sealed->blob->data + chunk * TRIB_CHUNK_SIZE, size);
    if (TRIB_PLANT("forged-run"))
        body[0] ^= 1;
    enum trib_err err = trib_noise_encrypt(&cipher, body, size, body);
    assert(!err); // only a nonce that wraps is refused
    (void)err;
    trib_wipe(&cipher, sizeof(cipher));
    sealed->done++;
}

const uint8_t *trib_sealed_frames(struct trib_sealed *sealed, size_t first, size_t count,
                                  size_t *ret_size)
{
    const size_t end = first + count;
    assert(count > 0 && end <= trib_sealed_chunks(sealed));
    (void)pthread_mutex_lock(&sealed->lock);
    while (sealed->done < end)
        seal_next(sealed);
    if (sealed->blob && sealed->done == trib_sealed_chunks(sealed)) {
        trib_blob_unref(sealed->blob);
        sealed->blob = NULL;
    }
    (void)pthread_mutex_unlock(&sealed->lock);
    *ret_size = count * FRAME - (TRIB_CHUNK_SIZE - chunk_size(sealed, end - 1));
    return sealed->frames + first * FRAME;
}

void trib_sealed_announce(const struct trib_sealed *sealed, uint8_t type, uint16_t stream,
                          size_t first, size_t count,
                          uint8_t payload[static TRIB_SEALED_RUN_PAYLOAD],
                          struct trib_record *ret_record)
{
    assert(count > 0 && count <= UINT8_MAX);
    payload[0] = type;
    payload[1] = (uint8_t)count;
    memcpy(payload + 2, sealed->key, sizeof(sealed->key));
    *ret_record = (struct trib_record){.type = TRIB_RECORD_RUN,
                                       .stream = stream,
                                       .offset = (uint32_t)(first * TRIB_CHUNK_SIZE),
                                       .payload = payload,
                                       .payload_size = TRIB_SEALED_RUN_PAYLOAD};
}

// ---- Receiving

enum trib_err trib_run_begin(struct trib_run *run, const struct trib_record *record)
{
    assert(run->left == 0);
    if (record->type != TRIB_RECORD_RUN || record->payload_size != TRIB_SEALED_RUN_PAYLOAD ||
        record->payload[0] == TRIB_RECORD_RUN || record->payload[1] == 0 ||
        record->offset % TRIB_CHUNK_SIZE != 0)
        return TRIB_ERR_PROTO;
    run->type = record->payload[0];
    run->left = record->payload[1];
    run->stream = record->stream;
    run->offset = record->offset;
    memcpy(run->cipher.key, record->payload + 2, sizeof(run->cipher.key));
    run->cipher.nonce = record->offset / TRIB_CHUNK_SIZE;
    return TRIB_OK;
}

enum trib_err trib_run_open(struct trib_run *run, uint8_t *body, size_t size,
                            struct trib_record *ret_record)
{
    assert(run->left > 0);
    if (size <= TRIB_NOISE_TAG_SIZE || size > TRIB_CHUNK_SIZE + TRIB_NOISE_TAG_SIZE)
        return TRIB_ERR_PROTO;
    const size_t plain_size = size - TRIB_NOISE_TAG_SIZE;
    if (plain_size > UINT32_MAX - run->offset)
        return TRIB_ERR_PROTO;
    enum trib_err err = trib_noise_decrypt(&run->cipher, body, size, body);
    if (err)
        return err;
    *ret_record = (struct trib_record){.type = run->type,
                                       .stream = run->stream,
                                       .offset = run->offset,
                                       .payload = body,
                                       .payload_size = plain_size};
    run->offset += (uint32_t)plain_size;
    if (--run->left == 0)
        trib_run_fini(run);
    else if (plain_size < TRIB_CHUNK_SIZE)
        return TRIB_ERR_PROTO; // only the last chunk of all is a short one
    return TRIB_OK;
}

void trib_run_fini(struct trib_run *run)
{
    trib_wipe(run, sizeof(*run));
}
