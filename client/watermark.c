#include "client/watermark.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "watermark"

enum {
    SIZE = 112,
    CRC_START = 12,
    MARK_SIZE = 8 + TRIB_DIGEST_SIZE,
    FLAG_CLAIM = 1,
    FLAG_MASKED = 2,
};

static const char magic[8] = {'T', 'R', 'I', 'B', 'W', 'M', 'K', '1'};

struct watermark {
    struct trib_data_mark used, claimed;
    bool has_claim, is_masked;
    uint8_t update_id[TRIB_MSG_ID_SIZE];
};

static void store_mark(uint8_t *out, const struct trib_data_mark *mark)
{
    trib_store_le64(out, mark->position);
    memcpy(out + 8, mark->digest, TRIB_DIGEST_SIZE);
}

static void load_mark(const uint8_t *in, struct trib_data_mark *mark)
{
    mark->position = trib_load_le64(in);
    memcpy(mark->digest, in + 8, TRIB_DIGEST_SIZE);
}

static enum trib_err save(const char *dir, const struct watermark *w)
{
    _Static_assert(16 + 2 * MARK_SIZE + TRIB_MSG_ID_SIZE == SIZE, "as in the header");
    char path[TRIB_PATH_MAX + 1];
    uint8_t bytes[SIZE] = {0};
    memcpy(bytes, magic, sizeof(magic));
    trib_store_le32(bytes + 12, (w->has_claim ? FLAG_CLAIM : 0) | (w->is_masked ? FLAG_MASKED : 0));
    store_mark(bytes + 16, &w->used);
    store_mark(bytes + 16 + MARK_SIZE, &w->claimed);
    memcpy(bytes + 16 + 2 * MARK_SIZE, w->update_id, TRIB_MSG_ID_SIZE);
    trib_store_le32(bytes + 8, trib_crc32c(0, bytes + CRC_START, SIZE - CRC_START));
    enum trib_err err = trib_path_join(path, dir, "watermark");
    return err ? err : trib_file_write(path, bytes, SIZE, 0600);
}

static bool take(const struct trib_buf *buf, struct watermark *w)
{
    if (buf->size != SIZE || memcmp(buf->data, magic, sizeof(magic)) != 0 ||
        trib_crc32c(0, buf->data + CRC_START, SIZE - CRC_START) != trib_load_le32(buf->data + 8))
        return false;
    const uint32_t flags = trib_load_le32(buf->data + 12);
    w->has_claim = flags & FLAG_CLAIM;
    w->is_masked = flags & FLAG_MASKED;
    load_mark(buf->data + 16, &w->used);
    load_mark(buf->data + 16 + MARK_SIZE, &w->claimed);
    memcpy(w->update_id, buf->data + 16 + 2 * MARK_SIZE, TRIB_MSG_ID_SIZE);
    return true;
}

static enum trib_err load(const char *dir, struct watermark *ret_watermark)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf buf = {0};
    struct watermark w = {.has_claim = false};
    enum trib_err err = trib_path_join(path, dir, "watermark");
    if (!err && trib_file_exists(path)) {
        err = trib_file_read(path, SIZE + 1, &buf);
        if (!err && !take(&buf, &w)) {
            TRIB_ERROR("id=watermark-corrupt %s: is damaged. Which rows were used is not known, so "
                       "this device takes no incremental or online task. To begin anew, and use "
                       "all rows again, move it away.",
                       path);
            err = TRIB_ERR_CORRUPT;
        }
        trib_buf_fini(&buf);
    }
    if (!err)
        *ret_watermark = w;
    return err;
}

enum trib_err trib_watermark_load(const char *dir, struct trib_data_mark *ret_used)
{
    struct watermark w;
    enum trib_err err = load(dir, &w);
    if (!err)
        *ret_used = w.used;
    return err;
}

enum trib_err trib_watermark_claim(const char *dir, const uint8_t *update_id,
                                   const struct trib_data_mark *mark)
{
    struct watermark w;
    enum trib_err err = load(dir, &w);
    if (err)
        return err;
    w.has_claim = true;
    w.is_masked = !update_id;
    w.claimed = *mark;
    memset(w.update_id, 0, sizeof(w.update_id));
    if (update_id)
        memcpy(w.update_id, update_id, sizeof(w.update_id));
    err = save(dir, &w);
    TRIB_CRASH_POINT("watermark.claimed");
    return err;
}

enum trib_err trib_watermark_settle(const char *dir, bool is_counted)
{
    struct watermark w;
    enum trib_err err = load(dir, &w);
    if (err || !w.has_claim)
        return err;
    if (is_counted) {
        w.used = w.claimed;
        TRIB_INFO("rows are used up to position=%" PRIu64, w.used.position);
    }
    w.has_claim = w.is_masked = false;
    memset(&w.claimed, 0, sizeof(w.claimed));
    memset(w.update_id, 0, sizeof(w.update_id));
    err = save(dir, &w);
    TRIB_CRASH_POINT("watermark.settled");
    return err;
}

enum trib_err trib_watermark_recover(const char *dir, enum trib_watermark_spool spool,
                                     const uint8_t *spooled_id, bool *ret_has_claim)
{
    struct watermark w;
    *ret_has_claim = false;
    enum trib_err err = load(dir, &w);
    if (err == TRIB_ERR_CORRUPT) // said; batch tasks do not need it
        return TRIB_OK;
    if (err || !w.has_claim)
        return err;
    if (spool == TRIB_WATERMARK_SPOOL_WHOLE && !w.is_masked && !TRIB_PLANT("rows-again") &&
        memcmp(w.update_id, spooled_id, sizeof(w.update_id)) == 0) {
        *ret_has_claim = true;
        return TRIB_OK;
    }
    return trib_watermark_settle(dir, w.is_masked || spool == TRIB_WATERMARK_SPOOL_DAMAGED);
}
