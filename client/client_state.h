// client_state.h - what the files of the client share: client*.c only.
//
// Everything here belongs to the thread that calls trib_client_run or trib_client_step; the worker
// touches only its own fields while it runs.
#ifndef TRIB_CLIENT_CLIENT_STATE_H
#define TRIB_CLIENT_CLIENT_STATE_H

#include <pthread.h>

#include "client/inlet.h"
#include "client/masked.h"
#include "client/slot.h"
#include "client/spool.h"
#include "client/state.h"
#include "client/task.h"
#include "common/base/rand.h"
#include "common/privacy/vouched.h"
#include "common/wire/channel.h"
#include "common/wire/step.h"
#include "tributary/client.h"

struct trib_fetch {
    bool is_active;
    bool wants_own; // not what was sealed for many
    // Of a version that could not be kept: when it is asked for again, and how often that failed.
    // 0: it waits for nothing.
    uint64_t again_at_ms;
    unsigned failures;
    uint16_t stream;
    struct trib_msg_new_version announcement;
    struct trib_msg_manifest manifest;
    struct trib_model model;
    float *params;   // being filled, owned
    size_t received; // bytes
};

struct trib_upload {
    bool has_update; // in the spool, or masked
    bool is_masked;  // in memory only
    bool is_begun;   // on this connection
    bool is_ended;
    struct trib_msg_upload_begin begin;
    struct trib_blob *packed;
    uint16_t stream;
    size_t sent; // bytes handed to the channel
    uint64_t not_before_ms;
    uint64_t reservation; // in the ledger, until UPLOAD_BEGIN is handed to the session; or 0
    bool has_claim;       // of rows (watermark.h)
    bool is_answered;     // there is a receipt: it is counted, or it is refused
    bool is_counted;
};

struct trib_worker {
    struct trib_work work;   // runs on the pool
    struct trib_work report; // comes back to the client's thread
    struct trib_client *client;
    bool is_running;
    int stop; // atomic
    struct trib_task task;
    float *base; // the global model: lent by the slot, or owned when that has another by now
    enum trib_code code;
    struct trib_task_result result; // its pointers owned
};

// The masked round that the device takes part in. In memory only.
struct trib_part {
    bool is_open; // the cohort is complete
    struct trib_msg_secagg_open open;
    struct trib_task task; // with `words` or `masked`
    int32_t *words;        // owned: trained and noised, waiting for the cohort
    struct trib_masked *masked;
    struct trib_step_in in;
    uint64_t not_before_ms; // the keys are made and sent at the earliest
    uint64_t reservation;   // in the ledger, until the masked words are an upload; or 0
    bool has_claim;         // of rows, until then
};

struct trib_client {
    char dir[TRIB_PATH_MAX + 1];
    char url[TRIB_URL_MAX + 1];
    struct trib_client_config config; // texts are not kept in it
    struct trib_trainer trainer;      // config's, with NULL for what is behind its declared size
    struct trib_state_keys keys;
    struct trib_state_enrolment enrolment;
    struct trib_state_config settings;
    struct trib_ledger *ledger;
    uint8_t whom[TRIB_LEDGER_WHOM_SIZE]; // we take part for, in the ledger
    int lock_fd;
    int stop_wanted; // atomic

    struct trib_queue queue; // of struct trib_work
    struct trib_pool *pool;  // one thread: the trainer's
    struct trib_frames *receive_frames, *send_frames;

    struct trib_dial *dial;
    struct trib_work dialed;
    struct trib_conn *dialed_conn;
    struct trib_channel *channel;
    bool is_up;
    bool is_revoked;
    uint64_t dial_at_ms;
    unsigned failures;
    uint64_t pinged_ms;
    uint32_t retry_min_ms, retry_max_ms; // what the coordinator asked for
    struct trib_rng jitter;

    struct trib_slot slot;
    uint8_t prepare_digest[TRIB_DIGEST_SIZE]; // of the pipeline of its rows; 0: none
    uint8_t other_pipeline[TRIB_DIGEST_SIZE]; // the version last refused because it has another one
    struct trib_fetch fetch;
    struct trib_upload upload;
    struct trib_part part;
    struct trib_vouched *vouched; // members met in earlier rounds
    struct trib_worker worker;
    bool has_task; // waits for its base version, or for the spool
    struct trib_task task;
    pthread_mutex_t inlet_lock; // of opening it
    struct trib_inlet *inlet;   // NULL: nothing is pushed
    struct trib_work arrival;   // the trainer hears of rows, on the pool
    int arrival_is_queued;      // atomic
    uint16_t next_stream;
    uint64_t refused_models;
    unsigned silences; // sessions in a row that were hung up on before a word
    bool
        has_open_claim; // of a masked update that may have been counted: nothing is trained until it is settled
};

// ---- client_config.c
// TRIB_ERR_INVAL: it is not whole, or the URL is none (logged to where it says).
TRIB_CHECKED enum trib_err trib_client_config_check(const struct trib_client_config *config);
// Copy it, and what its trainer declares; it has been checked.
void trib_client_config_take(struct trib_client *client, const struct trib_client_config *config);

// ---- client.c
// Pack and send a control message.
void trib_client_send(struct trib_client *client, enum trib_record_type type, uint16_t stream,
                      struct trib_buf *packed);
void trib_client_reply(struct trib_client *client, uint64_t round_id, enum trib_code code);
void trib_client_begin_upload(struct trib_client *client);
void trib_client_drop_upload(struct trib_client *client);
// Give back to the budget what nothing was sent for, and forget it.
void trib_client_refund(struct trib_client *client, uint64_t *reservation);

// ---- client_work.c: tasks, from the question to what came of them. False: the record makes no
// sense.
void trib_client_worker_init(struct trib_client *client);
bool trib_client_take_task(struct trib_client *client, const struct trib_record *record);
bool trib_client_take_round_end(struct trib_client *client, const struct trib_record *record);
// Begin the task at hand, if its base is installed and nothing stands in the way.
void trib_client_start_task(struct trib_client *client);

// ---- client_model.c: a new version, from its announcement to its installation. False: the record
// makes no sense.
bool trib_client_new_version(struct trib_client *client, const struct trib_record *record);
bool trib_client_model_chunk(struct trib_client *client, const struct trib_record *record);
void trib_client_fetch_drop(struct trib_client *client);
void trib_client_fetch_again(struct trib_client *client, uint64_t now_ms); // when its time has come
uint64_t trib_client_fetch_wait_ms(const struct trib_client *client, uint64_t now_ms);

// ---- client_keys.c: other keys of the coordinator. False: the record makes no sense.
bool trib_client_take_keys(struct trib_client *client, const struct trib_record *record);
// A session is over; those that never began are a sign when they are many.
void trib_client_note_silence(struct trib_client *client, bool was_up,
                              enum trib_close_reason reason);

// ---- client_rows.c: rows that come in. Opens the socket, if client.ini names one.
TRIB_CHECKED enum trib_err trib_client_rows_open(struct trib_client *client);
// A version was installed: in mode online the trainer's own copy begins from it.
void trib_client_renew(struct trib_client *client);
// What is counted (counter_store.h) is counted under the installed version from now on.
void trib_client_tell_version(struct trib_client *client);
// End the claim that `has_claim` says there is (watermark.h), and forget it. False: it cannot be
// written down, and is not forgotten.
TRIB_CHECKED bool trib_client_settle(struct trib_client *client, bool *has_claim, bool is_counted);

// ---- client_secagg.c: a part in a masked round. False: the record makes no sense.
bool trib_part_open(struct trib_client *client, const struct trib_record *record);
bool trib_part_step(struct trib_client *client, const struct trib_record *record);
bool trib_part_chunk(struct trib_client *client, const struct trib_record *record);
// The trained and noised words of a task; taken.
void trib_part_words(struct trib_client *client, const struct trib_task *task, int32_t *words);
void trib_part_on_time(struct trib_client *client); // makes keys, if they waited for their time
uint64_t trib_part_wait_ms(const struct trib_client *client, uint64_t now_ms); // for that
uint64_t trib_part_round(const struct trib_client *client);                    // 0: none
void trib_part_drop(struct trib_client *client);                               // wipes

#endif // TRIB_CLIENT_CLIENT_STATE_H
