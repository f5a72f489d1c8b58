// personal.h - what each simulated device has for itself: the local part of the model, and held-out
// rows of its own (data.test_on = devices), on which the model with its local part is measured.
//
// A model with a local part cannot be measured by a coordinator, which has no such part.
#ifndef TRIB_SIMULATIONS_PERSONAL_H
#define TRIB_SIMULATIONS_PERSONAL_H

#include "common/math/metrics.h"
#include "simulations/scenario.h"
#include "tributary/err.h"

struct trib_personal;

// Local parts as devices begin with them. `scenario` is borrowed and must outlive it; features of
// its held-out rows are divided by `scale`, 1: they are already.
TRIB_CHECKED enum trib_err trib_personal_create(const struct trib_scenario *scenario, double scale,
                                                struct trib_personal **ret_personal);
void trib_personal_destroy(struct trib_personal *personal); // NULL is fine

// A device's local part (local_count); NULL when the model has none. Devices may be used from
// several threads, each from one.
float *trib_personal_local(struct trib_personal *personal, size_t device);

// Measure the common part `params` with every device's local part on its held-out rows, all rows
// together. TRIB_ERR_DATA: the outputs are not finite.
TRIB_CHECKED enum trib_err trib_personal_measure(struct trib_personal *personal,
                                                 const float *params,
                                                 struct trib_evaluation *ret_evaluation);

// DIR/devices.csv: device, rows, held-out rows, and their mean loss when last measured.
TRIB_CHECKED enum trib_err trib_personal_write(const struct trib_personal *personal,
                                               const char *dir);

#endif // TRIB_SIMULATIONS_PERSONAL_H
