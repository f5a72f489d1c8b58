#include "common/data/csv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "data"

enum {
    NUMBER_TEXT_MAX = 64,
};

struct reader {
    const char *path;
    const struct trib_csv_options *options;
    const char *next; // what is left
    const char *end;
    size_t line; // of the line that begins at `next`, from 1
    size_t columns;
    size_t label; // index of the label's column
};

// Where, and what of it, but never what stands there: a row is nobody's business, and a log is read.
static enum trib_err reject(const struct reader *r, size_t column, const char *what)
{
    TRIB_ERROR("%s:%zu: column %zu: %s", r->path, r->line, column, what);
    return TRIB_ERR_DATA;
}

// The line at `next` without its end; moves on. False at the end of the file.
static bool take_line(struct reader *r, const char **ret_line, size_t *ret_size)
{
    if (r->next == r->end)
        return false;
    const char *newline = memchr(r->next, '\n', (size_t)(r->end - r->next));
    const char *stop = newline ? newline : r->end;
    *ret_line = r->next;
    *ret_size = (size_t)(stop - r->next);
    if (*ret_size > 0 && stop[-1] == '\r')
        --*ret_size;
    r->next = newline ? newline + 1 : r->end;
    return true;
}

static size_t count_columns(const char *line, size_t size)
{
    size_t columns = 1;
    for (size_t i = 0; i < size; i++)
        columns += line[i] == ',';
    return columns;
}

// Small whole numbers, which most data are, take a short way.
bool trib_csv_number(const char *field, size_t size, float *ret_value)
{
    char text[NUMBER_TEXT_MAX];
    char *end;
    if (size >= 1 && size <= 7) {
        uint32_t whole = 0;
        size_t i = 0;
        while (i < size && field[i] >= '0' && field[i] <= '9')
            whole = whole * 10 + (uint32_t)(field[i++] - '0');
        if (i == size) {
            *ret_value = (float)whole; // below 10^7 < 2^24: exact
            return true;
        }
    }
    while (size > 0 && (field[0] == ' ' || field[0] == '\t')) {
        field++;
        size--;
    }
    while (size > 0 && (field[size - 1] == ' ' || field[size - 1] == '\t'))
        size--;
    if (size == 0 || size >= sizeof(text))
        return false;
    for (size_t i = 0; i < size; i++) { // no hexadecimal, no words
        if (!strchr("0123456789+-.eE", field[i]))
            return false;
    }
    memcpy(text, field, size);
    text[size] = '\0';
    *ret_value = strtof(text, &end); // rounds correctly; programs here never leave the C locale
    return end == text + size && isfinite(*ret_value);
}

static enum trib_err find_label(struct reader *r, const char *header, size_t header_size)
{
    const char *label = r->options->label;
    char *end;
    if (strcmp(label, "last") == 0) {
        r->label = r->columns - 1;
        return TRIB_OK;
    }
    unsigned long number = strtoul(label, &end, 10);
    if (label[0] >= '1' && label[0] <= '9' && *end == '\0' && number <= r->columns) {
        r->label = number - 1;
        return TRIB_OK;
    }
    for (size_t column = 0; header && column < r->columns; column++) {
        const char *comma = memchr(header, ',', header_size);
        size_t size = comma ? (size_t)(comma - header) : header_size;
        if (size == strlen(label) && strncmp(header, label, size) == 0) {
            r->label = column;
            return TRIB_OK;
        }
        header += size + 1;
        header_size -= comma ? size + 1 : size;
    }
    TRIB_ERROR("%s: no column '%s'; there are %zu columns%s", r->path, label, r->columns,
               header ? "" : " without names (data.header = yes reads names)");
    return TRIB_ERR_INVAL;
}

static enum trib_err parse_row(const struct reader *r, const char *line, size_t size, float *x,
                               float *ret_y)
{
    const float scale = (float)r->options->scale;
    size_t column = 0;
    for (;;) {
        const char *comma = memchr(line, ',', size);
        size_t length = comma ? (size_t)(comma - line) : size;
        float value;
        if (column == r->columns)
            return reject(r, column + 1, "more columns than the first line");
        if (!trib_csv_number(line, length, &value))
            return reject(r, column + 1,
                          memchr(line, '\0', length) ? "a NUL byte"
                          : length                   ? "not a finite number"
                                                     : "empty");
        if (column == r->label)
            *ret_y = value;
        else
            *x++ = value / scale;
        if (column != r->label && !isfinite(value / scale))
            return reject(r, column + 1, "too large for data.scale");
        column++;
        if (!comma)
            break;
        line += length + 1;
        size -= length + 1;
    }
    if (column < r->columns)
        return reject(r, column + 1, "missing: fewer columns than the first line");
    return TRIB_OK;
}

// Rows to read from `next` on: lines up to the trailing blank ones.
static size_t count_rows(const struct reader *from)
{
    struct reader r = *from;
    const char *line;
    size_t size;
    size_t lines = 0;
    size_t rows = 0;
    while (take_line(&r, &line, &size)) {
        lines++;
        if (size > 0)
            rows = lines;
    }
    return r.options->limit && r.options->limit < rows ? r.options->limit : rows;
}

static enum trib_err read_rows(struct reader *r, struct trib_dataset *dataset)
{
    const char *line = NULL;
    size_t size = 0;
    for (size_t row = 0; row < dataset->rows; row++, r->line++) {
        (void)take_line(r, &line, &size);
        if (size == 0)
            return reject(r, 1, "blank line between rows");
        enum trib_err err =
            parse_row(r, line, size, dataset->x + row * dataset->inputs, &dataset->y[row]);
        if (err)
            return err;
        dataset->lines[row] = (uint32_t)r->line;
    }
    return TRIB_OK;
}

enum trib_err trib_csv_parse(const char *path, const char *text, size_t text_size,
                             const struct trib_csv_options *options,
                             struct trib_dataset **ret_dataset)
{
    struct trib_dataset *dataset = NULL;
    const char *header = NULL;
    size_t header_size = 0;

    struct reader r = {
        .path = path, .options = options, .next = text, .end = text + text_size, .line = 1};
    if (options->header != TRIB_CSV_HEADER_NO && take_line(&r, &header, &header_size))
        r.line++;
    struct reader peek = r;
    const char *line;
    size_t size;
    size_t rows = count_rows(&r);
    if (rows > TRIB_ROWS_MAX) {
        TRIB_ERROR("%s: more than %d rows", path, TRIB_ROWS_MAX);
        return TRIB_ERR_LIMIT;
    }
    r.columns = 1;
    if (rows > 0 && take_line(&peek, &line, &size))
        r.columns = count_columns(line, size);
    if (rows > 0 && options->header == TRIB_CSV_HEADER_YES &&
        count_columns(header, header_size) != r.columns) {
        TRIB_ERROR("%s:1: the header names %zu columns, the first row has %zu", path,
                   count_columns(header, header_size), r.columns);
        return TRIB_ERR_DATA;
    }
    if (rows > 0 && (r.columns < 2 || r.columns > TRIB_COLUMNS_MAX)) {
        return reject(&r, 1, "a row wants features and a label, so 2 columns or more");
    }
    bool has_names = options->header == TRIB_CSV_HEADER_YES;
    enum trib_err err = rows ? find_label(&r, has_names ? header : NULL, header_size) : TRIB_OK;
    if (!err)
        err = trib_dataset_create(rows, rows ? r.columns - 1 : 0, true, path, &dataset);
    if (err)
        return err;
    dataset->label_column = r.label + 1;
    err = read_rows(&r, dataset);
    if (err) {
        trib_dataset_free(dataset);
        return err;
    }
    *ret_dataset = dataset;
    return TRIB_OK;
}

enum trib_err trib_csv_read(const char *path, const struct trib_csv_options *options,
                            struct trib_dataset **ret_dataset)
{
    struct trib_buf buf = {0};
    enum trib_err err = trib_file_read(path, TRIB_DATA_FILE_SIZE_MAX, &buf);
    if (!err)
        err = trib_csv_parse(path, buf.data ? (const char *)buf.data : "", buf.size, options,
                             ret_dataset);
    trib_buf_fini(&buf);
    return err;
}

enum trib_err trib_csv_write(const char *path, const struct trib_dataset *dataset,
                             const uint32_t *rows, size_t count)
{
    struct trib_buf buf = {0};
    for (size_t i = 0; i < count; i++) {
        const float *x = dataset->x + (size_t)rows[i] * dataset->inputs;
        for (size_t j = 0; j < dataset->inputs; j++)
            trib_buf_printf(&buf, "%.9g,", (double)x[j]); // 9 digits tell every float apart
        if (dataset->weights)
            trib_buf_printf(&buf, "%.9g,", (double)dataset->weights[rows[i]]);
        trib_buf_printf(&buf, "%.9g\n", (double)dataset->y[rows[i]]);
    }
    enum trib_err err =
        buf.failed ? TRIB_ERR_NOMEM
                   : trib_file_write(path, buf.data ? (const void *)buf.data : "", buf.size, 0600);
    trib_buf_fini(&buf);
    return err;
}
