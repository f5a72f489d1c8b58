// swarm_device.h - what swarm*.c share.
#ifndef TRIB_SIMULATIONS_SWARM_DEVICE_H
#define TRIB_SIMULATIONS_SWARM_DEVICE_H

#include <pthread.h>

#include "common/base/limits.h"
#include "common/base/pool.h"
#include "common/base/rand.h"
#include "common/math/model.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "simulations/fleet_folder.h"
#include "simulations/swarm.h"

enum trib_swarm_step {
    TRIB_SWARM_IDLE,
    TRIB_SWARM_WAITING,  // for the task's base to be there
    TRIB_SWARM_TRAINING, // until `due_ms`
    TRIB_SWARM_READY,    // to send; after a refusal not before `due_ms`
    TRIB_SWARM_SENDING,  // begun
};

struct trib_swarm_device {
    struct trib_swarm *swarm;
    struct trib_channel *channel; // NULL: none
    struct trib_dial *dial;
    struct trib_conn *dialed_conn;
    struct trib_work dialed;
    uint8_t secret[TRIB_FLEET_SECRET_SIZE];
    bool is_up;
    bool is_leaving;  // hanging up
    bool is_away;     // hung up until it is called
    uint64_t dial_ms; // without a connection: when to dial; UINT64_MAX: not
    uint64_t due_ms;  // when `step` is over, with a session; UINT64_MAX: that is not for us to say
    uint64_t pinged_ms;

    uint64_t generation, version;
    uint8_t digest[TRIB_DIGEST_SIZE]; // of the model it has
    struct {
        uint16_t stream; // 0: nothing is fetched
        uint64_t generation, version, size, received;
        uint8_t digest[TRIB_DIGEST_SIZE];
    } fetch;

    enum trib_swarm_step step;
    bool is_straggler;
    uint16_t stream; // of the upload
    bool is_ended;   // all of it is queued
    uint64_t sent;
    uint64_t round; // the last task's
    uint8_t base[TRIB_DIGEST_SIZE];
    uint8_t update_id[TRIB_MSG_ID_SIZE];
    bool is_weighed; // privacy is off
};

struct trib_swarm {
    char url[TRIB_URL_MAX + 1];
    uint8_t coordinator[TRIB_NOISE_KEY_SIZE];
    struct trib_queue queue;
    struct trib_frames *receive_frames, *send_frames;
    struct trib_swarm_device *devices; // (count)
    size_t count;
    pthread_t thread;
    bool is_alive; // the thread was started
    struct trib_rng rng;
    uint16_t next_stream;
    size_t ticks;

    // Of the newest task: all are of one model.
    struct trib_model model;
    struct trib_blob *packed; // what everybody sends
    uint8_t packed_digest[TRIB_DIGEST_SIZE];

    bool stops;           // atomic
    size_t called;        // atomic: the devices before this one are to be connected
    bool is_called;       // atomic: those that are away, too
    pthread_mutex_t lock; // of what follows
    struct trib_swarm_plan plan;
    struct trib_swarm_counts counts;
};

extern const struct trib_channel_handler trib_swarm_handler;

// It has a session, and its `due_ms` has come.
void trib_swarm_device_due(struct trib_swarm_device *device);
void trib_swarm_count(struct trib_swarm *swarm, uint64_t *counter); // one of swarm->counts

#endif // TRIB_SIMULATIONS_SWARM_DEVICE_H
