#include "client/predict.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/local.h"
#include "client/online_file.h"
#include "client/pipeline_file.h"
#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wipe.h"

#define TRIB_LOG_MODULE "predict"

static const uint8_t none[TRIB_DIGEST_SIZE];

// ---- What the model needs besides itself. Each says in `lacks` what is not there, if something is
// not; that is no error yet: the fall-back may answer.

// The installed model, if it makes its features as this device does.
static enum trib_err load_slot(struct trib_predictor *p,
                               const struct trib_state_enrolment *enrolment, const char *dir,
                               char *lacks, size_t size)
{
    char why[TRIB_PATH_MAX + 256];
    uint8_t digest[TRIB_DIGEST_SIZE];
    const struct trib_data_config *data = &p->settings.data;
    const bool has_rows = data->train[0] || data->schema[0] || !trib_data_is_file(data);
    enum trib_err err = trib_data_pipeline(data, digest, why, sizeof(why));
    if (err) {
        TRIB_ERROR("client.ini: %s", why);
        return err;
    }
    const bool is_pinned = has_rows && data->pipeline == TRIB_PIPELINE_OWN;
    err = trib_slot_load(dir, enrolment, is_pinned ? digest : NULL, &p->slot);
    p->slot.prepare_digest = NULL; // it was ours
    if (!err && !p->slot.manifest.version)
        (void)snprintf(lacks, size, "%s: no model is installed yet", dir);
    if (!err && p->slot.manifest.fallback[0] && !data->fallback[0]) {
        p->carried = trib_alloc_text(p->slot.manifest.fallback);
        err = p->carried ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    return err;
}

// The device's own copy takes the place of the version that it began from.
static enum trib_err load_online(struct trib_predictor *p)
{
    struct trib_slot *slot = &p->slot;
    if (!p->settings.data.online_copy[0]) {
        TRIB_ERROR("client.ini: data.online_copy is missing: there is no copy to predict with");
        return TRIB_ERR_INVAL;
    }
    if (!slot->params)
        return TRIB_OK;
    enum trib_err err =
        trib_online_file_read(p->settings.data.online_copy, slot->manifest.digest, slot->params,
                              slot->model.param_count, &p->online_rows);
    if (err && err != TRIB_ERR_STATE)
        return err;
    TRIB_INFO("id=online-copy rows=%" PRIu64 " learnt since version=%" PRIu64, p->online_rows,
              slot->manifest.version);
    return TRIB_OK;
}

// With data.pipeline = job: the one that the version's features come from.
static enum trib_err load_pipeline(struct trib_predictor *p, const char *dir, char *lacks,
                                   size_t size)
{
    char why[512];
    struct trib_buf text = {0};
    const struct trib_msg_manifest *manifest = &p->slot.manifest;
    if (p->settings.data.pipeline != TRIB_PIPELINE_JOB || *lacks)
        return TRIB_OK;
    if (memcmp(manifest->prepare_digest, none, sizeof(none)) == 0) {
        (void)snprintf(lacks, size,
                       "%s: version %" PRIu64 " was made before its job had a pipeline, which "
                       "data.pipeline = job waits for",
                       dir, manifest->version);
        return TRIB_OK;
    }
    enum trib_err err = trib_pipeline_file_read(dir, manifest->prepare_digest, &text);
    if (err == TRIB_ERR_STATE) {
        (void)snprintf(lacks, size,
                       "%s: pipeline.ini is not there, or not the pipeline of version %" PRIu64
                       ": it comes with a task of the job",
                       dir, manifest->version);
        return TRIB_OK;
    }
    if (err)
        return err;
    err = trib_prepare_parse((const char *)text.data, text.size, "pipeline.ini", p->schema,
                             &p->prepare, why, sizeof(why));
    if (!err && !trib_prepare_is_fitted(p->prepare)) {
        (void)snprintf(why, sizeof(why), "pipeline.ini: it is not fitted");
        err = TRIB_ERR_INVAL;
    }
    if (err)
        TRIB_ERROR("%s: %s", dir, why);
    trib_buf_fini(&text);
    return err;
}

// The part of the model that is the device's own, behind the common one.
static enum trib_err load_local(struct trib_predictor *p, const char *dir, char *lacks, size_t size)
{
    const struct trib_model *model = &p->slot.model;
    struct trib_local local = {.count = 0};
    char path[TRIB_PATH_MAX + 1];
    if (*lacks || model->local_count == 0)
        return TRIB_OK;
    enum trib_err err = trib_path_join(path, dir, "local.part");
    if (!err && trib_file_exists(path))
        err = trib_local_load(dir, model, 0, "", &local);
    if (err)
        return err;
    if (local.round_id == 0) { // none is there, or it began anew: nothing was learnt
        (void)snprintf(lacks, size,
                       "%s: local.part is missing: the device has not trained its own part of "
                       "version %" PRIu64 " yet",
                       dir, p->slot.manifest.version);
        trib_local_fini(&local);
        return TRIB_OK;
    }
    p->both = trib_alloc_aligned(trib_model_total(model), sizeof(*p->both));
    if (p->both) {
        memcpy(p->both, p->slot.params, model->param_count * sizeof(*p->both));
        memcpy(p->both + model->param_count, local.after, local.count * sizeof(*p->both));
    }
    trib_local_fini(&local);
    return p->both ? TRIB_OK : TRIB_ERR_NOMEM;
}

// ---- Together

// Features of a row of text; 0: not known.
static size_t features_of_rows(const struct trib_predictor *p)
{
    if (p->prepare)
        return trib_prepare_features(p->prepare);
    return p->schema && p->settings.data.pipeline != TRIB_PIPELINE_JOB ? p->schema->features : 0;
}

static enum trib_err load_own(struct trib_predictor *p, const struct trib_model *model,
                              size_t features)
{
    char why[TRIB_PATH_MAX + 512];
    const char *path = p->settings.data.fallback;
    enum trib_err err = trib_fallback_load(path, p->schema, &p->fallback, why, sizeof(why));
    if (!err)
        err = trib_fallback_check(p->fallback, model, features, why, sizeof(why));
    if (err)
        TRIB_ERROR("data.fallback: %s", why);
    return err == TRIB_ERR_IO ? TRIB_ERR_INVAL : err;
}

// That of a version was checked against the model, but not against this device's columns.
static enum trib_err load_carried(struct trib_predictor *p, const struct trib_model *model,
                                  size_t features)
{
    char why[512];
    enum trib_err err =
        trib_fallback_parse(p->carried, strlen(p->carried), "the version's fall-back", p->schema,
                            &p->fallback, why, sizeof(why));
    if (!err)
        err = trib_fallback_check(p->fallback, model, features, why, sizeof(why));
    if (err != TRIB_ERR_INVAL)
        return err;
    trib_fallback_destroy(p->fallback);
    p->fallback = NULL;
    if (!model) { // nobody is left
        TRIB_ERROR("%s", why);
        return TRIB_ERR_STATE;
    }
    TRIB_WARN("id=fallback-unfit %s; the model alone answers", why);
    return TRIB_OK;
}

// The device's own file, or else what the version brought.
static enum trib_err load_fallback(struct trib_predictor *p)
{
    const struct trib_model *model = p->slot.params ? &p->slot.model : NULL;
    const size_t features = model ? model->inputs : features_of_rows(p);
    if (p->settings.data.fallback[0])
        return load_own(p, model, features);
    return p->carried ? load_carried(p, model, features) : TRIB_OK;
}

static enum trib_err begin_model(struct trib_predictor *p)
{
    const struct trib_model *model = &p->slot.model;
    const size_t features = features_of_rows(p);
    if (features && features != model->inputs) {
        TRIB_ERROR("client.ini: rows have %zu features, the model takes %u", features,
                   model->inputs);
        return TRIB_ERR_INVAL;
    }
    const double threshold = trib_msg_manifest_metric(&p->slot.manifest, "threshold");
    p->threshold = isnan(threshold) ? 0.5 : threshold;
    return trib_net_create(model, TRIB_PREDICT_BATCH, &p->net);
}

// A model that lacks something does not answer; without a fall-back nobody would.
static enum trib_err settle(struct trib_predictor *p, const char *lacks)
{
    if (!*lacks)
        return begin_model(p);
    trib_slot_fini(&p->slot);
    if (!p->settings.data.fallback[0] && !p->carried) {
        TRIB_ERROR("%s", lacks);
        return TRIB_ERR_STATE;
    }
    TRIB_INFO("%s; %s answers", lacks, p->carried ? "the version's fall-back" : "data.fallback");
    return TRIB_OK;
}

static enum trib_err open_predictor(const char *state_dir, bool is_online,
                                    struct trib_predictor **ret_predictor)
{
    char path[TRIB_PATH_MAX + 1];
    char lacks[TRIB_PATH_MAX + 256] = "";
    struct trib_state_enrolment enrolment;
    trib_crypto_init();
    struct trib_predictor *p = trib_alloc(sizeof(*p));
    if (!p)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_state_enrolment_load(state_dir, &enrolment);
    if (!err)
        err = trib_path_join(path, state_dir, "client.ini");
    if (!err)
        err = trib_state_config_load(path, &p->settings);
    if (!err)
        err = load_slot(p, &enrolment, state_dir, lacks, sizeof(lacks));
    if (!err && is_online)
        err = load_online(p);
    if (!err)
        err = trib_data_load(&p->settings.data, &p->schema, &p->prepare);
    if (!err)
        err = load_pipeline(p, state_dir, lacks, sizeof(lacks));
    if (!err && p->schema)
        p->schema->is_unlabelled = true;
    if (!err)
        err = load_local(p, state_dir, lacks, sizeof(lacks));
    if (!err)
        err = settle(p, lacks);
    if (!err)
        err = load_fallback(p);
    if (err) {
        trib_predictor_close(p);
        return err;
    }
    *ret_predictor = p;
    return TRIB_OK;
}

enum trib_err trib_predictor_open(const char *state_dir, struct trib_predictor **ret_predictor)
{
    return open_predictor(state_dir, false, ret_predictor);
}

enum trib_err trib_predictor_open_online(const char *state_dir,
                                         struct trib_predictor **ret_predictor)
{
    return open_predictor(state_dir, true, ret_predictor);
}

uint64_t trib_predictor_online_rows(const struct trib_predictor *predictor)
{
    return predictor->online_rows;
}

void trib_predictor_close(struct trib_predictor *predictor)
{
    if (!predictor)
        return;
    trib_net_destroy(predictor->net);
    if (predictor->both)
        trib_wipe(predictor->both,
                  trib_model_total(&predictor->slot.model) * sizeof(*predictor->both));
    free(predictor->both);
    trib_slot_fini(&predictor->slot);
    trib_fallback_destroy(predictor->fallback);
    free(predictor->carried);
    trib_prepare_destroy(predictor->prepare);
    trib_schema_destroy(predictor->schema);
    free(predictor);
}

// ---- Features

uint64_t trib_predictor_version(const struct trib_predictor *predictor)
{
    return predictor->slot.manifest.version;
}

size_t trib_predictor_inputs(const struct trib_predictor *predictor)
{
    return predictor->net ? predictor->slot.model.inputs : 0;
}

size_t trib_predictor_outputs(const struct trib_predictor *predictor)
{
    return predictor->net ? predictor->slot.model.outputs : 0;
}

bool trib_predictor_takes(const struct trib_predictor *predictor, const float *x)
{
    const struct trib_model *model = &predictor->slot.model;
    for (size_t i = 0; i < model->inputs; i++) {
        if (!isfinite(x[i]))
            return false;
    }
    return !model->items || (x[0] >= 0 && x[0] < (float)model->items && floorf(x[0]) == x[0]);
}

const float *trib_predictor_batch(struct trib_predictor *predictor, const float *x, size_t rows)
{
    const float *params = predictor->both ? predictor->both : predictor->slot.params;
    return trib_net_forward(predictor->net, params, x, rows);
}

enum trib_err trib_predictor_run(struct trib_predictor *predictor, const float *x, size_t rows,
                                 float *ret_outputs)
{
    const struct trib_model *model = &predictor->slot.model;
    if (!predictor->net) {
        TRIB_ERROR("there is no model to run");
        return TRIB_ERR_STATE;
    }
    for (size_t r = 0; r < rows; r++) {
        if (!trib_predictor_takes(predictor, x + r * model->inputs)) {
            TRIB_ERROR("row %zu: a feature is not finite, or not one of the model's items", r);
            return TRIB_ERR_DATA;
        }
    }
    for (size_t first = 0; first < rows; first += TRIB_PREDICT_BATCH) {
        const size_t count =
            rows - first < TRIB_PREDICT_BATCH ? rows - first : (size_t)TRIB_PREDICT_BATCH;
        const float *outputs = trib_predictor_batch(predictor, x + first * model->inputs, count);
        memcpy(ret_outputs + first * model->outputs, outputs,
               count * model->outputs * sizeof(*outputs));
    }
    for (size_t i = 0; i < rows * model->outputs; i++) {
        if (!isfinite(ret_outputs[i])) {
            TRIB_ERROR("row %zu: the model's outputs are not finite", i / model->outputs);
            return TRIB_ERR_DATA;
        }
    }
    return TRIB_OK;
}
