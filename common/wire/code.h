// code.h - what can become of an update: one closed list, the same on the wire, in the store and in
// reports (docs/durability.md). Numbers never change their meaning.
#ifndef TRIB_WIRE_CODE_H
#define TRIB_WIRE_CODE_H

#include <stdbool.h>
#include <stdint.h>

enum trib_code {
    TRIB_CODE_NONE = 0, // no answer yet
    TRIB_CODE_ACCEPTED = 1,
    TRIB_CODE_ACCEPTED_CLIPPED = 2,
    TRIB_CODE_DUPLICATE = 3,       // this very update was accepted before
    TRIB_CODE_ALREADY_COUNTED = 4, // another update of this device was counted in this round
    TRIB_CODE_CONFLICT = 5,        // same update id, other contents
    TRIB_CODE_AUTH = 6,
    TRIB_CODE_REVOKED = 7,
    TRIB_CODE_REPLAY = 8,
    TRIB_CODE_OVERSIZE = 9,
    TRIB_CODE_SLOW = 10, // too little came in too long a time
    TRIB_CODE_MALFORMED = 11,
    TRIB_CODE_NOT_ELIGIBLE = 12,
    TRIB_CODE_RATE_LIMITED = 13,
    TRIB_CODE_ROUND_CLOSED = 14,
    TRIB_CODE_NO_LEASE = 15, // this device was not asked in this round
    TRIB_CODE_STALE = 16,
    TRIB_CODE_BASE_MISMATCH = 17, // trained from another version than the task named
    TRIB_CODE_ARCH_MISMATCH = 18,
    TRIB_CODE_SHAPE_OR_DECODE = 19,
    TRIB_CODE_NONFINITE = 20,
    TRIB_CODE_BAD_WEIGHT = 21,
    TRIB_CODE_NORM = 22,
    TRIB_CODE_QUARANTINED = 23,
    TRIB_CODE_RETRY_LATER = 24,

    // Why a device did not take a task; never a receipt.
    TRIB_CODE_DECLINED_NO_DATA = 40,
    TRIB_CODE_DECLINED_POLICY = 41, // the privacy mode or its cost is not allowed on the device
    TRIB_CODE_DECLINED_MODEL = 42,  // model or way of training do not fit its data, memory, version
    TRIB_CODE_DECLINED_BUSY = 43,
    TRIB_CODE_DECLINED_FAILED = 44, // training or encoding failed
    TRIB_CODE_DECLINED_RANGE = 45,  // the delta has a coordinate outside the encoding's range
    TRIB_CODE_DECLINED_BUDGET = 46, // the device's privacy budget is used up
    // Why a device left secure aggregation (privacy/secagg.h).
    TRIB_CODE_DECLINED_COHORT = 47,    // fewer members than it wants
    TRIB_CODE_DECLINED_ROSTER = 48,    // a member that nobody vouched for
    TRIB_CODE_DECLINED_SIGNATURE = 49, // keys or a consent that are not genuine
    TRIB_CODE_DECLINED_SHARE = 50,     // a share that does not open
    TRIB_CODE_DECLINED_VIEW = 51,      // it was told two different sets of survivors
    TRIB_CODE_DECLINED_PLAN = 52,      // thresholds that protect nobody, or a step out of turn

    // Why a device did not install a model.
    TRIB_CODE_MODEL_INSTALLED = 60,
    TRIB_CODE_MODEL_OLDER = 61,
    TRIB_CODE_MODEL_UNSIGNED = 62, // no signature, or one that does not verify
    TRIB_CODE_MODEL_DIGEST = 63,
    TRIB_CODE_MODEL_ARCH = 64,    // the specification does not parse or does not match
    TRIB_CODE_MODEL_FORKED = 65,  // it, or its parent, has the installed one's number, other digest
    TRIB_CODE_MODEL_FOREIGN = 66, // of another population
    TRIB_CODE_MODEL_TRUNCATED = 67,
    TRIB_CODE_MODEL_PIPELINE =
        68, // its features come from another pipeline than this device's rows

    // Why a device did not follow a statement of its coordinator's keys (key_chain.h).
    TRIB_CODE_KEYS_OLD = 70,       // its sequence is that of the keys it pins, or below
    TRIB_CODE_KEYS_GAP = 71,       // a statement between is missing
    TRIB_CODE_KEYS_FOREIGN = 72,   // it is about other keys than those it pins
    TRIB_CODE_KEYS_SIGNATURE = 73, // not signed by the release key it pins
    TRIB_CODE_MAX = 80,
};

// What the device does next.
enum trib_code_class {
    TRIB_CODE_CLASS_OK,          // done: forget the update
    TRIB_CODE_CLASS_RETRY_SOON,  // send the same bytes again after the retry window
    TRIB_CODE_CLASS_RETRY_LATER, // the same, much later
    TRIB_CODE_CLASS_NEVER,       // final: forget the update
};

// "ACCEPTED"; "UNKNOWN" for a number outside the list.
const char *trib_code_text(enum trib_code code);
bool trib_code_is_known(uint32_t code);
enum trib_code_class trib_code_class(enum trib_code code);

#endif // TRIB_WIRE_CODE_H
