// The segments of a row store as they lie in its folder, and reading them.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/data/row_files.h"
#include "common/data/row_store.h"

#define TRIB_LOG_MODULE "rows"

enum {
    NAME_DIGITS = 16
};
static const char ending[] = ".rows";

// ---- The folder

enum trib_err trib_row_file_path(const char *dir, uint64_t first,
                                 char ret_path[static TRIB_PATH_MAX + 1])
{
    char name[NAME_DIGITS + sizeof(ending)];
    (void)snprintf(name, sizeof(name), "%016" PRIx64 "%s", first, ending);
    return trib_path_join(ret_path, dir, name);
}

// False: another file.
static bool take_name(const char *name, uint64_t *ret_first)
{
    char *end;
    if (strspn(name, "0123456789abcdef") != NAME_DIGITS || strcmp(name + NAME_DIGITS, ending) != 0)
        return false;
    *ret_first = strtoull(name, &end, 16);
    return *ret_first > 0;
}

enum trib_err trib_row_files_add(struct trib_row_files *files, uint64_t first, uint64_t size)
{
    if (files->count == files->capacity) {
        const size_t capacity = files->capacity ? 2 * files->capacity : 16;
        struct trib_row_file *items = trib_alloc_array(capacity, sizeof(*items));
        if (!items)
            return TRIB_ERR_NOMEM;
        if (files->count > 0)
            memcpy(items, files->items, files->count * sizeof(*items));
        free(files->items);
        files->items = items;
        files->capacity = capacity;
    }
    files->items[files->count++] = (struct trib_row_file){.first = first, .size = size};
    return TRIB_OK;
}

void trib_row_files_fini(struct trib_row_files *files)
{
    free(files->items);
    *files = (struct trib_row_files){.items = NULL};
}

static int by_first(const void *a, const void *b)
{
    const struct trib_row_file *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

// The header tells when it was begun; a file that is too short for one was begun in 1970.
static enum trib_err add_file(const char *dir, uint64_t first, struct trib_row_files *files)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t bytes[TRIB_ROW_SEGMENT_HEADER_SIZE];
    struct trib_row_segment_header header;
    struct stat info;
    enum trib_err err = trib_row_file_path(dir, first, path);
    if (err)
        return err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) // dropped in this moment
        return TRIB_OK;
    if (fd < 0 || fstat(fd, &info)) {
        TRIB_ERROR("%s: cannot read: %s", path, strerror(errno));
        err = TRIB_ERR_IO;
    } else {
        err = trib_row_files_add(files, first, (uint64_t)info.st_size);
        ssize_t got = pread(fd, bytes, sizeof(bytes), 0);
        if (!err && got > 0 && trib_row_segment_unpack(bytes, (size_t)got, &header))
            files->items[files->count - 1].created_ms = header.created_ms;
    }
    if (fd >= 0)
        (void)close(fd);
    return err;
}

enum trib_err trib_row_files_list(const char *dir, struct trib_row_files *ret_files)
{
    struct trib_row_files files = {.items = NULL};
    const struct dirent *entry;
    enum trib_err err = TRIB_OK;
    DIR *entries = opendir(dir);
    if (!entries && errno != ENOENT) {
        TRIB_ERROR("%s: cannot be listed: %s", dir, strerror(errno));
        return TRIB_ERR_IO;
    }
    while (entries && !err && (entry = readdir(entries))) {
        uint64_t first;
        if (take_name(entry->d_name, &first))
            err = add_file(dir, first, &files);
    }
    if (entries)
        (void)closedir(entries);
    if (err) {
        trib_row_files_fini(&files);
        return err;
    }
    if (files.count > 0)
        qsort(files.items, files.count, sizeof(*files.items), by_first);
    *ret_files = files;
    return TRIB_OK;
}

enum trib_err trib_row_file_load(const char *dir, uint64_t first,
                                 struct trib_row_segment_header *ret_header,
                                 struct trib_buf *ret_data)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf data = {0};
    struct trib_row_segment_header header;
    enum trib_err err = trib_row_file_path(dir, first, path);
    if (!err)
        err = trib_file_read(path, TRIB_ROW_SEGMENT_SIZE_MAX, &data);
    if (err)
        return err;
    if (!trib_row_segment_unpack(data.data, data.size, &header) || header.first != first) {
        TRIB_WARN("id=rows-corrupt %s: its header is broken; its rows are lost", path);
        trib_buf_fini(&data);
        return TRIB_ERR_CORRUPT;
    }
    *ret_header = header;
    *ret_data = data;
    return TRIB_OK;
}

// ---- Reading

// What a trainer learns from must not go away: numbers would be used twice.
static enum trib_err sync_file(const char *dir, uint64_t first)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_row_file_path(dir, first, path);
    if (err)
        return err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool is_synced = fd >= 0 && fdatasync(fd) == 0;
    if (!is_synced && (fd >= 0 || errno != ENOENT)) {
        TRIB_ERROR("%s: cannot sync: %s", path, strerror(errno));
        err = TRIB_ERR_IO;
    }
    if (fd >= 0)
        (void)close(fd);
    return err;
}

static enum trib_err read_segment(const struct trib_row_query *query,
                                  const struct trib_row_file *file, bool is_last, trib_row_fn visit,
                                  void *user)
{
    struct trib_row_segment_header header;
    struct trib_buf data = {0};
    struct trib_row_reader reader;
    struct trib_row row;
    enum trib_row_event event;
    enum trib_err err = trib_row_file_load(query->dir, file->first, &header, &data);
    if (err)
        return err == TRIB_ERR_CORRUPT ? TRIB_OK : err;
    if (is_last) // the others were synced when they ended
        err = sync_file(query->dir, file->first);
    if (query->columns && memcmp(header.columns, query->columns, TRIB_DIGEST_SIZE) != 0) {
        TRIB_WARN("id=rows-foreign %s: the rows from %" PRIu64 " on have other columns than the "
                  "schema and are left out",
                  query->dir, file->first);
        goto out;
    }
    trib_row_reader_init(&reader, &header, data.data, data.size);
    while (!err && (event = trib_row_next(&reader, &row)) == TRIB_ROW_WHOLE) {
        if (row.sequence > query->after && row.arrival_ms >= query->oldest_ms)
            err = visit(user, &row);
    }
    if (!err && event == TRIB_ROW_TORN && !is_last)
        TRIB_WARN("id=rows-corrupt %s: what is behind row %" PRIu64
                  " up to the next segment is lost",
                  query->dir, reader.next - 1);

out:
    trib_buf_fini(&data);
    return err;
}

enum trib_err trib_row_store_read(const struct trib_row_query *query, trib_row_fn visit, void *user)
{
    struct trib_row_files files = {.items = NULL};
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_row_files_list(query->dir, &files);
    for (size_t i = 0; !err && i < files.count; i++) {
        const bool is_last = i + 1 == files.count;
        if (!is_last && files.items[i + 1].first <= query->after + 1)
            continue; // all of its rows are before
        err = trib_row_file_path(query->dir, files.items[i].first, path);
        if (!err && trib_file_exists(path)) // else it was dropped meanwhile
            err = read_segment(query, &files.items[i], is_last, visit, user);
    }
    trib_row_files_fini(&files);
    return err;
}

static enum trib_err count_row(void *user, const struct trib_row *row)
{
    *(uint64_t *)user = row->sequence + 1;
    return TRIB_OK;
}

enum trib_err trib_row_store_look(const char *dir, struct trib_row_store_state *ret_state)
{
    struct trib_row_files files = {.items = NULL};
    struct trib_row_store_state state = {.first = 1, .next = 1};
    enum trib_err err = trib_row_files_list(dir, &files);
    for (size_t i = 0; !err && i < files.count; i++)
        state.bytes += files.items[i].size;
    if (!err && files.count > 0) {
        const uint64_t last = files.items[files.count - 1].first;
        const struct trib_row_query query = {.dir = dir, .after = last - 1};
        state.first = files.items[0].first;
        state.next = last;
        err = trib_row_store_read(&query, count_row, &state.next);
    }
    trib_row_files_fini(&files);
    if (!err)
        *ret_state = state;
    return err;
}
