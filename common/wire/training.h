// training.h - what a task asks a device to do with its data, as a digest.
#ifndef TRIB_WIRE_TRAINING_H
#define TRIB_WIRE_TRAINING_H

#include "common/base/hash.h"
#include "common/wire/message.h"

// Over population, model, seed, epochs, batch and every hyperparameter; the base model and the
// encoding are not in it. Secure aggregation binds it: devices that were asked to train in
// different ways (all but one of them with a learning rate of 0, say) do not add up.
void trib_training_digest(const struct trib_msg_task *task,
                          uint8_t ret_digest[static TRIB_DIGEST_SIZE]);

#endif // TRIB_WIRE_TRAINING_H
