// The first byte chooses format and header; a schema follows up to a NUL, and then a file. What
// comes of it is whole, finite, and agrees with the counts of what was wrong.
#include <math.h>
#include <string.h>

#include "common/data/table.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

static void check(const struct trib_schema *schema, const struct trib_findings *findings,
                  const struct trib_dataset *dataset)
{
    uint64_t violations = 0;
    for (size_t c = 0; c <= schema->count; c++) {
        for (int rule = 0; rule < TRIB_RULE_COUNT; rule++) {
            const struct trib_violation *v = trib_findings_find(findings, c, (enum trib_rule)rule);
            require((v->count == 0) == (v->line == 0));
            violations += v->count;
        }
    }
    require(findings->bad_rows <= findings->rows && findings->bad_rows <= violations);
    require((findings->bad_rows == 0) == (violations == 0));
    require(dataset->rows == findings->rows - findings->bad_rows);
    for (size_t i = 0; i < dataset->rows * dataset->inputs; i++)
        require(isfinite(dataset->x[i]));
    for (size_t i = 0; i < dataset->rows; i++)
        require(isfinite(dataset->y[i]) && dataset->lines[i] > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[256] = "";
    struct trib_schema *schema;
    struct trib_findings findings;
    struct trib_dataset *dataset;
    struct memory_file file;
    const uint8_t *nul = size > 1 ? memchr(data + 1, 0, size - 1) : NULL;
    if (!nul)
        return 0;
    const struct trib_table_options options = {.is_json_lines = data[0] & 1,
                                               .header = (enum trib_csv_header)(data[0] / 2 % 3),
                                               .scale = 1,
                                               .max_bad_share = 1};
    trib_log_set_sink(drop_line, NULL);
    enum trib_err err = trib_schema_parse((const char *)data + 1, (size_t)(nul - data) - 1, "s",
                                          &schema, why, sizeof(why));
    if (err) {
        require(why[0] != '\0');
        return 0;
    }
    memory_file_open(&file, nul + 1, size - (size_t)(nul - data) - 1);
    if (!trib_table_read(file.path, schema, &options, &findings, &dataset)) {
        check(schema, &findings, dataset);
        trib_dataset_free(dataset);
    }
    memory_file_close(&file);
    trib_findings_fini(&findings);
    trib_schema_destroy(schema);
    return 0;
}
