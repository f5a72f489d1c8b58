// tributary-client - the device daemon: a thin main over libtributary.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/counter_store.h"
#include "client/enrol.h"
#include "client/inlet.h"
#include "client/predict.h"
#include "client/privacy_report.h"
#include "client/rotate.h"
#include "client/slot.h"
#include "client/spool.h"
#include "client/state.h"
#include "common/base/args.h"
#include "common/base/bytes.h"
#include "common/base/core.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/json_read.h"
#include "common/base/log.h"
#include "common/base/sign.h"
#include "common/base/wipe.h"
#include "common/wire/noise_ik.h"
#include "tributary/client.h"
#include "tributary/predict.h"

enum {
    VECTOR_SIZE_MIN = 65536, // bytes
    INPUT_SIZE = 65536,
};

static struct trib_client *running; // for the signal handler

static void on_stop(int signal_number)
{
    (void)signal_number;
    trib_client_stop(running);
}

static int exit_code(enum trib_err err)
{
    return err == TRIB_ERR_STATE ? TRIB_EXIT_USAGE : (int)trib_exit_of(err);
}

// The command line of a command that prints, as text or as JSON.
static bool take_json(const struct trib_command *command, int argc, char **argv, int operand_max,
                      bool *ret_json, int *ret_count, int *ret_code)
{
    const struct trib_option options[] = {
        {"json", TRIB_OPTION_FLAG, ret_json, NULL, "one JSON object"}};
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 1,
                                     .operand_min = 1,
                                     .operand_max = operand_max};
    return trib_args_parse(&usage, argc, argv, ret_count, ret_code);
}

static int cmd_keygen(const struct trib_command *command, int argc, char **argv)
{
    const char *dir = NULL;
    const struct trib_option options[] = {
        {"state", TRIB_OPTION_TEXT, &dir, "DIR", "the device's state directory (required)"}};
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (!dir) {
        (void)fprintf(stderr, "keygen: --state DIR is required\n");
        return TRIB_EXIT_USAGE;
    }
    struct trib_state_keys keys;
    uint8_t public[TRIB_NOISE_KEY_SIZE];
    char text[TRIB_KEY_TEXT_SIZE];
    trib_crypto_init();
    enum trib_err err = trib_state_make(dir);
    if (!err)
        err = trib_state_keys_make(dir, &keys);
    if (err)
        return err == TRIB_ERR_IO ? (int)trib_exit_at(err, dir, true) : exit_code(err);
    trib_noise_public(keys.secret, public);
    trib_state_keys_wipe(&keys);
    trib_base64_encode(public, sizeof(public), text);
    (void)printf("%s\n", text);
    return TRIB_EXIT_OK;
}

static int cmd_enrol(const struct trib_command *command, int argc, char **argv)
{
    const char *dir = NULL;
    const char *key = NULL;
    const struct trib_option options[] = {
        {"state", TRIB_OPTION_TEXT, &dir, "DIR", "the device's state directory (required)"},
        {"key", TRIB_OPTION_TEXT, &key, "KEY",
         "the coordinator's public key, when this device is on its allow-list"},
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
    if (!dir) {
        (void)fprintf(stderr, "enrol: --state DIR is required\n");
        return TRIB_EXIT_USAGE;
    }
    const enum trib_err err =
        key ? trib_enrol_listed(argv[0], key, dir) : trib_client_enrol(argv[0], dir);
    return err == TRIB_ERR_IO ? (int)trib_exit_at(err, dir, true) : exit_code(err);
}

static int cmd_run(const struct trib_command *command, int argc, char **argv)
{
    const char *level = NULL;
    const char *word = "text";
    enum trib_log_format format;
    bool lists_points = false;
    const struct trib_option options[] = {
        {"log-level", TRIB_OPTION_TEXT, &level, "LEVEL", "error, warn, info (default) or debug"},
        {"log-format", TRIB_OPTION_TEXT, &word, "FORMAT", "text (default) or json"},
        {"crash-points", TRIB_OPTION_FLAG, &lists_points, NULL,
         "list the named crash points of a test build and end"},
    };
    char path[TRIB_PATH_MAX + 1];
    struct trib_dataset *dataset = NULL;
    struct trib_state_enrolment enrolment;
    struct trib_client_config config;
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
    trib_client_config_init(&config);
    if (count != 1 || (level && !trib_log_level_parse(level, &config.log_level)) ||
        !trib_log_format_parse(word, &format)) {
        (void)fprintf(stderr, "usage: tributary-client run [--log-level LEVEL] "
                              "[--log-format text|json] DIR\n");
        return TRIB_EXIT_USAGE;
    }
    trib_log_set_level(config.log_level);
    trib_log_set_format(format);
    trib_core_forbid();
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); // a file at the size limit is a failed write, not our end
    enum trib_err err = trib_state_enrolment_load(argv[0], &enrolment);
    if (!err)
        err = trib_path_join(path, argv[0], "client.ini");
    if (!err)
        err = trib_dataset_open(path, &dataset); // mistakes in the data show at start
    if (err)
        return err == TRIB_ERR_IO ? TRIB_EXIT_DATA : exit_code(err);
    config.state_dir = argv[0];
    config.trainer = trib_trainer_builtin();
    config.trainer_user = dataset;
    err = trib_client_create(&config, &running);
    if (!err) {
        (void)signal(SIGTERM, on_stop);
        (void)signal(SIGINT, on_stop);
        err = trib_client_run(running);
        (void)signal(SIGTERM, SIG_DFL);
        (void)signal(SIGINT, SIG_DFL);
        trib_client_destroy(running);
    }
    trib_dataset_destroy(dataset);
    return exit_code(err);
}

// What was found, a line for each column and rule.
static void print_push(const char *summary)
{
    static const char *const names[] = {"accepted", "malformed"};
    struct trib_json_reader json;
    trib_json_reader_init(&json, summary, strlen(summary));
    enum trib_json_event event;
    const char *separator = "";
    while ((event = trib_json_next(&json)) != TRIB_JSON_END && event != TRIB_JSON_WRONG) {
        const char *key = (const char *)json.key.data;
        if (event == TRIB_JSON_CLOSE_OBJECT && *separator) {
            (void)printf("\n");
            separator = "";
        }
        if (event != TRIB_JSON_TEXT && event != TRIB_JSON_NUMBER)
            continue;
        const char *text = (const char *)json.text.data;
        if (json.depth > 1) {
            (void)printf("%s%s=%s", separator, key, text);
            separator = " ";
        }
        for (size_t i = 0; json.depth == 1 && i < sizeof(names) / sizeof(names[0]); i++) {
            if (strcmp(key, names[i]) == 0)
                (void)printf("%-12s%s\n", key, text);
        }
        if (json.depth == 1 && strcmp(key, "error") == 0)
            (void)fprintf(stderr, "error: not all rows were taken: %s\n", text);
    }
    trib_json_reader_fini(&json);
}

static int cmd_push(const struct trib_command *command, int argc, char **argv)
{
    bool as_json = false;
    char path[TRIB_PATH_MAX + 1];
    struct trib_state_config config;
    struct trib_buf summary = {0};
    int count;
    int code;
    if (!take_json(command, argc, argv, 2, &as_json, &count, &code))
        return code;
    trib_crypto_init();
    enum trib_err err = trib_path_join(path, argv[0], "client.ini");
    if (!err)
        err = trib_state_config_load(path, &config);
    if (!err && config.data.format != TRIB_DATA_STORE) {
        (void)fprintf(stderr, "%s: data.format must be store: rows are pushed into a store\n",
                      path);
        err = TRIB_ERR_INVAL;
    }
    if (err)
        return exit_code(err);
    const bool is_stdin = count < 2 || strcmp(argv[1], "-") == 0;
    const int fd = is_stdin ? STDIN_FILENO : open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)fprintf(stderr, "%s: cannot open: %s\n", argv[1], strerror(errno));
        return TRIB_EXIT_DATA;
    }
    err = trib_inlet_push_file(&config.data, fd, &summary);
    if (!is_stdin)
        (void)close(fd);
    if (summary.data && as_json)
        (void)printf("%s\n", (const char *)summary.data);
    else if (summary.data)
        print_push((const char *)summary.data);
    trib_buf_fini(&summary);
    return exit_code(err);
}

// All of standard input, as rows of text.
static enum trib_err read_input(struct trib_buf *text)
{
    for (;;) {
        const size_t before = text->size;
        uint8_t *room = before < TRIB_DATA_FILE_SIZE_MAX ? trib_buf_extend(text, INPUT_SIZE) : NULL;
        if (!room)
            return before < TRIB_DATA_FILE_SIZE_MAX ? TRIB_ERR_NOMEM : TRIB_ERR_LIMIT;
        const ssize_t got = read(STDIN_FILENO, room, INPUT_SIZE);
        text->size = before + (got > 0 ? (size_t)got : 0);
        if (got == 0)
            return TRIB_OK;
        if (got < 0 && errno != EINTR) {
            (void)fprintf(stderr, "standard input: %s\n", strerror(errno));
            return TRIB_ERR_IO;
        }
    }
}

struct printing {
    struct trib_buf line;
    bool as_json;
};

static void print_prediction(void *user, const struct trib_prediction *prediction)
{
    struct printing *printing = user;
    trib_buf_clear(&printing->line);
    trib_prediction_write(prediction, printing->as_json, &printing->line);
    if (!printing->line.failed)
        (void)fputs((const char *)printing->line.data, stdout);
}

static int cmd_predict(const struct trib_command *command, int argc, char **argv)
{
    struct printing printing = {.as_json = false};
    bool is_online = false;
    const struct trib_option options[] = {
        {"json", TRIB_OPTION_FLAG, &printing.as_json, NULL, "one JSON object a row"},
        {"online", TRIB_OPTION_FLAG, &is_online, NULL,
         "with the copy that learns as rows arrive (data.online_copy)"}};
    struct trib_predictor *predictor;
    struct trib_buf text = {0};
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 2,
                                     .operand_min = 1,
                                     .operand_max = 2};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    const bool is_stdin = count < 2 || strcmp(argv[1], "-") == 0;
    enum trib_err err = is_online ? trib_predictor_open_online(argv[0], &predictor)
                                  : trib_predictor_open(argv[0], &predictor);
    if (err)
        return exit_code(err);
    err = is_stdin ? read_input(&text) : trib_file_read(argv[1], TRIB_DATA_FILE_SIZE_MAX, &text);
    code = err ? TRIB_EXIT_DATA : TRIB_EXIT_OK;
    if (!err) {
        err = trib_predictor_rows(predictor, is_stdin ? "standard input" : argv[1],
                                  text.data ? (const char *)text.data : "", text.size,
                                  print_prediction, &printing);
        code = exit_code(err);
    }
    if (printing.line.failed)
        code = TRIB_EXIT_INTERNAL;
    trib_buf_fini(&printing.line);
    trib_buf_fini(&text);
    trib_predictor_close(predictor);
    return code;
}

static int cmd_count(const struct trib_command *command, int argc, char **argv)
{
    char why[256] = "";
    char *slash, *end;
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .operand_min = 3, .operand_max = 3};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    trib_crypto_init();
    enum trib_err err;
    errno = 0;
    slash = strchr(argv[2], '/');
    if (slash) {
        const unsigned long long successes = strtoull(argv[2], &end, 10);
        char *rest;
        const unsigned long long trials = strtoull(slash + 1, &rest, 10);
        const bool is_good = end == slash && end != argv[2] && *rest == '\0' && rest != slash + 1 &&
                             errno == 0 && !strchr(argv[2], '-');
        err = is_good
                  ? trib_counter_store_trials(argv[0], argv[1], successes, trials, why, sizeof(why))
                  : TRIB_ERR_INVAL;
    } else {
        const double number = strtod(argv[2], &end);
        const bool is_good = end != argv[2] && *end == '\0' && isfinite(number);
        err = is_good ? trib_counter_store_number(argv[0], argv[1], number, why, sizeof(why))
                      : TRIB_ERR_INVAL;
    }
    if (err)
        (void)fprintf(stderr, "%s: %s\n", argv[0],
                      why[0] ? why : "want SUCCESSES/TRIALS or a number");
    return err == TRIB_ERR_REFUSED ? TRIB_EXIT_USAGE : exit_code(err);
}

static void print_status(const struct trib_state_enrolment *enrolment, const struct trib_slot *slot,
                         const char *sign_key, bool has_spool, bool as_json)
{
    char digest[TRIB_DIGEST_TEXT_SIZE] = "";
    const struct trib_msg_manifest *m = &slot->manifest;
    if (m->version)
        trib_hex_encode(m->digest, TRIB_DIGEST_SIZE, digest);
    if (!as_json) {
        (void)printf("name        %s\npopulation  %s\ncoordinator %s\nsign key    %s\n"
                     "its keys    statement %" PRIu64 "\nversion     %" PRIu64
                     "\nmodel       %s\ndigest      %s\nupdate      %s\n",
                     enrolment->name, enrolment->population, enrolment->url, sign_key,
                     enrolment->key_sequence, m->version,
                     m->version ? m->spec : "none installed yet", digest,
                     has_spool ? "one waits to be sent" : "none waits");
        return;
    }
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    trib_json_text(&json, "name", enrolment->name);
    trib_json_text(&json, "population", enrolment->population);
    trib_json_text(&json, "coordinator", enrolment->url);
    trib_json_text(&json, "sign_key", sign_key);
    trib_json_uint(&json, "key_sequence", enrolment->key_sequence);
    trib_json_uint(&json, "version", m->version);
    trib_json_text(&json, "model", m->version ? m->spec : NULL);
    trib_json_text(&json, "model_digest", m->version ? digest : NULL);
    trib_json_bool(&json, "update_waits", has_spool);
    trib_json_close(&json, '}');
    if (json.data)
        (void)printf("%s\n", (const char *)json.data);
    trib_buf_fini(&json);
}

// What a roster vouches for, in base64: its owner compares.
static enum trib_err sign_key_text(const char *dir, char ret_text[static TRIB_KEY_TEXT_SIZE])
{
    struct trib_state_keys keys;
    uint8_t public[TRIB_SIGN_KEY_SIZE];
    enum trib_err err = trib_state_keys_load(dir, &keys);
    if (err)
        return err;
    trib_sign_public(keys.sign_seed, public);
    trib_base64_encode(public, sizeof(public), ret_text);
    trib_state_keys_wipe(&keys);
    return TRIB_OK;
}

static int cmd_status(const struct trib_command *command, int argc, char **argv)
{
    bool as_json = false;
    struct trib_state_enrolment enrolment;
    struct trib_slot slot = {.params = NULL};
    char path[TRIB_PATH_MAX + 1];
    char sign_key[TRIB_KEY_TEXT_SIZE];
    int count;
    int code;
    if (!take_json(command, argc, argv, 1, &as_json, &count, &code))
        return code;
    trib_crypto_init();
    enum trib_err err = trib_state_enrolment_load(argv[0], &enrolment);
    if (!err)
        err = sign_key_text(argv[0], sign_key);
    if (!err)
        err = trib_slot_load(argv[0], &enrolment, NULL, &slot);
    if (!err)
        err = trib_path_join(path, argv[0], "spool.update");
    if (!err)
        print_status(&enrolment, &slot, sign_key, trib_file_exists(path), as_json);
    trib_slot_fini(&slot);
    return exit_code(err);
}

static int cmd_privacy(const struct trib_command *command, int argc, char **argv)
{
    bool as_json = false;
    struct trib_buf text = {0};
    int count;
    int code;
    if (!take_json(command, argc, argv, 1, &as_json, &count, &code))
        return code;
    trib_crypto_init();
    enum trib_err err = trib_privacy_report(argv[0], as_json, &text);
    if (!err)
        (void)fputs((const char *)text.data, stdout);
    trib_buf_fini(&text);
    return exit_code(err);
}

static int cmd_rotate(const struct trib_command *command, int argc, char **argv)
{
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .operand_min = 1, .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    return exit_code(trib_device_rotate(argv[0]));
}

static const struct trib_command commands[] = {
    {"enrol", "TOKEN|URL", "join a coordinator with a token, or with --key when on its allow-list",
     cmd_enrol},
    {"run", "DIR", "take part until SIGTERM", cmd_run},
    {"push", "DIR [FILE|-]",
     "put rows, one a line, into the device's store ([data] format = store)", cmd_push},
    {"predict", "DIR [FILE|-]",
     "what the installed model says of rows as [data] declares them, the label left out or not",
     cmd_predict},
    {"count", "DIR NAME SUCCESSES/TRIALS|NUMBER",
     "count for the application, under the installed version (round.counters of the job)",
     cmd_count},
    {"status", "DIR", "what is installed, what waits", cmd_status},
    {"privacy", "DIR", "what was spent of this device's privacy, for whom, and what is left",
     cmd_privacy},
    {"rotate", "DIR", "get other keys and stay the same device; while no client runs", cmd_rotate},
    {"keygen", "", "make the device's keys and print the public one, for an allow-list",
     cmd_keygen},
};

int main(int argc, char **argv)
{
    static const struct trib_program program = {
        .name = "tributary-client",
        .about = "The device side of federated learning: trains on local data, clips, adds noise,\n"
                 "and sends encrypted integer updates. The data never leave the device.",
        .commands = commands,
        .count = sizeof(commands) / sizeof(commands[0]),
    };
#if defined(__GLIBC__)
    // Vectors of a round's size go back to the system when they are freed. Left to itself the
    // library learns from the first of them to keep the others.
    (void)mallopt(M_MMAP_THRESHOLD, VECTOR_SIZE_MIN);
    // And one arena for all threads: the first vector of a thread would stay in one of its own.
    (void)mallopt(M_ARENA_MAX, 1);
#endif
    return trib_program_main(&program, argc, argv);
}
