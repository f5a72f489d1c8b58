// token.h - what a device enrols with: the one-time token, and the name it has where nobody gave one.
//
// A token is the coordinator's pinned key, proof and address in one
// line of text, so that nothing has to be trusted on first use.
//
//     "trib1." base64url( u8 version | coordinator key 32 | token id 8 | secret 32 | URL )
#ifndef TRIB_WIRE_TOKEN_H
#define TRIB_WIRE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/wire/session.h"

struct trib_token {
    uint8_t coordinator[TRIB_NOISE_KEY_SIZE];
    uint8_t id[TRIB_TOKEN_ID_SIZE];
    uint8_t secret[TRIB_TOKEN_SECRET_SIZE];
    char url[TRIB_URL_MAX + 1];
};

enum {
    TRIB_TOKEN_BYTES_MAX = 1 + 32 + 8 + 32 + TRIB_URL_MAX,
    TRIB_TOKEN_TEXT_SIZE = 6 + (TRIB_TOKEN_BYTES_MAX * 4 + 2) / 3 + 1,
};

void trib_token_write(const struct trib_token *token, char text[static TRIB_TOKEN_TEXT_SIZE]);
// False if it is not a token. Blanks and ends of lines before and behind it do not count.
bool trib_token_read(const char *text, struct trib_token *ret_token);
// What is wrong with a text that was not read, for whoever pasted it. Nothing of the text is in it.
const char *trib_token_fault(const char *text);

// What a coordinator keeps instead of the secret: BLAKE2b-256("trib token" | secret).
void trib_token_hash(const uint8_t secret[static TRIB_TOKEN_SECRET_SIZE],
                     uint8_t ret_hash[static 32]);

enum {
    TRIB_DEVICE_FINGERPRINT_SIZE = 13, // 12 hexadecimal digits of BLAKE2b of the key, and 0
    TRIB_DEVICE_NAME_SIZE = 4 + TRIB_DEVICE_FINGERPRINT_SIZE,
};
// "dev-" and the fingerprint of the device's public key. Both sides make it of the key, so that people
// can compare what a device says it is with what the coordinator lists.
void trib_device_name(const uint8_t key[static TRIB_NOISE_KEY_SIZE],
                      char ret_name[static TRIB_DEVICE_NAME_SIZE]);

#endif // TRIB_WIRE_TOKEN_H
