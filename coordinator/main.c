// tributary-coordinator - the service: one process, one fleet port, one admin socket, one directory.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/args.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "coordinator/identity.h"
#include "coordinator/server.h"

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

static int set_log_level(const char *text)
{
    enum trib_log_level level;
    if (!text)
        return 0;
    if (!trib_log_level_parse(text, &level)) {
        (void)fprintf(stderr, "--log-level: error, warn, info or debug\n");
        return TRIB_EXIT_USAGE;
    }
    trib_log_set_level(level);
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

    struct trib_identity identity;
    char key[TRIB_KEY_TEXT_SIZE];
    trib_crypto_init();
    enum trib_err err = trib_identity_make(argv[0], listen, url, &identity);
    if (err)
        return err == TRIB_ERR_STATE ? TRIB_EXIT_USAGE : trib_exit_of(err);
    trib_base64_encode(identity.public, sizeof(identity.public), key);
    trib_identity_wipe(&identity);
    (void)printf("%s\n", key);
    return TRIB_EXIT_OK;
}

static int cmd_run(const struct trib_command *command, int argc, char **argv)
{
    const char *level = NULL;
    bool lists_points = false;
    const struct trib_option options[] = {
        {"log-level", TRIB_OPTION_TEXT, &level, "LEVEL", "error, warn, info (default) or debug"},
        {"crash-points", TRIB_OPTION_FLAG, &lists_points, NULL,
         "list the named crash points of a test build and end"},
    };
    int count;
    int code;
    const struct trib_usage usage = {
        .command = command, .options = options, .option_count = 2, .operand_max = 1};
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
    code = set_log_level(level);
    if (code)
        return code;

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

static const struct trib_command commands[] = {
    {"init", "DIR", "make a coordinator's directory, keys and configuration; print its public key",
     cmd_init},
    {"run", "DIR", "serve devices until SIGTERM; SIGHUP reads the allow-list again", cmd_run},
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
