#include "coordinator/admit.h"

#include <assert.h>
#include <string.h>

static enum trib_code check_lease(const struct trib_round *round, uint32_t member)
{
    if (member == UINT32_MAX)
        return TRIB_CODE_NO_LEASE;
    switch (round->members[member].lease) {
    case TRIB_LEASE_OFFERED:
    case TRIB_LEASE_TAKEN: return TRIB_CODE_NONE;
    case TRIB_LEASE_PENDING:
    case TRIB_LEASE_COUNTED: return TRIB_CODE_ALREADY_COUNTED;
    case TRIB_LEASE_REFUSED:
    case TRIB_LEASE_RELEASED: return TRIB_CODE_NO_LEASE;
    case TRIB_LEASE_EXPIRED: return TRIB_CODE_ROUND_CLOSED;
    }
    return TRIB_CODE_NO_LEASE;
}

static enum trib_code check_weight(const struct trib_admit_round *rule,
                                   const struct trib_admit_claim *claim)
{
    // With privacy on the example count stays on the device: one that is sent is a broken client.
    if (rule->encoding->mode != TRIB_PRIVACY_OFF)
        return claim->has_weight ? TRIB_CODE_MALFORMED : TRIB_CODE_NONE;
    if (!claim->has_weight || claim->weight == 0 || claim->weight > rule->weight_max)
        return TRIB_CODE_BAD_WEIGHT;
    return TRIB_CODE_NONE;
}

enum trib_code trib_admit_begin(const struct trib_admit_round *rule, const struct trib_round *round,
                                uint32_t member, uint64_t device,
                                const struct trib_admit_claim *claim,
                                const struct trib_admit_known *known)
{
    // Idempotency comes before the round's state: an answer that was lost is repeated also when
    // the round is long over, so that a device never throws away what was counted.
    if (known) {
        bool same = known->device == device && memcmp(known->digest, claim->digest, 32) == 0;
        return same ? TRIB_CODE_DUPLICATE : TRIB_CODE_CONFLICT;
    }
    if (!round || claim->round_id != rule->round_id)
        return TRIB_CODE_ROUND_CLOSED;
    if (round->state != TRIB_ROUND_COLLECTING &&
        (round->plan.is_masked || round->state != TRIB_ROUND_SELECTING))
        return TRIB_CODE_ROUND_CLOSED;
    enum trib_code code = check_lease(round, member);
    if (code)
        return code;
    if (round->plan.is_masked && round->members[member].steps < 2)
        return TRIB_CODE_NO_LEASE; // it shared no secrets, so its masks could not be taken out
    if (memcmp(claim->arch_digest, rule->arch_digest, 32) != 0)
        return TRIB_CODE_ARCH_MISMATCH;
    if (memcmp(claim->base_digest, rule->base_digest, 32) != 0)
        return TRIB_CODE_BASE_MISMATCH;
    if (claim->size > rule->packed_size)
        return TRIB_CODE_OVERSIZE;
    if (claim->size != rule->packed_size)
        return TRIB_CODE_SHAPE_OR_DECODE;
    return check_weight(rule, claim);
}

// Without noise the bounds hold exactly.
static enum trib_code central_numbers(const struct trib_encoding *encoding,
                                      const struct trib_codec_norms *norms)
{
    bool is_within = norms->max_abs <= encoding->sinf && norms->sum_abs <= encoding->s1 &&
                     norms->sum_squares <= encoding->s2 * encoding->s2; // s2 < 2^32
    return is_within ? TRIB_CODE_NONE : TRIB_CODE_NORM;
}

uint64_t trib_admit_squares_max(double norm_max, double grid)
{
    const double words = norm_max / grid;
    if (norm_max <= 0 || words * words >= 0x1p63)
        return 0;
    return words < 1 ? 1 : (uint64_t)(words * words);
}

enum trib_code trib_admit_numbers(const struct trib_admit_round *rule,
                                  const struct trib_codec_norms *norms)
{
    // Masked words are uniform: the bounds are each device's own duty (docs/threat-model.md).
    if (rule->encoding->mode == TRIB_PRIVACY_DISTRIBUTED)
        return TRIB_CODE_NONE;
    if (rule->encoding->mode == TRIB_PRIVACY_CENTRAL)
        return central_numbers(rule->encoding, norms);
    if (rule->squares_max > 0 && norms->sum_squares > rule->squares_max)
        return TRIB_CODE_NORM;
    uint64_t bound = trib_encoding_word_max(rule->encoding, rule->params);
    return norms->max_abs > bound ? TRIB_CODE_NORM : TRIB_CODE_NONE;
}
