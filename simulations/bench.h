// bench.h - the simulator's measurements: commands of their own, never tests.
#ifndef TRIB_SIMULATIONS_BENCH_H
#define TRIB_SIMULATIONS_BENCH_H

#include "common/base/args.h"

// bench coordinator: a real coordinator and N real client processes, encrypted and durable, that
// do not train.
int trib_bench_coordinator(const struct trib_command *command, int argc, char **argv);
// bench client DIR: one of those clients; started by bench coordinator.
int trib_bench_client(const struct trib_command *command, int argc, char **argv);
// bench train: the training loop on one thread, beside a calibration loop of the same second.
int trib_bench_train(const struct trib_command *command, int argc, char **argv);
// bench start: from the start of a client process to its open session; handshakes.
int trib_bench_start(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_BENCH_H
