// noise_round.h - the generator of one party's noise in one round.
#ifndef TRIB_PRIVACY_NOISE_ROUND_H
#define TRIB_PRIVACY_NOISE_ROUND_H

#include <stdint.h>

#include "common/privacy/noise.h"

// From the system; or, in builds with TRIB_WITH_TEST_NOISE and with test_seed not 0, the stream
// named by (test_seed, purpose, round, name), so that a run can be repeated to the last bit. Other
// builds take no notice of test_seed.
void trib_noise_init_round(struct trib_noise *noise, uint64_t test_seed, const char *purpose,
                           uint64_t round_number, const char *name);

// The same stream as 32 bytes, for what is seeded otherwise. False: there is no test seed.
bool trib_noise_test_seed(uint64_t test_seed, const char *purpose, uint64_t round_number,
                          const char *name, uint8_t ret_seed[static TRIB_NOISE_SEED_SIZE]);

#endif // TRIB_PRIVACY_NOISE_ROUND_H
