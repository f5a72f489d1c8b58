#include "common/wire/message.h"

#include <math.h>
#include <string.h>

#include "tributary.pb-c.h"

// ---- Borrowing plain fields for packing, and taking unpacked ones with their checks

static ProtobufCBinaryData bytes_of(const uint8_t *data, size_t size)
{
    union { // protobuf-c declares borrowed bytes without const; packing only reads them
        const uint8_t *borrowed;
        uint8_t *plain;
    } pointer = {.borrowed = data};
    return (ProtobufCBinaryData){.len = size, .data = pointer.plain};
}

static char *text_of(const char *text)
{
    union {
        const char *borrowed;
        char *plain;
    } pointer = {.borrowed = text};
    return pointer.plain;
}

static void pack_into(struct trib_buf *buf, const ProtobufCMessage *message)
{
    uint8_t *room = trib_buf_extend(buf, protobuf_c_message_get_packed_size(message));
    if (room)
        (void)protobuf_c_message_pack(message, room);
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
                                size_t size)
{
    if (size > TRIB_CONTROL_MAX) // before protobuf allocates anything for it
        return NULL;
    return protobuf_c_message_unpack(descriptor, NULL, size, data);
}

static bool take_bytes(const ProtobufCBinaryData *field, uint8_t *out, size_t size)
{
    if (field->len != size)
        return false;
    memcpy(out, field->data, size);
    return true;
}

static bool take_optional_bytes(const ProtobufCBinaryData *field, uint8_t *out, size_t size,
                                bool *ret_present)
{
    *ret_present = field->len > 0;
    return field->len == 0 || take_bytes(field, out, size);
}

// Printable ASCII of `min` to capacity - 1 bytes.
static bool take_text(const char *field, char *out, size_t capacity, size_t min)
{
    size_t size = strlen(field);
    if (size < min || size >= capacity)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (field[i] < ' ' || field[i] > '~')
            return false;
    }
    memcpy(out, field, size + 1);
    return true;
}

static bool take_code(uint32_t field, enum trib_code *out)
{
    // A code that we do not know yet keeps its number: code.h says what class it falls into.
    *out = (enum trib_code)field;
    return field < 1000;
}

static bool is_amount(double value) // finite and not negative
{
    return isfinite(value) && value >= 0;
}

// The tail of every unpack: free, and answer.
static enum trib_err finish(ProtobufCMessage *message, bool is_good)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    return message && is_good ? TRIB_OK : TRIB_ERR_PROTO;
}

// Unpack `data` as protobuf type `Type`, fill `out` from `in` by `checks`, copy out on success.
#define DEFINE_UNPACK(noun, Type, type, checks)                                               \
    enum trib_err trib_msg_##noun##_unpack(const uint8_t *data, size_t size,                  \
                                           struct trib_msg_##noun *ret_msg)                   \
    {                                                                                         \
        struct trib_msg_##noun msg = {0};                                                     \
        struct trib_msg_##noun *out = &msg;                                                   \
        ProtobufCMessage *message = unpack(&tributary__v1__##type##__descriptor, data, size); \
        const Tributary__V1__##Type *in = (const Tributary__V1__##Type *)message;             \
        enum trib_err err = finish(message, in && (checks));                                  \
        if (!err)                                                                             \
            *ret_msg = *out;                                                                  \
        return err;                                                                           \
    }

// ---- Pace

static bool take_pace(const Tributary__V1__Pace *in, struct trib_msg_pace *out)
{
    if (!in) // absent: at once
        return true;
    out->retry_min_ms = in->retry_min_ms;
    out->retry_max_ms = in->retry_max_ms;
    return in->retry_min_ms <= in->retry_max_ms;
}

static void fill_pace(Tributary__V1__Pace *out, const struct trib_msg_pace *msg)
{
    tributary__v1__pace__init(out);
    out->retry_min_ms = msg->retry_min_ms;
    out->retry_max_ms = msg->retry_max_ms;
}

void trib_msg_pace_pack(const struct trib_msg_pace *msg, struct trib_buf *buf)
{
    Tributary__V1__Pace out;
    fill_pace(&out, msg);
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(pace, Pace, pace, take_pace(in, out))

// ---- Enrol, EnrolReply

void trib_msg_enrol_pack(const struct trib_msg_enrol *msg, struct trib_buf *buf)
{
    Tributary__V1__Enrol out;
    tributary__v1__enrol__init(&out);
    out.sign_key = bytes_of(msg->sign_key, sizeof(msg->sign_key));
    out.software = text_of(msg->software);
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(enrol, Enrol, enrol,
              take_bytes(&in->sign_key, out->sign_key, sizeof(out->sign_key)) &&
                  take_text(in->software, out->software, sizeof(out->software), 0))

void trib_msg_enrol_reply_pack(const struct trib_msg_enrol_reply *msg, struct trib_buf *buf)
{
    Tributary__V1__EnrolReply out;
    tributary__v1__enrol_reply__init(&out);
    out.code = msg->code;
    if (msg->code == TRIB_CODE_ACCEPTED) {
        out.name = text_of(msg->name);
        out.population = text_of(msg->population);
        out.release_key = bytes_of(msg->release_key, sizeof(msg->release_key));
        if (msg->has_roster_key)
            out.roster_key = bytes_of(msg->roster_key, sizeof(msg->roster_key));
    }
    pack_into(buf, &out.base);
}

static bool take_enrol_reply(const Tributary__V1__EnrolReply *in, struct trib_msg_enrol_reply *out)
{
    if (!take_code(in->code, &out->code))
        return false;
    if (out->code != TRIB_CODE_ACCEPTED)
        return true;
    return take_text(in->name, out->name, sizeof(out->name), 1) &&
           take_text(in->population, out->population, sizeof(out->population), 1) &&
           take_bytes(&in->release_key, out->release_key, sizeof(out->release_key)) &&
           take_optional_bytes(&in->roster_key, out->roster_key, sizeof(out->roster_key),
                               &out->has_roster_key);
}

DEFINE_UNPACK(enrol_reply, EnrolReply, enrol_reply, take_enrol_reply(in, out))

// ---- Ready

void trib_msg_ready_pack(const struct trib_msg_ready *msg, struct trib_buf *buf)
{
    Tributary__V1__Ready out;
    tributary__v1__ready__init(&out);
    out.population = text_of(msg->population);
    out.software = text_of(msg->software);
    out.generation = msg->generation;
    out.version = msg->version;
    if (msg->version)
        out.digest = bytes_of(msg->digest, sizeof(msg->digest));
    if (msg->has_spooled) {
        out.spooled_update_id = bytes_of(msg->spooled_update_id, sizeof(msg->spooled_update_id));
        out.spooled_round = msg->spooled_round;
    }
    out.is_busy = msg->is_busy;
    out.secagg_round = msg->secagg_round;
    pack_into(buf, &out.base);
}

static bool take_ready(const Tributary__V1__Ready *in, struct trib_msg_ready *out)
{
    bool has_digest;
    out->generation = in->generation;
    out->version = in->version;
    out->spooled_round = in->spooled_round;
    out->is_busy = in->is_busy;
    out->secagg_round = in->secagg_round;
    return take_text(in->population, out->population, sizeof(out->population), 1) &&
           take_text(in->software, out->software, sizeof(out->software), 0) &&
           take_optional_bytes(&in->digest, out->digest, sizeof(out->digest), &has_digest) &&
           has_digest == (in->version > 0) &&
           take_optional_bytes(&in->spooled_update_id, out->spooled_update_id,
                               sizeof(out->spooled_update_id), &out->has_spooled);
}

DEFINE_UNPACK(ready, Ready, ready, take_ready(in, out))

// ---- Task, TaskReply, RoundEnd

static void fill_encoding(Tributary__V1__Encoding *out, const struct trib_msg_encoding *msg)
{
    tributary__v1__encoding__init(out);
    out->mode = (Tributary__V1__PrivacyMode)msg->mode;
    out->grid = msg->grid;
    out->grid_bits = msg->grid_bits;
    out->s1 = msg->s1;
    out->s2 = msg->s2;
    out->sinf = msg->sinf;
    out->word_bits = msg->word_bits;
    out->clip_l1 = msg->clip_l1;
    out->clip_l2 = msg->clip_l2;
    out->shares = msg->shares;
}

// Form only; what the numbers may be together is trib_encoding_check's.
static bool take_encoding(const Tributary__V1__Encoding *in, struct trib_msg_encoding *out)
{
    if (!in)
        return false;
    *out = (struct trib_msg_encoding){
        .mode = (uint32_t)in->mode,
        .grid = in->grid,
        .grid_bits = in->grid_bits,
        .s1 = in->s1,
        .s2 = in->s2,
        .sinf = in->sinf,
        .word_bits = in->word_bits,
        .clip_l1 = in->clip_l1,
        .clip_l2 = in->clip_l2,
        .shares = in->shares,
    };
    return isfinite(in->grid) && in->grid > 0 && is_amount(in->clip_l1) && is_amount(in->clip_l2);
}

static void fill_secagg(Tributary__V1__SecaggPlan *out, const struct trib_msg_secagg_plan *msg)
{
    tributary__v1__secagg_plan__init(out);
    out->members = msg->members;
    out->threshold = msg->threshold;
    out->drop_max = msg->drop_max;
    out->colluders = msg->colluders;
    out->shares = msg->shares;
    out->neighbours = msg->neighbours;
    out->neighbour_threshold = msg->neighbour_threshold;
}

// Present exactly with mode distributed; what the numbers must be together is secagg_plan.h's.
static bool take_secagg(const Tributary__V1__Task *in, struct trib_msg_secagg_plan *out)
{
    bool wants_one = in->encoding->mode == TRIBUTARY__V1__PRIVACY_MODE__PRIVACY_MODE_DISTRIBUTED;
    if (!in->secagg)
        return !wants_one;
    *out = (struct trib_msg_secagg_plan){
        .members = in->secagg->members,
        .threshold = in->secagg->threshold,
        .drop_max = in->secagg->drop_max,
        .colluders = in->secagg->colluders,
        .shares = in->secagg->shares,
        .neighbours = in->secagg->neighbours,
        .neighbour_threshold = in->secagg->neighbour_threshold,
    };
    return wants_one && out->members >= 1 && out->members <= TRIB_COHORT_MAX;
}

bool trib_msg_fit_is_plain(const struct trib_msg_fit *fit)
{
    return fit->optimizer == 0 && !fit->decoupled_decay && fit->l1 == 0 && fit->proximal_mu == 0 &&
           fit->clip_norm == 0 && fit->lr_schedule == 0 && fit->lr_step == 0 &&
           fit->lr_gamma == 0 && fit->lr_min == 0 && fit->validation_fraction == 0 &&
           fit->patience == 0 && fit->class_weights == 0 && fit->personal_epochs == 0 &&
           fit->tally.kind == 0 && fit->mode == 0 && !fit->prepare[0] &&
           !trib_msg_fit_has_ways(fit);
}

static void fill_tally(Tributary__V1__Tally *out, const struct trib_msg_tally *msg)
{
    tributary__v1__tally__init(out);
    out->kind = (Tributary__V1__TallyKind)msg->kind;
    out->values = msg->values;
    out->scale = msg->scale;
    out->request = bytes_of(msg->request, msg->request_size);
}

// Of a kind that we do not know even the numbers may mean something else; the task is declined.
static bool take_tally(const Tributary__V1__Tally *in, struct trib_msg_fit *out)
{
    if (!in)
        return true;
    out->tally.kind = (uint32_t)in->kind;
    out->tally.values = in->values;
    out->tally.scale = in->scale;
    out->is_strange = out->is_strange || in->base.n_unknown_fields > 0 || in->kind == 0;
    if (in->request.len > sizeof(out->tally.request))
        return false;
    out->tally.request_size = in->request.len;
    if (in->request.len > 0)
        memcpy(out->tally.request, in->request.data, in->request.len);
    return in->values >= 1 && in->values <= TRIB_TALLY_VALUES_MAX && is_amount(in->scale);
}

bool trib_msg_fit_has_ways(const struct trib_msg_fit *fit)
{
    return fit->sampling != 0 || fit->sampling_ratio != 0 || fit->smote_neighbours != 0 ||
           fit->jitter != 0 || fit->mixup != 0 || fit->shift != 0 || fit->rotate != 0 ||
           fit->crop != 0 || fit->frozen_layers != 0 || fit->trunk_layers != 0 ||
           fit->trunk_rate != 0;
}

static void fill_fit(Tributary__V1__Fit *out, const struct trib_msg_fit *msg)
{
    tributary__v1__fit__init(out);
    out->optimizer = (Tributary__V1__Optimizer)msg->optimizer;
    out->decoupled_decay = msg->decoupled_decay;
    out->l1 = msg->l1;
    out->proximal_mu = msg->proximal_mu;
    out->clip_norm = msg->clip_norm;
    out->lr_schedule = (Tributary__V1__LrSchedule)msg->lr_schedule;
    out->lr_step = msg->lr_step;
    out->lr_gamma = msg->lr_gamma;
    out->lr_min = msg->lr_min;
    out->validation_fraction = msg->validation_fraction;
    out->patience = msg->patience;
    out->personal_epochs = msg->personal_epochs;
    out->class_weights = (Tributary__V1__ClassWeights)msg->class_weights;
    out->mode = (Tributary__V1__LearningMode)msg->mode;
    out->prepare = bytes_of((const uint8_t *)msg->prepare, strlen(msg->prepare));
    out->sampling = (Tributary__V1__Sampling)msg->sampling;
    out->sampling_ratio = msg->sampling_ratio;
    out->smote_neighbours = msg->smote_neighbours;
    out->jitter = msg->jitter;
    out->mixup = msg->mixup;
    out->shift = msg->shift;
    out->rotate = msg->rotate;
    out->crop = msg->crop;
    out->frozen_layers = msg->frozen_layers;
    out->trunk_layers = msg->trunk_layers;
    out->trunk_rate = msg->trunk_rate;
}

static bool take_pipeline(const ProtobufCBinaryData *in, struct trib_msg_fit *out)
{
    if (in->len > TRIB_PIPELINE_TEXT_MAX || (in->len > 0 && memchr(in->data, 0, in->len)))
        return false;
    if (in->len > 0)
        memcpy(out->prepare, in->data, in->len);
    out->prepare[in->len] = '\0';
    return true;
}

// The bounds of what is checked here; what fits the model, the device judges.
static bool take_ways(const Tributary__V1__Fit *in)
{
    return is_amount(in->sampling_ratio) && in->sampling_ratio <= 1 && in->smote_neighbours <= 64 &&
           is_amount(in->jitter) && is_amount(in->mixup) && in->mixup <= 1 && in->shift <= 1000 &&
           is_amount(in->rotate) && in->rotate <= 180 && is_amount(in->crop) && in->crop <= 1 &&
           is_amount(in->trunk_rate);
}

static bool take_fit(const Tributary__V1__Fit *in, struct trib_msg_fit *out)
{
    if (!in)
        return true;
    *out = (struct trib_msg_fit){
        .optimizer = (uint32_t)in->optimizer,
        .decoupled_decay = in->decoupled_decay,
        .l1 = in->l1,
        .proximal_mu = in->proximal_mu,
        .clip_norm = in->clip_norm,
        .lr_schedule = (uint32_t)in->lr_schedule,
        .lr_step = in->lr_step,
        .lr_gamma = in->lr_gamma,
        .lr_min = in->lr_min,
        .validation_fraction = in->validation_fraction,
        .patience = in->patience,
        .personal_epochs = in->personal_epochs,
        .class_weights = (uint32_t)in->class_weights,
        .mode = (uint32_t)in->mode,
        .sampling = (uint32_t)in->sampling,
        .sampling_ratio = in->sampling_ratio,
        .smote_neighbours = in->smote_neighbours,
        .jitter = in->jitter,
        .mixup = in->mixup,
        .rotate = in->rotate,
        .crop = in->crop,
        .shift = in->shift,
        .frozen_layers = in->frozen_layers,
        .trunk_layers = in->trunk_layers,
        .trunk_rate = in->trunk_rate,
        .is_strange = in->base.n_unknown_fields > 0,
    };
    return is_amount(in->l1) && is_amount(in->proximal_mu) && is_amount(in->clip_norm) &&
           is_amount(in->lr_gamma) && in->lr_gamma <= 1 && is_amount(in->lr_min) &&
           is_amount(in->validation_fraction) && in->validation_fraction <= 0.9 &&
           (in->lr_schedule != TRIBUTARY__V1__LR_SCHEDULE__LR_SCHEDULE_STEP ||
            (in->lr_step >= 1 && in->lr_gamma > 0)) &&
           take_tally(in->tally, out) && take_pipeline(&in->prepare, out) && take_ways(in);
}

void trib_msg_task_pack(const struct trib_msg_task *msg, struct trib_buf *buf)
{
    Tributary__V1__Fit fit;
    Tributary__V1__Tally tally;
    Tributary__V1__Task out;
    Tributary__V1__Encoding encoding;
    Tributary__V1__SecaggPlan secagg;
    Tributary__V1__Hyper hyper[TRIB_HYPER_MAX];
    Tributary__V1__Hyper *hyper_list[TRIB_HYPER_MAX];

    tributary__v1__task__init(&out);
    out.round_id = msg->round_id;
    out.round_number = msg->round_number;
    out.job = msg->job;
    out.population = text_of(msg->population);
    out.spec = text_of(msg->spec);
    out.base_generation = msg->base_generation;
    out.base_version = msg->base_version;
    out.base_digest = bytes_of(msg->base_digest, sizeof(msg->base_digest));
    out.seed = msg->seed;
    out.epochs = msg->epochs;
    out.batch = msg->batch;
    out.learning_rate = msg->learning_rate;
    out.momentum = msg->momentum;
    out.weight_decay = msg->weight_decay;
    fill_encoding(&encoding, &msg->encoding);
    out.encoding = &encoding;
    fill_secagg(&secagg, &msg->secagg);
    if (msg->secagg.members > 0)
        out.secagg = &secagg;
    fill_fit(&fit, &msg->fit);
    fill_tally(&tally, &msg->fit.tally);
    if (msg->fit.tally.kind)
        fit.tally = &tally;
    if (!trib_msg_fit_is_plain(&msg->fit))
        out.fit = &fit;
    out.weight_max = msg->weight_max;
    out.epsilon_pure = msg->epsilon_pure;
    out.rho = msg->rho;
    out.report_ms = msg->report_ms;
    out.send_tick_ms = msg->send_tick_ms;
    out.test_seed = msg->test_seed;
    for (uint32_t i = 0; i < msg->hyper_count; i++) {
        tributary__v1__hyper__init(&hyper[i]);
        hyper[i].name = text_of(msg->hyper[i].name);
        hyper[i].value = msg->hyper[i].value;
        hyper_list[i] = &hyper[i];
    }
    out.n_hyper = msg->hyper_count;
    out.hyper = hyper_list;
    pack_into(buf, &out.base);
}

static bool take_hyper(const Tributary__V1__Task *in, struct trib_msg_task *out)
{
    if (in->n_hyper > TRIB_HYPER_MAX)
        return false;
    out->hyper_count = (uint32_t)in->n_hyper;
    for (uint32_t i = 0; i < out->hyper_count; i++) {
        struct trib_msg_hyper *hyper = &out->hyper[i];
        hyper->value = in->hyper[i]->value;
        if (!isfinite(hyper->value) ||
            !take_text(in->hyper[i]->name, hyper->name, sizeof(hyper->name), 1))
            return false;
    }
    return true;
}

static bool take_task(const Tributary__V1__Task *in, struct trib_msg_task *out)
{
    out->round_id = in->round_id;
    out->round_number = in->round_number;
    out->job = in->job;
    out->base_generation = in->base_generation;
    out->base_version = in->base_version;
    out->seed = in->seed;
    out->epochs = in->epochs;
    out->batch = in->batch;
    out->learning_rate = in->learning_rate;
    out->momentum = in->momentum;
    out->weight_decay = in->weight_decay;
    out->weight_max = in->weight_max;
    out->epsilon_pure = in->epsilon_pure;
    out->rho = in->rho;
    out->report_ms = in->report_ms;
    out->send_tick_ms = in->send_tick_ms;
    out->test_seed = in->test_seed;
    return in->epochs >= 1 && in->epochs <= 10000 && in->batch <= TRIB_ROWS_MAX &&
           is_amount(in->learning_rate) && is_amount(in->momentum) && in->momentum < 1 &&
           is_amount(in->weight_decay) && is_amount(in->epsilon_pure) && is_amount(in->rho) &&
           in->send_tick_ms <= 60000 &&
           take_text(in->population, out->population, sizeof(out->population), 1) &&
           take_text(in->spec, out->spec, sizeof(out->spec), 1) &&
           take_bytes(&in->base_digest, out->base_digest, sizeof(out->base_digest)) &&
           take_encoding(in->encoding, &out->encoding) && take_secagg(in, &out->secagg) &&
           take_fit(in->fit, &out->fit) && take_hyper(in, out);
}

DEFINE_UNPACK(task, Task, task, take_task(in, out))

void trib_msg_task_reply_pack(const struct trib_msg_task_reply *msg, struct trib_buf *buf)
{
    Tributary__V1__TaskReply out;
    tributary__v1__task_reply__init(&out);
    out.round_id = msg->round_id;
    out.code = msg->code;
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(task_reply, TaskReply, task_reply,
              (out->round_id = in->round_id, take_code(in->code, &out->code)))

void trib_msg_round_end_pack(const struct trib_msg_round_end *msg, struct trib_buf *buf)
{
    Tributary__V1__RoundEnd out;
    Tributary__V1__Pace pace;
    tributary__v1__round_end__init(&out);
    fill_pace(&pace, &msg->pace);
    out.round_id = msg->round_id;
    out.pace = &pace;
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(round_end, RoundEnd, round_end,
              (out->round_id = in->round_id, take_pace(in->pace, &out->pace)))

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
    out.digest = bytes_of(msg->digest, sizeof(msg->digest));
    out.arch_digest = bytes_of(msg->arch_digest, sizeof(msg->arch_digest));
    out.spec = text_of(msg->spec);
    out.params = msg->params;
    out.job = msg->job;
    out.round_id = msg->round_id;
    out.round_number = msg->round_number;
    out.kind = text_of(msg->kind);
    out.accepted = msg->accepted;
    out.created_ms = msg->created_ms;
    for (uint32_t i = 0; i < msg->metric_count; i++) {
        tributary__v1__metric__init(&metrics[i]);
        metrics[i].name = text_of(msg->metrics[i].name);
        metrics[i].value = msg->metrics[i].value;
        metric_list[i] = &metrics[i];
    }
    out.n_metrics = msg->metric_count;
    out.metrics = metric_list;
    out.mode = (Tributary__V1__PrivacyMode)msg->mode;
    out.epsilon_pure = msg->epsilon_pure;
    out.epsilon = msg->epsilon;
    out.delta = msg->delta;
    out.population = text_of(msg->population);
    if (!is_zero(msg->prepare_digest, sizeof(msg->prepare_digest)))
        out.prepare_digest = bytes_of(msg->prepare_digest, sizeof(msg->prepare_digest));
    pack_into(buf, &out.base);
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
        if (!take_text(in->metrics[i]->name, metric->name, sizeof(metric->name), 1))
            return false;
    }
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
           is_amount(in->epsilon_pure) && is_amount(in->epsilon) && is_amount(in->delta) &&
           take_bytes(&in->digest, out->digest, sizeof(out->digest)) &&
           take_bytes(&in->arch_digest, out->arch_digest, sizeof(out->arch_digest)) &&
           take_text(in->spec, out->spec, sizeof(out->spec), 1) &&
           take_text(in->kind, out->kind, sizeof(out->kind), 1) &&
           take_text(in->population, out->population, sizeof(out->population), 1) &&
           (in->prepare_digest.len == 0 ||
            take_bytes(&in->prepare_digest, out->prepare_digest, sizeof(out->prepare_digest))) &&
           take_metrics(in, out);
}

DEFINE_UNPACK(manifest, Manifest, manifest, take_manifest(in, out))

void trib_msg_new_version_pack(const struct trib_msg_new_version *msg, struct trib_buf *buf)
{
    Tributary__V1__NewVersion out;
    tributary__v1__new_version__init(&out);
    out.manifest = bytes_of(msg->manifest, msg->manifest_size);
    out.signature = bytes_of(msg->signature, sizeof(msg->signature));
    pack_into(buf, &out.base);
}

static bool take_new_version(const Tributary__V1__NewVersion *in, struct trib_msg_new_version *out)
{
    out->manifest_size = in->manifest.len;
    return in->manifest.len >= 1 && in->manifest.len <= sizeof(out->manifest) &&
           take_bytes(&in->manifest, out->manifest, in->manifest.len) &&
           take_bytes(&in->signature, out->signature, sizeof(out->signature));
}

DEFINE_UNPACK(new_version, NewVersion, new_version, take_new_version(in, out))

void trib_msg_model_get_pack(const struct trib_msg_model_get *msg, struct trib_buf *buf)
{
    Tributary__V1__ModelGet out;
    tributary__v1__model_get__init(&out);
    out.digest = bytes_of(msg->digest, sizeof(msg->digest));
    out.offset = msg->offset;
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(model_get, ModelGet, model_get,
              (out->offset = in->offset, take_bytes(&in->digest, out->digest, TRIB_DIGEST_SIZE)))

void trib_msg_installed_pack(const struct trib_msg_installed *msg, struct trib_buf *buf)
{
    Tributary__V1__Installed out;
    tributary__v1__installed__init(&out);
    out.generation = msg->generation;
    out.version = msg->version;
    out.digest = bytes_of(msg->digest, sizeof(msg->digest));
    out.code = msg->code;
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(installed, Installed, installed,
              (out->generation = in->generation, out->version = in->version,
               take_bytes(&in->digest, out->digest, TRIB_DIGEST_SIZE) &&
                   take_code(in->code, &out->code)))

// ---- UploadBegin, Credit, UploadEnd, Receipt

void trib_msg_upload_begin_pack(const struct trib_msg_upload_begin *msg, struct trib_buf *buf)
{
    Tributary__V1__UploadBegin out;
    tributary__v1__upload_begin__init(&out);
    out.update_id = bytes_of(msg->update_id, sizeof(msg->update_id));
    out.round_id = msg->round_id;
    out.size = msg->size;
    out.digest = bytes_of(msg->digest, sizeof(msg->digest));
    out.base_digest = bytes_of(msg->base_digest, sizeof(msg->base_digest));
    out.arch_digest = bytes_of(msg->arch_digest, sizeof(msg->arch_digest));
    if (msg->has_weight) {
        out.claim_case = TRIBUTARY__V1__UPLOAD_BEGIN__CLAIM_WEIGHT;
        out.weight = msg->weight;
    }
    pack_into(buf, &out.base);
}

static bool take_upload_begin(const Tributary__V1__UploadBegin *in,
                              struct trib_msg_upload_begin *out)
{
    out->round_id = in->round_id;
    out->size = in->size;
    out->has_weight = in->claim_case == TRIBUTARY__V1__UPLOAD_BEGIN__CLAIM_WEIGHT;
    out->weight = out->has_weight ? in->weight : 0;
    return take_bytes(&in->update_id, out->update_id, sizeof(out->update_id)) &&
           take_bytes(&in->digest, out->digest, sizeof(out->digest)) &&
           take_bytes(&in->base_digest, out->base_digest, sizeof(out->base_digest)) &&
           take_bytes(&in->arch_digest, out->arch_digest, sizeof(out->arch_digest));
}

DEFINE_UNPACK(upload_begin, UploadBegin, upload_begin, take_upload_begin(in, out))

void trib_msg_credit_pack(const struct trib_msg_credit *msg, struct trib_buf *buf)
{
    Tributary__V1__Credit out;
    tributary__v1__credit__init(&out);
    out.update_id = bytes_of(msg->update_id, sizeof(msg->update_id));
    out.offset = msg->offset;
    out.limit = msg->limit;
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(credit, Credit, credit,
              (out->offset = in->offset, out->limit = in->limit,
               in->limit >= in->offset &&
                   take_bytes(&in->update_id, out->update_id, TRIB_MSG_ID_SIZE)))

void trib_msg_upload_end_pack(const struct trib_msg_upload_end *msg, struct trib_buf *buf)
{
    Tributary__V1__UploadEnd out;
    tributary__v1__upload_end__init(&out);
    out.update_id = bytes_of(msg->update_id, sizeof(msg->update_id));
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(upload_end, UploadEnd, upload_end,
              take_bytes(&in->update_id, out->update_id, TRIB_MSG_ID_SIZE))

void trib_msg_receipt_pack(const struct trib_msg_receipt *msg, struct trib_buf *buf)
{
    Tributary__V1__Receipt out;
    Tributary__V1__Pace pace;
    tributary__v1__receipt__init(&out);
    fill_pace(&pace, &msg->pace);
    out.update_id = bytes_of(msg->update_id, sizeof(msg->update_id));
    out.code = msg->code;
    out.pace = &pace;
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(receipt, Receipt, receipt,
              take_bytes(&in->update_id, out->update_id, TRIB_MSG_ID_SIZE) &&
                  take_code(in->code, &out->code) && take_pace(in->pace, &out->pace))

// ---- SecaggOpen, SecaggStep

void trib_msg_secagg_open_pack(const struct trib_msg_secagg_open *msg, struct trib_buf *buf)
{
    Tributary__V1__SecaggOpen out;
    tributary__v1__secagg_open__init(&out);
    out.round_id = msg->round_id;
    out.invited = bytes_of(msg->invited, sizeof(msg->invited));
    out.roster_key = bytes_of(msg->roster_key, sizeof(msg->roster_key));
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(secagg_open, SecaggOpen, secagg_open,
              (out->round_id = in->round_id,
               take_bytes(&in->invited, out->invited, sizeof(out->invited)) &&
                   take_bytes(&in->roster_key, out->roster_key, sizeof(out->roster_key))))

void trib_msg_secagg_step_pack(const struct trib_msg_secagg_step *msg, struct trib_buf *buf)
{
    Tributary__V1__SecaggStep out;
    tributary__v1__secagg_step__init(&out);
    out.round_id = msg->round_id;
    out.kind = (Tributary__V1__SecaggStepKind)msg->kind;
    out.size = msg->size;
    pack_into(buf, &out.base);
}

DEFINE_UNPACK(secagg_step, SecaggStep, secagg_step,
              (out->round_id = in->round_id, out->kind = (uint32_t)in->kind, out->size = in->size,
               in->size >= 1 && in->size <= TRIB_SECAGG_STEP_MAX))
