#include "simulations/lines.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/data/record.h"

enum {
    FILE_SIZE_MAX = 0x7fffffff,
};

struct span {
    const char *begin, *end; // in the text; NULL: no row begins in this line
};

struct trib_lines {
    struct trib_buf text;
    struct span *spans; // (count + 1) by line number, which begin at 1; owned
    size_t count;
    size_t names; // line of the record that names the columns; 0: none does
};

// Where each line begins; a row ends with its line until records say otherwise.
static void cut_lines(struct trib_lines *lines)
{
    const char *at = (const char *)lines->text.data;
    const char *const end = at + lines->text.size;
    for (size_t line = 1; line <= lines->count; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        lines->spans[line] = (struct span){at, newline ? newline + 1 : end};
        at = lines->spans[line].end;
    }
}

// A quoted field may go on in the next line.
static enum trib_err cut_records(struct trib_lines *lines, const struct trib_schema *schema,
                                 bool has_names)
{
    const struct trib_record_options options = {
        .separator = schema->separator, .trim = schema->trim, .comment = schema->comment};
    struct trib_record_reader r;
    enum trib_record_event event = TRIB_RECORD_WHOLE;
    enum trib_err err = TRIB_OK;
    trib_record_reader_init(&r, &options, (const char *)lines->text.data, lines->text.size);
    while (!err && event != TRIB_RECORD_END) {
        err = trib_record_next(&r, &event);
        if (err || event != TRIB_RECORD_WHOLE)
            continue;
        lines->spans[r.record_line].end = r.next;
        if (has_names && lines->names == 0)
            lines->names = r.record_line;
    }
    trib_record_reader_fini(&r);
    return err;
}

enum trib_err trib_lines_open(const char *path, const struct trib_schema *schema,
                              bool is_json_lines, bool has_names, struct trib_lines **ret_lines)
{
    struct trib_lines *lines = trib_alloc(sizeof(*lines));
    if (!lines)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_file_read(path, FILE_SIZE_MAX, &lines->text);
    if (!err)
        trib_buf_append(&lines->text, "", 0); // so that there is memory to point to
    for (size_t i = 0; !err && i < lines->text.size; i++)
        lines->count += lines->text.data[i] == '\n' || i + 1 == lines->text.size;
    if (!err) {
        lines->spans = trib_alloc_array(lines->count + 1, sizeof(*lines->spans));
        err = lines->spans ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    if (!err && lines->text.size > 0) {
        cut_lines(lines);
        err = is_json_lines ? TRIB_OK : cut_records(lines, schema, has_names);
    }
    if (err) {
        trib_lines_close(lines);
        return err;
    }
    *ret_lines = lines;
    return TRIB_OK;
}

void trib_lines_close(struct trib_lines *lines)
{
    if (!lines)
        return;
    trib_buf_fini(&lines->text);
    free(lines->spans);
    free(lines);
}

static void append(const struct trib_lines *lines, size_t line, struct trib_buf *text)
{
    const struct span *span = &lines->spans[line];
    trib_buf_append(text, span->begin, (size_t)(span->end - span->begin));
    if (span->end[-1] != '\n') // the last line of its file
        trib_buf_text(text, "\n");
}

enum trib_err trib_lines_write(const struct trib_lines *lines, const uint32_t *numbers,
                               size_t count, const char *path)
{
    struct trib_buf text = {0};
    if (lines->names)
        append(lines, lines->names, &text);
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == 0 || numbers[i] > lines->count) {
            trib_buf_fini(&text);
            return TRIB_ERR_DATA; // the file is not what it was
        }
        append(lines, numbers[i], &text);
    }
    enum trib_err err = text.failed ? TRIB_ERR_NOMEM
                                    : trib_file_write(path, text.data ? text.data : (uint8_t[1]){0},
                                                      text.size, 0600);
    trib_buf_fini(&text);
    return err;
}
