#include "coordinator/ctl/series.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/args.h"
#include "common/base/clock.h"
#include "common/base/conf.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "coordinator/ctl/call.h"
#include "coordinator/ctl/set_path.h"

enum {
    TIMEOUT_MS = 30000,
    POLL_MIN_MS = 20, // a job of a simulation takes that long, one of a fleet hours
    POLL_MAX_MS = 2000,
    AWAY_MS = 120000, // how long a coordinator may be gone
    NAME_SIZE = 64,
};

int trib_series_open(struct trib_series *series)
{
    char folder[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_file_read(series->path, TRIB_CONF_FILE_MAX, &series->file);
    if (!err)
        err = trib_path_dir(folder, series->path);
    if (err)
        return TRIB_EXIT_USAGE;
    series->folder = realpath(folder, NULL); // the coordinator has another working directory
    return series->folder ? TRIB_EXIT_OK : TRIB_EXIT_USAGE;
}

void trib_series_close(struct trib_series *series)
{
    trib_buf_fini(&series->file);
    free(series->folder);
    series->folder = NULL;
}

void trib_series_identify(struct trib_series *series, const char *const *texts, size_t count)
{
    struct trib_hash hash;
    uint8_t digest[32];
    trib_hash_init(&hash, NULL, 0, sizeof(digest));
    trib_hash_update(&hash, series->file.data, series->file.size);
    for (size_t i = 0; i < count; i++)
        trib_hash_update(&hash, texts[i], strlen(texts[i]) + 1);
    trib_hash_final(&hash, digest, sizeof(digest));
    for (size_t i = 0; i < 4; i++)
        (void)snprintf(series->id + 2 * i, 3, "%02x", digest[i]);
}

void trib_series_value_of(const struct trib_series *series, const char *section, const char *key,
                          char *ret_value, size_t size)
{
    trib_conf_find((const char *)series->file.data, series->file.size, section, key, ret_value,
                   size);
}

// ---- Asking

// What the answer refuses is the caller's to tell.
static int ask(const struct trib_series *series, const struct trib_admin_request *request,
               struct trib_admin_reply *ret_reply)
{
    uint64_t gone_ms = 0;
    for (;;) {
        enum trib_err err = trib_ctl_call(series->dir, request, TIMEOUT_MS, ret_reply);
        const uint64_t now_ms = trib_clock_mono_ms();
        if (!err)
            return (int)ret_reply->exit_code;
        const bool may_come_back = err == TRIB_ERR_CONNECT || err == TRIB_ERR_PROTO;
        if (gone_ms == 0)
            gone_ms = now_ms;
        if (!may_come_back || now_ms > gone_ms + AWAY_MS) {
            (void)fprintf(
                stderr,
                "%s: the coordinator in %s does not answer (%s); the same command goes on "
                "with the series\n",
                series->command, series->dir, trib_err_text(err));
            *ret_reply = (struct trib_admin_reply){.exit_code = 0};
            return TRIB_EXIT_PEER;
        }
        trib_clock_sleep_ms(POLL_MIN_MS * 10);
    }
}

int trib_series_ask(const struct trib_series *series, const struct trib_admin_request *request,
                    struct trib_admin_reply *ret_reply)
{
    int code = ask(series, request, ret_reply);
    if (code && ret_reply->exit_code)
        (void)fprintf(stderr, "%s: %s\n", series->command,
                      ret_reply->error ? ret_reply->error : "refused");
    return code;
}

static void take_job(const struct trib_admin_row *row, struct trib_series_job *job)
{
    job->id = trib_admin_find_number(row, "job");
    (void)snprintf(job->state, sizeof(job->state), "%s", trib_admin_find_text(row, "state"));
    (void)snprintf(job->reason, sizeof(job->reason), "%s", trib_admin_find_text(row, "reason"));
}

// The newest job of this name; id 0: there is none.
static int find(const struct trib_series *series, const char *name, struct trib_series_job *ret_job)
{
    const struct trib_admin_request request = {.word_count = 2, .words = {"jobs", "ls"}};
    struct trib_admin_reply reply;
    int code = trib_series_ask(series, &request, &reply);
    *ret_job = (struct trib_series_job){.id = 0};
    for (size_t i = 0; i < reply.row_count && !code; i++) {
        if (strcmp(trib_admin_find_text(&reply.rows[i], "name"), name) == 0)
            take_job(&reply.rows[i], ret_job);
    }
    trib_admin_reply_fini(&reply);
    return code;
}

static int submit(const struct trib_series *series, const char *name, const char *const *sets,
                  size_t set_count, struct trib_series_job *ret_job)
{
    char jobs[24];
    struct trib_set_paths paths = {.count = 0};
    struct trib_admin_reply reply;
    struct trib_admin_request request = {
        .word_count = 6,
        .words = {"jobs", "submit", "--name", name, "--series", jobs},
        .body_name = series->path,
        .body_dir = series->folder,
        .body = series->file.data,
        .body_size = series->file.size};
    (void)snprintf(jobs, sizeof(jobs), "%" PRIu64, series->jobs);
    for (size_t i = 0; i < set_count; i++) {
        request.words[request.word_count++] = "--set";
        request.words[request.word_count++] = trib_set_path(&paths, sets[i]);
    }
    if (series->accepts_drowned)
        request.words[request.word_count++] = "--accept-drowned-signal";
    int code = trib_series_ask(series, &request, &reply);
    trib_set_paths_fini(&paths);
    *ret_job = (struct trib_series_job){.id = 0};
    if (!code && reply.row_count > 0) {
        ret_job->id = trib_admin_find_number(&reply.rows[0], "job");
        (void)snprintf(ret_job->state, sizeof(ret_job->state), "active");
    }
    trib_admin_reply_fini(&reply);
    return code;
}

static bool is_over(const struct trib_series_job *job)
{
    return strcmp(job->state, "active") != 0 && strcmp(job->state, "paused") != 0;
}

static int wait_for(const struct trib_series *series, struct trib_series_job *job)
{
    char number[24];
    unsigned pause_ms = POLL_MIN_MS;
    const struct trib_admin_request request = {.word_count = 3, .words = {"jobs", "show", number}};
    (void)snprintf(number, sizeof(number), "%" PRIu64, job->id);
    while (!is_over(job)) {
        struct trib_admin_reply reply;
        trib_clock_sleep_ms(pause_ms);
        pause_ms = pause_ms * 3 / 2 < POLL_MAX_MS ? pause_ms * 3 / 2 : POLL_MAX_MS;
        int code = trib_series_ask(series, &request, &reply);
        if (!code && reply.row_count > 0)
            take_job(&reply.rows[0], job);
        trib_admin_reply_fini(&reply);
        if (code)
            return code;
    }
    return TRIB_EXIT_OK;
}

int trib_series_run(const struct trib_series *series, uint64_t number, const char *word,
                    const char *const *sets, size_t set_count, struct trib_series_job *ret_job)
{
    char name[NAME_SIZE];
    if (word)
        (void)snprintf(name, sizeof(name), "%s-%s-%s", series->command, series->id, word);
    else
        (void)snprintf(name, sizeof(name), "%s-%s-%" PRIu64, series->command, series->id, number);
    int code = find(series, name, ret_job);
    if (!code && ret_job->id == 0)
        code = submit(series, name, sets, set_count, ret_job);
    if (!code)
        code = wait_for(series, ret_job);
    if (!code && strcmp(ret_job->state, "cancelled") == 0) {
        (void)fprintf(stderr,
                      "%s: job %" PRIu64 " was cancelled, and with it the series; --run N+1 begins "
                      "another one\n",
                      series->command, ret_job->id);
        return TRIB_EXIT_STOPPED;
    }
    return code;
}

// ---- What came of a job

// Every round of the job that was committed, page by page.
static int each_round(const struct trib_series *series, uint64_t job,
                      void (*take)(void *user, const struct trib_admin_row *row), void *user)
{
    char number[24], after[24];
    const struct trib_admin_request request = {
        .word_count = 6, .words = {"rounds", "ls", "--job", number, "--after", after}};
    uint64_t last = 0;
    (void)snprintf(number, sizeof(number), "%" PRIu64, job);
    for (size_t count = 1; count > 0;) {
        struct trib_admin_reply reply;
        (void)snprintf(after, sizeof(after), "%" PRIu64, last);
        int code = trib_series_ask(series, &request, &reply);
        count = code ? 0 : reply.row_count;
        for (size_t i = 0; i < count; i++) {
            last = trib_admin_find_number(&reply.rows[i], "id");
            if (strcmp(trib_admin_find_text(&reply.rows[i], "state"), "committed") == 0)
                take(user, &reply.rows[i]);
        }
        trib_admin_reply_fini(&reply);
        if (code)
            return code;
    }
    return TRIB_EXIT_OK;
}

static void take_evaluation(void *user, const struct trib_admin_row *row)
{
    uint64_t *last = user;
    if (strcmp(trib_admin_find_text(row, "kind"), "evaluation") == 0)
        *last = trib_admin_find_number(row, "id");
}

int trib_series_measured(const struct trib_series *series, uint64_t job,
                         struct trib_series_value *value)
{
    char number[24];
    uint64_t round = 0;
    struct trib_admin_reply reply;
    const struct trib_admin_request request = {.word_count = 3,
                                               .words = {"rounds", "measured", number}};
    value->value = (double)NAN;
    int code = each_round(series, job, take_evaluation, &round);
    if (code || round == 0)
        return code;
    (void)snprintf(number, sizeof(number), "%" PRIu64, round);
    code = ask(series, &request, &reply);
    const bool has_none = code && reply.exit_code; // no device kept rows aside, or noise ate them
    for (size_t i = 0; i < reply.row_count && !code; i++) {
        const char *name = trib_admin_find_text(&reply.rows[i], "metric");
        if (value->metric[0] && strcmp(value->metric, name) != 0)
            continue;
        (void)snprintf(value->metric, sizeof(value->metric), "%s", name);
        value->value = trib_admin_find_real(&reply.rows[i], "value");
        break;
    }
    trib_admin_reply_fini(&reply);
    return has_none ? TRIB_EXIT_OK : code;
}

static void take_held_out(void *user, const struct trib_admin_row *row)
{
    struct trib_series_value *value = user;
    const double now = trib_admin_find_real(row, "value");
    value->version = trib_admin_find_number(row, "version");
    if (isnan(now))
        return;
    (void)snprintf(value->metric, sizeof(value->metric), "%s", trib_admin_find_text(row, "metric"));
    value->value = now;
}

int trib_series_held_out(const struct trib_series *series, uint64_t job,
                         struct trib_series_value *ret_value)
{
    *ret_value = (struct trib_series_value){.value = (double)NAN};
    return each_round(series, job, take_held_out, ret_value);
}
