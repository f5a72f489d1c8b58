// scenes.h - what else is interrupted beside the rounds of a job.
//
//     operator    devices token, a device that enrols by it, jobs submit, backup: what was told is in
//                 the store, and in the backup, which is restored
//     rows        rows that are pushed, through the socket of a client that learns from them or past
//                 it: those that were taken are there, whole
#ifndef TRIB_TESTS_FAULT_SCENES_H
#define TRIB_TESTS_FAULT_SCENES_H

#include "tests/fault/rig.h"

// NULL: there is none of this name.
const struct rig_scene *rig_scene_find(const char *name);

#endif // TRIB_TESTS_FAULT_SCENES_H
