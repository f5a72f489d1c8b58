#include "tests/fault/folder.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"

enum {
    DEPTH_MAX = 4
};

static bool copy_file(const char *from, const char *to, mode_t mode)
{
    char block[65536];
    size_t got;
    FILE *in = fopen(from, "rb");
    FILE *out = in ? fopen(to, "wb") : NULL;
    bool is_good = out != NULL;
    while (is_good && (got = fread(block, 1, sizeof(block), in)) > 0)
        is_good = fwrite(block, 1, got, out) == got;
    is_good = is_good && !ferror(in);
    if (out)
        is_good = fclose(out) == 0 && is_good;
    if (in)
        (void)fclose(in);
    return is_good && chmod(to, mode) == 0;
}

// NOLINTNEXTLINE(misc-no-recursion): DEPTH_MAX
bool folder_copy(const char *from, const char *to, int depth)
{
    bool is_good = depth <= DEPTH_MAX && (mkdir(to, 0700) == 0 || depth == 0);
    DIR *entries = is_good ? opendir(from) : NULL;
    const struct dirent *entry;
    is_good = entries != NULL;
    while (is_good && (entry = readdir(entries))) {
        char source[TRIB_PATH_MAX + 1], target[TRIB_PATH_MAX + 1];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        is_good = !trib_path_join(source, from, entry->d_name) &&
                  !trib_path_join(target, to, entry->d_name) && lstat(source, &info) == 0;
        if (is_good && S_ISDIR(info.st_mode))
            is_good = folder_copy(source, target, depth + 1);
        else if (is_good && S_ISREG(info.st_mode))
            is_good = copy_file(source, target, info.st_mode & 0777);
    }
    if (entries)
        (void)closedir(entries);
    return is_good;
}

// NOLINTNEXTLINE(misc-no-recursion): DEPTH_MAX
void folder_remove(const char *path, int depth)
{
    DIR *entries = depth <= DEPTH_MAX ? opendir(path) : NULL;
    const struct dirent *entry;
    while (entries && (entry = readdir(entries))) {
        char inner[TRIB_PATH_MAX + 1];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!trib_path_join(inner, path, entry->d_name) && unlink(inner))
            folder_remove(inner, depth + 1);
    }
    if (entries)
        (void)closedir(entries);
    (void)rmdir(path);
}
