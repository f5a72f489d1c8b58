#include "client/online_file.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "online"

enum {
    HEADER_SIZE = 88,
    DIGEST_START = 40, // the digest covers everything from here on
    FILE_MODE = 0600,  // what the rows taught is the device's alone
};

static const char magic[8] = {'T', 'R', 'I', 'B', 'O', 'N', 'L', '1'};

static void digest_of(const uint8_t *header, const void *params, size_t size,
                      uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, header + DIGEST_START, HEADER_SIZE - DIGEST_START);
    trib_hash_update(&hash, params, size);
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

enum trib_err trib_online_file_write(const char *path, const uint8_t base[static TRIB_DIGEST_SIZE],
                                     uint64_t rows, const float *params, size_t count)
{
    uint8_t header[HEADER_SIZE];
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "parameters are kept as they lie");
    memcpy(header, magic, sizeof(magic));
    memcpy(header + DIGEST_START, base, TRIB_DIGEST_SIZE);
    trib_store_le64(header + 72, rows);
    trib_store_le64(header + 80, count);
    digest_of(header, params, count * sizeof(*params), header + 8);
    return trib_file_write_two(path, header, sizeof(header), params, count * sizeof(*params),
                               FILE_MODE);
}

enum trib_err trib_online_file_read(const char *path, const uint8_t base[static TRIB_DIGEST_SIZE],
                                    float *params, size_t count, uint64_t *ret_rows)
{
    const size_t size = count * sizeof(*params);
    uint8_t digest[TRIB_DIGEST_SIZE];
    struct trib_buf file = {0};
    if (!trib_file_exists(path))
        return TRIB_ERR_STATE;
    enum trib_err err = trib_file_read(path, TRIB_DATA_FILE_SIZE_MAX, &file);
    if (err)
        return err;
    bool is_whole = file.size >= HEADER_SIZE && memcmp(file.data, magic, sizeof(magic)) == 0;
    if (is_whole) {
        digest_of(file.data, file.data + HEADER_SIZE, file.size - HEADER_SIZE, digest);
        is_whole = memcmp(digest, file.data + 8, sizeof(digest)) == 0;
    }
    if (!is_whole)
        TRIB_WARN("id=online-corrupt %s: is damaged, and not used", path);
    if (!is_whole || memcmp(file.data + DIGEST_START, base, TRIB_DIGEST_SIZE) != 0 ||
        trib_load_le64(file.data + 80) != count || file.size != HEADER_SIZE + size) {
        err = TRIB_ERR_STATE;
    } else {
        memcpy(params, file.data + HEADER_SIZE, size);
        *ret_rows = trib_load_le64(file.data + 72);
    }
    trib_buf_fini(&file);
    return err;
}
