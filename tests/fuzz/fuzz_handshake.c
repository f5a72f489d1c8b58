// The first byte says who reads: 0 a coordinator a hello, 1 the same with its mac1 made good (who
// has the public key can do that), 2 a device a welcome. Keys and ephemerals are fixed, so that the
// genuine messages of the corpus are accepted and the fuzzer can start from them.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/wipe.h"
#include "common/wire/session.h"

enum {
    HEAD_SIZE = 2 + TRIB_SESSION_MAC_SIZE, // of a hello, before the Noise message
};

static const uint8_t device_secret[32] = "a device just for fuzzing";
static const uint8_t server_secret[32] = "a server just for fuzzing";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

static void require_dead(const struct trib_session *session)
{
    static const struct trib_session dead = {.state = TRIB_SESSION_DEAD};
    require(memcmp(session, &dead, sizeof(dead)) == 0);
}

static void write_mac(const uint8_t server_key[static 32], uint8_t *body, size_t size)
{
    struct trib_hash hash;
    uint8_t key[32];
    trib_hash_init(&hash, NULL, 0, sizeof(key));
    trib_hash_update(&hash, "trib mac1", 9);
    trib_hash_update(&hash, server_key, 32);
    trib_hash_final(&hash, key, sizeof(key));
    trib_hash_init(&hash, key, sizeof(key), TRIB_SESSION_MAC_SIZE);
    trib_hash_update(&hash, body, 2);
    trib_hash_update(&hash, body + HEAD_SIZE, size - HEAD_SIZE);
    trib_hash_final(&hash, body + 2, TRIB_SESSION_MAC_SIZE);
}

static void read_hello(const uint8_t server_key[static 32], const uint8_t *body, size_t size)
{
    struct trib_session session;
    struct trib_hello hello;
    struct trib_welcome welcome = {.version = TRIB_SESSION_VERSION};
    uint8_t out[TRIB_HANDSHAKE_MAX];
    size_t out_size;

    trib_session_init_server(&session, server_secret, server_key);
    bool is_good = trib_session_mac_is_good(&session, body, size);
    if (trib_session_read_hello(&session, body, size, &hello)) {
        require_dead(&session);
        return;
    }
    require(is_good);
    require(hello.kind == TRIB_HELLO_KNOWN || hello.kind == TRIB_HELLO_TOKEN);
    require(trib_session_write_welcome(&session, &welcome, out, &out_size) == TRIB_OK);
    require(session.state == TRIB_SESSION_OPEN);
    trib_session_fini(&session);
}

static void read_welcome(const uint8_t server_key[static 32], const uint8_t *body, size_t size)
{
    static const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    static const uint8_t ephemeral[32] = "an ephemeral key that does last";
    struct trib_session session;
    struct trib_welcome welcome;
    uint8_t out[TRIB_HANDSHAKE_MAX];
    size_t out_size;

    trib_session_init_client(&session, device_secret, server_key);
    trib_noise_handshake_set_ephemeral(&session.handshake, ephemeral);
    require(trib_session_write_hello(&session, &hello, out, &out_size) == TRIB_OK);
    if (trib_session_read_welcome(&session, body, size, &welcome)) {
        require_dead(&session);
        return;
    }
    require(welcome.version >= 1 && welcome.retry_min_ms <= welcome.retry_max_ms);
    require(session.state == TRIB_SESSION_OPEN);
    trib_session_fini(&session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t server_key[32];
    uint8_t body[TRIB_HANDSHAKE_MAX + 64];
    if (size < 1 || size - 1 > sizeof(body))
        return 0;
    trib_crypto_init();
    trib_noise_public(server_secret, server_key);
    if (data[0] == 0) {
        read_hello(server_key, data + 1, size - 1);
    } else if (data[0] == 1 && size - 1 >= HEAD_SIZE) {
        memcpy(body, data + 1, size - 1);
        write_mac(server_key, body, size - 1);
        read_hello(server_key, body, size - 1);
    } else if (data[0] == 2) {
        read_welcome(server_key, data + 1, size - 1);
    }
    return 0;
}
