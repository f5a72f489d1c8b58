#include "common/base/wipe.h"

#include <sodium.h>
#include <stdlib.h>

#include "common/base/log.h"

#define TRIB_LOG_MODULE "crypto"

void trib_wipe(void *data, size_t size)
{
    sodium_memzero(data, size);
}

bool trib_equal_ct(const void *a, const void *b, size_t size)
{
    return sodium_memcmp(a, b, size) == 0;
}

void trib_crypto_init(void)
{
    if (sodium_init() < 0) {
        TRIB_ERROR("libsodium cannot be initialised: no source of randomness");
        abort();
    }
}
