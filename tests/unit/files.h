// files.h - what the tests of file readers share: a folder to write in, and the lines logged.
#ifndef TRIB_TESTS_UNIT_FILES_H
#define TRIB_TESTS_UNIT_FILES_H

#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/log.h"

static char files_dir[TEST_FOLDER_SIZE];
static char files_logged[4096]; // the last line

static void files_keep_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)snprintf(files_logged, sizeof(files_logged), "%s", line);
}

static inline int files_setup(void **state)
{
    (void)state;
    trib_log_set_sink(files_keep_line, NULL);
    return test_folder(files_dir) ? 0 : -1;
}

// Remove what the tests wrote: `names` ends with NULL.
static inline int files_teardown(const char *const *names)
{
    char path[TRIB_PATH_MAX + 1];
    trib_log_set_sink(NULL, NULL);
    for (; *names; names++) {
        if (trib_path_join(path, files_dir, *names) == TRIB_OK)
            (void)unlink(path);
    }
    return rmdir(files_dir);
}

// Write a file into the folder; its path, good until the next call with the same slot (0 .. 3).
static inline const char *files_put(int slot, const char *name, const void *data, size_t size)
{
    static char paths[4][TRIB_PATH_MAX + 1];
    assert_int_equal(trib_path_join(paths[slot], files_dir, name), TRIB_OK);
    if (data)
        assert_int_equal(trib_file_write(paths[slot], data, size, 0600), TRIB_OK);
    return paths[slot];
}

// The last line logged contains `text`.
static inline void files_assert_logged(const char *text)
{
    if (!strstr(files_logged, text))
        fail_msg("logged '%s', wanted '%s'", files_logged, text);
}

#endif // TRIB_TESTS_UNIT_FILES_H
