#include "simulations/swarm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/wire/presence.h"
#include "simulations/swarm_device.h"

#define TRIB_LOG_MODULE "swarm"

enum {
    TICK_MS = 20,
    LOOKS = 500, // ticks between two looks of a device at its session: they are spread out
    HANDSHAKE_MS = 30000,
    FRAMES = 32,
};

void trib_swarm_count(struct trib_swarm *swarm, uint64_t *counter)
{
    (void)pthread_mutex_lock(&swarm->lock);
    (*counter)++;
    (void)pthread_mutex_unlock(&swarm->lock);
}

struct trib_swarm_counts trib_swarm_counts(struct trib_swarm *swarm)
{
    (void)pthread_mutex_lock(&swarm->lock);
    struct trib_swarm_counts counts = swarm->counts;
    (void)pthread_mutex_unlock(&swarm->lock);
    return counts;
}

void trib_swarm_behave(struct trib_swarm *swarm, const struct trib_swarm_plan *plan)
{
    (void)pthread_mutex_lock(&swarm->lock);
    swarm->plan = *plan;
    swarm->counts.first_us = 0;
    (void)pthread_mutex_unlock(&swarm->lock);
}

// ---- Connecting

static void submit(void *executor, struct trib_work *work)
{
    trib_queue_put(executor, &work->node);
}

// On a thread of nng.
static void on_dialed(void *user, enum trib_err err, struct trib_conn *conn)
{
    struct trib_swarm_device *device = user;
    (void)err;
    device->dialed_conn = conn;
    trib_queue_put(&device->swarm->queue, &device->dialed.node);
}

static void dial_is_over(struct trib_work *work)
{
    struct trib_swarm_device *device =
        (struct trib_swarm_device *)(void *)((char *)work -
                                             offsetof(struct trib_swarm_device, dialed));
    struct trib_swarm *swarm = device->swarm;
    const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    const struct trib_channel_options options = {
        .handler = &trib_swarm_handler,
        .user = device,
        .submit = submit,
        .executor = &swarm->queue,
        .receive_frames = swarm->receive_frames,
        .send_frames = swarm->send_frames,
        .secret = device->secret,
        .coordinator = swarm->coordinator,
        .hello = &hello,
    };
    trib_dial_free(device->dial);
    device->dial = NULL;
    if (device->dialed_conn &&
        trib_channel_connect(device->dialed_conn, &options, &device->channel) == TRIB_OK) {
        trib_channel_start(device->channel);
    } else {
        trib_swarm_count(swarm, &swarm->counts.failures);
        device->dial_ms = trib_clock_mono_ms() + TRIB_RECONNECT_BASE_MS;
    }
    device->dialed_conn = NULL;
}

static void dial(struct trib_swarm_device *device, uint64_t now_ms)
{
    struct trib_swarm *swarm = device->swarm;
    trib_swarm_count(swarm, &swarm->counts.dials);
    if (trib_link_dial(swarm->url, on_dialed, device, &device->dial)) {
        trib_swarm_count(swarm, &swarm->counts.failures);
        device->dial_ms = now_ms + TRIB_RECONNECT_BASE_MS;
    }
}

// ---- Time

static void keep_session(struct trib_swarm_device *device, uint64_t now_ms)
{
    const struct trib_presence_times times = {
        .created_ms = trib_channel_created_ms(device->channel),
        .heard_ms = trib_channel_heard_ms(device->channel),
        .pinged_ms = device->pinged_ms,
        .ask_ms = TRIB_PRESENCE_DEVICE_MS,
    };
    if (!device->is_up) {
        if (now_ms > times.created_ms + HANDSHAKE_MS)
            trib_channel_close(device->channel, TRIB_CLOSE_SLOW);
        return;
    }
    switch (trib_presence_due(&times, now_ms)) {
    case TRIB_PRESENCE_FINE:
    case TRIB_PRESENCE_AGED: return;
    case TRIB_PRESENCE_PING:
        device->pinged_ms = now_ms;
        (void)!trib_channel_send(device->channel, TRIB_RECORD_PING, 0, NULL, 0);
        return;
    case TRIB_PRESENCE_IDLE: trib_channel_close(device->channel, TRIB_CLOSE_IDLE); return;
    }
}

// Those that hung up come back.
static void call_back(struct trib_swarm *swarm)
{
    for (size_t i = 0; i < swarm->count; i++) {
        struct trib_swarm_device *device = &swarm->devices[i];
        if (device->is_away && !device->channel)
            device->dial_ms = 0;
        device->is_away = false;
    }
}

static void tick(struct trib_swarm *swarm, uint64_t now_ms)
{
    if (__atomic_exchange_n(&swarm->is_called, false, __ATOMIC_ACQ_REL))
        call_back(swarm);
    const size_t called = __atomic_load_n(&swarm->called, __ATOMIC_ACQUIRE);
    swarm->ticks++;
    for (size_t i = 0; i < called; i++) {
        struct trib_swarm_device *device = &swarm->devices[i];
        const bool looks = (swarm->ticks + i) % LOOKS == 0;
        if (device->channel && (looks || device->is_leaving)) {
            trib_channel_tick(device->channel, now_ms); // one that hangs up waits for that
            keep_session(device, now_ms);
        }
        if (!device->channel && !device->dial && now_ms >= device->dial_ms)
            dial(device, now_ms);
        else if (device->is_up && now_ms >= device->due_ms)
            trib_swarm_device_due(device);
    }
}

// Everything ends: what is open is closed. False: nothing is open any more.
static bool hang_up(struct trib_swarm *swarm)
{
    bool is_open = false;
    for (size_t i = 0; i < swarm->count; i++) {
        struct trib_swarm_device *device = &swarm->devices[i];
        if (device->dial)
            trib_dial_cancel(device->dial);
        if (device->channel)
            trib_channel_close(device->channel, TRIB_CLOSE_SHUTDOWN);
        is_open = is_open || device->dial || device->channel;
    }
    return is_open;
}

static void *live(void *user)
{
    struct trib_swarm *swarm = user;
    uint64_t next_tick_ms = 0;
    for (;;) {
        struct trib_work *work = (struct trib_work *)trib_queue_take(&swarm->queue, TICK_MS);
        if (work)
            work->run(work);
        const uint64_t now_ms = trib_clock_mono_ms();
        if (now_ms < next_tick_ms)
            continue;
        next_tick_ms = now_ms + TICK_MS;
        if (!__atomic_load_n(&swarm->stops, __ATOMIC_ACQUIRE))
            tick(swarm, now_ms);
        else if (!hang_up(swarm))
            break;
    }
    for (struct trib_work *work; (work = (struct trib_work *)trib_queue_take(&swarm->queue, 0));)
        work->run(work);
    return NULL;
}

void trib_swarm_connect(struct trib_swarm *swarm, size_t count)
{
    assert(count <= swarm->count);
    __atomic_store_n(&swarm->called, count, __ATOMIC_RELEASE);
    __atomic_store_n(&swarm->is_called, true, __ATOMIC_RELEASE);
}

// ---- Life

static enum trib_err make_devices(struct trib_swarm *swarm, uint64_t seed)
{
    swarm->devices = trib_alloc_array(swarm->count, sizeof(*swarm->devices));
    if (!swarm->devices)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < swarm->count; i++) {
        struct trib_swarm_device *device = &swarm->devices[i];
        device->swarm = swarm;
        device->dialed.run = dial_is_over;
        device->due_ms = UINT64_MAX;
        trib_fleet_secret(seed, i, device->secret);
    }
    return TRIB_OK;
}

enum trib_err trib_swarm_create(const struct trib_swarm_options *options,
                                struct trib_swarm **ret_swarm)
{
    struct trib_swarm *swarm = trib_alloc(sizeof(*swarm));
    if (!swarm)
        return TRIB_ERR_NOMEM;
    swarm->count = options->count;
    swarm->queue.fd = -1;
    (void)snprintf(swarm->url, sizeof(swarm->url), "%s", options->url);
    memcpy(swarm->coordinator, options->coordinator, sizeof(swarm->coordinator));
    trib_rng_init(&swarm->rng, options->seed, "swarm", 0, NULL);
    (void)pthread_mutex_init(&swarm->lock, NULL);
    enum trib_err err = make_devices(swarm, options->seed);
    if (!err)
        err = trib_queue_init(&swarm->queue, false);
    if (!err)
        err = trib_frames_create(FRAMES, 1, &swarm->receive_frames);
    if (!err)
        err = trib_frames_create(FRAMES, 1, &swarm->send_frames);
    if (!err) {
        int failure = pthread_create(&swarm->thread, NULL, live, swarm);
        if (failure) {
            TRIB_ERROR("pthread_create: %s", strerror(failure));
            err = TRIB_ERR_IO;
        }
    }
    swarm->is_alive = !err;
    if (err) {
        trib_swarm_destroy(swarm);
        return err;
    }
    *ret_swarm = swarm;
    return TRIB_OK;
}

void trib_swarm_destroy(struct trib_swarm *swarm)
{
    if (!swarm)
        return;
    __atomic_store_n(&swarm->stops, true, __ATOMIC_RELEASE);
    if (swarm->is_alive)
        (void)pthread_join(swarm->thread, NULL);
    if (swarm->devices)
        trib_wipe(swarm->devices, swarm->count * sizeof(*swarm->devices));
    trib_queue_fini(&swarm->queue);
    trib_frames_destroy(swarm->receive_frames);
    trib_frames_destroy(swarm->send_frames);
    trib_blob_unref(swarm->packed);
    (void)pthread_mutex_destroy(&swarm->lock);
    free(swarm->devices);
    free(swarm);
}
