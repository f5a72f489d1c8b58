// chaos.h - a world: one coordinator, its operator, honest devices and liars, and what is known of it.
//
//     machine.h   who runs when                 oracle.h   what must be true after every step
//     posix.h     threads, clocks, randomness   faults.h   what goes wrong
//     disk.h      files, and waiting for them   roles.h    what honest processes do
//     network.h   connections                   liar.h     what dishonest ones do
#ifndef TRIB_CHAOS_CHAOS_H
#define TRIB_CHAOS_CHAOS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/privacy/mode.h"
#include "simulations/chaos/machine.h"

enum {
    TRIB_CHAOS_DEVICES = 5,
    TRIB_CHAOS_LIARS = 2,
    TRIB_CHAOS_MEMBERS = TRIB_CHAOS_DEVICES + TRIB_CHAOS_LIARS, // honest ones first
    TRIB_CHAOS_COHORT = 4,
};

#define TRIB_CHAOS_URL "tcp://coordinator:7700"

struct trib_server;

struct trib_chaos {
    uint64_t seed, rounds;
    enum trib_privacy_mode mode;
    bool is_shown; // the log, on stdout
    bool is_quiet; // nothing goes wrong any more
    bool is_over;  // and all is as it should be
    struct trib_process *coordinator, *operator, * members[TRIB_CHAOS_MEMBERS];
    struct trib_server *server;           // while the coordinator is up; or NULL
    char tokens[TRIB_CHAOS_MEMBERS][512]; // that the operator handed out; "": not yet
    bool wants_pause;                     // the operator is to pause the job for a while
    bool is_wide; // its model: an update is more than a segment of the network
    uint64_t faults, kills, accepted, lies, refused;
    uint64_t at_once; // bytes that were taken or sent without waiting to be told
};
extern struct trib_chaos trib_chaos; // there is one

// A line of the log, which is the same for the same seed.
void trib_chaos_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
// A promise was broken: says which, and ends the program.
__attribute__((noreturn, format(printf, 2, 3))) void trib_chaos_fail(const char *invariant,
                                                                     const char *format, ...);
// By the name of its process, or of its device: that and a number. -1: nobody.
int trib_chaos_member(const char *name);

#endif // TRIB_CHAOS_CHAOS_H
