#include "common/base/keyfile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wipe.h"

#define TRIB_LOG_MODULE "keyfile"

enum {
    FILE_SIZE_MAX = 1024,
    SECRET_MODE = 0600,
};

static void wipe_and_free(struct trib_buf *buf)
{
    if (buf->data)
        trib_wipe(buf->data, buf->capacity);
    trib_buf_fini(buf);
}

enum trib_err trib_keyfile_write(const char *path, const struct trib_keyfile_line *lines,
                                 size_t count)
{
    struct trib_buf buf = {0};
    char text[TRIB_KEY_TEXT_SIZE];
    for (size_t i = 0; i < count; i++) {
        trib_base64_encode(lines[i].key, TRIB_KEYFILE_KEY_SIZE, text);
        trib_buf_printf(&buf, "%s %s\n", lines[i].label, text);
    }
    enum trib_err err =
        buf.failed ? TRIB_ERR_NOMEM : trib_file_write(path, buf.data, buf.size, SECRET_MODE);
    trib_wipe(text, sizeof(text));
    wipe_and_free(&buf);
    return err;
}

static bool begins_with(const char *text, const char *label)
{
    const size_t length = strlen(label);
    return strncmp(text, label, length) == 0 && text[length] == ' ';
}

// The line at *text into `key`; moves *text behind it.
static bool take_line(const char **text, const struct trib_keyfile_line *line)
{
    char value[TRIB_KEY_TEXT_SIZE];
    size_t got;
    size_t length = strlen(line->label);
    if (!begins_with(*text, line->label))
        return false;
    const char *start = *text + length + 1;
    size_t size = strcspn(start, "\n");
    if (size >= sizeof(value) || start[size] != '\n')
        return false;
    memcpy(value, start, size);
    value[size] = '\0';
    *text = start + size + 1;
    bool is_good = trib_base64_decode(value, line->key, TRIB_KEYFILE_KEY_SIZE, &got) &&
                   got == TRIB_KEYFILE_KEY_SIZE;
    trib_wipe(value, sizeof(value));
    return is_good;
}

enum trib_err trib_keyfile_read(const char *path, const struct trib_keyfile_line *lines,
                                size_t count)
{
    struct trib_buf buf = {0};
    struct stat info;

    if (stat(path, &info)) {
        if (errno == ENOENT)
            TRIB_ERROR("%s: there are no keys here", path);
        else
            TRIB_ERROR("%s: %s", path, strerror(errno));
        return TRIB_ERR_STATE;
    }
    if (info.st_mode & (S_IRWXG | S_IRWXO)) {
        TRIB_ERROR("%s: readable by others; the mode must be 0600", path);
        return TRIB_ERR_INVAL;
    }
    enum trib_err err = trib_file_read(path, FILE_SIZE_MAX, &buf);
    if (err)
        return err;
    const char *text = (const char *)buf.data;
    bool is_good = true;
    for (size_t i = 0; i < count && is_good; i++)
        is_good = take_line(&text, &lines[i]) ||
                  (lines[i].is_optional && !begins_with(text, lines[i].label));
    if (!is_good || *text) {
        TRIB_ERROR("%s: not a key file of this program", path);
        err = TRIB_ERR_CORRUPT;
    }
    wipe_and_free(&buf);
    return err;
}
