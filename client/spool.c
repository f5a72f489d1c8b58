#include "client/spool.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wipe.h"

#define TRIB_LOG_MODULE "spool"

enum {
    HEADER_SIZE = 152,
    CRC_START = 12, // the checksum covers everything from here on
    FLAG_WEIGHT = 1,
};

static const char magic[8] = {'T', 'R', 'I', 'B', 'S', 'P', 'L', '2'};
static const char former_magic[8] = {'T', 'R', 'I', 'B', 'S', 'P', 'L', '1'};

static void fill_header(uint8_t header[static HEADER_SIZE],
                        const struct trib_msg_upload_begin *begin, uint32_t crc)
{
    memset(header, 0, HEADER_SIZE);
    memcpy(header, magic, sizeof(magic));
    trib_store_le32(header + 12, begin->has_weight ? FLAG_WEIGHT : 0);
    memcpy(header + 16, begin->update_id, TRIB_MSG_ID_SIZE);
    trib_store_le64(header + 32, begin->round_id);
    trib_store_le32(header + 40, begin->weight);
    trib_store_le64(header + 48, begin->size);
    memcpy(header + 56, begin->digest, TRIB_DIGEST_SIZE);
    memcpy(header + 88, begin->base_digest, TRIB_DIGEST_SIZE);
    memcpy(header + 120, begin->arch_digest, TRIB_DIGEST_SIZE);
    trib_store_le32(header + 8, trib_crc32c(crc, header + CRC_START, HEADER_SIZE - CRC_START));
}

enum trib_err trib_spool_write(const char *dir, const struct trib_msg_upload_begin *begin,
                               const uint8_t *packed, uint32_t crc)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t header[HEADER_SIZE];

    enum trib_err err = trib_path_join(path, dir, "spool.update");
    if (err)
        return err;
    TRIB_CRASH_POINT("spool.before");
    fill_header(header, begin, crc);
    err = trib_file_write_two(path, header, sizeof(header), packed, begin->size, 0600);
    TRIB_CRASH_POINT("spool.durable");
    return err;
}

static bool has_its_checksum(const struct trib_buf *buf)
{
    const uint32_t crc = trib_load_le32(buf->data + 8);
    if (memcmp(buf->data, former_magic, sizeof(former_magic)) == 0)
        return trib_crc32c(0, buf->data + CRC_START, buf->size - CRC_START) == crc;
    const uint32_t of_packed = trib_crc32c(0, buf->data + HEADER_SIZE, buf->size - HEADER_SIZE);
    return memcmp(buf->data, magic, sizeof(magic)) == 0 &&
           trib_crc32c(of_packed, buf->data + CRC_START, HEADER_SIZE - CRC_START) == crc;
}

// Are these the bytes of a whole, undamaged spool file?
static bool take_header(const struct trib_buf *buf, struct trib_msg_upload_begin *ret_begin)
{
    if (buf->size < HEADER_SIZE || !has_its_checksum(buf))
        return false;
    const uint8_t *header = buf->data;
    struct trib_msg_upload_begin begin = {
        .round_id = trib_load_le64(header + 32),
        .size = trib_load_le64(header + 48),
        .has_weight = (trib_load_le32(header + 12) & FLAG_WEIGHT) != 0,
        .weight = trib_load_le32(header + 40),
    };
    if (begin.size != buf->size - HEADER_SIZE)
        return false;
    memcpy(begin.update_id, header + 16, TRIB_MSG_ID_SIZE);
    memcpy(begin.digest, header + 56, TRIB_DIGEST_SIZE);
    memcpy(begin.base_digest, header + 88, TRIB_DIGEST_SIZE);
    memcpy(begin.arch_digest, header + 120, TRIB_DIGEST_SIZE);
    *ret_begin = begin;
    return true;
}

enum trib_err trib_spool_read(const char *dir, struct trib_spool *ret_spool)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf buf = {0};
    struct trib_spool spool = {0};

    enum trib_err err = trib_path_join(path, dir, "spool.update");
    if (err)
        return err;
    if (!trib_file_exists(path))
        return TRIB_ERR_STATE;
    err = trib_file_read(path, HEADER_SIZE + (size_t)TRIB_PARAMS_MAX * sizeof(uint32_t), &buf);
    if (err)
        return err;
    if (!take_header(&buf, &spool.begin)) {
        TRIB_ERROR("id=spool-corrupt %s: does not match its checksum; dropped", path);
        trib_buf_fini(&buf);
        err = trib_file_remove(path);
        return err ? err : TRIB_ERR_CORRUPT;
    }
    memmove(buf.data, buf.data + HEADER_SIZE, spool.begin.size);
    spool.packed = buf.data; // the buffer's memory moves to the spool
    *ret_spool = spool;
    return TRIB_OK;
}

enum trib_err trib_spool_remove(const char *dir)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(path, dir, "spool.update");
    if (!err)
        err = trib_file_remove(path);
    TRIB_CRASH_POINT("spool.removed");
    return err;
}

void trib_spool_fini(struct trib_spool *spool)
{
    if (spool->packed)
        trib_wipe(spool->packed, spool->begin.size);
    free(spool->packed);
    *spool = (struct trib_spool){0};
}
