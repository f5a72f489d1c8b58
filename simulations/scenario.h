// scenario.h - an experiment as one INI file: a job, its data, who has which rows, what goes wrong.
//
// The keys are those of a job file ([model] [round] [strategy] [privacy]), of both halves of
// [data], and the simulator's own: the held-out split, [partition], [faults] and what the simulated
// devices allow, [client.policy] (docs/operating.md).
//
//     trib_scenario_load   reads the file, applies the overrides, checks: no data file is touched
//     trib_scenario_open   reads the data, sets held-out rows aside, deals out the rest
#ifndef TRIB_SIMULATIONS_SCENARIO_H
#define TRIB_SIMULATIONS_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/policy.h"
#include "common/base/conf.h"
#include "common/data/dataset.h"
#include "common/data/source.h"
#include "common/privacy/accountant.h"
#include "coordinator/job.h"
#include "simulations/budgets.h"
#include "simulations/faults.h"
#include "simulations/partition.h"
#include "tributary/err.h"

// Who has the held-out rows.
enum trib_test_on {
    TRIB_TEST_ON_COORDINATOR,
    TRIB_TEST_ON_DEVICES, // each those that were dealt to it, like those that it learns from
};

// The values of the simulator's own keys.
struct trib_scenario_config {
    // [data]
    bool stratified;            // of data.test_fraction
    double validation_fraction; // of the rows, held out to choose by
    int test_on;                // enum trib_test_on
    // [partition]
    int kind; // enum trib_partition_kind
    uint64_t clients;
    uint64_t shards_per_client;
    double alpha;
    uint64_t min_rows;
    trib_conf_text column;
    uint64_t partition_seed;
    // [faults]
    struct trib_faults faults;
    // [secagg]
    bool inprocess_masks; // no: leave out the masks, which cancel: the same bytes, sooner
};

// With folds: learn from all rows but those of one fold (or all devices but its), and have its rows
// in the place of the held-out ones, which then nobody looks at.
struct trib_scenario_cut {
    uint64_t folds; // 0: none; at most TRIB_FOLDS_MAX
    uint64_t fold;  // from 0
    bool by_device;
};

// Points into itself: lives where trib_scenario_create put it.
struct trib_scenario {
    struct trib_conf conf; // after TRIB_ERR_INVAL conf.error says what is wrong
    char name[TRIB_NAME_MAX + 1];
    struct trib_scenario_config config;
    struct trib_job_config job_config;
    struct trib_data_config data;
    struct trib_policy policy;
    struct trib_scenario_cut cut; // set before open

    struct trib_job job; // checked; final after open

    // After open:
    struct trib_schema *schema;      // with data.prepare: of `prepare`; owned
    struct trib_prepare *prepare;    // fitted when scaled; owned
    uint64_t passes;                 // that it took, or takes
    struct trib_partition partition; // `rows` are the row numbers of the files
    struct trib_dataset *train;      // the rows of d0000, then those of d0001, ...
    struct trib_dataset *test;       // with test_on = devices in the same order
    struct trib_partition held_out;  // of `test`, with as many devices; without it 0
    struct trib_budgets *budgets;    // of the devices; owned; NULL with mode off
    struct trib_privacy_spent spent; // on the passes of `prepare`
};

TRIB_CHECKED enum trib_err trib_scenario_create(struct trib_scenario **ret_scenario);
void trib_scenario_destroy(struct trib_scenario *scenario);

// `overrides` are texts "section.key=value". TRIB_ERR_INVAL: conf.error names file, line and key.
TRIB_CHECKED enum trib_err trib_scenario_load(struct trib_scenario *scenario, const char *path,
                                              const char *const *overrides, size_t override_count);

// Read and deal out the data. `is_scaled`: divide features by data.scale, or make them by
// data.prepare; otherwise they stay as they are written, which is what files for devices want.
// TRIB_ERR_DATA: the data are not usable, logged; TRIB_ERR_INVAL: conf.error, or logged when that
// is empty; TRIB_ERR_PRIVACY: the devices refuse the job, logged.
TRIB_CHECKED enum trib_err trib_scenario_open(struct trib_scenario *scenario, bool is_scaled);

// What trib_job_check says of [model] [round] [strategy] [privacy] when there are so many devices;
// 0: their number is not known yet.
TRIB_CHECKED enum trib_err trib_scenario_check_job(struct trib_scenario *scenario,
                                                   uint64_t devices);

// A device's rows, borrowed from the scenario.
struct trib_samples trib_scenario_samples(const struct trib_scenario *scenario, size_t device);

// Its held-out rows, with test_on = devices.
struct trib_samples trib_scenario_held_out(const struct trib_scenario *scenario, size_t device);

// Does nothing of this device come in this round (faults.dropout, or late beyond report_ms)?
bool trib_scenario_drops(const struct trib_scenario *scenario, uint64_t round_number,
                         const char *name);
// Does it come after the others (faults.straggle)?
bool trib_scenario_is_late(const struct trib_scenario *scenario, uint64_t round_number,
                           const char *name);
// Does it lie in all rounds (faults.liars), and about what?
bool trib_scenario_lies(const struct trib_scenario *scenario, const char *name,
                        enum trib_lie *ret_lie);

// Every key with its default and help.
TRIB_CHECKED enum trib_err trib_scenario_print_keys(FILE *file);

#endif // TRIB_SIMULATIONS_SCENARIO_H
