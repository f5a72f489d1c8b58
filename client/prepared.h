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

// Does the task's pipeline remember rows that went before, so that used rows must be read beside
// the new ones? It then runs over all rows that the device has, in their order, and the new ones
// become what mode batch would make of them. False too where rows do not wait for a pipeline.
// TRIB_ERR_DATA: the pipeline does not go with the schema, logged.
TRIB_CHECKED enum trib_err trib_prepared_wants_used(const struct trib_task *task,
                                                    const struct trib_data_config *config,
                                                    bool *ret_wants_used);

// Do the rows that client.ini names wait for a pipeline if the task brings one, and for none if it
// does not, as far as client.ini says? Logged if not. Nothing of it depends on the rows.
bool trib_prepared_suits(const struct trib_dataset *dataset, const struct trib_task *task);

// The features that a task learns from or counts, in the place of the rows just read (feed.h).
// Those of borrowed rows are kept by their data set for further tasks with the same pipeline. Rows
// that do not wait for a pipeline stay as they are, if the task brings none or the one they went
// through.
// TRIB_ERR_DATA: rows and task do not go together, or the pipeline looks ahead in mode online,
// logged; the rows are then as they were.
TRIB_CHECKED enum trib_err trib_prepared_features(const struct trib_task *task, bool is_borrowed,
                                                  struct trib_data_news *news);

// Count the pass that the task's pipeline is at into task->tally.
TRIB_CHECKED enum trib_err trib_prepared_count(struct trib_task *task,
                                               const struct trib_data_news *news);

#endif // TRIB_CLIENT_PREPARED_H
