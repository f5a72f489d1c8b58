// identity.h - a coordinator's directory: who it is, where it listens.
//
//     coordinator.key   0600  X25519 for sessions, Ed25519 that signs versions
//     coordinator.pub         the X25519 public key in base64url
//     keys.chain              how it came to these keys from its first ones (keys.h)
//     former-N.key      0600  an X25519 key that statement N replaced, while it is still answered
//     roster.key        0600  Ed25519 that vouches for members of secure aggregation
//     tributary.ini           configuration
//     store.db                the ledger (store.h)
//     models/                 one safetensors file for each version, named by its digest
//     updates/                the open round's segment (segment.h)
//     reserve                 room for the day when the disk is full (reserve.h)
//     admin.sock              where tributaryctl talks to it
#ifndef TRIB_COORDINATOR_IDENTITY_H
#define TRIB_COORDINATOR_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/conf.h"
#include "common/base/sign.h"
#include "common/wire/key_chain.h"
#include "common/wire/session.h"
#include "coordinator/http_config.h"
#include "coordinator/roles.h"
#include "tributary/err.h"

#define TRIB_COORDINATOR_LISTEN      "tcp://0.0.0.0:7420" // fleet.listen, unless configured
#define TRIB_COORDINATOR_CONNECTIONS 20000 // fleet.connections_max, unless configured

enum {
    TRIB_ADMIN_PATH_MAX = 107, // sun_path holds 108 with its NUL
    TRIB_KEYS_FORMER_MAX = TRIB_SESSION_FORMER_MAX,
};

// A key for sessions that is answered still, though it was replaced.
struct trib_former_key {
    uint64_t id;            // sequence of the statement that replaced it
    uint64_t keep_until_ms; // wall clock; then it is retired
    uint8_t secret[32];
    uint8_t public[32];
};

struct trib_identity {
    uint8_t secret[32]; // X25519
    uint8_t public[32];
    uint8_t release_seed[TRIB_SIGN_SEED_SIZE];
    uint8_t release_key[TRIB_SIGN_KEY_SIZE];
    uint8_t roster_seed[TRIB_SIGN_SEED_SIZE];
    uint8_t roster_key[TRIB_SIGN_KEY_SIZE];
    struct trib_msg_keys chain;                        // count 0: it has the keys it began with
    struct trib_key_pins pins[TRIB_KEY_LINKS_MAX + 1]; // [i]: before link i; [chain.count]: now
    uint32_t former_count;
    struct trib_former_key former[TRIB_KEYS_FORMER_MAX]; // oldest first
};

struct trib_coordinator_config {
    trib_conf_text listen;
    trib_conf_text url;        // what tokens carry; "" : the listen URL
    trib_conf_text allow_list; // file of keys that may enrol without a token; "" : none
    bool pending;              // may unknown keys ask to be let in?
    trib_conf_text population;
    uint64_t connections_max;
    uint64_t handshakes_per_second;
    uint64_t handshakes_per_source;
    uint64_t threads;                       // 0: one for each core
    double stale_days;                      // a device away for longer is stale; 0: none is
    int roster;                             // enum trib_roster_kind
    trib_conf_text roster_pk;               // of an offline roster, base64
    bool roster_is_offline;                 // from `roster`
    uint8_t roster_key[TRIB_SIGN_KEY_SIZE]; // from `roster_pk`
    trib_conf_text viewer, operator, admin; // users and @groups
    struct trib_roles roles;                // from those three
    struct trib_http_config http;
    uint64_t keep_versions; // whose files stay; 0: all
    uint64_t reserve_mib;
    uint64_t reserve; // bytes, from `reserve_mib`
};

// Make the directory, keys and tributary.ini. TRIB_ERR_STATE if there is a coordinator already.
TRIB_CHECKED enum trib_err trib_identity_make(const char *dir, const char *listen, const char *url,
                                              struct trib_identity *ret_identity);
TRIB_CHECKED enum trib_err trib_identity_load(const char *dir, struct trib_identity *ret_identity);
void trib_identity_wipe(struct trib_identity *identity);

TRIB_CHECKED enum trib_err trib_coordinator_config_load(const char *dir,
                                                        struct trib_coordinator_config *ret_config);

// Is it of every address of this machine, as 0.0.0.0 and [::], which other machines cannot dial?
bool trib_coordinator_url_is_any(const char *url);

// DIR/admin.sock as an ipc URL. TRIB_ERR_INVAL (said on the log) if the path is too long.
TRIB_CHECKED enum trib_err trib_admin_url(const char *dir, char *url, size_t size);

#endif // TRIB_COORDINATOR_IDENTITY_H
