// Rows as text: read, made features of, answered.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/predict.h"
#include "client/predict_reader.h"
#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "predict"

// ---- What is said of a row

// The class that outputs decide for, and its probability.
static void choose_class(const float *outputs, size_t count, double threshold,
                         struct trib_prediction *prediction)
{
    size_t best = 0;
    if (count <= 2) { // of a sigmoid the only output, of a softmax the second
        const double one = (double)outputs[count - 1];
        best = one >= threshold;
        prediction->probability = best ? one : count == 2 ? (double)outputs[0] : 1 - one;
    } else {
        for (size_t c = 1; c < count; c++)
            best = outputs[c] > outputs[best] ? c : best;
        prediction->probability = (double)outputs[best];
    }
    prediction->is_class = 1;
    prediction->class_index = (uint32_t)best;
}

// The label as its column has it, into `text`.
static void name_class(const struct trib_schema *schema, struct trib_prediction *prediction,
                       char text[static TRIB_REAL_TEXT_SIZE])
{
    const uint32_t class_index = prediction->class_index;
    double number = class_index;
    prediction->label = text;
    if (schema) {
        const struct trib_column *c = &schema->columns[schema->label];
        if (c->type == TRIB_COLUMN_CATEGORY && class_index < c->value_count) {
            prediction->is_name = 1;
            prediction->label = c->values[class_index];
            return;
        }
        number = number * c->scale + c->offset;
    }
    trib_real_text(number, text);
}

static void tell(struct trib_predict_reader *r, struct trib_prediction *prediction,
                 double threshold)
{
    char text[TRIB_REAL_TEXT_SIZE];
    const struct trib_predictor *p = r->predictor;
    const bool are_values =
        p->net ? p->slot.model.classes == 0 : p->fallback && p->fallback->are_values;
    if (!are_values) {
        choose_class(prediction->outputs, prediction->output_count, threshold, prediction);
        name_class(p->schema, prediction, text);
    } else {
        prediction->value = (double)prediction->outputs[0];
        if (p->schema) {
            const struct trib_column *c = &p->schema->columns[p->schema->label];
            prediction->value = prediction->value * c->scale + c->offset;
        }
    }
    r->answer(r->user, prediction);
}

// Is the model sure enough to answer itself?
static bool is_sure(const struct trib_predictor *p, const float *outputs)
{
    struct trib_prediction tried = {.row = 0};
    if (!p->fallback || p->slot.model.classes == 0)
        return true;
    choose_class(outputs, p->slot.model.outputs, p->threshold, &tried);
    return tried.probability >= p->fallback->min_probability;
}

static bool are_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            return false;
    }
    return true;
}

// `outputs`: of the model; NULL: it says nothing of the row.
static void answer(struct trib_predict_reader *r, size_t at, const float *outputs)
{
    struct trib_predictor *p = r->predictor;
    struct trib_predict_row *row = &r->rows[at];
    struct trib_prediction prediction = {
        .row = row->number, .line = row->line, .version = p->slot.manifest.version};
    if (outputs && !are_finite(outputs, p->slot.model.outputs)) {
        (void)snprintf(row->error, sizeof(row->error), "the model's outputs are not finite");
        outputs = NULL;
    }
    if (!row->is_bad && outputs && is_sure(p, outputs)) {
        r->by_model++;
        prediction.by = "model";
        prediction.outputs = outputs;
        prediction.output_count = p->slot.model.outputs;
        tell(r, &prediction, p->threshold);
    } else if (!row->is_bad && p->fallback) {
        const float *x = row->has_features ? r->x + at * r->features : NULL;
        const double *values = r->values ? r->values + at * p->fallback->column_count : NULL;
        struct trib_fallback_entry *entry = trib_fallback_find(p->fallback, x, values);
        entry->answers++;
        prediction.by = entry->by;
        prediction.outputs = entry->outputs;
        prediction.output_count = p->fallback->output_count;
        tell(r, &prediction, 0.5);
    } else {
        r->unanswered++;
        prediction.error = row->error;
        TRIB_WARN("%s:%" PRIu64 ": row %" PRIu64 ": %s", r->name, prediction.line, prediction.row,
                  row->error);
        r->answer(r->user, &prediction);
    }
}

void trib_predict_flush(struct trib_predict_reader *r)
{
    const size_t width = r->predictor->slot.model.outputs;
    const float *outputs = NULL;
    if (r->predictor->net && r->used > 0)
        outputs = trib_predictor_batch(r->predictor, r->x, r->used);
    for (size_t i = 0; i < r->used; i++)
        answer(r, i, outputs && r->rows[i].has_features ? outputs + i * width : NULL);
    r->used = 0;
}

// ---- The whole

static void begin_counts(const struct trib_predictor *p)
{
    for (size_t i = 0; p->fallback && i < p->fallback->count; i++)
        p->fallback->entries[i].answers = 0;
}

// Who answered how often, in a line.
static void log_counts(const struct trib_predict_reader *r)
{
    struct trib_buf line = {0};
    const struct trib_fallback *f = r->predictor->fallback;
    for (size_t i = 0; f && i < f->count; i++)
        trib_buf_printf(&line, ", %s %" PRIu64, f->entries[i].by, f->entries[i].answers);
    TRIB_INFO("id=predicted %s: %" PRIu64 " rows, version=%" PRIu64 ": answered by model %" PRIu64
              "%s, not answered %" PRIu64,
              r->name, r->next_row, r->predictor->slot.manifest.version, r->by_model,
              line.data ? (const char *)line.data : "", r->unanswered);
    trib_buf_fini(&line);
}

enum trib_err trib_predictor_rows(struct trib_predictor *predictor, const char *name,
                                  const char *text, size_t size, trib_prediction_fn fn, void *user)
{
    struct trib_predict_reader reader;
    begin_counts(predictor);
    enum trib_err err = trib_predict_reader_init(&reader, predictor, name);
    if (err)
        return err;
    reader.answer = fn;
    reader.user = user;
    err = trib_predict_read(&reader, text, size);
    if (!err) {
        trib_predict_flush(&reader);
        log_counts(&reader);
        if (reader.unanswered > 0)
            err = TRIB_ERR_DATA;
    }
    trib_predict_reader_fini(&reader);
    return err;
}

void trib_prediction_write(const struct trib_prediction *prediction, bool as_json,
                           struct trib_buf *line)
{
    char text[TRIB_REAL_TEXT_SIZE] = "";
    if (!as_json) {
        if (!prediction->error && !prediction->is_class)
            trib_real_text(prediction->value, text);
        trib_buf_printf(line, "%s\n", prediction->label ? prediction->label : text);
        return;
    }
    trib_json_open(line, NULL, '{');
    trib_json_uint(line, "row", prediction->row);
    trib_json_uint(line, "line", prediction->line);
    trib_json_uint(line, "version", prediction->version);
    if (prediction->error) {
        trib_json_text(line, "error", prediction->error);
    } else {
        trib_json_text(line, "by", prediction->by);
        trib_json_open(line, "outputs", '[');
        for (size_t i = 0; i < prediction->output_count; i++)
            trib_json_real(line, NULL, (double)prediction->outputs[i]);
        trib_json_close(line, ']');
        if (prediction->is_class) {
            if (prediction->is_name)
                trib_json_text(line, "label", prediction->label);
            else
                trib_json_raw(line, "label", prediction->label);
            trib_json_real(line, "probability", prediction->probability);
        } else {
            trib_json_real(line, "value", prediction->value);
        }
    }
    trib_json_close(line, '}');
    trib_buf_text(line, "\n");
}
