#include "coordinator/keys.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/keyfile.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/wire/noise_ik.h"

#define TRIB_LOG_MODULE "keys"

#define KEY_FILE        "coordinator.key"
#define NEXT_FILE       "coordinator.key.next"

enum {
    DAY_MS = 86400000,
};

struct secrets {
    uint8_t x25519[32];
    uint8_t release[TRIB_SIGN_SEED_SIZE];
};

void trib_keys_former_name(uint64_t id, char name[static TRIB_KEYS_NAME_SIZE])
{
    (void)snprintf(name, TRIB_KEYS_NAME_SIZE, "former-%" PRIu64 ".key", id);
}

bool trib_keys_is_name(const char *name)
{
    static const char digits[] = "0123456789";
    const size_t prefix = strlen("former-");
    if (strcmp(name, TRIB_KEYS_CHAIN) == 0)
        return true;
    if (strncmp(name, "former-", prefix) != 0)
        return false;
    const size_t count = strspn(name + prefix, digits);
    return count > 0 && strcmp(name + prefix + count, ".key") == 0;
}

enum trib_err trib_keys_write_public(const char *dir, const uint8_t public[static 32])
{
    char path[TRIB_PATH_MAX + 1];
    char text[TRIB_KEY_TEXT_SIZE + 1];
    enum trib_err err = trib_path_join(path, dir, "coordinator.pub");
    if (err)
        return err;
    trib_base64_encode(public, 32, text);
    memcpy(text + strlen(text), "\n", 2);
    return trib_file_write(path, text, strlen(text), 0644);
}

// ---- The chain

// The pins of every link; those before the first are what it says they are.
static enum trib_err follow(const char *path, struct trib_identity *identity)
{
    struct trib_msg_key_statement first;
    const struct trib_msg_keys *chain = &identity->chain;
    enum trib_err err = trib_msg_key_statement_unpack(chain->links[0].statement,
                                                      chain->links[0].statement_size, &first);
    if (err) {
        TRIB_ERROR("%s: statement 1: %s", path, trib_code_text(TRIB_CODE_MALFORMED));
        return err == TRIB_ERR_NOMEM ? err : TRIB_ERR_CORRUPT;
    }
    memcpy(identity->pins[0].release_key, first.old_release_key, sizeof(first.old_release_key));
    memcpy(identity->pins[0].coordinator_key, first.old_coordinator_key,
           sizeof(first.old_coordinator_key));
    for (uint32_t i = 0; i < chain->count; i++) {
        struct trib_key_pins pins = identity->pins[i];
        const enum trib_code code = trib_key_link_follow(&pins, &chain->links[i], NULL);
        if (code == TRIB_CODE_RETRY_LATER)
            return TRIB_ERR_NOMEM;
        if (code != TRIB_CODE_ACCEPTED) {
            TRIB_ERROR("%s: statement %u: %s", path, i + 1, trib_code_text(code));
            return TRIB_ERR_CORRUPT;
        }
        identity->pins[i + 1] = pins;
    }
    return TRIB_OK;
}

// TRIB_OK with a chain of 0 links when there is none.
static enum trib_err read_chain(const char *dir, struct trib_identity *identity)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf file = {0};
    enum trib_err err = trib_path_join(path, dir, TRIB_KEYS_CHAIN);
    identity->chain.count = 0;
    if (err || !trib_file_exists(path))
        return err;
    err = trib_file_read(path, TRIB_CONTROL_MAX, &file);
    if (!err)
        err = trib_msg_keys_unpack(file.data, file.size, &identity->chain);
    if (err == TRIB_ERR_PROTO || err == TRIB_ERR_LIMIT) {
        TRIB_ERROR("%s: is no chain of keys", path);
        err = TRIB_ERR_CORRUPT;
    }
    trib_buf_fini(&file);
    return err ? err : follow(path, identity);
}

static enum trib_err write_chain(const char *dir, const struct trib_msg_keys *chain)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf packed = {0};
    enum trib_err err = trib_path_join(path, dir, TRIB_KEYS_CHAIN);
    trib_msg_keys_pack(chain, &packed);
    if (!err)
        err =
            packed.failed ? TRIB_ERR_NOMEM : trib_file_write(path, packed.data, packed.size, 0644);
    trib_buf_fini(&packed);
    return err;
}

// ---- The secrets

static enum trib_err read_secrets(const char *dir, const char *name, struct secrets *secrets,
                                  struct trib_key_pins *ret_pins)
{
    char path[TRIB_PATH_MAX + 1];
    const struct trib_keyfile_line lines[] = {{"x25519", secrets->x25519, false},
                                              {"release", secrets->release, false}};
    enum trib_err err = trib_path_join(path, dir, name);
    if (!err)
        err = trib_keyfile_read(path, lines, 2);
    if (err)
        return err;
    trib_noise_public(secrets->x25519, ret_pins->coordinator_key);
    trib_sign_public(secrets->release, ret_pins->release_key);
    return TRIB_OK;
}

static enum trib_err write_next(const char *dir, struct secrets *secrets)
{
    char path[TRIB_PATH_MAX + 1];
    const struct trib_keyfile_line lines[] = {{"x25519", secrets->x25519, false},
                                              {"release", secrets->release, false}};
    enum trib_err err = trib_path_join(path, dir, NEXT_FILE);
    return err ? err : trib_keyfile_write(path, lines, 2);
}

static bool are_same(const struct trib_key_pins *a, const struct trib_key_pins *b)
{
    return memcmp(a->release_key, b->release_key, sizeof(a->release_key)) == 0 &&
           memcmp(a->coordinator_key, b->coordinator_key, sizeof(a->coordinator_key)) == 0;
}

// The public key before the secret ones: once those are there the change is forgotten about.
static enum trib_err swap(const char *dir, const uint8_t public[static 32])
{
    char from[TRIB_PATH_MAX + 1];
    char to[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_keys_write_public(dir, public);
    if (!err)
        err = trib_path_join(from, dir, NEXT_FILE);
    if (!err)
        err = trib_path_join(to, dir, KEY_FILE);
    if (err)
        return err;
    if (rename(from, to)) {
        TRIB_ERROR("%s: cannot rename to %s: %s", from, to, strerror(errno));
        return TRIB_ERR_IO;
    }
    return trib_dir_sync(dir);
}

enum trib_err trib_keys_settle(const char *dir)
{
    char path[TRIB_PATH_MAX + 1];
    struct secrets secrets;
    struct trib_identity found = {.former_count = 0};
    struct trib_key_pins next = {.sequence = 0};
    enum trib_err err = trib_path_join(path, dir, NEXT_FILE);
    if (err || !trib_file_exists(path))
        return err;
    err = read_chain(dir, &found);
    if (!err)
        err = read_secrets(dir, NEXT_FILE, &secrets, &next);
    trib_wipe(&secrets, sizeof(secrets));
    if (err)
        return err;
    if (found.chain.count > 0 && are_same(&next, trib_keys_now(&found))) {
        TRIB_WARN("%s: a change of keys that was interrupted is finished", dir);
        return swap(dir, next.coordinator_key);
    }
    TRIB_WARN("%s: a change of keys that was interrupted did not take place", dir);
    return trib_file_remove(path);
}

void trib_keys_first(struct trib_identity *identity)
{
    struct trib_key_pins *pins = &identity->pins[0];
    identity->chain.count = 0;
    pins->sequence = 0;
    memcpy(pins->release_key, identity->release_key, sizeof(pins->release_key));
    memcpy(pins->coordinator_key, identity->public, sizeof(pins->coordinator_key));
}

static enum trib_err load_former(const char *dir, struct trib_identity *identity, uint32_t link)
{
    char path[TRIB_PATH_MAX + 1];
    char name[TRIB_KEYS_NAME_SIZE];
    struct trib_msg_key_statement statement;
    struct trib_former_key *former = &identity->former[identity->former_count];
    const struct trib_keyfile_line line = {"x25519", former->secret, false};
    trib_keys_former_name(link + 1, name);
    enum trib_err err = trib_path_join(path, dir, name);
    if (err || !trib_file_exists(path))
        return err;
    if (identity->former_count == TRIB_KEYS_FORMER_MAX) {
        TRIB_ERROR("%s: there are more former keys than %d", path, TRIB_KEYS_FORMER_MAX);
        return TRIB_ERR_CORRUPT;
    }
    err = trib_keyfile_read(path, &line, 1);
    if (!err)
        err = trib_msg_key_statement_unpack(identity->chain.links[link].statement,
                                            identity->chain.links[link].statement_size, &statement);
    if (err)
        return err;
    trib_noise_public(former->secret, former->public);
    if (memcmp(former->public, identity->pins[link].coordinator_key, sizeof(former->public)) != 0) {
        TRIB_ERROR("%s: is not the key that statement %u of " TRIB_KEYS_CHAIN " replaced", path,
                   link + 1);
        return TRIB_ERR_CORRUPT;
    }
    former->id = link + 1;
    former->keep_until_ms = statement.keep_until_ms;
    identity->former_count++;
    return TRIB_OK;
}

enum trib_err trib_keys_load(const char *dir, struct trib_identity *identity)
{
    struct trib_key_pins have;
    enum trib_err err = read_chain(dir, identity);
    if (err)
        return err;
    identity->former_count = 0;
    if (identity->chain.count == 0) {
        trib_keys_first(identity);
        return TRIB_OK;
    }
    memcpy(have.release_key, identity->release_key, sizeof(have.release_key));
    memcpy(have.coordinator_key, identity->public, sizeof(have.coordinator_key));
    if (!are_same(&have, trib_keys_now(identity))) {
        TRIB_ERROR("%s/" KEY_FILE ": is not what " TRIB_KEYS_CHAIN " ends with: they belong to "
                   "different times, or to different coordinators",
                   dir);
        return TRIB_ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < identity->chain.count && !err; i++) {
        const struct trib_key_pins *pins = &identity->pins[i];
        if (memcmp(pins->coordinator_key, pins[1].coordinator_key, sizeof(pins->coordinator_key)) !=
            0)
            err = load_former(dir, identity, i);
    }
    return err;
}

// ---- Changing

static enum trib_err write_former(const char *dir, const struct trib_keys_change *change,
                                  struct trib_identity *identity)
{
    char path[TRIB_PATH_MAX + 1];
    char name[TRIB_KEYS_NAME_SIZE];
    const struct trib_keyfile_line line = {"x25519", identity->secret, false};
    trib_keys_former_name(identity->chain.count + 1, name);
    enum trib_err err = trib_path_join(path, dir, name);
    if (err)
        return err;
    if (!change->transport || change->keep_days == 0)
        return trib_file_remove(path); // of a change that was interrupted
    return trib_keyfile_write(path, &line, 1);
}

static enum trib_err check_room(const struct trib_identity *identity,
                                const struct trib_keys_change *change)
{
    if (identity->chain.count == TRIB_KEY_LINKS_MAX) {
        TRIB_ERROR("the keys were changed %d times: that is all a device can follow",
                   TRIB_KEY_LINKS_MAX);
        return TRIB_ERR_LIMIT;
    }
    if (change->transport && change->keep_days > 0 &&
        identity->former_count == TRIB_KEYS_FORMER_MAX) {
        TRIB_ERROR("%d former keys are answered still: retire one first (tributaryctl keys list)",
                   TRIB_KEYS_FORMER_MAX);
        return TRIB_ERR_LIMIT;
    }
    return TRIB_OK;
}

// Make the new keys and the statement that names them.
static enum trib_err make_link(struct trib_identity *identity,
                               const struct trib_keys_change *change, struct secrets *secrets)
{
    struct trib_msg_key_statement statement = {.made_ms = change->now_ms};
    struct trib_msg_keys *chain = &identity->chain;
    memcpy(secrets->x25519, identity->secret, sizeof(secrets->x25519));
    memcpy(secrets->release, identity->release_seed, sizeof(secrets->release));
    if (change->transport)
        trib_random_bytes(secrets->x25519, sizeof(secrets->x25519));
    if (change->signing)
        trib_random_bytes(secrets->release, sizeof(secrets->release));
    if (change->transport)
        statement.keep_until_ms = change->now_ms + change->keep_days * DAY_MS;
    trib_noise_public(secrets->x25519, statement.coordinator_key);
    trib_sign_public(secrets->release, statement.release_key);
    enum trib_err err = trib_key_link_make(trib_keys_now(identity), identity->release_seed,
                                           &statement, &chain->links[chain->count]);
    if (!err)
        chain->count++;
    return err;
}

enum trib_err trib_keys_rotate(const char *dir, const struct trib_keys_change *change,
                               struct trib_identity *ret_identity)
{
    uint8_t public[32];
    struct secrets secrets;
    struct trib_identity identity;
    assert((change->signing || change->transport) && change->keep_days <= TRIB_KEYS_KEEP_DAYS_MAX);
    enum trib_err err = trib_identity_load(dir, &identity);
    if (!err)
        err = check_room(&identity, change);
    if (err)
        goto out;
    err = write_former(dir, change, &identity);
    if (!err)
        err = make_link(&identity, change, &secrets);
    if (!err)
        err = write_next(dir, &secrets);
    TRIB_CRASH_POINT("keys.made");
    if (!err)
        err = write_chain(dir, &identity.chain); // from here on it is done
    TRIB_CRASH_POINT("keys.stated");
    trib_noise_public(secrets.x25519, public);
    if (!err)
        err = swap(dir, public);
    TRIB_CRASH_POINT("keys.swapped");
    if (!err)
        err = trib_identity_load(dir, ret_identity);

out:
    trib_wipe(&secrets, sizeof(secrets));
    trib_identity_wipe(&identity);
    return err;
}

// ---- Using

bool trib_keys_verify(const struct trib_identity *identity, const char *context, const void *data,
                      size_t size, const uint8_t signature[static TRIB_SIGNATURE_SIZE])
{
    if (trib_sign_verify(identity->release_key, context, data, size, signature))
        return true;
    for (uint32_t i = identity->chain.count; i > 0; i--) {
        if (trib_sign_verify(identity->pins[i - 1].release_key, context, data, size, signature))
            return true;
    }
    return false;
}

const struct trib_key_pins *trib_keys_pins_of(const struct trib_identity *identity,
                                              const uint8_t public[static 32])
{
    for (uint32_t i = identity->chain.count + 1; i > 0; i--) {
        if (memcmp(identity->pins[i - 1].coordinator_key, public, 32) == 0)
            return &identity->pins[i - 1];
    }
    return NULL;
}
