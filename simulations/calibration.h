// calibration.h - the most floating-point work this core can do now: what a kernel is measured by.
//
// The clock of a core that others use too changes by the second. A rate divided by that of this
// loop, run just before and after, does not.
#ifndef TRIB_SIMULATIONS_CALIBRATION_H
#define TRIB_SIMULATIONS_CALIBRATION_H

// 10^9 multiplications and additions a second of independent sums in registers, with the
// instructions of the set of kernels of this name (common/math/kernels.h); by CPU time, about a
// millisecond of it.
double trib_calibrate(const char *kernel);

#endif // TRIB_SIMULATIONS_CALIBRATION_H
