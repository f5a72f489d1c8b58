// The rows of a source that are new: those behind the mark of what was used.
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/data/row_store.h"
#include "common/data/source_read.h"

#define TRIB_LOG_MODULE "data"

// Bytes of the first `lines` lines, or SIZE_MAX: there are fewer.
static size_t size_of_lines(const struct trib_buf *text, uint64_t lines)
{
    const uint8_t *next = text->data;
    const uint8_t *const end = next + text->size;
    for (; lines > 0; lines--) {
        const uint8_t *newline = next < end ? memchr(next, '\n', (size_t)(end - next)) : NULL;
        if (!newline)
            return SIZE_MAX;
        next = newline + 1;
    }
    return (size_t)(next - text->data);
}

static bool begins_as_marked(const struct trib_buf *text, const struct trib_data_mark *mark)
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    const size_t size = size_of_lines(text, mark->position);
    if (size == SIZE_MAX)
        return false;
    trib_digest(text->data, size, digest);
    return memcmp(digest, mark->digest, sizeof(digest)) == 0;
}

static enum trib_err open_text(const struct trib_data_config *config,
                               const struct trib_data_mark *mark, struct trib_data_news *news)
{
    enum trib_err err = trib_file_read(config->train, TRIB_DATA_FILE_SIZE_MAX, &news->text);
    if (err)
        return err;
    const uint8_t *newline =
        news->text.size ? memrchr(news->text.data, '\n', news->text.size) : NULL;
    news->text.size = newline ? (size_t)(newline - news->text.data) + 1 : 0;
    const struct trib_table_text text = {.name = config->train,
                                         .data =
                                             news->text.data ? (const char *)news->text.data : "",
                                         .size = news->text.size};
    err = trib_data_parse_text(config, &text, config->scale, &news->dataset);
    if (err || mark->position == 0)
        return err;
    if (!begins_as_marked(&news->text, mark)) {
        TRIB_WARN("id=data-rotated %s: it no longer begins with the %" PRIu64 " lines that were "
                  "used; all of its rows count as new",
                  config->train, mark->position);
        return TRIB_OK;
    }
    while (news->first < news->dataset->rows && news->dataset->lines[news->first] <= mark->position)
        news->first++;
    return TRIB_OK;
}

void trib_data_source_digest(const struct trib_data_config *config,
                             uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    static const char *const names[] = {"csv", "idx", "jsonl", "store", "sqlite"};
    const char *const texts[] = {names[config->format], config->train, config->store, config->file,
                                 config->query};
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        trib_hash_update(&hash, texts[i], strlen(texts[i]) + 1);
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

// The mark, or an empty one: it was made of another source.
static struct trib_data_mark own_mark(const struct trib_data_config *config,
                                      const struct trib_data_mark *mark)
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    trib_data_source_digest(config, digest);
    if (mark->position == 0 || memcmp(digest, mark->digest, sizeof(digest)) == 0)
        return *mark;
    TRIB_WARN("id=data-changed client.ini names another source than the one that was used up to "
              "position %" PRIu64 "; all of its rows count as new",
              mark->position);
    return (struct trib_data_mark){.position = 0};
}

// The rows of an idx file have no lines: they are counted.
static enum trib_err open_items(const struct trib_data_config *config,
                                const struct trib_data_mark *mark, struct trib_data_news *news)
{
    enum trib_err err =
        trib_data_open(config, config->train, config->train_labels, 0, &news->dataset);
    if (!err)
        news->first = mark->position < news->dataset->rows ? mark->position : news->dataset->rows;
    trib_data_source_digest(config, news->source);
    return err;
}

void trib_data_news_take(struct trib_data_news *news, const struct trib_data_config *config,
                         struct trib_dataset *dataset, const struct trib_data_mark *mark)
{
    const struct trib_data_mark own = own_mark(config, mark);
    *news = (struct trib_data_news){.dataset = dataset, .end = dataset->rows};
    trib_data_source_digest(config, news->source);
    while (news->first < dataset->rows && dataset->positions[news->first] <= own.position)
        news->first++;
}

// A store whose numbers have not come as far as the mark was made anew.
static void check_store(const struct trib_data_config *config, struct trib_data_mark *mark)
{
    struct trib_row_store_state state;
    if (mark->position == 0 || trib_row_store_look(config->store, &state) ||
        state.next > mark->position)
        return;
    TRIB_WARN("id=data-changed %s: its rows end at %" PRIu64
              ", and were used up to position %" PRIu64
              ": it was made anew, and all of its rows count as new",
              config->store, state.next - 1, mark->position);
    *mark = (struct trib_data_mark){.position = 0};
}

enum trib_err trib_data_news_open(const struct trib_data_config *config,
                                  const struct trib_data_mark *mark, bool wants_used,
                                  uint64_t now_ms, struct trib_data_news *ret_news)
{
    struct trib_data_news news = {.dataset = NULL};
    struct trib_dataset *dataset;
    enum trib_err err;
    assert(config->format != TRIB_DATA_SQLITE);
    if (config->format == TRIB_DATA_STORE) {
        struct trib_data_mark own = own_mark(config, mark);
        check_store(config, &own);
        err = trib_data_read_store(config, wants_used ? 0 : own.position, now_ms, config->scale,
                                   &dataset);
        if (!err)
            trib_data_news_take(&news, config, dataset, &own);
    } else if (config->format == TRIB_DATA_IDX) {
        const struct trib_data_mark own = own_mark(config, mark);
        err = open_items(config, &own, &news);
    } else {
        err = open_text(config, mark, &news);
    }
    if (err) {
        trib_data_news_fini(&news);
        return err;
    }
    news.end = news.dataset->rows;
    *ret_news = news;
    return TRIB_OK;
}

void trib_data_news_fini(struct trib_data_news *news)
{
    trib_dataset_free(news->dataset);
    trib_buf_fini(&news->text);
    *news = (struct trib_data_news){.dataset = NULL};
}

void trib_data_news_hide(struct trib_data_news *news, uint64_t rows_per_round,
                         uint64_t round_number)
{
    uint64_t rows;
    if (rows_per_round == 0 || __builtin_mul_overflow(rows_per_round, round_number, &rows) ||
        rows >= news->end)
        return;
    news->end = rows;
    if (news->first > rows)
        news->first = rows;
}

struct trib_samples trib_data_news_samples(const struct trib_data_news *news)
{
    struct trib_samples samples = trib_dataset_samples(news->dataset);
    samples.x += news->first * samples.inputs;
    samples.y += news->first;
    if (samples.weights)
        samples.weights += news->first;
    if (samples.ids)
        samples.ids += news->first;
    samples.rows = trib_data_news_count(news);
    return samples;
}

size_t trib_data_news_count(const struct trib_data_news *news)
{
    return news->end - news->first;
}

// Rows of features come from rows before the `end` of values; how many of them before this one?
static size_t features_before(const struct trib_dataset *values, const struct trib_dataset *made,
                              size_t row)
{
    size_t count = 0;
    if (row == values->rows)
        return made->rows;
    while (count < made->rows &&
           (values->positions ? made->positions[count] < values->positions[row]
                              : values->lines && made->lines[count] < values->lines[row]))
        count++;
    return count;
}

void trib_data_news_replace(struct trib_data_news *news, struct trib_dataset *features,
                            bool is_borrowed)
{
    struct trib_dataset *values = news->dataset;
    if (news->end > news->first) {
        trib_data_news_mark(news, news->end - news->first, &news->whole);
        news->has_whole = true;
    }
    news->first = features_before(values, features, news->first);
    news->end = features->rows;
    news->dataset = features;
    if (!is_borrowed)
        trib_dataset_free(values);
}

void trib_data_news_mark(const struct trib_data_news *news, size_t count,
                         struct trib_data_mark *ret_mark)
{
    const struct trib_dataset *d = news->dataset;
    const size_t next = news->first + count;
    struct trib_data_mark mark = {.position = next};
    memcpy(mark.digest, news->source, sizeof(mark.digest));
    assert(count >= 1 && next <= news->end);
    if (news->has_whole && next == news->end) {
        mark = news->whole; // behind rows that became no feature, too
    } else if (d->positions) {
        mark.position = d->positions[next - 1];
    } else if (news->text.data) {
        // A record may have several lines: it ends before the next one begins.
        size_t size = news->text.size;
        if (next < d->rows) {
            mark.position = d->lines[next] - 1;
            size = size_of_lines(&news->text, mark.position);
        } else {
            mark.position = 0;
            for (size_t i = 0; i < size; i++)
                mark.position += news->text.data[i] == '\n';
        }
        trib_digest(news->text.data, size, mark.digest);
    }
    *ret_mark = mark;
}
