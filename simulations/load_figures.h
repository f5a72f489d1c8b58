// load_figures.h - what tributary-sim load measured, what was promised, and how both are shown.
#ifndef TRIB_SIMULATIONS_LOAD_FIGURES_H
#define TRIB_SIMULATIONS_LOAD_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRIB_LOAD_STORM_SECONDS 10.0
#define TRIB_LOAD_IDLE_PERCENT  1.0 // of all cores together

enum {
    TRIB_LOAD_ROUNDS_MAX = 3,
    TRIB_LOAD_RSS_PER_DEVICE = 16 * 1024,
};

struct trib_load_round {
    const char *name;
    uint64_t goal, asked, accepted, expired;
    uint64_t dropped, straggled, closed; // by the devices' own count
    char state[16], reason[24];          // as `rounds ls` says
    double seconds;
    double accepts_per_second; // between the first receipt and the last
    bool is_as_configured;
};

struct trib_load_figures {
    uint64_t devices;
    double storm_seconds;     // from the first attempt until all are connected
    double storm_cpu_seconds; // of the coordinator meanwhile
    uint64_t dials, failures;
    uint64_t rss_alone, rss_connected, rss_peak; // bytes of the coordinator
    double idle_seconds, idle_percent;           // of one core
    unsigned cores;                              // that the machine has
    size_t round_count;
    struct trib_load_round rounds[TRIB_LOAD_ROUNDS_MAX];
};

double trib_load_rss_per_device(const struct trib_load_figures *figures);
// Print them; false: a promised one is missed, which is said.
bool trib_load_show(const struct trib_load_figures *figures, bool as_json);

#endif // TRIB_SIMULATIONS_LOAD_FIGURES_H
