#include "coordinator/store_pages.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "coordinator/store_log.h"

#define TRIB_LOG_MODULE "store"

enum {
    HEADER_SIZE = 100, // of the database
    PAGE_SIZE_AT = 16,
    RESERVE_AT = 20,
    PAGE_MIN = 512,
    PAGE_MAX = 65536,
    LOG_HEADER_SIZE = 32,
    LOG_PAGE_SIZE_AT = 8,
    FRAME_SIZE = 24,          // before each page in the log
    PENDING_AT = 0x40000000,  // SQLite locks bytes of this page, and keeps nothing in it
    VERIFY_AT_ONCE = 1 << 18, // bytes
};

enum kind {
    KIND_OTHER,
    KIND_DATABASE,
    KIND_LOG,
};

// What SQLite has as an open file; the file of the layer below follows.
struct file {
    sqlite3_file base; // first
    enum kind kind;
    const char *name;      // SQLite's, while the file is open
    struct file *database; // of a log
    uint32_t page_size;    // 0: not known yet
    bool is_summed;
    bool is_damaged;
    uint8_t *page;   // owned: a page on its way into the database
    uint64_t *marks; // owned: hashes of the pages in the log, by frame; 0: not known
    uint64_t mark_count;
};

static sqlite3_vfs *plain; // the layer below

static struct file *file_of(sqlite3_file *base)
{
    return (struct file *)(void *)base;
}

static sqlite3_file *below(struct file *file)
{
    return (sqlite3_file *)(void *)(file + 1);
}

static uint64_t hash_page(const uint8_t *page, size_t size, uint64_t number)
{
    uint8_t key[16] = "tribpage";
    trib_store_le64(key + 8, number);
    return trib_hash_short(key, page, size);
}

static int damaged(struct file *file, const char *what, uint64_t number)
{
    TRIB_ERROR("id=store-corrupt %s: %s %" PRIu64 " is not what its checksum says", file->name,
               what, number);
    (file->kind == KIND_LOG && file->database ? file->database : file)->is_damaged = true;
    return SQLITE_CORRUPT;
}

static bool may_write(const struct file *file)
{
    return !file->is_damaged && !(file->database && file->database->is_damaged);
}

// ---- Pages of the database

static bool is_page(uint64_t size, sqlite3_int64 at)
{
    return size >= PAGE_MIN && size <= PAGE_MAX && (size & (size - 1)) == 0 &&
           (uint64_t)at % size == 0;
}

static void take_header(struct file *file, const uint8_t *header)
{
    const uint32_t size = (uint32_t)header[PAGE_SIZE_AT] << 8 | header[PAGE_SIZE_AT + 1];
    file->page_size = size == 1 ? PAGE_MAX : size;
    file->is_summed = header[RESERVE_AT] == TRIB_STORE_PAGES_RESERVE;
}

static bool page_is_good(const uint8_t *page, uint32_t size, uint64_t number)
{
    const uint32_t end = size - TRIB_STORE_PAGES_RESERVE;
    return trib_load_le64(page + end) == hash_page(page, end, number);
}

static int write_page(struct file *file, const uint8_t *page, int size, sqlite3_int64 at)
{
    const uint32_t end = (uint32_t)size - TRIB_STORE_PAGES_RESERVE;
    if (at == 0)
        take_header(file, page);
    if (!file->is_summed)
        return below(file)->pMethods->xWrite(below(file), page, size, at);
    if (!file->page)
        file->page = trib_alloc(PAGE_MAX);
    if (!file->page)
        return SQLITE_IOERR_NOMEM;
    memcpy(file->page, page, end);
    trib_store_le64(file->page + end, hash_page(page, end, (uint64_t)(at / size) + 1));
    return below(file)->pMethods->xWrite(below(file), file->page, size, at);
}

// ---- Pages in the log

// Is this all of a frame's page? Then which frame's, from 0.
static bool is_frame_page(const struct file *file, uint64_t size, sqlite3_int64 at,
                          uint64_t *ret_frame)
{
    const uint64_t step = (uint64_t)file->page_size + FRAME_SIZE;
    if (file->page_size == 0 || size != file->page_size || at < LOG_HEADER_SIZE)
        return false;
    *ret_frame = ((uint64_t)at - LOG_HEADER_SIZE) / step;
    return ((uint64_t)at - LOG_HEADER_SIZE) % step == FRAME_SIZE;
}

static int mark_frame(struct file *file, const uint8_t *page, uint64_t frame)
{
    if (frame >= file->mark_count) {
        const uint64_t count = frame + frame / 2 + 256;
        uint64_t *marks = trib_alloc_array(count, sizeof(*marks));
        if (!marks)
            return SQLITE_IOERR_NOMEM;
        if (file->marks)
            memcpy(marks, file->marks, file->mark_count * sizeof(*marks));
        free(file->marks);
        file->marks = marks;
        file->mark_count = count;
    }
    file->marks[frame] = hash_page(page, file->page_size, 0);
    return SQLITE_OK;
}

static int write_log(struct file *file, const uint8_t *data, int size, sqlite3_int64 at)
{
    uint64_t frame;
    if (at == 0 && size == LOG_HEADER_SIZE)
        file->page_size = trib_load_be32(data + LOG_PAGE_SIZE_AT);
    const int code = below(file)->pMethods->xWrite(below(file), data, size, at);
    if (code == SQLITE_OK && is_frame_page(file, (uint64_t)size, at, &frame))
        return mark_frame(file, data, frame);
    return code;
}

static int check_log_page(struct file *file, const uint8_t *data, int size, sqlite3_int64 at)
{
    uint64_t frame;
    if (is_frame_page(file, (uint64_t)size, at, &frame) && frame < file->mark_count &&
        file->marks[frame] != 0 && file->marks[frame] != hash_page(data, file->page_size, 0))
        return damaged(file, "frame", frame + 1);
    return SQLITE_OK;
}

// ---- What SQLite calls

static int pages_read(sqlite3_file *base, void *data, int size, sqlite3_int64 at)
{
    struct file *file = file_of(base);
    const int code = below(file)->pMethods->xRead(below(file), data, size, at);
    if (code != SQLITE_OK)
        return code;
    if (file->kind == KIND_LOG)
        return check_log_page(file, data, size, at);
    if (file->kind != KIND_DATABASE || !file->is_summed || !is_page((uint64_t)size, at))
        return SQLITE_OK;
    const uint64_t number = (uint64_t)(at / size) + 1;
    return page_is_good(data, (uint32_t)size, number) ? SQLITE_OK : damaged(file, "page", number);
}

static int pages_write(sqlite3_file *base, const void *data, int size, sqlite3_int64 at)
{
    struct file *file = file_of(base);
    if (!may_write(file))
        return SQLITE_CORRUPT;
    if (file->kind == KIND_LOG)
        return write_log(file, data, size, at);
    if (file->kind == KIND_DATABASE && is_page((uint64_t)size, at))
        return write_page(file, data, size, at);
    return below(file)->pMethods->xWrite(below(file), data, size, at);
}

static int pages_sync(sqlite3_file *base, int flags)
{
    struct file *file = file_of(base);
    return may_write(file) ? below(file)->pMethods->xSync(below(file), flags) : SQLITE_CORRUPT;
}

static int pages_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct file *file = file_of(base);
    return may_write(file) ? below(file)->pMethods->xTruncate(below(file), size) : SQLITE_CORRUPT;
}

static int pages_close(sqlite3_file *base)
{
    struct file *file = file_of(base);
    free(file->page);
    free(file->marks);
    return below(file)->pMethods->xClose(below(file));
}

static int pages_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xFileSize(file, ret_size);
}

static int pages_lock(sqlite3_file *base, int level)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xLock(file, level);
}

static int pages_unlock(sqlite3_file *base, int level)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xUnlock(file, level);
}

static int pages_is_reserved(sqlite3_file *base, int *ret_is_reserved)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xCheckReservedLock(file, ret_is_reserved);
}

static int pages_control(sqlite3_file *base, int what, void *argument)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xFileControl(file, what, argument);
}

static int pages_sector(sqlite3_file *base)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xSectorSize(file);
}

static int pages_device(sqlite3_file *base)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xDeviceCharacteristics(file);
}

static int pages_shm_map(sqlite3_file *base, int page, int size, int extend, void volatile **ret)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xShmMap(file, page, size, extend, ret);
}

static int pages_shm_lock(sqlite3_file *base, int at, int count, int flags)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xShmLock(file, at, count, flags);
}

static void pages_shm_barrier(sqlite3_file *base)
{
    sqlite3_file *file = below(file_of(base));
    file->pMethods->xShmBarrier(file);
}

static int pages_shm_unmap(sqlite3_file *base, int remove)
{
    sqlite3_file *file = below(file_of(base));
    return file->pMethods->xShmUnmap(file, remove);
}

// ---- Opening

static enum trib_err read_log(void *user, void *data, uint32_t size, uint64_t at)
{
    sqlite3_file *file = user;
    const int code = file->pMethods->xRead(file, data, (int)size, (sqlite3_int64)at);
    return code == SQLITE_OK ? TRIB_OK : TRIB_ERR_IO;
}

// The exclusive lock is held by now (store_db.c), and nothing of the log was looked at yet.
static int open_log(struct file *file)
{
    sqlite3_int64 size = 0;
    struct trib_store_log_damage damage;
    file->database = file_of(sqlite3_database_file_object(file->name));
    int code = below(file)->pMethods->xFileSize(below(file), &size);
    if (code != SQLITE_OK)
        return code;
    const struct trib_store_log log = {.size = (uint64_t)size,
                                       .read = read_log,
                                       .user = below(file),
                                       .page_size = file->database->page_size};
    const enum trib_err err = trib_store_log_check(&log, &damage);
    if (err)
        return err == TRIB_ERR_NOMEM ? SQLITE_NOMEM : SQLITE_IOERR_READ;
    return damage.is_damaged ? damaged(file, "frame", damage.frame) : SQLITE_OK;
}

// One that is empty is going to have checksums: its pages need not come in their order.
static int open_database(struct file *file)
{
    uint8_t header[HEADER_SIZE];
    sqlite3_int64 size = 0;
    file->is_summed = true;
    int code = below(file)->pMethods->xFileSize(below(file), &size);
    if (code != SQLITE_OK || size < HEADER_SIZE)
        return code;
    code = below(file)->pMethods->xRead(below(file), header, HEADER_SIZE, 0);
    if (code == SQLITE_OK)
        take_header(file, header);
    return code;
}

static int pages_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                      int *ret_flags)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 2, // 3 would let SQLite map files, which nobody looks at
        .xClose = pages_close,
        .xRead = pages_read,
        .xWrite = pages_write,
        .xTruncate = pages_truncate,
        .xSync = pages_sync,
        .xFileSize = pages_size,
        .xLock = pages_lock,
        .xUnlock = pages_unlock,
        .xCheckReservedLock = pages_is_reserved,
        .xFileControl = pages_control,
        .xSectorSize = pages_sector,
        .xDeviceCharacteristics = pages_device,
        .xShmMap = pages_shm_map,
        .xShmLock = pages_shm_lock,
        .xShmBarrier = pages_shm_barrier,
        .xShmUnmap = pages_shm_unmap,
    };
    struct file *file = file_of(base);
    (void)vfs;
    *file = (struct file){.name = name};
    int code = plain->xOpen(plain, name, below(file), flags, ret_flags);
    if (code != SQLITE_OK)
        return code;
    if (flags & SQLITE_OPEN_MAIN_DB) {
        file->kind = KIND_DATABASE;
        code = open_database(file);
    } else if (flags & SQLITE_OPEN_WAL) {
        file->kind = KIND_LOG;
        code = open_log(file);
    }
    if (code == SQLITE_OK)
        file->base.pMethods = &methods;
    else
        (void)below(file)->pMethods->xClose(below(file));
    return code;
}

static enum trib_err registered;

static void make_known(void)
{
    static sqlite3_vfs vfs;
    plain = sqlite3_vfs_find(NULL);
    if (!plain) {
        registered = TRIB_ERR_IO;
        return;
    }
    vfs = *plain;
    vfs.zName = TRIB_STORE_PAGES_VFS;
    vfs.szOsFile = (int)sizeof(struct file) + plain->szOsFile;
    vfs.xOpen = pages_open;
    registered = sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? TRIB_OK : TRIB_ERR_IO;
}

enum trib_err trib_store_pages_register(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_known);
    return registered;
}

// ---- The whole file

static struct file *main_file(sqlite3 *db)
{
    sqlite3_file *base = NULL;
    (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &base);
    return base ? file_of(base) : NULL;
}

bool trib_store_pages_are_summed(sqlite3 *db)
{
    const struct file *file = main_file(db);
    return file && file->is_summed;
}

// A page that was never written is all zeros; as soon as it is read for what it says it fails.
static bool is_blank(const uint8_t *page, uint32_t size)
{
    return page[0] == 0 && memcmp(page, page + 1, size - 1) == 0;
}

static enum trib_err verify_file(struct file *file, uint8_t *data, uint64_t size)
{
    const uint32_t page = file->page_size;
    for (uint64_t at = 0; at < size; at += VERIFY_AT_ONCE) {
        const uint64_t left = size - at < VERIFY_AT_ONCE ? size - at : VERIFY_AT_ONCE;
        if (below(file)->pMethods->xRead(below(file), data, (int)left, (sqlite3_int64)at))
            return TRIB_ERR_IO;
        for (uint64_t i = 0; i + page <= left; i += page) {
            if (at + i == PENDING_AT || page_is_good(data + i, page, (at + i) / page + 1) ||
                is_blank(data + i, page))
                continue;
            (void)damaged(file, "page", (at + i) / page + 1);
            return TRIB_ERR_CORRUPT;
        }
    }
    return TRIB_OK;
}

enum trib_err trib_store_pages_verify(sqlite3 *db)
{
    struct file *file = main_file(db);
    sqlite3_int64 size = 0;
    if (!file || below(file)->pMethods->xFileSize(below(file), &size))
        return TRIB_ERR_IO;
    if (!is_page(file->page_size, 0))
        return TRIB_ERR_CORRUPT;
    uint8_t *data = trib_alloc(VERIFY_AT_ONCE);
    if (!data)
        return TRIB_ERR_NOMEM;
    const enum trib_err err = verify_file(file, data, (uint64_t)size);
    free(data);
    return err;
}
