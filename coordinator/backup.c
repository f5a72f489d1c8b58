#include "coordinator/backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"

static const char list_context[] = "tributary backup v1";

enum {
    LINE_SIZE = 512,
    SIGNATURE_TEXT = 2 * TRIB_SIGNATURE_SIZE,
};

// Plain names in at most one folder: nothing that leads out of the directory.
static bool name_is_good(const char *name)
{
    const size_t size = strlen(name);
    const char *slash = strchr(name, '/');
    return size >= 1 && size <= TRIB_BACKUP_NAME_MAX && name[0] != '.' && name[0] != '/' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") ==
               size &&
           (!slash || (slash[1] != '.' && slash[1] != '\0' && !strchr(slash + 1, '/')));
}

enum trib_err trib_backup_add(struct trib_backup *backup, const char *name)
{
    if (!name_is_good(name))
        return TRIB_ERR_INVAL;
    if (backup->count == backup->capacity) {
        const size_t capacity = backup->capacity ? backup->capacity * 2 : 16;
        struct trib_backup_file *files = trib_alloc_array(capacity, sizeof(*files));
        if (!files)
            return TRIB_ERR_NOMEM;
        if (backup->files)
            memcpy(files, backup->files, backup->count * sizeof(*files));
        free(backup->files);
        backup->files = files;
        backup->capacity = capacity;
    }
    struct trib_backup_file *file = &backup->files[backup->count++];
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    return TRIB_OK;
}

void trib_backup_fini(struct trib_backup *backup)
{
    free(backup->files);
    *backup = (struct trib_backup){.count = 0};
}

void trib_backup_print(const struct trib_backup *backup,
                       const uint8_t seed[static TRIB_SIGN_SEED_SIZE], struct trib_buf *buf)
{
    char hex[SIGNATURE_TEXT + 1];
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    trib_hex_encode(backup->audit_hash, TRIB_DIGEST_SIZE, hex);
    trib_buf_printf(buf,
                    "tributary-backup 1\nmade %" PRIu64 "\nversion %" PRIu64 ".%" PRIu64
                    "\naudit %" PRIu64 ":%s\nkeys %s\n",
                    backup->made_ms, backup->generation, backup->version, backup->audit_number, hex,
                    backup->has_keys ? "yes" : "no");
    for (size_t i = 0; i < backup->count; i++) {
        trib_hex_encode(backup->files[i].digest, TRIB_DIGEST_SIZE, hex);
        trib_buf_printf(buf, "file %s %" PRIu64 " %s\n", hex, backup->files[i].size,
                        backup->files[i].name);
    }
    if (buf->failed)
        return;
    trib_sign(seed, list_context, buf->data, buf->size, signature);
    trib_hex_encode(signature, sizeof(signature), hex);
    trib_buf_printf(buf, "signature %s\n", hex);
}

// ---- Reading

struct lines {
    const char *at, *end;
    unsigned number;
    char text[LINE_SIZE]; // of the current one
};

static bool next_line(struct lines *lines)
{
    const char *end = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
    if (!end || end - lines->at >= LINE_SIZE)
        return false;
    (void)snprintf(lines->text, sizeof(lines->text), "%.*s", (int)(end - lines->at), lines->at);
    lines->at = end + 1;
    lines->number++;
    return true;
}

// The line's value, when it begins with this word.
static const char *value_of(const struct lines *lines, const char *word)
{
    const size_t size = strlen(word);
    return strncmp(lines->text, word, size) == 0 && lines->text[size] == ' '
               ? lines->text + size + 1
               : NULL;
}

static bool take_number(const char **at, char behind, uint64_t *ret_value)
{
    char *end;
    if (!*at || **at < '0' || **at > '9')
        return false;
    *ret_value = strtoull(*at, &end, 10);
    if (*end != behind)
        return false;
    *at = end + 1;
    return true;
}

static bool take_head(struct lines *lines, struct trib_backup *backup)
{
    if (!next_line(lines) || strcmp(lines->text, "tributary-backup 1") != 0 || !next_line(lines))
        return false;
    const char *at = value_of(lines, "made");
    if (!take_number(&at, '\0', &backup->made_ms) || !next_line(lines))
        return false;
    at = value_of(lines, "version");
    if (!take_number(&at, '.', &backup->generation) || !take_number(&at, '\0', &backup->version) ||
        !next_line(lines))
        return false;
    at = value_of(lines, "audit");
    if (!take_number(&at, ':', &backup->audit_number) ||
        !trib_hex_decode(at, backup->audit_hash, TRIB_DIGEST_SIZE) || !next_line(lines))
        return false;
    at = value_of(lines, "keys");
    backup->has_keys = at && strcmp(at, "yes") == 0;
    return at && (backup->has_keys || strcmp(at, "no") == 0);
}

static bool take_file(const struct lines *lines, struct trib_backup *backup)
{
    char hex[TRIB_DIGEST_TEXT_SIZE];
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t size;
    const char *at = value_of(lines, "file");
    if (!at || strlen(at) < TRIB_DIGEST_TEXT_SIZE || at[TRIB_DIGEST_TEXT_SIZE - 1] != ' ')
        return false;
    memcpy(hex, at, TRIB_DIGEST_TEXT_SIZE - 1);
    hex[TRIB_DIGEST_TEXT_SIZE - 1] = '\0';
    at += TRIB_DIGEST_TEXT_SIZE;
    if (!trib_hex_decode(hex, digest, sizeof(digest)) || !take_number(&at, ' ', &size) ||
        trib_backup_add(backup, at))
        return false;
    backup->files[backup->count - 1].size = size;
    memcpy(backup->files[backup->count - 1].digest, digest, sizeof(digest));
    return true;
}

enum trib_err trib_backup_parse(const uint8_t *data, size_t size,
                                const uint8_t key[static TRIB_SIGN_KEY_SIZE],
                                struct trib_backup *ret_backup,
                                char why[static TRIB_BACKUP_WHY_SIZE])
{
    struct lines lines = {.at = (const char *)data, .end = (const char *)data + size};
    struct trib_backup backup = {.count = 0};
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    bool is_good = take_head(&lines, &backup);
    const char *signed_end = lines.at;
    while (is_good && (is_good = next_line(&lines)) && !value_of(&lines, "signature")) {
        is_good = take_file(&lines, &backup);
        signed_end = lines.at;
    }
    if (!is_good || lines.at != lines.end ||
        !trib_hex_decode(value_of(&lines, "signature"), signature, sizeof(signature))) {
        (void)snprintf(why, TRIB_BACKUP_WHY_SIZE, "line %u makes no sense", lines.number);
    } else if (!trib_sign_verify(key, list_context, data, (size_t)(signed_end - (const char *)data),
                                 signature)) {
        (void)snprintf(why, TRIB_BACKUP_WHY_SIZE,
                       "is not what the coordinator of these keys signed");
    } else {
        *ret_backup = backup;
        return TRIB_OK;
    }
    trib_backup_fini(&backup);
    return TRIB_ERR_CORRUPT;
}
