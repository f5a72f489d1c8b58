// make.h - the commands that write made-up data for recommenders, the same bytes for the same seed.
//
//     bilinear   user,u1..uU,i1..iI,rating     rating = u^T W i + noise for a W that is drawn once
//     ratings    user,item,rating              1 to 5, from biases, factors and noise; a few items
//                                              have most of the ratings
//     clicks     device,u1..uU,i1..iI,click    0 or 1, by chances whose log odds are more of what a
//                                              user and an item are together than of either alone;
//                                              says what these chances themselves would reach
#ifndef TRIB_SIMULATIONS_MAKE_H
#define TRIB_SIMULATIONS_MAKE_H

#include "common/base/args.h"

int trib_make_bilinear(const struct trib_command *command, int argc, char **argv);
int trib_make_clicks(const struct trib_command *command, int argc, char **argv);
int trib_make_ratings(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_MAKE_H
