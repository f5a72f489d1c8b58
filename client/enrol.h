// enrol.h - what a device asks a coordinator outside of a session that stays: to be enrolled (by a
// token it is trib_client_enrol of the public header), or to be known by other keys (rotate.h).
#ifndef TRIB_CLIENT_ENROL_H
#define TRIB_CLIENT_ENROL_H

#include "client/state.h"
#include "common/wire/message.h"
#include "common/wire/session.h"
#include "tributary/err.h"

// One conversation with the coordinator: dial, prove who we are, ENROL, answer.
struct trib_enrol_call {
    const char *url;
    const uint8_t *coordinator; // its X25519 key, 32 bytes
    const struct trib_hello *hello;
    const struct trib_state_keys *keys;
    const struct trib_state_keys *next; // keys that we are about to have, or NULL
};
// TRIB_ERR_CONNECT: it cannot be reached; TRIB_ERR_AUTH: it stays silent, or refuses (logged).
TRIB_CHECKED enum trib_err trib_enrol_ask(const struct trib_enrol_call *call,
                                          struct trib_msg_enrol_reply *ret_reply);

// `key_text` is the coordinator's public key in base64url; ours must be on its allow-list. Errors
// as for trib_client_enrol.
TRIB_CHECKED enum trib_err trib_enrol_listed(const char *url, const char *key_text,
                                             const char *state_dir);

#endif // TRIB_CLIENT_ENROL_H
