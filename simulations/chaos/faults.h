// faults.h - what goes wrong in a world, and when.
#ifndef TRIB_CHAOS_FAULTS_H
#define TRIB_CHAOS_FAULTS_H

void trib_faults_init(void); // draws what this world suffers from
void trib_faults_step(void); // after a step: perhaps something happens; the dead start again

#endif // TRIB_CHAOS_FAULTS_H
