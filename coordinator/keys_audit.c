// The audit log of a coordinator whose keys have changed: begun by its first release key, signed by
// the one it has.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "coordinator/keys.h"

#define TRIB_LOG_MODULE "keys"

static const uint8_t *first_key(const struct trib_identity *identity)
{
    return identity->chain.count ? identity->pins[0].release_key : identity->release_key;
}

void trib_keys_audit_check(const struct trib_identity *identity, struct trib_audit_check *check)
{
    trib_audit_check_init(check, first_key(identity));
    check->later = identity->pins + 1;
    check->later_count = identity->chain.count;
}

void trib_keys_audit_signer(const struct trib_identity *identity,
                            struct trib_audit_signer *ret_signer)
{
    memcpy(ret_signer->seed, identity->release_seed, sizeof(ret_signer->seed));
    memcpy(ret_signer->key, first_key(identity), sizeof(ret_signer->key));
}

static enum trib_err record_one(struct trib_store *store, const struct trib_identity *identity,
                                uint32_t link, const char *actor, const char *role)
{
    char subject[128];
    const struct trib_key_pins *old = &identity->pins[link];
    struct trib_msg_key_statement statement;
    const enum trib_err err =
        trib_msg_key_statement_unpack(identity->chain.links[link].statement,
                                      identity->chain.links[link].statement_size, &statement);
    if (err)
        return err;
    (void)snprintf(
        subject, sizeof(subject), "statement %u%s%s keep_until_ms=%" PRIu64, link + 1,
        memcmp(old->release_key, old[1].release_key, sizeof(old->release_key)) ? " signing" : "",
        memcmp(old->coordinator_key, old[1].coordinator_key, sizeof(old->coordinator_key))
            ? " transport"
            : "",
        statement.keep_until_ms);
    const struct trib_audit_record record = {.time_ms = statement.made_ms,
                                             .actor = actor,
                                             .role = role,
                                             .action = "keys rotate",
                                             .subject = subject,
                                             .outcome = "ok"};
    return trib_store_audit(store, &record);
}

enum trib_err trib_keys_check(struct trib_store *store, const struct trib_identity *identity)
{
    uint64_t known = 0;
    enum trib_err err = trib_store_meta_get(store, "key_sequence", 0, &known);
    if (!err && known > identity->chain.count) {
        TRIB_ERROR("id=keys-lost " TRIB_KEYS_CHAIN
                   " has %u statements, and the store knows of %" PRIu64
                   ": it is gone or an older copy; put it back from a backup",
                   identity->chain.count, known);
        return TRIB_ERR_DATA;
    }
    return err;
}

enum trib_err trib_keys_record(struct trib_store *store, const struct trib_identity *identity,
                               const char *actor, const char *role)
{
    uint64_t known = 0;
    enum trib_err err = trib_store_meta_get(store, "key_sequence", 0, &known);
    if (err || known >= identity->chain.count)
        return err;
    err = trib_store_begin(store);
    for (uint64_t i = known; i < identity->chain.count && !err; i++)
        err = record_one(store, identity, (uint32_t)i, actor, role);
    if (!err)
        err = trib_store_meta_set(store, "key_sequence", identity->chain.count);
    if (!err)
        err = trib_store_audit_checkpoint(store);
    return err ? err : trib_store_commit(store);
}
