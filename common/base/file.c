#include "common/base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/crash.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "file"

enum {
    READ_STEP = 1 << 18 // bytes asked of zlib at a time
};

static enum trib_err failure(const char *what, const char *path)
{
    TRIB_ERROR("%s: %s: %s", path, what, strerror(errno));
    return TRIB_ERR_IO;
}

enum trib_err trib_file_read(const char *path, size_t size_max, struct trib_buf *ret_buf)
{
    enum trib_err err = TRIB_ERR_IO;
    struct trib_buf buf = {0};
    struct stat info;
    gzFile file = NULL;

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failure("cannot open", path);
    if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        TRIB_ERROR("%s: is a directory", path);
        goto out;
    }
    file = gzdopen(fd, "rb");
    if (!file) {
        err = TRIB_ERR_NOMEM;
        goto out;
    }
    fd = -1; // gzclose closes it

    for (;;) {
        uint8_t *room = trib_buf_extend(&buf, READ_STEP);
        if (!room) {
            err = TRIB_ERR_NOMEM;
            goto out;
        }
        int got = gzread(file, room, READ_STEP);
        if (got < 0) {
            int code;
            TRIB_ERROR("%s: cannot read: %s", path, gzerror(file, &code));
            err = TRIB_ERR_DATA;
            goto out;
        }
        buf.size -= READ_STEP - (size_t)got;
        if (buf.size > size_max) {
            TRIB_ERROR("%s: more than %zu bytes", path, size_max);
            err = TRIB_ERR_LIMIT;
            goto out;
        }
        if (got < READ_STEP)
            break;
    }
    int ended = gzclose_r(file);
    file = NULL;
    if (ended != Z_OK) {
        TRIB_ERROR("%s: the gzip stream is cut short", path);
        err = TRIB_ERR_DATA;
        goto out;
    }
    buf.data[buf.size] = '\0';
    *ret_buf = buf;
    buf = (struct trib_buf){0};
    err = TRIB_OK;

out:
    if (file)
        (void)gzclose_r(file);
    if (fd >= 0)
        (void)close(fd);
    trib_buf_fini(&buf);
    return err;
}

enum trib_err trib_file_open(const char *path, int *ret_fd, uint64_t *ret_size)
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failure("cannot open", path);
    if (fstat(fd, &info)) {
        enum trib_err err = failure("cannot look at", path);
        (void)close(fd);
        return err;
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)info.st_size;
    return TRIB_OK;
}

enum trib_err trib_file_read_open(int fd, const char *path, uint64_t offset, void *data,
                                  size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, (uint8_t *)data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure("cannot read", path);
        if (got == 0) {
            TRIB_ERROR("%s: ends early", path);
            return TRIB_ERR_CORRUPT;
        }
        done += (size_t)got;
    }
    return TRIB_OK;
}

enum trib_err trib_file_read_at(const char *path, uint64_t offset, void *data, size_t size)
{
    int fd;
    uint64_t file_size;
    enum trib_err err = trib_file_open(path, &fd, &file_size);
    if (err)
        return err;
    err = trib_file_read_open(fd, path, offset, data, size);
    (void)close(fd);
    return err;
}

enum trib_err trib_file_size(const char *path, uint64_t *ret_size)
{
    struct stat info;
    if (stat(path, &info))
        return failure("cannot look at", path);
    *ret_size = (uint64_t)info.st_size;
    return TRIB_OK;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        data += done;
        size -= (size_t)done;
    }
    return 0;
}

enum trib_err trib_file_write_two(const char *path, const void *head, size_t head_size,
                                  const void *data, size_t size, mode_t mode)
{
    enum trib_err err;
    char tmp[TRIB_PATH_MAX + 1];
    char dir[TRIB_PATH_MAX + 1];

    if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp))
        return TRIB_ERR_LIMIT;
    err = trib_path_dir(dir, path);
    if (err)
        return err;

    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return failure("cannot create", tmp);
    TRIB_CRASH_POINT("file.created");
    if (fchmod(fd, mode) || write_all(fd, head, head_size) || write_all(fd, data, size)) {
        err = failure("cannot write", tmp);
        goto failed;
    }
    TRIB_CRASH_POINT("file.written");
    if (fsync(fd)) { // never retried: the kernel may have dropped the dirty pages
        err = failure("cannot fsync", tmp);
        goto failed;
    }
    TRIB_CRASH_POINT("file.synced");
    if (close(fd)) {
        fd = -1;
        err = failure("cannot close", tmp);
        goto failed;
    }
    fd = -1;
    if (rename(tmp, path)) {
        err = failure("cannot rename to", path);
        goto failed;
    }
    TRIB_CRASH_POINT("file.renamed");
    return trib_dir_sync(dir);

failed:
    if (fd >= 0)
        (void)close(fd);
    (void)unlink(tmp);
    return err;
}

enum trib_err trib_file_write(const char *path, const void *data, size_t size, mode_t mode)
{
    return trib_file_write_two(path, NULL, 0, data, size, mode);
}

enum trib_err trib_file_remove(const char *path)
{
    char dir[TRIB_PATH_MAX + 1];
    if (unlink(path)) {
        if (errno == ENOENT)
            return TRIB_OK;
        return failure("cannot remove", path);
    }
    enum trib_err err = trib_path_dir(dir, path);
    return err ? err : trib_dir_sync(dir);
}

bool trib_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

enum trib_err trib_dir_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failure("cannot open", path);
    enum trib_err err = fsync(fd) ? failure("cannot fsync", path) : TRIB_OK;
    (void)close(fd);
    return err;
}

enum trib_err trib_dir_make(const char *path, mode_t mode)
{
    char parent[TRIB_PATH_MAX + 1];
    struct stat info;

    if (mkdir(path, mode)) {
        if (errno != EEXIST)
            return failure("cannot make directory", path);
        if (stat(path, &info) || !S_ISDIR(info.st_mode)) {
            TRIB_ERROR("%s: exists and is not a directory", path);
            return TRIB_ERR_IO;
        }
        return TRIB_OK;
    }
    enum trib_err err = trib_path_dir(parent, path);
    return err ? err : trib_dir_sync(parent);
}

enum trib_err trib_path_join(char ret_path[static TRIB_PATH_MAX + 1], const char *dir,
                             const char *name)
{
    int size = snprintf(ret_path, TRIB_PATH_MAX + 1, "%s/%s", dir, name);
    if (size < 0 || size > TRIB_PATH_MAX) {
        TRIB_ERROR("path too long: %.80s.../%.80s", dir, name);
        return TRIB_ERR_LIMIT;
    }
    return TRIB_OK;
}

enum trib_err trib_path_dir(char ret_dir[static TRIB_PATH_MAX + 1], const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) {
        memcpy(ret_dir, ".", 2);
        return TRIB_OK;
    }
    size_t size = slash == path ? 1 : (size_t)(slash - path);
    if (size > TRIB_PATH_MAX)
        return TRIB_ERR_LIMIT;
    memcpy(ret_dir, path, size);
    ret_dir[size] = '\0';
    return TRIB_OK;
}

const char *trib_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
