// bench_fleet.h - a real coordinator and real client processes for measurements: state in folders
// of their own, removed in the end.
#ifndef TRIB_SIMULATIONS_BENCH_FLEET_H
#define TRIB_SIMULATIONS_BENCH_FLEET_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire/admin.h"
#include "simulations/children.h"
#include "tributary/err.h"

struct trib_bench_fleet {
    char disk[TRIB_PATH_MAX + 1];   // the coordinator's state, on disk
    char memory[TRIB_PATH_MAX + 1]; // the clients', on tmpfs when there is one
    char coordinator[TRIB_PATH_MAX + 1];
    struct trib_child *children; // [0] the coordinator, then the clients
    size_t child_count;
    size_t client_max;
};

// The folders, with nothing in them; fleet->coordinator is not there yet. `client_max` clients may
// be added. After any of these: trib_bench_fleet_destroy.
TRIB_CHECKED enum trib_err trib_bench_fleet_init(struct trib_bench_fleet *fleet, size_t client_max);
// Start the coordinator of fleet->coordinator and wait until it answers; the first of the children.
TRIB_CHECKED enum trib_err trib_bench_fleet_coordinate(struct trib_bench_fleet *fleet);
// Both, with a new coordinator; nothing else runs yet.
TRIB_CHECKED enum trib_err trib_bench_fleet_create(struct trib_bench_fleet *fleet,
                                                   size_t client_max);
// Enrol one more device with `config` as its client.ini. Its directory is written to ret_dir.
TRIB_CHECKED enum trib_err trib_bench_fleet_enrol(struct trib_bench_fleet *fleet, size_t index,
                                                  const char *config,
                                                  char ret_dir[static TRIB_PATH_MAX + 1]);
// Start it: argv as for trib_child_start.
TRIB_CHECKED enum trib_err trib_bench_fleet_start(struct trib_bench_fleet *fleet,
                                                  const char *const *argv);
// Ask the coordinator something. A refusal is TRIB_ERR_INVAL, said on the log; else the reply is the
// caller's to free.
TRIB_CHECKED enum trib_err trib_bench_fleet_call(const struct trib_bench_fleet *fleet,
                                                 const struct trib_admin_request *request,
                                                 struct trib_admin_reply *reply);
// A number of `status`.
TRIB_CHECKED enum trib_err trib_bench_fleet_status(const struct trib_bench_fleet *fleet,
                                                   const char *name, uint64_t *ret_value);
// Wait until it is at least `wanted`, at most a minute; looks every `poll_ms`.
TRIB_CHECKED enum trib_err trib_bench_fleet_wait(struct trib_bench_fleet *fleet, const char *name,
                                                 uint64_t wanted, unsigned poll_ms);
// Submit a job and wait until it is over.
TRIB_CHECKED enum trib_err trib_bench_fleet_run_job(struct trib_bench_fleet *fleet,
                                                    const char *text, unsigned poll_ms);
// VmHWM of a child, bytes; 0 if it is not there.
uint64_t trib_bench_peak_rss(const struct trib_child *child);
// VmRSS: what it has now.
uint64_t trib_bench_rss(const struct trib_child *child);
// CPU time of a child since it started, of all its threads; 0 if it is not there.
uint64_t trib_bench_cpu_us(const struct trib_child *child);
void trib_bench_fleet_destroy(struct trib_bench_fleet *fleet);

#endif // TRIB_SIMULATIONS_BENCH_FLEET_H
