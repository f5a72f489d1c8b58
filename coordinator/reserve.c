#include "coordinator/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "reserve"

enum {
    STAT_BLOCK = 512 // of st_blocks, whatever the file system's are
};

uint64_t trib_reserve_room(const char *dir)
{
    struct statvfs disk;
    return statvfs(dir, &disk) ? UINT64_MAX : (uint64_t)disk.f_bavail * disk.f_frsize;
}

static bool is_whole(int fd, uint64_t size)
{
    struct stat info;
    return fstat(fd, &info) == 0 && (uint64_t)info.st_size == size &&
           (uint64_t)info.st_blocks * STAT_BLOCK >= size;
}

bool trib_reserve_is_made(const char *dir, uint64_t size)
{
    char path[TRIB_PATH_MAX + 1];
    if (size == 0)
        return true;
    int fd = trib_path_join(path, dir, "reserve") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool is_made = is_whole(fd, size);
    (void)close(fd);
    return is_made;
}

static enum trib_err fill(int fd, const char *path, uint64_t size)
{
    int refused = ftruncate(fd, 0) ? errno : posix_fallocate(fd, 0, (off_t)size);
    if (refused) {
        TRIB_WARN("id=disk-full %s: no room for a reserve of %" PRIu64 " bytes: %s", path, size,
                  strerror(refused));
        return TRIB_ERR_LIMIT;
    }
    if (fsync(fd)) {
        TRIB_ERROR("%s: cannot fsync: %s", path, strerror(errno));
        return TRIB_ERR_IO;
    }
    return TRIB_OK;
}

enum trib_err trib_reserve_make(const char *dir, uint64_t size)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(path, dir, "reserve");
    if (err)
        return err;
    if (size == 0)
        return trib_file_remove(path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        TRIB_WARN("id=disk-full %s: cannot create: %s", path, strerror(errno));
        return TRIB_ERR_LIMIT;
    }
    if (!is_whole(fd, size)) {
        err = fill(fd, path, size);
        if (err)
            (void)unlink(path); // a part of it would take the room from who needs it
        else
            err = trib_dir_sync(dir);
    }
    (void)close(fd);
    return err;
}

bool trib_reserve_use(const char *dir, uint64_t size)
{
    char path[TRIB_PATH_MAX + 1];
    if (size == 0 || trib_reserve_room(dir) >= size || trib_path_join(path, dir, "reserve") ||
        !trib_file_exists(path))
        return false;
    if (unlink(path))
        return false;
    TRIB_WARN("id=reserve-used %s: the disk is full; its %" PRIu64 " bytes are given up, and no "
              "round opens until there is room for it again",
              path, size);
    return true;
}
