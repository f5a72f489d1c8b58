// lost.h - what a coordinator's directory had and has no more: named before anything is made anew.
//
// A store that is not there is made by the first start, and then no model file has a row in it. In a
// directory where a coordinator ran before, that would throw away what the loss of one file has left.
#ifndef TRIB_COORDINATOR_LOST_H
#define TRIB_COORDINATOR_LOST_H

#include "tributary/err.h"

// Before the store is opened. TRIB_ERR_DATA (logged): there is none, though it had one.
TRIB_CHECKED enum trib_err trib_lost_store(const char *dir);

#endif // TRIB_COORDINATOR_LOST_H
