// export.h - tributary-sim export: a model file as a file of other programs.
#ifndef TRIB_SIMULATIONS_EXPORT_H
#define TRIB_SIMULATIONS_EXPORT_H

#include "common/base/args.h"

int trib_export(const struct trib_command *command, int argc, char **argv);

#endif // TRIB_SIMULATIONS_EXPORT_H
