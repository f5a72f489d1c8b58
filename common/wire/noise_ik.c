#include "common/wire/noise_ik.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

enum {
    KEY = TRIB_NOISE_KEY_SIZE,
    HASH = TRIB_NOISE_HASH_SIZE,
    TAG = TRIB_NOISE_TAG_SIZE,
    BLOCK = 128, // of BLAKE2b, for HMAC
};

// ---- Hashing (Noise 4.3)

struct piece {
    const void *data;
    size_t size;
};

static void hash_pieces(const struct piece *pieces, size_t count, uint8_t out[static HASH])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, HASH);
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].size > 0)
            (void)crypto_generichash_update(&state, pieces[i].data, pieces[i].size);
    }
    (void)crypto_generichash_final(&state, out, HASH);
    sodium_memzero(&state, sizeof(state));
}

// RFC 2104 over BLAKE2b-512; `key` is at most one block.
static void hmac(const uint8_t *key, size_t key_size, const struct piece *first,
                 const struct piece *second, uint8_t out[static HASH])
{
    uint8_t inner_pad[BLOCK];
    uint8_t outer_pad[BLOCK];
    uint8_t inner[HASH];

    memset(inner_pad, 0x36, sizeof(inner_pad));
    memset(outer_pad, 0x5c, sizeof(outer_pad));
    for (size_t i = 0; i < key_size; i++) {
        inner_pad[i] ^= key[i];
        outer_pad[i] ^= key[i];
    }
    hash_pieces((const struct piece[]){{inner_pad, BLOCK}, *first, *second}, 3, inner);
    hash_pieces((const struct piece[]){{outer_pad, BLOCK}, {inner, HASH}}, 2, out);
    sodium_memzero(inner_pad, sizeof(inner_pad));
    sodium_memzero(outer_pad, sizeof(outer_pad));
    sodium_memzero(inner, sizeof(inner));
}

// Noise 4.3: HKDF with two outputs.
static void hkdf(const uint8_t chaining_key[static HASH], const uint8_t *input, size_t input_size,
                 uint8_t first[static HASH], uint8_t second[static HASH])
{
    static const uint8_t one = 1;
    static const uint8_t two = 2;
    static const struct piece nothing = {NULL, 0};
    uint8_t temp[HASH];
    uint8_t output_1[HASH];

    hmac(chaining_key, HASH, &(struct piece){input, input_size}, &nothing, temp);
    hmac(temp, HASH, &(struct piece){&one, 1}, &nothing, output_1);
    hmac(temp, HASH, &(struct piece){output_1, HASH}, &(struct piece){&two, 1}, second);
    memcpy(first, output_1, HASH);
    sodium_memzero(temp, sizeof(temp));
    sodium_memzero(output_1, sizeof(output_1));
}

// ---- Ciphers (Noise 5.1; 12.3: the nonce is 32 zero bits and a little-endian counter)

static void write_nonce(uint64_t counter, uint8_t nonce[static 12])
{
    memset(nonce, 0, 4);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(counter >> (8 * i));
}

static enum trib_err seal(struct trib_noise_cipher *cipher, const struct piece *associated,
                          const uint8_t *data, size_t size, uint8_t *out)
{
    uint8_t nonce[12];
    if (cipher->nonce == UINT64_MAX) // reserved for REKEY
        return TRIB_ERR_LIMIT;
    write_nonce(cipher->nonce++, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, data, size, associated->data,
                                                    associated->size, NULL, nonce, cipher->key);
    return TRIB_OK;
}

static enum trib_err unseal(struct trib_noise_cipher *cipher, const struct piece *associated,
                            const uint8_t *data, size_t size, uint8_t *out)
{
    uint8_t nonce[12];
    if (size < TAG || cipher->nonce == UINT64_MAX)
        return TRIB_ERR_AUTH;
    write_nonce(cipher->nonce, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, data, size, associated->data,
                                                  associated->size, nonce, cipher->key))
        return TRIB_ERR_AUTH;
    cipher->nonce++;
    return TRIB_OK;
}

static const struct piece no_data = {NULL, 0};

enum trib_err trib_noise_encrypt(struct trib_noise_cipher *cipher, const uint8_t *data, size_t size,
                                 uint8_t *out)
{
    return seal(cipher, &no_data, data, size, out);
}

enum trib_err trib_noise_decrypt(struct trib_noise_cipher *cipher, const uint8_t *data, size_t size,
                                 uint8_t *out)
{
    return unseal(cipher, &no_data, data, size, out);
}

void trib_noise_rekey(struct trib_noise_cipher *cipher)
{
    static const uint8_t zeroes[KEY] = {0};
    uint8_t nonce[12];
    uint8_t out[KEY + TAG];
    write_nonce(UINT64_MAX, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, zeroes, KEY, NULL, 0, NULL, nonce,
                                                    cipher->key);
    memcpy(cipher->key, out, KEY);
    sodium_memzero(out, sizeof(out));
}

// ---- Symmetric state (Noise 5.2)

static void mix_hash(struct trib_noise_handshake *h, const uint8_t *data, size_t size)
{
    hash_pieces((const struct piece[]){{h->hash, HASH}, {data, size}}, 2, h->hash);
}

static void mix_key(struct trib_noise_handshake *h, const uint8_t *input, size_t size)
{
    uint8_t key[HASH];
    hkdf(h->chaining_key, input, size, h->chaining_key, key);
    memcpy(h->cipher.key, key, KEY); // Noise 5.2: truncated to 32 bytes
    h->cipher.nonce = 0;
    sodium_memzero(key, sizeof(key));
}

static enum trib_err encrypt_and_hash(struct trib_noise_handshake *h, const uint8_t *data,
                                      size_t size, uint8_t *out)
{
    enum trib_err err = seal(&h->cipher, &(struct piece){h->hash, HASH}, data, size, out);
    if (!err)
        mix_hash(h, out, size + TAG);
    return err;
}

static enum trib_err decrypt_and_hash(struct trib_noise_handshake *h, const uint8_t *data,
                                      size_t size, uint8_t *out)
{
    uint8_t next[HASH];
    hash_pieces((const struct piece[]){{h->hash, HASH}, {data, size}}, 2, next);
    enum trib_err err = unseal(&h->cipher, &(struct piece){h->hash, HASH}, data, size, out);
    if (!err)
        memcpy(h->hash, next, HASH);
    return err;
}

// MixKey(DH(secret, public)); an all-zero result (a low-order point) is refused.
static enum trib_err mix_dh(struct trib_noise_handshake *h, const uint8_t *secret,
                            const uint8_t *public)
{
    uint8_t shared[KEY];
    enum trib_err err = crypto_scalarmult(shared, secret, public) ? TRIB_ERR_AUTH : TRIB_OK;
    if (!err)
        mix_key(h, shared, sizeof(shared));
    sodium_memzero(shared, sizeof(shared));
    return err;
}

void trib_noise_public(const uint8_t secret[static TRIB_NOISE_KEY_SIZE],
                       uint8_t ret_public[static TRIB_NOISE_KEY_SIZE])
{
    (void)crypto_scalarmult_base(ret_public, secret);
}

// ---- Handshake state (Noise 5.3)

void trib_noise_handshake_set_ephemeral(struct trib_noise_handshake *handshake,
                                        const uint8_t secret[static TRIB_NOISE_KEY_SIZE])
{
    memcpy(handshake->ephemeral_secret, secret, KEY);
    trib_noise_public(secret, handshake->ephemeral_public);
}

void trib_noise_handshake_init(struct trib_noise_handshake *h, bool is_initiator,
                               const uint8_t static_secret[static TRIB_NOISE_KEY_SIZE],
                               const uint8_t *remote_static, const void *prologue,
                               size_t prologue_size)
{
    static const char name[] = "Noise_IK_25519_ChaChaPoly_BLAKE2b";
    uint8_t ephemeral[KEY];

    assert(is_initiator == (remote_static != NULL));
    memset(h, 0, sizeof(*h));
    h->is_initiator = is_initiator;
    memcpy(h->hash, name, sizeof(name) - 1); // shorter than a hash: padded with zeroes
    memcpy(h->chaining_key, h->hash, HASH);
    mix_hash(h, prologue, prologue_size);

    memcpy(h->static_secret, static_secret, KEY);
    trib_noise_public(static_secret, h->static_public);
    randombytes_buf(ephemeral, sizeof(ephemeral));
    trib_noise_handshake_set_ephemeral(h, ephemeral);
    sodium_memzero(ephemeral, sizeof(ephemeral));
    if (is_initiator)
        memcpy(h->remote_static, remote_static, KEY);
    mix_hash(h, is_initiator ? h->remote_static : h->static_public, KEY); // <- s
}

void trib_noise_handshake_fini(struct trib_noise_handshake *handshake)
{
    sodium_memzero(handshake, sizeof(*handshake));
}

// Commit the copy, or drop it; either way no secret stays behind in it.
static enum trib_err settle(struct trib_noise_handshake *handshake,
                            struct trib_noise_handshake *copy, enum trib_err err)
{
    if (!err)
        *handshake = *copy;
    sodium_memzero(copy, sizeof(*copy));
    return err;
}

enum trib_err trib_noise_write_1(struct trib_noise_handshake *handshake, const uint8_t *payload,
                                 size_t payload_size, uint8_t *out)
{
    struct trib_noise_handshake h = *handshake;
    enum trib_err err;

    // -> e
    memcpy(out, h.ephemeral_public, KEY);
    mix_hash(&h, h.ephemeral_public, KEY);
    // es
    err = mix_dh(&h, h.ephemeral_secret, h.remote_static);
    // s
    if (!err)
        err = encrypt_and_hash(&h, h.static_public, KEY, out + KEY);
    // ss
    if (!err)
        err = mix_dh(&h, h.static_secret, h.remote_static);
    // payload
    if (!err)
        err = encrypt_and_hash(&h, payload, payload_size, out + KEY + KEY + TAG);
    return settle(handshake, &h, err);
}

enum trib_err trib_noise_read_1(struct trib_noise_handshake *handshake, const uint8_t *data,
                                size_t size, uint8_t *ret_payload)
{
    struct trib_noise_handshake h = *handshake;
    enum trib_err err;

    if (size < TRIB_NOISE_MESSAGE_1_SIZE)
        return TRIB_ERR_AUTH;
    // -> e
    memcpy(h.remote_ephemeral, data, KEY);
    mix_hash(&h, h.remote_ephemeral, KEY);
    // es
    err = mix_dh(&h, h.static_secret, h.remote_ephemeral);
    // s
    if (!err)
        err = decrypt_and_hash(&h, data + KEY, KEY + TAG, h.remote_static);
    // ss
    if (!err)
        err = mix_dh(&h, h.static_secret, h.remote_static);
    // payload
    const size_t head = KEY + KEY + TAG;
    if (!err)
        err = decrypt_and_hash(&h, data + head, size - head, ret_payload);
    return settle(handshake, &h, err);
}

enum trib_err trib_noise_write_2(struct trib_noise_handshake *handshake, const uint8_t *payload,
                                 size_t payload_size, uint8_t *out)
{
    struct trib_noise_handshake h = *handshake;
    enum trib_err err;

    // <- e
    memcpy(out, h.ephemeral_public, KEY);
    mix_hash(&h, h.ephemeral_public, KEY);
    // ee
    err = mix_dh(&h, h.ephemeral_secret, h.remote_ephemeral);
    // se
    if (!err)
        err = mix_dh(&h, h.ephemeral_secret, h.remote_static);
    // payload
    if (!err)
        err = encrypt_and_hash(&h, payload, payload_size, out + KEY);
    return settle(handshake, &h, err);
}

enum trib_err trib_noise_read_2(struct trib_noise_handshake *handshake, const uint8_t *data,
                                size_t size, uint8_t *ret_payload)
{
    struct trib_noise_handshake h = *handshake;
    enum trib_err err;

    if (size < TRIB_NOISE_MESSAGE_2_SIZE)
        return TRIB_ERR_AUTH;
    // <- e
    memcpy(h.remote_ephemeral, data, KEY);
    mix_hash(&h, h.remote_ephemeral, KEY);
    // ee
    err = mix_dh(&h, h.ephemeral_secret, h.remote_ephemeral);
    // se
    if (!err)
        err = mix_dh(&h, h.static_secret, h.remote_ephemeral);
    // payload
    if (!err)
        err = decrypt_and_hash(&h, data + KEY, size - KEY, ret_payload);
    return settle(handshake, &h, err);
}

void trib_noise_split(struct trib_noise_handshake *handshake, struct trib_noise_cipher *ret_send,
                      struct trib_noise_cipher *ret_receive)
{
    uint8_t first[HASH];
    uint8_t second[HASH];
    uint8_t hash[HASH];
    const bool is_initiator = handshake->is_initiator;

    hkdf(handshake->chaining_key, NULL, 0, first, second);
    *ret_send = (struct trib_noise_cipher){.nonce = 0};
    *ret_receive = (struct trib_noise_cipher){.nonce = 0};
    memcpy(ret_send->key, is_initiator ? first : second, KEY);
    memcpy(ret_receive->key, is_initiator ? second : first, KEY);
    sodium_memzero(first, sizeof(first));
    sodium_memzero(second, sizeof(second));

    memcpy(hash, handshake->hash, HASH);
    trib_noise_handshake_fini(handshake);
    memcpy(handshake->hash, hash, HASH);
}
