// copy.h - the digest of a file, and copies that are checked by it; files may be large.
#ifndef TRIB_BASE_COPY_H
#define TRIB_BASE_COPY_H

#include <stdint.h>
#include <sys/types.h>

#include "common/base/hash.h"
#include "tributary/err.h"

// BLAKE2b-256 of a file. TRIB_ERR_IO (logged) or NOMEM.
TRIB_CHECKED enum trib_err trib_file_digest(const char *path, uint64_t *ret_size,
                                            uint8_t ret_digest[static TRIB_DIGEST_SIZE]);
// Copy `from` to `to`, which must not be there yet, and fsync it; not its directory. The digest is
// that of the bytes that were written. After an error there is no `to`.
TRIB_CHECKED enum trib_err trib_file_copy(const char *from, const char *to, mode_t mode,
                                          uint64_t *ret_size,
                                          uint8_t ret_digest[static TRIB_DIGEST_SIZE]);
// Make a directory, or take one that is there and empty. TRIB_ERR_STATE: it is not empty.
TRIB_CHECKED enum trib_err trib_dir_make_empty(const char *path, mode_t mode);

#endif // TRIB_BASE_COPY_H
