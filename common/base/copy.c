#include "common/base/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "file"

enum {
    STEP = 1 << 20
};

static enum trib_err failure(const char *what, const char *path)
{
    TRIB_ERROR("%s: %s: %s", path, what, strerror(errno));
    return TRIB_ERR_IO;
}

static enum trib_err write_all(int fd, const char *path, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return failure("cannot write", path);
        data += done;
        size -= (size_t)done;
    }
    return TRIB_OK;
}

// Read all of `from`; write it to the descriptor `fd` of `to`, unless that is -1.
static enum trib_err pass(const char *from, int fd, const char *to, uint64_t *ret_size,
                          uint8_t *ret_digest)
{
    struct trib_hash hash;
    uint64_t size = 0;
    int source;
    uint8_t *step = trib_alloc(STEP);
    if (!step)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_file_open(from, &source, &size);
    if (err) {
        free(step);
        return err;
    }
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    for (uint64_t done = 0; done < size && !err;) {
        const size_t part = size - done < STEP ? (size_t)(size - done) : STEP;
        err = trib_file_read_open(source, from, done, step, part);
        if (!err && fd >= 0)
            err = write_all(fd, to, step, part);
        trib_hash_update(&hash, step, part);
        done += part;
    }
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
    *ret_size = size;
    (void)close(source);
    free(step);
    return err;
}

enum trib_err trib_file_digest(const char *path, uint64_t *ret_size,
                               uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    return pass(path, -1, "", ret_size, ret_digest);
}

enum trib_err trib_file_copy(const char *from, const char *to, mode_t mode, uint64_t *ret_size,
                             uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return failure("cannot create", to);
    enum trib_err err = pass(from, fd, to, ret_size, ret_digest);
    if (!err && fsync(fd))
        err = failure("cannot fsync", to);
    if (close(fd) && !err)
        err = failure("cannot close", to);
    if (err)
        (void)unlink(to);
    return err;
}

enum trib_err trib_dir_make_empty(const char *path, mode_t mode)
{
    enum trib_err err = trib_dir_make(path, mode);
    DIR *entries = err ? NULL : opendir(path);
    if (err)
        return err;
    if (!entries)
        return failure("cannot list", path);
    const struct dirent *entry;
    while ((entry = readdir(entries))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            err = TRIB_ERR_STATE;
    }
    (void)closedir(entries);
    if (err)
        TRIB_ERROR("%s: is not empty", path);
    return err;
}
