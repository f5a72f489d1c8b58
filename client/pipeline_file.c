#include "client/pipeline_file.h"

#include <string.h>

#include "common/base/file.h"
#include "common/base/limits.h"

#define FILE_NAME "pipeline.ini"

enum {
    FILE_MODE = 0600 // statistics of the fleet are nobody else's business
};

static enum trib_err read_file(const char *path, struct trib_buf *ret_text)
{
    return trib_file_exists(path) ? trib_file_read(path, TRIB_PIPELINE_TEXT_MAX, ret_text)
                                  : TRIB_ERR_STATE;
}

enum trib_err trib_pipeline_file_keep(const char *dir, const char *text)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf old = {0};
    const size_t size = strlen(text);
    enum trib_err err = trib_path_join(path, dir, FILE_NAME);
    if (err)
        return err;
    const bool is_same = read_file(path, &old) == TRIB_OK && old.size == size &&
                         (size == 0 || memcmp(old.data, text, size) == 0);
    trib_buf_fini(&old);
    return is_same ? TRIB_OK : trib_file_write(path, text, size, FILE_MODE);
}

enum trib_err trib_pipeline_file_read(const char *dir,
                                      const uint8_t digest[static TRIB_DIGEST_SIZE],
                                      struct trib_buf *ret_text)
{
    char path[TRIB_PATH_MAX + 1];
    uint8_t own[TRIB_DIGEST_SIZE];
    struct trib_buf text = {0};
    enum trib_err err = trib_path_join(path, dir, FILE_NAME);
    if (!err)
        err = read_file(path, &text);
    if (!err) {
        trib_digest(text.data, text.size, own);
        if (memcmp(own, digest, sizeof(own)) != 0)
            err = TRIB_ERR_STATE;
    }
    if (err)
        trib_buf_fini(&text);
    else
        *ret_text = text;
    return err;
}
