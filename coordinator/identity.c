#include "coordinator/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/keyfile.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/wire/link.h"
#include "common/wire/noise_ik.h"
#include "coordinator/keys.h"
#include "coordinator/roster.h"

#define TRIB_LOG_MODULE "identity"

#define TEXT_OF(number) #number
#define AS_TEXT(number) TEXT_OF(number)

static const struct trib_conf_key keys[] = {
    {"fleet", "listen", TRIB_CONF_TEXT, offsetof(struct trib_coordinator_config, listen),
     TRIB_COORDINATOR_LISTEN, "where devices connect", 0, 0, NULL},
    {"fleet", "url", TRIB_CONF_TEXT, offsetof(struct trib_coordinator_config, url), "",
     "what tokens carry; empty: the listen URL", 0, 0, NULL},
    {"fleet", "population", TRIB_CONF_TEXT, offsetof(struct trib_coordinator_config, population),
     "default", "the learning problem of these devices", 0, 0, NULL},
    {"fleet", "connections_max", TRIB_CONF_INT,
     offsetof(struct trib_coordinator_config, connections_max),
     AS_TEXT(TRIB_COORDINATOR_CONNECTIONS), "devices connected at once", 1, 1000000, NULL},
    {"fleet", "handshakes_per_second", TRIB_CONF_INT,
     offsetof(struct trib_coordinator_config, handshakes_per_second), "1000",
     "genuine or not, those that know our key", 1, 100000, NULL},
    {"fleet", "handshakes_per_source", TRIB_CONF_INT,
     offsetof(struct trib_coordinator_config, handshakes_per_source), "500",
     "of those, from one address", 1, 100000, NULL},
    {"fleet", "threads", TRIB_CONF_INT, offsetof(struct trib_coordinator_config, threads), "0",
     "workers; 0: one for each core", 0, 64, NULL},
    {"devices", "stale_days", TRIB_CONF_REAL, offsetof(struct trib_coordinator_config, stale_days),
     "30", "a device away for longer is marked stale; 0: none is", 0, 36500, NULL},
    {"enrol", "allow_list", TRIB_CONF_PATH, offsetof(struct trib_coordinator_config, allow_list),
     "", "file of keys that may enrol without a token", 0, 0, NULL},
    {"enrol", "pending", TRIB_CONF_BOOL, offsetof(struct trib_coordinator_config, pending), "no",
     "unknown keys may ask, and wait for devices approve", 0, 0, NULL},
    {"roles", "viewer", TRIB_CONF_TEXT, offsetof(struct trib_coordinator_config, viewer), "",
     "users and @groups that may look, with commas between them", 0, 0, NULL},
    {"roles", "operator", TRIB_CONF_TEXT, offsetof(struct trib_coordinator_config, operator), "",
     "users and @groups that may run jobs and let devices in", 0, 0, NULL},
    {"roles", "admin", TRIB_CONF_TEXT, offsetof(struct trib_coordinator_config, admin), "",
     "users and @groups that may do all", 0, 0, NULL},
    {"secagg", "roster", TRIB_CONF_CHOICE, offsetof(struct trib_coordinator_config, roster),
     "coordinator", "who vouches for the members of secure aggregation", 0, 0,
     "coordinator|offline"},
    {"secagg", "roster_pk", TRIB_CONF_TEXT, offsetof(struct trib_coordinator_config, roster_pk), "",
     "public key of an offline roster, base64", 0, 0, NULL},
    {"http", "listen", TRIB_CONF_TEXT, offsetof(struct trib_coordinator_config, http.listen), "",
     "where metrics and health are asked for, 127.0.0.1:9464; empty: nowhere", 0, 0, NULL},
    {"http", "token_file", TRIB_CONF_PATH,
     offsetof(struct trib_coordinator_config, http.token_file), "",
     "file with the bearer token that is wanted there; empty: none, on loopback only", 0, 0, NULL},
    {"store", "keep_versions", TRIB_CONF_INT,
     offsetof(struct trib_coordinator_config, keep_versions), "0",
     "newest versions whose files stay; 0: all", 0, 1000000000, NULL},
    {"store", "reserve_mib", TRIB_CONF_INT, offsetof(struct trib_coordinator_config, reserve_mib),
     "16", "MiB kept for the day when the disk is full; 0: none", 0, 1048576, NULL},
};

struct paths {
    char key[TRIB_PATH_MAX + 1];
    char config[TRIB_PATH_MAX + 1];
    char roster[TRIB_PATH_MAX + 1];
};

static enum trib_err find_paths(const char *dir, struct paths *paths)
{
    enum trib_err err = trib_path_join(paths->key, dir, "coordinator.key");
    if (!err)
        err = trib_path_join(paths->config, dir, "tributary.ini");
    if (!err)
        err = trib_path_join(paths->roster, dir, "roster.key");
    return err;
}

static void derive_public(struct trib_identity *identity)
{
    trib_noise_public(identity->secret, identity->public);
    trib_sign_public(identity->release_seed, identity->release_key);
    trib_sign_public(identity->roster_seed, identity->roster_key);
}

// Never made anew: devices pin it, and would be in no masked round any more.
static enum trib_err read_roster(const struct paths *paths, struct trib_identity *identity)
{
    if (trib_file_exists(paths->roster))
        return trib_roster_key_read(paths->roster, identity->roster_seed);
    TRIB_ERROR("id=roster-key-lost %s is gone: put it back from a backup; another one, made with "
               "tributary-coordinator roster key, is followed only by devices that enrol again",
               paths->roster);
    return TRIB_ERR_DATA;
}

static enum trib_err write_config(const char *path, const char *listen, const char *url)
{
    struct trib_buf buf = {0};
    trib_buf_printf(&buf,
                    "# Configuration of this coordinator.\n"
                    "[fleet]\n"
                    "# Where devices connect.\n"
                    "listen = %s\n"
                    "# What enrolment tokens carry; set it when devices see another address.\n"
                    "%surl = %s\n",
                    listen, url ? "" : "# ", url ? url : listen);
    enum trib_err err =
        buf.failed ? TRIB_ERR_NOMEM : trib_file_write(path, buf.data, buf.size, 0600);
    trib_buf_fini(&buf);
    return err;
}

enum trib_err trib_identity_make(const char *dir, const char *listen, const char *url,
                                 struct trib_identity *ret_identity)
{
    struct paths paths;
    struct trib_identity identity = {.former_count = 0};
    char sub[TRIB_PATH_MAX + 1];
    const struct trib_keyfile_line lines[] = {{"x25519", identity.secret, false},
                                              {"release", identity.release_seed, false}};

    enum trib_err err = find_paths(dir, &paths);
    if (err)
        return err;
    if (trib_file_exists(paths.key)) {
        TRIB_ERROR("%s: there is a coordinator already", dir);
        return TRIB_ERR_STATE;
    }
    err = trib_dir_make(dir, 0700);
    if (!err)
        err = trib_path_join(sub, dir, "models");
    if (!err)
        err = trib_dir_make(sub, 0700);
    if (!err)
        err = trib_path_join(sub, dir, "updates");
    if (!err)
        err = trib_dir_make(sub, 0700);
    if (!err)
        err = write_config(paths.config, listen ? listen : TRIB_COORDINATOR_LISTEN, url);
    if (err)
        return err;
    trib_random_bytes(identity.secret, sizeof(identity.secret));
    trib_random_bytes(identity.release_seed, sizeof(identity.release_seed));
    err = trib_file_exists(paths.roster) // an init was interrupted
              ? trib_roster_key_read(paths.roster, identity.roster_seed)
              : trib_roster_key_make(paths.roster, identity.roster_seed);
    if (err)
        goto out;
    derive_public(&identity);
    trib_keys_first(&identity);
    err = trib_keys_write_public(dir, identity.public);
    if (!err)
        err = trib_keyfile_write(paths.key, lines, 2); // last: its presence says all is there
    if (!err)
        *ret_identity = identity;

out:
    trib_wipe(&identity, sizeof(identity));
    return err;
}

enum trib_err trib_identity_load(const char *dir, struct trib_identity *ret_identity)
{
    struct paths paths;
    struct trib_identity identity = {.former_count = 0};
    const struct trib_keyfile_line lines[] = {{"x25519", identity.secret, false},
                                              {"release", identity.release_seed, false}};
    enum trib_err err = find_paths(dir, &paths);
    if (!err)
        err = trib_keys_settle(dir);
    if (!err)
        err = trib_keyfile_read(paths.key, lines, 2);
    if (!err)
        err = read_roster(&paths, &identity);
    if (!err) {
        derive_public(&identity);
        err = trib_keys_load(dir, &identity);
    }
    if (!err)
        *ret_identity = identity;
    trib_wipe(&identity, sizeof(identity));
    return err;
}

void trib_identity_wipe(struct trib_identity *identity)
{
    trib_wipe(identity, sizeof(*identity));
}

static enum trib_err settle_roles(struct trib_conf *conf, struct trib_coordinator_config *config)
{
    const char *const lists[TRIB_ROLE_COUNT] = {NULL, config->viewer, config->operator,
                                                config->admin };
    enum trib_err err = TRIB_OK;
    config->roles.count = 0;
    for (int role = TRIB_ROLE_VIEWER; role < TRIB_ROLE_COUNT && !err; role++) {
        char why[256];
        err = trib_roles_add(&config->roles, (enum trib_role)role, lists[role], why, sizeof(why));
        if (err)
            err = trib_conf_reject(conf, "roles", trib_role_text((enum trib_role)role), "%s", why);
    }
    return err;
}

enum trib_err trib_coordinator_config_load(const char *dir,
                                           struct trib_coordinator_config *ret_config)
{
    struct paths paths;
    struct trib_conf conf;
    struct trib_coordinator_config config;

    enum trib_err err = find_paths(dir, &paths);
    if (err)
        return err;
    trib_conf_init(&conf);
    trib_conf_add(&conf, keys, sizeof(keys) / sizeof(keys[0]), &config);
    err = trib_conf_load(&conf, paths.config);
    if (!err && (!config.population[0] || strlen(config.population) > TRIB_NAME_MAX))
        err = trib_conf_reject(&conf, "fleet", "population", "wants 1 to %d bytes", TRIB_NAME_MAX);
    if (!err && strlen(config.url) > TRIB_URL_MAX)
        err = trib_conf_reject(&conf, "fleet", "url", "is longer than %d bytes", TRIB_URL_MAX);
    if (!err && (!config.listen[0] || strlen(config.listen) > TRIB_URL_MAX))
        err = trib_conf_reject(&conf, "fleet", "listen", "wants 1 to %d bytes", TRIB_URL_MAX);
    if (!err && !trib_link_url_is_good(config.listen))
        err = trib_conf_reject(&conf, "fleet", "listen", "wants " TRIB_LINK_URL_FORM);
    if (!err && config.url[0] && !trib_link_url_is_good(config.url))
        err = trib_conf_reject(&conf, "fleet", "url", "wants " TRIB_LINK_URL_FORM);
    if (!err && config.allow_list[0] && !trib_file_exists(config.allow_list))
        err = trib_conf_reject(&conf, "enrol", "allow_list", "%s is not there", config.allow_list);
    config.reserve = config.reserve_mib << 20;
    config.roster_is_offline = config.roster == TRIB_ROSTER_OFFLINE;
    size_t key_size = 0;
    if (!err && (config.roster_is_offline || config.roster_pk[0]) &&
        (!trib_base64_decode(config.roster_pk, config.roster_key, sizeof(config.roster_key),
                             &key_size) ||
         key_size != sizeof(config.roster_key)))
        err =
            trib_conf_reject(&conf, "secagg", "roster_pk",
                             "must be the public key of the offline roster (tributary-coordinator "
                             "roster key prints it)");
    if (!err)
        err = settle_roles(&conf, &config);
    if (!err)
        err = trib_http_config_check(&conf, &config.http);
    if (err) {
        TRIB_ERROR("%s", conf.error);
        return err;
    }
    *ret_config = config;
    return TRIB_OK;
}

bool trib_coordinator_url_is_any(const char *url)
{
    return strncmp(url, "tcp://0.0.0.0:", 14) == 0 || strncmp(url, "tcp://[::]:", 11) == 0;
}

enum trib_err trib_admin_url(const char *dir, char *url, size_t size)
{
    char path[TRIB_PATH_MAX + 1];
    char real[TRIB_PATH_MAX + 1];
    char *found = realpath(dir, NULL); // the same socket from every working directory
    (void)snprintf(real, sizeof(real), "%s", found ? found : dir);
    free(found);
    enum trib_err err = trib_path_join(path, real, "admin.sock");
    if (err)
        return err;
    if (strlen(path) > TRIB_ADMIN_PATH_MAX) {
        TRIB_ERROR("%s: %zu bytes, but the path of a Unix socket has at most %d: use a shorter "
                   "directory",
                   path, strlen(path), TRIB_ADMIN_PATH_MAX);
        return TRIB_ERR_INVAL;
    }
    (void)snprintf(url, size, "ipc://%s", path);
    return TRIB_OK;
}
