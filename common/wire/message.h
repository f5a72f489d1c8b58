// message.h - control messages as plain structs of numbers and bytes.
//
// proto/tributary.proto says what the fields mean; here they have been checked: sizes are exact,
// texts are printable and NUL-terminated, numbers are in range. Only message.c and
// message_admin.c know protobuf. A *_unpack that fails returns TRIB_ERR_PROTO (or NOMEM) and has
// written nothing; a *_pack appends to a buffer, whose `failed` says whether memory ran out.
#ifndef TRIB_WIRE_MESSAGE_H
#define TRIB_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/limits.h"
#include "common/base/sign.h"
#include "common/wire/code.h"
#include "tributary/err.h"

// The type byte of a record. proto/README.md: unknown ones below 128 are skipped, from 128 on they
// end the session.
enum trib_record_type {
    TRIB_RECORD_READY = 1,
    TRIB_RECORD_PACE = 2,
    TRIB_RECORD_TASK = 3,
    TRIB_RECORD_TASK_REPLY = 4,
    TRIB_RECORD_ROUND_END = 5,
    TRIB_RECORD_NEW_VERSION = 6,
    TRIB_RECORD_MODEL_GET = 7,   // its stream number comes back in the chunks
    TRIB_RECORD_MODEL_CHUNK = 8, // raw float32 bytes at the record's offset
    TRIB_RECORD_INSTALLED = 9,
    TRIB_RECORD_UPLOAD_BEGIN = 10, // its stream number is that of the chunks
    TRIB_RECORD_CREDIT = 11,
    TRIB_RECORD_UPLOAD_CHUNK = 12, // raw packed words at the record's offset
    TRIB_RECORD_UPLOAD_END = 13,
    TRIB_RECORD_RECEIPT = 14,
    TRIB_RECORD_PING = 15, // empty
    TRIB_RECORD_PONG = 16, // empty
    TRIB_RECORD_ENROL = 17,
    TRIB_RECORD_ENROL_REPLY = 18,
    TRIB_RECORD_REVOKED = 19, // empty; the session is closed after it
    TRIB_RECORD_SECAGG_OPEN = 20,
    TRIB_RECORD_SECAGG_STEP = 21,  // its stream number is that of the chunks
    TRIB_RECORD_SECAGG_CHUNK = 22, // raw bytes of the step at the record's offset
    TRIB_RECORD_KEYS = 23,
    TRIB_RECORD_KEYS_REPLY = 24,
    TRIB_RECORD_CRITICAL = 128,
    TRIB_RECORD_RUN = TRIB_RECORD_CRITICAL, // frames of another kind follow it (sealed.h)
};

enum {
    TRIB_MSG_ID_SIZE = 16,         // of an update
    TRIB_MSG_MANIFEST_MAX = 16384, // packed bytes
    TRIB_MSG_KEY_STATEMENT_MAX = 256,
    TRIB_MSG_MANIFEST_TEXT_MAX = 15 // "tail_average"
};

typedef char trib_name[TRIB_NAME_MAX + 1];

struct trib_msg_pace {
    uint32_t retry_min_ms;
    uint32_t retry_max_ms;
};

struct trib_msg_enrol {
    uint8_t sign_key[TRIB_SIGN_KEY_SIZE];
    bool has_next; // keys that the device will have next
    uint8_t next_key[32];
    uint8_t next_sign_key[TRIB_SIGN_KEY_SIZE];
    trib_name software;
};

struct trib_msg_enrol_reply {
    enum trib_code code;
    trib_name name;       // empty unless ACCEPTED
    trib_name population; // empty unless ACCEPTED
    uint8_t release_key[TRIB_SIGN_KEY_SIZE];
    bool has_roster_key; // false: the roster is offline
    uint8_t roster_key[TRIB_SIGN_KEY_SIZE];
    bool has_next; // the next key is durable
    uint8_t next_key[32];
    uint64_t key_sequence; // of the statement that named `release_key`; 0: none
};

// A coordinator has other keys (key_chain.h).
struct trib_msg_key_statement {
    uint64_t sequence;
    uint8_t old_release_key[TRIB_SIGN_KEY_SIZE], old_coordinator_key[32];
    uint8_t release_key[TRIB_SIGN_KEY_SIZE], coordinator_key[32];
    uint64_t made_ms;
    uint64_t keep_until_ms; // 0: the coordinator key is the same
};

// What a statement's signature is made over: this context and its packed bytes (sign.h).
#define TRIB_KEY_STATEMENT_CONTEXT "tributary key statement v1"

struct trib_msg_key_link {
    uint8_t statement[TRIB_MSG_KEY_STATEMENT_MAX]; // packed
    size_t statement_size;
    uint8_t signature[TRIB_SIGNATURE_SIZE];
};

struct trib_msg_keys {
    uint32_t count; // 1 .. TRIB_KEY_LINKS_MAX
    struct trib_msg_key_link links[TRIB_KEY_LINKS_MAX];
};

struct trib_msg_keys_reply {
    uint64_t sequence;
    enum trib_code code;
};

struct trib_msg_ready {
    trib_name population;
    trib_name software;
    uint64_t generation; // of the installed model; version 0: none
    uint64_t version;
    uint8_t digest[TRIB_DIGEST_SIZE]; // zero when version is 0
    bool has_spooled;
    uint8_t spooled_update_id[TRIB_MSG_ID_SIZE];
    uint64_t spooled_round;
    bool is_busy;
    uint64_t secagg_round; // the masked round whose secrets it holds; 0: none
    uint64_t key_sequence; // of the statement whose keys it pins; 0: those of its enrolment
};

// The same numbers as in proto; common/privacy gives them their meaning.
struct trib_msg_encoding {
    uint32_t mode;
    double grid;
    uint32_t grid_bits;
    uint64_t s1, s2, sinf;
    uint32_t word_bits;
    double clip_l1, clip_l2;
    uint32_t shares;
};

// The same numbers as in proto; all 0 unless the mode is distributed.
struct trib_msg_secagg_plan {
    uint32_t members, threshold, drop_max, colluders, shares;
    uint32_t neighbours, neighbour_threshold;
};

// The same numbers as in proto; kind 0: train.
struct trib_msg_tally {
    uint32_t kind; // enum trib_tally_kind, or one we do not know
    uint64_t values;
    double scale;
    uint32_t ranking_k, ranking_negatives;
    double ranking_relevant;
    uint32_t layout; // enum trib_tally_layout, or one we do not know
    bool is_decided;
    double threshold;
    size_t request_size;
    uint8_t request[TRIB_TALLY_REQUEST_MAX];
};

// The same numbers as in proto; all 0: plain SGD. common/math/train.h gives them their meaning.
struct trib_msg_fit {
    uint32_t optimizer; // enum trib_optimizer, or one we do not know
    bool decoupled_decay;
    double l1, proximal_mu, clip_norm;
    uint32_t lr_schedule; // enum trib_schedule_kind, or one we do not know
    uint64_t lr_step;
    double lr_gamma, lr_min;
    double validation_fraction;
    uint32_t folds, fold; // below folds; 0 of 0: none
    uint64_t patience;
    uint64_t personal_epochs;
    uint32_t class_weights; // enum trib_class_weights, or one we do not know
    uint32_t class_count;   // of class_weight: 0 unless they are given
    float class_weight[TRIB_CLASS_WEIGHTS_MAX];
    uint32_t mode;     // enum trib_mode (tributary/client.h), or one we do not know
    uint32_t sampling; // enum trib_sampling, or one we do not know
    double sampling_ratio;
    uint32_t smote_neighbours;
    double jitter, mixup, rotate, crop;
    uint32_t shift;
    uint64_t frozen_layers, trunk_layers;
    double trunk_rate;
    bool is_strange;                           // unpacked: it has fields that we do not know
    char prepare[TRIB_PIPELINE_TEXT_MAX + 1];  // a pipeline's text; "": there is none
    char counters[TRIB_COUNTERS_TEXT_MAX + 1]; // "": applications count nothing
    struct trib_msg_tally tally;
};

bool trib_msg_fit_is_plain(const struct trib_msg_fit *fit);
// Is anything from `sampling` on set?
bool trib_msg_fit_has_ways(const struct trib_msg_fit *fit);

struct trib_msg_hyper {
    trib_name name;
    double value;
};

struct trib_msg_task {
    uint64_t round_id;
    uint64_t round_number;
    uint64_t job;
    trib_name population;
    char spec[TRIB_SPEC_MAX + 1];
    uint64_t base_generation;
    uint64_t base_version;
    uint8_t base_digest[TRIB_DIGEST_SIZE];
    uint64_t seed;
    uint64_t epochs;
    uint64_t batch;
    double learning_rate, momentum, weight_decay;
    struct trib_msg_encoding encoding;
    struct trib_msg_secagg_plan secagg;
    struct trib_msg_fit fit;
    uint32_t weight_max;
    double epsilon_pure, rho;
    uint64_t report_ms;
    uint64_t send_tick_ms;
    uint64_t test_seed;
    uint32_t hyper_count;
    struct trib_msg_hyper hyper[TRIB_HYPER_MAX];
};

struct trib_msg_task_reply {
    uint64_t round_id;
    enum trib_code code; // ACCEPTED or DECLINED_*
};

struct trib_msg_round_end {
    uint64_t round_id;
    struct trib_msg_pace pace;
};

struct trib_msg_metric {
    trib_name name;
    double value;
};

struct trib_msg_manifest {
    uint64_t generation, version, parent;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint8_t arch_digest[TRIB_DIGEST_SIZE];
    char spec[TRIB_SPEC_MAX + 1];
    uint64_t params;
    uint64_t job, round_id, round_number;
    trib_name kind;
    uint64_t accepted;
    uint64_t created_ms;
    uint32_t metric_count;
    struct trib_msg_metric metrics[TRIB_METRICS_MAX];
    uint32_t mode;
    double epsilon_pure, epsilon, delta;
    trib_name population;
    uint8_t prepare_digest[TRIB_DIGEST_SIZE]; // of the pipeline that makes its features; 0: none
    uint8_t parent_digest[TRIB_DIGEST_SIZE]; // of the model it was made from; 0: none, or not known
    char fallback[TRIB_FALLBACK_TEXT_MAX + 1]; // text of a fall-back table; "": there is none
};
// The value of one of the metrics; NaN if there is none of that name.
double trib_msg_manifest_metric(const struct trib_msg_manifest *manifest, const char *name);

// What a manifest's signature is made over: this context and its packed bytes (sign.h).
#define TRIB_MANIFEST_CONTEXT "tributary manifest v1"

struct trib_msg_new_version {
    uint8_t manifest[TRIB_MSG_MANIFEST_MAX]; // packed
    size_t manifest_size;
    uint8_t signature[TRIB_SIGNATURE_SIZE];
};

struct trib_msg_model_get {
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t offset;
    bool takes_runs;
};

struct trib_msg_installed {
    uint64_t generation, version;
    uint8_t digest[TRIB_DIGEST_SIZE];
    enum trib_code code;
};

struct trib_msg_upload_begin {
    uint8_t update_id[TRIB_MSG_ID_SIZE];
    uint64_t round_id;
    uint64_t size;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint8_t base_digest[TRIB_DIGEST_SIZE];
    uint8_t arch_digest[TRIB_DIGEST_SIZE];
    bool has_weight;
    uint32_t weight;
};

struct trib_msg_credit {
    uint8_t update_id[TRIB_MSG_ID_SIZE];
    uint64_t offset; // bytes the coordinator has
    uint64_t limit;  // the device may send bytes below this, at least offset
};

struct trib_msg_upload_end {
    uint8_t update_id[TRIB_MSG_ID_SIZE];
};

struct trib_msg_receipt {
    uint8_t update_id[TRIB_MSG_ID_SIZE];
    enum trib_code code;
    struct trib_msg_pace pace;
};

struct trib_msg_secagg_open {
    uint64_t round_id;
    uint8_t invited[TRIB_DIGEST_SIZE];
    uint8_t roster_key[TRIB_SIGN_KEY_SIZE]; // to compare with the one that is pinned
};

enum trib_secagg_step_kind {
    TRIB_SECAGG_STEP_ADVERT = 1,
    TRIB_SECAGG_STEP_KEYS = 2,
    TRIB_SECAGG_STEP_SHARES = 3,
    TRIB_SECAGG_STEP_SEALED = 4,
    TRIB_SECAGG_STEP_SURVIVORS = 5,
    TRIB_SECAGG_STEP_CONSENT = 6,
    TRIB_SECAGG_STEP_CONSENTS = 7,
    TRIB_SECAGG_STEP_UNMASK = 8,
};

struct trib_msg_secagg_step {
    uint64_t round_id;
    uint32_t kind; // enum trib_secagg_step_kind, or one we do not know
    uint64_t size; // bytes that follow, 1 .. TRIB_SECAGG_STEP_MAX
};

#define TRIB_MSG_DECLARE(noun)                                                            \
    void trib_msg_##noun##_pack(const struct trib_msg_##noun *msg, struct trib_buf *buf); \
    TRIB_CHECKED enum trib_err trib_msg_##noun##_unpack(const uint8_t *data, size_t size, \
                                                        struct trib_msg_##noun *ret_msg);

TRIB_MSG_DECLARE(pace)
TRIB_MSG_DECLARE(enrol)
TRIB_MSG_DECLARE(enrol_reply)
TRIB_MSG_DECLARE(key_statement)
TRIB_MSG_DECLARE(keys)
TRIB_MSG_DECLARE(keys_reply)
TRIB_MSG_DECLARE(ready)
TRIB_MSG_DECLARE(task)
TRIB_MSG_DECLARE(task_reply)
TRIB_MSG_DECLARE(round_end)
TRIB_MSG_DECLARE(manifest)
TRIB_MSG_DECLARE(new_version)
TRIB_MSG_DECLARE(model_get)
TRIB_MSG_DECLARE(installed)
TRIB_MSG_DECLARE(upload_begin)
TRIB_MSG_DECLARE(credit)
TRIB_MSG_DECLARE(upload_end)
TRIB_MSG_DECLARE(receipt)
TRIB_MSG_DECLARE(secagg_open)
TRIB_MSG_DECLARE(secagg_step)

#endif // TRIB_WIRE_MESSAGE_H
