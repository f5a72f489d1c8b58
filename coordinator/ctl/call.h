// call.h - one request to a coordinator's admin socket, for tributaryctl and the simulator.
#ifndef TRIB_COORDINATOR_CTL_CALL_H
#define TRIB_COORDINATOR_CTL_CALL_H

#include <stddef.h>

#include "common/wire/admin.h"
#include "tributary/err.h"

// Ask and wait for the answer, at most `timeout_ms`. TRIB_ERR_CONNECT: nobody listens at
// DIR/admin.sock; TRIB_ERR_TIMEOUT; TRIB_ERR_PROTO. An answer that refuses is TRIB_OK with
// reply->exit_code set. Free it with trib_admin_reply_fini.
TRIB_CHECKED enum trib_err trib_ctl_call(const char *dir, const struct trib_admin_request *request,
                                         unsigned timeout_ms, struct trib_admin_reply *ret_reply);

#endif // TRIB_COORDINATOR_CTL_CALL_H
