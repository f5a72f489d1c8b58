// fault_clock - a job runs while the wall clock is set forth and back, by hours and years.
//
// Deadlines, leases and pauses go by the clock that never steps: the job takes no longer, no round
// is abandoned, nothing is charged twice, and the model is the same.
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/args.h"
#include "common/base/clock.h"
#include "tests/fault/rig.h"

enum {
    STEP_EVERY_MS = 7,
    LONGEST_MS = 10000, // of a job that takes less than one second
};

static const long long hour_ms = 3600000, year_ms = 365 * 24 * hour_ms;

static struct rig rig;
static struct shared {
    atomic_llong step_ms[RIG_SIDES];
} * shared;

static void take_clock(void *user, enum rig_side side)
{
    (void)user;
    fault_clock(&shared->step_ms[side]);
}

static int live(void *user)
{
    struct rig_outcome *expected = user;
    const bool is_good = rig_begin(&rig, "life") && rig_live(&rig);
    return rig_check(&rig, expected, &rig.shared->outcome) && is_good ? 0 : 1;
}

static bool run_life(struct rig_outcome *expected)
{
    int status = 1;
    const pid_t process = rig_fork(live, expected, NULL);
    return process > 0 && waitpid(process, &status, 0) == process && status == 0;
}

// Until it is killed.
static int step_clocks(void *user)
{
    const enum rig_side *whose = user;
    const long long steps[] = {0, hour_ms, -hour_ms, year_ms, 0, -year_ms, 30 * year_ms};
    for (size_t i = 0; i < SIZE_MAX; i++) {
        for (int side = 0; side < RIG_SIDES; side++) {
            if (*whose == RIG_SIDES || *whose == (enum rig_side)side)
                shared->step_ms[side] = steps[i % (sizeof(steps) / sizeof(steps[0]))];
        }
        trib_clock_sleep_ms(STEP_EVERY_MS);
    }
    return 0;
}

static bool run_with_steps(enum rig_side whose, const struct rig_outcome *expected)
{
    struct rig_outcome wanted = *expected;
    int status;
    shared->step_ms[RIG_COORDINATOR] = shared->step_ms[RIG_DEVICE] = 0;
    const pid_t stepper = rig_fork(step_clocks, &whose, NULL);
    const bool is_good = run_life(&wanted);
    const struct rig_outcome *got = &rig.shared->outcome;
    (void)kill(stepper, SIGKILL);
    (void)waitpid(stepper, &status, 0);
    (void)printf("clocks=%d lived_ms=%" PRIu64 " committed=%u abandoned=%u charges=%" PRIu64 "\n",
                 (int)whose, rig.shared->lived_ms, got->committed, got->abandoned, got->charges);
    return is_good && got->abandoned == 0 && got->charges == expected->charges &&
           rig.shared->ends == 0 && rig.shared->lived_ms < LONGEST_MS;
}

int main(int argc, char **argv)
{
    bool is_good = argc <= 2 && rig_make(&rig, argc == 2 ? argv[1] : "local", NULL);
    rig.shared = rig_share(sizeof(*rig.shared));
    shared = rig_share(sizeof(*shared));
    is_good = is_good && rig.shared && shared && run_life(NULL);
    if (is_good) {
        const struct rig_outcome expected = rig.shared->outcome;
        rig.on_start = take_clock;
        for (int whose = 0; whose <= RIG_SIDES; whose++)
            is_good = run_with_steps((enum rig_side)whose, &expected) && is_good;
    }
    rig_remove(&rig);
    return is_good ? TRIB_EXIT_OK : TRIB_EXIT_INTERNAL;
}
