// server_run.h - the open round and the job that it is of, as the files of the server hold them.
//
// All of it is the state thread's. server_state.h includes this; nothing else does.
#ifndef TRIB_COORDINATOR_SERVER_RUN_H
#define TRIB_COORDINATOR_SERVER_RUN_H

#include "common/privacy/secagg.h"
#include "common/wire/message.h"
#include "coordinator/admit.h"
#include "coordinator/aggregate.h"
#include "coordinator/arrival.h"
#include "coordinator/evaluate.h"
#include "coordinator/job.h"
#include "coordinator/job_origin.h"
#include "coordinator/peers.h"
#include "coordinator/publish.h"
#include "coordinator/result.h"
#include "coordinator/round.h"
#include "coordinator/segment.h"
#include "coordinator/stop.h"
#include "coordinator/store.h"
#include "coordinator/tally_round.h"
#include "coordinator/telemetry.h"

enum trib_upload_state {
    TRIB_UPLOAD_NONE,
    TRIB_UPLOAD_WAITING, // begun, no credit yet
    TRIB_UPLOAD_ACTIVE,  // has credit
    TRIB_UPLOAD_BROKEN,  // the connection went away; may go on from `received`
    TRIB_UPLOAD_HELD,    // valid, waits for its turn to be made durable
    TRIB_UPLOAD_PENDING, // being made durable
    TRIB_UPLOAD_OVER,    // does not count: told when that is durable
};

// What a member of the round is sending.
struct trib_member_upload {
    enum trib_upload_state state;
    struct trib_msg_upload_begin begin;
    uint16_t stream;
    uint32_t slot; // UINT32_MAX: none
    size_t received;
    struct trib_arrival *arrival; // a reference, from the first credit on
    enum trib_code code;          // of one that is OVER
    bool has_expired;             // its lease, and when is noted
    bool is_over;                 // its lease, and the store knows
};

// The secure aggregation of a round.
struct trib_round_secagg {
    struct trib_secagg_header header;
    struct trib_secagg_hub *hub;
    struct trib_blob *keys, *survivors, *consents; // what all members are sent alike; or NULL
};

struct trib_slot_use {
    bool is_used;
    uint8_t failures; // writes that failed
};

// The round that is open, with all that is around the state machine.
struct trib_round_run {
    struct trib_round round;
    struct trib_round_plan plan;
    uint64_t id;
    enum trib_round_pass pass;
    uint64_t number; // in its pass
    struct trib_round_shape shape;
    struct trib_round_member *members;  // (capacity)
    struct trib_member_upload *uploads; // (capacity)
    uint64_t *changed_ms;               // wall clock: when its lease became what it is; (capacity)
    uint32_t capacity;
    struct trib_peer **candidates; // in the order drawn; (candidate_count)
    size_t candidate_count, candidate_next;
    uint32_t offers_in_flight; // leases being made durable
    bool is_saving;            // leases that are over are being made durable
    struct trib_segment *segment;
    struct trib_slot_use *slots; // (slot count)
    struct trib_admit_round rule;
    struct trib_msg_task task; // but for report_ms
    uint64_t opened_wall_ms;
    uint64_t bytes_up, bytes_down;  // the counters when it opened
    uint64_t began_us;              // when it was opened, or read back after a restart
    uint64_t decided_us;            // when its end was known, and only has to be made durable
    uint64_t phase_us[TRIB_PHASES]; // what it has spent, but for the time since `phase_began_us`
    uint64_t phase_began_us;
    enum trib_phase phase;
    bool is_sealing, is_aggregating, is_ending;
    bool is_charged;                   // what it costs in privacy is in the job's row
    struct trib_round_secagg *secagg;  // from KEYS on; NULL unless masked
    enum trib_round_state secagg_told; // the phase that members were told of
    bool target_is_reached;
    bool is_resumed;                // after a restart devices may take all of SELECTING to return
    const char *failure;            // why the job cannot go on, or NULL
    struct trib_buf tally;          // what came of a tally round, for its report
    struct trib_pipeline_step step; // of a pass of the pipeline, taken when it is durable
};

struct trib_active_job {
    uint64_t id;
    // Where they stood in the text it came with (trib_conf_line): whether they can be used only the
    // store knows.
    uint32_t origin_lines[TRIB_JOB_ORIGIN_KEYS];
    struct trib_job job;
    struct trib_data_config data;
    struct trib_evaluator *evaluator;         // NULL when never evaluated
    struct trib_pipeline *pipeline;           // NULL: none
    uint8_t prepare_digest[TRIB_DIGEST_SIZE]; // of the pipeline when it is fitted, else 0
    char *fallback;                           // table that its versions bring, owned; NULL: none
    uint64_t passes_tried;                    // rounds of the pipeline that have ended
    uint64_t baselines_tried;                 // the same of the linear baseline
    bool has_linear;                          // it was counted
    uint64_t classes_tried;                   // the same of the weights of classes
    bool has_class_weights;                   // they were counted
    float class_weight[TRIB_CLASS_WEIGHTS_MAX];
    struct trib_store_job row; // texts are NULL here
    struct trib_privacy_spent spent;
    struct trib_moments *moments;    // of the strategy, for the newest version; NULL: it needs none
    uint64_t moments_version;        // whose they are on the disk; 0: nobody's
    struct trib_plateau plateau;     // of the learning rate: what the durable rounds showed
    struct trib_stop stop;           // the same, for when the job ends
    bool newton_is_off;              // a round refused its step
    struct trib_newton_path *newton; // of a job with newton; else NULL
    bool is_failed;          // found at the start: what a pass counted leaves nothing to go on with
    uint64_t measured;       // newest round whose version devices were asked to measure
    uint64_t counted;        // the same of counters
    bool is_starting;        // its first version is being made
    uint64_t short_since_ms; // fewer devices than a cohort are there since then; 0: enough
    bool roster_is_short;    // and was said to be
    uint64_t next_open_ms;   // not before: the last attempt to open a round failed
    bool is_ending;
    bool wants_cancel; // the operator's wish, when the open round is over
};

#endif // TRIB_COORDINATOR_SERVER_RUN_H
