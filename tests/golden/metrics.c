// KIND metrics: columns id, fn, params, a, b, expected, rtol, note (see csv.c for the file).
#include "tests/golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "tests/golden/measure.h"

enum {
    VALUES_MAX = 1 << 16,
    NAME_MAX = 63,
};

// Numbers separated by blanks, up to `end`; there may be none.
static bool read_values(const char *text, const char *end, struct measure_values *values)
{
    char word[64];
    values->items = trib_alloc_array(VALUES_MAX, sizeof(*values->items));
    for (values->count = 0; values->items; values->count++) {
        text += strspn(text, " ");
        if (text >= end)
            return true;
        size_t size = strcspn(text, " |;");
        if (size == 0 || size >= sizeof(word) || values->count == VALUES_MAX)
            return false;
        (void)snprintf(word, sizeof(word), "%.*s", (int)size, text);
        if (!golden_number(word, &values->items[values->count]))
            return false;
        text += size;
    }
    return false;
}

static const char *status_text(enum measure_status status, double value)
{
    switch (status) {
    case MEASURE_VALUE: return isnan(value) ? "refused" : "a value"; // a value that is none
    case MEASURE_REFUSED: return "refused";
    case MEASURE_UNKNOWN: return "not known";
    case MEASURE_BROKEN: return "out of memory";
    }
    return "";
}

static void check_confusion(const struct measure_input *input, const char *expected,
                            const struct golden_row *row, struct golden_tally *tally)
{
    struct trib_buf text = {0};
    const enum measure_status status = measure_confusion(input, &text);
    const char *got = text.data ? (const char *)text.data : "";
    if (status != MEASURE_VALUE)
        got = strcmp(expected, "error") == 0 && status == MEASURE_REFUSED ? "error"
                                                                          : status_text(status, 0);
    golden_check_text(tally, row, "confusion", expected, got);
    trib_buf_fini(&text);
}

// One of the "k=v" of `expected`, with `text` the v.
static void check_value(const struct measure_input *input, const char *name, const char *text,
                        const struct golden_row *row, struct golden_tally *tally)
{
    double expected, rtol, got = 0;
    if (strcmp(name, "confusion") == 0) {
        check_confusion(input, text, row, tally);
        return;
    }
    const enum measure_status status = measure_value(input, name, &got);
    if (strcmp(text, "error") == 0)
        golden_check_text(tally, row, name, "refused", status_text(status, got));
    else if (status != MEASURE_VALUE)
        golden_check_text(tally, row, name, text, status_text(status, got));
    else if (!golden_number(text, &expected))
        golden_fail(tally, row, "an expected value is not a number");
    else if (!golden_number(golden_field(row, "rtol"), &rtol))
        golden_fail(tally, row, "the tolerance is not a number");
    else
        golden_check(tally, row, name, expected, got, rtol);
}

static void check_row(const struct measure_input *input, const struct golden_row *row,
                      struct golden_tally *tally)
{
    const char *expected = golden_field(row, "expected");
    if (!*expected) {
        golden_fail(tally, row, "nothing is expected");
        return;
    }
    if (strcmp(expected, "error") == 0) {
        check_value(input, measure_main_value(input->fn), expected, row, tally);
        return;
    }
    while (*expected) {
        char name[NAME_MAX + 1];
        char text[4096];
        size_t name_size = strcspn(expected, "=;");
        size_t size = strcspn(expected, ";");
        size_t text_size = size > name_size ? size - name_size - 1 : 0;
        if (name_size > NAME_MAX || text_size >= sizeof(text)) {
            golden_fail(tally, row, "an expected value is too long");
            return;
        }
        (void)snprintf(name, sizeof(name), "%.*s", (int)name_size, expected);
        (void)snprintf(text, sizeof(text), "%.*s", (int)text_size, expected + name_size + 1);
        check_value(input, name, text, row, tally);
        expected += size + (expected[size] == ';');
    }
}

void golden_metrics(const struct golden_row *row, struct golden_tally *tally)
{
    const char *a = golden_field(row, "a");
    const char *bar = strchr(a, '|');
    struct measure_input input = {.fn = golden_field(row, "fn"),
                                  .params = golden_field(row, "params")};

    if (!measure_main_value(input.fn))
        golden_fail(tally, row, "there is no such function");
    else if (!bar || !read_values(a, bar, &input.truth) ||
             !read_values(bar + 1, a + strlen(a), &input.predicted))
        golden_fail(tally, row, "the row cannot be read");
    else
        check_row(&input, row, tally);
    free(input.truth.items);
    free(input.predicted.items);
}
