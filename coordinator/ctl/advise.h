// advise.h - tributaryctl advise: which mode of learning fits the rows of a fleet (advice.h).
#ifndef TRIB_COORDINATOR_CTL_ADVISE_H
#define TRIB_COORDINATOR_CTL_ADVISE_H

#include "common/base/args.h"
#include "common/wire/admin.h"

struct trib_advise_options {
    double rows, new_per_day, params; // below 0: not given
    const char *drift;                // or NULL
};

// What is not given comes from `measured`, a coordinator's answer; NULL: it was not asked. Fills
// the reply's row, or its error.
void trib_ctl_advise(const struct trib_advise_options *options,
                     const struct trib_admin_reply *measured, struct trib_admin_reply *reply);

#endif // TRIB_COORDINATOR_CTL_ADVISE_H
