// task.h - one round's work as the trainer sees it, and its way to a finished update.
#ifndef TRIB_CLIENT_TASK_H
#define TRIB_CLIENT_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "client/policy.h"
#include "client/spool.h"
#include "common/base/pool.h"
#include "common/data/source.h"
#include "common/math/ask.h"
#include "common/math/model.h"
#include "common/math/train.h"
#include "common/privacy/ledger.h"
#include "common/privacy/secagg_plan.h"
#include "tributary/client.h"

// The public header's struct trib_task.
struct trib_task {
    struct trib_msg_task msg;
    struct trib_model model;
    struct trib_encoding encoding;
    struct trib_secagg_plan secagg;    // mode distributed
    float *local;                      // owned: the model's local part, to be trained; NULL: none
    size_t word_count;                 // coordinates of the update
    struct trib_tally *tally;          // a tally round's, while the trainer counts; else NULL
    const char *device;                // borrowed: our name
    struct trib_ledger *ledger;        // borrowed; NULL only with mode off
    struct trib_charge charge;         // what it is charged
    struct trib_data_mark mark;        // how far counted updates went; all 0 in mode batch
    struct trib_data_mark claim;       // how far this one goes
    bool has_no_rows;                  // why the built-in trainer refused it
    bool has_claim;                    // with a packed update it is written down (watermark.h)
    struct trib_counter_list counters; // that the task declares
    const int *stop;                   // borrowed, atomic: non-zero asks the trainer to stop
};

// Is this a task that this device can and may do? TRIB_CODE_ACCEPTED, or why it is declined (said
// on the log).
enum trib_code trib_task_judge(const struct trib_msg_task *msg, const struct trib_policy *policy,
                               uint64_t memory_max, struct trib_task *ret_task);

// Does the task want rows to be counted (docs/protocol.md, Tally rounds), and can this trainer?
bool trib_task_is_tally(const struct trib_task *task);
bool trib_trainer_can(const struct trib_trainer *trainer, const struct trib_task *task);
// What is to be counted.
struct trib_ask trib_task_ask(const struct trib_task *task);

// How the task is to be trained, as the built-in trainer takes it.
struct trib_train_options trib_task_options(const struct trib_msg_task *msg);

// What a task came to: with mode distributed the noised words, before their masks and in memory
// only; otherwise the finished update, durable.
struct trib_task_result {
    int32_t *words; // owned, (word_count of the task); or NULL
    struct trib_msg_upload_begin begin;
    uint8_t *packed;      // owned, (begin.size); or NULL
    uint64_t reservation; // in the ledger, of `packed`; 0: none
};
void trib_task_result_fini(struct trib_task_result *result, size_t word_count); // wipes

// Charge the ledger, durably: before anything of the task's words leaves. TRIB_CODE_ACCEPTED and
// *ret_reservation (0 with mode off), or why nothing may be sent.
enum trib_code trib_task_reserve(const struct trib_task *task, uint64_t *ret_reservation);

// Train from `base` (param_count floats) and the device's local part, if the model has one, or
// count, and encode; keep the local part; charge, pack, and make the update durable in `dir`,
// unless it is to be masked. Runs on the worker thread. TRIB_CODE_ACCEPTED: *ret_result; otherwise
// the reason, and nothing is sent.
enum trib_code trib_task_run(struct trib_task *task, const struct trib_trainer *trainer, void *user,
                             const float *base, const char *dir,
                             struct trib_task_result *ret_result);

// What is said of `size` packed bytes, with this CRC32C, before they are sent. Its digest is a label
// that only tells updates apart: BLAKE2b-256 of "trib-update", the update's id, the size (8 bytes)
// and the checksum (4), little-endian. What the bytes themselves need is elsewhere: on the wire the
// session's cipher authenticates them, and on disk the spool has their checksum.
void trib_task_begin(const struct trib_task *task, uint64_t examples, size_t size, uint32_t crc,
                     struct trib_msg_upload_begin *ret_begin);

// The number of a round to trib_task_rng. In mode online the device learns between rounds: 0.
uint64_t trib_task_stream(bool is_online, uint64_t round_number);
// The generator of a device's shuffles in a round; the simulator draws from the same.
void trib_task_rng(struct trib_rng *rng, uint64_t seed, uint64_t round_number, const char *device);
// The noise of a device in a round: from the system, or for tests (test_seed not 0) predictable.
void trib_task_noise(struct trib_noise *noise, uint64_t test_seed, uint64_t round_number,
                     const char *device);

#endif // TRIB_CLIENT_TASK_H
