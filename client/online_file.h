// online_file.h - the device's own copy of the model in mode online (online.h), as a file that
// programs read: data.online_copy. It is replaced as a whole, and holds nothing that could not be
// learnt again from the rows: one that is damaged, or of another version, is as good as none.
//
//     offset  size  field (little-endian)
//     0       8     "TRIBONL1"
//     8       32    BLAKE2b-256 of everything behind it
//     40      32    digest of the version that it began from
//     72      8     rows learnt since
//     80      8     parameters
//     88      4n    the parameters, float32
#ifndef TRIB_CLIENT_ONLINE_FILE_H
#define TRIB_CLIENT_ONLINE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/hash.h"
#include "tributary/err.h"

TRIB_CHECKED enum trib_err trib_online_file_write(const char *path,
                                                  const uint8_t base[static TRIB_DIGEST_SIZE],
                                                  uint64_t rows, const float *params, size_t count);

// Read the copy that began from version `base` with `count` parameters. TRIB_ERR_STATE: there is
// none of it, and `params` is as it was; a damaged file is logged.
TRIB_CHECKED enum trib_err trib_online_file_read(const char *path,
                                                 const uint8_t base[static TRIB_DIGEST_SIZE],
                                                 float *params, size_t count, uint64_t *ret_rows);

#endif // TRIB_CLIENT_ONLINE_FILE_H
