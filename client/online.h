// online.h - the device's own copy of the model in mode online: it takes a step for each batch of
// rows as they arrive, and a task only asks how far it has come.
//
// The copy is always the task's base and a step for each whole batch of rows behind the watermark,
// in their order, whether they were taken one by one or all at once (trib_train_partial). So it can
// be thrown away and made again from the rows at any time, and a kill changes nothing.
#ifndef TRIB_CLIENT_ONLINE_H
#define TRIB_CLIENT_ONLINE_H

#include <stdint.h>

#include "client/task.h"
#include "common/data/dataset.h"
#include "tributary/err.h"

struct trib_online;
void trib_online_destroy(struct trib_online *online); // NULL is fine

// Answer a task of mode online: `params` (the base) become the copy's, task->claim says how far it
// went. TRIB_ERR_REFUSED: no batch of new rows is whole.
TRIB_CHECKED enum trib_err trib_online_train(struct trib_dataset *dataset, struct trib_task *task,
                                             float *params, uint64_t *ret_examples);

// Rows arrived: learn from them, if there has been a task that said how.
void trib_online_arrived(struct trib_dataset *dataset);

// A version was installed: the copy begins anew from it, behind the rows that the last task claimed.
// Whether they were counted, and by this version, the next task says; it makes the copy again if
// they were not.
void trib_online_renew(struct trib_dataset *dataset, const float *params, size_t count);

#endif // TRIB_CLIENT_ONLINE_H
