#include "simulations/chaos/faults.h"

#include <stddef.h>

#include "simulations/chaos/chaos.h"
#include "simulations/chaos/network.h"

enum {
    FAULTS_MIN = 10, // in a world
    FAULTS_MAX = 60,
    STEPS_MIN = 20, // between two, on average
    STEPS_MAX = 400,
    RESTART_US = 4000000, // at most: a kill until the next start
    WHILE_US = 10000000,  // a trouble that lasts
    SYNCS_MAX = 40,       // of some rounds
};

static uint64_t a_while(void)
{
    return trib_machine_now_us() + trib_machine_draw(TRIB_STREAM_FAULTS, 1, WHILE_US);
}

static void kill_one(struct trib_process *process)
{
    if (!process->is_alive)
        return;
    trib_chaos.kills++;
    trib_machine_kill(process);
}

static void kill_at_sync(struct trib_process *process)
{
    process->syncs_to_live = trib_machine_draw(TRIB_STREAM_FAULTS, 1, SYNCS_MAX);
}

static void pause_one(struct trib_process *process)
{
    process->paused_until_us = a_while();
}

static void cut_off(struct trib_process *process)
{
    process->cut_off_until_us = a_while();
}

static void make_lossy(struct trib_process *process)
{
    process->lossy_until_us = a_while();
}

static void garble(struct trib_process *process)
{
    process->garbled_until_us = a_while();
}

static void slow_disk(struct trib_process *process)
{
    process->disk_slow_until_us = a_while();
}

static void pause_job(struct trib_process *process)
{
    (void)process;
    trib_chaos.wants_pause = true;
}

// A world draws how much it suffers from each: many suffer from few things, and more of them.
static struct rule {
    const char *name;
    void (*strike)(struct trib_process *process);
    uint64_t weight;
} rules[] = {
    {"kill", kill_one, 0},     {"kill at a sync", kill_at_sync, 0}, {"pause", pause_one, 0},
    {"partition", cut_off, 0}, {"break", trib_network_break, 0},    {"loss", make_lossy, 0},
    {"garble", garble, 0},     {"slow disk", slow_disk, 0},         {"pause job", pause_job, 0},
};

enum {
    RULES = sizeof(rules) / sizeof(rules[0]),
    WEIGHT_MAX = 4,
};

static uint64_t faults, one_in, weights;
static uint64_t starts_us[TRIB_MACHINE_PROCESSES]; // when the dead start again

void trib_faults_init(void)
{
    faults = trib_machine_draw(TRIB_STREAM_FAULTS, FAULTS_MIN, FAULTS_MAX);
    one_in = trib_machine_draw(TRIB_STREAM_FAULTS, STEPS_MIN, STEPS_MAX);
    for (int i = 0; i < RULES; i++) {
        rules[i].weight = trib_machine_chance(TRIB_STREAM_FAULTS, 2)
                              ? 0
                              : trib_machine_draw(TRIB_STREAM_FAULTS, 1, WEIGHT_MAX);
        weights += rules[i].weight;
        if (rules[i].weight > 0)
            trib_chaos_say("suffers from %s", rules[i].name);
    }
    trib_chaos.is_quiet = weights == 0;
}

// The coordinator is half of every conversation, so half of what happens happens to it.
static struct trib_process *draw_victim(void)
{
    if (trib_machine_chance(TRIB_STREAM_FAULTS, 2))
        return trib_chaos.coordinator;
    return trib_chaos.members[trib_machine_draw(TRIB_STREAM_FAULTS, 0, TRIB_CHAOS_MEMBERS - 1)];
}

static void strike(void)
{
    struct trib_process *victim = draw_victim();
    uint64_t at = trib_machine_draw(TRIB_STREAM_FAULTS, 1, weights);
    int i = 0;
    while (at > rules[i].weight)
        at -= rules[i++].weight;
    trib_chaos.faults++;
    trib_chaos_say("FAULT %s: %s", victim->name, rules[i].name);
    rules[i].strike(victim);
}

static void heal(void)
{
    struct trib_process *process;
    trib_chaos_say("quiet");
    for (unsigned i = 0; (process = trib_machine_process(i)); i++) {
        process->paused_until_us = process->cut_off_until_us = process->lossy_until_us = 0;
        process->garbled_until_us = process->disk_slow_until_us = 0;
        process->syncs_to_live = 0;
    }
    trib_chaos.is_quiet = true;
}

// The doomed die, the dead start again.
static void bury_and_revive(void)
{
    struct trib_process *process;
    const uint64_t now_us = trib_machine_now_us();
    for (unsigned i = 0; (process = trib_machine_process(i)); i++) {
        if (process->is_alive && process->is_doomed) {
            trib_chaos_say("%s dies of its sync", process->name);
            kill_one(process);
        }
        if (process->is_alive)
            continue;
        if (starts_us[i] == 0)
            starts_us[i] = now_us + trib_machine_draw(TRIB_STREAM_FAULTS, 1, RESTART_US);
        if (starts_us[i] > now_us)
            continue;
        starts_us[i] = 0;
        trib_machine_start(process);
        trib_chaos_say("%s starts", process->name);
    }
}

void trib_faults_step(void)
{
    bury_and_revive();
    if (trib_chaos.is_quiet || weights == 0)
        return;
    if (trib_chaos.faults == faults)
        heal();
    else if (trib_machine_chance(TRIB_STREAM_FAULTS, one_in))
        strike();
}
