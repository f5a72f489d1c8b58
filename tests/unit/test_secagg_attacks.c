// Each attack that docs/privacy-math.md 4 names is made here, and fails; lies about who survived
// are in test_secagg_survivors.c.
#include "tests/unit/secagg_attack_rig.h"

#include "tests/unit/chi_square.h"

// ---- Lies about U1

struct view {
    struct trib_secagg_entry entries[N + 1];
    uint32_t count;
};
typedef void bend_fn(struct view *view);

static void bend_advert_key(struct view *v)
{
    v->entries[2].advert.mask_key[5] ^= 1;
}
static void bend_advert_signature(struct view *v)
{
    v->entries[2].advert.signature[5] ^= 1;
}
static void bend_roster_signature(struct view *v)
{
    v->entries[2].roster_signature[5] ^= 1;
}
static void bend_own_entry(struct view *v)
{
    v->entries[0].advert.commitment[5] ^= 1;
}
static void drop_own_entry(struct view *v)
{
    memmove(v->entries, v->entries + 1, (N - 1) * sizeof(v->entries[0]));
    v->count--;
}
static void name_twice(struct view *v)
{
    v->entries[3] = v->entries[2];
}
static void out_of_order(struct view *v)
{
    struct trib_secagg_entry entry = v->entries[3];
    v->entries[3] = v->entries[2];
    v->entries[2] = entry;
}
static void below_threshold(struct view *v)
{
    v->count = 2;
}
static void above_n(struct view *v)
{
    v->entries[N] = v->entries[N - 1];
    v->entries[N].name[0] = 'z';
    v->count = N + 1;
}
// The coordinator's own device, with good keys and signatures, but nobody vouched for it.
static void sybil(struct view *v)
{
    struct trib_secagg_header header = five();
    struct trib_secagg_entry *entry = &v->entries[2];
    uint8_t round_hash[TRIB_DIGEST_SIZE];
    uint8_t seed[32] = {66};
    trib_sign_public(seed, entry->sign_key);
    trib_roster_sign(seed, RIG_POPULATION, entry->name, entry->sign_key, entry->roster_signature);
    trib_secagg_round_hash(&header, round_hash);
    trib_secagg_advert_sign(seed, round_hash, entry->name, &entry->advert);
}
// A vouched colluder signs another member's keys as its own.
static void copied_key(struct view *v)
{
    struct trib_secagg_header header = five();
    uint8_t round_hash[TRIB_DIGEST_SIZE];
    uint8_t seed[32];
    rig_seed(2, 'S', seed);
    memcpy(v->entries[2].advert.mask_key, v->entries[3].advert.mask_key, 32);
    trib_secagg_round_hash(&header, round_hash);
    trib_secagg_advert_sign(seed, round_hash, v->entries[2].name, &v->entries[2].advert);
}
// A vouched colluder's key has order 1: whatever is agreed with it is zero.
static void degenerate_key(struct view *v)
{
    struct trib_secagg_header header = five();
    uint8_t round_hash[TRIB_DIGEST_SIZE];
    uint8_t seed[32];
    rig_seed(2, 'S', seed);
    memset(v->entries[2].advert.mask_key, 0, 32);
    trib_secagg_round_hash(&header, round_hash);
    trib_secagg_advert_sign(seed, round_hash, v->entries[2].name, &v->entries[2].advert);
}
// Device 2's genuine keys of another round.
static void replayed_advert(struct view *v)
{
    struct trib_secagg_header header = five();
    header.round_number++;
    struct trib_secagg_member *other = rig_member(&header, 2, 'U');
    assert_int_equal(trib_secagg_member_advert(other, &v->entries[2].advert), TRIB_OK);
    trib_secagg_member_destroy(other);
}

static void a_member_gives_up_on_every_lie_about_the_cohort(void **state)
{
    (void)state;
    static const struct {
        bend_fn *bend;
        enum trib_secagg_reason reason;
    } cases[] = {
        {bend_advert_key, TRIB_SECAGG_REASON_SIGNATURE},
        {bend_advert_signature, TRIB_SECAGG_REASON_SIGNATURE},
        {bend_roster_signature, TRIB_SECAGG_REASON_ROSTER},
        {bend_own_entry, TRIB_SECAGG_REASON_VIEW},
        {drop_own_entry, TRIB_SECAGG_REASON_VIEW},
        {name_twice, TRIB_SECAGG_REASON_ROSTER},
        {out_of_order, TRIB_SECAGG_REASON_ROSTER},
        {below_threshold, TRIB_SECAGG_REASON_COHORT},
        {above_n, TRIB_SECAGG_REASON_COHORT},
        {sybil, TRIB_SECAGG_REASON_ROSTER},
        {copied_key, TRIB_SECAGG_REASON_ROSTER},
        {degenerate_key, TRIB_SECAGG_REASON_SIGNATURE},
        {replayed_advert, TRIB_SECAGG_REASON_SIGNATURE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_secagg_header header = five();
        uint8_t sealed[N * TRIB_SECAGG_SEALED_SIZE];
        struct view view;
        struct rig rig;
        rig_init(&rig, &header);
        rig_until(&rig, RIG_SHARES);
        view.count = rig_view(&rig, view.entries);
        cases[i].bend(&view);
        assert_int_equal(trib_secagg_member_keys(rig.members[0], view.entries, view.count, sealed),
                         TRIB_ERR_PRIVACY);
        check_aborted(rig.members[0], cases[i].reason);
        rig_fini(&rig);
    }
}

static void the_hub_takes_no_forged_or_double_entry(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    struct rig rig;
    rig_init(&rig, &header);
    for (int i = 2; i < N; i++)
        rig.lost_at[i] = RIG_ADVERTS;
    rig_adverts(&rig);
    struct view view = {.count = N};
    memcpy(view.entries, rig.entries, sizeof(rig.entries[0]) * N);
    for (int i = 2; i < N; i++) {
        assert_int_equal(trib_secagg_member_advert(rig.members[i], &view.entries[i].advert),
                         TRIB_OK);
    }
    const struct view genuine = view;
    bend_fn *const bends[] = {bend_advert_key, bend_advert_signature, bend_roster_signature, sybil,
                              replayed_advert};
    for (size_t i = 0; i < sizeof(bends) / sizeof(bends[0]); i++) {
        view = genuine;
        bends[i](&view);
        assert_int_equal(trib_secagg_hub_advert(rig.hub, 9, &view.entries[2]), TRIB_ERR_AUTH);
    }
    assert_int_equal(trib_secagg_hub_advert(rig.hub, 9, &genuine.entries[0]), TRIB_ERR_STATE);
    assert_int_equal(trib_secagg_hub_advert(rig.hub, 9, &genuine.entries[3]), TRIB_OK);
    view = genuine;
    copied_key(&view); // of device 3
    assert_int_equal(trib_secagg_hub_advert(rig.hub, 9, &view.entries[2]), TRIB_ERR_STATE);
    rig_fini(&rig);
}

// ---- Plans and cohorts that protect nobody

static enum trib_err create_with(const struct trib_secagg_header *header, uint32_t cohort_min)
{
    struct trib_secagg_member *member = NULL;
    const uint8_t seed[32] = {1};
    const struct trib_secagg_member_options options = {.header = header,
                                                       .population = RIG_POPULATION,
                                                       .name = "device-0000",
                                                       .sign_seed = seed,
                                                       .cohort_min = cohort_min};
    enum trib_err err = trib_secagg_member_create(&options, &member);
    trib_secagg_member_destroy(member);
    return err;
}

static void a_low_threshold_or_a_tiny_cohort_is_refused(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    assert_int_equal(create_with(&header, N), TRIB_OK);
    assert_int_equal(create_with(&header, N + 1), TRIB_ERR_PRIVACY);
    header = rig_header(5, 3, 24, PARAMS); // T = 2: two disjoint pairs could answer
    assert_int_equal(create_with(&header, 0), TRIB_ERR_PRIVACY);
    header = five();
    header.plan.colluders = 1; // 2T = n + c
    header.plan.shares = header.encoding.shares = 2;
    assert_int_equal(create_with(&header, 0), TRIB_ERR_PRIVACY);
    header = five();
    header.encoding.shares = 4; // noise for more honest members than are sure to stay
    assert_int_equal(create_with(&header, 0), TRIB_ERR_PRIVACY);
    header = five();
    header.plan.shares = header.encoding.shares = 4;
    assert_int_equal(create_with(&header, 0), TRIB_ERR_PRIVACY);
    header = five();
    header.plan.neighbour_threshold = 1; // one share would tell a secret
    assert_int_equal(create_with(&header, 0), TRIB_ERR_PRIVACY);
    header = rig_header(1, 0, 24, PARAMS); // a sum of one
    assert_int_equal(create_with(&header, 0), TRIB_ERR_PRIVACY);
}

static void fewer_members_than_the_device_wants_end_it(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    uint8_t sealed[N * TRIB_SECAGG_SEALED_SIZE];
    struct view view;
    struct rig rig;
    rig_init(&rig, &header);
    rig.members[0]->cohort_min = N;
    rig.lost_at[4] = RIG_ADVERTS;
    rig_until(&rig, RIG_SHARES);
    view.count = rig_view(&rig, view.entries);
    assert_int_equal(trib_secagg_member_keys(rig.members[0], view.entries, view.count, sealed),
                     TRIB_ERR_PRIVACY);
    check_aborted(rig.members[0], TRIB_SECAGG_REASON_COHORT);
    rig_fini(&rig);
}

// ---- Lies about U2, and shares that do not fit

enum sealed_lie {
    LIE_SWAPPED,  // two members' shares exchanged
    LIE_BENT,     // one bit
    LIE_MISSING,  // one too few
    LIE_SELF_OUT, // we are not in U2
    LIE_FEW,      // |U2| = T - 1
    LIE_PADDING,  // a member that is none
    LIE_REPLAYED, // of another round, for us from the same device
    LIE_COUNT,
};

static void replay_sealed(struct trib_buf *buf)
{
    struct trib_secagg_header header = five();
    struct trib_buf other = {0};
    struct rig rig;
    header.round_number++;
    rig_init(&rig, &header);
    rig_until(&rig, RIG_MASK);
    (void)trib_secagg_hub_sealed_for(rig.hub, 0, &other);
    memcpy(buf->data, other.data, TRIB_SECAGG_SEALED_SIZE);
    trib_buf_fini(&other);
    rig_fini(&rig);
}

static void a_member_gives_up_on_every_lie_about_shares(void **state)
{
    (void)state;
    for (int lie = 0; lie < LIE_COUNT; lie++) {
        enum {
            SIZE = TRIB_SECAGG_SEALED_SIZE
        };
        enum trib_secagg_reason reason = TRIB_SECAGG_REASON_SHARE;
        struct trib_secagg_header header = five();
        struct trib_buf buf = {0};
        uint8_t set = 0x1f;
        struct rig rig;
        rig_init(&rig, &header);
        rig_until(&rig, RIG_MASK);
        uint32_t count = trib_secagg_hub_sealed_for(rig.hub, 0, &buf);
        assert_int_equal(count, N - 1);
        if (lie == LIE_SWAPPED) {
            uint8_t first[SIZE];
            memcpy(first, buf.data, SIZE);
            memcpy(buf.data, buf.data + SIZE, SIZE);
            memcpy(buf.data + SIZE, first, SIZE);
        } else if (lie == LIE_BENT) {
            buf.data[30] ^= 1;
        } else if (lie == LIE_MISSING) {
            count--;
        } else if (lie == LIE_SELF_OUT) {
            set = 0x1e;
            reason = TRIB_SECAGG_REASON_VIEW;
        } else if (lie == LIE_FEW) {
            set = 0x03;
            count = 1;
            reason = TRIB_SECAGG_REASON_COHORT;
        } else if (lie == LIE_PADDING) {
            set = 0x3f;
            reason = TRIB_SECAGG_REASON_VIEW;
        } else {
            replay_sealed(&buf);
        }
        assert_int_equal(trib_secagg_member_sealed(rig.members[0], &set, 1, buf.data, count),
                         TRIB_ERR_PRIVACY);
        check_aborted(rig.members[0], reason);
        trib_buf_fini(&buf);
        rig_fini(&rig);
    }
}

// Members that are shown different lists of genuine members cannot open each other's shares.
static void a_split_view_of_the_cohort_ends_at_the_shares(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    uint8_t sealed[2][N * TRIB_SECAGG_SEALED_SIZE];
    struct view view;
    uint8_t set = 0x0f;
    struct rig rig;
    rig_init(&rig, &header);
    rig_until(&rig, RIG_SHARES);
    view.count = rig_view(&rig, view.entries);
    assert_int_equal(trib_secagg_member_keys(rig.members[0], view.entries, 5, sealed[0]), TRIB_OK);
    assert_int_equal(trib_secagg_member_keys(rig.members[1], view.entries, 4, sealed[1]), TRIB_OK);
    assert_int_equal(trib_secagg_member_sealed(rig.members[0], &set, 1, sealed[1], 3),
                     TRIB_ERR_PRIVACY);
    check_aborted(rig.members[0], TRIB_SECAGG_REASON_SHARE);
    rig_fini(&rig);
}

// ---- Anything else

static void a_message_out_of_turn_ends_it(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    int32_t words[PARAMS] = {0};
    struct rig rig;
    rig_init(&rig, &header);
    rig_until(&rig, RIG_CONSENTS);
    assert_int_equal(trib_secagg_member_mask(rig.members[0], words, PARAMS), TRIB_ERR_PRIVACY);
    check_aborted(rig.members[0], TRIB_SECAGG_REASON_ORDER); // a second vector under one mask
    assert_true(is_zero(words, sizeof(words)));
    assert_int_equal(rig_give_sealed(&rig, 1), TRIB_ERR_PRIVACY);
    check_aborted(rig.members[1], TRIB_SECAGG_REASON_ORDER);
    rig_fini(&rig);
}

// ---- Two models in one round; wrong shares

// Members of another header refuse the keys; and if they did not, no pair of masks would cancel.
static void two_global_models_in_one_round_do_not_meet(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    struct trib_secagg_header other = five();
    uint8_t hash[TRIB_DIGEST_SIZE], other_hash[TRIB_DIGEST_SIZE];
    uint8_t sealed[N * TRIB_SECAGG_SEALED_SIZE];
    struct trib_mask one, two, three;
    struct view view;
    struct rig rig;
    other.base_digest[0] ^= 1;
    rig_init(&rig, &header);
    trib_secagg_member_destroy(rig.members[0]);
    rig.members[0] = rig_member(&other, 0, 'T');
    assert_int_equal(trib_secagg_member_advert(rig.members[0], &rig.entries[0].advert), TRIB_OK);
    assert_int_equal(trib_secagg_hub_advert(rig.hub, 100, &rig.entries[0]), TRIB_ERR_AUTH);
    rig.lost_at[0] = RIG_ADVERTS;
    rig_until(&rig, RIG_SHARES);
    view.count = rig_view(&rig, view.entries + 1) + 1;
    view.entries[0] = rig.entries[0]; // a lying hub sends them all the same
    assert_int_equal(trib_secagg_member_keys(rig.members[0], view.entries, view.count, sealed),
                     TRIB_ERR_PRIVACY);
    check_aborted(rig.members[0], TRIB_SECAGG_REASON_SIGNATURE);

    const struct trib_secagg_pair ours = {rig.members[1]->secrets.mask_secret,
                                          rig.entries[2].advert.mask_key, 1, 2};
    const struct trib_secagg_pair theirs = {rig.members[2]->secrets.mask_secret,
                                            rig.entries[1].advert.mask_key, 2, 1};
    trib_secagg_round_hash(&header, hash);
    trib_secagg_round_hash(&other, other_hash);
    assert_true(trib_secagg_pair_key(hash, &ours, one.key));
    assert_true(trib_secagg_pair_key(hash, &theirs, two.key));
    assert_true(trib_secagg_pair_key(other_hash, &theirs, three.key));
    assert_memory_equal(one.key, two.key, sizeof(one.key));
    assert_memory_not_equal(one.key, three.key, sizeof(one.key));
    rig_fini(&rig);
}

static void a_wrong_share_ends_the_round_and_gives_no_sum(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < N; wrong++) {
        struct trib_secagg_header header = five();
        uint8_t shares[N * TRIB_SECAGG_SHARE_SIZE];
        size_t size;
        struct rig rig;
        rig_init(&rig, &header);
        rig.lost_at[3] = RIG_MASK; // share 3 is one of a, the others of b
        rig_until(&rig, RIG_UNMASK);
        assert_int_equal(rig_ask(&rig, 0, shares, &size), TRIB_OK);
        shares[32 * wrong] ^= 1;
        assert_int_equal(trib_secagg_hub_unmask(rig.hub, 0, shares, size), TRIB_OK);
        rig.lost_at[0] = RIG_UNMASK;
        rig_unmask(&rig);
        assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_ERR_PROTO);
        assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_ERR_PROTO);
        rig_fini(&rig);
    }
}

// ---- What one member sends

static void a_masked_vector_is_uniform_whatever_it_hides(void **state)
{
    (void)state;
    enum {
        LONG = 1 << 14
    };
    struct trib_secagg_header header = rig_header(N, 2, 24, LONG);
    static uint64_t counts[256];
    struct chi_square chi = {0};
    struct rig rig;
    rig_init(&rig, &header);
    memset(rig.words, 0, N * LONG * sizeof(*rig.words)); // all zero: nothing to hide behind
    memset(counts, 0, sizeof(counts));
    rig_until(&rig, RIG_CONSENTS);
    for (size_t i = 0; i < LONG; i++) {
        for (int byte = 0; byte < 3; byte++)
            counts[(uint32_t)rig.masked[i] >> (8 * byte) & 0xff]++;
    }
    for (int i = 0; i < 256; i++)
        chi_square_add(&chi, 3.0 * LONG / 256, counts[i]);
    double deviate = chi_square_deviate(&chi);
    assert_true(deviate < CHI_SQUARE_MAX && deviate > -CHI_SQUARE_MAX);
    rig_fini(&rig);
}

static void two_rounds_of_a_device_share_no_keys(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    struct trib_secagg_member *members[2];
    struct trib_secagg_advert adverts[2];
    const uint8_t seed[32] = {1};
    const struct trib_secagg_member_options options = {
        .header = &header, .population = RIG_POPULATION, .name = "device-0000", .sign_seed = seed};
    trib_crypto_init();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(trib_secagg_member_create(&options, &members[i]), TRIB_OK);
        assert_int_equal(trib_secagg_member_advert(members[i], &adverts[i]), TRIB_OK);
    }
    assert_memory_not_equal(adverts[0].mask_key, adverts[1].mask_key, 32);
    assert_memory_not_equal(adverts[0].share_key, adverts[1].share_key, 32);
    assert_memory_not_equal(adverts[0].commitment, adverts[1].commitment, 32);
    assert_memory_not_equal(adverts[0].mask_key, adverts[1].share_key, 32);
    for (int i = 0; i < 2; i++)
        trib_secagg_member_destroy(members[i]);
}

static void secrets_go_as_soon_as_they_have_done_their_work(void **state)
{
    (void)state;
    struct trib_secagg_header header = five();
    struct rig rig;
    rig_init(&rig, &header);
    const struct trib_secagg_member *m = rig.members[0];
    assert_false(is_zero(m->secrets.a, 32));
    rig_until(&rig, RIG_MASK);
    assert_true(is_zero(m->secrets.a, 32) && is_zero(m->secrets.b, 32) &&
                is_zero(m->secrets.mask_secret, 32) && is_zero(m->secrets.share_secret, 32) &&
                is_zero(m->secrets.test_seed, 32));
    assert_false(is_zero(m->masks, N * sizeof(*m->masks)));
    rig_mask(&rig);
    assert_true(is_zero(m->masks, N * sizeof(*m->masks)));
    assert_true(is_zero(m->share_keys, N * sizeof(*m->share_keys)));
    assert_int_equal(trib_secagg_hub_close_masked(rig.hub), TRIB_OK);
    assert_false(is_zero(m->secrets.sign_seed, 32));
    rig_consents(&rig);
    assert_true(is_zero(m->secrets.sign_seed, 32));
    rig_unmask(&rig);
    check_wiped(m);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_gives_up_on_every_lie_about_the_cohort),
        cmocka_unit_test(the_hub_takes_no_forged_or_double_entry),
        cmocka_unit_test(a_low_threshold_or_a_tiny_cohort_is_refused),
        cmocka_unit_test(fewer_members_than_the_device_wants_end_it),
        cmocka_unit_test(a_member_gives_up_on_every_lie_about_shares),
        cmocka_unit_test(a_split_view_of_the_cohort_ends_at_the_shares),
        cmocka_unit_test(a_message_out_of_turn_ends_it),
        cmocka_unit_test(two_global_models_in_one_round_do_not_meet),
        cmocka_unit_test(a_wrong_share_ends_the_round_and_gives_no_sum),
        cmocka_unit_test(a_masked_vector_is_uniform_whatever_it_hides),
        cmocka_unit_test(two_rounds_of_a_device_share_no_keys),
        cmocka_unit_test(secrets_go_as_soon_as_they_have_done_their_work),
    };
    return RUN_TESTS(tests);
}
