// admit.h - may this update be counted? Pure rules, cheapest first (docs/durability.md).
//
// Steps 0 to 4 (listener, frames, handshake, records, message form) are wire/'s; durability is
// commit.h's. Here: standing, round, lease, base, idempotency, shape, numbers, norms.
#ifndef TRIB_COORDINATOR_ADMIT_H
#define TRIB_COORDINATOR_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/privacy/encode.h"
#include "common/wire/code.h"
#include "common/wire/codec.h"
#include "coordinator/round.h"

enum {
    TRIB_UPDATE_ID_SIZE = 16
};

// What is asked of every update of the open round.
struct trib_admit_round {
    uint64_t round_id;
    const uint8_t *base_digest; // 32 bytes
    const uint8_t *arch_digest; // 32 bytes
    uint64_t params;
    uint64_t packed_size; // bytes of an update
    uint32_t weight_max;
    uint64_t squares_max; // of the words of an update, privacy off; 0: any
    const struct trib_encoding *encoding;
};

// The bound on the sum of the squares of words that an L2 norm of `norm_max` makes, at least 1;
// 0 (any) when that is 0, or more than any update has.
uint64_t trib_admit_squares_max(double norm_max, double grid);

// What a device says of its update before it sends it.
struct trib_admit_claim {
    uint64_t round_id;
    uint64_t size; // bytes
    bool has_weight;
    uint64_t weight;
    const uint8_t *base_digest;
    const uint8_t *arch_digest;
    const uint8_t *digest; // the client's label of the frame, 32 bytes
};

// An update that is already durable.
struct trib_admit_known {
    uint64_t device;
    const uint8_t *digest;
};

// May the upload begin? TRIB_CODE_NONE: yes. `known` is the durable update with the same id, or
// NULL; `round` and `member` are NULL and UINT32_MAX when no round is open or the device has no
// lease in it.
enum trib_code trib_admit_begin(const struct trib_admit_round *rule, const struct trib_round *round,
                                uint32_t member, uint64_t device,
                                const struct trib_admit_claim *claim,
                                const struct trib_admit_known *known);

// Are the words of a whole update within the bounds of its encoding? TRIB_CODE_NONE: yes.
enum trib_code trib_admit_numbers(const struct trib_admit_round *rule,
                                  const struct trib_codec_norms *norms);

#endif // TRIB_COORDINATOR_ADMIT_H
