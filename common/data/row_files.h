// row_files.h - the segments in the folder of a row store: row_store.c and row_read.c only.
#ifndef TRIB_DATA_ROW_FILES_H
#define TRIB_DATA_ROW_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/data/row_segment.h"
#include "tributary/err.h"

enum {
    TRIB_ROW_SEGMENT_SIZE_MAX = 16 << 20,
};

struct trib_row_file {
    uint64_t first; // sequence number, from its name
    uint64_t size;  // bytes
    uint64_t created_ms;
    uint64_t newest_ms; // arrival of its last row; 0: not known, but before the next was begun
};

struct trib_row_files {
    struct trib_row_file *items; // owned; by `first`
    size_t count, capacity;
};

// The segments of a folder. One that goes away meanwhile is left out; a folder that is not there
// has none.
TRIB_CHECKED enum trib_err trib_row_files_list(const char *dir, struct trib_row_files *ret_files);
void trib_row_files_fini(struct trib_row_files *files);
TRIB_CHECKED enum trib_err trib_row_files_add(struct trib_row_files *files, uint64_t first,
                                              uint64_t size);

TRIB_CHECKED enum trib_err trib_row_file_path(const char *dir, uint64_t first,
                                              char ret_path[static TRIB_PATH_MAX + 1]);

// The whole segment. TRIB_ERR_CORRUPT: its header is broken, or its first row another, logged.
TRIB_CHECKED enum trib_err trib_row_file_load(const char *dir, uint64_t first,
                                              struct trib_row_segment_header *ret_header,
                                              struct trib_buf *ret_data);

#endif // TRIB_DATA_ROW_FILES_H
