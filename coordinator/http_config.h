// http_config.h - [http] of tributary.ini: where a coordinator is watched, and by whom.
#ifndef TRIB_COORDINATOR_HTTP_CONFIG_H
#define TRIB_COORDINATOR_HTTP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/conf.h"
#include "common/base/hash.h"
#include "tributary/err.h"

enum {
    TRIB_HTTP_TOKEN_MIN = 16, // characters
    TRIB_HTTP_TOKEN_MAX = 256,
};

// "127.0.0.1:9464", "[::1]:9464": a number, never a name.
struct trib_http_address {
    bool is_v6;
    uint8_t bytes[16]; // in network order; IPv4 has 4 of them
    uint16_t port;     // 0: any that is free
};

struct trib_http_config {
    trib_conf_text listen; // "": nothing is served
    trib_conf_text token_file;
    // What follows from the keys:
    struct trib_http_address address;
    bool has_token;
    uint8_t token_digest[TRIB_DIGEST_SIZE]; // trib_digest of the token
};

bool trib_http_address_parse(const char *text, struct trib_http_address *ret_address);
// Only this machine reaches it.
bool trib_http_address_is_loopback(const struct trib_http_address *address);

// Check the two keys [http] listen, token_file of a table that has them, and read the token.
// TRIB_ERR_INVAL with conf->error naming file, line and key.
TRIB_CHECKED enum trib_err trib_http_config_check(struct trib_conf *conf,
                                                  struct trib_http_config *config);

#endif // TRIB_COORDINATOR_HTTP_CONFIG_H
