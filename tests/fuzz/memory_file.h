// memory_file.h - a file without a disk, for fuzzing what reads files by their path.
#ifndef TRIB_TESTS_MEMORY_FILE_H
#define TRIB_TESTS_MEMORY_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/log.h"

struct memory_file {
    int fd;
    char path[32];
};

static inline void memory_file_open(struct memory_file *file, const uint8_t *data, size_t size)
{
    file->fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (file->fd < 0 || write(file->fd, data, size) != (ssize_t)size)
        abort();
    (void)snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

static inline void memory_file_close(struct memory_file *file)
{
    (void)close(file->fd);
}

// Millions of complaints about broken files would only slow the fuzzer down.
static inline void drop_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

#endif // TRIB_TESTS_MEMORY_FILE_H
