#include "simulations/report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "simulations/svg.h"

#define TRIB_LOG_MODULE "report"

enum {
    SVG_SIZE_TEXT = 256,
    BAR_CELLS = 40,
};

struct trib_report {
    struct trib_report_options options;
    FILE *people; // of the table; NULL when quiet
    bool is_terminal;
    bool has_color;
    bool has_header;
    bool has_bar; // the cursor stands behind one
    FILE *csv;
    FILE *jsonl;
    char svg_path[TRIB_PATH_MAX + 1];
    char metric[24]; // of the rounds so far, "" if none was evaluated
    double last;     // value of the round before, NaN if none
    double best;     // NaN if none
    uint64_t best_round;
    char baseline[16]; // "" if none
    double baseline_value;
    struct trib_curve curve;
    struct trib_svg_point *points; // (count of rounds so far), owned
    size_t count, capacity;
};

static FILE *open_file(const char *dir, const char *name)
{
    char path[TRIB_PATH_MAX + 1];
    if (trib_path_join(path, dir, name))
        return NULL;
    FILE *file = fopen(path, "we");
    if (!file)
        TRIB_ERROR("%s: %s", path, strerror(errno));
    return file;
}

enum trib_err trib_report_create(const struct trib_report_options *options,
                                 struct trib_report **ret_report)
{
    const char *no_color = getenv("NO_COLOR");
    struct trib_report *report = trib_alloc(sizeof(*report));
    if (!report)
        return TRIB_ERR_NOMEM;
    report->options = *options;
    report->last = report->best = (double)NAN;
    trib_curve_init(&report->curve);
    if (!options->quiet) {
        report->people = options->json ? stderr : stdout;
        report->is_terminal = isatty(fileno(report->people)) == 1;
        report->has_color = report->is_terminal && !(no_color && *no_color);
    }
    enum trib_err err = trib_path_join(report->svg_path, options->dir, "report.svg");
    if (err)
        goto failed;
    err = TRIB_ERR_IO;
    report->csv = open_file(options->dir, "rounds.csv");
    report->jsonl = report->csv ? open_file(options->dir, "rounds.jsonl") : NULL;
    if (!report->jsonl)
        goto failed;
    (void)fputs("round,version,asked,accepted,refused,loss,metric,value,epsilon_pure,epsilon,delta,"
                "bytes_up,bytes_down,seconds,state,reason\n",
                report->csv);
    *ret_report = report;
    return TRIB_OK;

failed:
    trib_report_destroy(report);
    return err;
}

void trib_report_destroy(struct trib_report *report)
{
    if (!report)
        return;
    if (report->csv)
        (void)fclose(report->csv);
    if (report->jsonl)
        (void)fclose(report->jsonl);
    trib_curve_fini(&report->curve);
    free(report->points);
    free(report);
}

// ---- For people

static void erase_bar(struct trib_report *report)
{
    if (report->has_bar)
        (void)fputs("\r\033[K", report->people);
    report->has_bar = false;
}

static void draw_bar(struct trib_report *report, uint64_t round)
{
    char cells[BAR_CELLS + 1];
    const uint64_t rounds = report->options.rounds;
    if (!report->is_terminal || round >= rounds)
        return;
    const size_t full = (size_t)(round * BAR_CELLS / rounds);
    memset(cells, '.', BAR_CELLS);
    memset(cells, '#', full);
    cells[BAR_CELLS] = '\0';
    (void)fprintf(report->people, "[%s] %" PRIu64 " of %" PRIu64, cells, round, rounds);
    report->has_bar = true;
}

void trib_report_note(struct trib_report *report, const char *format, ...)
{
    if (!report->people)
        return;
    erase_bar(report);
    va_list args;
    va_start(args, format);
    (void)vfprintf(report->people, format, args);
    va_end(args);
    (void)fputc('\n', report->people);
    (void)fflush(report->people);
}

enum {
    CELL_SIZE = 40
};

static void real_cell(double value, const char *format_sign, char cell[static CELL_SIZE])
{
    if (!isfinite(value))
        (void)snprintf(cell, CELL_SIZE, "-");
    else if (fabs(value) >= 1e5)
        (void)snprintf(cell, CELL_SIZE, "%.2e", value);
    else
        (void)snprintf(cell, CELL_SIZE, "%s%.4f", value > 0 ? format_sign : "", value);
}

static void bytes_cell(uint64_t bytes, char cell[static CELL_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit < sizeof(units) / sizeof(units[0]) - 1; unit++)
        value /= 1024;
    (void)snprintf(cell, CELL_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static void epsilon_cell(double epsilon, char cell[static CELL_SIZE])
{
    if (isfinite(epsilon))
        (void)snprintf(cell, CELL_SIZE, "%.2f", epsilon > 0 ? epsilon : 0.0); // sums round
    else
        (void)snprintf(cell, CELL_SIZE, "-");
}

static void print_header(struct trib_report *report)
{
    const char *bold = report->has_color ? "\033[1m" : "";
    const char *plain = report->has_color ? "\033[0m" : "";
    const char *metric = report->metric[0] ? report->metric : "metric";
    (void)fprintf(report->people, "%s%5s  %7s  %14s  %8s  %9s  %8s  %s  %s  %9s  %9s  %7s%s\n",
                  bold, "round", "version", "asked/acc/ref", "loss", metric, "change", "ε spent",
                  " ε left", // two bytes a letter, so no widths
                  "up", "down", "seconds", plain);
    report->has_header = true;
}

// Green where the metric got better, red where it got worse.
static const char *change_color(const struct trib_report *report, double change)
{
    if (!report->has_color || !isfinite(change) || change == 0)
        return "";
    return (change > 0) == report->options.higher_is_better ? "\033[32m" : "\033[31m";
}

// Of a version that is there already.
static bool is_measurement(const struct trib_round_result *result)
{
    return strcmp(result->kind, TRIB_RESULT_EVALUATION) == 0;
}

static void print_round(struct trib_report *report, const struct trib_round_result *result)
{
    char devices[64], loss[CELL_SIZE], value[CELL_SIZE], change[CELL_SIZE];
    char spent[CELL_SIZE], left[CELL_SIZE], up[CELL_SIZE], down[CELL_SIZE];
    const double step = result->value - report->last;

    if (!report->people)
        return;
    erase_bar(report);
    if (!report->has_header)
        print_header(report);
    (void)snprintf(devices, sizeof(devices), "%" PRIu64 "/%" PRIu64 "/%" PRIu64, result->asked,
                   result->accepted, result->refused);
    real_cell(result->loss, "", loss);
    real_cell(result->value, "", value);
    real_cell(step, "+", change);
    epsilon_cell(result->epsilon, spent);
    epsilon_cell(report->options.epsilon_total - result->epsilon, left);
    bytes_cell(result->bytes_up, up);
    bytes_cell(result->bytes_down, down);
    (void)fprintf(report->people,
                  "%5" PRIu64 "  %7" PRIu64 "  %14s  %8s  %9s  %s%8s%s  %7s  %7s  %9s  %9s  %7.3f",
                  result->round, result->version, devices, loss, value, change_color(report, step),
                  change, report->has_color ? "\033[0m" : "", spent, left, up, down,
                  result->seconds);
    if (result->reason[0])
        (void)fprintf(report->people, "  %s: %s", result->state, result->reason);
    else if (is_measurement(result))
        (void)fprintf(report->people, "  measured by devices");
    (void)fputc('\n', report->people);
    draw_bar(report, result->round);
    (void)fflush(report->people);
}

// ---- For programs

static void round_json(const struct trib_round_result *result, struct trib_buf *buf)
{
    trib_json_open(buf, NULL, '{');
    trib_json_text(buf, "event", "round");
    trib_json_uint(buf, "round", result->round);
    trib_json_uint(buf, "version", result->version);
    trib_json_uint(buf, "asked", result->asked);
    trib_json_uint(buf, "accepted", result->accepted);
    trib_json_uint(buf, "refused", result->refused);
    trib_json_real(buf, "loss", result->loss);
    trib_json_text(buf, "metric", result->metric[0] ? result->metric : NULL);
    trib_json_real(buf, "value", result->value);
    if (result->metrics[0])
        trib_json_raw(buf, "metrics", result->metrics);
    else
        trib_json_null(buf, "metrics");
    trib_json_real(buf, "epsilon_pure", result->epsilon_pure);
    trib_json_real(buf, "epsilon", result->epsilon);
    trib_json_real(buf, "delta", result->delta);
    trib_json_uint(buf, "bytes_up", result->bytes_up);
    trib_json_uint(buf, "bytes_down", result->bytes_down);
    trib_json_real(buf, "seconds", result->seconds);
    trib_json_text(buf, "state", result->state);
    if (result->reason[0])
        trib_json_text(buf, "reason", result->reason);
    if (result->privacy[0])
        trib_json_raw(buf, "privacy", result->privacy);
    if (result->kind[0] && strcmp(result->kind, "train") != 0)
        trib_json_text(buf, "kind", result->kind);
    if (result->tally[0])
        trib_json_raw(buf, is_measurement(result) ? "device_metrics" : "tally", result->tally);
    trib_json_close(buf, '}');
    trib_buf_text(buf, "\n");
}

// An event goes to rounds.jsonl when it is a round's, and to stdout when that is wanted.
static enum trib_err emit(struct trib_report *report, const struct trib_buf *line, bool is_round)
{
    if (line->failed)
        return TRIB_ERR_NOMEM;
    bool ok = !is_round || (fwrite(line->data, 1, line->size, report->jsonl) == line->size &&
                            fflush(report->jsonl) == 0);
    if (report->options.json)
        ok = fwrite(line->data, 1, line->size, stdout) == line->size && fflush(stdout) == 0 && ok;
    if (!ok)
        TRIB_ERROR("%s: %s", is_round ? "rounds.jsonl" : "stdout", strerror(errno));
    return ok ? TRIB_OK : TRIB_ERR_IO;
}

static void csv_real(struct trib_buf *buf, double value)
{
    char text[TRIB_REAL_TEXT_SIZE];
    trib_real_text(value, text);
    trib_buf_printf(buf, "%s,", isfinite(value) ? text : "");
}

static enum trib_err write_csv(struct trib_report *report, const struct trib_round_result *result)
{
    struct trib_buf buf = {0};
    enum trib_err err = TRIB_ERR_NOMEM;
    trib_buf_printf(&buf, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
                    result->round, result->version, result->asked, result->accepted,
                    result->refused);
    csv_real(&buf, result->loss);
    trib_buf_printf(&buf, "%s,", result->metric);
    csv_real(&buf, result->value);
    csv_real(&buf, result->epsilon_pure);
    csv_real(&buf, result->epsilon);
    csv_real(&buf, result->delta);
    trib_buf_printf(&buf, "%" PRIu64 ",%" PRIu64 ",", result->bytes_up, result->bytes_down);
    csv_real(&buf, result->seconds);
    trib_buf_printf(&buf, "%s,%s\n", result->state, result->reason);
    if (!buf.failed) {
        bool ok = fwrite(buf.data, 1, buf.size, report->csv) == buf.size && !fflush(report->csv);
        err = ok ? TRIB_OK : TRIB_ERR_IO;
        if (!ok)
            TRIB_ERROR("rounds.csv: %s", strerror(errno));
    }
    trib_buf_fini(&buf);
    return err;
}

// ---- Memory of the run

static bool is_better(const struct trib_report *report, double value)
{
    if (!isfinite(value) || !isfinite(report->best))
        return isfinite(value);
    return report->options.higher_is_better ? value > report->best : value < report->best;
}

static enum trib_err remember(struct trib_report *report, const struct trib_round_result *result)
{
    if (report->count == report->capacity) {
        size_t capacity = report->capacity ? 2 * report->capacity : 64;
        struct trib_svg_point *points = trib_alloc_array(capacity, sizeof(*points));
        if (!points)
            return TRIB_ERR_NOMEM;
        if (report->count)
            memcpy(points, report->points, report->count * sizeof(*points));
        free(report->points);
        report->points = points;
        report->capacity = capacity;
    }
    report->points[report->count++] = (struct trib_svg_point){
        .round = (double)result->round,
        .value = result->value,
        .loss = result->loss,
        .epsilon = result->epsilon,
        .is_abandoned = strcmp(result->state, "abandoned") == 0,
    };
    if (isfinite(result->value))
        report->last = result->value;
    if (is_better(report, result->value)) {
        report->best = result->value;
        report->best_round = result->round;
    }
    return TRIB_OK;
}

enum trib_err trib_report_round(struct trib_report *report, const struct trib_round_result *result)
{
    struct trib_buf line = {0};
    if (result->metric[0])
        (void)snprintf(report->metric, sizeof(report->metric), "%s", result->metric);
    if (result->metrics[0]) {
        trib_result_text(result->metrics, "baseline", "name", report->baseline,
                         sizeof(report->baseline));
        report->baseline_value = trib_result_member(result->metrics, "baseline", "value");
    }
    print_round(report, result);
    round_json(result, &line);
    enum trib_err err = emit(report, &line, true);
    trib_buf_fini(&line);
    if (!err)
        err = write_csv(report, result);
    if (!err)
        err = trib_curve_observe(&report->curve, result);
    if (!err && !is_measurement(result))
        err = remember(report, result);
    return err;
}

bool trib_report_best(const struct trib_report *report, double *ret_value, uint64_t *ret_round)
{
    if (!isfinite(report->best))
        return false;
    *ret_value = report->best;
    *ret_round = report->best_round;
    return true;
}

bool trib_report_baseline(const struct trib_report *report, double value, const char **ret_name,
                          double *ret_baseline, double *ret_lift)
{
    if (!report->baseline[0])
        return false;
    *ret_name = report->baseline;
    *ret_baseline = report->baseline_value;
    *ret_lift = report->options.higher_is_better ? value - report->baseline_value
                                                 : report->baseline_value - value;
    return true;
}

enum trib_curve_shape trib_report_curve(const struct trib_report *report)
{
    return trib_curve_judge(&report->curve);
}

static void put_baseline(const struct trib_report *report, double value, struct trib_buf *line)
{
    const char *name;
    double baseline, lift;
    if (!trib_report_baseline(report, value, &name, &baseline, &lift)) {
        trib_json_null(line, "baseline");
        return;
    }
    trib_json_open(line, "baseline", '{');
    trib_json_text(line, "name", name);
    trib_json_real(line, "value", baseline);
    trib_json_real(line, "lift", lift);
    trib_json_close(line, '}');
}

static enum trib_err write_svg(struct trib_report *report, const struct trib_report_end *end)
{
    const struct trib_report_options *options = &report->options;
    char facts[SVG_SIZE_TEXT];
    char model[SVG_SIZE_TEXT];
    struct trib_buf buf = {0};

    (void)snprintf(facts, sizeof(facts), "%" PRIu64 " devices, %zu round%s, privacy %s",
                   options->clients, report->count, report->count == 1 ? "" : "s", options->mode);
    (void)snprintf(model, sizeof(model), strlen(options->model) > 90 ? "%.90s …" : "%.90s",
                   options->model);
    const struct trib_svg_chart chart = {
        .title = options->name,
        .facts = facts,
        .model = model,
        .metric = report->metric[0] ? report->metric : "metric",
        .averaged = end->averaged,
        .final = end->value,
        .best = report->best,
        .best_round = (double)report->best_round,
        .points = report->points,
        .count = report->count,
    };
    trib_svg_draw(&chart, &buf);
    enum trib_err err =
        buf.failed ? TRIB_ERR_NOMEM : trib_file_write(report->svg_path, buf.data, buf.size, 0644);
    trib_buf_fini(&buf);
    return err;
}

enum trib_err trib_report_finish(struct trib_report *report, const struct trib_report_end *end)
{
    struct trib_buf line = {0};
    if (report->people)
        erase_bar(report);
    if (is_better(report, end->value) && report->count > 0) { // of averaged versions
        report->best = end->value;
        report->best_round = (uint64_t)report->points[report->count - 1].round;
    }
    trib_json_open(&line, NULL, '{');
    trib_json_text(&line, "event", "done");
    trib_json_uint(&line, "rounds", report->count);
    trib_json_uint(&line, "version", end->version);
    trib_json_text(&line, "metric", end->metric);
    trib_json_real(&line, "value", end->value);
    trib_json_real(&line, "best", report->best);
    if (isfinite(report->best))
        trib_json_uint(&line, "best_round", report->best_round);
    else
        trib_json_null(&line, "best_round");
    trib_json_text(&line, "model", end->model);
    trib_json_text(&line, "model_digest", end->digest);
    trib_json_real(&line, "seconds", end->seconds);
    trib_json_uint(&line, "averaged", end->averaged);
    put_baseline(report, end->value, &line);
    trib_json_bool(&line, "refused", end->is_refused);
    trib_json_text(&line, "diagnosis", trib_curve_text(trib_report_curve(report)));
    trib_json_close(&line, '}');
    trib_buf_text(&line, "\n");
    enum trib_err err = emit(report, &line, false);
    trib_buf_fini(&line);
    return err ? err : write_svg(report, end);
}
