#include "coordinator/allow_list.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/map.h"

#define TRIB_LOG_MODULE "peers"

enum {
    FILE_MAX = 1 << 26 // bytes
};

struct trib_allow_list {
    struct trib_map *by_key; // 32-byte key: trib_allowed
    struct trib_allowed *first;
};

// A date or RFC 3339 time in UTC as milliseconds; 0 if it is neither.
static uint64_t parse_time(const char *text)
{
    struct tm parts = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (!end || *end) {
        parts = (struct tm){0};
        end = strptime(text, "%Y-%m-%d", &parts);
    }
    if (!end || *end)
        return 0;
    time_t seconds = timegm(&parts);
    return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

static bool take_field(char **next, const char **ret_field)
{
    *ret_field = strsep(next, " \t");
    while (*ret_field && !**ret_field)
        *ret_field = strsep(next, " \t");
    return *ret_field != NULL;
}

static bool word_is_good(const char *word)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t size = strlen(word);
    return size <= TRIB_NAME_MAX && strspn(word, letters) == size;
}

// One line of the file. NULL, or what is wrong with it.
static const char *take_line(struct trib_allow_list *list, char *line, uint64_t wall_ms)
{
    static const char form[] = "want: base64(key) name group [expires]";
    uint8_t key[32];
    size_t size;
    const char *fields[4];
    size_t count = 0;
    while (count < 4 && take_field(&line, &fields[count]))
        count++;
    if (count < 3 || (line && line[strspn(line, " \t")]) ||
        !trib_base64_decode(fields[0], key, sizeof(key), &size) || size != sizeof(key))
        return form;
    if (!word_is_good(fields[1]) || !word_is_good(fields[2]))
        return "name and group have 1 to 63 letters, digits, dots, dashes or underscores";
    if (trib_map_get(list->by_key, key, sizeof(key)))
        return "this key is in the list twice";
    if (count == 4) {
        uint64_t expires_ms = parse_time(fields[3]);
        if (!expires_ms)
            return form;
        if (expires_ms <= wall_ms)
            return NULL;
    }
    struct trib_allowed *row = trib_alloc(sizeof(*row));
    if (!row)
        return trib_err_text(TRIB_ERR_NOMEM);
    (void)snprintf(row->name, sizeof(row->name), "%s", fields[1]);
    (void)snprintf(row->group, sizeof(row->group), "%s", fields[2]);
    row->next = list->first;
    list->first = row;
    enum trib_err err = trib_map_put(list->by_key, key, sizeof(key), row);
    return err ? trib_err_text(err) : NULL;
}

enum trib_err trib_allow_list_read(const char *path, uint64_t wall_ms,
                                   struct trib_allow_list **ret_list)
{
    struct trib_buf buf = {0};
    enum trib_err err = trib_file_read(path, FILE_MAX, &buf);
    if (err)
        return err;
    struct trib_allow_list *list = trib_alloc(sizeof(*list));
    err = list ? trib_map_create(&list->by_key) : TRIB_ERR_NOMEM;
    char *next = (char *)buf.data;
    for (size_t number = 1; !err && next; number++) {
        char *line = strsep(&next, "\n");
        line += strspn(line, " \t\r");
        line[strcspn(line, "\r")] = '\0';
        const char *wrong = *line && *line != '#' ? take_line(list, line, wall_ms) : NULL;
        if (wrong) {
            TRIB_ERROR("%s:%zu: %s", path, number, wrong);
            err = TRIB_ERR_INVAL;
        }
    }
    trib_buf_fini(&buf);
    if (err)
        trib_allow_list_destroy(list);
    else
        *ret_list = list;
    return err;
}

void trib_allow_list_destroy(struct trib_allow_list *list)
{
    if (!list)
        return;
    while (list->first) {
        struct trib_allowed *next = list->first->next;
        free(list->first);
        list->first = next;
    }
    trib_map_destroy(list->by_key);
    free(list);
}

size_t trib_allow_list_count(const struct trib_allow_list *list)
{
    return trib_map_count(list->by_key);
}

const struct trib_allowed *trib_allow_list_find(const struct trib_allow_list *list,
                                                const uint8_t key[static 32])
{
    return list ? trib_map_get(list->by_key, key, 32) : NULL;
}
