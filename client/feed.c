#include "client/feed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/prepared.h"
#include "client/source_sqlite.h"
#include "client/state.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/data/schema.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "feed"

// Rows of a query. `is_numbered`: they have positions, which say what is new; `wants_used`: from
// the first one on.
static enum trib_err read_query(const struct trib_data_config *config,
                                const struct trib_data_mark *mark, bool is_numbered,
                                bool wants_used, struct trib_data_news *ret_news)
{
#ifdef TRIB_WITH_SQLITE_SOURCE
    uint8_t source[TRIB_DIGEST_SIZE];
    struct trib_dataset *dataset;
    trib_data_source_digest(config, source);
    const bool is_behind = memcmp(source, mark->digest, sizeof(source)) == 0 && !wants_used;
    enum trib_err err =
        trib_sqlite_read(config, is_behind ? mark->position : 0, is_numbered, &dataset);
    if (!err)
        trib_data_news_take(ret_news, config, dataset, mark);
    return err;
#else
    (void)config;
    (void)mark;
    (void)is_numbered;
    (void)wants_used;
    (void)ret_news;
    TRIB_ERROR("data.format: this client was built without sqlite (meson option sqlite_source)");
    return TRIB_ERR_INVAL;
#endif
}

// Mistakes in the query show at start.
static enum trib_err open_query(const struct trib_data_config *config,
                                struct trib_dataset **ret_dataset)
{
    struct trib_data_news news;
    const struct trib_data_mark none = {.position = 0};
    enum trib_err err = read_query(config, &none, false, true, &news);
    if (err)
        return err;
    *ret_dataset = news.dataset;
    return TRIB_OK;
}

// Mistakes in the schema show at start; rows are read when there is a task.
static enum trib_err open_store(const struct trib_data_config *config,
                                struct trib_dataset **ret_dataset)
{
    char why[TRIB_PATH_MAX + 512];
    struct trib_schema *schema;
    enum trib_err err = trib_schema_load(config->schema, &schema, why, sizeof(why));
    if (err) {
        TRIB_ERROR("%s", why);
        return err;
    }
    err = trib_dataset_create(0, schema->features, false, config->store, ret_dataset);
    trib_schema_destroy(schema);
    return err;
}

static enum trib_err open_rows(const struct trib_data_config *config, const char *path,
                               struct trib_dataset **ret_dataset)
{
    if (config->format == TRIB_DATA_STORE)
        return open_store(config, ret_dataset);
    if (config->format == TRIB_DATA_SQLITE)
        return open_query(config, ret_dataset);
    if (!config->train[0])
        return trib_dataset_create(0, 0, false, path, ret_dataset);
    return trib_data_open(config, config->train, config->train_labels, 0, ret_dataset);
}

// Rows on the test side are dropped before anything can learn from them. *first is the number of a
// row, and follows it (or the next one that stays).
static enum trib_err set_aside(const struct trib_data_config *config, struct trib_dataset *dataset,
                               size_t *first)
{
    const struct trib_split split = {.seed = config->split_seed, .test = config->test_fraction};
    const size_t rows = dataset->rows;
    size_t kept = 0;
    enum trib_err err = trib_data_identify(config, TRIB_SPLIT_BY_ROW, dataset);
    if (err || config->test_fraction == 0)
        return err;
    for (size_t row = 0; row < *first; row++)
        kept += trib_split_side(&split, dataset->ids[row]) != TRIB_SIDE_TEST;
    trib_split_drop_test(&split, dataset);
    *first = kept;
    TRIB_INFO("%s: %zu of %zu rows are held out and not learnt from", dataset->name,
              rows - dataset->rows, rows);
    return TRIB_OK;
}

enum trib_err trib_feed_open(const char *path, struct trib_dataset **ret_dataset)
{
    struct trib_state_config config;
    struct trib_dataset *dataset;
    enum trib_err err = trib_state_config_load(path, &config);
    if (!err)
        err = open_rows(&config.data, path, &dataset);
    if (err)
        return err;
    size_t first = 0;
    struct trib_data_config *origin = trib_alloc(sizeof(*origin));
    err = origin ? set_aside(&config.data, dataset, &first) : TRIB_ERR_NOMEM;
    if (err) {
        free(origin);
        trib_dataset_free(dataset);
        return err;
    }
    *origin = config.data;
    dataset->origin = origin;
    *ret_dataset = dataset;
    return TRIB_OK;
}

static enum trib_err open_news(const struct trib_data_config *config, const struct trib_task *task,
                               struct trib_data_news *ret_news)
{
    const struct trib_data_mark *mark = &task->mark; // all zero in mode batch
    const bool is_batch = task->msg.fit.mode == TRIB_MODE_BATCH;
    bool wants_used;
    if (config->test_fraction > 0 && config->format == TRIB_DATA_IDX) {
        // Its marks count rows, and held-out ones would shift them.
        TRIB_ERROR(
            "data.test_fraction: new rows of idx files cannot be held out; use csv or a store");
        return TRIB_ERR_INVAL;
    }
    enum trib_err err = trib_prepared_wants_used(task, config, &wants_used);
    if (err)
        return err;
    err = config->format == TRIB_DATA_SQLITE
              ? read_query(config, mark, !is_batch, wants_used, ret_news)
              : trib_data_news_open(config, mark, wants_used, trib_clock_wall_ms(), ret_news);
    if (err)
        return err;
    err = set_aside(config, ret_news->dataset, &ret_news->first);
    ret_news->end = ret_news->dataset->rows;
    if (err)
        trib_data_news_fini(ret_news);
    return err;
}

enum trib_err trib_feed_read(struct trib_dataset *dataset, const struct trib_task *task,
                             struct trib_data_news *ret_news, bool *ret_is_borrowed)
{
    const struct trib_data_config *config = dataset->origin;
    const bool is_batch = task->msg.fit.mode == TRIB_MODE_BATCH;
    const bool has_rows = config && (config->train[0] || !trib_data_is_file(config));
    *ret_is_borrowed = !has_rows || (is_batch && trib_data_is_file(config));
    enum trib_err err = TRIB_OK;
    if (*ret_is_borrowed)
        *ret_news = (struct trib_data_news){.dataset = dataset, .end = dataset->rows};
    else
        err = open_news(config, task, ret_news);
    if (err)
        return err;
    if (config)
        trib_data_news_hide(ret_news, config->rows_per_round, task->msg.round_number);
    return TRIB_OK;
}

enum trib_err trib_feed_check(const struct trib_data_news *news, const struct trib_task *task,
                              size_t *ret_rows)
{
    char why[512];
    size_t rows = trib_data_news_count(news);
    const uint64_t round = task->msg.round_number;
    if (news->dataset->unfit[0]) {
        TRIB_WARN("id=data-unfit round=%" PRIu64 " sits out: %s", round, news->dataset->unfit);
        return TRIB_ERR_REFUSED;
    }
    if (task->msg.fit.mode == TRIB_MODE_ONLINE && task->msg.batch > 1)
        rows -= rows % task->msg.batch; // the others wait until a step is full
    if (rows == 0) {
        TRIB_INFO("round=%" PRIu64 " there are no %srows to learn from", round,
                  task->msg.fit.mode == TRIB_MODE_BATCH ? "" : "new ");
        return TRIB_ERR_REFUSED;
    }
    if (trib_dataset_check(news->dataset, &task->model, why, sizeof(why))) {
        TRIB_ERROR("%s", why);
        return TRIB_ERR_DATA;
    }
    *ret_rows = rows;
    return TRIB_OK;
}
