// client.h - take part in federated learning from your own program.
//
// This header, tributary/predict.h, tributary/err.h and tributary/log.h are all the library installs.
// What is not declared there is not promised.
//
//     struct trib_client_config config;
//     struct trib_client *client;
//
//     trib_client_config_init(&config);
//     config.state_dir = "/var/lib/tributary"; // made by trib_client_enrol
//     config.trainer = &my_trainer;
//     config.trainer_user = &my_model;
//
//     if (trib_client_create(&config, &client) == TRIB_OK) {
//         err = trib_client_run(client);    // blocks until trib_client_stop or a lasting failure
//         trib_client_destroy(client);
//     }
//
// Ownership: the library copies every string and key it is given and never frees what is yours.
// Pointers handed to a callback are borrowed and end with the callback.
// Threads: one thread at a time per client; only trib_client_push and trib_client_count may be
// called from any thread, and trib_client_stop also from a signal handler. Trainer callbacks run
// on one worker thread that the library owns.
#ifndef TRIB_CLIENT_H
#define TRIB_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"
#include "tributary/log.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRIB_VERSION_MAJOR 0
#define TRIB_VERSION_MINOR 1
#define TRIB_VERSION_PATCH 0

// The version of the library actually linked, "MAJOR.MINOR.PATCH".
TRIB_API const char *trib_version(void);

struct trib_client; // one connection to one coordinator
struct trib_task;   // one round's work; lives during a trainer callback

// ---- What to train -----------------------------------------------------------------------------

// Read-only facts about the task at hand.
TRIB_API uint64_t trib_task_round(const struct trib_task *task);
TRIB_API const char *trib_task_model(const struct trib_task *task); // model name
TRIB_API uint32_t trib_task_epochs(const struct trib_task *task);   // local epochs asked
TRIB_API double trib_task_hyper(const struct trib_task *task, const char *name, double fallback);

// Which of its rows the device is to learn from. Tasks in another mode than batch come only to
// trainers that say that they know it (trib_trainer.modes).
enum trib_mode {
    TRIB_MODE_BATCH = 0,       // all of them
    TRIB_MODE_INCREMENTAL = 1, // those behind trib_task_position
    TRIB_MODE_ONLINE = 2,      // the same, each once and in order
};
TRIB_API int trib_task_mode(const struct trib_task *task);

// A number that only you give a meaning, for example of the last row: what the last counted update
// of this device claimed, 0 at first. Before `train` returns TRIB_OK, claim how far it went. The
// claim holds from the moment that the coordinator has counted the update; when the update is
// refused, the next task has the old position again. It is durable: after a kill no row is used
// twice in counted updates.
TRIB_API uint64_t trib_task_position(const struct trib_task *task);
TRIB_API void trib_task_claim(struct trib_task *task, uint64_t position);

// The part of the model that stays on this device (docs/models.md, Local parts): *ret_count float32
// values, to be improved in place like `params`. The library keeps them in the state directory and
// never sends them. NULL: the model has no such part.
TRIB_API float *trib_task_local(struct trib_task *task, size_t *ret_count);

// Ask this at least once per batch; when it is non-zero, return TRIB_ERR_STOPPED soon.
TRIB_API int trib_task_should_stop(const struct trib_task *task);

// Tell the operator how far you are, 0.0 to 1.0. Cheap; call it as often as you like.
TRIB_API void trib_task_progress(struct trib_task *task, double fraction);

// Report one number about local data, e.g. ("loss", 0.41). Only names the coordinator allowed in
// the task are sent; others are dropped here. With privacy on no metric is sent, whatever the
// coordinator allows, and the example count stays on the device.
TRIB_API void trib_task_metric(struct trib_task *task, const char *name, double value);

// ---- How to train: your code -------------------------------------------------------------------

struct trib_trainer {
    // sizeof(struct trib_trainer), so that fields can be added: what is behind it is never read. It
    // reaches over `train` at least.
    uint32_t struct_size;

    // May this device train now (charging, idle, on Wi-Fi, enough data)? Optional; NULL means yes.
    // 0: the task is answered DECLINED_BUSY at once; no later time is asked for.
    int (*ready)(void *user);

    // Improve `params` in place: `count` float32 values, the model's layout order. On entry they
    // are the global model. Set *ret_examples to the number of local examples used, at least 1.
    // Any value but TRIB_OK means that nothing is sent for this round. With privacy off the operator
    // sees why: TRIB_ERR_REFUSED, this is no task for your program, or TRIB_ERR_DATA as
    // DECLINED_MODEL; TRIB_OK and no example as DECLINED_NO_DATA; others as DECLINED_FAILED.
    enum trib_err (*train)(void *user, struct trib_task *task, float *params, size_t count,
                           uint64_t *ret_examples);

    // Measure `params` on local data through trib_task_metric. Optional.
    enum trib_err (*evaluate)(void *user, struct trib_task *task, const float *params,
                              size_t count);

    // A finished model was published: keep it, load it, or ignore it. Optional.
    void (*published)(void *user, uint64_t version, const float *params, size_t count);

    // Count over the local rows what a round asks for that does not train (docs/protocol.md, Tally
    // rounds). The built-in trainer does; others leave it NULL, and such tasks are declined.
    enum trib_err (*tally)(void *user, struct trib_task *task, const float *params, size_t count);

    // The modes that `train` knows besides batch: the sum of 1 << TRIB_MODE_... 0: no other.
    uint32_t modes;

    // Rows were pushed (trib_client_push, or the socket): learn from them now, on the worker
    // thread, while no task runs. Optional.
    void (*arrived)(void *user);

    // A version was installed, and the last task was of mode online: go on from it with the rows
    // that come, on the worker thread, while no task runs. `params` (count) are borrowed for the
    // call. Optional; called beside `published`.
    void (*renewed)(void *user, const float *params, size_t count);
};

// The built-in trainer for the models in docs/models.md; its user pointer is a dataset. One dataset
// serves one client at a time.
struct trib_dataset;
TRIB_API const struct trib_trainer *trib_trainer_builtin(void);
// Read the data that the [data] section of an INI file names (the client.ini that enrolment wrote,
// or your own). TRIB_ERR_DATA if they are malformed, with file, line and column in the log;
// TRIB_ERR_INVAL if the file is, or there is none. A [data] section that names nothing gives a
// dataset without rows, with which the device declines every task.
TRIB_API TRIB_CHECKED enum trib_err trib_dataset_open(const char *path,
                                                      struct trib_dataset **ret_dataset);
TRIB_API void trib_dataset_destroy(struct trib_dataset *dataset); // NULL is fine

// ---- Rows that come in while you run ------------------------------------------------------------

struct trib_push_result {
    uint64_t rows;      // found in the text
    uint64_t malformed; // of them: not kept, because they break a rule of the schema
};

// Push rows into the device's local store (docs/data.md): one line or more, each with its end, as
// push_format and schema in the [data] section of client.ini say. May be called from any thread.
// Afterwards the rows can be learned from and outlive a kill of the process; within a second they
// outlive a power cut. Rows that break a rule are counted, not fatal.
// TRIB_ERR_STATE: [data] format is not store, or another process writes to the store;
// TRIB_ERR_INVAL: a header line that does not name every column; TRIB_ERR_IO: the disk.
TRIB_API TRIB_CHECKED enum trib_err trib_client_push(struct trib_client *client, const char *text,
                                                     size_t size,
                                                     struct trib_push_result *ret_result);

// ---- What your application counts ---------------------------------------------------------------

// Counters that the job declares (round.counters; docs/operating.md): how often something that the
// model suggested was taken, how long it was used, how satisfied somebody was. They are counted
// under the model version that is installed when you call, on the disk before the call returns,
// and only totals leave the device, in rounds of their own. May be called from any thread; each
// call waits for the disk, so add trials up where they are many. TRIB_ERR_REFUSED: no such counter
// is declared (the log names it; none is known before the device had a task of the job);
// TRIB_ERR_INVAL: it is of the other kind, or the numbers cannot be; TRIB_ERR_LIMIT: the total is
// full; TRIB_ERR_IO: the disk. A rate: `trials` of which `successes` succeeded.
TRIB_API TRIB_CHECKED enum trib_err trib_client_count(struct trib_client *client, const char *name,
                                                      uint64_t successes, uint64_t trials);
// A sum: one number, within the range that is declared.
TRIB_API TRIB_CHECKED enum trib_err trib_client_count_number(struct trib_client *client,
                                                             const char *name, double number);

// ---- The client --------------------------------------------------------------------------------

struct trib_client_config {
    uint32_t struct_size;               // set by trib_client_config_init; no other is taken
    const char *state_dir;              // required: keys (0600), pins, privacy ledger, spool, model
    const char *coordinator_url;        // optional override of the URL learned at enrolment
    const struct trib_trainer *trainer; // required
    void *trainer_user;                 // passed to every trainer callback, untouched
    trib_log_fn log;                    // optional; NULL writes to stderr
    void *log_user;
    enum trib_log_level log_level;
    uint32_t reconnect_max_ms; // longest pause between attempts to connect
    uint64_t memory_max;       // bytes the library may allocate; larger models are refused
};

// Fill with defaults. Always call it first.
TRIB_API void trib_client_config_init(struct trib_client_config *config);

// Enrol this device with a one-time token ("trib1...."): makes its keys in `state_dir`, connects,
// proves the token, pins the coordinator's keys. TRIB_ERR_AUTH if the token is not accepted,
// TRIB_ERR_INVAL if it is none.
TRIB_API TRIB_CHECKED enum trib_err trib_client_enrol(const char *token, const char *state_dir);

// Check the configuration, load the keys. Does not connect yet. TRIB_ERR_INVAL if something that is
// required is missing, or coordinator_url is not of the form tcp://ADDRESS:PORT or ipc://PATH;
// TRIB_ERR_STATE if not enrolled.
TRIB_API TRIB_CHECKED enum trib_err trib_client_create(const struct trib_client_config *config,
                                                       struct trib_client **ret_client);

// Connect, wait for tasks, train, answer; again until stopped. Reconnects by itself.
TRIB_API TRIB_CHECKED enum trib_err trib_client_run(struct trib_client *client);

// Instead of trib_client_run, for programs with their own loop: poll the descriptor for reading,
// and call step when it is readable or when *ret_timeout_ms has passed.
TRIB_API int trib_client_poll_fd(const struct trib_client *client);
TRIB_API TRIB_CHECKED enum trib_err trib_client_step(struct trib_client *client,
                                                     int *ret_timeout_ms);

TRIB_API void trib_client_stop(struct trib_client *client);
TRIB_API void trib_client_destroy(
    struct trib_client *client); // NULL is fine; stops first if running

#ifdef __cplusplus
}
#endif

#endif // TRIB_CLIENT_H
