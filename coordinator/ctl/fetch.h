// fetch.h - a version's file, in the pieces in which a coordinator sends it.
#ifndef TRIB_COORDINATOR_CTL_FETCH_H
#define TRIB_COORDINATOR_CTL_FETCH_H

#include "common/base/buf.h"
#include "tributary/err.h"

// The file of `version` ("7", "latest") behind what `whole` has; the caller frees it. An exit code;
// why the coordinator refuses is said on stderr. *ret_err: it could not be asked.
int trib_ctl_fetch(const char *dir, const char *version, struct trib_buf *whole,
                   enum trib_err *ret_err);

#endif // TRIB_COORDINATOR_CTL_FETCH_H
