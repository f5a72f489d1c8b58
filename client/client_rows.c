// Rows that come in while the client runs.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_state.h"
#include "client/counter_store.h"
#include "client/watermark.h"
#include "common/base/alloc.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "client"

static void tell_trainer(struct trib_work *work)
{
    struct trib_client *client =
        (struct trib_client *)(void *)((char *)work - offsetof(struct trib_client, arrival));
    __atomic_store_n(&client->arrival_is_queued, 0, __ATOMIC_RELEASE);
    client->config.trainer->arrived(client->config.trainer_user);
}

// From the inlet's thread, or that of trib_client_push. The pool has one thread: no task runs then.
static void arrived(void *user)
{
    struct trib_client *client = user;
    const struct trib_trainer *trainer = client->config.trainer;
    if (!trainer->arrived || __atomic_exchange_n(&client->arrival_is_queued, 1, __ATOMIC_ACQ_REL))
        return;
    client->arrival.run = tell_trainer;
    trib_pool_submit(client->pool, &client->arrival);
}

// A version that the trainer's own copy goes on from, handed to the pool.
struct renewal {
    struct trib_work work;
    const struct trib_trainer *trainer;
    void *user;
    float *params; // (count), owned
    size_t count;
};

static void renew(struct trib_work *work)
{
    struct renewal *renewal = (struct renewal *)(void *)work;
    renewal->trainer->renewed(renewal->user, renewal->params, renewal->count);
    free(renewal->params);
    free(renewal);
}

void trib_client_renew(struct trib_client *client)
{
    const struct trib_trainer *trainer = client->config.trainer;
    if (!trainer->renewed || client->worker.task.msg.fit.mode != TRIB_MODE_ONLINE)
        return;
    struct renewal *renewal = trib_alloc(sizeof(*renewal));
    if (!renewal)
        return; // the next task makes the copy
    *renewal = (struct renewal){.work.run = renew,
                                .trainer = trainer,
                                .user = client->config.trainer_user,
                                .count = client->slot.model.param_count};
    renewal->params = trib_alloc_aligned(renewal->count, sizeof(*renewal->params));
    if (!renewal->params) {
        free(renewal);
        return;
    }
    memcpy(renewal->params, client->slot.params, renewal->count * sizeof(*renewal->params));
    trib_pool_submit(client->pool, &renewal->work);
}

static enum trib_err open_inlet(struct trib_client *client)
{
    const struct trib_inlet_options options = {
        .config = &client->settings.data, .arrived = arrived, .user = client};
    if (client->settings.data.format != TRIB_DATA_STORE) {
        TRIB_ERROR("%s: rows are pushed only with data.format = store in client.ini", client->dir);
        return TRIB_ERR_STATE;
    }
    return trib_inlet_create(&options, &client->inlet);
}

enum trib_err trib_client_rows_open(struct trib_client *client)
{
    // Without a socket the store is opened when the program pushes: others may fill it till then.
    return client->settings.data.socket[0] ? open_inlet(client) : TRIB_OK;
}

bool trib_client_settle(struct trib_client *client, bool *has_claim, bool is_counted)
{
    if (*has_claim && trib_watermark_settle(client->dir, is_counted)) {
        TRIB_WARN("id=claim-open which rows were used cannot be written down; it is tried again");
        return false;
    }
    *has_claim = false;
    return true;
}

enum trib_err trib_client_push(struct trib_client *client, const char *text, size_t size,
                               struct trib_push_result *ret_result)
{
    struct trib_push_result result;
    enum trib_err err = TRIB_OK;
    (void)pthread_mutex_lock(&client->inlet_lock);
    if (!client->inlet)
        err = open_inlet(client);
    (void)pthread_mutex_unlock(&client->inlet_lock);
    if (!err)
        err = trib_inlet_push(client->inlet, text, size, &result.rows, &result.malformed);
    if (!err)
        *ret_result = result;
    return err;
}

// ---- Counters

void trib_client_tell_version(struct trib_client *client)
{
    if (trib_counter_store_version(client->dir, client->slot.manifest.version))
        TRIB_WARN("what is counted now is counted under the version before %" PRIu64,
                  client->slot.manifest.version);
}

enum trib_err trib_client_count(struct trib_client *client, const char *name, uint64_t successes,
                                uint64_t trials)
{
    char why[256];
    enum trib_err err =
        trib_counter_store_trials(client->dir, name, successes, trials, why, sizeof(why));
    if (err)
        TRIB_WARN("%s", why);
    return err;
}

enum trib_err trib_client_count_number(struct trib_client *client, const char *name, double number)
{
    char why[256];
    enum trib_err err = trib_counter_store_number(client->dir, name, number, why, sizeof(why));
    if (err)
        TRIB_WARN("%s", why);
    return err;
}
