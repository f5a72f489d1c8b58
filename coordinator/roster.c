#include "coordinator/roster.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/keyfile.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/privacy/secagg.h"

#define TRIB_LOG_MODULE "roster"

enum {
    HEAD_LINES = 1,
    LINE_MAX_SIZE = 255, // a name, a key and a signature take 63 + 44 + 88 bytes and two spaces
    WORDS_MAX = 4,       // one more than a line may have, so that too many are seen
};

static const char head_unsigned[] = "tributary-roster 1 unsigned ";
static const char head_signed[] = "tributary-roster 1 signed ";

void trib_roster_fini(struct trib_roster *roster)
{
    free(roster->lines);
    *roster = (struct trib_roster){.count = 0};
}

void trib_roster_reject(struct trib_roster_text *text, size_t index, const char *format, ...)
{
    va_list args;
    int used =
        snprintf(text->why, sizeof(text->why), "%.255s:%zu: ", text->file, index + HEAD_LINES + 1);
    va_start(args, format);
    (void)vsnprintf(text->why + used, sizeof(text->why) - (size_t)used, format, args);
    va_end(args);
}

// ---- Reading

// What the parser holds while it goes through the lines.
struct reading {
    struct trib_roster_text *text;
    struct trib_roster roster;
    size_t capacity;
    size_t at;             // bytes read
    struct trib_map *seen; // names and keys of the lines so far
};

static enum trib_err reject_head(struct trib_roster_text *text, const char *what)
{
    (void)snprintf(text->why, sizeof(text->why), "%.255s:1: %s", text->file, what);
    return TRIB_ERR_INVAL;
}

static enum trib_err reject(struct reading *r, const char *what)
{
    trib_roster_reject(r->text, r->roster.count, "%s", what);
    return TRIB_ERR_INVAL;
}

// The next line without its newline; false: it is too long, has no end, or holds a NUL.
static bool next_line(struct reading *r, char line[static LINE_MAX_SIZE + 1])
{
    const uint8_t *start = r->text->data + r->at;
    const uint8_t *end = memchr(start, '\n', r->text->size - r->at);
    if (!end || end - start > LINE_MAX_SIZE || memchr(start, '\0', (size_t)(end - start)))
        return false;
    memcpy(line, start, (size_t)(end - start));
    line[end - start] = '\0';
    r->at += (size_t)(end - start) + 1;
    return true;
}

// Control characters could make a terminal show another name than the one that is signed.
static bool is_printable(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    }
    return true;
}

static enum trib_err read_head(struct reading *r)
{
    char line[LINE_MAX_SIZE + 1];
    const char *population = NULL;
    if (r->text->size == 0)
        return reject_head(r->text, "the file is empty");
    if (next_line(r, line)) {
        if (strncmp(line, head_signed, strlen(head_signed)) == 0)
            population = line + strlen(head_signed);
        else if (strncmp(line, head_unsigned, strlen(head_unsigned)) == 0)
            population = line + strlen(head_unsigned);
    }
    if (!population)
        return reject_head(r->text, "is no roster of format 1: it begins with \"tributary-roster 1 "
                                    "unsigned POPULATION\", or signed");
    if (!*population || strlen(population) > TRIB_NAME_MAX || !is_printable(population))
        return reject_head(r->text, "the population wants 1 to 63 printable bytes");
    r->roster.is_signed = strncmp(line, head_signed, strlen(head_signed)) == 0;
    memcpy(r->roster.population, population, strlen(population) + 1);
    return TRIB_OK;
}

// Split at single spaces, in place. An empty word is a word, and wrong wherever it stands.
static size_t split(char *line, char *words[static WORDS_MAX])
{
    size_t count = 0;
    while (line && count < WORDS_MAX) {
        words[count++] = line;
        line = strchr(line, ' ');
        if (line)
            *line++ = '\0';
    }
    return count;
}

static bool decode(const char *word, uint8_t *data, size_t size)
{
    size_t got;
    return trib_base64_decode(word, data, size, &got) && got == size;
}

static enum trib_err parse_line(struct reading *r, char *text, struct trib_roster_line *line)
{
    char *words[WORDS_MAX];
    size_t count = split(text, words);
    size_t wanted = r->roster.is_signed ? 3 : 2;
    if (count != wanted)
        return reject(r, r->roster.is_signed ? "wants a name, a key and a signature"
                                             : "wants a name and a key");
    size_t size = strlen(words[0]);
    if (size == 0 || size > TRIB_NAME_MAX || !is_printable(words[0]))
        return reject(r, "the name wants 1 to 63 printable bytes");
    memcpy(line->name, words[0], size + 1);
    if (!decode(words[1], line->sign_key, sizeof(line->sign_key)))
        return reject(r, "the key is not 32 bytes in base64");
    if (r->roster.is_signed && !decode(words[2], line->signature, sizeof(line->signature)))
        return reject(r, "the signature is not 64 bytes in base64");
    return TRIB_OK;
}

static enum trib_err grow(struct reading *r)
{
    if (r->roster.count < r->capacity)
        return TRIB_OK;
    size_t capacity = r->capacity ? r->capacity * 2 : 64;
    struct trib_roster_line *lines = trib_alloc_array(capacity, sizeof(*lines));
    if (!lines)
        return TRIB_ERR_NOMEM;
    if (r->roster.count)
        memcpy(lines, r->roster.lines, r->roster.count * sizeof(*lines));
    free(r->roster.lines);
    r->roster.lines = lines;
    r->capacity = capacity;
    return TRIB_OK;
}

static enum trib_err read_line(struct reading *r)
{
    char text[LINE_MAX_SIZE + 1];
    struct trib_roster_line line = {.name = ""};
    uint8_t key[1 + TRIB_SIGN_KEY_SIZE] = {' '}; // no name begins with a space

    if (r->roster.count >= TRIB_DEVICES_MAX)
        return reject(r, "more devices than one coordinator has");
    if (!next_line(r, text))
        return reject(r, "is too long, has no newline at its end, or holds a NUL");
    enum trib_err err = parse_line(r, text, &line);
    if (err)
        return err;
    memcpy(key + 1, line.sign_key, sizeof(line.sign_key));
    if (trib_map_get(r->seen, line.name, strlen(line.name)))
        return reject(r, "the name was there before");
    if (trib_map_get(r->seen, key, sizeof(key)))
        return reject(r, "the key was there before");
    err = trib_map_put(r->seen, line.name, strlen(line.name), r); // any value: it is a set
    if (!err)
        err = trib_map_put(r->seen, key, sizeof(key), r);
    if (!err)
        err = grow(r);
    if (!err)
        r->roster.lines[r->roster.count++] = line;
    return err;
}

enum trib_err trib_roster_parse(struct trib_roster_text *text, struct trib_roster *ret_roster)
{
    struct reading r = {.text = text};
    enum trib_err err = TRIB_OK;

    text->why[0] = '\0';
    if (text->size > TRIB_ROSTER_FILE_MAX) {
        (void)snprintf(text->why, sizeof(text->why), "%.255s: is larger than %d bytes", text->file,
                       TRIB_ROSTER_FILE_MAX);
        return TRIB_ERR_INVAL;
    }
    err = trib_map_create(&r.seen);
    if (!err)
        err = read_head(&r);
    while (!err && r.at < text->size)
        err = read_line(&r);
    if (!err) {
        *ret_roster = r.roster;
        r.roster = (struct trib_roster){.count = 0};
    }
    trib_roster_fini(&r.roster);
    trib_map_destroy(r.seen);
    return err;
}

// ---- Signing

void trib_roster_vouch(struct trib_roster *roster, const uint8_t seed[static TRIB_SIGN_SEED_SIZE])
{
    roster->is_signed = true;
    for (size_t i = 0; i < roster->count; i++) {
        struct trib_roster_line *line = &roster->lines[i];
        trib_roster_sign(seed, roster->population, line->name, line->sign_key, line->signature);
    }
}

enum trib_err trib_roster_check(const struct trib_roster *roster,
                                const uint8_t key[static TRIB_SIGN_KEY_SIZE],
                                struct trib_roster_text *text)
{
    for (size_t i = 0; i < roster->count; i++) {
        const struct trib_roster_line *line = &roster->lines[i];
        if (trib_roster_verify(key, roster->population, line->name, line->sign_key,
                               line->signature))
            continue;
        trib_roster_reject(text, i, "the signature of %s is not by secagg.roster_pk", line->name);
        return TRIB_ERR_AUTH;
    }
    return TRIB_OK;
}

// ---- Writing

void trib_roster_print_head(struct trib_buf *buf, const char *population, bool is_signed)
{
    trib_buf_printf(buf, "%s%s\n", is_signed ? head_signed : head_unsigned, population);
}

void trib_roster_print_line(struct trib_buf *buf, const char *name,
                            const uint8_t sign_key[static TRIB_SIGN_KEY_SIZE],
                            const uint8_t *signature)
{
    char key[TRIB_KEY_TEXT_SIZE];
    char text[TRIB_BASE64_TEXT_SIZE(TRIB_SIGNATURE_SIZE)] = "";
    trib_base64_encode(sign_key, TRIB_SIGN_KEY_SIZE, key);
    if (signature)
        trib_base64_encode(signature, TRIB_SIGNATURE_SIZE, text);
    trib_buf_printf(buf, "%s %s%s%s\n", name, key, signature ? " " : "", text);
}

void trib_roster_print(struct trib_buf *buf, const struct trib_roster *roster)
{
    trib_roster_print_head(buf, roster->population, roster->is_signed);
    for (size_t i = 0; i < roster->count; i++)
        trib_roster_print_line(buf, roster->lines[i].name, roster->lines[i].sign_key,
                               roster->is_signed ? roster->lines[i].signature : NULL);
}

// ---- The key

enum trib_err trib_roster_key_make(const char *path, uint8_t ret_seed[static TRIB_SIGN_SEED_SIZE])
{
    uint8_t seed[TRIB_SIGN_SEED_SIZE];
    const struct trib_keyfile_line line = {"roster", seed, false};
    if (trib_file_exists(path)) {
        TRIB_ERROR("%s: is there already, and a key is never written over", path);
        return TRIB_ERR_STATE;
    }
    trib_random_bytes(seed, sizeof(seed));
    enum trib_err err = trib_keyfile_write(path, &line, 1);
    if (!err)
        memcpy(ret_seed, seed, sizeof(seed));
    trib_wipe(seed, sizeof(seed));
    return err;
}

enum trib_err trib_roster_key_read(const char *path, uint8_t ret_seed[static TRIB_SIGN_SEED_SIZE])
{
    uint8_t seed[TRIB_SIGN_SEED_SIZE];
    const struct trib_keyfile_line line = {"roster", seed, false};
    enum trib_err err = trib_keyfile_read(path, &line, 1);
    if (!err)
        memcpy(ret_seed, seed, sizeof(seed));
    trib_wipe(seed, sizeof(seed));
    return err;
}
