// A schema, and behind a NUL one text for each of its columns. It is refused with a word, or every
// column is found by its name, and a row is counted as broken or gives finite features.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/data/schema.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    COLUMNS_MAX = 64,
    TEXT_MAX = 256
};

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

static void try_names(const struct trib_schema *schema)
{
    struct trib_field names[COLUMNS_MAX];
    size_t places[COLUMNS_MAX];
    for (size_t i = 0; i < schema->count; i++) {
        const size_t last = schema->count - 1 - i; // a header in the other order
        names[last] = (struct trib_field){.text = schema->columns[i].name,
                                          .size = strlen(schema->columns[i].name)};
        require(trib_schema_find(schema, schema->columns[i].name) == i);
    }
    require(trib_schema_places(schema, names, schema->count, places) == SIZE_MAX);
    for (size_t i = 0; i < schema->count; i++)
        require(places[i] == schema->count - 1 - i);
}

static void try_row(const struct trib_schema *schema, const char *text)
{
    struct trib_field fields[COLUMNS_MAX];
    struct trib_findings findings;
    double values[COLUMNS_MAX];
    float y, weight;
    for (size_t i = 0; i < schema->count; i++)
        fields[i] =
            (struct trib_field){.text = text, .size = strlen(text), .line = 1, .place = i + 1};
    float *x = calloc(schema->features > 0 ? schema->features : 1, sizeof(*x));
    require(x && trib_findings_init(&findings, schema) == TRIB_OK);
    if (trib_schema_row(schema, fields, &findings, x, &y, &weight)) {
        for (size_t i = 0; i < schema->features; i++)
            require(isfinite(x[i]));
        require(isfinite(y) && isfinite(weight));
    } else {
        uint64_t violations = 0;
        for (size_t c = 0; c <= schema->count; c++) {
            for (int rule = 0; rule < TRIB_RULE_COUNT; rule++)
                violations += trib_findings_find(&findings, c, (enum trib_rule)rule)->count;
        }
        require(violations > 0);
    }
    (void)trib_schema_values(schema, fields, &findings, values);
    trib_findings_log(&findings, "rows");
    trib_findings_fini(&findings);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[256] = "";
    char text[TEXT_MAX] = "";
    struct trib_schema *schema;
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    const size_t schema_size = nul ? (size_t)(nul - data) : size;
    if (nul) {
        const size_t left = size - schema_size - 1;
        const size_t some = left < TEXT_MAX - 1 ? left : TEXT_MAX - 1;
        memcpy(text, nul + 1, some);
        text[some] = '\0';
    }
    trib_log_set_sink(drop_line, NULL);
    if (trib_schema_parse((const char *)data, schema_size, "s", &schema, why, sizeof(why))) {
        require(why[0] != '\0');
        return 0;
    }
    require(schema->count > 0 && schema->label < schema->count);
    if (schema->count <= COLUMNS_MAX) {
        try_names(schema);
        try_row(schema, text);
    }
    trib_schema_destroy(schema);
    return 0;
}
