// Devices as processes, and those that are to fail.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "simulations/processes_parts.h"

enum {
    WORDS_MAX = 12,
    NUMBER_SIZE = 24,
};

// What is run for a device, and where it lies.
struct words {
    const char *argv[WORDS_MAX];
    char path[TRIB_PROCESSES_PATH_SIZE];
    char dir[TRIB_PROCESSES_PATH_SIZE];
    char dropout[TRIB_REAL_TEXT_SIZE], straggle[TRIB_REAL_TEXT_SIZE], kill[TRIB_REAL_TEXT_SIZE];
    char straggle_ms[NUMBER_SIZE];
};

static bool is_faulty(const struct trib_faults *faults)
{
    return faults->dropout > 0 || faults->straggle > 0 || faults->kill > 0;
}

// The real program; for what fails the same library with a trainer that does (own_client.h); and for
// a liar a program that can (liar.h).
static enum trib_err find_words(const struct trib_processes *p, const char *name,
                                struct words *words)
{
    const struct trib_faults *faults = &p->scenario->config.faults;
    enum trib_lie lie;
    const bool lies = trib_scenario_lies(p->scenario, name, &lie);
    const bool is_own = lies || is_faulty(faults);
    *words = (struct words){.argv = {words->path, "run", words->dir}};
    trib_real_text(faults->dropout, words->dropout);
    trib_real_text(faults->straggle, words->straggle);
    trib_real_text(faults->kill, words->kill);
    (void)snprintf(words->straggle_ms, sizeof(words->straggle_ms), "%" PRIu64, faults->straggle_ms);
    if (lies) {
        const char *const argv[] = {words->path, "liar", words->dir, "--lie", trib_lie_text(lie)};
        memcpy(words->argv, argv, sizeof(argv));
    } else if (is_own) {
        const char *const argv[] = {words->path,     "device",        words->dir,
                                    "--dropout",     words->dropout,  "--straggle",
                                    words->straggle, "--straggle-ms", words->straggle_ms,
                                    "--kill",        words->kill};
        memcpy(words->argv, argv, sizeof(argv));
    }
    enum trib_err err = trib_path_join(words->dir, p->state_dir, name);
    return err ? err
               : trib_child_find(is_own ? "simulations" : "client",
                                 is_own ? "tributary-sim" : "tributary-client", words->path);
}

enum trib_err trib_processes_start_device(struct trib_processes *p, const char *name)
{
    struct words words;
    enum trib_err err = find_words(p, name, &words);
    return err ? err : trib_processes_start(p, name, words.argv);
}

bool trib_processes_revive(struct trib_processes *p, size_t child)
{
    struct words words;
    if (child == 0 || p->scenario->config.faults.kill == 0 ||
        !trib_child_was_killed(&p->children[child]))
        return false;
    const struct trib_child gone = p->children[child];
    return find_words(p, gone.name, &words) == TRIB_OK &&
           trib_child_start(&p->children[child], gone.name, gone.log, words.argv) == TRIB_OK;
}
