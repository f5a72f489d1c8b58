// Task, TaskReply and RoundEnd of message.h.
#include "common/wire/message_fields.h"

enum {
    EPOCHS_MAX = 10000
};

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
    return isfinite(in->grid) && in->grid > 0 && trib_field_is_amount(in->clip_l1) &&
           trib_field_is_amount(in->clip_l2);
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
           fit->folds == 0 && fit->patience == 0 && fit->class_weights == 0 &&
           fit->personal_epochs == 0 && fit->tally.kind == 0 && fit->mode == 0 &&
           !fit->prepare[0] && !fit->counters[0] && !trib_msg_fit_has_ways(fit);
}

static void fill_tally(Tributary__V1__Tally *out, const struct trib_msg_tally *msg)
{
    tributary__v1__tally__init(out);
    out->kind = (Tributary__V1__TallyKind)msg->kind;
    out->values = msg->values;
    out->scale = msg->scale;
    out->request = trib_field_bytes(msg->request, msg->request_size);
    out->ranking_k = msg->ranking_k;
    out->ranking_relevant = msg->ranking_relevant;
    out->ranking_negatives = msg->ranking_negatives;
    out->layout = msg->layout;
    out->is_decided = msg->is_decided;
    out->threshold = msg->threshold;
}

// Of a kind that we do not know even the numbers may mean something else; the task is declined.
static bool take_tally(const Tributary__V1__Tally *in, struct trib_msg_fit *out)
{
    if (!in)
        return true;
    out->tally.kind = (uint32_t)in->kind;
    out->tally.values = in->values;
    out->tally.scale = in->scale;
    out->tally.ranking_k = in->ranking_k;
    out->tally.ranking_relevant = in->ranking_relevant;
    out->tally.ranking_negatives = in->ranking_negatives;
    out->tally.layout = in->layout;
    out->tally.is_decided = in->is_decided;
    out->tally.threshold = in->threshold;
    out->is_strange = out->is_strange || in->base.n_unknown_fields > 0 || in->kind == 0;
    if (in->request.len > sizeof(out->tally.request))
        return false;
    out->tally.request_size = in->request.len;
    if (in->request.len > 0)
        memcpy(out->tally.request, in->request.data, in->request.len);
    return in->values >= 1 && in->values <= TRIB_TALLY_VALUES_MAX &&
           trib_field_is_amount(in->scale) && isfinite(in->ranking_relevant) &&
           trib_field_is_amount(in->threshold) && in->threshold <= (in->is_decided ? 1 : 0);
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
    out->folds = msg->folds;
    out->fold = msg->fold;
    out->patience = msg->patience;
    out->personal_epochs = msg->personal_epochs;
    out->class_weights = (Tributary__V1__ClassWeights)msg->class_weights;
    out->n_class_weight = msg->class_count;
    out->class_weight = trib_field_floats(msg->class_weight);
    out->mode = (Tributary__V1__LearningMode)msg->mode;
    out->prepare = trib_field_bytes((const uint8_t *)msg->prepare, strlen(msg->prepare));
    out->counters = trib_field_bytes((const uint8_t *)msg->counters, strlen(msg->counters));
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

// `room` has one byte more, for the NUL.
static bool take_text(const ProtobufCBinaryData *in, size_t size_max, char *room)
{
    if (in->len > size_max || (in->len > 0 && memchr(in->data, 0, in->len)))
        return false;
    if (in->len > 0)
        memcpy(room, in->data, in->len);
    room[in->len] = '\0';
    return true;
}

// The device judges whether there are as many as its model has classes.
static bool take_class_weights(const Tributary__V1__Fit *in, struct trib_msg_fit *out)
{
    if (in->n_class_weight > TRIB_CLASS_WEIGHTS_MAX)
        return false;
    out->class_count = (uint32_t)in->n_class_weight;
    for (size_t c = 0; c < in->n_class_weight; c++) {
        out->class_weight[c] = in->class_weight[c];
        if (!trib_field_is_amount((double)in->class_weight[c]))
            return false;
    }
    return true;
}

// The bounds of what is checked here; what fits the model, the device judges.
static bool take_ways(const Tributary__V1__Fit *in)
{
    return trib_field_is_amount(in->sampling_ratio) && in->sampling_ratio <= 1 &&
           in->smote_neighbours <= 64 && trib_field_is_amount(in->jitter) &&
           trib_field_is_amount(in->mixup) && in->mixup <= 1 && in->shift <= 1000 &&
           trib_field_is_amount(in->rotate) && in->rotate <= 180 &&
           trib_field_is_amount(in->crop) && in->crop <= 1 && trib_field_is_amount(in->trunk_rate);
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
        .folds = in->folds,
        .fold = in->fold,
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
    return in->patience <= EPOCHS_MAX && in->personal_epochs <= EPOCHS_MAX &&
           trib_field_is_amount(in->l1) && trib_field_is_amount(in->proximal_mu) &&
           trib_field_is_amount(in->clip_norm) && trib_field_is_amount(in->lr_gamma) &&
           in->lr_gamma <= 1 && trib_field_is_amount(in->lr_min) &&
           trib_field_is_amount(in->validation_fraction) && in->validation_fraction <= 0.9 &&
           (in->folds == 0 ? in->fold == 0
                           : in->folds >= 2 && in->folds <= TRIB_KEPT_FOLDS_MAX &&
                                 in->fold < in->folds && in->validation_fraction == 0) &&
           (in->lr_schedule != TRIBUTARY__V1__LR_SCHEDULE__LR_SCHEDULE_STEP ||
            (in->lr_step >= 1 && in->lr_gamma > 0)) &&
           take_class_weights(in, out) && take_tally(in->tally, out) && take_ways(in) &&
           take_text(&in->prepare, TRIB_PIPELINE_TEXT_MAX, out->prepare) &&
           take_text(&in->counters, TRIB_COUNTERS_TEXT_MAX, out->counters);
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
    out.population = trib_field_text(msg->population);
    out.spec = trib_field_text(msg->spec);
    out.base_generation = msg->base_generation;
    out.base_version = msg->base_version;
    out.base_digest = trib_field_bytes(msg->base_digest, sizeof(msg->base_digest));
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
        hyper[i].name = trib_field_text(msg->hyper[i].name);
        hyper[i].value = msg->hyper[i].value;
        hyper_list[i] = &hyper[i];
    }
    out.n_hyper = msg->hyper_count;
    out.hyper = hyper_list;
    trib_field_pack(buf, &out.base);
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
            !trib_field_take_text(in->hyper[i]->name, hyper->name, sizeof(hyper->name), 1))
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
    return in->epochs >= 1 && in->epochs <= EPOCHS_MAX && in->batch <= TRIB_ROWS_MAX &&
           trib_field_is_amount(in->learning_rate) && trib_field_is_amount(in->momentum) &&
           in->momentum < 1 && trib_field_is_amount(in->weight_decay) &&
           trib_field_is_amount(in->epsilon_pure) && trib_field_is_amount(in->rho) &&
           in->send_tick_ms <= 60000 &&
           trib_field_take_text(in->population, out->population, sizeof(out->population), 1) &&
           trib_field_take_text(in->spec, out->spec, sizeof(out->spec), 1) &&
           trib_field_take_bytes(&in->base_digest, out->base_digest, sizeof(out->base_digest)) &&
           take_encoding(in->encoding, &out->encoding) && take_secagg(in, &out->secagg) &&
           take_fit(in->fit, &out->fit) && take_hyper(in, out);
}

TRIB_DEFINE_UNPACK(task, Task, task, take_task(in, out))

void trib_msg_task_reply_pack(const struct trib_msg_task_reply *msg, struct trib_buf *buf)
{
    Tributary__V1__TaskReply out;
    tributary__v1__task_reply__init(&out);
    out.round_id = msg->round_id;
    out.code = msg->code;
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(task_reply, TaskReply, task_reply,
                   (out->round_id = in->round_id, trib_field_take_code(in->code, &out->code)))

void trib_msg_round_end_pack(const struct trib_msg_round_end *msg, struct trib_buf *buf)
{
    Tributary__V1__RoundEnd out;
    Tributary__V1__Pace pace;
    tributary__v1__round_end__init(&out);
    trib_field_fill_pace(&pace, &msg->pace);
    out.round_id = msg->round_id;
    out.pace = &pace;
    trib_field_pack(buf, &out.base);
}

TRIB_DEFINE_UNPACK(round_end, RoundEnd, round_end,
                   (out->round_id = in->round_id, trib_field_take_pace(in->pace, &out->pace)))
