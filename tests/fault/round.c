// fault_round - let the n-th call fail, for every n, over a whole round: is every promise kept?
//
//     fault_round sweep [--mode MODE] [--scene SCENE] [--kind KIND] [--victim SIDE]
//                      [--first N] [--every N] [--lives N] [--side N] [--lasts]
//
// A life without faults counts the calls of each kind, and says what is to come out. Then there is
// one life for each call that fails, in a process of its own: it may end neither by a signal nor
// with a leak (in a build with sanitizers), and rig.h says what has to be true afterwards.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/args.h"
#include "common/base/clock.h"
#include "tests/fault/fault.h"
#include "tests/fault/rig.h"
#include "tests/fault/scenes.h"

enum {
    SIDE_MAX = 16,
    NAME_SIZE = 32,
};

struct life {
    struct rig rig;
    char name[NAME_SIZE];
    const struct rig_outcome *expected; // NULL: nobody knows yet
    pid_t process;                      // 0: none
};

static const char *const side_names[RIG_SIDES + 1] = {"coordinator", "device", "nobody"};

static struct options {
    const char *mode, *scene;
    const char *kind, *victim;
    uint64_t first, every, lives, side;
    bool lasts;
} options = {.mode = "local", .first = 1, .every = 1, .side = 4};

static int live(void *user)
{
    struct life *life = user;
    struct rig *rig = &life->rig;
    const bool is_good = rig_begin(rig, life->name) && rig_live(rig);
    return rig_check(rig, life->expected, &rig->shared->outcome) && is_good ? 0 : 1;
}

static void log_of(const struct life *life, char path[static FOLDER_PATH_SIZE])
{
    (void)snprintf(path, FOLDER_PATH_SIZE, "%s/%s.log", life->rig.root, life->name);
}

static void show_log(const struct life *life)
{
    char path[FOLDER_PATH_SIZE], line[512];
    log_of(life, path);
    FILE *log = fopen(path, "r");
    while (log && fgets(line, sizeof(line), log))
        (void)printf("    %s", line);
    if (log)
        (void)fclose(log);
}

// ---- Many lives at a time

struct tally {
    unsigned long calls, lives, fired, wrong, ends, abandoned;
    uint64_t longest_ms;
};

static struct tally tallies[RIG_SIDES][FAULT_KINDS];

static void begin(struct life *life)
{
    char log[FOLDER_PATH_SIZE];
    log_of(life, log);
    (void)unlink(log);
    life->process = rig_fork(live, life, log);
}

static void end(struct life *life, int status)
{
    const struct rig_shared *shared = life->rig.shared;
    struct tally *tally = &tallies[life->rig.victim][life->rig.fault.kind];
    life->process = 0;
    tally->lives++;
    tally->fired += shared->fired > 0;
    tally->ends += shared->ends;
    tally->abandoned += shared->outcome.abandoned;
    tally->longest_ms = shared->lived_ms > tally->longest_ms ? shared->lived_ms : tally->longest_ms;
    if (status != 0) {
        tally->wrong++;
        (void)printf("%s %s %lu (%s):\n", side_names[life->rig.victim],
                     fault_name(life->rig.fault.kind), life->rig.fault.nth,
                     strerror(life->rig.fault.code));
        show_log(life);
    }
    (void)fflush(stdout);
}

static struct life *reap(struct life *lives)
{
    int status;
    const pid_t process = wait(&status);
    for (size_t i = 0; i < options.side; i++) {
        if (lives[i].process == process) {
            end(&lives[i], status);
            return &lives[i];
        }
    }
    return &lives[0];
}

static struct life *take_idle(struct life *lives)
{
    for (size_t i = 0; i < options.side; i++) {
        if (lives[i].process == 0)
            return &lives[i];
    }
    return reap(lives);
}

static void sweep(struct life *lives, enum rig_side victim, enum fault_kind kind)
{
    static const int codes[FAULT_KINDS] = {
        [FAULT_MEMORY] = ENOMEM, [FAULT_LINK] = ENOMEM, [FAULT_WRITE] = EIO,
        [FAULT_SHORT] = ENOSPC,  [FAULT_SYNC] = EIO,    [FAULT_RENAME] = EIO,
        [FAULT_OPEN] = EMFILE,   [FAULT_UNLINK] = EIO,  [FAULT_READ] = EIO,
    };
    const uint64_t count = tallies[victim][kind].calls;
    // With a number of lives: that many of the calls, spread evenly.
    const uint64_t wanted = options.lives < count ? options.lives : count;
    for (uint64_t i = 0;; i++) {
        const uint64_t nth =
            wanted > 0 ? (2 * i + 1) * count / (2 * wanted) + 1 : options.first + i * options.every;
        if (nth > count || (wanted > 0 && i == wanted))
            break;
        struct life *life = take_idle(lives);
        life->rig.victim = victim;
        life->rig.fault = (struct fault){
            .kind = kind, .nth = (unsigned long)nth, .lasts = options.lasts, .code = codes[kind]};
        begin(life);
    }
}

static void wait_for_all(struct life *lives)
{
    for (size_t i = 0; i < options.side; i++) {
        while (lives[i].process != 0)
            (void)reap(lives);
    }
}

static void print_tally(enum rig_side victim, enum fault_kind kind, struct tally *sum)
{
    const struct tally *tally = &tallies[victim][kind];
    (void)printf("%s %s: calls=%lu lives=%lu failed=%lu ended=%lu abandoned=%lu wrong=%lu\n",
                 side_names[victim], fault_name(kind), tally->calls, tally->lives, tally->fired,
                 tally->ends, tally->abandoned, tally->wrong);
    (void)fflush(stdout);
    sum->lives += tally->lives;
    sum->fired += tally->fired;
    sum->wrong += tally->wrong;
    sum->longest_ms = tally->longest_ms > sum->longest_ms ? tally->longest_ms : sum->longest_ms;
}

static bool is_asked(enum rig_side victim, enum fault_kind kind)
{
    // What nng makes of it is nothing that we can mend: only when it is asked for.
    return (options.kind ? strcmp(options.kind, fault_name(kind)) == 0 : kind != FAULT_LINK) &&
           (!options.victim || strcmp(options.victim, side_names[victim]) == 0);
}

// All that is asked for. A few lives of each kind go side by side, whatever their kind.
static struct tally sweep_all(struct life *lives)
{
    struct tally sum = {.lives = 0};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < RIG_SIDES * FAULT_KINDS; i++) {
            const enum rig_side victim = (enum rig_side)(i / FAULT_KINDS);
            const enum fault_kind kind = (enum fault_kind)(i % FAULT_KINDS);
            if (kind == FAULT_NONE || !is_asked(victim, kind))
                continue;
            if (pass == 0)
                sweep(lives, victim, kind);
            if (pass == 0 && options.lives == 0)
                wait_for_all(lives);
            if ((pass == 0) == (options.lives == 0))
                print_tally(victim, kind, &sum);
        }
        wait_for_all(lives);
    }
    return sum;
}

static int run(const struct rig *rig)
{
    static struct life lives[SIDE_MAX];
    const uint64_t began_ms = trib_clock_mono_ms();
    struct rig_shared *shared = rig_share(sizeof(*shared) * (SIDE_MAX + 1));
    struct life first = {.rig = *rig, .name = "first"};
    int status = 1;
    if (!shared)
        return TRIB_EXIT_INTERNAL;
    first.rig.shared = &shared[SIDE_MAX];
    begin(&first);
    if (waitpid(first.process, &status, 0) < 0 || status != 0) {
        (void)printf("the life without faults failed:\n");
        show_log(&first);
        return TRIB_EXIT_INTERNAL;
    }
    for (size_t i = 0; i < options.side; i++) {
        lives[i] = (struct life){.rig = *rig, .expected = &first.rig.shared->outcome};
        lives[i].rig.shared = &shared[i];
        (void)snprintf(lives[i].name, sizeof(lives[i].name), "w%zu", i);
    }
    for (int i = 0; i < RIG_SIDES * FAULT_KINDS; i++)
        tallies[i / FAULT_KINDS][i % FAULT_KINDS].calls =
            first.rig.shared->passes[i / FAULT_KINDS][i % FAULT_KINDS];
    const struct tally tally = sweep_all(lives);
    (void)printf("%s%s%smode=%s lives=%lu failed=%lu longest_ms=%llu seconds=%.0f wrong=%lu\n",
                 options.scene ? "scene=" : "", options.scene ? options.scene : "",
                 options.scene ? " " : "", options.mode, tally.lives, tally.fired,
                 (unsigned long long)tally.longest_ms,
                 (double)(trib_clock_mono_ms() - began_ms) / 1000, tally.wrong);
    return tally.wrong == 0 && tally.fired > 0 ? TRIB_EXIT_OK : TRIB_EXIT_INTERNAL;
}

static int cmd_sweep(const struct trib_command *command, int argc, char **argv)
{
    const struct trib_option list[] = {
        {"mode", TRIB_OPTION_TEXT, &options.mode, "MODE",
         "of privacy: off, local, central or distributed"},
        {"scene", TRIB_OPTION_TEXT, &options.scene, "SCENE",
         "operator or rows; the rounds of a job"},
        {"kind", TRIB_OPTION_TEXT, &options.kind, "KIND", "what fails; all"},
        {"victim", TRIB_OPTION_TEXT, &options.victim, "SIDE", "coordinator or device; both"},
        {"first", TRIB_OPTION_INT, &options.first, "N", "the first call that fails; 1"},
        {"every", TRIB_OPTION_INT, &options.every, "N", "only each N-th of them"},
        {"lives", TRIB_OPTION_INT, &options.lives, "N", "only N of each kind, spread evenly"},
        {"side", TRIB_OPTION_INT, &options.side, "N", "lives side by side; 4"},
        {"lasts", TRIB_OPTION_FLAG, &options.lasts, NULL, "all that follow fail as well"},
    };
    const struct trib_usage usage = {
        .command = command, .options = list, .option_count = sizeof(list) / sizeof(list[0])};
    static struct rig rig;
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (options.every < 1 || options.side < 1 || options.side > SIDE_MAX)
        return TRIB_EXIT_USAGE;
    const struct rig_scene *scene = options.scene ? rig_scene_find(options.scene) : NULL;
    if (options.scene && !scene)
        return TRIB_EXIT_USAGE;
    code = rig_make(&rig, options.mode, scene) ? run(&rig) : TRIB_EXIT_INTERNAL;
    rig_remove(&rig);
    return code;
}

int main(int argc, char **argv)
{
    static const struct trib_command commands[] = {
        {"sweep", "", "let the n-th call fail, for every n", cmd_sweep},
    };
    static const struct trib_program program = {
        .name = "fault_round",
        .about = "Lets memory and files fail over a whole round, and looks whether every promise\n"
                 "was kept.",
        .commands = commands,
        .count = sizeof(commands) / sizeof(commands[0]),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return trib_program_main(&program, argc, argv);
}
