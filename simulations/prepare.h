// prepare.h - a scenario's pipeline (data.prepare): fitted over the simulated devices, applied to
// their rows and to the held-out ones.
#ifndef TRIB_SIMULATIONS_PREPARE_H
#define TRIB_SIMULATIONS_PREPARE_H

#include "simulations/scenario.h"
#include "tributary/err.h"

// Load the schema and the pipeline that the scenario names, and check that the pipeline makes what
// the model takes. Without a pipeline nothing happens.
// TRIB_ERR_INVAL: conf.error, or logged when that is empty.
TRIB_CHECKED enum trib_err trib_scenario_load_pipeline(struct trib_scenario *scenario);

// The rows of a device as a data set of its own, borrowed.
struct trib_dataset trib_scenario_device_rows(const struct trib_scenario *scenario, size_t device);

// Every pass as a coordinator has it counted: the devices of its round, added up exactly, or with
// privacy on as its encoding has it and at its price. TRIB_ERR_INVAL: conf.error.
TRIB_CHECKED enum trib_err trib_scenario_fit(struct trib_scenario *scenario);

// Make features of all rows. Devices may lose rows: the partition's sizes are those that are left,
// its row numbers mean nothing any more, and `train` has as positions which of its device's rows,
// from 1, each one was.
TRIB_CHECKED enum trib_err trib_scenario_apply(struct trib_scenario *scenario);

#endif // TRIB_SIMULATIONS_PREPARE_H
