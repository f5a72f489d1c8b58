// tributary-coordinator - the service: one process, one fleet port, one admin socket, one
// directory.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/args.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/core.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/base/sign.h"
#include "common/base/wipe.h"
#include "common/wire/link.h"
#include "coordinator/identity.h"
#include "coordinator/keys.h"
#include "coordinator/lost.h"
#include "coordinator/restore.h"
#include "coordinator/roles.h"
#include "coordinator/roster.h"
#include "coordinator/server.h"

#define TRIB_LOG_MODULE "main"

static struct trib_server *running; // for the signal handlers

static void on_stop(int signal_number)
{
    (void)signal_number;
    trib_server_stop(running);
}

static void on_reload(int signal_number)
{
    (void)signal_number;
    trib_server_reload(running);
}

static int set_log(const char *level_text, const char *format_text)
{
    enum trib_log_level level = TRIB_LOG_INFO;
    enum trib_log_format format = TRIB_LOG_TEXT;
    if (level_text && !trib_log_level_parse(level_text, &level)) {
        (void)fprintf(stderr, "--log-level: error, warn, info or debug\n");
        return TRIB_EXIT_USAGE;
    }
    if (format_text && !trib_log_format_parse(format_text, &format)) {
        (void)fprintf(stderr, "--log-format: text or json\n");
        return TRIB_EXIT_USAGE;
    }
    trib_log_set_level(level);
    trib_log_set_format(format);
    return 0;
}

static int cmd_init(const struct trib_command *command, int argc, char **argv)
{
    const char *listen = NULL;
    const char *url = NULL;
    const struct trib_option options[] = {
        {"listen", TRIB_OPTION_TEXT, &listen, "URL", "where devices connect (tcp://0.0.0.0:7420)"},
        {"url", TRIB_OPTION_TEXT, &url, "URL", "what tokens carry (the listen URL)"},
    };
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 2,
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;

    const char *const urls[] = {listen, url};
    for (size_t i = 0; i < 2; i++) {
        if (urls[i] && !trib_link_url_is_good(urls[i])) {
            (void)fprintf(stderr, "--%s %s: want " TRIB_LINK_URL_FORM "\n", i ? "url" : "listen",
                          urls[i]);
            return TRIB_EXIT_USAGE;
        }
    }
    struct trib_identity identity;
    char key[TRIB_KEY_TEXT_SIZE];
    trib_crypto_init();
    enum trib_err err = trib_identity_make(argv[0], listen, url, &identity);
    if (err)
        return err == TRIB_ERR_STATE ? TRIB_EXIT_USAGE : trib_exit_at(err, argv[0], true);
    trib_base64_encode(identity.public, sizeof(identity.public), key);
    trib_identity_wipe(&identity);
    (void)printf("%s\n", key);
    if (!url && trib_coordinator_url_is_any(listen ? listen : TRIB_COORDINATOR_LISTEN))
        (void)fprintf(stderr,
                      "tokens will carry %s, which other machines cannot dial: set fleet.url in "
                      "%s/tributary.ini, or init with --url\n",
                      listen ? listen : TRIB_COORDINATOR_LISTEN, argv[0]);
    return TRIB_EXIT_OK;
}

static int cmd_run(const struct trib_command *command, int argc, char **argv)
{
    const char *level = NULL;
    const char *format = NULL;
    bool lists_points = false;
    const struct trib_option options[] = {
        {"log-level", TRIB_OPTION_TEXT, &level, "LEVEL", "error, warn, info (default) or debug"},
        {"log-format", TRIB_OPTION_TEXT, &format, "FORMAT", "text (default) or json"},
        {"crash-points", TRIB_OPTION_FLAG, &lists_points, NULL,
         "list the named crash points of a test build and end"},
    };
    int count;
    int code;
    const struct trib_usage usage = {
        .command = command, .options = options, .option_count = 3, .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (lists_points) {
        trib_crash_list();
        return TRIB_EXIT_OK;
    }
    if (count != 1) {
        (void)fprintf(stderr, "usage: tributary-coordinator run DIR\n");
        return TRIB_EXIT_USAGE;
    }
    code = set_log(level, format);
    if (code)
        return code;
    trib_core_forbid();
    trib_role_lists_open();

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); // a file at the size limit is a failed write, not our end
    enum trib_err err = trib_server_create(argv[0], &running);
    if (err)
        return err == TRIB_ERR_STATE ? TRIB_EXIT_USAGE : trib_exit_of(err);
    (void)signal(SIGTERM, on_stop);
    (void)signal(SIGINT, on_stop);
    (void)signal(SIGHUP, on_reload);
    err = trib_server_run(running);
    if (err) // the store failed: what is in memory must not be acted on, not even to clean up
        _exit(trib_exit_of(err));
    trib_server_destroy(running);
    return TRIB_EXIT_OK;
}

static int cmd_restore(const struct trib_command *command, int argc, char **argv)
{
    struct trib_restore restore = {.verify = false};
    const struct trib_option options[] = {
        {"verify", TRIB_OPTION_FLAG, &restore.verify, NULL, "read back all that was written"},
        {"keys", TRIB_OPTION_TEXT, &restore.keys, "DIR",
         "where coordinator.key, roster.key and, if there are any, keys.chain, former-*.key and "
         "the token file of [http] are kept (the backup)"},
        {"generation", TRIB_OPTION_INT, &restore.wanted_generation, "N",
         "of what comes back, when this backup was restored before (the backup's and one)"},
    };
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 3,
                                     .operand_min = 2,
                                     .operand_max = 2};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    restore.from = argv[0];
    restore.to = argv[1];
    trib_crypto_init();
    enum trib_err err = trib_restore_run(&restore);
    if (err) {
        (void)fprintf(stderr, "restore: %s\n", restore.why);
        code = err == TRIB_ERR_STATE || err == TRIB_ERR_INVAL ? TRIB_EXIT_USAGE
               : err == TRIB_ERR_CORRUPT                      ? TRIB_EXIT_DATA
                                                              : trib_exit_of(err);
    } else {
        (void)printf("%s: version %" PRIu64 ".%" PRIu64 " of the backup is %" PRIu64 ".%" PRIu64
                     " now; %" PRIu64 " files, %" PRIu64 " bytes%s\n",
                     restore.to, restore.backup.generation, restore.backup.version,
                     restore.generation, restore.version, restore.files, restore.bytes,
                     restore.verify ? ", read back" : "");
        code = TRIB_EXIT_OK;
    }
    trib_restore_fini(&restore);
    return code;
}

// ---- Other keys: while no coordinator runs there

// Files of another owner would be nothing that the coordinator can read.
static enum trib_err check_owner(const char *dir)
{
    char path[TRIB_PATH_MAX + 1];
    struct stat info;
    const enum trib_err err = trib_path_join(path, dir, "coordinator.key");
    if (err)
        return err;
    if (stat(path, &info) == 0 && info.st_uid != geteuid()) {
        TRIB_ERROR("%s: belongs to uid %u: give this command as that user (runuser -u USER -- ...)",
                   path, (unsigned)info.st_uid);
        return TRIB_ERR_STATE;
    }
    return TRIB_OK;
}

// The store is opened first and kept open: nobody else has this directory.
static enum trib_err rotate(const char *dir, const struct trib_keys_change *change,
                            struct trib_identity *ret_identity)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_role_peer user;
    struct trib_store *store = NULL;
    struct trib_audit_signer signer;
    enum trib_err err = check_owner(dir);
    if (!err)
        err = trib_lost_store(dir);
    if (!err)
        err = trib_identity_load(dir, ret_identity);
    if (!err)
        err = trib_path_join(path, dir, "store.db");
    if (!err)
        err = trib_store_open(path, &store);
    if (err)
        return err;
    err = trib_keys_rotate(dir, change, ret_identity);
    if (!err) {
        trib_keys_audit_signer(ret_identity, &signer);
        trib_store_audit_signer(store, &signer);
        trib_role_peer_look_up(&user, getuid(), getgid());
        err = trib_keys_record(store, ret_identity, user.name, "admin");
    }
    trib_store_close(store);
    trib_wipe(&signer, sizeof(signer));
    return err;
}

static void show_rotated(const struct trib_identity *identity,
                         const struct trib_keys_change *change)
{
    char key[TRIB_KEY_TEXT_SIZE];
    (void)printf("statement %u:%s%s keys are new; run the coordinator, and devices follow\n",
                 identity->chain.count, change->signing ? " signing" : "",
                 change->transport ? " transport" : "");
    trib_base64_encode(identity->public, sizeof(identity->public), key);
    if (change->transport)
        (void)printf("public key: %s\n", key);
    if (change->transport && change->keep_days > 0)
        (void)printf("the old one is answered for %" PRIu64 " days, or until: tributaryctl keys "
                     "retire %u\n",
                     change->keep_days, identity->chain.count);
    else if (change->transport)
        (void)printf("the old one is not answered any more: devices enrol anew\n");
    (void)printf("make a backup now: older ones have the old keys\n");
}

static int cmd_keys_rotate(const struct trib_command *command, int argc, char **argv)
{
    bool both = false;
    struct trib_keys_change change = {.keep_days = TRIB_KEYS_KEEP_DAYS};
    const struct trib_option options[] = {
        {"all", TRIB_OPTION_FLAG, &both, NULL, "both keys, which is what it does without options"},
        {"signing", TRIB_OPTION_FLAG, &change.signing, NULL, "the key that signs versions"},
        {"transport", TRIB_OPTION_FLAG, &change.transport, NULL, "the key for sessions"},
        {"keep-days", TRIB_OPTION_INT, &change.keep_days, "N",
         "how long devices may still come with the old transport key (400)"},
    };
    struct trib_identity identity;
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 4,
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (change.keep_days > TRIB_KEYS_KEEP_DAYS_MAX) {
        (void)fprintf(stderr, "keys rotate: --keep-days wants 0 to %d\n", TRIB_KEYS_KEEP_DAYS_MAX);
        return TRIB_EXIT_USAGE;
    }
    if (both || (!change.signing && !change.transport))
        change.signing = change.transport = true;
    change.now_ms = trib_clock_wall_ms();
    trib_crypto_init();
    const enum trib_err err = rotate(argv[0], &change, &identity);
    if (!err)
        show_rotated(&identity, &change);
    trib_identity_wipe(&identity);
    return err == TRIB_ERR_STATE || err == TRIB_ERR_LIMIT ? TRIB_EXIT_USAGE
                                                          : (int)trib_exit_of(err);
}

// ---- The roster key: no directory, no network

static void show_key(FILE *to, const char *prefix, const uint8_t seed[static TRIB_SIGN_SEED_SIZE])
{
    uint8_t public[TRIB_SIGN_KEY_SIZE];
    char text[TRIB_KEY_TEXT_SIZE];
    trib_sign_public(seed, public);
    trib_base64_encode(public, sizeof(public), text);
    (void)fprintf(to, "%s%s\n", prefix, text);
}

// --key of both commands, which cannot do without.
static bool take_key_path(const struct trib_command *command, int operands, int *argc, char **argv,
                          const char **ret_path, int *ret_code)
{
    const struct trib_option options[] = {
        {"key", TRIB_OPTION_TEXT, ret_path, "FILE", "the roster's secret key"}};
    const struct trib_usage usage = {
        .command = command, .options = options, .option_count = 1, .operand_max = operands};
    if (!trib_args_parse(&usage, *argc, argv, argc, ret_code))
        return false;
    *ret_code = TRIB_EXIT_USAGE;
    if (!*ret_path)
        (void)fprintf(stderr, "%s: --key FILE is wanted\n", command->name);
    return *ret_path != NULL;
}

static int cmd_roster_key(const struct trib_command *command, int argc, char **argv)
{
    const char *path = NULL;
    uint8_t seed[TRIB_SIGN_SEED_SIZE];
    int code;
    if (!take_key_path(command, 0, &argc, argv, &path, &code))
        return code;
    trib_crypto_init();
    enum trib_err err = trib_roster_key_make(path, seed);
    if (err)
        return err == TRIB_ERR_STATE ? TRIB_EXIT_USAGE : trib_exit_at(err, path, false);
    show_key(stdout, "", seed);
    trib_wipe(seed, sizeof(seed));
    return TRIB_EXIT_OK;
}

static void show_whom(const struct trib_roster *roster)
{
    (void)fprintf(stderr, "vouching for %zu devices of population %s:\n", roster->count,
                  roster->population);
    for (size_t i = 0; i < roster->count; i++) {
        char key[TRIB_KEY_TEXT_SIZE];
        trib_base64_encode(roster->lines[i].sign_key, TRIB_SIGN_KEY_SIZE, key);
        (void)fprintf(stderr, "    %s %s\n", key, roster->lines[i].name);
    }
}

// Read an export into `roster`. An exit code.
static int read_export(const char *path, struct trib_roster *roster)
{
    struct trib_buf file = {0};
    struct trib_roster_text text = {.file = path};
    enum trib_err err = trib_file_read(path, TRIB_ROSTER_FILE_MAX, &file);
    if (err)
        return TRIB_EXIT_USAGE;
    text.data = file.data;
    text.size = file.size;
    err = trib_roster_parse(&text, roster);
    if (err) {
        TRIB_ERROR("%s", text.why[0] ? text.why : trib_err_text(err));
    } else if (roster->is_signed) {
        TRIB_ERROR("%s:1: is signed already", path);
        trib_roster_fini(roster);
        err = TRIB_ERR_INVAL;
    }
    trib_buf_fini(&file);
    return err ? trib_exit_of(err) : TRIB_EXIT_OK;
}

static int write_signed(const char *path, const struct trib_roster *roster)
{
    struct trib_buf out = {0};
    enum trib_err err = TRIB_OK;
    trib_roster_print(&out, roster);
    if (out.failed)
        err = TRIB_ERR_NOMEM;
    else if (path)
        err = trib_file_write(path, out.data, out.size, 0644);
    else if (fwrite(out.data, 1, out.size, stdout) != out.size || fflush(stdout))
        err = TRIB_ERR_IO;
    trib_buf_fini(&out);
    return path ? trib_exit_at(err, path, false) : trib_exit_of(err);
}

static int cmd_roster_sign(const struct trib_command *command, int argc, char **argv)
{
    const char *path = NULL;
    uint8_t seed[TRIB_SIGN_SEED_SIZE];
    struct trib_roster roster;
    int code;
    if (!take_key_path(command, 2, &argc, argv, &path, &code))
        return code;
    trib_crypto_init();
    enum trib_err err = trib_roster_key_read(path, seed);
    if (err)
        return err == TRIB_ERR_STATE || !trib_file_exists(path) ? TRIB_EXIT_USAGE
                                                                : trib_exit_of(err);
    code = read_export(argc >= 1 && strcmp(argv[0], "-") != 0 ? argv[0] : "/dev/stdin", &roster);
    if (code == TRIB_EXIT_OK) {
        show_whom(&roster);
        show_key(stderr, "with the key of secagg.roster_pk = ", seed);
        trib_roster_vouch(&roster, seed);
        code = write_signed(argc >= 2 && strcmp(argv[1], "-") != 0 ? argv[1] : NULL, &roster);
        trib_roster_fini(&roster);
    }
    trib_wipe(seed, sizeof(seed));
    return code;
}

static const struct trib_command commands[] = {
    {"init", "DIR", "make a coordinator's directory, keys and configuration; print its public key",
     cmd_init},
    {"run", "DIR", "serve devices until SIGTERM; SIGHUP reads the allow-list and roles again",
     cmd_run},
    {"keys rotate", "DIR", "get other keys; while no coordinator runs there", cmd_keys_rotate},
    {"restore", "BACKUP DIR", "make DIR from what tributaryctl backup wrote", cmd_restore},
    {"roster key", "", "on another machine: make a roster key; print its public half",
     cmd_roster_key},
    {"roster sign", "[IN] [OUT]", "on another machine: vouch for the devices of a roster export",
     cmd_roster_sign},
};

int main(int argc, char **argv)
{
    static const struct trib_program program = {
        .name = "tributary-coordinator",
        .about = "The coordinator of a federated learning fleet: asks devices to train, adds up\n"
                 "their encrypted integer updates exactly, commits signed versions, pushes them.",
        .commands = commands,
        .count = sizeof(commands) / sizeof(commands[0]),
    };
    return trib_program_main(&program, argc, argv);
}
