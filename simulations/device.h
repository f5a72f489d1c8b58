// device.h - what one simulated device does in a round: train, take the difference, pass the
// privacy boundary, pack. The same pieces in the same order as the real client's built-in trainer.
//
// A bench is the workspace for one device at a time; each worker thread has one. Devices share the
// rows of the scenario and leave nothing behind on the bench.
#ifndef TRIB_SIMULATIONS_DEVICE_H
#define TRIB_SIMULATIONS_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "common/math/train.h"
#include "common/wire/code.h"
#include "coordinator/tally_round.h"
#include "tributary/err.h"

struct trib_bench;

// `job` is borrowed and must outlive the bench; no device has more than `rows_max` rows.
TRIB_CHECKED enum trib_err trib_bench_create(const struct trib_job *job, size_t rows_max,
                                             struct trib_bench **ret_bench);
void trib_bench_destroy(struct trib_bench *bench);

struct trib_device_task {
    uint64_t round_number;
    const struct trib_round_shape *shape; // training, or what is counted
    const char *name;                     // of the device: its randomness comes from it
    const float *base;                    // parameters to start from
    float *local;                // the local part (local_count): improved if there is an update
    double learning_rate;        // of this round
    const float *class_weight;   // of the fleet's counts (classes), borrowed; NULL: there are none
    double threshold;            // of the version that is counted at; NaN: it has none
    struct trib_samples samples; // at least one row
    trib_train_stop_fn stop;
    void *stop_user;
    // With mode distributed: mask the words.
    enum trib_err (*mask)(void *user, int32_t *words, size_t count);
    void *mask_user;
};

// What the device sends, borrowed from the bench until its next task.
struct trib_device_update {
    enum trib_code code;  // TRIB_CODE_NONE: there is an update; else why there is none
    const int32_t *words; // (words of the task's shape)
    uint32_t weight;      // examples, capped; 1 with privacy on, when it is not told
};

// TRIB_ERR_STOPPED: asked to.
TRIB_CHECKED enum trib_err trib_bench_run(struct trib_bench *bench,
                                          const struct trib_device_task *task,
                                          struct trib_device_update *ret_update);

#endif // TRIB_SIMULATIONS_DEVICE_H
