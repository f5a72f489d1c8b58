// round.h - one training round, as a state machine without sockets, clock, disk, heap or
// randomness.
//
// The server feeds it events and carries out what it asks for; the simulator does the same with a
// virtual clock. Every rule about rounds is here and can be tested in microseconds.
//
//                opened           enough have taken        goal counted, or all answered
//     PLANNED ---------> SELECTING ----------> COLLECTING ----------------> SEALED
//        |                 |  |                    |   \                      | sealed durably
//        |  cancel         |  | few_selected       |    few_reported          v
//        +---------------> ABANDONED <-------------+----------------- AGGREGATING
//                              ^        failed                                | committed durably
//                              +--------------------------------------------- COMMITTED
//
//     from        event           to           when
//     PLANNED     OPENED          SELECTING    always; asks for `offers` offers
//     SELECTING   OFFER           -            a device was drawn: its lease is OFFERED
//     SELECTING   EXHAUSTED       COLLECTING   no device is left to draw and no offer is open
//     SELECTING   TAKE            COLLECTING   as many as `offers` have taken
//     SELECTING   RELEASE         -            asks for another offer
//     SELECTING   TICK            COLLECTING   deadline; open offers EXPIRE
//     SELECTING   (leaving)       ABANDONED    few_selected: fewer than accepted_min could report
//     SELECTING,  PEND            -            the update passed its checks and is being made durable
//     COLLECTING  COUNT           SEALED       `goal` are counted
//                 REFUSE, RELEASE SEALED       nobody is left who could report, accepted_min counted
//                                 ABANDONED    few_reported: accepted_min is out of reach
//     COLLECTING  TICK            SEALED       deadline and accepted_min counted; open leases EXPIRE
//                                 ABANDONED    few_reported otherwise
//     SEALED      SEAL_DURABLE    AGGREGATING
//     AGGREGATING COMMIT_DURABLE  COMMITTED
//     any but the last two, CANCEL(reason)     ABANDONED
//
// With secure aggregation (plan.is_masked; docs/privacy-math.md 4) there are two phases before the
// updates and two after the seal. Nobody is asked twice, and accepted_min is the threshold T:
//
//     SELECTING -> KEYS -> SHARES -> COLLECTING -> SEALED -> CONSISTENCY -> UNMASKING -> AGGREGATING
//
//     KEYS        ADVANCE         SHARES       every TAKEN member has sent its keys (a device does
//     SHARES      ADVANCE         COLLECTING   that when it has trained), or its sealed shares
//     either      TICK            the next     deadline: members that are behind EXPIRE
//                 (leaving)       ABANDONED    few_reported: fewer than T are left
//     COLLECTING  PEND            -            only of a member that shared
//     SEALED      SEAL_DURABLE    CONSISTENCY
//     CONSISTENCY ENOUGH          UNMASKING    T members signed the set of survivors
//     UNMASKING   ENOUGH          AGGREGATING  the shares of every secret are enough
//     either      TICK            ABANDONED    few_unmasked: deadline
//
// A lease (device x round):
//     OFFERED -> TAKEN -> PENDING -> COUNTED
//        |         |         +-----> REFUSED       (TAKEN may be skipped: a finished update says it all)
//        +---------+---------------> REFUSED | EXPIRED | RELEASED
//
// PENDING and COUNTED together never exceed `goal`, so nothing durable is ever turned away: a
// further update is answered TRIB_ERR_LIMIT and waits until a pending one failed or the round is
// sealed. COMMITTED and ABANDONED are final. An event that does not belong to the present state is
// answered
// TRIB_ERR_STATE and changes nothing, because a late device is normal and must not disturb the
// round.
//
// Invariants, asserted after every step:
//   (1) the counts of lease states add up to member_count
//   (2) pending + counted <= goal
//   (3) SEALED and later: pending == 0, no lease is OFFERED or TAKEN, counted >= accepted_min
//   (4) a final state never changes
#ifndef TRIB_COORDINATOR_ROUND_H
#define TRIB_COORDINATOR_ROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire/code.h"
#include "tributary/err.h"

// Stored as numbers: never renumber.
enum trib_round_state {
    TRIB_ROUND_PLANNED = 0,
    TRIB_ROUND_SELECTING = 1,
    TRIB_ROUND_COLLECTING = 2,
    TRIB_ROUND_SEALED = 3,
    TRIB_ROUND_AGGREGATING = 4,
    TRIB_ROUND_COMMITTED = 5,
    TRIB_ROUND_ABANDONED = 6,
    TRIB_ROUND_KEYS = 7,
    TRIB_ROUND_SHARES = 8,
    TRIB_ROUND_CONSISTENCY = 9,
    TRIB_ROUND_UNMASKING = 10,
};

enum trib_lease_state {
    TRIB_LEASE_OFFERED = 0,
    TRIB_LEASE_TAKEN = 1,
    TRIB_LEASE_PENDING = 2,
    TRIB_LEASE_COUNTED = 3,
    TRIB_LEASE_REFUSED = 4,
    TRIB_LEASE_EXPIRED = 5,
    TRIB_LEASE_RELEASED = 6,
};
enum {
    TRIB_LEASE_STATES = 7
};

enum trib_round_reason {
    TRIB_ROUND_REASON_NONE,
    TRIB_ROUND_REASON_FEW_SELECTED,
    TRIB_ROUND_REASON_FEW_REPORTED,
    TRIB_ROUND_REASON_CANCELLED,
    TRIB_ROUND_REASON_FAILED,       // aggregation or commit failed
    TRIB_ROUND_REASON_FEW_UNMASKED, // the masks of a sealed round could not be taken out in time
    TRIB_ROUND_REASON_RESTARTED,    // secrets of a masked round that was not sealed are gone
    TRIB_ROUND_REASON_SECAGG,       // a member sent a wrong share: the sum cannot be trusted
    TRIB_ROUND_REASON_NEWTON,       // its sums allow no Newton step
    TRIB_ROUND_REASON_STORAGE,      // the disk does not take enough updates
};
enum {
    TRIB_ROUND_REASONS = TRIB_ROUND_REASON_STORAGE + 1
};

enum trib_round_event {
    TRIB_ROUND_EV_OPENED,    // the round's row is durable
    TRIB_ROUND_EV_OFFER,     // device: drawn, and its lease is durable
    TRIB_ROUND_EV_EXHAUSTED, // no further device can be drawn
    TRIB_ROUND_EV_TAKE,      // member: the device trains
    TRIB_ROUND_EV_RELEASE,   // member, code: it declined, was revoked, or is absent
    TRIB_ROUND_EV_PEND,      // member: its update is whole and valid
    TRIB_ROUND_EV_COUNT,     // member: its update is durable
    TRIB_ROUND_EV_REFUSE,    // member, code: its update was refused for good
    TRIB_ROUND_EV_ADVANCE,   // member: its part of KEYS or SHARES is in
    TRIB_ROUND_EV_ENOUGH,    // CONSISTENCY or UNMASKING has what it needs
    TRIB_ROUND_EV_TICK,      // time passed, nothing else did
    TRIB_ROUND_EV_SEAL_DURABLE,
    TRIB_ROUND_EV_COMMIT_DURABLE,
    TRIB_ROUND_EV_CANCEL, // reason
};

// The name of TRIB_ROUND_REASON_NEWTON, which a restart looks for in the store.
#define TRIB_ROUND_NEWTON_REFUSED "newton_refused"

struct trib_round_plan {
    uint32_t goal;         // devices to count, 1 ..
    uint32_t offers;       // devices to ask, at least goal
    uint32_t accepted_min; // 1 .. goal
    uint64_t select_ms;    // time allowed for SELECTING
    uint64_t report_ms;    // time allowed for COLLECTING; masked: for KEYS, which is training
    bool is_masked;        // secure aggregation: offers = goal, accepted_min = T
    uint64_t phase_ms;     // masked: time allowed for each phase after KEYS
};

struct trib_round_member {
    uint64_t device; // the caller's number for it, unique in the round
    enum trib_lease_state lease;
    enum trib_code code; // why REFUSED or RELEASED
    uint8_t steps;       // masked: phases it has done its part of, 1 KEYS, 2 SHARES
};

struct trib_round {
    struct trib_round_plan plan;
    enum trib_round_state state;
    enum trib_round_reason reason;     // of ABANDONED
    uint64_t deadline_ms;              // end of the present state, on the caller's clock
    struct trib_round_member *members; // borrowed from the caller of init, in order of offers
    uint32_t member_count;
    uint32_t member_capacity;
    uint32_t leases[TRIB_LEASE_STATES]; // how many members are in each lease state
    bool is_exhausted;                  // nobody is left to draw
    bool is_closing;                    // deadline reached while updates were PENDING
};

struct trib_round_input {
    enum trib_round_event event;
    uint64_t device;               // of OFFER
    uint32_t member;               // index, of TAKE RELEASE PEND COUNT REFUSE ADVANCE
    enum trib_code code;           // of RELEASE REFUSE
    enum trib_round_reason reason; // of CANCEL
};

// TRIB_ERR_INVAL if the plan contradicts itself. `members` has room for `capacity`.
TRIB_CHECKED enum trib_err trib_round_init(struct trib_round *round,
                                           const struct trib_round_plan *plan,
                                           struct trib_round_member *members, uint32_t capacity);

// Apply one event at `now_ms`. TRIB_ERR_STATE: it does not belong here; TRIB_ERR_LIMIT: enough
// updates are pending or counted; the round is then unchanged.
TRIB_CHECKED enum trib_err trib_round_step(struct trib_round *round,
                                           const struct trib_round_input *input, uint64_t now_ms);

// How many further devices the round wants to ask now.
uint32_t trib_round_offers_wanted(const struct trib_round *round);

// The member of a device, or UINT32_MAX.
uint32_t trib_round_find(const struct trib_round *round, uint64_t device);

// A round read back after a restart: its members with what was durable (COUNTED stays, OFFERED,
// TAKEN and PENDING are OFFERED again), in SELECTING with fresh deadlines, or in AGGREGATING when
// it was sealed. A masked round goes on in CONSISTENCY when it was sealed, with the same survivors,
// and is abandoned when it was not: its secrets were in memory.
void trib_round_resume(struct trib_round *round, bool is_sealed, uint64_t now_ms);

bool trib_round_is_final(const struct trib_round *round);
// Are updates still wanted, or on their way to be?
bool trib_round_is_open(const struct trib_round *round);
const char *trib_round_state_name(enum trib_round_state state);
const char *trib_round_reason_name(enum trib_round_reason reason);
const char *trib_lease_state_name(enum trib_lease_state state);

#endif // TRIB_COORDINATOR_ROUND_H
