#include "common/wire/token.h"

#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/wipe.h"

#define PREFIX "trib1."

enum {
    PREFIX_SIZE = sizeof(PREFIX) - 1,
    VERSION = 1,
    HEAD_SIZE = 1 + 32 + 8 + 32, // before the URL
};

void trib_token_write(const struct trib_token *token, char text[static TRIB_TOKEN_TEXT_SIZE])
{
    uint8_t data[TRIB_TOKEN_BYTES_MAX];
    size_t url_size = strlen(token->url);
    data[0] = VERSION;
    memcpy(data + 1, token->coordinator, 32);
    memcpy(data + 33, token->id, 8);
    memcpy(data + 41, token->secret, 32);
    memcpy(data + HEAD_SIZE, token->url, url_size);
    memcpy(text, PREFIX, PREFIX_SIZE);
    trib_base64_encode(data, HEAD_SIZE + url_size, text + PREFIX_SIZE);
    trib_wipe(data, sizeof(data));
}

bool trib_token_read(const char *text, struct trib_token *ret_token)
{
    uint8_t data[TRIB_TOKEN_BYTES_MAX];
    size_t size = 0;
    bool is_good = strncmp(text, PREFIX, PREFIX_SIZE) == 0 &&
                   trib_base64_decode(text + PREFIX_SIZE, data, sizeof(data), &size) &&
                   size > HEAD_SIZE && data[0] == VERSION &&
                   !memchr(data + HEAD_SIZE, '\0', size - HEAD_SIZE);
    if (is_good) {
        struct trib_token token = {.url = ""};
        memcpy(token.coordinator, data + 1, 32);
        memcpy(token.id, data + 33, 8);
        memcpy(token.secret, data + 41, 32);
        memcpy(token.url, data + HEAD_SIZE, size - HEAD_SIZE);
        *ret_token = token;
        trib_wipe(&token, sizeof(token));
    }
    trib_wipe(data, sizeof(data));
    return is_good;
}

void trib_token_hash(const uint8_t secret[static TRIB_TOKEN_SECRET_SIZE],
                     uint8_t ret_hash[static 32])
{
    static const char label[] = "trib token";
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, 32);
    trib_hash_update(&hash, label, sizeof(label) - 1);
    trib_hash_update(&hash, secret, TRIB_TOKEN_SECRET_SIZE);
    trib_hash_final(&hash, ret_hash, 32);
}

void trib_device_name(const uint8_t key[static TRIB_NOISE_KEY_SIZE],
                      char ret_name[static TRIB_DEVICE_NAME_SIZE])
{
    static const char prefix[] = "dev-";
    uint8_t digest[TRIB_DIGEST_SIZE];
    trib_digest(key, TRIB_NOISE_KEY_SIZE, digest);
    memcpy(ret_name, prefix, sizeof(prefix) - 1);
    trib_hex_encode(digest, 6, ret_name + sizeof(prefix) - 1);
}
