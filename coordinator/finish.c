#include "coordinator/finish.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/privacy/noise_round.h"

#define TRIB_LOG_MODULE "finish"

enum {
    PIECE = 4096, // coordinates unmasked at a time: they stay in the first cache
    HEAD_SIZE = 32,
};

int32_t trib_word_lift(uint32_t x, uint32_t bits)
{
    return (int32_t)(x << (32 - bits)) >> (32 - bits);
}

void trib_unmask_finish(void *user, size_t begin, size_t count, int64_t *sums)
{
    const struct trib_unmask *unmask = user;
    uint32_t words[PIECE];
    for (size_t at = 0; at < count; at += PIECE) {
        size_t piece = count - at < PIECE ? count - at : PIECE;
        for (size_t i = 0; i < piece; i++)
            words[i] = (uint32_t)(uint64_t)sums[at + i];
        if (unmask->hub)
            trib_secagg_hub_remove(unmask->hub, begin + at, piece, words);
        for (size_t i = 0; i < piece; i++)
            sums[at + i] = trib_word_lift(words[i], unmask->word_bits);
    }
}

// ---- Central

enum trib_err trib_central_init(struct trib_central *central, const struct trib_encoding *encoding,
                                size_t params, uint64_t test_seed, uint64_t round_number)
{
    *central = (struct trib_central){.grid_bits = encoding->grid_bits,
                                     .test_seed = test_seed,
                                     .round_number = round_number,
                                     .count = params};
    central->sums = trib_alloc_aligned(params, sizeof(*central->sums));
    return central->sums ? TRIB_OK : TRIB_ERR_NOMEM;
}

void trib_central_fini(struct trib_central *central)
{
    if (central->sums)
        trib_wipe(central->sums, central->count * sizeof(*central->sums));
    free(central->sums);
    *central = (struct trib_central){.sums = NULL};
}

void trib_central_finish(void *user, size_t begin, size_t count, int64_t *sums)
{
    struct trib_central *central = user;
    struct trib_noise noise;
    char name[32];
    assert(begin + count <= central->count);
    // Each block has a generator of its own, so that the threads' order does not matter.
    (void)snprintf(name, sizeof(name), "%zu", begin);
    trib_noise_init_round(&noise, central->test_seed, "central noise", central->round_number, name);
    for (size_t i = 0; i < count; i++)
        sums[i] += trib_noise_dlap(&noise, central->grid_bits);
    trib_noise_fini(&noise);
    memcpy(central->sums + begin, sums, count * sizeof(*sums));
}

static enum trib_err sum_path(char path[static TRIB_PATH_MAX + 1], const char *dir,
                              uint64_t round_id)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%" PRIu64 ".sum", round_id);
    return trib_path_join(path, dir, name);
}

static void fill_head(uint8_t head[static HEAD_SIZE], uint64_t round_id, uint64_t count,
                      const uint8_t *body, size_t size)
{
    memcpy(head, "TRIBSUM1", 8);
    trib_store_le64(head + 8, round_id);
    trib_store_le64(head + 16, count);
    trib_store_le64(head + 24, 0);
    trib_store_le32(head + 24, trib_crc32c(trib_crc32c(0, head, 24), body, size));
}

enum trib_err trib_central_write(const struct trib_central *central, const char *dir,
                                 uint64_t round_id)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t head[HEAD_SIZE];
    const size_t size = central->count * sizeof(int64_t);
    enum trib_err err = sum_path(path, dir, round_id);
    uint8_t *body = trib_alloc_aligned(size, 1);
    if (!err && !body)
        err = TRIB_ERR_NOMEM;
    if (err)
        goto out;
    for (size_t i = 0; i < central->count; i++)
        trib_store_le64(body + 8 * i, (uint64_t)central->sums[i]);
    fill_head(head, round_id, central->count, body, size);
    err = trib_file_write_two(path, head, sizeof(head), body, size, 0600);

out:
    if (body)
        trib_wipe(body, size);
    free(body);
    return err;
}

enum trib_err trib_central_read(struct trib_central *central, const char *dir, uint64_t round_id)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t head[HEAD_SIZE];
    struct trib_buf buf = {0};
    const size_t size = central->count * sizeof(int64_t);
    enum trib_err err = sum_path(path, dir, round_id);
    if (err)
        return err;
    if (!trib_file_exists(path))
        return TRIB_ERR_STATE;
    err = trib_file_read(path, HEAD_SIZE + size, &buf);
    if (err)
        return err == TRIB_ERR_LIMIT ? TRIB_ERR_CORRUPT : err;
    if (buf.size == HEAD_SIZE + size)
        fill_head(head, round_id, central->count, buf.data + HEAD_SIZE, size);
    if (buf.size != HEAD_SIZE + size || memcmp(head, buf.data, HEAD_SIZE) != 0) {
        TRIB_ERROR("id=noised-sum-corrupt %s is damaged", path);
        err = TRIB_ERR_CORRUPT;
        goto out;
    }
    for (size_t i = 0; i < central->count; i++)
        central->sums[i] = (int64_t)trib_load_le64(buf.data + HEAD_SIZE + 8 * i);

out:
    trib_wipe(buf.data, buf.size);
    trib_buf_fini(&buf);
    return err;
}

enum trib_err trib_central_remove(const char *dir, uint64_t round_id)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = sum_path(path, dir, round_id);
    return err ? err : trib_file_remove(path);
}
