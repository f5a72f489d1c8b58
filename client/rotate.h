// rotate.h - a device gets other keys, and stays the device it is.
//
//     1. new keys are made, in device.key.next
//     2. the coordinator is told, over a session of the old keys; when it answers it knows both
//     3. device.key.next becomes device.key
//     4. a session of the new keys: from here on the old ones are nobody's
//
// A kill between any two of them leaves keys that the coordinator knows; doing it again goes on.
#ifndef TRIB_CLIENT_ROTATE_H
#define TRIB_CLIENT_ROTATE_H

#include "tributary/err.h"

// TRIB_ERR_STATE: not enrolled, or a client runs on `dir`. TRIB_ERR_CONNECT, TRIB_ERR_AUTH: the
// coordinator cannot be reached, or does not take it; the device keeps the keys it has, unless it
// was stopped behind 3.
TRIB_CHECKED enum trib_err trib_device_rotate(const char *dir);

#endif // TRIB_CLIENT_ROTATE_H
