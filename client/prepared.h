// prepared.h - rows that go through the pipeline of a task (docs/data.md): what they add to a pass
// of its statistics, and the features that it makes of them.
//
// Data sets with a schema hold values that wait for such a pipeline (data.pipeline = job).
#ifndef TRIB_CLIENT_PREPARED_H
#define TRIB_CLIENT_PREPARED_H

#include <stdbool.h>

#include "client/task.h"
#include "common/data/source.h"
#include "tributary/err.h"

// The features that a task learns from or counts, in the place of the rows just read (feed.h).
// Those of borrowed rows are kept by their data set for further tasks with the same pipeline. Rows
// that do not wait for a pipeline stay as they are, if the task brings none or the one they went
// through.
// TRIB_ERR_DATA: rows and task do not go together, logged; the rows are then as they were.
TRIB_CHECKED enum trib_err trib_prepared_features(const struct trib_task *task, bool is_borrowed,
                                                  struct trib_data_news *news);

// Do rows and task go together, and can the rows be learnt from as the task wants it? Errors as
// above.
TRIB_CHECKED enum trib_err trib_prepared_check(const struct trib_task *task,
                                               const struct trib_dataset *dataset);

// Count the pass that the task's pipeline is at into task->tally.
TRIB_CHECKED enum trib_err trib_prepared_count(struct trib_task *task,
                                               const struct trib_data_news *news);

#endif // TRIB_CLIENT_PREPARED_H
