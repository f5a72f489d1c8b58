// oracle.h - what must be true of a world, looked at after every step.
//
//     invariant   what it says
//     told        whoever is told ACCEPTED or DUPLICATE has a durable row; nobody who has one is
//                 refused
//     final       whoever is told that it does not count has a lease that is over, durably
//     lost        a durable row stays, and says the same
//     twice       a device has at most one row in a round
//     kept        what is accepted is what the device has in its spool, byte for byte, until it is told
//     liar        no lie has a row, and each is refused with the code that it deserves
//     head        versions only grow, keep their digest, and can be verified when they are durable
//     sum         a version is its parent and the sum of the rows of its round, bit for bit (central:
//                 the noised sum on the disk, which is that of the rows but for its noise; masked:
//                 only its members can tell)
//     noise       a noised sum that was on the disk is never drawn again
//     budget      before the first byte of an update leaves, its charge is in the device's ledger
//     books       connections accepted = closed + open; UPLOAD_BEGINs = receipts + cut + in flight
//     enrol       a token that is good is never refused, however often it is shown by its device
//     restart     whoever was killed starts again, and nobody ends by himself
//     quiet       without faults the job ends, and everybody has its version
//     store       the database is whole in the end
#ifndef TRIB_CHAOS_ORACLE_H
#define TRIB_CHAOS_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire/message.h"
#include "simulations/chaos/machine.h"

void trib_oracle_init(void);
void trib_oracle_started(void);    // a coordinator has come up
void trib_oracle_look(void);       // after a step
void trib_oracle_noise(void);      // of mode central, also when somebody was killed
void trib_oracle_finish(void);     // when all is over
bool trib_oracle_is_settled(void); // has everybody the newest version?

// A line of a device's log, which may say that it has a receipt.
void trib_oracle_told(const struct trib_process *process, const char *line);
// A member has a receipt of an update of this round.
void trib_oracle_final(int member, uint64_t round, enum trib_code code);
// A liar is about to send this; what it is good for when it does not lie.
void trib_oracle_offer(const struct trib_process *process,
                       const struct trib_msg_upload_begin *begin, const uint8_t *packed,
                       bool is_lie);
// An update of somebody else that was accepted, to be sent again by a liar; false: there is none.
bool trib_oracle_foreign(const struct trib_process *process,
                         uint8_t ret_id[static TRIB_MSG_ID_SIZE]);

#endif // TRIB_CHAOS_ORACLE_H
