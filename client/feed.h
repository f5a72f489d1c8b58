// feed.h - the rows of the built-in trainer: what the [data] section of client.ini names, read
// again where more may have come since.
#ifndef TRIB_CLIENT_FEED_H
#define TRIB_CLIENT_FEED_H

#include <stdbool.h>

#include "client/task.h"
#include "common/data/source.h"
#include "tributary/err.h"

// Read (or, of a store, check) what an INI file names; trib_dataset_open says more. The data set
// keeps what it takes to read it again.
TRIB_CHECKED enum trib_err trib_feed_open(const char *path, struct trib_dataset **ret_dataset);

// The rows for a task: all of them in mode batch, else those behind task->mark; the used ones stand
// before these where a file or a pipeline has them (prepared.h). When they are those
// of `dataset` itself they are borrowed from it (*ret_is_borrowed): do not end them then.
TRIB_CHECKED enum trib_err trib_feed_read(struct trib_dataset *dataset,
                                          const struct trib_task *task,
                                          struct trib_data_news *ret_news, bool *ret_is_borrowed);

// Are there new rows, and do they fit the task's model? In mode online: how many make whole steps.
// TRIB_ERR_REFUSED: there are none, or the data set is unfit; TRIB_ERR_DATA: they do not fit.
// Logged.
TRIB_CHECKED enum trib_err trib_feed_check(const struct trib_data_news *news,
                                           const struct trib_task *task, size_t *ret_rows);

#endif // TRIB_CLIENT_FEED_H
