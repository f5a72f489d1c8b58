// fleet_folder.h - a coordinator's directory as it is after years: devices that are enrolled, and
// versions with their rounds. Made through the store's own functions, without a handshake and
// without a round, for measurements that would else take hours to prepare.
#ifndef TRIB_SIMULATIONS_FLEET_FOLDER_H
#define TRIB_SIMULATIONS_FLEET_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "coordinator/identity.h"
#include "tributary/err.h"

enum {
    TRIB_FLEET_SECRET_SIZE = 32,
    TRIB_FLEET_DEVICES_MAX = 1000000,
    TRIB_FLEET_VERSIONS_MAX = 100000,
};

struct trib_fleet_plan {
    uint64_t seed;     // of the devices' keys
    uint64_t devices;  // enrolled
    uint64_t versions; // of one job that is not over yet; 0: no job
    uint64_t accepted; // updates of each of its rounds, at most `devices`
    uint64_t params;   // of its model, at least 2; 0 without versions
};

// `settings` are lines for the section [fleet] of tributary.ini. The directory must not be there.
TRIB_CHECKED enum trib_err trib_fleet_folder_make(const char *dir,
                                                  const struct trib_fleet_plan *plan,
                                                  const char *settings,
                                                  struct trib_identity *ret_identity);

// The private key of a device, from 0.
void trib_fleet_secret(uint64_t seed, uint64_t index,
                       uint8_t ret_secret[static TRIB_FLEET_SECRET_SIZE]);

#endif // TRIB_SIMULATIONS_FLEET_FOLDER_H
