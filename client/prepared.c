#include "client/prepared.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/data/prepare_dataset.h"
#include "common/data/schema.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "trainer"

static void say_declined(const struct trib_task *task)
{
    TRIB_WARN("id=task-declined round=%" PRIu64 " declined: %s", task->msg.round_number,
              task->msg.fit.prepare[0]
                  ? "it brings a pipeline, and the rows went through another one or none; with "
                    "data.pipeline = job they go through a job's own"
                  : "it brings no pipeline, which data.pipeline = job waits for");
}

bool trib_prepared_suits(const struct trib_dataset *dataset, const struct trib_task *task)
{
    const struct trib_data_config *config = dataset->origin;
    const bool has_pipeline = task->msg.fit.prepare[0] != '\0';
    if (!config ||
        (!config->train[0] && trib_data_is_file(config)) || // no rows, which is said later
        task->msg.fit.tally.kind == TRIB_TALLY_COUNTERS)
        return true;
    if (config->pipeline == TRIB_PIPELINE_JOB ? has_pipeline : !has_pipeline || config->prepare[0])
        return true;
    say_declined(task);
    return false;
}

// Without the pipeline there are no features; a pipeline without values has nothing to work on.
static enum trib_err check_pipeline(const struct trib_dataset *dataset,
                                    const struct trib_task *task)
{
    const char *text = task->msg.fit.prepare;
    const bool has_pipeline = text[0] != '\0';
    uint8_t digest[TRIB_DIGEST_SIZE];
    if (!!dataset->schema == has_pipeline)
        return TRIB_OK;
    trib_digest(text, strlen(text), digest);
    if (has_pipeline && memcmp(digest, dataset->prepared_digest, sizeof(digest)) == 0)
        return TRIB_OK; // the very one that its rows went through
    say_declined(task);
    return TRIB_ERR_DATA;
}

static enum trib_err parse_pipeline(const struct trib_schema *schema, const struct trib_task *task,
                                    struct trib_prepare **ret_prepare)
{
    char why[512];
    const char *text = task->msg.fit.prepare;
    enum trib_err err = trib_prepare_parse(text, strlen(text), "the job's pipeline", schema,
                                           ret_prepare, why, sizeof(why));
    if (err)
        TRIB_WARN("id=task-declined round=%" PRIu64 " declined: %s", task->msg.round_number, why);
    return err == TRIB_ERR_INVAL ? TRIB_ERR_DATA : err;
}

// A row that is learnt when it comes cannot wait for those behind it.
static enum trib_err check_mode(const struct trib_task *task, const struct trib_prepare *pipeline)
{
    if (task->msg.fit.mode != TRIB_MODE_ONLINE || !trib_prepare_looks_ahead(pipeline))
        return TRIB_OK;
    TRIB_WARN("id=task-declined round=%" PRIu64 " declined: its pipeline looks at rows that come "
              "later, which mode online does not know",
              task->msg.round_number);
    return TRIB_ERR_DATA;
}

// Only rows that have arrived go in: a rehearsal hides the others.
static enum trib_err prepare(const struct trib_data_news *news, const struct trib_task *task)
{
    struct trib_dataset *dataset = news->dataset;
    struct trib_dataset arrived = *dataset; // borrows all it has
    struct trib_prepare *pipeline;
    struct trib_prepare_report report = {.rows = 0};
    arrived.rows = news->end;
    enum trib_err err = parse_pipeline(dataset->schema, task, &pipeline);
    if (err)
        return err;
    trib_dataset_free(dataset->prepared);
    dataset->prepared = NULL;
    err = check_mode(task, pipeline);
    if (!err && !trib_prepare_is_fitted(pipeline)) {
        TRIB_WARN("id=task-declined round=%" PRIu64 " declined: its pipeline is not fitted",
                  task->msg.round_number);
        err = TRIB_ERR_DATA;
    }
    if (!err)
        err = trib_prepare_dataset(pipeline, &arrived, trib_prepare_today(), &report,
                                   &dataset->prepared);
    if (!err) {
        trib_digest(task->msg.fit.prepare, strlen(task->msg.fit.prepare), dataset->prepared_digest);
        trib_prepare_report_log(&report, pipeline, dataset->name);
    }
    trib_prepare_report_fini(&report);
    trib_prepare_destroy(pipeline);
    return err;
}

// The data set of features behind one of values, which keeps it if all rows went in.
static enum trib_err features_of(const struct trib_data_news *news, const struct trib_task *task)
{
    struct trib_dataset *dataset = news->dataset;
    const bool is_whole = news->end == dataset->rows;
    uint8_t digest[TRIB_DIGEST_SIZE];
    trib_digest(task->msg.fit.prepare, strlen(task->msg.fit.prepare), digest);
    if (is_whole && dataset->prepared &&
        memcmp(digest, dataset->prepared_digest, sizeof(digest)) == 0)
        return TRIB_OK;
    enum trib_err err = prepare(news, task);
    if (!is_whole)
        memset(dataset->prepared_digest, 0, sizeof(dataset->prepared_digest));
    return err;
}

enum trib_err trib_prepared_wants_used(const struct trib_task *task,
                                       const struct trib_data_config *config, bool *ret_wants_used)
{
    char why[512];
    struct trib_schema *schema;
    struct trib_prepare *pipeline;
    *ret_wants_used = false;
    if (config->pipeline != TRIB_PIPELINE_JOB || !task->msg.fit.prepare[0])
        return TRIB_OK;
    enum trib_err err = trib_schema_load(config->schema, &schema, why, sizeof(why));
    if (err) {
        TRIB_ERROR("%s", why);
        return err;
    }
    err = parse_pipeline(schema, task, &pipeline);
    if (!err)
        *ret_wants_used = trib_prepare_remembers(pipeline);
    if (!err)
        trib_prepare_destroy(pipeline);
    trib_schema_destroy(schema);
    return err;
}

enum trib_err trib_prepared_features(const struct trib_task *task, bool is_borrowed,
                                     struct trib_data_news *news)
{
    struct trib_dataset *dataset = news->dataset;
    enum trib_err err = check_pipeline(dataset, task);
    if (err || !dataset->schema || dataset->unfit[0])
        return err;
    err = features_of(news, task);
    if (err)
        return err;
    struct trib_dataset *features = dataset->prepared;
    if (!is_borrowed) // they are ours with the rows, which go
        dataset->prepared = NULL;
    trib_data_news_replace(news, features, is_borrowed);
    return TRIB_OK;
}

// With privacy on each sum goes divided by what a row can add to it.
static enum trib_err count_pass(const struct trib_prepare *pipeline,
                                const struct trib_dataset *dataset, const struct trib_task *task,
                                double *ret_totals)
{
    char why[512];
    const double today = trib_prepare_today();
    if (task->encoding.mode == TRIB_PRIVACY_OFF)
        return trib_prepare_totals(pipeline, dataset, today, ret_totals);
    enum trib_err err = trib_prepare_shares(pipeline, dataset, today, ret_totals, why, sizeof(why));
    if (err != TRIB_ERR_INVAL)
        return err;
    TRIB_WARN("id=task-declined round=%" PRIu64 " declined: the job's pipeline: %s",
              task->msg.round_number, why);
    return TRIB_ERR_DATA;
}

// What the rows add to the pass that the pipeline is at.
enum trib_err trib_prepared_count(struct trib_task *task, const struct trib_data_news *news)
{
    const struct trib_dataset *dataset = news->dataset;
    struct trib_prepare *pipeline;
    double *totals = NULL;
    enum trib_err err = check_pipeline(dataset, task);
    if (err)
        return err;
    if (dataset->rows == 0 || !dataset->schema)
        return TRIB_ERR_REFUSED;
    err = parse_pipeline(dataset->schema, task, &pipeline);
    if (err)
        return err;
    if (trib_prepare_sum_count(pipeline) != task->tally->count)
        err = TRIB_ERR_DATA;
    if (!err) {
        totals = trib_alloc_array(task->tally->count, sizeof(*totals));
        err = totals ? count_pass(pipeline, dataset, task, totals) : TRIB_ERR_NOMEM;
    }
    for (size_t i = 0; !err && i < task->tally->count; i++)
        err = trib_tally_add(task->tally, i, totals[i]);
    free(totals);
    trib_prepare_destroy(pipeline);
    return err;
}
