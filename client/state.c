#include "client/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/keyfile.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/wire/link.h"

#define TRIB_LOG_MODULE "state"

#define KEY_FILE        "device.key"
#define NEXT_KEY_FILE   "device.key.next"
#define ENROLMENT_FILE  "enrolment.ini"
#define CONFIG_FILE     "client.ini"

enum {
    SECRET_MODE = 0600
};

enum trib_err trib_state_make(const char *dir)
{
    return trib_dir_make(dir, 0700);
}

// ---- Keys

enum {
    KEY_LINES = 3
};

static enum trib_err key_lines(const char *dir, const char *name, struct trib_state_keys *keys,
                               char path[static TRIB_PATH_MAX + 1],
                               struct trib_keyfile_line lines[static KEY_LINES])
{
    lines[0] = (struct trib_keyfile_line){.label = "x25519", .key = keys->secret};
    lines[1] = (struct trib_keyfile_line){.label = "ed25519", .key = keys->sign_seed};
    lines[2] =
        (struct trib_keyfile_line){.label = "ledger", .key = keys->ledger, .is_optional = true};
    return trib_path_join(path, dir, name);
}

static enum trib_err load_keys(const char *dir, const char *name, struct trib_state_keys *ret_keys)
{
    static const uint8_t none[TRIB_STATE_KEY_SIZE];
    char path[TRIB_PATH_MAX + 1];
    struct trib_state_keys keys = {.ledger = {0}};
    struct trib_keyfile_line lines[KEY_LINES];

    enum trib_err err = key_lines(dir, name, &keys, path, lines);
    if (!err)
        err = trib_keyfile_read(path, lines, KEY_LINES);
    if (!err && trib_equal_ct(keys.ledger, none, sizeof(none)))
        memcpy(keys.ledger, keys.secret, sizeof(keys.ledger)); // keys that were never changed
    if (!err)
        *ret_keys = keys;
    trib_wipe(&keys, sizeof(keys));
    return err;
}

// The keys of this name, made when there are none; those of a ledger are `ledger`, or NULL.
static enum trib_err make_keys(const char *dir, const char *name, const uint8_t *ledger,
                               struct trib_state_keys *ret_keys)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_state_keys keys;
    struct trib_keyfile_line lines[KEY_LINES];

    enum trib_err err = key_lines(dir, name, &keys, path, lines);
    if (err)
        return err;
    if (trib_file_exists(path))
        return load_keys(dir, name, ret_keys);
    trib_random_bytes(keys.secret, sizeof(keys.secret));
    trib_random_bytes(keys.sign_seed, sizeof(keys.sign_seed));
    memcpy(keys.ledger, ledger ? ledger : keys.secret, sizeof(keys.ledger));
    err = trib_keyfile_write(path, lines, ledger ? KEY_LINES : KEY_LINES - 1);
    if (!err)
        *ret_keys = keys;
    trib_wipe(&keys, sizeof(keys));
    return err;
}

enum trib_err trib_state_keys_make(const char *dir, struct trib_state_keys *ret_keys)
{
    return make_keys(dir, KEY_FILE, NULL, ret_keys);
}

enum trib_err trib_state_keys_load(const char *dir, struct trib_state_keys *ret_keys)
{
    return load_keys(dir, KEY_FILE, ret_keys);
}

enum trib_err trib_state_keys_next(const char *dir, const struct trib_state_keys *keys,
                                   struct trib_state_keys *ret_next)
{
    return make_keys(dir, NEXT_KEY_FILE, keys->ledger, ret_next);
}

enum trib_err trib_state_keys_swap(const char *dir)
{
    char from[TRIB_PATH_MAX + 1];
    char to[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(from, dir, NEXT_KEY_FILE);
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

void trib_state_keys_wipe(struct trib_state_keys *keys)
{
    trib_wipe(keys, sizeof(*keys));
}

// ---- Enrolment

struct enrolment_text {
    trib_conf_text url, name, population, coordinator_key, release_key, roster_key;
    trib_conf_text first_key, model_key;
    uint64_t key_sequence;
};

#define ENROLMENT_KEY(name, help)                                                                  \
    {                                                                                              \
        "enrolment", #name, TRIB_CONF_TEXT, offsetof(struct enrolment_text, name), "", help, 0, 0, \
            NULL                                                                                   \
    }

static const struct trib_conf_key enrolment_keys[] = {
    ENROLMENT_KEY(url, "where the coordinator listens"),
    ENROLMENT_KEY(name, "of this device"),
    ENROLMENT_KEY(population, "the learning problem it belongs to"),
    ENROLMENT_KEY(coordinator_key, "X25519, pinned"),
    ENROLMENT_KEY(release_key, "Ed25519 that signs models, pinned"),
    ENROLMENT_KEY(first_key, "X25519 of the enrolment, when it is another by now"),
    ENROLMENT_KEY(model_key, "Ed25519 that may have signed the installed model, before"),
    {"enrolment", "key_sequence", TRIB_CONF_INT, offsetof(struct enrolment_text, key_sequence), "0",
     "of the statement that named the keys; 0: none did", 0, TRIB_KEY_LINKS_MAX, NULL},
    ENROLMENT_KEY(roster_key, "Ed25519 that vouches for members of secure aggregation, pinned"),
};

enum trib_err trib_state_enrolment_save(const char *dir,
                                        const struct trib_state_enrolment *enrolment)
{
    char path[TRIB_PATH_MAX + 1];
    char coordinator_key[TRIB_KEY_TEXT_SIZE];
    char release_key[TRIB_KEY_TEXT_SIZE];
    char roster_key[TRIB_KEY_TEXT_SIZE];
    struct trib_buf buf = {0};

    enum trib_err err = trib_path_join(path, dir, ENROLMENT_FILE);
    if (err)
        return err;
    trib_base64_encode(enrolment->coordinator_key, TRIB_STATE_KEY_SIZE, coordinator_key);
    trib_base64_encode(enrolment->release_key, TRIB_SIGN_KEY_SIZE, release_key);
    trib_buf_printf(&buf,
                    "# Written by enrolment; the keys are pinned here. To join another\n"
                    "# coordinator, enrol again into an empty directory.\n"
                    "[enrolment]\nurl = %s\nname = %s\npopulation = %s\n"
                    "coordinator_key = %s\nrelease_key = %s\n",
                    enrolment->url, enrolment->name, enrolment->population, coordinator_key,
                    release_key);
    if (enrolment->key_sequence > 0) {
        char first_key[TRIB_KEY_TEXT_SIZE];
        trib_base64_encode(enrolment->first_key, TRIB_STATE_KEY_SIZE, first_key);
        trib_buf_printf(&buf, "key_sequence = %" PRIu64 "\nfirst_key = %s\n",
                        enrolment->key_sequence, first_key);
    }
    if (enrolment->has_model_key) {
        char model_key[TRIB_KEY_TEXT_SIZE];
        trib_base64_encode(enrolment->model_key, TRIB_SIGN_KEY_SIZE, model_key);
        trib_buf_printf(&buf, "model_key = %s\n", model_key);
    }
    if (enrolment->has_roster_key) {
        trib_base64_encode(enrolment->roster_key, TRIB_SIGN_KEY_SIZE, roster_key);
        trib_buf_printf(&buf, "roster_key = %s\n", roster_key);
    }
    err = buf.failed ? TRIB_ERR_NOMEM : trib_file_write(path, buf.data, buf.size, SECRET_MODE);
    trib_buf_fini(&buf);
    return err;
}

static bool decode_key(const char *text, uint8_t key[static 32])
{
    size_t size;
    return trib_base64_decode(text, key, 32, &size) && size == 32;
}

enum trib_err trib_state_enrolment_load(const char *dir, struct trib_state_enrolment *ret_enrolment)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_conf conf;
    struct enrolment_text text;
    struct trib_state_enrolment enrolment = {.name = ""};

    enum trib_err err = trib_path_join(path, dir, ENROLMENT_FILE);
    if (err)
        return err;
    if (!trib_file_exists(path)) {
        if (errno == ENOENT)
            TRIB_ERROR(
                "%s: this device is not enrolled; run: tributary-client enrol TOKEN --state %s",
                dir, dir);
        else
            TRIB_ERROR("%s: %s", path, strerror(errno));
        return TRIB_ERR_STATE;
    }
    trib_conf_init(&conf);
    trib_conf_add(&conf, enrolment_keys, sizeof(enrolment_keys) / sizeof(enrolment_keys[0]), &text);
    err = trib_conf_load(&conf, path);
    if (!err && !decode_key(text.coordinator_key, enrolment.coordinator_key))
        err = trib_conf_reject(&conf, "enrolment", "coordinator_key", "is not a key");
    if (!err && !decode_key(text.release_key, enrolment.release_key))
        err = trib_conf_reject(&conf, "enrolment", "release_key", "is not a key");
    enrolment.key_sequence = text.key_sequence;
    memcpy(enrolment.first_key, enrolment.coordinator_key, sizeof(enrolment.first_key));
    if (!err && text.first_key[0] && !decode_key(text.first_key, enrolment.first_key))
        err = trib_conf_reject(&conf, "enrolment", "first_key", "is not a key");
    enrolment.has_model_key = text.model_key[0] != '\0';
    if (!err && enrolment.has_model_key && !decode_key(text.model_key, enrolment.model_key))
        err = trib_conf_reject(&conf, "enrolment", "model_key", "is not a key");
    enrolment.has_roster_key = text.roster_key[0] != '\0';
    if (!err && enrolment.has_roster_key && !decode_key(text.roster_key, enrolment.roster_key))
        err = trib_conf_reject(&conf, "enrolment", "roster_key", "is not a key");
    if (!err && (!text.name[0] || strlen(text.name) > TRIB_NAME_MAX))
        err = trib_conf_reject(&conf, "enrolment", "name", "is missing or too long");
    if (!err && (!text.population[0] || strlen(text.population) > TRIB_NAME_MAX))
        err = trib_conf_reject(&conf, "enrolment", "population", "is missing or too long");
    if (!err && !trib_link_url_is_good(text.url))
        err = trib_conf_reject(&conf, "enrolment", "url", "wants " TRIB_LINK_URL_FORM);
    if (err) {
        TRIB_ERROR("%s", conf.error);
        return err;
    }
    memcpy(enrolment.url, text.url, sizeof(text.url));
    memcpy(enrolment.name, text.name, sizeof(text.name));
    memcpy(enrolment.population, text.population, sizeof(text.population));
    *ret_enrolment = enrolment;
    return TRIB_OK;
}

const uint8_t *trib_state_roster(const struct trib_state_enrolment *enrolment,
                                 const struct trib_policy *policy)
{
    if (policy->has_roster_key)
        return policy->roster_key;
    return enrolment->has_roster_key ? enrolment->roster_key : NULL;
}

bool trib_state_is_vouched_apart(const struct trib_state_enrolment *enrolment,
                                 const struct trib_policy *policy)
{
    return policy->has_roster_key &&
           !(enrolment->has_roster_key &&
             memcmp(policy->roster_key, enrolment->roster_key, sizeof(policy->roster_key)) == 0);
}

// ---- Configuration

static const struct trib_conf_key client_keys[] = {
    {"client", "reconnect_max_ms", TRIB_CONF_INT,
     offsetof(struct trib_state_config, reconnect_max_ms), "60000",
     "longest pause between attempts to connect", 10, 3600000, NULL},
};

enum trib_err trib_state_config_write(const char *dir)
{
    static const char text[] =
        "# What this device gives to learning, and what it does not.\n"
        "\n"
        "[data]\n"
        "# Numbers to learn from: csv, jsonl or idx, plain or .gz, or rows that programs push\n"
        "# (format = store). Paths are relative to this file; the keys are in docs/data.md.\n"
        "# format = csv\n"
        "# train = data.csv\n"
        "# label = last\n"
        "# header = no\n"
        "# scale = 1\n"
        "# Share of the rows that nothing ever learns from; a row keeps its side for ever.\n"
        "# test_fraction = 0\n"
        "\n"
        "[client.policy]\n"
        "# Privacy modes the device takes part in. `off` sends updates that the coordinator can\n"
        "# read, so it is not among them unless you write it here.\n"
        "allowed_modes = distributed,local\n"
        "# max_epsilon_pure_round = 0\n"
        "# max_rho_round = 0\n"
        "# What all rounds together may cost, whoever asks: then the device declines. 0 is no\n"
        "# limit. What is spent is written down in either case: tributary-client privacy DIR.\n"
        "# budget_epsilon_pure_total = 0\n"
        "# budget_epsilon_total = 0\n"
        "# budget_delta = 1e-6\n"
        "# budget_rho_total = 0\n"
        "# Days after which spending no longer counts; 0: it always does.\n"
        "# budget_window_days = 0\n"
        "\n"
        "[client]\n"
        "# reconnect_max_ms = 60000\n";
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(path, dir, CONFIG_FILE);
    if (err || trib_file_exists(path))
        return err;
    return trib_file_write(path, text, sizeof(text) - 1, SECRET_MODE);
}

// Which keys go with which format.
static enum trib_err check_data(struct trib_conf *conf, const char *path,
                                struct trib_data_config *data)
{
    static const char *const of_store[] = {"store", "push_format", "store_max_bytes",
                                           "store_max_age_s", "socket"};
    static const char *const of_sqlite[] = {"file", "query", "query_max_ms"};
    char dir[TRIB_PATH_MAX + 1];
    char store[TRIB_PATH_MAX + 1];
    const bool is_store = data->format == TRIB_DATA_STORE;
    const bool is_sqlite = data->format == TRIB_DATA_SQLITE;
    for (size_t i = 0; !is_store && i < sizeof(of_store) / sizeof(of_store[0]); i++) {
        if (trib_conf_is_set(conf, "data", of_store[i]))
            return trib_conf_reject(conf, "data", of_store[i], "is for data.format = store");
    }
    for (size_t i = 0; !is_sqlite && i < sizeof(of_sqlite) / sizeof(of_sqlite[0]); i++) {
        if (trib_conf_is_set(conf, "data", of_sqlite[i]))
            return trib_conf_reject(conf, "data", of_sqlite[i], "is for data.format = sqlite");
    }
    if (data->prepare[0] && !data->schema[0])
        return trib_conf_reject(conf, "data", "prepare",
                                "wants a data.schema, which declares the columns");
    enum trib_err err = trib_data_check_join(conf, data);
    if (err || (!is_store && !is_sqlite))
        return err;
    if (!data->schema[0])
        return trib_conf_reject(conf, "data", "schema",
                                "is missing: rows of this format want their columns declared");
    if (data->train[0])
        return trib_conf_reject(conf, "data", "train", "is for csv, jsonl and idx");
    if (is_sqlite && !data->file[0])
        return trib_conf_reject(conf, "data", "file", "is missing: which database?");
    if (is_sqlite && !data->query[0])
        return trib_conf_reject(conf, "data", "query", "is missing: a SELECT");
    if (is_sqlite || data->store[0])
        return TRIB_OK;
    err = trib_path_dir(dir, path);
    if (!err)
        err = trib_path_join(store, dir, "rows");
    if (err || strlen(store) > TRIB_CONF_TEXT_MAX)
        return trib_conf_reject(conf, "data", "store", "is too long a path");
    memcpy(data->store, store, strlen(store) + 1);
    return TRIB_OK;
}

enum trib_err trib_state_config_load(const char *path, struct trib_state_config *ret_config)
{
    struct trib_conf conf;
    struct trib_state_config config;
    char word[64];

    trib_conf_init(&conf);
    trib_conf_add(&conf, trib_data_keys_common, trib_data_keys_common_count, &config.data);
    trib_conf_add(&conf, trib_data_keys_fallback, trib_data_keys_fallback_count, &config.data);
    trib_conf_add(&conf, trib_data_keys_train, trib_data_keys_train_count, &config.data);
    trib_conf_add(&conf, trib_data_keys_device, trib_data_keys_device_count, &config.data);
    trib_conf_add(&conf, trib_data_keys_split, trib_data_keys_split_count, &config.data);
    trib_policy_conf_add(&conf, &config.policy);
    trib_conf_add(&conf, client_keys, sizeof(client_keys) / sizeof(client_keys[0]), &config);

    if (!trib_file_exists(path)) { // its rules are the owner's: others must not take their place
        TRIB_ERROR("%s: there is no such file; it says what this device gives to learning (an "
                   "empty file stands for the defaults)",
                   path);
        return TRIB_ERR_INVAL;
    }
    enum trib_err err = trib_conf_load(&conf, path);
    if (!err && !trib_policy_check(&config.policy, word, sizeof(word)))
        err = trib_conf_reject(&conf, "client.policy", "allowed_modes",
                               "no privacy mode is called %s", word);
    config.policy.has_roster_key = config.policy.roster_pk[0] != '\0';
    if (!err && config.policy.has_roster_key &&
        !decode_key(config.policy.roster_pk, config.policy.roster_key))
        err = trib_conf_reject(&conf, "client.policy", "roster_pk", "is not a key in base64");
    if (!err)
        err = check_data(&conf, path, &config.data);
    if (err) {
        TRIB_ERROR("%s", conf.error);
        return err;
    }
    *ret_config = config;
    return TRIB_OK;
}

enum trib_err trib_state_ledger(const char *dir, const struct trib_state_keys *keys,
                                const struct trib_policy *policy, struct trib_ledger **ret_ledger)
{
    const struct trib_ledger_options options = {
        .dir = dir, .secret = keys->ledger, .budget = trib_policy_budget(policy)};
    return trib_ledger_open(&options, ret_ledger);
}

enum trib_err trib_state_lock(const char *dir, int *ret_fd)
{
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(path, dir, "lock");
    if (err)
        return err;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, SECRET_MODE);
    if (fd < 0) {
        TRIB_ERROR("%s: cannot open: %s", path, strerror(errno));
        return TRIB_ERR_IO;
    }
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        TRIB_ERROR("%s: another client runs on this state directory", path);
        (void)close(fd);
        return TRIB_ERR_STATE;
    }
    *ret_fd = fd;
    return TRIB_OK;
}
