// make.h - the commands that write made-up data for recommenders, the same bytes for the same seed.
//
//     bilinear   user,u1..uU,i1..iI,rating     rating = u^T W i + noise for a W that is drawn once
//     ratings    user,item,rating              1 to 5, from biases, factors and noise; a few items
//                                              have most of the ratings
#ifndef TRIB_SIMULATIONS_MAKE_H
#define TRIB_SIMULATIONS_MAKE_H

#include "common/base/args.h"

int trib_make_bilinear(const struct trib_command *command, int argc, char **argv);
int trib_make_ratings(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_MAKE_H
