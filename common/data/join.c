#include "common/data/join.h"

#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/data/record.h"

#define TRIB_LOG_MODULE "data"

static const double DAY_MS = 86400e3;

// A field of the second file: its text, or nothing.
struct cell {
    size_t at; // in `text`
    size_t size;
    bool is_quoted;
};

struct partner {
    size_t key, key_size; // in `text`
    double time;          // whole ms since 1970-01-01 UTC; 0 without times
    size_t line;
    size_t first; // of its cells
};

struct trib_join {
    struct trib_join_options options;
    const struct trib_schema *schema; // borrowed
    size_t key, time;                 // columns of the schema; time: SIZE_MAX without
    size_t *columns;                  // (width) of the schema, which the file has; owned
    size_t *places;                   // (width) where in a record of it; owned
    bool *is_taken;                   // (width) the first file lacks it; owned
    size_t width;
    size_t key_place, time_place, file_columns;
    struct trib_buf text;     // the texts of all cells, each with its end
    struct cell *cells;       // (partners, width), owned
    struct partner *partners; // sorted by key, time, line; owned
    size_t count, capacity;
    uint64_t rows, found;
};

void trib_join_close(struct trib_join *join)
{
    if (!join)
        return;
    if (join->rows > 0)
        TRIB_INFO("id=data-joined %s: %" PRIu64 " of %" PRIu64 " rows have a partner in it",
                  join->options.path, join->found, join->rows);
    trib_buf_fini(&join->text);
    free(join->columns);
    free(join->places);
    free(join->is_taken);
    free(join->cells);
    free(join->partners);
    free(join);
}

// ---- Reading

static size_t find_name(const struct trib_record_reader *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->fields[i].text, name) == 0)
            return i;
    }
    return SIZE_MAX;
}

static enum trib_err take_names(struct trib_join *join, struct trib_record_reader *r)
{
    const struct trib_join_options *o = &join->options;
    enum trib_record_event event;
    enum trib_err err = trib_record_next(r, &event);
    if (err)
        return err;
    if (event != TRIB_RECORD_WHOLE) {
        TRIB_ERROR("%s:1: wants a line with the names of the columns", o->path);
        return TRIB_ERR_DATA;
    }
    join->file_columns = r->count;
    join->key_place = find_name(r, o->on);
    join->time_place = o->time[0] ? find_name(r, o->time) : SIZE_MAX;
    const char *lacking = join->key_place == SIZE_MAX                  ? o->on
                          : o->time[0] && join->time_place == SIZE_MAX ? o->time
                                                                       : NULL;
    if (lacking) {
        TRIB_ERROR("%s:%zu: no column is named '%s', which data.%s wants", o->path, r->record_line,
                   lacking, lacking == o->on ? "join_on" : "join_time");
        return TRIB_ERR_INVAL;
    }
    for (size_t c = 0; c < join->schema->count; c++) {
        const size_t place = find_name(r, join->schema->columns[c].name);
        if (place == SIZE_MAX)
            continue;
        join->columns[join->width] = c;
        join->places[join->width++] = place;
    }
    return TRIB_OK;
}

static size_t keep_text(struct trib_join *join, const struct trib_field *field)
{
    const size_t at = join->text.size;
    trib_buf_append(&join->text, field->text, field->size + 1); // with its end
    return at;
}

static enum trib_err make_room(struct trib_join *join)
{
    if (join->count < join->capacity)
        return TRIB_OK;
    if (join->count >= TRIB_ROWS_MAX) {
        TRIB_ERROR("%s: more than %d rows", join->options.path, TRIB_ROWS_MAX);
        return TRIB_ERR_LIMIT;
    }
    const size_t capacity = join->capacity ? 2 * join->capacity : 256;
    struct partner *partners = trib_alloc_array(capacity, sizeof(*partners));
    struct cell *cells = trib_alloc_array(capacity * (join->width + 1), sizeof(*cells));
    if (!partners || !cells) {
        free(partners);
        free(cells);
        return TRIB_ERR_NOMEM;
    }
    if (join->count > 0) {
        memcpy(partners, join->partners, join->count * sizeof(*partners));
        memcpy(cells, join->cells, join->count * join->width * sizeof(*cells));
    }
    free(join->partners);
    free(join->cells);
    join->partners = partners;
    join->cells = cells;
    join->capacity = capacity;
    return TRIB_OK;
}

// Days have fractions, and what is as far before as behind would not be so.
static bool take_time(const char *text, double *ret_ms)
{
    double days;
    if (!trib_schema_time(text, &days))
        return false;
    *ret_ms = nearbyint(days * DAY_MS);
    return true;
}

static enum trib_err take_record(struct trib_join *join, const struct trib_record_reader *r)
{
    const struct trib_field *key = &r->fields[join->key_place];
    struct partner partner = {.line = r->record_line, .first = join->count * join->width};
    if (trib_schema_is_missing(join->schema, key))
        return TRIB_OK; // nobody asks for it
    if (join->time_place != SIZE_MAX &&
        !take_time(r->fields[join->time_place].text, &partner.time)) {
        TRIB_ERROR("%s:%zu: column '%s' is no time: wants ISO 8601", join->options.path,
                   r->record_line, join->options.time); // values are never logged
        return TRIB_ERR_DATA;
    }
    enum trib_err err = make_room(join);
    if (err)
        return err;
    partner.key = keep_text(join, key);
    partner.key_size = key->size;
    for (size_t i = 0; i < join->width; i++) {
        const struct trib_field *field = &r->fields[join->places[i]];
        join->cells[partner.first + i] = (struct cell){
            .at = keep_text(join, field), .size = field->size, .is_quoted = field->is_quoted};
    }
    join->partners[join->count++] = partner;
    return join->text.failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

static enum trib_err read_records(struct trib_join *join, struct trib_record_reader *r)
{
    enum trib_err err = take_names(join, r);
    while (!err) {
        enum trib_record_event event;
        err = trib_record_next(r, &event);
        if (err || event == TRIB_RECORD_END)
            break;
        if (event == TRIB_RECORD_BROKEN || r->count != join->file_columns) {
            TRIB_ERROR("%s:%zu: not CSV, or not the %zu fields of the line of names",
                       join->options.path, r->record_line, join->file_columns);
            return TRIB_ERR_DATA;
        }
        err = take_record(join, r);
    }
    return err;
}

// ---- Order

static int compare_keys(const char *a, size_t a_size, const char *b, size_t b_size)
{
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare(const void *a, const void *b, void *user)
{
    const struct trib_join *join = user;
    const struct partner *x = a, *y = b;
    const char *text = (const char *)join->text.data;
    const int order = compare_keys(text + x->key, x->key_size, text + y->key, y->key_size);
    if (order)
        return order;
    if (x->time < y->time || x->time > y->time)
        return x->time < y->time ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

static enum trib_err put_in_order(struct trib_join *join)
{
    if (join->count == 0)
        return TRIB_OK;
    qsort_r(join->partners, join->count, sizeof(*join->partners), compare, join);
    const char *text = (const char *)join->text.data;
    for (size_t i = 1; i < join->count && join->time_place == SIZE_MAX; i++) {
        const struct partner *a = &join->partners[i - 1], *b = &join->partners[i];
        if (compare_keys(text + a->key, a->key_size, text + b->key, b->key_size) != 0)
            continue;
        TRIB_ERROR("%s:%zu: the key is that of line %zu; with data.join_time a key may be there "
                   "more than once",
                   join->options.path, b->line, a->line);
        return TRIB_ERR_DATA;
    }
    return TRIB_OK;
}

// ---- Opening

static enum trib_err find_columns(struct trib_join *join)
{
    const struct trib_schema *schema = join->schema;
    const struct trib_join_options *o = &join->options;
    join->key = trib_schema_find(schema, o->on);
    join->time = SIZE_MAX;
    if (join->key == SIZE_MAX) {
        TRIB_ERROR("data.join_on: the schema has no column '%s'", o->on);
        return TRIB_ERR_INVAL;
    }
    for (size_t i = 0; o->time[0] && i < schema->count && join->time == SIZE_MAX; i++) {
        if (schema->columns[i].role == TRIB_ROLE_TIME)
            join->time = i;
    }
    if (o->time[0] && join->time == SIZE_MAX) {
        TRIB_ERROR("data.join_time: the schema has no column of the role time");
        return TRIB_ERR_INVAL;
    }
    join->columns = trib_alloc_array(schema->count, sizeof(*join->columns));
    join->places = trib_alloc_array(schema->count, sizeof(*join->places));
    join->is_taken = trib_alloc_array(schema->count, sizeof(*join->is_taken));
    return join->columns && join->places && join->is_taken ? TRIB_OK : TRIB_ERR_NOMEM;
}

enum trib_err trib_join_open(const struct trib_join_options *options,
                             const struct trib_schema *schema, struct trib_join **ret_join)
{
    const struct trib_record_options csv = {
        .separator = schema->separator, .trim = schema->trim, .comment = schema->comment};
    struct trib_record_reader r;
    struct trib_buf file = {0};
    struct trib_join *join = trib_alloc(sizeof(*join));
    if (!join)
        return TRIB_ERR_NOMEM;
    *join = (struct trib_join){.options = *options, .schema = schema};
    enum trib_err err = find_columns(join);
    if (!err)
        err = trib_file_read(options->path, TRIB_DATA_FILE_SIZE_MAX, &file);
    if (!err) {
        trib_record_reader_init(&r, &csv, file.data ? (const char *)file.data : "", file.size);
        err = read_records(join, &r);
        trib_record_reader_fini(&r);
    }
    if (!err)
        err = put_in_order(join);
    trib_buf_fini(&file);
    if (err)
        trib_join_close(join);
    else
        *ret_join = join;
    return err;
}

// ---- Rows

// Which of the columns that the second file has must come from it.
static void mark_taken(struct trib_join *join, const size_t *places)
{
    for (size_t i = 0; i < join->width; i++)
        join->is_taken[i] = places[join->columns[i]] == SIZE_MAX;
}

static bool has_column(const struct trib_join *join, size_t column)
{
    size_t i = 0;
    while (i < join->width && join->columns[i] != column)
        i++;
    return i < join->width;
}

enum trib_err trib_join_places(struct trib_join *join, const char *name,
                               const struct trib_record_reader *names, size_t *ret_places)
{
    const struct trib_schema *schema = join->schema;
    for (size_t c = 0; c < schema->count; c++) {
        const struct trib_column *column = &schema->columns[c];
        const bool is_wanted = c == join->key || c == join->time;
        const bool may_lack = schema->is_unlabelled &&
                              (column->role == TRIB_ROLE_LABEL || column->role == TRIB_ROLE_WEIGHT);
        ret_places[c] = find_name(names, column->name);
        if (ret_places[c] != SIZE_MAX || (!is_wanted && (may_lack || has_column(join, c))))
            continue;
        TRIB_ERROR("%s:%zu: no column is named '%s', which %s", name, names->record_line,
                   column->name,
                   is_wanted ? "rows are joined by"
                             : "the schema declares, nor in the file that is joined");
        return TRIB_ERR_INVAL;
    }
    mark_taken(join, ret_places);
    return TRIB_OK;
}

// The first partner that is not before this key and time.
static size_t lower_bound(const struct trib_join *join, const struct trib_field *key, double time)
{
    const char *text = (const char *)join->text.data;
    size_t low = 0, high = join->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct partner *p = &join->partners[middle];
        const int order = compare_keys(text + p->key, p->key_size, key->text, key->size);
        if (order < 0 || (order == 0 && p->time < time))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_key(const struct trib_join *join, size_t partner, const struct trib_field *key)
{
    if (partner >= join->count)
        return false;
    const struct partner *p = &join->partners[partner];
    return compare_keys((const char *)join->text.data + p->key, p->key_size, key->text,
                        key->size) == 0;
}

// Of those with the key: the last that is not later, or the nearest (of equals the earlier one). Of
// several at one time the last in the file. SIZE_MAX: none.
static size_t find_in_time(const struct trib_join *join, const struct trib_field *key, double time)
{
    const double tolerance =
        join->options.tolerance_s > 0 ? join->options.tolerance_s * 1e3 : (double)INFINITY;
    const size_t after = lower_bound(join, key, time);
    size_t same = after;
    while (has_key(join, same, key) && join->partners[same].time <= time)
        same++;
    size_t best = same > 0 && has_key(join, same - 1, key) ? same - 1 : SIZE_MAX;
    if (join->options.is_nearest && has_key(join, same, key)) {
        const double later = join->partners[same].time - time;
        if (best == SIZE_MAX || later < time - join->partners[best].time) {
            const double at = join->partners[same].time;
            best = same;
            while (has_key(join, best + 1, key) && join->partners[best + 1].time <= at)
                best++;
        }
    }
    if (best != SIZE_MAX && !(fabs(join->partners[best].time - time) <= tolerance))
        best = SIZE_MAX;
    return best;
}

static size_t find_partner(const struct trib_join *join, const struct trib_field *fields)
{
    const struct trib_field *key = &fields[join->key];
    double time = 0;
    if (trib_schema_is_missing(join->schema, key))
        return SIZE_MAX;
    if (join->time == SIZE_MAX) {
        const size_t found = lower_bound(join, key, 0);
        return has_key(join, found, key) ? found : SIZE_MAX;
    }
    const struct trib_field *at = &fields[join->time];
    return !trib_schema_is_missing(join->schema, at) && take_time(at->text, &time)
               ? find_in_time(join, key, time)
               : SIZE_MAX;
}

void trib_join_fill(struct trib_join *join, struct trib_field *fields, size_t line)
{
    const size_t found = find_partner(join, fields);
    join->rows++;
    join->found += found != SIZE_MAX;
    for (size_t i = 0; i < join->width; i++) {
        struct trib_field *field = &fields[join->columns[i]];
        if (!join->is_taken[i])
            continue;
        *field = (struct trib_field){.line = line};
        if (found == SIZE_MAX)
            continue;
        const struct cell *cell = &join->cells[join->partners[found].first + i];
        field->text = (const char *)join->text.data + cell->at;
        field->size = cell->size;
        field->is_quoted = cell->is_quoted;
    }
}
