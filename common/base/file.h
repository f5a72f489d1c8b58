// file.h - whole files, durably. Reading sees through gzip; writing is all or nothing.
//
// Failures are logged here with the path. Paths are at most TRIB_PATH_MAX bytes.
#ifndef TRIB_BASE_FILE_H
#define TRIB_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "tributary/err.h"

// The whole file, unpacked if it is gzip. TRIB_ERR_IO: cannot be read; TRIB_ERR_DATA: broken gzip;
// TRIB_ERR_LIMIT: more than `size_max` bytes. The caller frees ret_buf with trib_buf_fini.
TRIB_CHECKED enum trib_err trib_file_read(const char *path, size_t size_max,
                                          struct trib_buf *ret_buf);

// Exactly `size` bytes at `offset` of a plain file. TRIB_ERR_CORRUPT if it is shorter.
TRIB_CHECKED enum trib_err trib_file_read_at(const char *path, uint64_t offset, void *data,
                                             size_t size);

// The same in two steps, for several reads of one and the same file, whatever is renamed over it
// meanwhile. The descriptor is the caller's to close; `path` is for messages.
TRIB_CHECKED enum trib_err trib_file_open(const char *path, int *ret_fd, uint64_t *ret_size);
TRIB_CHECKED enum trib_err trib_file_read_open(int fd, const char *path, uint64_t offset,
                                               void *data, size_t size);

TRIB_CHECKED enum trib_err trib_file_size(const char *path, uint64_t *ret_size);

// Write `path`.tmp, fsync, rename over `path`, fsync the directory: after TRIB_OK the new bytes
// survive a power cut, before it the old ones do. `mode` as for open(2).
TRIB_CHECKED enum trib_err trib_file_write(const char *path, const void *data, size_t size,
                                           mode_t mode);

// The same for two pieces, written one after the other.
TRIB_CHECKED enum trib_err trib_file_write_two(const char *path, const void *head, size_t head_size,
                                               const void *data, size_t size, mode_t mode);

// Remove a file and fsync its directory. A file that is not there is fine.
TRIB_CHECKED enum trib_err trib_file_remove(const char *path);

bool trib_file_exists(const char *path); // errno says why not: ENOENT, or it cannot be looked at

// Make `path` if it is not there (its parent must be), and fsync the parent.
TRIB_CHECKED enum trib_err trib_dir_make(const char *path, mode_t mode);
TRIB_CHECKED enum trib_err trib_dir_sync(const char *path);

// "dir/name". TRIB_ERR_LIMIT if it does not fit.
TRIB_CHECKED enum trib_err trib_path_join(char ret_path[static TRIB_PATH_MAX + 1], const char *dir,
                                          const char *name);
// The folder part of `path`, "." if it has none.
TRIB_CHECKED enum trib_err trib_path_dir(char ret_dir[static TRIB_PATH_MAX + 1], const char *path);
// The part after the last slash, borrowed from `path`.
const char *trib_path_base(const char *path);

#endif // TRIB_BASE_FILE_H
