// reach.h - why a coordinator's admin socket cannot be reached, hop by hop, seen from here.
#ifndef TRIB_COORDINATOR_CTL_REACH_H
#define TRIB_COORDINATOR_CTL_REACH_H

#include "common/wire/admin.h"
#include "tributary/err.h"

// Add a row {hop, ok, detail} for each hop between this process and the socket of DIR, up to the
// first that fails, which is also the reply's error. All are well: the exit code stays 0.
void trib_ctl_reach(const char *dir, struct trib_admin_reply *reply);

// A row for what came of asking at a socket that could be reached: nothing.
void trib_ctl_unanswered(const char *dir, enum trib_err err, struct trib_admin_reply *reply);

// The hops that the coordinator told behind those seen from here.
void trib_ctl_add_hops(const struct trib_admin_reply *told, struct trib_admin_reply *reply);

#endif // TRIB_COORDINATOR_CTL_REACH_H
