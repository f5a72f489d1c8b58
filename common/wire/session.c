#include "common/wire/session.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "common/base/bytes.h"

enum {
    KEY = TRIB_NOISE_KEY_SIZE,
    HEAD_SIZE = 2 + TRIB_SESSION_MAC_SIZE, // of a hello, before the Noise message
    ID_SIZE = 16,
    HELLO_KNOWN_SIZE = 1,
    HELLO_TOKEN_SIZE = 1 + TRIB_TOKEN_ID_SIZE + TRIB_TOKEN_SECRET_SIZE,
};

_Static_assert(TRIB_FRAME_PREFIX_SIZE + HEAD_SIZE + TRIB_NOISE_MESSAGE_1_SIZE + HELLO_TOKEN_SIZE <=
                   TRIB_HANDSHAKE_MAX,
               "a hello fits what an unknown peer may send");

// BLAKE2b of a label and the coordinator's public key.
static void derive(const char *label, const uint8_t public[static KEY], uint8_t *out, size_t size)
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, size);
    (void)crypto_generichash_update(&state, (const uint8_t *)label, strlen(label));
    (void)crypto_generichash_update(&state, public, KEY);
    (void)crypto_generichash_final(&state, out, size);
}

static void begin_handshake(struct trib_session *session, const uint8_t *secret,
                            const uint8_t coordinator[static KEY])
{
    static const char name[] = "tributary";
    uint8_t prologue[sizeof(name) - 1 + 2 + ID_SIZE];
    uint8_t *next = prologue;

    memcpy(next, name, sizeof(name) - 1);
    next += sizeof(name) - 1;
    *next++ = TRIB_SESSION_VERSION;
    *next++ = TRIB_SESSION_SUITE;
    derive("trib id", coordinator, next, ID_SIZE);
    trib_noise_handshake_init(&session->handshake, session->is_client, secret,
                              session->is_client ? coordinator : NULL, prologue, sizeof(prologue));
}

static void init(struct trib_session *session, const uint8_t coordinator[static KEY])
{
    memset(session, 0, sizeof(*session));
    derive("trib mac1", coordinator, session->mac_key, sizeof(session->mac_key));
}

void trib_session_init_server(struct trib_session *session,
                              const uint8_t secret[static TRIB_NOISE_KEY_SIZE],
                              const uint8_t public[static TRIB_NOISE_KEY_SIZE])
{
    init(session, public);
    memcpy(session->secret, secret, KEY);
    memcpy(session->public, public, KEY);
}

void trib_session_set_former(struct trib_session *session, const struct trib_session_keys *former)
{
    session->former = former;
}

void trib_session_key_add(struct trib_session_keys *keys,
                          const uint8_t secret[static TRIB_NOISE_KEY_SIZE],
                          const uint8_t public[static TRIB_NOISE_KEY_SIZE])
{
    assert(keys->count < TRIB_SESSION_FORMER_MAX);
    struct trib_session_key *key = &keys->keys[keys->count++];
    derive("trib mac1", public, key->mac_key, sizeof(key->mac_key));
    memcpy(key->secret, secret, KEY);
    memcpy(key->public, public, KEY);
    key->is_void = 0;
}

void trib_session_key_void(struct trib_session_key *key)
{
    __atomic_store_n(&key->is_void, 1, __ATOMIC_RELEASE);
}

bool trib_session_key_is_void(const struct trib_session_key *key)
{
    return __atomic_load_n(&key->is_void, __ATOMIC_ACQUIRE) != 0;
}

void trib_session_init_client(struct trib_session *session,
                              const uint8_t secret[static TRIB_NOISE_KEY_SIZE],
                              const uint8_t coordinator[static TRIB_NOISE_KEY_SIZE])
{
    init(session, coordinator);
    session->is_client = true;
    begin_handshake(session, secret, coordinator);
}

void trib_session_fini(struct trib_session *session)
{
    sodium_memzero(session, sizeof(*session));
    session->state = TRIB_SESSION_DEAD;
}

static enum trib_err die(struct trib_session *session, enum trib_err err)
{
    trib_session_fini(session);
    return err;
}

static void mac1(const uint8_t mac_key[static KEY], const uint8_t *body, size_t size,
                 uint8_t mac[static TRIB_SESSION_MAC_SIZE])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, mac_key, KEY, TRIB_SESSION_MAC_SIZE);
    (void)crypto_generichash_update(&state, body, 2); // version, type
    (void)crypto_generichash_update(&state, body + HEAD_SIZE, size - HEAD_SIZE);
    (void)crypto_generichash_final(&state, mac, TRIB_SESSION_MAC_SIZE);
}

static bool is_made_with(const uint8_t mac_key[static KEY], const uint8_t *body, size_t size)
{
    uint8_t mac[TRIB_SESSION_MAC_SIZE];
    mac1(mac_key, body, size, mac);
    return sodium_memcmp(mac, body + 2, sizeof(mac)) == 0;
}

// The former key that the peer calls us by; NULL: none.
static const struct trib_session_key *find_former(const struct trib_session *session,
                                                  const uint8_t *body, size_t size)
{
    const struct trib_session_keys *former = session->former;
    for (size_t i = 0; former && i < former->count; i++) {
        const struct trib_session_key *key = &former->keys[i];
        if (!trib_session_key_is_void(key) && is_made_with(key->mac_key, body, size))
            return key;
    }
    return NULL;
}

static bool has_mac(size_t size)
{
    return size >= HEAD_SIZE + TRIB_NOISE_MESSAGE_1_SIZE + HELLO_KNOWN_SIZE;
}

bool trib_session_mac_is_good(const struct trib_session *session, const uint8_t *body, size_t size)
{
    return has_mac(size) &&
           (is_made_with(session->mac_key, body, size) || find_former(session, body, size) != NULL);
}

const uint8_t *trib_session_hello_ephemeral(const uint8_t *body)
{
    return body + HEAD_SIZE; // Noise message 1 begins with it
}

// Be who the peer calls us. False: nobody we are.
static bool take_name(struct trib_session *session, const uint8_t *body, size_t size)
{
    if (!has_mac(size))
        return false;
    if (is_made_with(session->mac_key, body, size))
        return true;
    const struct trib_session_key *key = find_former(session, body, size);
    if (!key)
        return false;
    memcpy(session->secret, key->secret, KEY);
    memcpy(session->public, key->public, KEY);
    return true;
}

// ---- Hello

enum trib_err trib_session_write_hello(struct trib_session *session, const struct trib_hello *hello,
                                       uint8_t out[static TRIB_HANDSHAKE_MAX], size_t *ret_size)
{
    uint8_t payload[HELLO_TOKEN_SIZE] = {(uint8_t)hello->kind};
    size_t payload_size = HELLO_KNOWN_SIZE;
    uint8_t *body = out + TRIB_FRAME_PREFIX_SIZE;

    assert(session->is_client && session->state == TRIB_SESSION_HANDSHAKE);
    if (hello->kind == TRIB_HELLO_TOKEN) {
        memcpy(payload + 1, hello->token_id, TRIB_TOKEN_ID_SIZE);
        memcpy(payload + 1 + TRIB_TOKEN_ID_SIZE, hello->token_secret, TRIB_TOKEN_SECRET_SIZE);
        payload_size = HELLO_TOKEN_SIZE;
    }
    size_t size = HEAD_SIZE + TRIB_NOISE_MESSAGE_1_SIZE + payload_size;
    body[0] = TRIB_SESSION_VERSION;
    body[1] = TRIB_SESSION_TYPE_HELLO;
    enum trib_err err =
        trib_noise_write_1(&session->handshake, payload, payload_size, body + HEAD_SIZE);
    sodium_memzero(payload, sizeof(payload));
    if (err)
        return die(session, err);
    mac1(session->mac_key, body, size, body + 2);
    trib_store_be16(out, (uint16_t)size);
    *ret_size = TRIB_FRAME_PREFIX_SIZE + size;
    return TRIB_OK;
}

static bool take_hello(const uint8_t *payload, size_t size, struct trib_hello *hello)
{
    if (size == HELLO_KNOWN_SIZE && payload[0] == TRIB_HELLO_KNOWN) {
        hello->kind = TRIB_HELLO_KNOWN;
        return true;
    }
    if (size == HELLO_TOKEN_SIZE && payload[0] == TRIB_HELLO_TOKEN) {
        hello->kind = TRIB_HELLO_TOKEN;
        memcpy(hello->token_id, payload + 1, TRIB_TOKEN_ID_SIZE);
        memcpy(hello->token_secret, payload + 1 + TRIB_TOKEN_ID_SIZE, TRIB_TOKEN_SECRET_SIZE);
        return true;
    }
    return false;
}

enum trib_err trib_session_read_hello(struct trib_session *session, const uint8_t *body,
                                      size_t size, struct trib_hello *ret_hello)
{
    uint8_t payload[TRIB_HANDSHAKE_MAX];
    struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};

    if (session->state != TRIB_SESSION_HANDSHAKE || session->is_client)
        return die(session, TRIB_ERR_STATE);
    if (size > TRIB_HANDSHAKE_MAX || size < 2 || body[0] != TRIB_SESSION_VERSION ||
        body[1] != TRIB_SESSION_TYPE_HELLO)
        return die(session, TRIB_ERR_PROTO);
    if (!take_name(session, body, size))
        return die(session, TRIB_ERR_AUTH);
    begin_handshake(session, session->secret, session->public);
    sodium_memzero(session->secret, sizeof(session->secret));
    enum trib_err err =
        trib_noise_read_1(&session->handshake, body + HEAD_SIZE, size - HEAD_SIZE, payload);
    if (err)
        return die(session, err);
    if (!take_hello(payload, size - HEAD_SIZE - TRIB_NOISE_MESSAGE_1_SIZE, &hello))
        err = TRIB_ERR_PROTO;
    sodium_memzero(payload, sizeof(payload));
    if (err)
        return die(session, err);
    memcpy(hello.static_key, session->handshake.remote_static, KEY);
    memcpy(hello.ephemeral, session->handshake.remote_ephemeral, KEY);
    *ret_hello = hello;
    sodium_memzero(&hello, sizeof(hello));
    return TRIB_OK;
}

// ---- Welcome

static void open_session(struct trib_session *session)
{
    trib_noise_split(&session->handshake, &session->send, &session->receive);
    session->state = TRIB_SESSION_OPEN;
}

enum trib_err trib_session_write_welcome(struct trib_session *session,
                                         const struct trib_welcome *welcome,
                                         uint8_t out[static TRIB_HANDSHAKE_MAX], size_t *ret_size)
{
    uint8_t payload[TRIB_WELCOME_SIZE] = {welcome->version, welcome->status};
    const size_t size = TRIB_NOISE_MESSAGE_2_SIZE + sizeof(payload);

    assert(!session->is_client && session->state == TRIB_SESSION_HANDSHAKE);
    trib_store_le32(payload + 4, welcome->record_max);
    trib_store_le64(payload + 8, welcome->time_ms);
    trib_store_le32(payload + 16, welcome->retry_min_ms);
    trib_store_le32(payload + 20, welcome->retry_max_ms);
    enum trib_err err = trib_noise_write_2(&session->handshake, payload, sizeof(payload),
                                           out + TRIB_FRAME_PREFIX_SIZE);
    if (err)
        return die(session, err);
    trib_store_be16(out, (uint16_t)size);
    open_session(session);
    *ret_size = TRIB_FRAME_PREFIX_SIZE + size;
    return TRIB_OK;
}

enum trib_err trib_session_read_welcome(struct trib_session *session, const uint8_t *body,
                                        size_t size, struct trib_welcome *ret_welcome)
{
    uint8_t payload[TRIB_WELCOME_SIZE];

    if (session->state != TRIB_SESSION_HANDSHAKE || !session->is_client)
        return die(session, TRIB_ERR_STATE);
    if (size != TRIB_NOISE_MESSAGE_2_SIZE + sizeof(payload))
        return die(session, TRIB_ERR_PROTO);
    enum trib_err err = trib_noise_read_2(&session->handshake, body, size, payload);
    if (err)
        return die(session, err);
    struct trib_welcome welcome = {
        .version = payload[0],
        .status = payload[1],
        .record_max = trib_load_le32(payload + 4),
        .time_ms = trib_load_le64(payload + 8),
        .retry_min_ms = trib_load_le32(payload + 16),
        .retry_max_ms = trib_load_le32(payload + 20),
    };
    if (welcome.version < TRIB_SESSION_VERSION || welcome.retry_min_ms > welcome.retry_max_ms)
        return die(session, TRIB_ERR_PROTO);
    open_session(session);
    *ret_welcome = welcome;
    return TRIB_OK;
}

// ---- Records

enum trib_err trib_session_seal(struct trib_session *session, const struct trib_record *record,
                                uint8_t *out, size_t *ret_size)
{
    uint8_t *body = out + TRIB_FRAME_PREFIX_SIZE;
    const size_t plain_size = TRIB_RECORD_HEADER_SIZE + record->payload_size;

    assert(record->payload_size <= TRIB_RECORD_PAYLOAD_MAX);
    if (session->state != TRIB_SESSION_OPEN)
        return TRIB_ERR_STATE;
    body[0] = record->type;
    body[1] = record->flags;
    trib_store_le16(body + 2, record->stream);
    trib_store_le32(body + 4, record->offset);
    if (record->payload_size > 0)
        memcpy(body + TRIB_RECORD_HEADER_SIZE, record->payload, record->payload_size);
    enum trib_err err = trib_noise_encrypt(&session->send, body, plain_size, body);
    if (err)
        return die(session, err);
    if (++session->sent % TRIB_REKEY_RECORDS == 0)
        trib_noise_rekey(&session->send);
    trib_store_be16(out, (uint16_t)(plain_size + TRIB_AEAD_TAG_SIZE));
    *ret_size = TRIB_FRAME_PREFIX_SIZE + plain_size + TRIB_AEAD_TAG_SIZE;
    return TRIB_OK;
}

enum trib_err trib_session_open(struct trib_session *session, uint8_t *body, size_t size,
                                struct trib_record *ret_record)
{
    if (session->state != TRIB_SESSION_OPEN)
        return TRIB_ERR_STATE;
    if (size < TRIB_RECORD_HEADER_SIZE + TRIB_AEAD_TAG_SIZE)
        return die(session, TRIB_ERR_PROTO);
    enum trib_err err = trib_noise_decrypt(&session->receive, body, size, body);
    if (err)
        return die(session, err);
    if (++session->received % TRIB_REKEY_RECORDS == 0)
        trib_noise_rekey(&session->receive);
    *ret_record = (struct trib_record){
        .type = body[0],
        .flags = body[1],
        .stream = trib_load_le16(body + 2),
        .offset = trib_load_le32(body + 4),
        .payload = body + TRIB_RECORD_HEADER_SIZE,
        .payload_size = size - TRIB_RECORD_HEADER_SIZE - TRIB_AEAD_TAG_SIZE,
    };
    return TRIB_OK;
}
