// tributary-chaos: one world from its seed, to its end or to the first promise that is broken. The
// command tributary-sim chaos runs many of them.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/args.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "coordinator/identity.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/disk.h"
#include "simulations/chaos/faults.h"
#include "simulations/chaos/liar.h"
#include "simulations/chaos/network.h"
#include "simulations/chaos/oracle.h"
#include "simulations/chaos/posix.h"
#include "simulations/chaos/roles.h"

enum {
    LINE_SIZE = 4096,
    STEPS_MAX = 50000000, // a world that takes more goes round in circles
};

struct trib_chaos trib_chaos;
static struct trib_hash log_hash;

// ---- The log

static void put_line(const char *text)
{
    char line[LINE_SIZE];
    const struct trib_process *process = trib_machine_current();
    const uint64_t us = trib_machine_now_us();
    const int size = snprintf(line, sizeof(line), "%" PRIu64 " %" PRIu64 ".%06" PRIu64 " %s: %s\n",
                              trib_machine_steps(), us / 1000000, us % 1000000,
                              process ? process->name : "world", text);
    trib_hash_update(&log_hash, line,
                     (size_t)size < sizeof(line) ? (size_t)size : sizeof(line) - 1);
    if (trib_chaos.is_shown)
        (void)fputs(line, stdout);
}

void trib_chaos_say(const char *format, ...)
{
    char text[LINE_SIZE / 2];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    put_line(text);
}

static void log_line(void *user, enum trib_log_level level, const char *line)
{
    const struct trib_process *process = trib_machine_current();
    (void)user;
    (void)level;
    put_line(line);
    if (process)
        trib_oracle_told(process, line);
}

// ---- The end

static void print_end(const char *invariant, const char *what)
{
    struct trib_hash hash = log_hash;
    uint8_t digest[TRIB_DIGEST_SIZE];
    char text[TRIB_DIGEST_TEXT_SIZE];
    struct trib_buf json = {0};
    trib_hash_final(&hash, digest, sizeof(digest));
    trib_hex_encode(digest, sizeof(digest), text);
    trib_json_open(&json, NULL, '{');
    trib_json_uint(&json, "seed", trib_chaos.seed);
    trib_json_uint(&json, "rounds", trib_chaos.rounds);
    trib_json_uint(&json, "steps", trib_machine_steps());
    trib_json_real(&json, "seconds", (double)trib_machine_now_us() / 1e6);
    trib_json_uint(&json, "faults", trib_chaos.faults);
    trib_json_uint(&json, "kills", trib_chaos.kills);
    trib_json_uint(&json, "accepted", trib_chaos.accepted);
    trib_json_uint(&json, "lies", trib_chaos.lies);
    trib_json_uint(&json, "refused", trib_chaos.refused);
    trib_json_uint(&json, "at_once", trib_chaos.at_once);
    trib_json_text(&json, "log", text);
    if (invariant) {
        trib_json_text(&json, "invariant", invariant);
        trib_json_text(&json, "what", what);
    }
    trib_json_close(&json, '}');
    if (json.data)
        (void)printf("%s\n", (const char *)json.data);
    (void)fflush(stdout);
}

void trib_chaos_fail(const char *invariant, const char *format, ...)
{
    char text[LINE_SIZE / 2];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    trib_chaos_say("BROKEN %s: %s", invariant, text);
    print_end(invariant, text);
    trib_disk_remove();
    _exit(TRIB_EXIT_INTERNAL); // in the middle of everything
}

int trib_chaos_member(const char *name)
{
    for (int i = 0; i < TRIB_CHAOS_MEMBERS; i++) {
        const size_t size = strlen(trib_chaos.members[i]->name);
        if (size == strcspn(name, "-") && memcmp(trib_chaos.members[i]->name, name, size) == 0)
            return i;
    }
    return -1;
}

// ---- The world

static void process_ended(struct trib_process *process)
{
    if (process == trib_chaos.coordinator)
        trib_chaos.server = NULL;
    trib_oracle_noise(); // what was drawn is drawn, whoever died of it
    trib_network_end(process);
    if (trib_disk_orphan(process))
        trib_chaos_fail("disk", "the files of %s cannot be copied", process->name);
}

static enum trib_err make_coordinator(void)
{
    // A reserve would be copied with the files at each death, for disks that never run full.
    static const char config[] =
        "[fleet]\nlisten = " TRIB_CHAOS_URL "\nthreads = 2\n[store]\nreserve_mib = 0\n";
    struct trib_identity identity;
    const char *name = trib_chaos.coordinator->name;
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_identity_make(name, TRIB_CHAOS_URL, NULL, &identity);
    trib_identity_wipe(&identity);
    if (!err)
        err = trib_path_join(path, name, "tributary.ini");
    return err ? err : trib_file_write(path, config, strlen(config), 0600);
}

static enum trib_err make_member(const struct trib_process *process)
{
    static const char config[] = "[client]\nreconnect_max_ms = 5000\n[client.policy]\n"
                                 "allowed_modes = off,local,central,distributed\n"
                                 "min_cohort = 3\n";
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_dir_make(process->name, 0700);
    if (!err)
        err = trib_path_join(path, process->name, "client.ini");
    return err ? err : trib_file_write(path, config, strlen(config), 0600);
}

static enum trib_err make_world(void)
{
    static const char *const names[TRIB_CHAOS_MEMBERS] = {"d1", "d2",    "d3",   "d4",
                                                          "d5", "liar1", "liar2"};
    enum trib_err err = trib_disk_open();
    trib_machine_on_end(process_ended);
    trib_chaos.coordinator = trib_machine_add("coordinator", trib_role_coordinator);
    trib_chaos.operator= trib_machine_add("operator", trib_role_operator);
    if (!err)
        err = make_coordinator();
    for (int i = 0; i < TRIB_CHAOS_MEMBERS; i++) {
        trib_chaos.members[i] =
            trib_machine_add(names[i], i < TRIB_CHAOS_DEVICES ? trib_role_device : trib_role_liar);
        if (!err)
            err = make_member(trib_chaos.members[i]);
    }
    return err;
}

// `mode` is NULL: it is drawn.
static int run_world(const enum trib_privacy_mode *mode)
{
    static const enum trib_privacy_mode modes[] = {TRIB_PRIVACY_OFF, TRIB_PRIVACY_OFF,
                                                   TRIB_PRIVACY_LOCAL, TRIB_PRIVACY_CENTRAL,
                                                   TRIB_PRIVACY_DISTRIBUTED};
    enum {
        MODES = sizeof(modes) / sizeof(modes[0])
    };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) { // those of the dead stay open
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    trib_hash_init(&log_hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_machine_init(trib_chaos.seed);
    trib_posix_init();
    trib_crypto_init();
    trib_log_set_sink(log_line, NULL);
    const enum trib_privacy_mode drawn = modes[trib_machine_draw(TRIB_STREAM_WORK, 0, MODES - 1)];
    trib_chaos.mode = mode ? *mode : drawn;
    trib_chaos.is_wide = trib_machine_chance(TRIB_STREAM_WORK, 4);
    enum trib_err err = make_world();
    if (err) {
        (void)fprintf(stderr, "chaos: the world cannot be made: %s\n", trib_err_text(err));
        trib_disk_remove();
        return trib_exit_of(err);
    }
    trib_chaos_say("seed %" PRIu64 ", mode %s", trib_chaos.seed,
                   trib_privacy_mode_text(trib_chaos.mode));
    trib_faults_init();
    trib_oracle_init();
    for (unsigned i = 0; trib_machine_process(i); i++)
        trib_machine_start(trib_machine_process(i));
    while (!trib_chaos.is_over) {
        trib_faults_step();
        if (!trib_machine_step() || trib_machine_steps() > STEPS_MAX)
            trib_chaos_fail("quiet", "nobody has anything to do");
        trib_oracle_look();
    }
    trib_oracle_finish();
    print_end(NULL, NULL);
    trib_disk_remove();
    _exit(TRIB_EXIT_OK); // what the dead had in memory is nobody's to free
}

static int chaos_command(const struct trib_command *command, int argc, char **argv)
{
    enum trib_privacy_mode mode;
    const char *text = NULL;
    const struct trib_option options[] = {
        {"seed", TRIB_OPTION_INT, &trib_chaos.seed, "N", "of the world (1)"},
        {"rounds", TRIB_OPTION_INT, &trib_chaos.rounds, "R", "of its job (4)"},
        {"mode", TRIB_OPTION_TEXT, &text, "MODE", "of privacy (drawn)"},
        {"log", TRIB_OPTION_FLAG, &trib_chaos.is_shown, NULL, "print what happens, step by step"},
    };
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 4};
    int count;
    int code;
    trib_chaos.seed = 1;
    trib_chaos.rounds = 4;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (text && !trib_privacy_mode_parse(text, &mode)) {
        (void)fprintf(stderr, "world: --mode %s: want off, local, central or distributed\n", text);
        return TRIB_EXIT_USAGE;
    }
    return run_world(text ? &mode : NULL);
}

int main(int argc, char **argv)
{
    static const struct trib_command commands[] = {
        {"world", "", "run the world of a seed", chaos_command},
    };
    static const struct trib_program program = {
        .name = "tributary-chaos",
        .about = "tributary-chaos is the worlds of tributary-sim chaos, one a process.",
        .commands = commands,
        .count = 1,
    };
    return trib_program_main(&program, argc, argv);
}
