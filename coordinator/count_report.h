// count_report.h - what the applications of devices counted, as a round's report.
//
// {"version":V,"counters":[{"name":"clicks: version 3","devices":20,"n":900,
//  "value":0.1,"low":0.08,"high":0.12}, ...]}: of each counter the arms that have any (versions, and with privacy
// off the groups of devices, each over all versions), then the differences "version 3 - version 2"
// of neighbours and "group b - group a" from the first group (n: trials of both). Values and
// intervals are those of counters.h; with privacy on there are no intervals, because they would
// not hold with the noise.
#ifndef TRIB_COORDINATOR_COUNT_REPORT_H
#define TRIB_COORDINATOR_COUNT_REPORT_H

#include "coordinator/tally_round.h"

void trib_count_report(const struct trib_job *job, const double *values,
                       const struct trib_tally_base *base, struct trib_buf *json);

#endif // TRIB_COORDINATOR_COUNT_REPORT_H
