// set_path.h - relative paths in --set: they are the caller's, and the coordinator has another working
// directory.
#ifndef TRIB_COORDINATOR_CTL_SET_PATH_H
#define TRIB_COORDINATOR_CTL_SET_PATH_H

#include <stddef.h>

#include "coordinator/ctl/series.h"

struct trib_set_paths {
    char *owned[TRIB_SERIES_SETS_MAX];
    size_t count;
};

// "data.test=rows.csv" with the path from / on; any other assignment as it is, borrowed. What was made
// lives until trib_set_paths_fini.
const char *trib_set_path(struct trib_set_paths *paths, const char *assignment);
void trib_set_paths_fini(struct trib_set_paths *paths);

#endif // TRIB_COORDINATOR_CTL_SET_PATH_H
