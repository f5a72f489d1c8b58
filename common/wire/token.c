#include "common/wire/token.h"

#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/wipe.h"

#define PREFIX "trib1."
#define BLANKS " \t\r\n"

enum {
    TRIMMED_SIZE = TRIB_TOKEN_TEXT_SIZE + 2, // with the = that others fill base64 up with
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

// The text without what copying it brings along. False: it is longer than any token.
static bool trim(const char *text, char ret_text[static TRIMMED_SIZE])
{
    text += strspn(text, BLANKS);
    size_t size = strlen(text);
    while (size > 0 && strchr(BLANKS, text[size - 1]))
        size--;
    if (size >= TRIMMED_SIZE)
        return false;
    memcpy(ret_text, text, size);
    ret_text[size] = '\0';
    return true;
}

bool trib_token_read(const char *text, struct trib_token *ret_token)
{
    char trimmed[TRIMMED_SIZE];
    uint8_t data[TRIB_TOKEN_BYTES_MAX];
    size_t size = 0;
    bool is_good = trim(text, trimmed) && strncmp(trimmed, PREFIX, PREFIX_SIZE) == 0 &&
                   trib_base64_decode(trimmed + PREFIX_SIZE, data, sizeof(data), &size) &&
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
    trib_wipe(trimmed, sizeof(trimmed));
    return is_good;
}

const char *trib_token_fault(const char *text)
{
    text += strspn(text, BLANKS);
    if (strncmp(text, PREFIX, PREFIX_SIZE) != 0)
        return "this is not an enrolment token (they begin with " PREFIX ")";
    if (strstr(text + PREFIX_SIZE, PREFIX))
        return "this is more than one enrolment token, or one that was pasted twice";
    const char *end = text + strcspn(text, BLANKS);
    if (end[strspn(end, BLANKS)])
        return "there is a blank or the end of a line within this enrolment token";
    return "this is not a whole enrolment token: something is missing, or does not belong there";
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
