// tributaryctl - the operator's command. It talks to the admin socket and never opens state files.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/args.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/math/ensemble.h"
#include "common/math/model_file.h"
#include "coordinator/ctl/advise.h"
#include "coordinator/ctl/call.h"
#include "coordinator/ctl/eliminate.h"
#include "coordinator/ctl/fetch.h"
#include "coordinator/ctl/reach.h"
#include "coordinator/ctl/set_path.h"
#include "coordinator/ctl/tune.h"

#define TRIB_LOG_MODULE "ctl"

enum {
    TIMEOUT_MS = 30000,
    DOCTOR_TIMEOUT_MS = 15000,            // who asks it waits, at night
    BACKUP_TIMEOUT_MS = 24 * 3600 * 1000, // it copies every version
    ENSEMBLE_TIMEOUT_MS = 3600 * 1000,    // it asks every member about every held-out row
    OPTIONS_MAX = 8,
    SETS_MAX = TRIB_SERIES_SETS_MAX,
};

static const char *dir = "."; // --dir before the command, or TRIBUTARY_DIR

static int explain(enum trib_err err)
{
    struct trib_admin_reply reached = {.exit_code = 0};
    if (err == TRIB_ERR_CONNECT)
        trib_ctl_reach(dir, &reached);
    if (reached.error)
        (void)fprintf(stderr, "%s\n", reached.error);
    else if (err == TRIB_ERR_PROTO)
        (void)fprintf(stderr, "admin socket: the coordinator hung up before it answered; its log "
                              "says why\n");
    else
        (void)fprintf(stderr, "admin socket: %s\n", trib_err_text(err));
    trib_admin_reply_fini(&reached);
    return err == TRIB_ERR_PROTO ? TRIB_EXIT_PEER : trib_exit_of(err);
}

static void show(const struct trib_admin_reply *reply, bool as_table, bool as_json)
{
    struct trib_buf text = {0};
    if (as_json) {
        for (size_t i = 0; i < reply->row_count; i++)
            trib_admin_row_json(&reply->rows[i], &text);
    } else if (reply->row_count == 1 && reply->rows[0].count == 1 &&
               reply->rows[0].fields[0].text) {
        trib_buf_printf(&text, "%s\n", reply->rows[0].fields[0].text); // a token: for $(...)
    } else if (reply->row_count == 1 && !as_table) {
        trib_admin_list(&reply->rows[0], &text);
    } else {
        trib_admin_table(reply, &text);
    }
    if (text.data)
        (void)fwrite(text.data, 1, text.size, stdout);
    trib_buf_fini(&text);
}

static int ask_within(struct trib_admin_request *request, unsigned timeout_ms, bool as_json)
{
    struct trib_admin_reply reply;
    enum trib_err err = trib_ctl_call(dir, request, timeout_ms, &reply);
    if (err)
        return explain(err);
    size_t words = request->word_count; // "devices ls" is a table, however many there are
    bool as_table =
        words >= 2 &&
        (strcmp(request->words[1], "ls") == 0 || strcmp(request->words[1], "selection") == 0 ||
         strcmp(request->words[1], "measured") == 0 || strcmp(request->words[1], "counted") == 0);
    show(&reply, as_table, as_json);
    int code = (int)reply.exit_code;
    if (code)
        (void)fprintf(stderr, "%s\n", reply.error ? reply.error : "refused");
    trib_admin_reply_fini(&reply);
    return code;
}

static int ask(struct trib_admin_request *request, bool as_json)
{
    return ask_within(request, TIMEOUT_MS, as_json);
}

// The words of a command's name, then its operands, then "--option value" pairs.
static void add_words(struct trib_admin_request *request, char *name, int count, char **operands)
{
    for (char *word = strtok_r(name, " ", &name); word; word = strtok_r(NULL, " ", &name))
        request->words[request->word_count++] = word;
    for (int i = 0; i < count; i++)
        request->words[request->word_count++] = operands[i];
}

struct pair {
    const char *name;        // with its dashes
    const char *word, *help; // no word: it has no value
    const char *value;
    bool is_given; // one without a value
};

static int simple(const struct trib_command *command, struct pair *pairs, size_t pair_count,
                  int operands, int argc, char **argv)
{
    bool as_json = false;
    struct trib_option options[OPTIONS_MAX] = {
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object a line"}};
    char name[64];
    struct trib_admin_request request = {.word_count = 0};
    int count;
    int code;
    for (size_t i = 0; i < pair_count; i++)
        options[i + 1] = (struct trib_option){
            pairs[i].name + 2, pairs[i].word ? TRIB_OPTION_TEXT : TRIB_OPTION_FLAG,
            pairs[i].word ? (void *)&pairs[i].value : &pairs[i].is_given, pairs[i].word,
            pairs[i].help};
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = pair_count + 1,
                                     .operand_min = operands,
                                     .operand_max = operands};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    (void)snprintf(name, sizeof(name), "%s", command->name);
    add_words(&request, name, count, argv);
    for (size_t i = 0; i < pair_count; i++) {
        if (pairs[i].value || pairs[i].is_given)
            request.words[request.word_count++] = pairs[i].name;
        if (pairs[i].value)
            request.words[request.word_count++] = pairs[i].value;
    }
    return ask(&request, as_json);
}

static int cmd_plain(const struct trib_command *command, int argc, char **argv)
{
    return simple(command, NULL, 0, 0, argc, argv);
}

// What can be seen from here first: a coordinator that is not there cannot say what is wrong.
static int cmd_doctor(const struct trib_command *command, int argc, char **argv)
{
    bool as_json = false;
    const struct trib_option options[] = {
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object a line"}};
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 1};
    const struct trib_admin_request request = {.word_count = 1, .words = {"doctor"}};
    struct trib_admin_reply reached = {.exit_code = 0}, reply = {.exit_code = 0};
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    trib_ctl_reach(dir, &reached);
    if (!reached.exit_code) {
        const enum trib_err err = trib_ctl_call(dir, &request, DOCTOR_TIMEOUT_MS, &reply);
        if (err)
            trib_ctl_unanswered(dir, err, &reached);
        else
            trib_ctl_add_hops(&reply, &reached);
    }
    code = (int)reached.exit_code;
    if (!reply.exit_code || reply.row_count > 0) // else refused, for want of a role
        show(&reached, true, as_json);
    if (code)
        (void)fprintf(stderr, "%s\n", reached.error ? reached.error : "refused");
    trib_admin_reply_fini(&reply);
    trib_admin_reply_fini(&reached);
    return code;
}

// With all facts given no coordinator is asked.
static int cmd_advise(const struct trib_command *command, int argc, char **argv)
{
    struct trib_advise_options o = {.rows = -1, .new_per_day = -1, .params = -1};
    bool as_json = false;
    const struct trib_option options[] = {
        {"rows", TRIB_OPTION_REAL, &o.rows, "N", "rows on a device (as updates say)"},
        {"new-per-day", TRIB_OPTION_REAL, &o.new_per_day, "N",
         "rows that come to it a day (as the rounds of the last job say)"},
        {"params", TRIB_OPTION_REAL, &o.params, "N", "of the model (the newest version)"},
        {"drift", TRIB_OPTION_TEXT, &o.drift, "HOW",
         "how fast rows become untrue: none (default), slow (weeks), fast (hours)"},
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object a line"}};
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 5};
    const struct trib_admin_request request = {.word_count = 1, .words = {"advise"}};
    struct trib_admin_reply measured = {.exit_code = 0}, reply = {.exit_code = 0};
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    const bool asks = o.rows < 0 || o.new_per_day < 0 || o.params < 0;
    enum trib_err err = asks ? trib_ctl_call(dir, &request, TIMEOUT_MS, &measured) : TRIB_OK;
    if (err)
        return explain(err);
    if (measured.exit_code)
        trib_admin_fail(&reply, measured.exit_code, "%s", measured.error ? measured.error : "");
    else
        trib_ctl_advise(&o, asks ? &measured : NULL, &reply);
    code = (int)reply.exit_code;
    if (code)
        (void)fprintf(stderr, "%s\n", reply.error ? reply.error : "refused");
    else
        show(&reply, false, as_json);
    trib_admin_reply_fini(&measured);
    trib_admin_reply_fini(&reply);
    return code;
}

static int cmd_one(const struct trib_command *command, int argc, char **argv)
{
    return simple(command, NULL, 0, 1, argc, argv);
}

static int cmd_list(const struct trib_command *command, int argc, char **argv)
{
    struct pair pairs[] = {
        {"--after", "ID", "only what comes after it", NULL, false},
        {"--limit", "N", "at most so many", NULL, false},
        {"--job", "ID", "only of this job", NULL, false},
    };
    return simple(command, pairs, 3, 0, argc, argv);
}

static int cmd_backup(const struct trib_command *command, int argc, char **argv)
{
    bool as_json = false;
    bool without_keys = false;
    const struct trib_option options[] = {
        {"no-keys", TRIB_OPTION_FLAG, &without_keys, NULL,
         "leave coordinator.key, roster.key, keys.chain, former-*.key and the token file of [http] "
         "out; keep them elsewhere"},
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object a line"}};
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 2,
                                     .operand_min = 1,
                                     .operand_max = 1};
    char path[TRIB_PATH_MAX + 1];
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    char *here = getcwd(NULL, 0); // the coordinator has another working directory
    const bool is_whole = argv[0][0] == '/';
    enum trib_err err = here ? TRIB_OK : TRIB_ERR_IO;
    if (is_whole)
        err =
            snprintf(path, sizeof(path), "%s", argv[0]) > TRIB_PATH_MAX ? TRIB_ERR_LIMIT : TRIB_OK;
    else if (!err)
        err = trib_path_join(path, here, argv[0]);
    free(here);
    if (err)
        return TRIB_EXIT_USAGE;
    struct trib_admin_request request = {.word_count = without_keys ? 3 : 2,
                                         .words = {"backup", path, "--no-keys"}};
    return ask_within(&request, BACKUP_TIMEOUT_MS, as_json);
}

static int cmd_audit_ls(const struct trib_command *command, int argc, char **argv)
{
    struct pair pairs[] = {
        {"--since", "N", "from record N on (the newest 100)", NULL, false},
        {"--limit", "N", "at most so many", NULL, false},
    };
    return simple(command, pairs, 2, 0, argc, argv);
}

static int cmd_audit_verify(const struct trib_command *command, int argc, char **argv)
{
    struct pair pairs[] = {
        {"--head", "N:HASH", "the head of an earlier verify, which must still be there", NULL,
         false},
    };
    return simple(command, pairs, 1, 0, argc, argv);
}

static int cmd_token(const struct trib_command *command, int argc, char **argv)
{
    struct pair pairs[] = {
        {"--name", "NAME", "the device's name, with --uses 1", NULL, false},
        {"--ttl", "TIME", "how long it is good: 90s, 15m, 24h (default), 7d", NULL, false},
        {"--uses", "N", "how many devices may enrol with it (1)", NULL, false},
        {"--again", NULL, "in the place of one of that name that was lost", NULL, false},
    };
    return simple(command, pairs, 4, 0, argc, argv);
}

static int cmd_submit(const struct trib_command *command, int argc, char **argv)
{
    bool as_json = false;
    bool accepts_drowned = false;
    struct trib_texts sets = {.count = 0};
    struct trib_set_paths paths = {.count = 0};
    const struct trib_option options[] = {
        {"set", TRIB_OPTION_LIST, &sets, "SECTION.KEY=VALUE",
         "override a key, paths from the working directory on; many times"},
        {"accept-drowned-signal", TRIB_OPTION_FLAG, &accepts_drowned, NULL,
         "start it also when the noise will drown the model"},
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object a line"}};
    char folder[TRIB_PATH_MAX + 1];
    struct trib_buf file = {0};
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 3,
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (sets.count > SETS_MAX) {
        (void)fprintf(stderr, "jobs submit: more than %d --set\n", SETS_MAX);
        return TRIB_EXIT_USAGE;
    }
    enum trib_err err = trib_file_read(argv[0], TRIB_CONF_FILE_MAX, &file);
    if (!err)
        err = trib_path_dir(folder, argv[0]);
    if (err)
        return TRIB_EXIT_USAGE;
    char *whole = realpath(folder, NULL); // the coordinator has another working directory
    if (!whole) {
        trib_buf_fini(&file);
        return TRIB_EXIT_USAGE;
    }
    struct trib_admin_request request = {.word_count = accepts_drowned ? 3 : 2,
                                         .words = {"jobs", "submit", "--accept-drowned-signal"},
                                         .body_name = argv[0],
                                         .body_dir = whole,
                                         .body = file.data,
                                         .body_size = file.size};
    for (size_t i = 0; i < sets.count; i++) {
        request.words[request.word_count++] = "--set";
        request.words[request.word_count++] = trib_set_path(&paths, sets.items[i]);
    }
    code = ask(&request, as_json);
    trib_set_paths_fini(&paths);
    free(whole);
    trib_buf_fini(&file);
    return code;
}

static int cmd_eliminate(const struct trib_command *command, int argc, char **argv)
{
    return trib_ctl_eliminate(dir, command, argc, argv);
}

static int cmd_tune(const struct trib_command *command, int argc, char **argv)
{
    return trib_ctl_tune(dir, command, argc, argv);
}

// Returns an exit code; 0: it is whole.
static int fetch_version(const char *version, struct trib_buf *whole)
{
    enum trib_err err;
    int code = trib_ctl_fetch(dir, version, whole, &err);
    return err ? explain(err) : code;
}

static int write_version(const struct trib_buf *whole, const char *path,
                         enum trib_model_format format)
{
    char why[256];
    enum trib_err err = format == TRIB_MODEL_SAFETENSORS // the file itself, as it is stored
                            ? trib_file_write(path, whole->data, whole->size, 0644)
                            : trib_model_file_export(whole, format, path, why, sizeof(why));
    if (!err)
        (void)printf("%s\n", path);
    else if (format != TRIB_MODEL_SAFETENSORS && why[0])
        (void)fprintf(stderr, "the version %s\n", why);
    return trib_exit_at(err, path, false);
}

static int cmd_export(const struct trib_command *command, int argc, char **argv)
{
    const char *path = NULL;
    const char *word = "safetensors";
    const struct trib_option options[] = {
        {"format", TRIB_OPTION_TEXT, &word, "FORMAT", "safetensors (default), npz, onnx or c"},
        {"out", TRIB_OPTION_TEXT, &path, "FILE", "where to (model.FORMAT)"}};
    char usual[32];
    struct trib_buf whole = {0};
    enum trib_model_format format;
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 2,
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (!trib_model_format_find(word, &format)) {
        (void)fprintf(stderr, "export: --format %s: want safetensors, npz, onnx or c\n", word);
        return TRIB_EXIT_USAGE;
    }
    (void)snprintf(usual, sizeof(usual), "model.%s", word);
    code = fetch_version(argv[0], &whole);
    if (!code)
        code = write_version(&whole, path ? path : usual, format);
    trib_buf_fini(&whole);
    return code;
}

static int cmd_ensemble(const struct trib_command *command, int argc, char **argv)
{
    const char *share = NULL;
    bool as_json = false;
    const struct trib_option options[] = {
        {"validation", TRIB_OPTION_TEXT, &share, "SHARE",
         "of the held-out rows, to choose the weights by (0.5)"},
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object a line"}};
    char name[64];
    struct trib_admin_request request = {.word_count = 0};
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 2,
                                     .operand_min = 2,
                                     .operand_max = TRIB_ENSEMBLE_MAX};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    (void)snprintf(name, sizeof(name), "%s", command->name);
    add_words(&request, name, count, argv);
    if (share) {
        request.words[request.word_count++] = "--validation";
        request.words[request.word_count++] = share;
    }
    return ask_within(&request, ENSEMBLE_TIMEOUT_MS, as_json);
}

static int cmd_derive(const struct trib_command *command, int argc, char **argv)
{
    const char *path = "derived.safetensors";
    const char *spec = NULL;
    const char *map = NULL;
    uint64_t seed = 1;
    const struct trib_option options[] = {
        {"spec", TRIB_OPTION_TEXT, &spec, "SPEC", "the new model's layers"},
        {"map", TRIB_OPTION_TEXT, &map, "OLD:NEW,...", "which layers go where, from 0"},
        {"seed", TRIB_OPTION_INT, &seed, "N", "of the layers that no other goes to (1)"},
        {"out", TRIB_OPTION_TEXT, &path, "FILE", "where to (derived.safetensors)"}};
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0]),
                                     .operand_min = 1,
                                     .operand_max = 1};
    struct trib_buf whole = {0}, file = {0};
    char why[512];
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (!spec || !map) {
        (void)fprintf(stderr, "derive: --spec and --map are missing: which model, and which "
                              "layers of the old one go where in it\n");
        return TRIB_EXIT_USAGE;
    }
    code = fetch_version(argv[0], &whole);
    if (code)
        goto out;
    enum trib_err err = trib_model_file_derive(&whole, spec, map, seed, &file, why, sizeof(why));
    if (err) {
        (void)fprintf(stderr, "derive: version %s: %s\n", argv[0], why);
        code = (int)trib_exit_of(err);
        goto out;
    }
    code = (int)trib_exit_at(trib_file_write(path, file.data, file.size, 0644), path, false);
    if (!code)
        (void)printf("%s\n", path);

out:
    trib_buf_fini(&whole);
    trib_buf_fini(&file);
    return code;
}

static int cmd_roster_export(const struct trib_command *command, int argc, char **argv)
{
    bool only_unsigned = false;
    const struct trib_option options[] = {{"unsigned", TRIB_OPTION_FLAG, &only_unsigned, NULL,
                                           "only devices that nobody vouches for yet"}};
    struct trib_admin_request request = {.word_count = 2, .words = {"roster", "export"}};
    struct trib_admin_reply reply;
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (only_unsigned)
        request.words[request.word_count++] = "--unsigned";
    enum trib_err err = trib_ctl_call(dir, &request, TIMEOUT_MS, &reply);
    if (err)
        return explain(err);
    code = (int)reply.exit_code;
    if (code)
        (void)fprintf(stderr, "%s\n", reply.error ? reply.error : "refused");
    else if (fwrite(reply.body, 1, reply.body_size, stdout) != reply.body_size || fflush(stdout))
        code = TRIB_EXIT_INTERNAL;
    trib_admin_reply_fini(&reply);
    return code;
}

static int cmd_roster_load(const struct trib_command *command, int argc, char **argv)
{
    bool as_json = false;
    const struct trib_option options[] = {
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object a line"}};
    struct trib_buf file = {0};
    int count;
    int code;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = 1,
                                     .operand_min = 1,
                                     .operand_max = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (trib_file_read(argv[0], TRIB_ROSTER_FILE_MAX, &file))
        return TRIB_EXIT_USAGE;
    struct trib_admin_request request = {.word_count = 2,
                                         .words = {"roster", "load"},
                                         .body_name = argv[0],
                                         .body = file.data,
                                         .body_size = file.size};
    code = ask(&request, as_json);
    trib_buf_fini(&file);
    return code;
}

static const struct trib_command commands[] = {
    {"status", "", "what the coordinator does, who is there, its counters", cmd_plain},
    {"doctor", "", "check each hop and name the first that fails", cmd_doctor},
    {"roles", "", "your role, and what each command wants", cmd_plain},
    {"advise", "", "batch, incremental or online: what fits the rows of the fleet", cmd_advise},
    {"jobs submit", "FILE.ini", "start a training job", cmd_submit},
    {"tune", "FILE.ini", "a series of jobs that chooses values of keys by cross-validation",
     cmd_tune},
    {"eliminate", "FILE.ini", "a series of jobs, each with fewer features", cmd_eliminate},
    {"jobs ls", "", "all jobs", cmd_plain},
    {"jobs show", "ID", "one job and its best version", cmd_one},
    {"jobs selection", "ID", "how the best version was chosen, one version a line", cmd_one},
    {"jobs start", "ID", "go on with a paused job", cmd_one},
    {"jobs pause", "ID", "stop after the open round", cmd_one},
    {"jobs cancel", "ID", "end it; the open round is abandoned", cmd_one},
    {"devices ls", "", "every device, its version and state", cmd_plain},
    {"devices token", "", "print an enrolment token", cmd_token},
    {"devices approve", "NAME",
     "let a device in that waits (enrol.pending = yes), by its name in devices ls", cmd_one},
    {"devices revoke", "NAME", "throw a device out, at once and for good", cmd_one},
    {"roster export", "", "the devices that a roster key elsewhere is to vouch for",
     cmd_roster_export},
    {"roster load", "FILE", "take the signed roster, all of it or nothing", cmd_roster_load},
    {"rounds ls", "", "every round that has ended", cmd_list},
    {"rounds show", "ID", "who was asked, counted, refused, and why", cmd_one},
    {"rounds counted", "ID", "what applications counted, by version and group", cmd_one},
    {"rounds measured", "ID", "what devices measured on the rows they keep aside", cmd_one},
    {"models ls", "", "every version", cmd_list},
    {"models show", "VERSION", "one version, or latest", cmd_one},
    {"models export", "VERSION", "write a version, or latest, as a file", cmd_export},
    {"models ensemble", "VERSION VERSION...",
     "make a version of several: the weighted mean of their probabilities", cmd_ensemble},
    {"keys list", "", "how this coordinator came to its keys, and which it answers to still",
     cmd_plain},
    {"keys retire", "ID", "cease to answer to the key that a statement replaced", cmd_one},
    {"backup", "PATH", "copy the coordinator's state into a new directory, while it runs",
     cmd_backup},
    {"audit ls", "", "who did what, and what came of it", cmd_audit_ls},
    {"audit verify", "", "is a record changed, gone or moved?", cmd_audit_verify},
    {"models derive", "VERSION", "make a file of another model, to start a job from", cmd_derive},
};

int main(int argc, char **argv)
{
    static const struct trib_program program = {
        .name = "tributaryctl",
        .about = "Operate a running coordinator through its admin socket.\n"
                 "--dir DIR before the command says where the coordinator lives (default: the\n"
                 "environment's TRIBUTARY_DIR, or the working directory).",
        .commands = commands,
        .count = sizeof(commands) / sizeof(commands[0]),
    };
    const char *from_environment = getenv("TRIBUTARY_DIR");
    if (from_environment)
        dir = from_environment;
    if (argc >= 3 && strcmp(argv[1], "--dir") == 0) {
        dir = argv[2];
        argv[2] = argv[0];
        argv += 2;
        argc -= 2;
    }
    return trib_program_main(&program, argc, argv);
}
