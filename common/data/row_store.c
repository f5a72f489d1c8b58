#include "common/data/row_store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/data/row_files.h"

#define TRIB_LOG_MODULE "rows"

enum {
    FLUSH_SIZE = 1 << 16, // bytes collected before they are written
    FILE_MODE = 0600,
    PARTS = 8, // segments that fill the store
};

struct trib_row_store {
    char dir[TRIB_PATH_MAX + 1];
    uint64_t bytes_max, segment_max, age_max_ms;
    uint8_t columns[TRIB_DIGEST_SIZE];
    struct trib_row_files files; // on disk; the last one is added to
    int lock_fd, fd;
    struct trib_buf pending; // accepted rows that wait for the next write
    uint64_t next;           // sequence number
    uint64_t bytes;          // of all segments, without what is pending
    uint64_t unsynced;       // bytes written to the last one, not forced to the disk
    uint64_t newest_ms;      // arrival of the last row; 0: none in the last segment
    bool has_failed;
};

static struct trib_row_file *last_file(const struct trib_row_store *store)
{
    return &store->files.items[store->files.count - 1];
}

static enum trib_err failure(struct trib_row_store *store, const char *what)
{
    TRIB_ERROR("id=rows-failed %s: %s: %s", store->dir, what, strerror(errno));
    store->has_failed = true;
    return TRIB_ERR_IO;
}

// ---- Segments

static enum trib_err drop_oldest(struct trib_row_store *store)
{
    char path[TRIB_PATH_MAX + 1];
    const struct trib_row_file oldest = store->files.items[0];
    assert(store->files.count > 1);
    enum trib_err err = trib_row_file_path(store->dir, oldest.first, path);
    if (!err)
        err = trib_file_remove(path);
    if (err)
        return err;
    store->bytes -= oldest.size;
    store->files.count--;
    memmove(store->files.items, store->files.items + 1,
            store->files.count * sizeof(*store->files.items));
    TRIB_CRASH_POINT("rows.dropped");
    return TRIB_OK;
}

// Drop the oldest until so many more bytes fit.
static enum trib_err shrink(struct trib_row_store *store, uint64_t bytes)
{
    enum trib_err err = TRIB_OK;
    while (!err && store->bytes + store->pending.size + bytes > store->bytes_max &&
           store->files.count > 1)
        err = drop_oldest(store);
    return err;
}

static enum trib_err open_last(struct trib_row_store *store)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_row_file_path(store->dir, last_file(store)->first, path);
    if (err)
        return err;
    if (store->fd >= 0)
        (void)close(store->fd);
    store->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return store->fd < 0 ? failure(store, "cannot open the last segment") : TRIB_OK;
}

// The last segment is durable; begin the next.
static enum trib_err begin_segment(struct trib_row_store *store, uint64_t now_ms)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t header[TRIB_ROW_SEGMENT_HEADER_SIZE];
    struct trib_row_segment_header segment = {.first = store->next, .created_ms = now_ms};
    memcpy(segment.columns, store->columns, TRIB_DIGEST_SIZE);
    trib_row_segment_pack(&segment, header);
    enum trib_err err = trib_row_file_path(store->dir, store->next, path);
    if (!err)
        err = trib_file_write(path, header, sizeof(header), FILE_MODE);
    TRIB_CRASH_POINT("rows.segment");
    if (!err)
        err = trib_row_files_add(&store->files, store->next, sizeof(header));
    if (err)
        return err;
    last_file(store)->created_ms = now_ms;
    store->bytes += sizeof(header);
    store->newest_ms = 0;
    return open_last(store);
}

static enum trib_err next_segment(struct trib_row_store *store, uint64_t now_ms)
{
    if (last_file(store)->first == store->next) { // without rows: its file would have this name
        last_file(store)->created_ms = now_ms;
        return TRIB_OK;
    }
    enum trib_err err = shrink(store, TRIB_ROW_SEGMENT_HEADER_SIZE);
    if (!err)
        err = trib_row_store_sync(store);
    last_file(store)->newest_ms = store->newest_ms;
    return err ? err : begin_segment(store, now_ms);
}

// ---- Opening

// What is behind the last whole row of the last segment goes; numbers go on behind that row.
static enum trib_err cut_tail(struct trib_row_store *store)
{
    struct trib_row_file *file = last_file(store);
    struct trib_row_segment_header header;
    struct trib_buf data = {0};
    struct trib_row_reader reader;
    struct trib_row row;
    enum trib_row_event event;
    enum trib_err err = trib_row_file_load(store->dir, file->first, &header, &data);
    if (err)
        return err;
    trib_row_reader_init(&reader, &header, data.data, data.size);
    while ((event = trib_row_next(&reader, &row)) == TRIB_ROW_WHOLE)
        store->newest_ms = row.arrival_ms;
    trib_buf_fini(&data);
    if (event == TRIB_ROW_TORN) {
        TRIB_WARN("id=rows-torn %s: %" PRIu64 " bytes behind row %" PRIu64 " are cut off",
                  store->dir, file->size - reader.at, reader.next - 1);
        if (ftruncate(store->fd, (off_t)reader.at) || fsync(store->fd))
            return failure(store, "cannot cut the last segment");
    }
    store->bytes -= file->size - reader.at;
    file->size = reader.at;
    file->created_ms = header.created_ms;
    store->next = reader.next;
    return memcmp(header.columns, store->columns, TRIB_DIGEST_SIZE) == 0
               ? TRIB_OK
               : next_segment(store, header.created_ms);
}

// A last segment without a header is one that a power cut left behind: it has no rows.
static enum trib_err drop_broken_last(struct trib_row_store *store)
{
    struct trib_row_segment_header header;
    struct trib_buf data = {0};
    char path[TRIB_PATH_MAX + 1];
    while (store->files.count > 0) {
        struct trib_row_file *file = last_file(store);
        enum trib_err err = trib_row_file_load(store->dir, file->first, &header, &data);
        trib_buf_fini(&data);
        if (err != TRIB_ERR_CORRUPT)
            return err;
        if (store->next < file->first)
            store->next = file->first;
        err = trib_row_file_path(store->dir, file->first, path);
        if (!err)
            err = trib_file_remove(path);
        if (err)
            return err;
        store->bytes -= file->size;
        store->files.count--;
    }
    return TRIB_OK;
}

static enum trib_err open_files(struct trib_row_store *store, uint64_t now_ms)
{
    enum trib_err err = trib_row_files_list(store->dir, &store->files);
    for (size_t i = 0; !err && i < store->files.count; i++)
        store->bytes += store->files.items[i].size;
    store->next = 1;
    if (!err)
        err = drop_broken_last(store);
    if (err)
        return err;
    const uint64_t least = store->next;
    if (store->files.count == 0)
        return begin_segment(store, now_ms);
    err = open_last(store);
    if (!err)
        err = cut_tail(store);
    if (!err && store->next < least) {
        store->next = least;
        err = begin_segment(store, now_ms);
    }
    return err;
}

static enum trib_err lock(struct trib_row_store *store)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(path, store->dir, "lock");
    if (err)
        return err;
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (store->lock_fd < 0)
        return failure(store, "cannot open the lock");
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB)) {
        TRIB_ERROR("%s: another process writes to this store", store->dir);
        return TRIB_ERR_STATE;
    }
    return TRIB_OK;
}

enum trib_err trib_row_store_open(const struct trib_row_store_options *options, uint64_t now_ms,
                                  struct trib_row_store **ret_store)
{
    assert(options->bytes_max >= TRIB_ROW_STORE_BYTES_MIN);
    struct trib_row_store *store = trib_alloc(sizeof(*store));
    if (!store)
        return TRIB_ERR_NOMEM;
    (void)snprintf(store->dir, sizeof(store->dir), "%s", options->dir);
    store->bytes_max = options->bytes_max;
    store->segment_max = options->bytes_max / PARTS;
    if (store->segment_max > TRIB_ROW_SEGMENT_SIZE_MAX)
        store->segment_max = TRIB_ROW_SEGMENT_SIZE_MAX;
    store->age_max_ms = options->age_max_ms;
    memcpy(store->columns, options->columns, TRIB_DIGEST_SIZE);
    store->lock_fd = store->fd = -1;
    enum trib_err err = trib_dir_make(store->dir, 0700);
    if (!err)
        err = lock(store);
    if (!err)
        err = open_files(store, now_ms);
    if (!err && store->bytes > store->bytes_max) { // a smaller bound than before
        err = next_segment(store, now_ms);
        if (!err)
            err = shrink(store, 0);
    }
    if (!err)
        err = trib_row_store_expire(store, now_ms);
    if (err) {
        trib_row_store_close(store);
        return err;
    }
    *ret_store = store;
    return TRIB_OK;
}

void trib_row_store_close(struct trib_row_store *store)
{
    if (!store)
        return;
    if (store->fd >= 0)
        (void)close(store->fd);
    if (store->lock_fd >= 0)
        (void)close(store->lock_fd);
    trib_row_files_fini(&store->files);
    trib_buf_fini(&store->pending);
    free(store);
}

// ---- Adding

static bool is_full(const struct trib_row_store *store, uint64_t record)
{
    return last_file(store)->size + store->pending.size + record > store->segment_max;
}

enum trib_err trib_row_store_append(struct trib_row_store *store, const void *text, size_t size,
                                    uint64_t now_ms)
{
    const uint64_t record = TRIB_ROW_HEADER_SIZE + size;
    enum trib_err err = store->has_failed ? TRIB_ERR_IO : TRIB_OK;
    if (now_ms < store->newest_ms) // a clock that was set back: ages stay in order
        now_ms = store->newest_ms;
    const bool is_late = store->age_max_ms > 0 &&
                         now_ms - last_file(store)->created_ms > store->age_max_ms / PARTS &&
                         now_ms > last_file(store)->created_ms;
    if (!err && (is_full(store, record) || is_late)) {
        err = next_segment(store, now_ms);
        if (!err)
            err = trib_row_store_expire(store, now_ms);
    }
    if (!err)
        err = shrink(store, record);
    if (err) {
        store->has_failed = true;
        return err;
    }
    const struct trib_row row = {
        .sequence = store->next, .arrival_ms = now_ms, .text = text, .size = size};
    trib_row_pack(&row, &store->pending);
    if (store->pending.failed) {
        store->has_failed = true;
        return TRIB_ERR_NOMEM;
    }
    store->newest_ms = now_ms;
    store->next++;
    return store->pending.size >= FLUSH_SIZE ? trib_row_store_flush(store) : TRIB_OK;
}

enum trib_err trib_row_store_flush(struct trib_row_store *store)
{
    struct trib_buf *pending = &store->pending;
    size_t done = 0;
    if (store->has_failed)
        return TRIB_ERR_IO;
    while (done < pending->size) {
        ssize_t got = write(store->fd, pending->data + done, pending->size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            enum trib_err err = failure(store, "cannot write");
            (void)!ftruncate(store->fd,
                             (off_t)last_file(store)->size); // or it is cut at the next start
            return err;
        }
        done += (size_t)got;
    }
    last_file(store)->size += done;
    store->bytes += done;
    store->unsynced += done;
    trib_buf_clear(pending);
    TRIB_CRASH_POINT("rows.flushed");
    return TRIB_OK;
}

enum trib_err trib_row_store_sync(struct trib_row_store *store)
{
    enum trib_err err = trib_row_store_flush(store);
    if (err || store->unsynced == 0)
        return err;
    if (fdatasync(store->fd))
        return failure(store, "cannot sync");
    store->unsynced = 0;
    return TRIB_OK;
}

enum trib_err trib_row_store_expire(struct trib_row_store *store, uint64_t now_ms)
{
    enum trib_err err = TRIB_OK;
    if (store->age_max_ms == 0 || now_ms < store->age_max_ms)
        return TRIB_OK;
    const uint64_t oldest_ms = now_ms - store->age_max_ms;
    if (store->newest_ms > 0 && store->newest_ms < oldest_ms)
        err = next_segment(store, now_ms);
    while (!err && store->files.count > 1) {
        const struct trib_row_file *file = store->files.items;
        if ((file->newest_ms ? file->newest_ms : file[1].created_ms) >= oldest_ms)
            break;
        err = drop_oldest(store);
    }
    return err;
}

bool trib_row_store_has_failed(const struct trib_row_store *store)
{
    return store->has_failed;
}

struct trib_row_store_state trib_row_store_state(const struct trib_row_store *store)
{
    return (struct trib_row_store_state){
        .bytes = store->bytes + store->pending.size,
        .first = store->files.items[0].first,
        .next = store->next,
        .unsynced = store->unsynced + store->pending.size,
    };
}
