#include "common/privacy/noise_round.h"

#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/wipe.h"

bool trib_noise_test_seed(uint64_t test_seed, const char *purpose, uint64_t round_number,
                          const char *name, uint8_t ret_seed[static TRIB_NOISE_SEED_SIZE])
{
#ifdef TRIB_WITH_TEST_NOISE
    if (test_seed != 0) {
        struct trib_hash hash;
        uint8_t number[8];
        trib_hash_init(&hash, NULL, 0, TRIB_NOISE_SEED_SIZE);
        trib_hash_update(&hash, purpose, strlen(purpose) + 1);
        trib_store_le64(number, test_seed);
        trib_hash_update(&hash, number, sizeof(number));
        trib_store_le64(number, round_number);
        trib_hash_update(&hash, number, sizeof(number));
        trib_hash_update(&hash, name, strlen(name));
        trib_hash_final(&hash, ret_seed, TRIB_NOISE_SEED_SIZE);
        return true;
    }
#endif
    (void)test_seed;
    (void)purpose;
    (void)round_number;
    (void)name;
    (void)ret_seed;
    return false;
}

void trib_noise_init_round(struct trib_noise *noise, uint64_t test_seed, const char *purpose,
                           uint64_t round_number, const char *name)
{
    uint8_t seed[TRIB_NOISE_SEED_SIZE];
    if (trib_noise_test_seed(test_seed, purpose, round_number, name, seed)) {
        trib_noise_init_seed(noise, seed);
        trib_wipe(seed, sizeof(seed));
    } else {
        trib_noise_init(noise);
    }
}
