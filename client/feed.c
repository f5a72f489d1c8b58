#include "client/feed.h"

#include <inttypes.h>
#include <string.h>

#include "client/source_sqlite.h"
#include "client/state.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/data/schema.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "feed"

// Rows of a query. `wants_new`: only those behind the mark, by their positions.
static enum trib_err read_query(const struct trib_data_config *config,
                                const struct trib_data_mark *mark, bool wants_new,
                                struct trib_data_news *ret_news)
{
#ifdef TRIB_WITH_SQLITE_SOURCE
    uint8_t source[TRIB_DIGEST_SIZE];
    struct trib_dataset *dataset;
    trib_data_source_digest(config, source);
    const bool is_ours = memcmp(source, mark->digest, sizeof(source)) == 0;
    enum trib_err err = trib_sqlite_read(config, is_ours ? mark->position : 0, wants_new, &dataset);
    if (!err)
        trib_data_news_take(ret_news, config, dataset, mark);
    return err;
#else
    (void)config;
    (void)mark;
    (void)wants_new;
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
    enum trib_err err = read_query(config, &none, false, &news);
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

enum trib_err trib_feed_open(const char *path, struct trib_dataset **ret_dataset)
{
    struct trib_state_config config;
    struct trib_dataset *dataset;
    enum trib_err err = trib_state_config_load(path, &config);
    if (!err)
        err = open_rows(&config.data, path, &dataset);
    if (err)
        return err;
    struct trib_data_config *origin = trib_alloc(sizeof(*origin));
    if (!origin) {
        trib_dataset_free(dataset);
        return TRIB_ERR_NOMEM;
    }
    *origin = config.data;
    dataset->origin = origin;
    *ret_dataset = dataset;
    return TRIB_OK;
}

enum trib_err trib_feed_read(struct trib_dataset *dataset, const struct trib_task *task,
                             struct trib_data_news *ret_news, bool *ret_is_borrowed)
{
    const struct trib_data_config *config = dataset->origin;
    const bool is_batch = task->msg.fit.mode == TRIB_MODE_BATCH;
    const struct trib_data_mark *mark = &task->mark; // all zero in mode batch
    const bool has_rows = config && (config->train[0] || !trib_data_is_file(config));
    *ret_is_borrowed = !has_rows || (is_batch && trib_data_is_file(config));
    enum trib_err err = TRIB_OK;
    if (*ret_is_borrowed)
        *ret_news = (struct trib_data_news){.dataset = dataset, .end = dataset->rows};
    else if (config->format == TRIB_DATA_SQLITE)
        err = read_query(config, mark, !is_batch, ret_news);
    else
        err = trib_data_news_open(config, mark, trib_clock_wall_ms(), ret_news);
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
