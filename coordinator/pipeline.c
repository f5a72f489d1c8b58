#include "coordinator/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/json_read.h"
#include "common/base/log.h"
#include "common/data/prepare_dataset.h"
#include "coordinator/evaluate.h"

#define TRIB_LOG_MODULE "job"

// The canonical text of a pipeline that a task has room for.
static enum trib_err write_text(const struct trib_prepare *prepare, char **ret_text)
{
    struct trib_buf text = {0};
    trib_prepare_write(prepare, &text);
    enum trib_err err = text.failed ? TRIB_ERR_NOMEM : TRIB_OK;
    if (!err && text.size > TRIB_PIPELINE_TEXT_MAX) {
        TRIB_ERROR("the pipeline has %zu bytes of text; a task holds %d", text.size,
                   TRIB_PIPELINE_TEXT_MAX);
        err = TRIB_ERR_LIMIT;
    }
    if (!err) {
        *ret_text = trib_alloc_text((const char *)text.data);
        err = *ret_text ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    trib_buf_fini(&text);
    return err;
}

static enum trib_err open_held_out(const struct trib_data_config *config,
                                   struct trib_dataset **ret_values, char *why, size_t why_size)
{
    struct trib_data_config values = *config;
    values.keeps_values = true;
    return trib_held_out_open(&values, ret_values, why, why_size);
}

enum trib_err trib_pipeline_open(const struct trib_data_config *config, bool has_test,
                                 struct trib_pipeline **ret_pipeline, char *why, size_t why_size)
{
    char line[TRIB_CONF_ERROR_SIZE];
    *ret_pipeline = NULL;
    if (!config->prepare[0])
        return TRIB_OK;
    struct trib_pipeline *pipeline = trib_alloc(sizeof(*pipeline));
    if (!pipeline)
        return TRIB_ERR_NOMEM;
    trib_log_keep(line, sizeof(line));
    enum trib_err err = trib_data_load(config, &pipeline->schema, &pipeline->prepare);
    trib_log_keep_end();
    (void)snprintf(why, why_size, "data.prepare: %s%s", line[0] ? line : config->prepare,
                   line[0] ? "" : " cannot be used; see the log");
    if (err == TRIB_ERR_IO)
        err = TRIB_ERR_INVAL;
    if (!err)
        err = write_text(pipeline->prepare, &pipeline->text);
    if (err == TRIB_ERR_LIMIT) {
        (void)snprintf(why, why_size, "data.prepare: %s has more text than a task holds",
                       config->prepare);
        err = TRIB_ERR_INVAL;
    }
    if (!err && has_test && !trib_prepare_is_fitted(pipeline->prepare))
        err = open_held_out(config, &pipeline->held_out, why, why_size);
    if (err) {
        trib_pipeline_close(pipeline);
        return err;
    }
    pipeline->passes = trib_prepare_passes_left(pipeline->prepare);
    *ret_pipeline = pipeline;
    return TRIB_OK;
}

void trib_pipeline_close(struct trib_pipeline *pipeline)
{
    if (!pipeline)
        return;
    trib_dataset_free(pipeline->held_out);
    trib_prepare_destroy(pipeline->prepare);
    trib_schema_destroy(pipeline->schema);
    free(pipeline->text);
    free(pipeline);
}

// ---- Steps

void trib_pipeline_step_fini(struct trib_pipeline_step *step)
{
    trib_dataset_free(step->held_out);
    trib_prepare_destroy(step->prepare);
    free(step->text);
    *step = (struct trib_pipeline_step){.text = NULL};
}

static enum trib_err parse(const struct trib_pipeline *pipeline, const char *text,
                           struct trib_prepare **ret_prepare)
{
    char why[512];
    enum trib_err err = trib_prepare_parse(text, strlen(text), "pipeline", pipeline->schema,
                                           ret_prepare, why, sizeof(why));
    if (err)
        TRIB_ERROR("%s", why);
    return err;
}

// The text of a step's pipeline, and the held-out features if it is fitted.
static enum trib_err finish(const struct trib_pipeline *pipeline, struct trib_pipeline_step *step)
{
    struct trib_prepare_report report = {.rows = 0};
    enum trib_err err = write_text(step->prepare, &step->text);
    if (err == TRIB_ERR_LIMIT)
        err = TRIB_ERR_DATA;
    if (err || !pipeline->held_out || !trib_prepare_is_fitted(step->prepare))
        return err;
    err = trib_prepare_dataset(step->prepare, pipeline->held_out, trib_prepare_today(), &report,
                               &step->held_out);
    if (!err)
        trib_prepare_report_log(&report, step->prepare, pipeline->held_out->name);
    trib_prepare_report_fini(&report);
    return err;
}

enum trib_err trib_pipeline_count(const struct trib_pipeline *pipeline, const double *values,
                                  double noise, struct trib_pipeline_step *ret_step)
{
    struct trib_pipeline_step step = {.text = NULL};
    enum trib_err err = parse(pipeline, pipeline->text, &step.prepare);
    if (!err)
        err = trib_prepare_advance(step.prepare, values, noise);
    if (!err)
        err = finish(pipeline, &step);
    if (err)
        trib_pipeline_step_fini(&step);
    else
        *ret_step = step;
    return err;
}

void trib_pipeline_take(struct trib_pipeline *pipeline, struct trib_pipeline_step *step,
                        struct trib_dataset **ret_held_out)
{
    trib_prepare_destroy(pipeline->prepare);
    free(pipeline->text);
    pipeline->prepare = step->prepare;
    pipeline->text = step->text;
    *ret_held_out = step->held_out;
    if (step->held_out) {
        trib_dataset_free(pipeline->held_out);
        pipeline->held_out = NULL;
    }
    *step = (struct trib_pipeline_step){.text = NULL};
}

// ---- Reports

void trib_pipeline_report(const struct trib_pipeline_step *step, struct trib_buf *json)
{
    trib_json_open(json, NULL, '{');
    trib_json_uint(json, "passes_left", trib_prepare_passes_left(step->prepare));
    trib_json_text(json, "pipeline", step->text);
    trib_json_close(json, '}');
}

enum trib_err trib_pipeline_recall(const struct trib_pipeline *pipeline, const char *report,
                                   struct trib_pipeline_step *ret_step)
{
    struct trib_pipeline_step step = {.text = NULL};
    struct trib_json_reader json;
    enum trib_err err = TRIB_ERR_CORRUPT;
    trib_json_reader_init(&json, report, strlen(report));
    for (enum trib_json_event event; err == TRIB_ERR_CORRUPT && !step.prepare &&
                                     (event = trib_json_next(&json)) != TRIB_JSON_END &&
                                     event != TRIB_JSON_WRONG;) {
        if (event == TRIB_JSON_TEXT && json.key.data &&
            strcmp((const char *)json.key.data, "pipeline") == 0)
            err = parse(pipeline, (const char *)json.text.data, &step.prepare);
    }
    trib_json_reader_fini(&json);
    if (!err)
        err = finish(pipeline, &step);
    if (err)
        trib_pipeline_step_fini(&step);
    else
        *ret_step = step;
    return err;
}
