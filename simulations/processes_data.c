// What the programs of a run read: rows, schemas, client.ini and the job.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/data/csv.h"
#include "common/data/idx.h"
#include "common/privacy/mode.h"
#include "simulations/lines.h"
#include "simulations/processes_parts.h"

static enum trib_err write_rows(const struct trib_processes *p, const struct trib_dataset *dataset,
                                const uint32_t *rows, size_t count, const char *base)
{
    char path[TRIB_PROCESSES_PATH_SIZE];
    char labels[TRIB_PROCESSES_PATH_SIZE];
    bool is_idx = p->scenario->data.format == TRIB_DATA_IDX;
    int size = snprintf(path, sizeof(path), "%s.%s", base, is_idx ? "idx" : "csv");
    int more = snprintf(labels, sizeof(labels), "%s.labels.idx", base);
    if (size > TRIB_PATH_MAX || more > TRIB_PATH_MAX)
        return TRIB_ERR_LIMIT;
    return is_idx ? trib_idx_write(path, labels, dataset, rows, count)
                  : trib_csv_write(path, dataset, rows, count);
}

static uint32_t *row_numbers(size_t from, size_t count)
{
    uint32_t *rows = trib_alloc_array(count, sizeof(*rows));
    for (size_t i = 0; rows && i < count; i++)
        rows[i] = (uint32_t)(from + i);
    return rows;
}

static enum trib_err write_text(const char *dir, const char *name, const struct trib_buf *text)
{
    char path[TRIB_PROCESSES_PATH_SIZE];
    enum trib_err err = text->failed ? TRIB_ERR_NOMEM : trib_path_join(path, dir, name);
    return err ? err : trib_file_write(path, text->data, text->size, 0600);
}

static void put_data_section(const struct trib_processes *p, const char *kind,
                             struct trib_buf *text)
{
    char scale[TRIB_REAL_TEXT_SIZE];
    bool is_idx = p->scenario->data.format == TRIB_DATA_IDX;
    trib_real_text(p->scenario->data.scale, scale);
    trib_buf_printf(text, "[data]\nformat = %s\nscale = %s\n%s = %s.%s\n", is_idx ? "idx" : "csv",
                    scale, kind, kind, is_idx ? "idx" : "csv");
    if (strcmp(kind, "train") == 0)
        trib_buf_printf(text, "rows_per_round = %" PRIu64 "\n", p->scenario->data.rows_per_round);
    if (is_idx)
        trib_buf_printf(text, "%s_labels = %s.labels.idx\n", kind, kind);
}

// [client.policy] as the scenario has it.
static enum trib_err put_policy(const struct trib_policy *policy, struct trib_buf *text)
{
    struct trib_conf *conf = trib_alloc(sizeof(*conf));
    struct trib_policy written;
    char *section = NULL;
    size_t size = 0;
    if (!conf)
        return TRIB_ERR_NOMEM;
    trib_conf_init(conf);
    trib_policy_conf_add(conf, &written);
    written = *policy;
    FILE *file = open_memstream(&section, &size);
    if (file) {
        trib_conf_write(conf, file);
        (void)fclose(file);
        trib_buf_text(text, section ? section : "");
    }
    free(section);
    free(conf);
    return file && section ? TRIB_OK : TRIB_ERR_NOMEM;
}

// A CSV file with weights wants a schema that says which column they are.
static enum trib_err write_weights_schema(const struct trib_dataset *train, const char *dir,
                                          struct trib_buf *data_section)
{
    struct trib_buf text = {0};
    for (size_t i = 0; i < train->inputs; i++)
        trib_buf_printf(&text, "[column f%zu]\ntype = real\n", i);
    trib_buf_text(&text, "[column weight]\ntype = real\nrole = weight\n");
    trib_buf_text(&text, "[column label]\ntype = real\nrole = label\n");
    enum trib_err err = write_text(dir, "schema.ini", &text);
    trib_buf_fini(&text);
    trib_buf_text(data_section, "schema = schema.ini\n");
    return err;
}

// With a pipeline the programs get the rows as they are written and the schema, and the job the
// text.
enum trib_err trib_processes_write_pipeline(const struct trib_processes *p)
{
    struct trib_buf schema = {0};
    struct trib_buf prepare = {0};
    if (!p->scenario->prepare)
        return TRIB_OK;
    enum trib_err err = trib_file_read(p->scenario->data.schema, TRIB_CONF_FILE_MAX, &schema);
    if (!err)
        err = write_text(p->state_dir, "schema.ini", &schema);
    trib_prepare_write(p->scenario->prepare, &prepare);
    if (!err)
        err = write_text(p->state_dir, "prepare.ini", &prepare);
    trib_buf_fini(&prepare);
    trib_buf_fini(&schema);
    return err;
}

static bool is_json_lines(const struct trib_processes *p)
{
    return p->scenario->data.format == TRIB_DATA_JSON_LINES;
}

// `from`: whose rows they are.
static enum trib_err write_values(const struct trib_processes *p, const struct trib_dataset *from,
                                  size_t first, size_t count, const char *base)
{
    char path[TRIB_PROCESSES_PATH_SIZE];
    struct trib_lines *lines;
    const struct trib_data_config *data = &p->scenario->data;
    if (snprintf(path, sizeof(path), "%s.rows", base) > TRIB_PATH_MAX)
        return TRIB_ERR_LIMIT;
    enum trib_err err = trib_lines_open(from->name, p->scenario->schema, is_json_lines(p),
                                        data->header == TRIB_CSV_HEADER_YES, &lines);
    if (err)
        return err;
    err = trib_lines_write(lines, from->lines + first, count, path);
    trib_lines_close(lines);
    return err;
}

static void put_values_section(const struct trib_processes *p, const char *kind,
                               struct trib_buf *text)
{
    const struct trib_data_config *data = &p->scenario->data;
    trib_buf_printf(text,
                    "[data]\nformat = %s\nheader = %s\nschema = %s/schema.ini\n%s = %s.rows\n",
                    is_json_lines(p) ? "jsonl" : "csv",
                    data->header == TRIB_CSV_HEADER_YES ? "yes" : "no", p->state_dir, kind, kind);
    if (strcmp(kind, "test") == 0)
        trib_buf_printf(text, "prepare = %s/prepare.ini\n", p->state_dir);
    else
        trib_buf_printf(text, "pipeline = job\nrows_per_round = %" PRIu64 "\n",
                        data->rows_per_round);
    if (data->join[0]) { // the rows are as they are written, and are joined where they are read
        char tolerance[TRIB_REAL_TEXT_SIZE];
        trib_real_text(data->join_tolerance_s, tolerance);
        trib_buf_printf(text,
                        "join = %s\njoin_on = %s\njoin_time = %s\njoin_tolerance_s = %s\n"
                        "join_direction = %s\n",
                        data->join, data->join_on, data->join_time, tolerance,
                        data->join_direction == 1 ? "nearest" : "before");
    }
}

static enum trib_err write_features(const struct trib_processes *p, size_t device, const char *dir,
                                    const char *base, struct trib_buf *text)
{
    const struct trib_partition *partition = &p->scenario->partition;
    const size_t count = trib_partition_size(partition, device);
    uint32_t *rows = row_numbers(partition->starts[device], count);
    enum trib_err err =
        rows ? write_rows(p, p->scenario->train, rows, count, base) : TRIB_ERR_NOMEM;
    free(rows);
    put_data_section(p, "train", text);
    if (!err && p->scenario->train->weights)
        err = write_weights_schema(p->scenario->train, dir, text);
    return err;
}

enum trib_err trib_processes_write_device(const struct trib_processes *p, size_t device,
                                          const char *dir)
{
    const struct trib_partition *partition = &p->scenario->partition;
    char base[TRIB_PROCESSES_PATH_SIZE];
    struct trib_buf text = {0};
    enum trib_err err = trib_path_join(base, dir, "train");
    if (!err && p->scenario->prepare) {
        put_values_section(p, "train", &text);
        err = write_values(p, p->scenario->train, partition->starts[device],
                           trib_partition_size(partition, device), base);
    } else if (!err) {
        err = write_features(p, device, dir, base, &text);
    }
    trib_buf_text(&text, "split_by = row\n"); // as scenario_open.c does
    if (!err)
        err = put_policy(&p->scenario->policy, &text);
    trib_buf_text(&text, "[client]\nreconnect_max_ms = 1000\n");
    if (!err)
        err = write_text(dir, "client.ini", &text);
    trib_buf_fini(&text);
    return err;
}

// The held-out rows, and how a job's file names them.
static enum trib_err write_test(const struct trib_processes *p, const char *base,
                                struct trib_buf *ret_text)
{
    struct trib_dataset test = *p->scenario->test;
    test.weights = NULL; // nothing weighs held-out rows
    if (p->scenario->prepare) {
        put_values_section(p, "test", ret_text);
        return write_values(p, &test, 0, test.rows, base);
    }
    put_data_section(p, "test", ret_text);
    uint32_t *rows = row_numbers(0, test.rows);
    enum trib_err err = rows ? write_rows(p, &test, rows, test.rows, base) : TRIB_ERR_NOMEM;
    free(rows);
    return err;
}

// The job's file: the scenario's sections that a coordinator knows, and the held-out rows.
enum trib_err trib_processes_write_job(const struct trib_processes *p, struct trib_buf *ret_text)
{
    struct trib_conf *conf = trib_alloc(sizeof(*conf));
    struct trib_job_config config;
    char base[TRIB_PROCESSES_PATH_SIZE];
    char *text = NULL;
    size_t size = 0;
    if (!conf)
        return TRIB_ERR_NOMEM;
    trib_conf_init(conf);
    trib_job_conf_add(conf, &config);
    config = p->scenario->job_config;
    if (p->scenario->job.model.local_count > 0)
        config.eval_every = 0; // measured in the end, with what the devices have (measure)
    FILE *file = open_memstream(&text, &size);
    if (file) {
        trib_conf_write(conf, file);
        (void)fclose(file);
    }
    trib_buf_text(ret_text, text ? text : "");
    free(text);
    free(conf);
    enum trib_err err = file ? trib_path_join(base, p->state_dir, "test") : TRIB_ERR_NOMEM;
    if (!err)
        err = write_test(p, base, ret_text);
    if (p->scenario->data.fallback[0])
        trib_buf_printf(ret_text, "fallback = %s\n", p->scenario->data.fallback);
    return err;
}
