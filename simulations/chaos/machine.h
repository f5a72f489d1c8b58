// machine.h - the computer that a world runs on: a virtual clock, and processes of fibers of which
// one runs at a time.
//
// Who runs next is drawn. A fiber runs until it waits: for a key that somebody wakes, for a time, or
// for nothing, to let others go first. Time passes a little with every step, and at once up to the
// next thing that is due when nobody can run. There is one machine in a program, since what it takes
// the place of - threads, clocks, the disk, the network - is there once, too.
#ifndef TRIB_CHAOS_MACHINE_H
#define TRIB_CHAOS_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/rand.h"

enum {
    TRIB_MACHINE_PROCESSES = 16,
    TRIB_MACHINE_NAME_SIZE = 16,
};

// All draws of a world come from its seed; each purpose has a stream of its own, so that one more
// draw of the one does not shift the others.
enum trib_stream {
    TRIB_STREAM_SCHEDULE, // who runs next
    TRIB_STREAM_DISK,
    TRIB_STREAM_NETWORK,
    TRIB_STREAM_FAULTS, // what goes wrong, and when
    TRIB_STREAM_WORK,   // what devices learn, how long it takes
    TRIB_STREAM_LIES,
    TRIB_STREAMS,
};

struct trib_process {
    char name[TRIB_MACHINE_NAME_SIZE]; // of its folder, too
    void (*main)(struct trib_process *process);
    bool is_alive;
    unsigned life;            // how often it was started
    uint64_t paused_until_us; // none of its fibers runs before
    uint64_t disk_slow_until_us;
    uint64_t cut_off_until_us; // nothing gets through between it and others
    uint64_t lossy_until_us;   // much of it only after having been sent again
    uint64_t garbled_until_us; // bytes are lost, come twice, in another order, or changed
    uint64_t syncs_to_live;    // until it is killed, twice counted; 0: not that way
    bool is_doomed;            // it is, now
    struct trib_rng entropy;   // what it believes to come from the operating system
};

void trib_machine_init(uint64_t seed);
struct trib_rng *trib_machine_rng(enum trib_stream stream);
// Uniform in [least, most].
uint64_t trib_machine_draw(enum trib_stream stream, uint64_t least, uint64_t most);
// One time in `of`.
bool trib_machine_chance(enum trib_stream stream, uint64_t of);

uint64_t trib_machine_now_us(void);
uint64_t trib_machine_steps(void);

struct trib_process *trib_machine_add(const char *name, void (*main)(struct trib_process *process));
struct trib_process *trib_machine_process(unsigned index); // NULL: no more
struct trib_process *trib_machine_current(void);           // whose fiber runs; NULL: none
// What happens to each process that ends: its folder, its connections.
void trib_machine_on_end(void (*ended)(struct trib_process *process));
void trib_machine_start(struct trib_process *process);
// As kill -9 does: its fibers stop where they are, and what it has in memory is nobody's any more.
// Between steps only.
void trib_machine_kill(struct trib_process *process);

// Run `run` on a fiber of `process`, at once or later; not if the process ends before.
void trib_machine_after(struct trib_process *process, uint64_t us, void (*run)(void *user),
                        void *user);

// ---- For the fiber that runs

// Until `key` is woken or `until_us` comes. False: it was the time.
bool trib_machine_wait(const void *key, uint64_t until_us);
void trib_machine_pause(void); // let others go first, perhaps
// A thread of the running process; its address is the key that is woken when it is over.
struct trib_thread;
struct trib_thread *trib_machine_thread(void *(*main)(void *user), void *user);
void trib_machine_join(struct trib_thread *thread);
// It keeps a lock (+1) or lets it go (-1). Nobody is made to wait as long as he keeps one.
void trib_machine_keeps(int locks);

// ---- For all

void trib_machine_wake(const void *key, bool all);
bool trib_machine_is_waiting(const void *key); // does anybody wait for it?

// One fiber runs until it waits. False: nobody will ever run again.
bool trib_machine_step(void);

#endif // TRIB_CHAOS_MACHINE_H
