#include "coordinator/class_round.h"

#include <string.h>

#include "common/base/json.h"
#include "common/base/json_read.h"
#include "common/base/log.h"
#include "common/math/class_weights.h"

#define TRIB_LOG_MODULE "classes"

bool trib_job_wants_classes(const struct trib_job_config *config)
{
    return config->class_weights == TRIB_CLASS_WEIGHTS_GIVEN;
}

enum trib_err trib_job_check_classes(struct trib_conf *conf, const struct trib_job *job)
{
    if (trib_class_counts_values(&job->model) == 0)
        return trib_conf_reject(conf, "round", "class_weights",
                                "balanced is for at most %d classes: use own",
                                TRIB_CLASS_WEIGHTS_MAX);
    return TRIB_OK;
}

static void put_values(struct trib_buf *json, const char *name, const struct trib_job *job,
                       const double *counts, const float *weights)
{
    trib_json_open(json, name, '[');
    for (uint32_t c = 0; c < job->model.classes; c++)
        trib_json_real(json, NULL, counts ? counts[c] : (double)weights[c]);
    trib_json_close(json, ']');
}

enum trib_err trib_class_round_use(const struct trib_job *job, const double *values,
                                   uint64_t counted, struct trib_buf *json)
{
    const struct trib_encoding *e = &job->tallies[TRIB_TALLY_CLASSES].privacy.encoding;
    float weights[TRIB_CLASS_WEIGHTS_MAX];
    double noise = 0, rows = 0;
    uint32_t few = 0;
    if (e->mode != TRIB_PRIVACY_OFF)
        noise = trib_privacy_noise_std(e, counted) * (double)counted * job->config.tally_scale;
    trib_class_weights_balance(values, job->model.classes, noise, weights);
    for (uint32_t c = 0; c < job->model.classes; c++) {
        rows += values[c];
        few += values[c] <= noise;
    }
    if (few > 0)
        TRIB_WARN("id=classes-without-rows classes=%u of=%u noise=%g: %s", few, job->model.classes,
                  noise,
                  noise > 0 ? "each weighs as much as if it had the rows that the noise comes to"
                            : "no device has a row of them, and they weigh 1");
    trib_json_open(json, NULL, '{');
    trib_json_real(json, "rows", rows);
    put_values(json, "counts", job, values, NULL);
    put_values(json, "weights", job, NULL, weights);
    trib_json_close(json, '}');
    return json->failed ? TRIB_ERR_NOMEM : TRIB_OK;
}

enum trib_err trib_class_round_weights(const struct trib_job *job, const char *report,
                                       float *ret_weights)
{
    struct trib_json_reader reader;
    enum trib_json_event event;
    uint32_t found = 0;
    bool is_inside = false, is_good = true;
    trib_json_reader_init(&reader, report, strlen(report));
    while (is_good && (event = trib_json_next(&reader)) != TRIB_JSON_END) {
        double weight;
        if (event == TRIB_JSON_OPEN_ARRAY)
            is_inside =
                reader.key.size > 0 && strcmp((const char *)reader.key.data, "weights") == 0;
        else if (event == TRIB_JSON_CLOSE_ARRAY)
            is_inside = false;
        else if (event == TRIB_JSON_WRONG)
            is_good = false;
        else if (is_inside && event == TRIB_JSON_NUMBER && found < job->model.classes &&
                 trib_json_number(&reader, &weight) && weight >= 0)
            ret_weights[found++] = (float)weight;
        else if (is_inside)
            is_good = false;
    }
    trib_json_reader_fini(&reader);
    return is_good && found == job->model.classes ? TRIB_OK : TRIB_ERR_DATA;
}
