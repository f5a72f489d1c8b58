// Lies about who survived (docs/privacy-math.md 4): nobody gets both kinds of share of one peer.
#include "tests/unit/secagg_attack_rig.h"

static void two_survivor_sets_are_refused_before_and_after_the_shares(void **state)
{
    (void)state;
    for (int done = 0; done < 2; done++) {
        struct trib_secagg_header header = five();
        uint8_t signature[TRIB_SIGNATURE_SIZE];
        uint8_t shares[N * TRIB_SECAGG_SHARE_SIZE];
        size_t size;
        const uint8_t other = 0x0f; // without device 4, whose a-share would come
        struct rig rig;
        rig_init(&rig, &header);
        rig_until(&rig, RIG_UNMASK);
        if (done)
            assert_int_equal(rig_ask(&rig, 0, shares, &size), TRIB_OK);
        assert_int_equal(trib_secagg_member_survivors(rig.members[0], &other, 1, signature),
                         TRIB_ERR_PRIVACY);
        check_aborted(rig.members[0], TRIB_SECAGG_REASON_VIEW);
        assert_int_equal(rig_ask(&rig, 0, shares, &size), TRIB_ERR_PRIVACY);
        rig_fini(&rig);
    }
}

// In what a member hands out there is one share a peer, and it is the right one.
static void a_member_hands_out_one_kind_of_share_a_peer(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    struct trib_secagg_held held[N];
    uint8_t shares[N * TRIB_SECAGG_SHARE_SIZE];
    size_t size;
    struct rig rig;
    rig_init(&rig, &header);
    rig.lost_at[3] = RIG_MASK;
    rig_until(&rig, RIG_UNMASK);
    memcpy(held, rig.members[1]->held, sizeof(held));
    assert_int_equal(rig_ask(&rig, 1, shares, &size), TRIB_OK);
    assert_int_equal(size, sizeof(shares));
    for (int i = 0; i < N; i++)
        assert_memory_equal(shares + 32 * i, i == 3 ? held[i].a : held[i].b, 32);
    assert_int_equal(trib_secagg_member_state(rig.members[1]), TRIB_SECAGG_DONE);
    check_wiped(rig.members[1]);
    rig_fini(&rig);
}

// The coordinator tells devices 1 and 3 one U3 and 0, 2 and 4 another. Only one of two sets can get
// T consents, as 2T > n + c; here the first set has two, and a consent to the other is passed off.
static void a_split_view_of_the_survivors_gives_nothing(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    uint8_t signatures[N * TRIB_SIGNATURE_SIZE];
    uint8_t shares[N * TRIB_SECAGG_SHARE_SIZE];
    size_t size;
    const uint8_t views[2] = {0x0f, 0x1d}; // the victim 4 lost; 1 lost
    struct rig rig;
    rig_init(&rig, &header);
    rig_until(&rig, RIG_CONSENTS);
    for (int i = 0; i < N; i++) {
        bool is_second = i == 0 || i == 4 || i == 2;
        if (i == 1 || i == 3 || is_second) {
            assert_int_equal(trib_secagg_member_survivors(rig.members[i], &views[is_second], 1,
                                                          signatures + i * TRIB_SIGNATURE_SIZE),
                             TRIB_OK);
        }
    }
    const uint8_t signers = 0x0b; // 0 (of the other set), 1, 3
    memcpy(signatures + 2 * TRIB_SIGNATURE_SIZE, signatures + 3 * TRIB_SIGNATURE_SIZE,
           TRIB_SIGNATURE_SIZE);
    assert_int_equal(
        trib_secagg_member_unmask(rig.members[3], &signers, 1, signatures, 3, shares, &size),
        TRIB_ERR_PRIVACY);
    check_aborted(rig.members[3], TRIB_SECAGG_REASON_SIGNATURE);
    rig_fini(&rig);
}

enum survivor_lie {
    SURVIVOR_FEW,     // T - 1
    SURVIVOR_SELF,    // without us
    SURVIVOR_OUTSIDE, // somebody who is not of U2
    SURVIVOR_PADDING,
    SURVIVOR_COUNT,
};

static void a_member_gives_up_on_every_lie_about_survivors(void **state)
{
    (void)state;
    static const uint8_t sets[SURVIVOR_COUNT] = {0x03, 0x0e, 0x1f, 0x2f};
    for (int lie = 0; lie < SURVIVOR_COUNT; lie++) {
        struct trib_secagg_header header = five();
        uint8_t signature[TRIB_SIGNATURE_SIZE];
        struct rig rig;
        rig_init(&rig, &header);
        rig.lost_at[4] = RIG_SHARES;
        rig_until(&rig, RIG_CONSENTS);
        assert_int_equal(trib_secagg_member_survivors(rig.members[0], &sets[lie], 1, signature),
                         TRIB_ERR_PRIVACY);
        check_aborted(rig.members[0],
                      lie == SURVIVOR_FEW ? TRIB_SECAGG_REASON_COHORT : TRIB_SECAGG_REASON_VIEW);
        rig_fini(&rig);
    }
}

// T - 1 consents; one of another round; one bent; one member's counted twice.
static void consents_that_are_few_or_false_get_no_shares(void **state)
{
    (void)state;
    for (int lie = 0; lie < 4; lie++) {
        struct trib_secagg_header header = five();
        struct trib_buf buf = {0};
        uint8_t shares[N * TRIB_SECAGG_SHARE_SIZE];
        size_t size;
        uint8_t signers = 0x1f;
        uint32_t count = 5;
        struct rig rig;
        rig_init(&rig, &header);
        rig_until(&rig, RIG_UNMASK);
        trib_secagg_hub_signatures(rig.hub, &buf);
        if (lie == 0) {
            signers = 0x03;
            count = 2;
        } else if (lie == 1) {
            struct rig other;
            header.round_id++;
            rig_init(&other, &header);
            rig_until(&other, RIG_UNMASK);
            buf.size = 0;
            trib_secagg_hub_signatures(other.hub, &buf);
            rig_fini(&other);
        } else if (lie == 2) {
            buf.data[100] ^= 1;
        } else {
            memcpy(buf.data + TRIB_SIGNATURE_SIZE, buf.data, TRIB_SIGNATURE_SIZE);
        }
        assert_int_equal(
            trib_secagg_member_unmask(rig.members[0], &signers, 1, buf.data, count, shares, &size),
            TRIB_ERR_PRIVACY);
        check_aborted(rig.members[0],
                      lie == 0 ? TRIB_SECAGG_REASON_COHORT : TRIB_SECAGG_REASON_SIGNATURE);
        trib_buf_fini(&buf);
        rig_fini(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_survivor_sets_are_refused_before_and_after_the_shares),
        cmocka_unit_test(a_member_hands_out_one_kind_of_share_a_peer),
        cmocka_unit_test(a_split_view_of_the_survivors_gives_nothing),
        cmocka_unit_test(a_member_gives_up_on_every_lie_about_survivors),
        cmocka_unit_test(consents_that_are_few_or_false_get_no_shares),
    };
    return RUN_TESTS(tests);
}
