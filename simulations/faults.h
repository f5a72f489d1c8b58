// faults.h - what goes wrong in a simulation: who falls silent, is late, is killed, or lies. It
// depends on nothing but the scenario's seed, the device's name and the round, so that both modes
// and every run have the same.
#ifndef TRIB_SIMULATIONS_FAULTS_H
#define TRIB_SIMULATIONS_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

// What is not true in the update of a liar, and what it is refused with.
enum trib_lie {
    TRIB_LIE_MIXED,  // one of the others, by the device's name
    TRIB_LIE_NORM,   // words beyond what the encoding allows: NORM
    TRIB_LIE_WEIGHT, // an example count of 0: BAD_WEIGHT; with privacy on: a count, MALFORMED
    TRIB_LIE_SIZE,   // a byte too few: SHAPE_OR_DECODE
    TRIB_LIE_BASE,   // trained from another version: BASE_MISMATCH
    TRIB_LIE_MODEL,  // of another architecture: ARCH_MISMATCH
    TRIB_LIE_COUNT,
};
#define TRIB_LIE_CHOICES "mixed|norm|weight|size|base|model"
const char *trib_lie_text(enum trib_lie lie);

// Values of [faults]; the shares are of a device's rounds, that of liars is of the devices.
struct trib_faults {
    double dropout;
    double straggle;
    uint64_t straggle_ms;
    double kill;
    double liars;
    int lie; // enum trib_lie
};

enum trib_fault {
    TRIB_FAULT_DROPOUT,
    TRIB_FAULT_STRAGGLE,
    TRIB_FAULT_KILL,
};

// Has this device this fault in this round? `seed` is the one of the rounds.
bool trib_faults_hit(const struct trib_faults *faults, enum trib_fault fault, uint64_t seed,
                     uint64_t round_number, const char *name);

// Is it a liar, in all rounds? Then *ret_lie says what it lies about, never MIXED.
bool trib_faults_lies(const struct trib_faults *faults, uint64_t seed, const char *name,
                      enum trib_lie *ret_lie);

#endif // TRIB_SIMULATIONS_FAULTS_H
