#include "tests/golden/golden.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "golden"

// Cut the field at `text` off where it lies and undo its quotes. Returns where the next one
// begins, NULL after the last of the line, whose end goes to `ret_rest`.
static char *take_field(char *text, char **ret_rest)
{
    char *out = text;
    bool quoted = *text == '"';
    char *in = quoted ? text + 1 : text;
    while (*in && (quoted || (*in != ',' && *in != '\n'))) {
        if (quoted && *in == '"') {
            if (in[1] != '"') {
                quoted = false;
                in++;
                continue;
            }
            in++; // a doubled quote is one
        }
        *out++ = *in++;
    }
    char end = *in;
    *ret_rest = end ? in + 1 : in;
    if (end != ',' && out > text && out[-1] == '\r')
        out--;
    *out = '\0';
    return end == ',' ? in + 1 : NULL;
}

// The fields of one line; returns how many, at most GOLDEN_COLUMNS_MAX + 1.
static size_t take_line(char *text, const char **fields, char **ret_rest)
{
    size_t count = 0;
    while (text) {
        if (count < GOLDEN_COLUMNS_MAX)
            fields[count] = text;
        count += count <= GOLDEN_COLUMNS_MAX;
        text = take_field(text, ret_rest);
    }
    return count;
}

enum trib_err golden_read(const char *path, golden_row_fn run, struct golden_tally *tally)
{
    const char *names[GOLDEN_COLUMNS_MAX];
    const char *fields[GOLDEN_COLUMNS_MAX];
    struct trib_buf buf = {0};
    enum trib_err err = trib_file_read(path, GOLDEN_FILE_MAX, &buf);
    if (err)
        return err;
    trib_buf_text(&buf, ""); // an empty file has text too
    if (!buf.data) {
        err = TRIB_ERR_DATA;
        goto out;
    }
    char *rest = (char *)buf.data;
    size_t columns = take_line(rest, names, &rest);
    for (size_t line = 2; *rest; line++) {
        size_t count = take_line(rest, fields, &rest);
        if (count == 1 && !fields[0][0])
            continue; // a blank line
        if (count != columns || count > GOLDEN_COLUMNS_MAX) {
            TRIB_ERROR("%s:%zu: %zu fields, %zu columns have names", path, line, count, columns);
            err = TRIB_ERR_DATA;
            goto out;
        }
        run(&(struct golden_row){.line = line, .count = count, .names = names, .fields = fields},
            tally);
    }

out:
    trib_buf_fini(&buf);
    return err;
}

const char *golden_field(const struct golden_row *row, const char *column)
{
    for (size_t i = 0; i < row->count; i++) {
        if (strcmp(row->names[i], column) == 0)
            return row->fields[i];
    }
    return "";
}

bool golden_number(const char *text, double *ret_value)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || (errno == ERANGE && value > 1)) // a tiny number may underflow
        return false;
    *ret_value = value;
    return true;
}
