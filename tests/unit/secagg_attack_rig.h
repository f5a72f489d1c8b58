// secagg_attack_rig.h - a cohort of five that is attacked, and what has to be left of a member.
#ifndef TRIB_TESTS_UNIT_SECAGG_ATTACK_RIG_H
#define TRIB_TESTS_UNIT_SECAGG_ATTACK_RIG_H

#include "tests/unit/secagg_rig.h"

#include "common/privacy/secagg_member.h"

enum {
    N = 5,
    PARAMS = 64,
};

static inline struct trib_secagg_header five(void)
{
    return rig_header(N, 2, 24, PARAMS);
}

static inline bool is_zero(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint8_t all = 0;
    for (size_t i = 0; i < size; i++)
        all |= bytes[i];
    return all == 0;
}

static inline void check_wiped(const struct trib_secagg_member *m)
{
    size_t slots = m->degree + 1;
    assert_true(is_zero(&m->secrets, sizeof(m->secrets)));
    assert_true(!m->masks || is_zero(m->masks, slots * sizeof(*m->masks)));
    assert_true(!m->share_keys || is_zero(m->share_keys, slots * sizeof(*m->share_keys)));
    assert_true(!m->held || is_zero(m->held, slots * sizeof(*m->held)));
}

// The member gave up for `reason`, keeps nothing, and never answers again.
static inline void check_aborted(struct trib_secagg_member *m, enum trib_secagg_reason reason)
{
    struct trib_secagg_advert advert;
    uint8_t set = 0x1f;
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    assert_int_equal(trib_secagg_member_state(m), TRIB_SECAGG_ABORTED);
    assert_string_equal(trib_secagg_reason_text(trib_secagg_member_reason(m)),
                        trib_secagg_reason_text(reason));
    check_wiped(m);
    assert_int_equal(trib_secagg_member_advert(m, &advert), TRIB_ERR_PRIVACY);
    assert_int_equal(trib_secagg_member_survivors(m, &set, 1, signature), TRIB_ERR_PRIVACY);
    assert_int_equal(trib_secagg_member_reason(m), reason);
}

#endif // TRIB_TESTS_UNIT_SECAGG_ATTACK_RIG_H
