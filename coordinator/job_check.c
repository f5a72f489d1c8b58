// The keys of a job, and whether they make sense together.
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/math/metrics.h"
#include "coordinator/class_round.h"
#include "coordinator/gate.h"
#include "coordinator/job.h"
#include "coordinator/job_held_out.h"
#include "coordinator/job_ways.h"
#include "coordinator/tally_round.h"

#define KEY(section, name, type, member, ...)                                      \
    {                                                                              \
        section, name, type, offsetof(struct trib_job_config, member), __VA_ARGS__ \
    }
#define ANY 0, 0, NULL

// As enum trib_job_metric has them.
#define METRICS                                                                                   \
    "accuracy|f1|loss|mse|r2|balanced_accuracy|mcc|mae|rmse|mape|auc|average_precision|log_loss|" \
    "brier|ece|kappa|top5_accuracy|positive_precision|positive_recall|positive_f1|"               \
    "hit_rate_at_k|recall_at_k|ndcg_at_k"

static const struct trib_conf_key job_keys[] = {
    KEY("model", "spec", TRIB_CONF_TEXT, spec, "", "layers, e.g. 64 - dense 10 softmax", ANY),
    KEY("model", "seed", TRIB_CONF_INT, model_seed, "1", "seed of the initial weights", ANY),
    KEY("model", "init", TRIB_CONF_PATH, model_init, "",
        "start from the parameters in this safetensors or npz file", ANY),

    KEY("model", "init_version", TRIB_CONF_INT, model_init_version, "0",
        "start from this version of the coordinator; 0: from init, or the newest version if it is of "
        "this model",
        ANY),
    KEY("model", "fresh", TRIB_CONF_BOOL, model_fresh, "no",
        "start from the seed also when the newest version is of this model", ANY),
    KEY("model", "init_map", TRIB_CONF_TEXT, model_init_map, "",
        "of init, when it has another architecture: layers OLD:NEW to start from, e.g. 0:0,1:2",
        ANY),

    KEY("round", "rounds", TRIB_CONF_INT, rounds, "10", "rounds of the job", 1, TRIB_ROUNDS_MAX,
        NULL),
    KEY("round", "cohort", TRIB_CONF_INT, cohort, "20", "devices counted per round", 1,
        TRIB_COHORT_MAX, NULL),
    KEY("round", "over_selection", TRIB_CONF_REAL, over_selection, "1.0",
        "devices asked per device counted", 1, 10, NULL),
    KEY("round", "min_accepted", TRIB_CONF_INT, min_accepted, "0",
        "with fewer updates a round is abandoned; 0: half the cohort", 0, TRIB_COHORT_MAX, NULL),
    KEY("round", "norm_max", TRIB_CONF_REAL, norm_max, "0",
        "privacy off: an update whose L2 norm is larger is refused; 0: none", 0, 1e9, NULL),
    KEY("round", "local_epochs", TRIB_CONF_INT, local_epochs, "1",
        "passes over a device's rows per round", 1, 10000, NULL),
    KEY("round", "batch", TRIB_CONF_INT, batch, "32", "rows per step; 0: all", 0, 1 << 20, NULL),
    KEY("round", "learning_rate", TRIB_CONF_REAL, learning_rate, "0.1",
        "of the device's optimizer, at first", 0, 1e6, NULL),
    KEY("round", "momentum", TRIB_CONF_REAL, momentum, "0", "of sgd and nesterov", 0, 0.9999, NULL),
    KEY("round", "weight_decay", TRIB_CONF_REAL, weight_decay, "0", "L2 penalty", 0, 1e6, NULL),
    KEY("round", "optimizer", TRIB_CONF_CHOICE, optimizer, "sgd", "how a device makes its steps", 0,
        0, "sgd|nesterov|adam"),
    KEY("round", "decoupled_decay", TRIB_CONF_BOOL, decoupled_decay, "no",
        "adam: weight_decay shrinks the parameters themselves (AdamW)", ANY),
    KEY("round", "l1", TRIB_CONF_REAL, l1, "0",
        "L1 penalty on the device, proximal: exact zeros in what it trains", 0, 1e6, NULL),
    KEY("round", "proximal_mu", TRIB_CONF_REAL, proximal_mu, "0",
        "FedProx: how strongly training is pulled back to the round's version", 0, 1e6, NULL),
    KEY("round", "clip_norm", TRIB_CONF_REAL, clip_norm, "0",
        "bound on the L2 norm of the gradient of a step; 0: none", 0, 1e9, NULL),
    KEY("round", "lr_schedule", TRIB_CONF_CHOICE, lr_schedule, "constant",
        "how learning_rate falls; plateau: when the held-out metric stops getting better", 0, 0,
        "constant|step|cosine|plateau"),
    KEY("round", "lr_over", TRIB_CONF_CHOICE, lr_over, "rounds",
        "it falls from round to round, or over the steps of a device within each", 0, 0,
        "rounds|steps"),
    KEY("round", "lr_step_rounds", TRIB_CONF_INT, lr_step_rounds, "10",
        "step: rounds (or steps) between two cuts; plateau: evaluations without a better value", 1,
        1e9, NULL),
    KEY("round", "lr_gamma", TRIB_CONF_REAL, lr_gamma, "0.5", "step, plateau: factor of a cut",
        1e-6, 1, NULL),
    KEY("round", "lr_min", TRIB_CONF_REAL, lr_min, "0", "the rate never falls below it", 0, 1e6,
        NULL),
    KEY("round", "validation_fraction", TRIB_CONF_REAL, validation_fraction, "0",
        "share of a device's rows kept aside; the parameters of its best epoch are sent", 0, 0.9,
        NULL),
    KEY("round", "folds", TRIB_CONF_INT, folds, "0",
        "parts of a device's rows, of which one is kept aside for evaluate_on_devices; 0: none", 0,
        TRIB_KEPT_FOLDS_MAX, NULL),
    KEY("round", "fold", TRIB_CONF_INT, fold, "0", "which of them, from 0", 0,
        TRIB_KEPT_FOLDS_MAX - 1, NULL),
    KEY("round", "patience", TRIB_CONF_INT, patience, "0",
        "epochs without a better validation loss after which a device stops; 0: all epochs", 0,
        10000, NULL),
    KEY("round", "personal_epochs", TRIB_CONF_INT, personal_epochs, "0",
        "epochs before the others in which only the model's local part moves", 0, 10000, NULL),
    KEY("round", "class_weights", TRIB_CONF_CHOICE, class_weights, "none",
        "each class weighs the same in sum: own, of the rows of a device; balanced, of all devices'",
        0, 0, "none|own|balanced"),
    KEY("round", "mode", TRIB_CONF_CHOICE, learning_mode, "batch",
        "a device learns from all its rows, from those that are new, or from each once as it comes",
        0, 0, "batch|incremental|online"),
    KEY("round", "sampling", TRIB_CONF_CHOICE, sampling, "none",
        "against imbalance: classes of a device are visited more or less often, or rows made up", 0,
        0, "none|over|under|smote"),
    KEY("round", "sampling_ratio", TRIB_CONF_REAL, sampling_ratio, "1",
        "of sampling: visits of the smallest class over those of the largest", 1e-6, 1, NULL),
    KEY("round", "smote_neighbours", TRIB_CONF_INT, smote_neighbours, "5",
        "smote: how many neighbours a made-up row may lie towards", 1, TRIB_NEIGHBOURS_MAX, NULL),
    KEY("round", "augment", TRIB_CONF_TEXT, augment, "",
        "change rows while training, e.g. jitter:0.1, mixup:0.2, shift:2, rotate:10, crop:0.8",
        ANY),
    KEY("round", "freeze", TRIB_CONF_TEXT, freeze, "", "layers that stay as they are, e.g. 0,1",
        ANY),
    KEY("round", "trunk", TRIB_CONF_TEXT, trunk, "", "layers that learn at trunk_rate", ANY),
    KEY("round", "trunk_rate", TRIB_CONF_REAL, trunk_rate, "0.1",
        "factor of the learning rate in the trunk", 1e-9, 1e6, NULL),
    KEY("round", "eval_every", TRIB_CONF_INT, eval_every, "1",
        "rounds between evaluations on held-out data; 0: never", 0, TRIB_ROUNDS_MAX, NULL),
    KEY("round", "evaluate_on_devices", TRIB_CONF_INT, evaluate_on_devices, "0",
        "rounds between measurements on the rows that devices keep aside; 0: never", 0,
        TRIB_ROUNDS_MAX, NULL),
    KEY("round", "counters", TRIB_CONF_TEXT, counters, "",
        "what applications on the devices may count, e.g. clicks:rate, minutes:sum:0:60", ANY),
    KEY("round", "count_every", TRIB_CONF_INT, count_every, "0",
        "rounds between collections of the counters; 0: never", 0, TRIB_ROUNDS_MAX, NULL),
    KEY("round", "seed", TRIB_CONF_INT, round_seed, "1", "seed of cohorts and shuffles", ANY),
    KEY("round", "select_ms", TRIB_CONF_INT, select_ms, "60000",
        "milliseconds to find devices for a round", 1, 86400000, NULL),
    KEY("round", "report_ms", TRIB_CONF_INT, report_ms, "600000",
        "milliseconds to collect their updates", 1, 604800000, NULL),
    KEY("round", "target_metric", TRIB_CONF_CHOICE, target_metric, "none",
        "stop when this held-out metric reaches target_value", 0, 0, "none|" METRICS),
    KEY("round", "target_value", TRIB_CONF_REAL, target_value, "0", "the value to reach", ANY),
    KEY("round", "primary_metric", TRIB_CONF_CHOICE, primary_metric, "auto",
        "held-out metric that is shown and that the best version and a plateau go by; auto: "
        "accuracy, or mse",
        0, 0, "auto|" METRICS),
    KEY("round", "threshold_goal", TRIB_CONF_TEXT, threshold_goal, "none",
        "two classes: how the probability is chosen from which on a row is of class 1: none (one "
        "half), f1, accuracy, youden, recall:R or precision:P",
        ANY),
    KEY("round", "test_share", TRIB_CONF_REAL, test_share, "0",
        "share of the held-out rows that only report: nothing is chosen by them", 0, 0.9, NULL),
    KEY("round", "ranking_k", TRIB_CONF_INT, ranking_k, "0",
        "recommenders: how many items a user is shown, for hit_rate_at_k, recall_at_k and "
        "ndcg_at_k; 0: users are not ranked",
        0, 1 << 24, NULL),
    KEY("round", "ranking_relevant", TRIB_CONF_REAL, ranking_relevant, "1",
        "labels from this on make an item relevant to a user", ANY),
    KEY("round", "ranking_negatives", TRIB_CONF_INT, ranking_negatives, "0",
        "other items that are ranked with a user's relevant ones, drawn; 0: all", 0, 1 << 24, NULL),
    KEY("round", "test_last", TRIB_CONF_INT, test_last, "0",
        "instead of test_share: the last so many held-out rows only report", 0, TRIB_ROWS_MAX,
        NULL),
    KEY("round", "stop_patience", TRIB_CONF_INT, stop_patience, "0",
        "stop after so many evaluations without a better metric; 0: go on", 0, TRIB_ROUNDS_MAX,
        NULL),
    KEY("round", "stop_min_delta", TRIB_CONF_REAL, stop_min_delta, "0",
        "what is better by less than this is not better", 0, 1e9, NULL),
    KEY("round", "deadline_s", TRIB_CONF_INT, deadline_s, "0",
        "stop when so many seconds have passed since the job was submitted; 0: never", 0, 1e9,
        NULL),
    KEY("round", "stratify_by", TRIB_CONF_CHOICE, stratify_by, "none",
        "group: each group of devices (of the allow-list) has its share of a round's", 0, 0,
        "none|group"),
    KEY("round", "equal_shares", TRIB_CONF_BOOL, equal_shares, "no",
        "of stratify_by: the same for all groups, and not what they have of all devices", ANY),
    KEY("round", "keep", TRIB_CONF_CHOICE, keep, "last",
        "which version stays in the end; best: the best evaluated one comes back", 0, 0,
        "last|best"),
    KEY("round", "baseline", TRIB_CONF_CHOICE, baseline, "prior",
        "what stands beside each evaluation: the best constant, or a linear model that devices count "
        "once before the first round",
        0, 0, "none|prior|linear"),
    KEY("round", "beat_baseline", TRIB_CONF_CHOICE, beat_baseline, "auto",
        "a version that is not better than the baseline does not stay: the job is refused; auto: "
        "where one is measured as the version is",
        0, 0, "no|yes|auto"),
    KEY("round", "baseline_margin", TRIB_CONF_REAL, baseline_margin, "0",
        "of beat_baseline: how much better, by the primary metric", 0, 1e9, NULL),

    KEY("strategy", "name", TRIB_CONF_CHOICE, strategy, "fedavg",
        "how updates become a version; this version has fedavg, fedadam, fedavgm, and newton for "
        "models N - dense 1 linear or sigmoid",
        0, 0, "fedavg|median|trimmed_mean|krum|newton|fedadam|fedavgm"),
    KEY("strategy", "beta1", TRIB_CONF_REAL, beta1, "0.9", "fedadam, fedavgm: momentum", 0, 0.9999,
        NULL),
    KEY("strategy", "beta2", TRIB_CONF_REAL, beta2, "0.99", "fedadam: of the second moment", 0,
        0.999999, NULL),
    KEY("strategy", "tau", TRIB_CONF_REAL, tau, "0.001", "fedadam: how small a denominator may be",
        1e-12, 1e6, NULL),
    KEY("strategy", "server_learning_rate", TRIB_CONF_REAL, server_learning_rate, "1.0",
        "factor on the mean delta", 0, 100, NULL),
    KEY("strategy", "tail_average", TRIB_CONF_REAL, tail_average, "0.5",
        "share of the last rounds averaged into the last version, when privacy is on", 0, 1, NULL),

    KEY("privacy", "mode", TRIB_CONF_CHOICE, privacy_mode, "distributed", "who adds the noise", 0,
        0, "off|local|distributed|central"),
    KEY("privacy", "noise", TRIB_CONF_CHOICE, noise, "laplace", "law of the noise", 0, 0,
        "laplace"),
    KEY("privacy", "grid_bits", TRIB_CONF_INT, grid_bits, "0",
        "noise scale is 2^grid_bits grid steps; 0: chosen", 0, 24, NULL),
    KEY("privacy", "clip_l1", TRIB_CONF_REAL, clip_l1, "0",
        "bound on the L1 norm of a delta; 0: from clip_l2", 0, 1e9, NULL),
    KEY("privacy", "clip_l2", TRIB_CONF_REAL, clip_l2, "0",
        "bound on the L2 norm of a delta; 0: 1.0 with privacy on, none with it off", 0, 1e9, NULL),
    KEY("privacy", "clip_linf", TRIB_CONF_REAL, clip_linf, "0",
        "bound on each coordinate; 0: from the others", 0, 1e9, NULL),
    KEY("privacy", "noise_multiplier", TRIB_CONF_REAL, noise_multiplier, "0",
        "noise scale over clip_l2; 0: from target_epsilon", 0, 1e9, NULL),
    KEY("privacy", "target_epsilon", TRIB_CONF_REAL, target_epsilon, "0",
        "total epsilon of the job, at target_delta", 0, 1e6, NULL),
    KEY("privacy", "target_delta", TRIB_CONF_REAL, target_delta, "0",
        "0: the smaller of 1e-6 and 1/(10 x devices)", 0, 0.5, NULL),
    KEY("privacy", "rounds", TRIB_CONF_INT, privacy_rounds, "0",
        "rounds that target_epsilon is spread over; 0: round.rounds", 0, TRIB_ROUNDS_MAX, NULL),
    KEY("privacy", "word_bits", TRIB_CONF_CHOICE, word_bits, "auto",
        "bits per coordinate on the wire", 0, 0, "auto|16|24|32"),
    KEY("privacy", "tally_scale", TRIB_CONF_REAL, tally_scale, "1",
        "with privacy on what is counted in rounds that do not train is divided by this, and then "
        "clipped and noised as a delta is",
        1e-9, 1e12, NULL),
    KEY("privacy", "send_tick_ms", TRIB_CONF_INT, send_tick_ms, "1000",
        "with privacy on devices send on a multiple of this time, which hides how long their noise "
        "took; 0: when ready (a scenario's default)",
        0, 60000, NULL),
    KEY("privacy", "test_seed", TRIB_CONF_INT, test_seed, "0",
        "predictable noise, for tests of a build with -Dtest_noise=true; 0: real noise", ANY),
    KEY("secagg", "phase_ms", TRIB_CONF_INT, phase_ms, "60000",
        "milliseconds for each phase of secure aggregation after the keys", 1, 86400000, NULL),
    KEY("secagg", "min_cohort", TRIB_CONF_INT, secagg_min_cohort, "20",
        "mode distributed: round.cohort must not be smaller", 2, TRIB_COHORT_MAX, NULL),
    KEY("secagg", "threshold_frac", TRIB_CONF_REAL, threshold_frac, "0.75",
        "share of the cohort that must stay to the end of a round", 0.5, 1, NULL),
    KEY("secagg", "max_colluders_frac", TRIB_CONF_REAL, max_colluders_frac, "0.10",
        "share of the cohort that may side with the coordinator", 0, 0.5, NULL),
    KEY("secagg", "graph", TRIB_CONF_CHOICE, secagg_graph, "auto",
        "who masks with whom: everybody with everybody up to 128 devices", 0, 0, "auto"),
    KEY("secagg", "word_bits", TRIB_CONF_CHOICE, secagg_word_bits, "auto",
        "bits per coordinate of a masked vector", 0, 0, "auto|16|24|32"),
};

void trib_job_conf_add(struct trib_conf *conf, struct trib_job_config *config)
{
    trib_conf_add(conf, job_keys, sizeof(job_keys) / sizeof(job_keys[0]), config);
}

static enum trib_err check_model_and_target(struct trib_conf *conf,
                                            const struct trib_job_config *config,
                                            struct trib_job *job)
{
    char why[256];
    if (!config->spec[0])
        return trib_conf_reject(conf, "model", "spec",
                                "is missing: say the layers, e.g. 64 - dense 10 softmax");
    if (trib_model_parse(config->spec, &job->model, why, sizeof(why)))
        return trib_conf_reject(conf, "model", "spec", "%s", why);
    if (config->model_init_version > 0 && config->model_init[0])
        return trib_conf_reject(conf, "model", "init_version",
                                "and init: a job starts from one of them");
    if (config->model_fresh && (config->model_init_version > 0 || config->model_init[0]))
        return trib_conf_reject(conf, "model", "fresh",
                                "and an init: a job starts from one of them");
    if (config->model_init_map[0] && !config->model_init[0] && config->model_init_version == 0)
        return trib_conf_reject(conf, "model", "init_map", "wants an init or init_version");
    enum trib_err err = trib_job_check_held_out(conf, config, job);
    if (err)
        return err;
    if (config->target_metric != TRIB_JOB_METRIC_NONE && config->eval_every == 0)
        return trib_conf_reject(conf, "round", "eval_every",
                                "must not be 0 when there is a target_metric");
    if (config->stop_patience > 0 && config->eval_every == 0)
        return trib_conf_reject(conf, "round", "eval_every",
                                "must not be 0 when there is a stop_patience");
    if (config->stop_min_delta > 0 && config->stop_patience == 0)
        return trib_conf_reject(conf, "round", "stop_min_delta", "wants a stop_patience");
    return TRIB_OK;
}

// In mode online a row is seen once, in its place, and by then nobody knows what comes behind it.
static enum trib_err check_mode(struct trib_conf *conf, const struct trib_job_config *config,
                                const struct trib_model *model)
{
    if (config->learning_mode != TRIB_JOB_MODE_BATCH && config->strategy == TRIB_JOB_NEWTON)
        return trib_conf_reject(
            conf, "round", "mode",
            "must be batch with strategy.name = newton: each step is over all rows");
    if (config->learning_mode != TRIB_JOB_MODE_ONLINE)
        return TRIB_OK;
    if (model->local_count > 0)
        return trib_conf_reject(conf, "round", "mode",
                                "cannot be online with a model that has a local part");
    if (config->local_epochs != 1)
        return trib_conf_reject(conf, "round", "local_epochs",
                                "must be 1 with mode = online: each row is seen once");
    if (config->batch == 0)
        return trib_conf_reject(conf, "round", "batch",
                                "must not be 0 with mode = online: how many rows make a step");
    if (config->batch > TRIB_ONLINE_BATCH_MAX)
        return trib_conf_reject(conf, "round", "batch", "must be at most %d with mode = online",
                                TRIB_ONLINE_BATCH_MAX);
    if (config->validation_fraction > 0)
        return trib_conf_reject(conf, "round", "validation_fraction",
                                "must be 0 with mode = online");
    if (config->class_weights)
        return trib_conf_reject(conf, "round", "class_weights", "must be none with mode = online");
    if (config->lr_schedule != TRIB_SCHEDULE_CONSTANT && config->lr_over == TRIB_JOB_LR_OVER_STEPS)
        return trib_conf_reject(conf, "round", "lr_over", "must be rounds with mode = online");
    return TRIB_OK;
}

static enum trib_err check_fit(struct trib_conf *conf, const struct trib_job_config *config,
                               struct trib_job *job)
{
    const bool is_adam = config->optimizer == TRIB_OPTIMIZER_ADAM;
    if (is_adam && config->momentum > 0)
        return trib_conf_reject(conf, "round", "momentum", "must be 0: adam has its own");
    if (config->optimizer == TRIB_OPTIMIZER_NESTEROV && config->momentum == 0)
        return trib_conf_reject(conf, "round", "momentum", "must be above 0 with nesterov");
    if (config->decoupled_decay && !is_adam)
        return trib_conf_reject(conf, "round", "decoupled_decay", "is for optimizer = adam");
    if (config->lr_schedule == TRIB_SCHEDULE_PLATEAU && config->eval_every == 0)
        return trib_conf_reject(conf, "round", "eval_every",
                                "must not be 0 with lr_schedule = plateau");
    if (config->lr_schedule == TRIB_SCHEDULE_PLATEAU && config->lr_over != TRIB_JOB_LR_OVER_ROUNDS)
        return trib_conf_reject(conf, "round", "lr_over",
                                "must be rounds with lr_schedule = plateau: devices do not see "
                                "the held-out metric");
    if (config->lr_min > config->learning_rate)
        return trib_conf_reject(conf, "round", "lr_min", "is more than round.learning_rate");
    if (config->folds == 0 && config->fold > 0)
        return trib_conf_reject(conf, "round", "fold", "wants round.folds");
    if (config->folds == 1)
        return trib_conf_reject(conf, "round", "folds", "must be 0 or at least 2");
    if (config->folds > 0 && config->fold >= config->folds)
        return trib_conf_reject(conf, "round", "fold", "must be below round.folds");
    if (config->folds > 0 && config->validation_fraction > 0)
        return trib_conf_reject(conf, "round", "folds",
                                "cannot go with a validation_fraction: rows are kept aside once");
    if (config->folds > 0 && config->learning_mode != TRIB_JOB_MODE_BATCH)
        return trib_conf_reject(conf, "round", "folds", "wants mode = batch");
    if (config->patience > 0 && config->validation_fraction == 0)
        return trib_conf_reject(conf, "round", "patience", "wants a validation_fraction");
    if (config->personal_epochs > 0 && job->model.local_count == 0)
        return trib_conf_reject(conf, "round", "personal_epochs", "the model has no local part");
    if (config->class_weights && job->model.classes == 0)
        return trib_conf_reject(conf, "round", "class_weights", "a regression has no classes");
    job->schedule = (struct trib_schedule){
        .kind = (enum trib_schedule_kind)config->lr_schedule,
        .every = config->lr_step_rounds,
        .gamma = config->lr_gamma,
        .min = config->lr_min,
    };
    job->train = (struct trib_train_options){
        .epochs = config->local_epochs,
        .batch = config->batch,
        .learning_rate = config->learning_rate,
        .optimizer = (enum trib_optimizer)config->optimizer,
        .momentum = config->momentum,
        .weight_decay = config->weight_decay,
        .decoupled_decay = config->decoupled_decay,
        .l1 = config->l1,
        .proximal_mu = config->proximal_mu,
        .clip_norm = config->clip_norm,
        .kept = trib_job_kept(config),
        .patience = config->patience,
        .personal_epochs = config->personal_epochs,
        .class_weights = (enum trib_class_weights)config->class_weights,
        .is_online = config->learning_mode == TRIB_JOB_MODE_ONLINE,
    };
    if (config->lr_schedule != TRIB_SCHEDULE_CONSTANT && config->lr_over == TRIB_JOB_LR_OVER_STEPS)
        job->train.schedule = job->schedule;
    return TRIB_OK;
}

static enum trib_err check_cohort(struct trib_conf *conf, const struct trib_job_config *config,
                                  struct trib_job *job)
{
    if (config->min_accepted > config->cohort)
        return trib_conf_reject(conf, "round", "min_accepted", "is more than round.cohort");
    if (config->norm_max > 0 && config->privacy_mode != TRIB_PRIVACY_OFF)
        return trib_conf_reject(conf, "round", "norm_max",
                                "is for privacy.mode = off: with privacy on updates are clipped");
    job->goal = (uint32_t)config->cohort;
    job->offers = (uint32_t)ceil((double)config->cohort * config->over_selection);
    job->accepted_min =
        (uint32_t)(config->min_accepted ? config->min_accepted : (config->cohort + 1) / 2);
    // aggregate.h: the sum of a round's weights stays below 2^32
    uint64_t weight_max = ((1ull << TRIB_WEIGHT_SUM_BITS) - 1) / job->goal;
    job->weight_max = weight_max > (1u << 20) ? 1u << 20 : (uint32_t)weight_max;
    return TRIB_OK;
}

static const uint32_t word_bits[] = {0, 16, 24, 32}; // of auto|16|24|32

// The robust rules are known by name so that the reason against them can be told.
static enum trib_err check_strategy(struct trib_conf *conf, const struct trib_job_config *config)
{
    if (config->strategy == TRIB_JOB_FEDAVG || config->strategy == TRIB_JOB_NEWTON ||
        config->strategy == TRIB_JOB_FEDADAM || config->strategy == TRIB_JOB_FEDAVGM)
        return TRIB_OK;
    if (config->privacy_mode == TRIB_PRIVACY_DISTRIBUTED)
        return trib_conf_reject(conf, "strategy", "name",
                                "needs each device's update by itself, and with privacy.mode = "
                                "distributed nobody sees more than their sum");
    return trib_conf_reject(conf, "strategy", "name",
                            "is not in this version; it has fedavg, fedadam, fedavgm and newton");
}

static enum trib_err check_secagg(struct trib_conf *conf, const struct trib_job_config *config)
{
    if (config->privacy_mode != TRIB_PRIVACY_DISTRIBUTED)
        return TRIB_OK;
    if (config->cohort < config->secagg_min_cohort)
        return trib_conf_reject(conf, "round", "cohort",
                                "is %" PRIu64 ", below secagg.min_cohort = %" PRIu64
                                ": in a small sum a device does not disappear",
                                config->cohort, config->secagg_min_cohort);
    if (config->over_selection != 1)
        return trib_conf_reject(conf, "round", "over_selection",
                                "must be 1 with privacy.mode = distributed: every member is "
                                "waited for, secagg.threshold_frac says how many may be lost");
    return TRIB_OK;
}

static enum trib_err check_privacy(struct trib_conf *conf, const struct trib_job_config *config,
                                   uint64_t population, uint64_t passes, struct trib_job *job)
{
    char why[256];
    bool is_on = config->privacy_mode != TRIB_PRIVACY_OFF;
    const uint64_t rounds = config->rounds + trib_job_device_evaluations(config) +
                            (trib_job_wants_classes(config) ? 1 : 0) + passes;

#ifndef TRIB_WITH_TEST_NOISE
    if (config->test_seed != 0)
        return trib_conf_reject(conf, "privacy", "test_seed",
                                "makes the noise predictable; this build refuses it "
                                "(meson option test_noise)");
#endif
    job->asked = (struct trib_privacy_config){
        .mode = (enum trib_privacy_mode)config->privacy_mode,
        .clip_l1 = config->clip_l1,
        .clip_l2 = is_on && config->clip_l2 == 0 ? 1.0 : config->clip_l2,
        .clip_linf = config->clip_linf,
        .noise_multiplier = config->noise_multiplier,
        .target_epsilon = config->target_epsilon,
        .target_delta = config->target_delta,
        .grid_bits = (uint32_t)config->grid_bits,
        .word_bits = word_bits[config->word_bits],
        .params = job->model.param_count,
        .cohort = config->cohort,
        .rounds = config->privacy_rounds ? config->privacy_rounds : rounds,
        .population = population,
        .threshold_frac = config->threshold_frac,
        .max_colluders_frac = config->max_colluders_frac,
        .secagg_word_bits = word_bits[config->secagg_word_bits],
    };
    if (is_on && config->noise_multiplier == 0 && config->target_epsilon == 0)
        return trib_conf_reject(conf, "privacy", "target_epsilon",
                                "privacy is on, so say target_epsilon (or noise_multiplier), or "
                                "privacy.mode = off");
    if (is_on && config->noise_multiplier > 0 && config->target_epsilon > 0)
        return trib_conf_reject(conf, "privacy", "noise_multiplier",
                                "cannot go with target_epsilon: one follows from the other");
    if (is_on && config->privacy_rounds != 0 && config->privacy_rounds < rounds)
        return trib_conf_reject(conf, "privacy", "rounds",
                                "is less than round.rounds and what is counted beside them, "
                                "%" PRIu64 " in all: the target would be overspent",
                                rounds);
    if (trib_privacy_plan_make(&job->asked, &job->privacy, why, sizeof(why)))
        return trib_conf_reject(conf, "privacy", "mode", "%s", why);
    enum trib_err err = trib_job_check_tallies(conf, job);
    if (err)
        return err;
    if (job->privacy.secagg.threshold > job->accepted_min)
        job->accepted_min = job->privacy.secagg.threshold; // with fewer nothing can be opened
    return TRIB_OK;
}

enum trib_err trib_job_check(struct trib_conf *conf, const struct trib_job_config *config,
                             uint64_t population, uint64_t passes, struct trib_job *ret_job)
{
    struct trib_job job = {.config = *config};

    enum trib_err err = check_model_and_target(conf, config, &job);
    if (!err)
        err = check_mode(conf, config, &job.model);
    if (!err)
        err = check_fit(conf, config, &job);
    if (!err)
        err = trib_job_check_ways(conf, config, &job.model, &job.train);
    if (!err)
        err = trib_job_check_gate(conf, config, &job.model);
    if (!err)
        err = check_cohort(conf, config, &job);
    if (!err)
        err = check_strategy(conf, config);
    if (!err)
        err = check_secagg(conf, config);
    if (!err)
        err = check_privacy(conf, config, population, passes, &job);
    if (err)
        return err;
    if (config->privacy_mode == TRIB_PRIVACY_OFF)
        job.config.send_tick_ms = 0;
    *ret_job = job;
    return TRIB_OK;
}
