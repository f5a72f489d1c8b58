#include "coordinator/segment.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "segment"

enum {
    PAGE = 4096,
    HEADER_SIZE = 32,
};

static const char magic[8] = {'T', 'R', 'I', 'B', 'S', 'E', 'G', '1'};

struct trib_segment {
    unsigned refs; // atomic
    int fd;
    uint64_t round;
    size_t slot_size;
    size_t stride; // bytes from one slot to the next
    uint32_t slot_count;
    bool is_dirty;  // atomic: written since the last sync began
    bool is_broken; // atomic: a sync failed, what is on disk is not known
    char path[TRIB_PATH_MAX + 1];
};

static enum trib_err path_of(char path[static TRIB_PATH_MAX + 1], const char *dir, uint64_t round)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%" PRIu64 ".seg", round);
    return trib_path_join(path, dir, name);
}

static enum trib_err failure(const struct trib_segment *segment, const char *what)
{
    int code = errno;
    TRIB_ERROR("%s: %s: %s", segment->path, what, strerror(code));
    return code == ENOSPC ? TRIB_ERR_LIMIT : TRIB_ERR_IO;
}

static void fill_header(const struct trib_segment *segment, uint8_t header[static HEADER_SIZE])
{
    memcpy(header, magic, sizeof(magic));
    trib_store_le64(header + 8, segment->round);
    trib_store_le64(header + 16, segment->slot_size);
    trib_store_le32(header + 24, segment->slot_count);
    trib_store_le32(header + 28, trib_crc32c(0, header, 28));
}

static struct trib_segment *allocate(const char *dir, uint64_t round, size_t slot_size)
{
    struct trib_segment *segment = trib_alloc(sizeof(*segment));
    if (!segment)
        return NULL;
    segment->refs = 1;
    segment->fd = -1;
    segment->round = round;
    segment->slot_size = slot_size;
    segment->stride = (slot_size + PAGE - 1) / PAGE * PAGE;
    if (path_of(segment->path, dir, round)) {
        free(segment);
        return NULL;
    }
    return segment;
}

static off_t place(const struct trib_segment *segment, uint32_t slot, size_t offset)
{
    return (off_t)(PAGE + (uint64_t)slot * segment->stride + offset);
}

static enum trib_err transfer(struct trib_segment *segment, off_t at, void *data, size_t size,
                              bool is_write)
{
    for (size_t done = 0; done < size;) {
        char *next = (char *)data + done;
        ssize_t moved = is_write ? pwrite(segment->fd, next, size - done, at + (off_t)done)
                                 : pread(segment->fd, next, size - done, at + (off_t)done);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return failure(segment, is_write ? "cannot write" : "cannot read");
        if (moved == 0) {
            TRIB_ERROR("%s: ends early", segment->path);
            return TRIB_ERR_CORRUPT;
        }
        done += (size_t)moved;
    }
    return TRIB_OK;
}

enum trib_err trib_segment_create(const char *dir, uint64_t round, size_t slot_size,
                                  uint32_t slot_count, struct trib_segment **ret_segment)
{
    uint8_t header[HEADER_SIZE];
    enum trib_err err;
    assert(slot_size > 0 && slot_count > 0);
    struct trib_segment *segment = allocate(dir, round, slot_size);
    if (!segment)
        return TRIB_ERR_NOMEM;
    segment->slot_count = slot_count;
    // One that is there already belongs to a round that was never opened: no row names it.
    (void)unlink(segment->path);
    segment->fd = open(segment->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (segment->fd < 0) {
        err = failure(segment, "cannot create");
        trib_segment_unref(segment);
        return err;
    }
    segment->is_dirty = true;
    // A full disk shows here, before any device has trained, and not in the middle of a round.
    off_t size = place(segment, slot_count, 0);
    int refused = posix_fallocate(segment->fd, 0, size);
    if (refused == ENOSPC) {
        TRIB_ERROR("id=disk-full %s: no room for %" PRIu32 " updates of %zu bytes", segment->path,
                   slot_count, slot_size);
        err = TRIB_ERR_LIMIT;
        goto failed;
    }
    if (refused && ftruncate(segment->fd, size)) {
        err = failure(segment, "cannot set the size");
        goto failed;
    }
    fill_header(segment, header);
    err = transfer(segment, 0, header, sizeof(header), true);
    if (!err)
        err = trib_segment_sync(segment);
    if (!err)
        err = trib_dir_sync(dir);
    TRIB_CRASH_POINT("segment.created");
    if (err)
        goto failed;
    *ret_segment = segment;
    return TRIB_OK;

failed:
    (void)unlink(segment->path);
    trib_segment_unref(segment);
    return err;
}

enum trib_err trib_segment_open(const char *dir, uint64_t round, size_t slot_size,
                                struct trib_segment **ret_segment)
{
    uint8_t header[HEADER_SIZE];
    uint8_t wanted[HEADER_SIZE];
    struct trib_segment *segment = allocate(dir, round, slot_size);
    if (!segment)
        return TRIB_ERR_NOMEM;
    enum trib_err err = TRIB_OK;
    segment->fd = open(segment->path, O_RDWR | O_CLOEXEC);
    if (segment->fd < 0)
        err = failure(segment, "cannot open");
    if (!err)
        err = transfer(segment, 0, header, sizeof(header), false);
    if (!err) {
        struct stat info;
        segment->slot_count = trib_load_le32(header + 24);
        fill_header(segment, wanted);
        if (memcmp(header, wanted, sizeof(header)) != 0 || fstat(segment->fd, &info) ||
            info.st_size < place(segment, segment->slot_count, 0)) {
            TRIB_ERROR("id=segment-corrupt %s: not the whole segment of round %" PRIu64,
                       segment->path, round);
            err = TRIB_ERR_CORRUPT;
        }
    }
    if (err) {
        trib_segment_unref(segment);
        return err;
    }
    *ret_segment = segment;
    return TRIB_OK;
}

struct trib_segment *trib_segment_ref(struct trib_segment *segment)
{
    __atomic_add_fetch(&segment->refs, 1, __ATOMIC_RELAXED);
    return segment;
}

void trib_segment_unref(struct trib_segment *segment)
{
    if (!segment || __atomic_sub_fetch(&segment->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (segment->fd >= 0)
        (void)close(segment->fd);
    free(segment);
}

uint64_t trib_segment_round(const struct trib_segment *segment)
{
    return segment->round;
}

uint32_t trib_segment_slot_count(const struct trib_segment *segment)
{
    return segment->slot_count;
}

size_t trib_segment_slot_size(const struct trib_segment *segment)
{
    return segment->slot_size;
}

size_t trib_segment_checksum_count(size_t slot_size)
{
    return (slot_size + TRIB_SEGMENT_BLOCK - 1) / TRIB_SEGMENT_BLOCK;
}

enum trib_err trib_segment_write(struct trib_segment *segment, uint32_t slot, size_t offset,
                                 const void *data, size_t size)
{
    union { // transfer only reads it when it writes to the file
        const void *borrowed;
        void *plain;
    } from = {.borrowed = data};
    assert(slot < segment->slot_count && offset + size <= segment->slot_size);
    enum trib_err err = transfer(segment, place(segment, slot, offset), from.plain, size, true);
    __atomic_store_n(&segment->is_dirty, true, __ATOMIC_RELEASE);
    return err;
}

enum trib_err trib_segment_read(struct trib_segment *segment, uint32_t slot, size_t offset,
                                void *data, size_t size)
{
    assert(slot < segment->slot_count && offset + size <= segment->slot_size);
    return transfer(segment, place(segment, slot, offset), data, size, false);
}

enum trib_err trib_segment_sync(struct trib_segment *segment)
{
    if (__atomic_load_n(&segment->is_broken, __ATOMIC_ACQUIRE))
        return TRIB_ERR_IO; // the kernel may have dropped the pages: a second try would lie
    if (!__atomic_exchange_n(&segment->is_dirty, false, __ATOMIC_ACQ_REL))
        return TRIB_OK; // nothing new: the sync of an earlier update covered this one
    TRIB_CRASH_POINT("segment.written");
    enum trib_err err = fdatasync(segment->fd) ? failure(segment, "cannot fdatasync") : TRIB_OK;
    if (err)
        __atomic_store_n(&segment->is_broken, true, __ATOMIC_RELEASE);
    TRIB_CRASH_POINT("segment.synced");
    return err;
}

enum trib_err trib_segment_remove(const char *dir, uint64_t round)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = path_of(path, dir, round);
    return err ? err : trib_file_remove(path);
}

enum trib_err trib_segment_clean(const char *dir, uint64_t keep)
{
    char kept[32], kept_sum[32];
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = TRIB_OK;
    (void)snprintf(kept, sizeof(kept), "%" PRIu64 ".seg", keep);
    (void)snprintf(kept_sum, sizeof(kept_sum), "%" PRIu64 ".sum", keep);

    DIR *entries = opendir(dir);
    if (!entries) {
        TRIB_ERROR("%s: cannot list: %s", dir, strerror(errno));
        return TRIB_ERR_IO;
    }
    const struct dirent *entry;
    while (!err && (entry = readdir(entries))) {
        const char *dot = strrchr(entry->d_name, '.');
        bool is_ours = dot && (strcmp(dot, ".seg") == 0 || strcmp(dot, ".sum") == 0 ||
                               strcmp(dot, ".tmp") == 0);
        if (!is_ours || strcmp(entry->d_name, kept) == 0 || strcmp(entry->d_name, kept_sum) == 0)
            continue;
        err = trib_path_join(path, dir, entry->d_name);
        if (!err)
            err = trib_file_remove(path);
    }
    (void)closedir(entries);
    return err;
}
