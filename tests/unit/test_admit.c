#include "coordinator/admit.h"
#include "tests/test.h"

#include <string.h>

static const uint8_t base[32] = {1}, arch[32] = {2}, digest[32] = {3}, other[32] = {9};
static struct trib_encoding encoding;
static struct trib_round_member members[2];
static struct trib_round round_open;
static struct trib_admit_round rule;
static struct trib_admit_claim claim;

static int set_up(void **state)
{
    (void)state;
    const struct trib_round_plan plan = {
        .goal = 2, .offers = 2, .accepted_min = 1, .select_ms = 1000, .report_ms = 1000};
    encoding = (struct trib_encoding){.mode = TRIB_PRIVACY_OFF, .grid = 0x1p-20, .word_bits = 24};
    if (trib_round_init(&round_open, &plan, members, 2) ||
        trib_round_step(&round_open, &(struct trib_round_input){.event = TRIB_ROUND_EV_OPENED},
                        0) ||
        trib_round_step(&round_open,
                        &(struct trib_round_input){.event = TRIB_ROUND_EV_OFFER, .device = 7}, 0))
        return -1;
    rule = (struct trib_admit_round){.round_id = 5,
                                     .base_digest = base,
                                     .arch_digest = arch,
                                     .params = 10,
                                     .packed_size = 30,
                                     .weight_max = 100,
                                     .encoding = &encoding};
    claim = (struct trib_admit_claim){.round_id = 5,
                                      .size = 30,
                                      .has_weight = true,
                                      .weight = 20,
                                      .base_digest = base,
                                      .arch_digest = arch,
                                      .digest = digest};
    return 0;
}

static enum trib_code begin(const struct trib_admit_known *known)
{
    return trib_admit_begin(&rule, &round_open, 0, 7, &claim, known);
}

static void a_good_claim_may_begin(void **state)
{
    (void)state;
    assert_int_equal(begin(NULL), TRIB_CODE_NONE);
}

static void what_was_accepted_is_a_duplicate_also_when_the_round_is_over(void **state)
{
    (void)state;
    struct trib_admit_known known = {.device = 7, .digest = digest};
    assert_int_equal(begin(&known), TRIB_CODE_DUPLICATE);
    assert_int_equal(trib_admit_begin(&rule, NULL, UINT32_MAX, 7, &claim, &known),
                     TRIB_CODE_DUPLICATE);
    known.digest = other;
    assert_int_equal(begin(&known), TRIB_CODE_CONFLICT);
    known = (struct trib_admit_known){.device = 8, .digest = digest};
    assert_int_equal(begin(&known), TRIB_CODE_CONFLICT);
}

static void each_wrong_claim_has_its_code(void **state)
{
    (void)state;
    claim.round_id = 6;
    assert_int_equal(begin(NULL), TRIB_CODE_ROUND_CLOSED);
    claim.round_id = 5;
    assert_int_equal(trib_admit_begin(&rule, &round_open, UINT32_MAX, 7, &claim, NULL),
                     TRIB_CODE_NO_LEASE);
    assert_int_equal(trib_admit_begin(&rule, NULL, UINT32_MAX, 7, &claim, NULL),
                     TRIB_CODE_ROUND_CLOSED);
    claim.arch_digest = other;
    assert_int_equal(begin(NULL), TRIB_CODE_ARCH_MISMATCH);
    claim.arch_digest = arch;
    claim.base_digest = other;
    assert_int_equal(begin(NULL), TRIB_CODE_BASE_MISMATCH);
    claim.base_digest = base;
    claim.size = 31;
    assert_int_equal(begin(NULL), TRIB_CODE_OVERSIZE);
    claim.size = 29;
    assert_int_equal(begin(NULL), TRIB_CODE_SHAPE_OR_DECODE);
    claim.size = 30;
    const uint64_t bad_weights[] = {0, 101, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        claim.weight = bad_weights[i];
        assert_int_equal(begin(NULL), TRIB_CODE_BAD_WEIGHT);
    }
    claim.has_weight = false;
    assert_int_equal(begin(NULL), TRIB_CODE_BAD_WEIGHT);
}

static void with_privacy_on_a_weight_is_malformed(void **state)
{
    (void)state;
    encoding = (struct trib_encoding){.mode = TRIB_PRIVACY_LOCAL,
                                      .grid = 1e-4,
                                      .grid_bits = 12,
                                      .s1 = 1000,
                                      .s2 = 500,
                                      .sinf = 500,
                                      .word_bits = 24};
    assert_int_equal(begin(NULL), TRIB_CODE_MALFORMED);
    claim.has_weight = false;
    assert_int_equal(begin(NULL), TRIB_CODE_NONE);
}

static void a_lease_counts_once(void **state)
{
    (void)state;
    members[0].lease = TRIB_LEASE_COUNTED;
    assert_int_equal(begin(NULL), TRIB_CODE_ALREADY_COUNTED);
    members[0].lease = TRIB_LEASE_EXPIRED;
    assert_int_equal(begin(NULL), TRIB_CODE_ROUND_CLOSED);
    members[0].lease = TRIB_LEASE_REFUSED;
    assert_int_equal(begin(NULL), TRIB_CODE_NO_LEASE);
}

static void with_privacy_off_a_norm_is_bounded_when_the_job_says_so(void **state)
{
    (void)state;
    struct trib_codec_norms norms = {.max_abs = 3 << 20, .sum_squares = UINT64_C(25) << 40};
    rule.squares_max = trib_admit_squares_max(5, encoding.grid);
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NONE);
    norms.sum_squares++;
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NORM);
    rule.squares_max = trib_admit_squares_max(0, encoding.grid);
    norms.sum_squares = UINT64_MAX;
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NONE);
    assert_int_equal(trib_admit_squares_max(1e9, encoding.grid), 0); // none is so large
    assert_int_equal(trib_admit_squares_max(1e-9, encoding.grid), 1);
}

static void numbers_beyond_noise_and_clip_are_refused(void **state)
{
    (void)state;
    encoding = (struct trib_encoding){.mode = TRIB_PRIVACY_LOCAL,
                                      .grid = 1e-4,
                                      .grid_bits = 12,
                                      .s1 = 1000,
                                      .s2 = 500,
                                      .sinf = 500,
                                      .word_bits = 24};
    uint64_t bound = trib_encoding_word_max(&encoding, rule.params);
    assert_in_range(bound, 500 + 30 * 4096, 500 + 32 * 4096); // ln(20 * 2^40) = 30.7
    struct trib_codec_norms norms = {.max_abs = bound};
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NONE);
    norms.max_abs++;
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NORM);
}

static void central_numbers_are_held_to_the_bounds_exactly(void **state)
{
    (void)state;
    encoding = (struct trib_encoding){.mode = TRIB_PRIVACY_CENTRAL,
                                      .grid = 1e-4,
                                      .grid_bits = 12,
                                      .s1 = 1000,
                                      .s2 = 400,
                                      .sinf = 300,
                                      .word_bits = 24};
    const struct trib_codec_norms most = {
        .max_abs = 300, .sum_abs = 1000, .sum_squares = 400 * 400};
    struct trib_codec_norms norms = most;
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NONE);
    norms.max_abs++;
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NORM);
    norms = most;
    norms.sum_abs++;
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NORM);
    norms = most;
    norms.sum_squares++;
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NORM);
}

static void masked_numbers_tell_nothing_and_are_let_through(void **state)
{
    (void)state;
    encoding.mode = TRIB_PRIVACY_DISTRIBUTED;
    const struct trib_codec_norms norms = {
        .max_abs = 1 << 23, .sum_abs = UINT64_MAX, .sum_squares = UINT64_MAX};
    assert_int_equal(trib_admit_numbers(&rule, &norms), TRIB_CODE_NONE);
}

static void a_masked_update_wants_the_member_to_have_shared(void **state)
{
    (void)state;
    encoding.mode = TRIB_PRIVACY_DISTRIBUTED;
    claim.has_weight = false;
    round_open.plan.is_masked = true;
    static const enum trib_round_state others[] = {
        TRIB_ROUND_SELECTING,   TRIB_ROUND_KEYS,      TRIB_ROUND_SHARES,     TRIB_ROUND_SEALED,
        TRIB_ROUND_CONSISTENCY, TRIB_ROUND_UNMASKING, TRIB_ROUND_AGGREGATING};
    members[0].steps = 2;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        round_open.state = others[i];
        assert_int_equal(begin(NULL), TRIB_CODE_ROUND_CLOSED);
    }
    round_open.state = TRIB_ROUND_COLLECTING;
    assert_int_equal(begin(NULL), TRIB_CODE_NONE);
    members[0].steps = 1;
    assert_int_equal(begin(NULL), TRIB_CODE_NO_LEASE);
    members[0].steps = 2;
    claim.has_weight = true;
    assert_int_equal(begin(NULL), TRIB_CODE_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_good_claim_may_begin, set_up),
        cmocka_unit_test_setup(what_was_accepted_is_a_duplicate_also_when_the_round_is_over,
                               set_up),
        cmocka_unit_test_setup(each_wrong_claim_has_its_code, set_up),
        cmocka_unit_test_setup(with_privacy_on_a_weight_is_malformed, set_up),
        cmocka_unit_test_setup(a_lease_counts_once, set_up),
        cmocka_unit_test_setup(with_privacy_off_a_norm_is_bounded_when_the_job_says_so, set_up),
        cmocka_unit_test_setup(numbers_beyond_noise_and_clip_are_refused, set_up),
        cmocka_unit_test_setup(central_numbers_are_held_to_the_bounds_exactly, set_up),
        cmocka_unit_test_setup(masked_numbers_tell_nothing_and_are_let_through, set_up),
        cmocka_unit_test_setup(a_masked_update_wants_the_member_to_have_shared, set_up),
    };
    return RUN_TESTS(tests);
}
