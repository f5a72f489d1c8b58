#include "common/privacy/vouched.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"

struct trib_vouched {
    pthread_mutex_t lock;
    struct trib_map *good; // digests
    uint64_t verified;
};

enum trib_err trib_vouched_create(struct trib_vouched **ret_vouched)
{
    struct trib_vouched *vouched = trib_alloc(sizeof(*vouched));
    if (!vouched)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_map_create(&vouched->good);
    if (err) {
        free(vouched);
        return err;
    }
    (void)pthread_mutex_init(&vouched->lock, NULL);
    *ret_vouched = vouched;
    return TRIB_OK;
}

void trib_vouched_destroy(struct trib_vouched *vouched)
{
    if (!vouched)
        return;
    trib_map_destroy(vouched->good);
    (void)pthread_mutex_destroy(&vouched->lock);
    free(vouched);
}

uint64_t trib_vouched_verified(const struct trib_vouched *vouched)
{
    return vouched->verified;
}

static void digest_of(const uint8_t *roster_key, const char *population,
                      const struct trib_secagg_entry *entry,
                      uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    static const char label[] = "trib-vouched";
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, label, sizeof(label));
    trib_hash_update(&hash, roster_key, TRIB_SIGN_KEY_SIZE);
    trib_hash_update(&hash, population, strlen(population) + 1);
    trib_hash_update(&hash, entry->name, strlen(entry->name) + 1);
    trib_hash_update(&hash, entry->sign_key, sizeof(entry->sign_key));
    trib_hash_update(&hash, entry->roster_signature, sizeof(entry->roster_signature));
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

static bool is_known(struct trib_vouched *vouched, const uint8_t *digest)
{
    (void)pthread_mutex_lock(&vouched->lock);
    bool is_good = trib_map_get(vouched->good, digest, TRIB_DIGEST_SIZE) != NULL;
    vouched->verified += !is_good;
    (void)pthread_mutex_unlock(&vouched->lock);
    return is_good;
}

// Without memory it is verified again the next time.
static void remember(struct trib_vouched *vouched, const uint8_t *digest)
{
    struct trib_map *fresh = NULL;
    (void)pthread_mutex_lock(&vouched->lock);
    if (trib_map_count(vouched->good) >= TRIB_VOUCHED_MAX && trib_map_create(&fresh) == TRIB_OK) {
        trib_map_destroy(vouched->good);
        vouched->good = fresh;
    }
    if (trib_map_count(vouched->good) < TRIB_VOUCHED_MAX)
        (void)!trib_map_put(vouched->good, digest, TRIB_DIGEST_SIZE, vouched);
    (void)pthread_mutex_unlock(&vouched->lock);
}

bool trib_vouched_check(struct trib_vouched *vouched,
                        const uint8_t roster_key[static TRIB_SIGN_KEY_SIZE], const char *population,
                        const struct trib_secagg_entry *entry)
{
    uint8_t digest[TRIB_DIGEST_SIZE];
    if (vouched) {
        digest_of(roster_key, population, entry, digest);
        if (is_known(vouched, digest))
            return true;
    }
    bool is_good = trib_roster_verify(roster_key, population, entry->name, entry->sign_key,
                                      entry->roster_signature);
    if (vouched && is_good)
        remember(vouched, digest);
    return is_good;
}
