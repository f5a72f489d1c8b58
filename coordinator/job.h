// job.h - what a training job is told: the keys of its file, their checks, and what follows from
// them.
//
// A job file holds a scenario's [model] [round] [strategy] [privacy] [secagg] and the held-out half
// of [data] (docs/operating.md). The simulator adds its own tables to the same struct trib_conf.
//
//     JOB:  ACTIVE <-> PAUSED,  either -> DONE | FAILED | CANCELLED (final)
#ifndef TRIB_COORDINATOR_JOB_H
#define TRIB_COORDINATOR_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/conf.h"
#include "common/data/source.h"
#include "common/math/ask.h"
#include "common/math/model.h"
#include "common/math/train.h"
#include "common/privacy/plan.h"
#include "coordinator/evaluate.h"
#include "coordinator/roster.h"
#include "tributary/err.h"

// Stored as numbers: never renumber.
enum trib_job_state {
    TRIB_JOB_ACTIVE = 1,
    TRIB_JOB_PAUSED = 2,
    TRIB_JOB_DONE = 3,      // rounds used up, or the target reached
    TRIB_JOB_FAILED = 4,    // cannot go on; the reason is kept
    TRIB_JOB_CANCELLED = 5, // by the operator
    TRIB_JOB_MISSED = 6,    // rounds used up, and the target was not reached
    TRIB_JOB_REFUSED = 7,   // its version does not beat the baseline (gate.h)
};
const char *trib_job_state_text(enum trib_job_state state);
bool trib_job_state_is_final(enum trib_job_state state);

// The values of the keys, as they stand in the file.
struct trib_job_config {
    // [model]
    trib_conf_text spec;
    uint64_t model_seed;
    bool model_fresh;              // drawn from the seed, whatever versions there are
    uint64_t model_init_version;   // a version to start from; 0: none
    trib_conf_text model_init_map; // layers of it that go into another architecture; empty: all do
    trib_conf_text model_init;     // a file of parameters to start from; empty: drawn from the seed
    // [round]
    uint64_t rounds;
    uint64_t cohort;       // devices counted per round
    double over_selection; // devices asked per device counted, >= 1
    uint64_t min_accepted; // fewer: the round is abandoned; 0: half the cohort
    double norm_max;       // largest L2 norm of an update, privacy off; 0: any
    uint64_t local_epochs;
    uint64_t batch; // rows; 0: all rows of the device
    double learning_rate;
    double momentum;
    double weight_decay;
    int optimizer; // enum trib_optimizer
    bool decoupled_decay;
    double l1;
    double proximal_mu;
    double clip_norm; // 0: none
    int lr_schedule;  // enum trib_schedule_kind
    int lr_over;      // enum trib_job_lr_over
    uint64_t lr_step_rounds;
    double lr_gamma;
    double lr_min;
    double validation_fraction;
    uint64_t folds;    // parts of a device's rows; 0: none
    uint64_t fold;     // of them, the one that is kept aside
    uint64_t patience; // epochs; 0: all
    uint64_t personal_epochs;
    int class_weights; // enum trib_class_weights
    int learning_mode; // of its rows, which a device learns from: batch|incremental|online
    int sampling;      // enum trib_sampling
    double sampling_ratio;
    uint64_t smote_neighbours;
    trib_conf_text augment; // trib_augment_parse
    trib_conf_text freeze;  // layers
    trib_conf_text trunk;   // layers
    double trunk_rate;
    uint64_t eval_every;          // rounds between evaluations; 0: never
    uint64_t evaluate_on_devices; // rounds between measurements on devices; 0: never
    trib_conf_text counters;      // counters.h; "": none
    uint64_t count_every;         // rounds between their collections; 0: never
    uint64_t round_seed;          // cohorts and local shuffles
    uint64_t select_ms;
    uint64_t report_ms;
    int target_metric; // enum trib_job_metric
    double target_value;
    int primary_metric;            // the same; TRIB_JOB_METRIC_NONE: accuracy, or mse
    trib_conf_text threshold_goal; // threshold.h; only of two classes
    double test_share;             // of the held-out rows: they only report
    uint64_t test_last;            // rows, instead
    uint64_t ranking_k;            // of a recommender; 0: its users are not ranked
    double ranking_relevant;
    uint64_t ranking_negatives;
    uint64_t stop_patience; // evaluations; 0: a plateau ends nothing
    double stop_min_delta;
    uint64_t deadline_s; // since it was submitted; 0: none
    int baseline;        // enum trib_job_baseline
    int beat_baseline;   // enum trib_job_beat
    double baseline_margin;
    int keep;        // enum trib_job_keep
    int stratify_by; // index of none|group
    bool equal_shares;
    // [strategy]
    int strategy;             // enum trib_job_strategy; the robust ones are refused
    double beta1, beta2, tau; // moments.h
    double server_learning_rate;
    double tail_average; // share of the last rounds averaged into the last version, privacy on
    // [privacy]
    int privacy_mode; // enum trib_privacy_mode
    int noise;        // only laplace
    uint64_t grid_bits;
    double clip_l1;
    double clip_l2;
    double clip_linf;
    double noise_multiplier;
    double target_epsilon;
    double target_delta;
    uint64_t privacy_rounds; // rounds the target is spread over; 0: [round] rounds
    int word_bits;           // index of auto|16|24|32
    double tally_scale;
    uint64_t send_tick_ms; // 0 with mode off
    uint64_t test_seed;    // refused unless built with -Dtest_noise=true
    // [secagg], of mode distributed
    uint64_t secagg_min_cohort; // a smaller cohort is refused
    double threshold_frac;      // of the cohort: must stay to the end
    double max_colluders_frac;  // of the cohort: may side with the coordinator
    int secagg_graph;           // only auto
    int secagg_word_bits;       // index of auto|16|24|32
    uint64_t phase_ms;          // for each phase after the keys
};

enum trib_job_strategy {
    TRIB_JOB_FEDAVG = 0,
    TRIB_JOB_NEWTON = 4,
    TRIB_JOB_FEDADAM = 5,
    TRIB_JOB_FEDAVGM = 6,
};

// The numbers of the protocol.
enum trib_job_mode {
    TRIB_JOB_MODE_BATCH,
    TRIB_JOB_MODE_INCREMENTAL,
    TRIB_JOB_MODE_ONLINE,
};

enum trib_job_baseline {
    TRIB_JOB_BASELINE_NONE,
    TRIB_JOB_BASELINE_PRIOR,
    TRIB_JOB_BASELINE_LINEAR,
};

// Does a version that is not better than the baseline stay (gate.h)?
enum trib_job_beat {
    TRIB_JOB_BEAT_NO,
    TRIB_JOB_BEAT_YES,
    TRIB_JOB_BEAT_AUTO,
};

// Which version stays when the job is done.
enum trib_job_keep {
    TRIB_JOB_KEEP_LAST,
    TRIB_JOB_KEEP_BEST,
};

enum trib_job_lr_over {
    TRIB_JOB_LR_OVER_ROUNDS, // the coordinator tells each round its rate
    TRIB_JOB_LR_OVER_STEPS,  // the device goes through the schedule in each of its tasks
};

enum trib_job_metric {
    TRIB_JOB_METRIC_NONE,
    TRIB_JOB_METRIC_ACCURACY,
    TRIB_JOB_METRIC_F1,
    TRIB_JOB_METRIC_LOSS,
    TRIB_JOB_METRIC_MSE,
    TRIB_JOB_METRIC_R2,
    TRIB_JOB_METRIC_BALANCED_ACCURACY,
    TRIB_JOB_METRIC_MCC,
    TRIB_JOB_METRIC_MAE,
    TRIB_JOB_METRIC_RMSE,
    TRIB_JOB_METRIC_MAPE,
    TRIB_JOB_METRIC_AUC,
    TRIB_JOB_METRIC_AVERAGE_PRECISION,
    TRIB_JOB_METRIC_LOG_LOSS,
    TRIB_JOB_METRIC_BRIER,
    TRIB_JOB_METRIC_ECE,
    TRIB_JOB_METRIC_KAPPA,
    TRIB_JOB_METRIC_TOP5_ACCURACY,
    TRIB_JOB_METRIC_POSITIVE_PRECISION,
    TRIB_JOB_METRIC_POSITIVE_RECALL,
    TRIB_JOB_METRIC_POSITIVE_F1,
    TRIB_JOB_METRIC_HIT_RATE_AT_K,
    TRIB_JOB_METRIC_RECALL_AT_K,
    TRIB_JOB_METRIC_NDCG_AT_K,
    TRIB_JOB_METRIC_COUNT
};
// By its name in evaluations; "none".
const char *trib_job_metric_name(enum trib_job_metric metric);

// A kind of tally round that the job asks for (tally_round.h).
struct trib_job_tally {
    size_t values; // 0: it does not
    struct trib_privacy_plan privacy;
};

// What follows from a checked configuration.
struct trib_job {
    struct trib_job_config config;
    struct trib_model model;
    struct trib_privacy_config asked; // what its plans are made from
    struct trib_privacy_plan privacy; // encoding, epsilon per round, predicted SNR
    uint32_t goal;                    // devices counted per round
    uint32_t offers;                  // devices asked per round, at least goal
    uint32_t accepted_min;            // 1 <= accepted_min <= goal; distributed: T or more
    uint32_t weight_max;              // examples a device may claim: goal * weight_max < 2^32
    struct trib_train_options train;
    struct trib_schedule schedule; // of the learning rate, over rounds or steps
    struct trib_job_tally tallies[TRIB_TALLY_KINDS];
    struct trib_evaluator_plan held_out;
    struct trib_counter_list counters;
};

// Add the tables of [model] [round] [strategy] [privacy] [secagg]; defaults go to `config`.
void trib_job_conf_add(struct trib_conf *conf, struct trib_job_config *config);

// Check what a table cannot. `population`: devices that could be asked, for the default delta.
// `passes`: of the job's pipeline, rounds that cost privacy beside those of the text. TRIB_ERR_INVAL with conf->error naming file, line and key.
TRIB_CHECKED enum trib_err trib_job_check(struct trib_conf *conf,
                                          const struct trib_job_config *config, uint64_t population,
                                          uint64_t passes, struct trib_job *ret_job);

// Which rows of a device are kept aside.
struct trib_kept_rows trib_job_kept(const struct trib_job_config *config);

// The parameters that the job starts from (param_count): those of model.init, or drawn from
// model.seed. An error with a text in `why`: the file is not there, or does not fit the model.
TRIB_CHECKED enum trib_err trib_job_initial(const struct trib_job *job, float *ret_params,
                                            char *why, size_t why_size);
// The same without the parameters, to tell early.
TRIB_CHECKED enum trib_err trib_job_check_initial(const struct trib_job *job, char *why,
                                                  size_t why_size);

// One line for people when the predicted signal drowns in the noise (SNR below 0.05), else false.
bool trib_job_warning(const struct trib_job *job, char *text, size_t size);

// "12 devices a round, mode local: epsilon 64 ...": the guarantee, its unit and its adversary, who
// may lie only where a key out of the coordinator's reach vouches for the devices.
void trib_job_promise(const struct trib_job *job, enum trib_roster_kind roster, char *text,
                      size_t size);

// Against whom the guarantee holds, in words.
void trib_job_adversary(const struct trib_job *job, enum trib_roster_kind roster, char *text,
                        size_t size);

// What a round's report says of privacy, as a JSON object: mode, unit, adversary, ledger, what it
// cost by its plan, and with mode distributed who was needed and who was there. Empty with mode
// off. `rms`: root mean square per coordinate of the mean that was published, NaN: none was.
struct trib_buf;
void trib_job_privacy_json(const struct trib_job *job, const struct trib_privacy_plan *plan,
                           enum trib_roster_kind roster, const struct trib_privacy_spent *spent,
                           uint64_t counted, double rms, struct trib_buf *json);

// Has an evaluation with these values reached the target? Never when there is none.
struct trib_evaluation;
bool trib_job_target_is_reached(const struct trib_job *job,
                                const struct trib_evaluation *evaluation);

// Is round `number` (from 1) to be evaluated?
bool trib_job_evaluates(const struct trib_job *job, uint64_t number);

// The learning rate that round `number` (from 1) begins with.
double trib_job_rate(const struct trib_job *job, uint64_t number,
                     const struct trib_plateau *plateau);

// Is a larger value of the primary metric the better one?
bool trib_job_higher_is_better(const struct trib_job *job);

// Tell the plateau the primary metric of an evaluated round.
void trib_job_observe(const struct trib_job *job, double value, struct trib_plateau *plateau);

// Is the version of round `number` to be measured on devices too? And how often that is in all.
bool trib_job_evaluates_on_devices(const struct trib_job *job, uint64_t number);
bool trib_job_counts(const struct trib_job *job, uint64_t number); // the same of counters
uint64_t trib_job_device_evaluations(const struct trib_job_config *config);

// What the strategy remembers between rounds; NULL: nothing.
struct trib_moments;
TRIB_CHECKED enum trib_err trib_job_moments(const struct trib_job *job,
                                            struct trib_moments **ret_moments);

// The next version from the mean delta of a round; `moments` are the job's. TRIB_ERR_DATA if a
// value is not finite. `ret_next` may be `mean`.
TRIB_CHECKED enum trib_err trib_job_step(const struct trib_job *job, struct trib_moments *moments,
                                         const float *base, const float *mean, float *ret_next);

// How many of the last versions are averaged at the end; 0: none.
uint64_t trib_job_tail(const struct trib_job *job);

#endif // TRIB_COORDINATOR_JOB_H
