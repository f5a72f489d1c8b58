#include "simulations/chaos/disk.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/copy.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "simulations/chaos/machine.h"

#define TRIB_LOG_MODULE "disk"

enum {
    SYNC_US = 2000, // at most, of a good disk
    SLOW_US = 3000000,
};

static char root[TRIB_PATH_MAX + 1];
static uint64_t commits;
static const struct trib_process *committing; // whose database is being synced, or NULL

// Before a sync and after it: where a death tells most.
static void pass(struct trib_process *process)
{
    if (process->syncs_to_live == 0 || --process->syncs_to_live > 0)
        return;
    process->is_doomed = true;
    (void)trib_machine_wait(process, UINT64_MAX);
}

void trib_disk_wait(void)
{
    struct trib_process *process = trib_machine_current();
    if (!process)
        return; // the world itself makes something ready
    pass(process);
    const bool is_slow = process->disk_slow_until_us > trib_machine_now_us();
    const uint64_t us = trib_machine_draw(TRIB_STREAM_DISK, 0, is_slow ? SLOW_US : SYNC_US);
    (void)trib_machine_wait(&us, trib_machine_now_us() + us);
    pass(process);
}

uint64_t trib_disk_commits(void)
{
    return commits;
}

bool trib_disk_is_committing(void)
{
    return committing != NULL;
}

// ---- SQLite: its own file system, with another sync

static int (*plain_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);
static int (*plain_sync)(sqlite3_file *, int);

static int slow_sync(sqlite3_file *file, int flags)
{
    committing = trib_machine_current();
    trib_disk_wait();
    committing = NULL;
    commits++;
    return plain_sync(file, flags);
}

// The database locks, its log does not: they have different methods.
static int open_slow(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    static sqlite3_io_methods methods[2];
    const int result = plain_open(vfs, name, file, flags, ret_flags);
    sqlite3_io_methods *mine = &methods[(flags & SQLITE_OPEN_MAIN_DB) != 0];
    if (file->pMethods) {
        *mine = *file->pMethods;
        plain_sync = mine->xSync;
        mine->xSync = slow_sync;
        file->pMethods = mine;
    }
    return result;
}

static int draw_bytes(sqlite3_vfs *vfs, int count, char *bytes)
{
    (void)vfs;
    trib_random_bytes(bytes, (size_t)count);
    return count;
}

static enum trib_err slow_sqlite(void)
{
    static sqlite3_vfs vfs;
    const sqlite3_vfs *plain = sqlite3_vfs_find(NULL);
    if (!plain)
        return TRIB_ERR_IO;
    vfs = *plain;
    vfs.zName = "chaos";
    plain_open = vfs.xOpen;
    vfs.xOpen = open_slow;
    vfs.xRandomness = draw_bytes;
    return sqlite3_vfs_register(&vfs, 1) == SQLITE_OK ? TRIB_OK : TRIB_ERR_IO;
}

// ---- Folders

enum trib_err trib_disk_open(void)
{
    const char *temporary = getenv("TMPDIR");
    if (!temporary)
        temporary = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(root, sizeof(root), "%s/tributary-chaos-XXXXXX", temporary);
    if (!mkdtemp(root) || chdir(root)) {
        TRIB_ERROR("%s: %s", root, strerror(errno));
        return TRIB_ERR_IO;
    }
    return slow_sqlite();
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static void remove_all(const char *path)
{
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void trib_disk_remove(void)
{
    if (root[0])
        remove_all(root);
}

static enum trib_err copy_folder(const char *from, const char *to);

static enum trib_err copy_entry(const char *from, const char *to)
{
    struct stat info;
    uint64_t size;
    uint8_t digest[TRIB_DIGEST_SIZE];
    if (lstat(from, &info))
        return TRIB_ERR_IO;
    if (S_ISDIR(info.st_mode))
        return copy_folder(from, to);
    return S_ISREG(info.st_mode) ? trib_file_copy(from, to, info.st_mode & 0777, &size, digest)
                                 : TRIB_OK;
}

static enum trib_err copy_folder(const char *from, const char *to)
{
    enum trib_err err = mkdir(to, 0700) ? TRIB_ERR_IO : TRIB_OK;
    DIR *folder = opendir(from);
    if (!folder)
        return TRIB_ERR_IO;
    for (struct dirent *entry; !err && (entry = readdir(folder));) {
        char source[TRIB_PATH_MAX + 1];
        char target[TRIB_PATH_MAX + 1];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        err = trib_path_join(source, from, entry->d_name);
        if (!err)
            err = trib_path_join(target, to, entry->d_name);
        if (!err)
            err = copy_entry(source, target);
    }
    (void)closedir(folder);
    return err;
}

enum trib_err trib_disk_orphan(const struct trib_process *process)
{
    const char *folder = process->name;
    if (committing == process)
        committing = NULL;
    if (!trib_file_exists(folder))
        return TRIB_OK;
    enum trib_err err = copy_folder(folder, "copy");
    if (err)
        return err;
    remove_all(folder);
    return rename("copy", folder) ? TRIB_ERR_IO : TRIB_OK;
}
