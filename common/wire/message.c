#include "common/wire/message_fields.h"

// ---- Pace

void trib_msg_pace_pack(const struct trib_msg_pace *msg, struct trib_buf *buf)
{
    Tributary__V1__Pace out;
    trib_field_fill_pace(&out, msg);
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(pace, Pace, pace, trib_field_take_pace(in, out))

// ---- Enrol, EnrolReply

void trib_msg_enrol_pack(const struct trib_msg_enrol *msg, struct trib_buf *buf)
{
    Tributary__V1__Enrol out;
    tributary__v1__enrol__init(&out);
    out.sign_key = trib_field_bytes(msg->sign_key, sizeof(msg->sign_key));
    out.software = trib_field_text(msg->software);
    if (msg->has_next) {
        out.next_key = trib_field_bytes(msg->next_key, sizeof(msg->next_key));
        out.next_sign_key = trib_field_bytes(msg->next_sign_key, sizeof(msg->next_sign_key));
    }
    trib_field_pack(buf, &out.base);
}

static bool take_enrol(const Tributary__V1__Enrol *in, struct trib_msg_enrol *out)
{
    bool has_sign_key = false;
    return trib_field_take_bytes(&in->sign_key, out->sign_key, sizeof(out->sign_key)) &&
           trib_field_take_text(in->software, out->software, sizeof(out->software), 0) &&
           trib_field_take_optional(&in->next_key, out->next_key, sizeof(out->next_key),
                                    &out->has_next) &&
           trib_field_take_optional(&in->next_sign_key, out->next_sign_key,
                                    sizeof(out->next_sign_key), &has_sign_key) &&
           out->has_next == has_sign_key;
}

TRIB_DEFINE_UNPACK(enrol, Enrol, enrol, take_enrol(in, out))

void trib_msg_enrol_reply_pack(const struct trib_msg_enrol_reply *msg, struct trib_buf *buf)
{
    Tributary__V1__EnrolReply out;
    tributary__v1__enrol_reply__init(&out);
    out.code = msg->code;
    if (msg->code == TRIB_CODE_ACCEPTED) {
        out.name = trib_field_text(msg->name);
        out.population = trib_field_text(msg->population);
        out.release_key = trib_field_bytes(msg->release_key, sizeof(msg->release_key));
        if (msg->has_roster_key)
            out.roster_key = trib_field_bytes(msg->roster_key, sizeof(msg->roster_key));
        if (msg->has_next)
            out.next_key = trib_field_bytes(msg->next_key, sizeof(msg->next_key));
        out.key_sequence = msg->key_sequence;
    }
    trib_field_pack(buf, &out.base);
}

static bool take_enrol_reply(const Tributary__V1__EnrolReply *in, struct trib_msg_enrol_reply *out)
{
    if (!trib_field_take_code(in->code, &out->code))
        return false;
    if (out->code != TRIB_CODE_ACCEPTED)
        return true;
    out->key_sequence = in->key_sequence;
    return trib_field_take_text(in->name, out->name, sizeof(out->name), 1) &&
           trib_field_take_text(in->population, out->population, sizeof(out->population), 1) &&
           trib_field_take_bytes(&in->release_key, out->release_key, sizeof(out->release_key)) &&
           trib_field_take_optional(&in->roster_key, out->roster_key, sizeof(out->roster_key),
                                    &out->has_roster_key) &&
           trib_field_take_optional(&in->next_key, out->next_key, sizeof(out->next_key),
                                    &out->has_next);
}

TRIB_DEFINE_UNPACK(enrol_reply, EnrolReply, enrol_reply, take_enrol_reply(in, out))

// ---- Ready

void trib_msg_ready_pack(const struct trib_msg_ready *msg, struct trib_buf *buf)
{
    Tributary__V1__Ready out;
    tributary__v1__ready__init(&out);
    out.population = trib_field_text(msg->population);
    out.software = trib_field_text(msg->software);
    out.generation = msg->generation;
    out.version = msg->version;
    if (msg->version)
        out.digest = trib_field_bytes(msg->digest, sizeof(msg->digest));
    if (msg->has_spooled) {
        out.spooled_update_id =
            trib_field_bytes(msg->spooled_update_id, sizeof(msg->spooled_update_id));
        out.spooled_round = msg->spooled_round;
    }
    out.is_busy = msg->is_busy;
    out.secagg_round = msg->secagg_round;
    out.key_sequence = msg->key_sequence;
    trib_field_pack(buf, &out.base);
}

static bool take_ready(const Tributary__V1__Ready *in, struct trib_msg_ready *out)
{
    bool has_digest;
    out->generation = in->generation;
    out->version = in->version;
    out->spooled_round = in->spooled_round;
    out->is_busy = in->is_busy;
    out->secagg_round = in->secagg_round;
    out->key_sequence = in->key_sequence;
    return trib_field_take_text(in->population, out->population, sizeof(out->population), 1) &&
           trib_field_take_text(in->software, out->software, sizeof(out->software), 0) &&
           trib_field_take_optional(&in->digest, out->digest, sizeof(out->digest), &has_digest) &&
           has_digest == (in->version > 0) &&
           trib_field_take_optional(&in->spooled_update_id, out->spooled_update_id,
                                    sizeof(out->spooled_update_id), &out->has_spooled);
}

TRIB_DEFINE_UNPACK(ready, Ready, ready, take_ready(in, out))

// ---- Manifest, NewVersion, ModelGet, Installed

static bool is_zero(const uint8_t *bytes, size_t size)
{
    size_t i = 0;
    while (i < size && bytes[i] == 0)
        i++;
    return i == size;
}

void trib_msg_manifest_pack(const struct trib_msg_manifest *msg, struct trib_buf *buf)
{
    Tributary__V1__Manifest out;
    Tributary__V1__Metric metrics[TRIB_METRICS_MAX];
    Tributary__V1__Metric *metric_list[TRIB_METRICS_MAX];

    tributary__v1__manifest__init(&out);
    out.generation = msg->generation;
    out.version = msg->version;
    out.parent = msg->parent;
    out.digest = trib_field_bytes(msg->digest, sizeof(msg->digest));
    out.arch_digest = trib_field_bytes(msg->arch_digest, sizeof(msg->arch_digest));
    out.spec = trib_field_text(msg->spec);
    out.params = msg->params;
    out.job = msg->job;
    out.round_id = msg->round_id;
    out.round_number = msg->round_number;
    out.kind = trib_field_text(msg->kind);
    out.accepted = msg->accepted;
    out.created_ms = msg->created_ms;
    for (uint32_t i = 0; i < msg->metric_count; i++) {
        tributary__v1__metric__init(&metrics[i]);
        metrics[i].name = trib_field_text(msg->metrics[i].name);
        metrics[i].value = msg->metrics[i].value;
        metric_list[i] = &metrics[i];
    }
    out.n_metrics = msg->metric_count;
    out.metrics = metric_list;
    out.mode = (Tributary__V1__PrivacyMode)msg->mode;
    out.epsilon_pure = msg->epsilon_pure;
    out.epsilon = msg->epsilon;
    out.delta = msg->delta;
    out.population = trib_field_text(msg->population);
    if (!is_zero(msg->prepare_digest, sizeof(msg->prepare_digest)))
        out.prepare_digest = trib_field_bytes(msg->prepare_digest, sizeof(msg->prepare_digest));
    if (!is_zero(msg->parent_digest, sizeof(msg->parent_digest)))
        out.parent_digest = trib_field_bytes(msg->parent_digest, sizeof(msg->parent_digest));
    out.fallback = trib_field_bytes((const uint8_t *)msg->fallback, strlen(msg->fallback));
    trib_field_pack(buf, &out.base);
}

double trib_msg_manifest_metric(const struct trib_msg_manifest *manifest, const char *name)
{
    for (uint32_t i = 0; i < manifest->metric_count; i++) {
        if (strcmp(manifest->metrics[i].name, name) == 0)
            return manifest->metrics[i].value;
    }
    return (double)NAN;
}

static bool take_metrics(const Tributary__V1__Manifest *in, struct trib_msg_manifest *out)
{
    if (in->n_metrics > TRIB_METRICS_MAX)
        return false;
    out->metric_count = (uint32_t)in->n_metrics;
    for (uint32_t i = 0; i < out->metric_count; i++) {
        struct trib_msg_metric *metric = &out->metrics[i];
        metric->value = in->metrics[i]->value;
        if (!trib_field_take_text(in->metrics[i]->name, metric->name, sizeof(metric->name), 1))
            return false;
    }
    return true;
}

static bool take_fallback(const Tributary__V1__Manifest *in, struct trib_msg_manifest *out)
{
    if (in->fallback.len > TRIB_FALLBACK_TEXT_MAX ||
        (in->fallback.len > 0 && memchr(in->fallback.data, 0, in->fallback.len)))
        return false;
    if (in->fallback.len > 0)
        memcpy(out->fallback, in->fallback.data, in->fallback.len);
    out->fallback[in->fallback.len] = '\0';
    return true;
}

static bool take_manifest(const Tributary__V1__Manifest *in, struct trib_msg_manifest *out)
{
    out->generation = in->generation;
    out->version = in->version;
    out->parent = in->parent;
    out->params = in->params;
    out->job = in->job;
    out->round_id = in->round_id;
    out->round_number = in->round_number;
    out->accepted = in->accepted;
    out->created_ms = in->created_ms;
    out->mode = (uint32_t)in->mode;
    out->epsilon_pure = in->epsilon_pure;
    out->epsilon = in->epsilon;
    out->delta = in->delta;
    return in->version >= 1 && in->params >= 1 && in->params <= TRIB_PARAMS_MAX &&
           trib_field_is_amount(in->epsilon_pure) && trib_field_is_amount(in->epsilon) &&
           trib_field_is_amount(in->delta) &&
           trib_field_take_bytes(&in->digest, out->digest, sizeof(out->digest)) &&
           trib_field_take_bytes(&in->arch_digest, out->arch_digest, sizeof(out->arch_digest)) &&
           trib_field_take_text(in->spec, out->spec, sizeof(out->spec), 1) &&
           trib_field_take_text(in->kind, out->kind, sizeof(out->kind), 1) &&
           trib_field_take_text(in->population, out->population, sizeof(out->population), 1) &&
           (in->prepare_digest.len == 0 ||
            trib_field_take_bytes(&in->prepare_digest, out->prepare_digest,
                                  sizeof(out->prepare_digest))) &&
           (in->parent_digest.len == 0 ||
            trib_field_take_bytes(&in->parent_digest, out->parent_digest,
                                  sizeof(out->parent_digest))) &&
           take_fallback(in, out) && take_metrics(in, out);
}

TRIB_DEFINE_UNPACK(manifest, Manifest, manifest, take_manifest(in, out))

void trib_msg_new_version_pack(const struct trib_msg_new_version *msg, struct trib_buf *buf)
{
    Tributary__V1__NewVersion out;
    tributary__v1__new_version__init(&out);
    out.manifest = trib_field_bytes(msg->manifest, msg->manifest_size);
    out.signature = trib_field_bytes(msg->signature, sizeof(msg->signature));
    trib_field_pack(buf, &out.base);
}

static bool take_new_version(const Tributary__V1__NewVersion *in, struct trib_msg_new_version *out)
{
    out->manifest_size = in->manifest.len;
    return in->manifest.len >= 1 && in->manifest.len <= sizeof(out->manifest) &&
           trib_field_take_bytes(&in->manifest, out->manifest, in->manifest.len) &&
           trib_field_take_bytes(&in->signature, out->signature, sizeof(out->signature));
}

TRIB_DEFINE_UNPACK(new_version, NewVersion, new_version, take_new_version(in, out))

void trib_msg_model_get_pack(const struct trib_msg_model_get *msg, struct trib_buf *buf)
{
    Tributary__V1__ModelGet out;
    tributary__v1__model_get__init(&out);
    out.digest = trib_field_bytes(msg->digest, sizeof(msg->digest));
    out.offset = msg->offset;
    out.takes_runs = msg->takes_runs;
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(model_get, ModelGet, model_get,
                   (out->offset = in->offset, out->takes_runs = in->takes_runs,
                    trib_field_take_bytes(&in->digest, out->digest, TRIB_DIGEST_SIZE)))

void trib_msg_installed_pack(const struct trib_msg_installed *msg, struct trib_buf *buf)
{
    Tributary__V1__Installed out;
    tributary__v1__installed__init(&out);
    out.generation = msg->generation;
    out.version = msg->version;
    out.digest = trib_field_bytes(msg->digest, sizeof(msg->digest));
    out.code = msg->code;
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(installed, Installed, installed,
                   (out->generation = in->generation, out->version = in->version,
                    trib_field_take_bytes(&in->digest, out->digest, TRIB_DIGEST_SIZE) &&
                        trib_field_take_code(in->code, &out->code)))

// ---- UploadBegin, Credit, UploadEnd, Receipt

void trib_msg_upload_begin_pack(const struct trib_msg_upload_begin *msg, struct trib_buf *buf)
{
    Tributary__V1__UploadBegin out;
    tributary__v1__upload_begin__init(&out);
    out.update_id = trib_field_bytes(msg->update_id, sizeof(msg->update_id));
    out.round_id = msg->round_id;
    out.size = msg->size;
    out.digest = trib_field_bytes(msg->digest, sizeof(msg->digest));
    out.base_digest = trib_field_bytes(msg->base_digest, sizeof(msg->base_digest));
    out.arch_digest = trib_field_bytes(msg->arch_digest, sizeof(msg->arch_digest));
    if (msg->has_weight) {
        out.claim_case = TRIBUTARY__V1__UPLOAD_BEGIN__CLAIM_WEIGHT;
        out.weight = msg->weight;
    }
    trib_field_pack(buf, &out.base);
}

static bool take_upload_begin(const Tributary__V1__UploadBegin *in,
                              struct trib_msg_upload_begin *out)
{
    out->round_id = in->round_id;
    out->size = in->size;
    out->has_weight = in->claim_case == TRIBUTARY__V1__UPLOAD_BEGIN__CLAIM_WEIGHT;
    out->weight = out->has_weight ? in->weight : 0;
    return trib_field_take_bytes(&in->update_id, out->update_id, sizeof(out->update_id)) &&
           trib_field_take_bytes(&in->digest, out->digest, sizeof(out->digest)) &&
           trib_field_take_bytes(&in->base_digest, out->base_digest, sizeof(out->base_digest)) &&
           trib_field_take_bytes(&in->arch_digest, out->arch_digest, sizeof(out->arch_digest));
}

TRIB_DEFINE_UNPACK(upload_begin, UploadBegin, upload_begin, take_upload_begin(in, out))

void trib_msg_credit_pack(const struct trib_msg_credit *msg, struct trib_buf *buf)
{
    Tributary__V1__Credit out;
    tributary__v1__credit__init(&out);
    out.update_id = trib_field_bytes(msg->update_id, sizeof(msg->update_id));
    out.offset = msg->offset;
    out.limit = msg->limit;
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(credit, Credit, credit,
                   (out->offset = in->offset, out->limit = in->limit,
                    in->limit >= in->offset &&
                        trib_field_take_bytes(&in->update_id, out->update_id, TRIB_MSG_ID_SIZE)))

void trib_msg_upload_end_pack(const struct trib_msg_upload_end *msg, struct trib_buf *buf)
{
    Tributary__V1__UploadEnd out;
    tributary__v1__upload_end__init(&out);
    out.update_id = trib_field_bytes(msg->update_id, sizeof(msg->update_id));
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(upload_end, UploadEnd, upload_end,
                   trib_field_take_bytes(&in->update_id, out->update_id, TRIB_MSG_ID_SIZE))

void trib_msg_receipt_pack(const struct trib_msg_receipt *msg, struct trib_buf *buf)
{
    Tributary__V1__Receipt out;
    Tributary__V1__Pace pace;
    tributary__v1__receipt__init(&out);
    trib_field_fill_pace(&pace, &msg->pace);
    out.update_id = trib_field_bytes(msg->update_id, sizeof(msg->update_id));
    out.code = msg->code;
    out.pace = &pace;
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(receipt, Receipt, receipt,
                   trib_field_take_bytes(&in->update_id, out->update_id, TRIB_MSG_ID_SIZE) &&
                       trib_field_take_code(in->code, &out->code) &&
                       trib_field_take_pace(in->pace, &out->pace))

// ---- SecaggOpen, SecaggStep

void trib_msg_secagg_open_pack(const struct trib_msg_secagg_open *msg, struct trib_buf *buf)
{
    Tributary__V1__SecaggOpen out;
    tributary__v1__secagg_open__init(&out);
    out.round_id = msg->round_id;
    out.invited = trib_field_bytes(msg->invited, sizeof(msg->invited));
    out.roster_key = trib_field_bytes(msg->roster_key, sizeof(msg->roster_key));
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(secagg_open, SecaggOpen, secagg_open,
                   (out->round_id = in->round_id,
                    trib_field_take_bytes(&in->invited, out->invited, sizeof(out->invited)) &&
                        trib_field_take_bytes(&in->roster_key, out->roster_key,
                                              sizeof(out->roster_key))))

void trib_msg_secagg_step_pack(const struct trib_msg_secagg_step *msg, struct trib_buf *buf)
{
    Tributary__V1__SecaggStep out;
    tributary__v1__secagg_step__init(&out);
    out.round_id = msg->round_id;
    out.kind = (Tributary__V1__SecaggStepKind)msg->kind;
    out.size = msg->size;
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(secagg_step, SecaggStep, secagg_step,
                   (out->round_id = in->round_id, out->kind = (uint32_t)in->kind,
                    out->size = in->size, in->size >= 1 && in->size <= TRIB_SECAGG_STEP_MAX))
