// keyfile.h - secrets at rest: a text file of lines "label base64", readable by its owner only.
#ifndef TRIB_BASE_KEYFILE_H
#define TRIB_BASE_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum {
    TRIB_KEYFILE_KEY_SIZE = 32
};

struct trib_keyfile_line {
    const char *label; // "x25519"
    uint8_t *key;      // 32 bytes, the caller's
    bool is_optional;  // when it is read: left alone if the file has no such line
};

// Write the lines durably with mode 0600.
TRIB_CHECKED enum trib_err trib_keyfile_write(const char *path,
                                              const struct trib_keyfile_line *lines, size_t count);
// Read exactly these lines in this order, but for optional ones. TRIB_ERR_STATE: there is no such file; TRIB_ERR_INVAL:
// others may read it; TRIB_ERR_CORRUPT: it is something else. Logged with the path.
TRIB_CHECKED enum trib_err trib_keyfile_read(const char *path,
                                             const struct trib_keyfile_line *lines, size_t count);

#endif // TRIB_BASE_KEYFILE_H
