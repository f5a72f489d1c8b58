#include "coordinator/lost.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "coordinator/keys.h"

#define TRIB_LOG_MODULE "lost"

static bool is_filled(const char *dir, const char *name)
{
    char path[TRIB_PATH_MAX + 1];
    struct stat info;
    return !trib_path_join(path, dir, name) && stat(path, &info) == 0 && info.st_size > 0;
}

static bool has_models(const char *dir)
{
    char models[TRIB_PATH_MAX + 1];
    const struct dirent *entry;
    bool found = false;
    DIR *entries = trib_path_join(models, dir, "models") ? NULL : opendir(models);
    if (!entries)
        return false;
    while (!found && (entry = readdir(entries))) {
        const char *dot = strrchr(entry->d_name, '.');
        found = dot && strcmp(dot, ".safetensors") == 0;
    }
    (void)closedir(entries);
    return found;
}

enum trib_err trib_lost_store(const char *dir)
{
    if (is_filled(dir, "store.db"))
        return TRIB_OK;
    // Each of them is made when there is a store already.
    const char *left = has_models(dir)                   ? "models"
                       : is_filled(dir, TRIB_KEYS_CHAIN) ? TRIB_KEYS_CHAIN
                       : is_filled(dir, "reserve")       ? "reserve"
                                                         : NULL;
    if (!left)
        return TRIB_OK;
    TRIB_ERROR(
        "id=store-lost %s/store.db is gone or empty, but there is %s/%s: put the store back, "
        "or restore a backup; to begin anew take another directory",
        dir, dir, left);
    return TRIB_ERR_DATA;
}
