// The first byte chooses format, header and whether there is a schema; a schema follows up to a
// NUL, a fall-back up to another, and then rows. Each row has its answer in its turn, or says why
// it has none; what is said is what one of the fall-back's sections says.
#include <math.h>
#include <string.h>

#include "client/predict.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

struct answers {
    const struct trib_fallback *fallback;
    uint64_t rows, answered, line;
};

static void check(void *user, const struct trib_prediction *p)
{
    struct answers *a = user;
    require(p->row == a->rows++ && p->line > a->line && p->version == 0);
    a->line = p->line;
    require(!p->error == !!p->by);
    if (p->error) {
        require(p->error[0] != '\0');
        return;
    }
    a->answered++;
    require(p->output_count == a->fallback->output_count);
    require(p->is_class ? p->probability >= 0 && p->probability <= 1 && p->label
                        : isfinite(p->value) && !p->label);
}

static void ask(struct trib_predictor *predictor, const char *text, size_t size)
{
    struct answers answers = {.fallback = predictor->fallback};
    uint64_t given = 0;
    const enum trib_err err = trib_predictor_rows(predictor, "rows", text, size, check, &answers);
    if (err != TRIB_OK && answers.rows == 0)
        return;
    for (size_t i = 0; i < predictor->fallback->count; i++)
        given += predictor->fallback->entries[i].answers;
    require(given == answers.answered);
    require(err != TRIB_OK || answers.answered == answers.rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trib_predictor predictor;
    char why[256] = "";
    struct memory_file file;
    const uint8_t *const end = data + size;
    const uint8_t *schema_end = size > 1 ? memchr(data + 1, 0, size - 1) : NULL;
    const uint8_t *fallback = schema_end ? schema_end + 1 : end;
    const uint8_t *rows = memchr(fallback, 0, (size_t)(end - fallback));
    if (!rows)
        return 0;
    trib_log_set_sink(drop_line, NULL);
    predictor = (struct trib_predictor){.settings.data = {.label = "last", .scale = 1}};
    predictor.settings.data.format = data[0] & 1 ? TRIB_DATA_JSON_LINES : TRIB_DATA_CSV;
    predictor.settings.data.header = data[0] / 2 % 3;
    if ((data[0] & 8) && trib_schema_parse((const char *)data + 1, (size_t)(schema_end - data) - 1,
                                           "s", &predictor.schema, why, sizeof(why)))
        return 0;
    if (predictor.schema)
        predictor.schema->is_unlabelled = true;
    memory_file_open(&file, fallback, (size_t)(rows - fallback));
    if (trib_fallback_load(file.path, predictor.schema, &predictor.fallback, why, sizeof(why)) ||
        trib_fallback_check(predictor.fallback, NULL,
                            predictor.schema ? predictor.schema->features : 0, why, sizeof(why)))
        require(why[0] != '\0');
    else
        ask(&predictor, (const char *)rows + 1, (size_t)(end - rows) - 1);
    memory_file_close(&file);
    trib_fallback_destroy(predictor.fallback);
    trib_schema_destroy(predictor.schema);
    return 0;
}
