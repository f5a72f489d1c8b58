#include "simulations/chaos.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/json_read.h"
#include "common/base/log.h"
#include "common/privacy/mode.h"
#include "simulations/children.h"

#define TRIB_LOG_MODULE "chaos"

enum {
    ROUNDS = 4,
    ROUNDS_MAX = 1000,
    SEEDS_MAX = 1000000,
    AT_ONCE_MAX = 64,
    READ_STEP = 4096,
};

// What worlds add up to, by the names of their last lines.
static const char *const names[] = {"steps", "faults",  "kills",  "accepted",
                                    "lies",  "refused", "at_once"};
enum {
    NAMES = sizeof(names) / sizeof(names[0])
};

struct world {
    uint64_t seed;
    pid_t pid; // 0: none
    int fd;    // its output, until it ends
    struct trib_buf out;
};

struct chaos {
    char program[TRIB_PATH_MAX + 1];
    char folder[TRIB_PATH_MAX + 1]; // of all of them: one that dies leaves its files
    uint64_t seed, seeds, rounds;
    const char *mode; // of privacy; NULL: drawn
    bool as_json;
    struct world worlds[AT_ONCE_MAX];
    uint64_t begun, done, broken;
    uint64_t sums[NAMES];
};

// ---- One world

// In the child: dies with its parent, and says what it has to say to `fd`; -1: to a person.
static void become(const struct chaos *chaos, uint64_t seed, int fd)
{
    char seed_text[24];
    char rounds_text[24];
    const char *words[] = {chaos->program, "world", "--seed", seed_text, "--rounds",
                           rounds_text,    NULL,    NULL,     NULL,      NULL};
    size_t count = 6;
    union { // execvp does not change them
        const char *const *borrowed;
        char *const *plain;
    } arguments = {.borrowed = words};
    (void)snprintf(seed_text, sizeof(seed_text), "%" PRIu64, seed);
    (void)snprintf(rounds_text, sizeof(rounds_text), "%" PRIu64, chaos->rounds);
    if (chaos->mode) {
        words[count++] = "--mode";
        words[count++] = chaos->mode;
    }
    if (fd < 0)
        words[count++] = "--log";
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chaos->folder[0])
        (void)setenv("TMPDIR", chaos->folder, 1);
    if (fd < 0 || (dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0))
        (void)execvp(chaos->program, arguments.plain);
    (void)fprintf(stderr, "%s: %s\n", chaos->program, strerror(errno));
    _exit(TRIB_EXIT_INTERNAL);
}

// The next one.
static enum trib_err start(struct chaos *chaos, struct world *world)
{
    const uint64_t seed = chaos->seed + chaos->begun;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) {
        TRIB_ERROR("pipe: %s", strerror(errno));
        return TRIB_ERR_IO;
    }
    const pid_t pid = fork();
    if (pid == 0)
        become(chaos, seed, ends[1]);
    (void)close(ends[1]);
    if (pid < 0) {
        TRIB_ERROR("fork: %s", strerror(errno));
        (void)close(ends[0]);
        return TRIB_ERR_IO;
    }
    chaos->begun++;
    *world = (struct world){.seed = seed, .pid = pid, .fd = ends[0]};
    return TRIB_OK;
}

// Its last line, which ends the output; it may have been cut.
static const char *last_line(struct trib_buf *out)
{
    if (out->size == 0)
        return "";
    if (out->data[out->size - 1] == '\n')
        out->data[--out->size] = '\0';
    const char *text = (const char *)out->data;
    const char *end = strrchr(text, '\n');
    return end ? end + 1 : text;
}

// The numbers of a world, and the promise that was broken, if one was.
struct end {
    bool is_said;
    uint64_t numbers[NAMES];
    char step[24], invariant[64], what[1024];
};

static void read_end(const char *line, struct end *end)
{
    struct trib_json_reader reader;
    enum trib_json_event event;
    *end = (struct end){.is_said = true};
    trib_json_reader_init(&reader, line, strlen(line));
    while ((event = trib_json_next(&reader)) != TRIB_JSON_END && event != TRIB_JSON_WRONG) {
        const char *key = reader.key.data ? (const char *)reader.key.data : "";
        const char *text = reader.text.data ? (const char *)reader.text.data : "";
        for (size_t i = 0; i < NAMES && event == TRIB_JSON_NUMBER; i++) {
            if (strcmp(key, names[i]) == 0)
                (void)trib_json_whole(&reader, &end->numbers[i]);
        }
        if (event == TRIB_JSON_NUMBER && strcmp(key, "steps") == 0)
            (void)snprintf(end->step, sizeof(end->step), "%s", text);
        if (event == TRIB_JSON_TEXT && strcmp(key, "invariant") == 0)
            (void)snprintf(end->invariant, sizeof(end->invariant), "%s", text);
        if (event == TRIB_JSON_TEXT && strcmp(key, "what") == 0)
            (void)snprintf(end->what, sizeof(end->what), "%s", text);
    }
    end->is_said = event == TRIB_JSON_END;
    trib_json_reader_fini(&reader);
}

static void tell_broken(struct chaos *chaos, const struct world *world, const struct end *end,
                        int status)
{
    chaos->broken++;
    if (end->is_said && end->invariant[0])
        (void)fprintf(stderr, "seed %" PRIu64 ", step %s: %s: %s\n", world->seed, end->step,
                      end->invariant, end->what);
    else if (WIFSIGNALED(status))
        (void)fprintf(stderr, "seed %" PRIu64 ": killed by signal %d\n%s\n", world->seed,
                      WTERMSIG(status), world->out.data ? (const char *)world->out.data : "");
    else
        (void)fprintf(stderr, "seed %" PRIu64 ": ended with %d\n%s\n", world->seed,
                      WEXITSTATUS(status), world->out.data ? (const char *)world->out.data : "");
    (void)fprintf(stderr, "    again: tributary-sim chaos --seed %" PRIu64 " --rounds %" PRIu64,
                  world->seed, chaos->rounds);
    if (chaos->mode)
        (void)fprintf(stderr, " --mode %s", chaos->mode);
    (void)fprintf(stderr, " --log\n");
}

static void finish(struct chaos *chaos, struct world *world)
{
    int status = 0;
    struct end end;
    (void)close(world->fd);
    (void)waitpid(world->pid, &status, 0);
    const char *line = last_line(&world->out);
    read_end(line, &end);
    for (size_t i = 0; i < NAMES; i++)
        chaos->sums[i] += end.numbers[i];
    chaos->done++;
    if (chaos->as_json && end.is_said)
        (void)printf("%s\n", line);
    if (status != 0 || !end.is_said)
        tell_broken(chaos, world, &end, status);
    trib_buf_fini(&world->out);
    world->pid = 0;
}

// ---- Many

// Something came from one of them, or it ended.
static void hear(struct chaos *chaos, struct world *world)
{
    uint8_t bytes[READ_STEP];
    const ssize_t size = read(world->fd, bytes, sizeof(bytes));
    if (size > 0)
        trib_buf_append(&world->out, bytes, (size_t)size);
    else if (size == 0 || errno != EINTR)
        finish(chaos, world);
}

static enum trib_err make_folder(struct chaos *chaos)
{
    const char *temporary = getenv("TMPDIR");
    if (!temporary)
        temporary = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(chaos->folder, sizeof(chaos->folder), "%s/tributary-chaos-XXXXXX", temporary);
    if (mkdtemp(chaos->folder))
        return TRIB_OK;
    TRIB_ERROR("%s: %s", chaos->folder, strerror(errno));
    chaos->folder[0] = '\0';
    return TRIB_ERR_IO;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

// Up to the first broken promise: whoever reads of one has something to do.
static bool goes_on(const struct chaos *chaos)
{
    return chaos->begun < chaos->seeds && chaos->broken == 0;
}

static enum trib_err run_all(struct chaos *chaos, unsigned at_once)
{
    while (chaos->done < chaos->begun || goes_on(chaos)) {
        struct pollfd items[AT_ONCE_MAX];
        for (unsigned i = 0; i < at_once; i++) {
            struct world *world = &chaos->worlds[i];
            enum trib_err err = world->pid == 0 && goes_on(chaos) ? start(chaos, world) : TRIB_OK;
            if (err)
                return err;
            items[i] = (struct pollfd){.fd = world->pid ? world->fd : -1, .events = POLLIN};
        }
        if (poll(items, at_once, -1) < 0)
            continue;
        for (unsigned i = 0; i < at_once; i++) {
            if (items[i].revents)
                hear(chaos, &chaos->worlds[i]);
        }
    }
    return TRIB_OK;
}

static void show(const struct chaos *chaos, double seconds)
{
    (void)printf("worlds=%" PRIu64 " rounds=%" PRIu64 " seeds=%" PRIu64 "..%" PRIu64, chaos->done,
                 chaos->done * chaos->rounds, chaos->seed, chaos->seed + chaos->seeds - 1);
    for (size_t i = 0; i < NAMES; i++)
        (void)printf(" %s=%" PRIu64, names[i], chaos->sums[i]);
    (void)printf(" seconds=%.0f\n", seconds);
    if (chaos->broken)
        (void)printf("a promise was broken in %" PRIu64 " worlds\n", chaos->broken);
    else
        (void)printf("every promise was kept\n");
}

int trib_chaos_run(const struct trib_command *command, int argc, char **argv)
{
    struct chaos chaos = {.seed = 1, .seeds = 1, .rounds = ROUNDS};
    bool is_shown = false;
    const struct trib_option options[] = {
        {"seed", TRIB_OPTION_INT, &chaos.seed, "N", "of the world, or the first of many (1)"},
        {"seeds", TRIB_OPTION_INT, &chaos.seeds, "COUNT", "worlds, of this seed and on (1)"},
        {"rounds", TRIB_OPTION_INT, &chaos.rounds, "R", "of the job of each (4)"},
        {"mode", TRIB_OPTION_TEXT, &chaos.mode, "MODE", "of privacy (drawn)"},
        {"log", TRIB_OPTION_FLAG, &is_shown, NULL, "of one world: print what happens, by step"},
        {"json", TRIB_OPTION_FLAG, &chaos.as_json, NULL, "one JSON object a world"},
    };
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 6};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    enum trib_privacy_mode mode;
    const char *wrong = NULL;
    if (chaos.rounds == 0 || chaos.rounds > ROUNDS_MAX)
        wrong = "--rounds wants 1 to 1000";
    else if (chaos.seeds == 0 || chaos.seeds > SEEDS_MAX)
        wrong = "--seeds wants 1 to 1000000";
    else if (chaos.mode && !trib_privacy_mode_parse(chaos.mode, &mode))
        wrong = "--mode wants off, local, central or distributed";
    else if (is_shown && (chaos.seeds > 1 || chaos.as_json))
        wrong = "--log is of one world, and no JSON";
    if (wrong) {
        (void)fprintf(stderr, "chaos: %s\n", wrong);
        return TRIB_EXIT_USAGE;
    }
    enum trib_err err = trib_child_find("simulations/chaos", "tributary-chaos", chaos.program);
    if (err)
        return (int)trib_exit_of(err);
    if (is_shown)
        become(&chaos, chaos.seed, -1);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const uint64_t begun_us = trib_clock_mono_us();
    err = make_folder(&chaos);
    if (!err)
        err = run_all(&chaos, cores > AT_ONCE_MAX ? AT_ONCE_MAX : cores > 0 ? (unsigned)cores : 1);
    if (chaos.folder[0])
        (void)nftw(chaos.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (err)
        return (int)trib_exit_of(err);
    if (!chaos.as_json)
        show(&chaos, (double)(trib_clock_mono_us() - begun_us) / 1e6);
    return chaos.broken ? TRIB_EXIT_INTERNAL : TRIB_EXIT_OK;
}
