#include "simulations/chaos/machine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "simulations/chaos/fiber.h"

enum {
    THREADS_MAX = 256,
    STEP_US_MAX = 20, // that a step takes
    PAUSE_ONE_IN = 8,
};

// A fiber with what it waits for.
struct trib_thread {
    struct trib_fiber *fiber;
    struct trib_process *process;
    void *(*main)(void *user);
    void (*run)(void *user); // instead: of an event
    void *user;
    bool is_main;   // its end is that of the process
    bool is_joined; // somebody will wait for its end, and free it
    bool is_waiting, was_woken;
    const void *key;
    uint64_t until_us;
    int locks;
};

struct event {
    struct event *next;
    uint64_t at_us;
    struct trib_process *process;
    unsigned life;
    void (*run)(void *user);
    void *user;
};

static struct machine {
    uint64_t seed, now_us, steps;
    struct trib_rng streams[TRIB_STREAMS];
    struct trib_process processes[TRIB_MACHINE_PROCESSES];
    unsigned process_count;
    struct trib_thread *threads[THREADS_MAX];
    unsigned thread_count;
    struct trib_thread *running;
    struct event *events; // the next one first; of the same time in the order they were made
    void (*ended)(struct trib_process *process);
} machine;

void trib_machine_init(uint64_t seed)
{
    static const char *const names[TRIB_STREAMS] = {
        [TRIB_STREAM_SCHEDULE] = "schedule", [TRIB_STREAM_DISK] = "disk",
        [TRIB_STREAM_NETWORK] = "network",   [TRIB_STREAM_FAULTS] = "faults",
        [TRIB_STREAM_WORK] = "work",         [TRIB_STREAM_LIES] = "lies",
    };
    machine = (struct machine){.seed = seed};
    for (int i = 0; i < TRIB_STREAMS; i++)
        trib_rng_init(&machine.streams[i], seed, "chaos", 0, names[i]);
}

struct trib_rng *trib_machine_rng(enum trib_stream stream)
{
    return &machine.streams[stream];
}

uint64_t trib_machine_draw(enum trib_stream stream, uint64_t least, uint64_t most)
{
    return least + trib_rng_below(&machine.streams[stream], most - least + 1);
}

bool trib_machine_chance(enum trib_stream stream, uint64_t of)
{
    return trib_rng_below(&machine.streams[stream], of) == 0;
}

uint64_t trib_machine_now_us(void)
{
    return machine.now_us;
}

uint64_t trib_machine_steps(void)
{
    return machine.steps;
}

// ---- Threads

static struct trib_thread *thread_add(struct trib_process *process)
{
    struct trib_thread *thread = trib_alloc(sizeof(*thread));
    if (!thread || machine.thread_count == THREADS_MAX)
        abort(); // a world is small
    thread->process = process;
    machine.threads[machine.thread_count++] = thread;
    return thread;
}

static void thread_main(void *user)
{
    struct trib_thread *thread = user;
    if (thread->is_main)
        thread->process->main(thread->process);
    else if (thread->run)
        thread->run(thread->user);
    else
        (void)thread->main(thread->user);
}

static void thread_begin(struct trib_thread *thread)
{
    thread->fiber = trib_fiber_create(thread_main, thread);
    if (!thread->fiber)
        abort();
}

static void thread_drop(unsigned index)
{
    struct trib_thread *thread = machine.threads[index];
    trib_fiber_destroy(thread->fiber);
    thread->fiber = NULL;
    // The others keep their order: who runs next is drawn by it.
    machine.thread_count--;
    for (unsigned i = index; i < machine.thread_count; i++)
        machine.threads[i] = machine.threads[i + 1];
}

struct trib_thread *trib_machine_thread(void *(*main)(void *user), void *user)
{
    struct trib_thread *thread = thread_add(machine.running->process);
    thread->main = main;
    thread->user = user;
    thread->is_joined = true;
    thread_begin(thread);
    return thread;
}

void trib_machine_join(struct trib_thread *thread)
{
    while (thread->fiber)
        (void)trib_machine_wait(thread, UINT64_MAX);
    free(thread);
}

void trib_machine_keeps(int locks)
{
    if (machine.running)
        machine.running->locks += locks;
}

bool trib_machine_wait(const void *key, uint64_t until_us)
{
    struct trib_thread *thread = machine.running;
    assert(thread); // the scheduler itself waits for nobody
    thread->is_waiting = true;
    thread->was_woken = false;
    thread->key = key;
    thread->until_us = until_us;
    trib_fiber_yield();
    return thread->was_woken;
}

void trib_machine_pause(void)
{
    struct trib_thread *thread = machine.running;
    if (thread && thread->locks == 0 && trib_machine_chance(TRIB_STREAM_SCHEDULE, PAUSE_ONE_IN))
        trib_fiber_yield();
}

void trib_machine_wake(const void *key, bool all)
{
    for (unsigned i = 0; i < machine.thread_count; i++) {
        struct trib_thread *thread = machine.threads[i];
        if (!thread->is_waiting || thread->key != key)
            continue;
        thread->is_waiting = false;
        thread->was_woken = true;
        if (!all)
            return;
    }
}

bool trib_machine_is_waiting(const void *key)
{
    for (unsigned i = 0; i < machine.thread_count; i++) {
        if (machine.threads[i]->is_waiting && machine.threads[i]->key == key)
            return true;
    }
    return false;
}

// ---- Processes

struct trib_process *trib_machine_add(const char *name, void (*main)(struct trib_process *process))
{
    assert(machine.process_count < TRIB_MACHINE_PROCESSES);
    struct trib_process *process = &machine.processes[machine.process_count++];
    (void)snprintf(process->name, sizeof(process->name), "%s", name);
    process->main = main;
    return process;
}

struct trib_process *trib_machine_process(unsigned index)
{
    return index < machine.process_count ? &machine.processes[index] : NULL;
}

struct trib_process *trib_machine_current(void)
{
    return machine.running ? machine.running->process : NULL;
}

void trib_machine_on_end(void (*ended)(struct trib_process *process))
{
    machine.ended = ended;
}

void trib_machine_start(struct trib_process *process)
{
    assert(!process->is_alive);
    process->is_alive = true;
    process->life++;
    process->paused_until_us = 0;
    process->syncs_to_live = 0;
    process->is_doomed = false;
    trib_rng_init(&process->entropy, machine.seed, "chaos entropy", process->life, process->name);
    struct trib_thread *thread = thread_add(process);
    thread->is_main = true;
    thread_begin(thread);
}

void trib_machine_kill(struct trib_process *process)
{
    assert(!machine.running && process->is_alive);
    for (unsigned i = machine.thread_count; i-- > 0;) {
        struct trib_thread *thread = machine.threads[i];
        if (thread->process == process) {
            thread_drop(i);
            free(thread);
        }
    }
    process->is_alive = false;
    if (machine.ended)
        machine.ended(process);
}

// ---- Events

void trib_machine_after(struct trib_process *process, uint64_t us, void (*run)(void *user),
                        void *user)
{
    struct event *event = trib_alloc(sizeof(*event));
    struct event **at = &machine.events;
    if (!event)
        abort();
    *event = (struct event){.at_us = machine.now_us + us,
                            .process = process,
                            .life = process->life,
                            .run = run,
                            .user = user};
    while (*at && (*at)->at_us <= event->at_us)
        at = &(*at)->next;
    event->next = *at;
    *at = event;
}

static void fire_events(void)
{
    struct event *event;
    while ((event = machine.events) && event->at_us <= machine.now_us) {
        machine.events = event->next;
        if (event->process->is_alive && event->process->life == event->life) {
            struct trib_thread *thread = thread_add(event->process);
            thread->run = event->run;
            thread->user = event->user;
            thread_begin(thread);
        }
        free(event);
    }
}

// ---- Steps

static bool can_run(struct trib_thread *thread)
{
    if (thread->is_waiting && thread->until_us <= machine.now_us)
        thread->is_waiting = false; // it is time, whoever wakes it
    return !thread->is_waiting && thread->process->paused_until_us <= machine.now_us;
}

static uint64_t next_time(void)
{
    uint64_t next = machine.events ? machine.events->at_us : UINT64_MAX;
    for (unsigned i = 0; i < machine.thread_count; i++) {
        const struct trib_thread *thread = machine.threads[i];
        const uint64_t paused = thread->process->paused_until_us;
        uint64_t at = thread->is_waiting ? thread->until_us : 0;
        at = at < paused ? paused : at;
        next = at < next ? at : next;
    }
    return next;
}

// One of those that can run; NULL: nobody can.
static struct trib_thread *draw_thread(void)
{
    struct trib_thread *ready[THREADS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < machine.thread_count; i++) {
        if (can_run(machine.threads[i]))
            ready[count++] = machine.threads[i];
    }
    return count ? ready[trib_machine_draw(TRIB_STREAM_SCHEDULE, 0, count - 1)] : NULL;
}

static void end_thread(struct trib_thread *thread)
{
    unsigned index = 0;
    while (machine.threads[index] != thread)
        index++;
    struct trib_process *process = thread->process;
    const bool was_main = thread->is_main;
    thread_drop(index);
    if (thread->is_joined)
        trib_machine_wake(thread, true);
    else
        free(thread);
    if (was_main)
        trib_machine_kill(process);
}

bool trib_machine_step(void)
{
    machine.steps++;
    machine.now_us += trib_machine_draw(TRIB_STREAM_SCHEDULE, 0, STEP_US_MAX);
    fire_events();
    struct trib_thread *thread;
    while (!(thread = draw_thread())) {
        const uint64_t next = next_time();
        if (next == UINT64_MAX)
            return false;
        machine.now_us = next > machine.now_us ? next : machine.now_us;
        fire_events();
    }
    machine.running = thread;
    trib_fiber_switch(thread->fiber);
    machine.running = NULL;
    if (trib_fiber_is_over(thread->fiber))
        end_thread(thread);
    return true;
}
