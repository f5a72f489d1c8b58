// What a client is asked to do: tasks taken, judged, begun, ended, and what came of them.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_state.h"
#include "client/pipeline_file.h"
#include "client/prepared.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "client"

static void worker_run(struct trib_work *work)
{
    struct trib_worker *worker = (struct trib_worker *)work;
    struct trib_client *client = worker->client;
    worker->code = trib_task_run(&worker->task, client->config.trainer, client->config.trainer_user,
                                 worker->base, client->dir, &worker->result);
    trib_queue_put(&client->queue, &worker->report.node);
}

static void return_base(struct trib_client *client)
{
    struct trib_worker *worker = &client->worker;
    if (worker->base == client->slot.params)
        client->slot.is_lent = false;
    else
        free(worker->base); // the slot went on to another version
    worker->base = NULL;
}

static void worker_report(struct trib_work *work)
{
    struct trib_worker *worker =
        (struct trib_worker *)(void *)((char *)work - offsetof(struct trib_worker, report));
    struct trib_client *client = worker->client;
    struct trib_upload *up = &client->upload;

    TRIB_CRASH_POINT("task.trained");
    worker->is_running = false;
    return_base(client);
    struct trib_task_result *result = &worker->result;
    const bool stopped = __atomic_load_n(&worker->stop, __ATOMIC_RELAXED) != 0;
    if (stopped && result->words) { // of a round that is over: no keys are made for it
        trib_task_result_fini(result, worker->task.word_count);
        trib_client_start_task(client);
    } else if (worker->code == TRIB_CODE_ACCEPTED && result->words) {
        trib_part_words(client, &worker->task, result->words);
        result->words = NULL;
    } else if (worker->code == TRIB_CODE_ACCEPTED) {
        up->packed = trib_blob_take(result->packed, result->begin.size);
        up->has_update = up->packed != NULL;
        up->begin = result->begin;
        up->reservation = result->reservation;
        up->has_claim = worker->task.has_claim;
        up->is_begun = false;
        result->packed = NULL;
        if (!up->has_update) { // no memory to send it with: nothing of it has left
            trib_client_reply(client, worker->task.msg.round_id, TRIB_CODE_DECLINED_FAILED);
            trib_client_drop_upload(client);
            return;
        }
        if (worker->task.msg.send_tick_ms) { // when it is sent must not tell how long noise took
            uint64_t tick = worker->task.msg.send_tick_ms;
            up->not_before_ms = (trib_clock_mono_ms() / tick + 1) * tick;
        }
        trib_client_begin_upload(client);
    } else {
        if (!stopped)
            trib_client_reply(client, worker->task.msg.round_id, worker->code);
        trib_client_start_task(client);
    }
}

void trib_client_worker_init(struct trib_client *client)
{
    client->worker.client = client;
    client->worker.work.run = worker_run;
    client->worker.report.run = worker_report;
}

// A version is not trained on with the features of another pipeline than its own. The first version
// of a job has none yet.
static bool fits_pipeline(const struct trib_client *client)
{
    static const uint8_t none[TRIB_DIGEST_SIZE];
    const struct trib_msg_fit *fit = &client->task.msg.fit;
    const uint8_t *of_base = client->slot.manifest.prepare_digest;
    uint8_t digest[TRIB_DIGEST_SIZE];
    if (!fit->prepare[0] || memcmp(of_base, none, sizeof(none)) == 0 ||
        fit->tally.kind == TRIB_TALLY_PREPARE) // which does not look at the version
        return true;
    trib_digest(fit->prepare, strlen(fit->prepare), digest);
    if (memcmp(of_base, digest, sizeof(digest)) == 0)
        return true;
    TRIB_WARN("id=task-declined round=%" PRIu64
              " declined: it is for another pipeline than version "
              "%" PRIu64,
              client->task.msg.round_number, client->slot.manifest.version);
    return false;
}

// For predictions: a version that comes of this task has its features from this pipeline.
static void keep_pipeline(const struct trib_client *client)
{
    const struct trib_msg_fit *fit = &client->task.msg.fit;
    if (fit->prepare[0] && fit->tally.kind != TRIB_TALLY_PREPARE && // there it is not fitted yet
        trib_pipeline_file_keep(client->dir, fit->prepare))
        TRIB_WARN("the job's pipeline could not be kept: nothing is predicted with it");
}

// Begin the task at hand, if its base is installed and nothing stands in the way.
void trib_client_start_task(struct trib_client *client)
{
    struct trib_worker *worker = &client->worker;
    const struct trib_msg_task *msg = &client->task.msg;
    if (!client->has_task || worker->is_running || client->upload.has_update ||
        !client->slot.params ||
        memcmp(client->slot.manifest.digest, msg->base_digest, TRIB_DIGEST_SIZE) != 0)
        return;
    client->has_task = false;
    if (!trib_client_settle(client, &client->has_open_claim, true)) {
        trib_client_reply(client, msg->round_id, TRIB_CODE_DECLINED_FAILED);
        return;
    }
    if (!fits_pipeline(client)) {
        trib_client_reply(client, msg->round_id, TRIB_CODE_DECLINED_MODEL);
        return;
    }
    if (memcmp(client->slot.model.arch_digest, client->task.model.arch_digest, TRIB_DIGEST_SIZE) !=
        0) {
        trib_client_reply(client, msg->round_id, TRIB_CODE_DECLINED_MODEL);
        return;
    }
    keep_pipeline(client);
    worker->task = client->task;
    worker->task.device = client->enrolment.name;
    worker->task.stop = &worker->stop;
    worker->base = client->slot.params;
    client->slot.is_lent = true;
    worker->is_running = true;
    __atomic_store_n(&worker->stop, 0, __ATOMIC_RELAXED);
    TRIB_INFO("round=%" PRIu64 " begins at version=%" PRIu64, msg->round_number,
              client->slot.manifest.version);
    trib_client_reply(client, msg->round_id, TRIB_CODE_ACCEPTED);
    trib_pool_submit(client->pool, &worker->work);
}

// May we, and is there budget left? Then `ret_task` is ready to be charged and begun.
static enum trib_code judge(struct trib_client *client, const struct trib_msg_task *msg,
                            struct trib_task *ret_task)
{
    enum trib_code code =
        trib_task_judge(msg, &client->settings.policy, client->config.memory_max, ret_task);
    if (code != TRIB_CODE_ACCEPTED)
        return code;
    ret_task->ledger = client->ledger;
    trib_ledger_charge(&ret_task->encoding, msg->job, msg->round_id, client->whom,
                       &ret_task->charge);
    ret_task->charge.cohort = (struct trib_privacy_cohort){
        .members = ret_task->secagg.members,
        .colluders = ret_task->secagg.colluders,
        .is_vouched_apart =
            trib_state_is_vouched_apart(&client->enrolment, &client->settings.policy),
    };
    if (trib_ledger_allows(client->ledger, &ret_task->encoding))
        return TRIB_CODE_ACCEPTED;
    TRIB_WARN("id=budget-exhausted round=%" PRIu64 " declined: the privacy budget is used up",
              msg->round_number);
    return TRIB_CODE_DECLINED_BUDGET;
}

// A ledger that could not be written is read again, as at a start: the disk may have room by now.
static void mend_ledger(struct trib_client *client)
{
    struct trib_ledger *again;
    if (client->worker.is_running || trib_part_round(client) != 0 ||
        !trib_ledger_may_reopen(client->ledger))
        return;
    if (trib_state_ledger(client->dir, &client->keys, &client->settings.policy, &again))
        return; // there is still no room; the next tick asks again
    trib_ledger_close(client->ledger);
    client->ledger = again;
    client->task.ledger = again;    // of one that waits
    client->upload.reservation = 0; // it counts: that it could be taken back is forgotten
    TRIB_INFO("id=ledger-mended the privacy ledger can be written again");
}

// What the rows of client.ini go through is known without a look at them: such a task is declined
// for what it is, with privacy on too.
static bool suits_rows(const struct trib_client *client, const struct trib_task *task)
{
    const struct trib_trainer *trainer = client->config.trainer;
    const struct trib_dataset *dataset = client->config.trainer_user;
    return trainer->train != trib_trainer_builtin()->train || !dataset ||
           trib_prepared_suits(dataset, task);
}

bool trib_client_take_task(struct trib_client *client, const struct trib_record *record)
{
    const struct trib_trainer *trainer = client->config.trainer;
    struct trib_msg_task msg;
    struct trib_task task;
    struct trib_worker *worker = &client->worker;
    if (trib_msg_task_unpack(record->payload, record->payload_size, &msg))
        return false;
    if (client->upload.has_update && client->upload.begin.round_id == msg.round_id)
        return true; // it is done: the update is on its way
    if ((worker->is_running && worker->task.msg.round_id == msg.round_id) ||
        trib_part_round(client) == msg.round_id) {
        trib_client_reply(client, msg.round_id, TRIB_CODE_ACCEPTED);
        return true;
    }
    mend_ledger(client);
    enum trib_code code = TRIB_CODE_DECLINED_POLICY;
    if (strcmp(msg.population, client->enrolment.population) == 0)
        code = judge(client, &msg, &task);
    if (code == TRIB_CODE_ACCEPTED &&
        (!trib_trainer_can(trainer, &task) ||
         memcmp(msg.base_digest, client->other_pipeline, TRIB_DIGEST_SIZE) == 0)) {
        TRIB_WARN("id=task-declined round=%" PRIu64
                  " declined: the trainer of this device does not know how to do it",
                  msg.round_number);
        code = TRIB_CODE_DECLINED_MODEL;
    }
    if (code == TRIB_CODE_ACCEPTED && !suits_rows(client, &task))
        code = TRIB_CODE_DECLINED_MODEL;
    if (code == TRIB_CODE_ACCEPTED && trainer->ready &&
        !trainer->ready(client->config.trainer_user)) {
        TRIB_INFO("round=%" PRIu64
                  " declined: the program of this device says that it is not ready",
                  msg.round_number);
        code = TRIB_CODE_DECLINED_BUSY;
    }
    if (code != TRIB_CODE_ACCEPTED) {
        trib_client_reply(client, msg.round_id, code);
        return true;
    }
    trib_part_drop(client); // of a round that is over
    client->task = task;
    client->has_task = true;
    TRIB_CRASH_POINT("update.asked");
    if (worker->is_running) // of a round that is over: the coordinator asks for another
        __atomic_store_n(&worker->stop, 1, __ATOMIC_RELAXED);
    trib_client_start_task(client);
    return true;
}

bool trib_client_take_round_end(struct trib_client *client, const struct trib_record *record)
{
    struct trib_msg_round_end end;
    if (trib_msg_round_end_unpack(record->payload, record->payload_size, &end))
        return false;
    if (client->has_task && client->task.msg.round_id == end.round_id)
        client->has_task = false;
    if (client->worker.is_running && client->worker.task.msg.round_id == end.round_id)
        __atomic_store_n(&client->worker.stop, 1, __ATOMIC_RELAXED);
    if (trib_part_round(client) == end.round_id)
        trib_part_drop(client);
    return true;
}
