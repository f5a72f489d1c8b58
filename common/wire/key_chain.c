#include "common/wire/key_chain.h"

#include <assert.h>
#include <string.h>

enum trib_err trib_key_link_make(const struct trib_key_pins *pins,
                                 const uint8_t seed[static TRIB_SIGN_SEED_SIZE],
                                 struct trib_msg_key_statement *statement,
                                 struct trib_msg_key_link *ret_link)
{
    struct trib_buf packed = {0};
    statement->sequence = pins->sequence + 1;
    memcpy(statement->old_release_key, pins->release_key, sizeof(pins->release_key));
    memcpy(statement->old_coordinator_key, pins->coordinator_key, sizeof(pins->coordinator_key));
    trib_msg_key_statement_pack(statement, &packed);
    if (packed.failed) {
        trib_buf_fini(&packed);
        return TRIB_ERR_NOMEM;
    }
    assert(packed.size <= sizeof(ret_link->statement));
    *ret_link = (struct trib_msg_key_link){.statement_size = packed.size};
    memcpy(ret_link->statement, packed.data, packed.size);
    trib_sign(seed, TRIB_KEY_STATEMENT_CONTEXT, packed.data, packed.size, ret_link->signature);
    trib_buf_fini(&packed);
    return TRIB_OK;
}

enum trib_code trib_key_link_follow(struct trib_key_pins *pins,
                                    const struct trib_msg_key_link *link,
                                    struct trib_msg_key_statement *ret_statement)
{
    struct trib_msg_key_statement statement;
    const enum trib_err err =
        trib_msg_key_statement_unpack(link->statement, link->statement_size, &statement);
    if (err)
        return err == TRIB_ERR_NOMEM ? TRIB_CODE_RETRY_LATER : TRIB_CODE_MALFORMED;
    if (statement.sequence <= pins->sequence)
        return TRIB_CODE_KEYS_OLD;
    if (statement.sequence != pins->sequence + 1)
        return TRIB_CODE_KEYS_GAP;
    if (memcmp(statement.old_release_key, pins->release_key, sizeof(pins->release_key)) != 0 ||
        memcmp(statement.old_coordinator_key, pins->coordinator_key,
               sizeof(pins->coordinator_key)) != 0)
        return TRIB_CODE_KEYS_FOREIGN;
    if (!trib_sign_verify(pins->release_key, TRIB_KEY_STATEMENT_CONTEXT, link->statement,
                          link->statement_size, link->signature))
        return TRIB_CODE_KEYS_SIGNATURE;
    pins->sequence = statement.sequence;
    memcpy(pins->release_key, statement.release_key, sizeof(pins->release_key));
    memcpy(pins->coordinator_key, statement.coordinator_key, sizeof(pins->coordinator_key));
    if (ret_statement)
        *ret_statement = statement;
    return TRIB_CODE_ACCEPTED;
}
