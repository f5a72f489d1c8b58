// roster.h - the roster of secure aggregation as a file, and the key that signs it elsewhere.
//
// Devices hide among each other only if somebody vouches that the others are real. With an offline
// roster that is a key on a machine the coordinator cannot reach: the coordinator exports whom it
// knows, the key's owner looks and signs, the coordinator loads the answer. One text format both
// ways, in UTF-8, each line ended by a newline, words parted by one space, names and keys once:
//
//     tributary-roster 1 unsigned POPULATION
//     NAME base64(sign key)
//
//     tributary-roster 1 signed POPULATION
//     NAME base64(sign key) base64(signature)
//
// The signature is that of trib_roster_sign (common/privacy/secagg.h). base64 of either alphabet is
// read, the one of URLs without padding is written.
#ifndef TRIB_COORDINATOR_ROSTER_H
#define TRIB_COORDINATOR_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/sign.h"
#include "tributary/err.h"

// Who vouches for the devices of a coordinator: [secagg] roster of tributary.ini, in its order.
enum trib_roster_kind {
    TRIB_ROSTER_COORDINATOR, // it does itself: it could vouch for devices that do not exist
    TRIB_ROSTER_OFFLINE,     // a key on another machine
};

struct trib_roster_line {
    char name[TRIB_NAME_MAX + 1];
    uint8_t sign_key[TRIB_SIGN_KEY_SIZE];
    uint8_t signature[TRIB_SIGNATURE_SIZE]; // of a signed roster
};

struct trib_roster {
    char population[TRIB_NAME_MAX + 1];
    bool is_signed;
    struct trib_roster_line *lines; // (count), owned; lines[i] is line i + 2 of the file
    size_t count;
};

// A file to read, and what is wrong with it.
struct trib_roster_text {
    const uint8_t *data; // borrowed, like `file`
    size_t size;
    const char *file; // for messages
    char why[512];    // "FILE:LINE: ..." after a failure
};

// TRIB_ERR_INVAL: see text->why. TRIB_ERR_NOMEM.
TRIB_CHECKED enum trib_err trib_roster_parse(struct trib_roster_text *text,
                                             struct trib_roster *ret_roster);
void trib_roster_fini(struct trib_roster *roster);

// Put a mistake in line `index` of the roster, as the parser would.
void trib_roster_reject(struct trib_roster_text *text, size_t index, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Is every line signed by this key? TRIB_ERR_AUTH: text->why names the first that is not.
TRIB_CHECKED enum trib_err trib_roster_check(const struct trib_roster *roster,
                                             const uint8_t key[static TRIB_SIGN_KEY_SIZE],
                                             struct trib_roster_text *text);
// Sign every line.
void trib_roster_vouch(struct trib_roster *roster, const uint8_t seed[static TRIB_SIGN_SEED_SIZE]);

void trib_roster_print_head(struct trib_buf *buf, const char *population, bool is_signed);
// `signature` is NULL in an unsigned roster.
void trib_roster_print_line(struct trib_buf *buf, const char *name,
                            const uint8_t sign_key[static TRIB_SIGN_KEY_SIZE],
                            const uint8_t *signature);
void trib_roster_print(struct trib_buf *buf, const struct trib_roster *roster);

// The signing key's file, 0600. Make: TRIB_ERR_STATE if there is a file already. Both log.
TRIB_CHECKED enum trib_err trib_roster_key_make(const char *path,
                                                uint8_t ret_seed[static TRIB_SIGN_SEED_SIZE]);
TRIB_CHECKED enum trib_err trib_roster_key_read(const char *path,
                                                uint8_t ret_seed[static TRIB_SIGN_SEED_SIZE]);

#endif // TRIB_COORDINATOR_ROSTER_H
