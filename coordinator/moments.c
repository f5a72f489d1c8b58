#include "coordinator/moments.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "moments"

enum {
    HEAD_SIZE = 40,
};

struct trib_moments {
    struct trib_moments_options options;
    size_t count;
    size_t floats;  // of m and v together
    float *now;     // (floats) of the newest committed version
    float *waiting; // (floats) of the last step
};

enum trib_err trib_moments_create(const struct trib_moments_options *options, size_t count,
                                  struct trib_moments **ret_moments)
{
    const bool has_second = options->kind == TRIB_MOMENTS_FEDADAM;
    struct trib_moments *moments = trib_alloc(sizeof(*moments));
    if (!moments)
        return TRIB_ERR_NOMEM;
    moments->options = *options;
    moments->count = count;
    moments->floats = has_second ? 2 * count : count;
    moments->now = trib_alloc_aligned(moments->floats, sizeof(*moments->now));
    moments->waiting = trib_alloc_aligned(moments->floats, sizeof(*moments->waiting));
    if (!moments->now || !moments->waiting) {
        trib_moments_destroy(moments);
        return TRIB_ERR_NOMEM;
    }
    for (size_t i = count; i < moments->floats; i++) // algorithm 2: v is at least tau^2 at first
        moments->now[i] = (float)(options->tau * options->tau);
    *ret_moments = moments;
    return TRIB_OK;
}

void trib_moments_destroy(struct trib_moments *moments)
{
    if (!moments)
        return;
    free(moments->now);
    free(moments->waiting);
    free(moments);
}

// In double, and rounded once each: m, v, x.
enum trib_err trib_moments_step(struct trib_moments *moments, const float *base, const float *mean,
                                double server_learning_rate, float *ret_next)
{
    const struct trib_moments_options *o = &moments->options;
    const size_t count = moments->count;
    const bool is_adam = o->kind == TRIB_MOMENTS_FEDADAM;
    const double rest1 = is_adam ? 1 - o->beta1 : 1;
    bool is_finite = true;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)mean[i];
        const float m = (float)(o->beta1 * (double)moments->now[i] + rest1 * d);
        double step = (double)m;
        moments->waiting[i] = m;
        if (is_adam) {
            const double old = (double)moments->now[count + i];
            const float v = (float)(o->beta2 * old + (1 - o->beta2) * d * d);
            moments->waiting[count + i] = v;
            step /= sqrt((double)v) + o->tau;
            is_finite = is_finite && isfinite(v);
        }
        ret_next[i] = (float)((double)base[i] + server_learning_rate * step);
        is_finite = is_finite && isfinite(m) && isfinite(ret_next[i]);
    }
    return is_finite ? TRIB_OK : TRIB_ERR_DATA;
}

void trib_moments_take(struct trib_moments *moments)
{
    float *old = moments->now;
    moments->now = moments->waiting;
    moments->waiting = old;
}

// ---- Files

static enum trib_err path_of(char path[static TRIB_PATH_MAX + 1], const char *dir, uint64_t version)
{
    char name[40];
    (void)snprintf(name, sizeof(name), "%" PRIu64 ".moments", version);
    return trib_path_join(path, dir, name);
}

static void fill_head(uint8_t head[static HEAD_SIZE], uint64_t job, uint64_t version,
                      const void *values, size_t floats)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "moments are written as they lie");
    memcpy(head, "TRIBMOM1", 8);
    trib_store_le64(head + 8, job);
    trib_store_le64(head + 16, version);
    trib_store_le64(head + 24, floats);
    trib_store_le64(head + 32, 0);
    trib_store_le32(head + 32,
                    trib_crc32c(trib_crc32c(0, head, 32), values, floats * sizeof(float)));
}

enum trib_err trib_moments_write(const struct trib_moments *moments, const char *dir, uint64_t job,
                                 uint64_t version)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t head[HEAD_SIZE];
    enum trib_err err = path_of(path, dir, version);
    if (err)
        return err;
    fill_head(head, job, version, moments->waiting, moments->floats);
    return trib_file_write_two(path, head, sizeof(head), moments->waiting,
                               moments->floats * sizeof(*moments->waiting), 0600);
}

enum trib_err trib_moments_read(struct trib_moments *moments, const char *dir, uint64_t job,
                                uint64_t version)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t head[HEAD_SIZE];
    struct trib_buf buf = {0};
    const size_t size = moments->floats * sizeof(*moments->now);
    enum trib_err err = path_of(path, dir, version);
    if (!err && trib_file_exists(path))
        err = trib_file_read(path, HEAD_SIZE + size, &buf);
    if (err && err != TRIB_ERR_LIMIT)
        goto out;
    err = TRIB_ERR_CORRUPT;
    if (buf.size == HEAD_SIZE + size) {
        memcpy(moments->waiting, buf.data + HEAD_SIZE, size);
        fill_head(head, job, version, moments->waiting, moments->floats);
        if (memcmp(head, buf.data, HEAD_SIZE) == 0) {
            trib_moments_take(moments);
            err = TRIB_OK;
        }
    }
    if (err)
        TRIB_ERROR("id=moments-corrupt %s is missing, damaged or of another version", path);

out:
    trib_buf_fini(&buf);
    return err;
}

enum trib_err trib_moments_remove(const char *dir, uint64_t version)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = path_of(path, dir, version);
    return err ? err : trib_file_remove(path);
}

bool trib_moments_exist(const char *dir, uint64_t version)
{
    char path[TRIB_PATH_MAX + 1];
    return !path_of(path, dir, version) && trib_file_exists(path);
}

// A whole file's head says all that is needed, but for whose it is to be.
static bool take_head(uint8_t head[static HEAD_SIZE], const struct trib_buf *file, uint64_t version)
{
    const uint64_t floats = file->size < HEAD_SIZE ? 0 : trib_load_le64(file->data + 24);
    if (floats == 0 || floats != (file->size - HEAD_SIZE) / sizeof(float))
        return false;
    fill_head(head, trib_load_le64(file->data + 8), version, file->data + HEAD_SIZE,
              (size_t)floats);
    return true;
}

enum trib_err trib_moments_move(const char *dir, uint64_t version, uint64_t to)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t head[HEAD_SIZE];
    struct trib_buf file = {0};
    if (!trib_moments_exist(dir, version))
        return TRIB_OK;
    enum trib_err err = path_of(path, dir, version);
    if (!err)
        err = trib_file_read(path, SIZE_MAX, &file);
    if (!err && (!take_head(head, &file, version) || memcmp(head, file.data, HEAD_SIZE) != 0))
        err = TRIB_ERR_CORRUPT;
    if (!err)
        err = path_of(path, dir, to);
    if (!err && take_head(head, &file, to))
        err = trib_file_write_two(path, head, sizeof(head), file.data + HEAD_SIZE,
                                  file.size - HEAD_SIZE, 0600);
    trib_buf_fini(&file);
    return err ? err : trib_moments_remove(dir, version);
}

enum trib_err trib_moments_clean(const char *dir, uint64_t keep)
{
    char kept[40], path[TRIB_PATH_MAX + 1];
    const struct dirent *entry;
    enum trib_err err = TRIB_OK;
    DIR *entries = opendir(dir);
    if (!entries) {
        TRIB_ERROR("%s: cannot be listed", dir);
        return TRIB_ERR_IO;
    }
    (void)snprintf(kept, sizeof(kept), "%" PRIu64 ".moments", keep);
    while (!err && (entry = readdir(entries))) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".moments") != 0 || strcmp(entry->d_name, kept) == 0)
            continue;
        err = trib_path_join(path, dir, entry->d_name);
        if (!err)
            err = trib_file_remove(path);
    }
    (void)closedir(entries);
    return err;
}
