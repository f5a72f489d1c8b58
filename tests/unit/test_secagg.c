#include "tests/unit/secagg_rig.h"

static void run(struct rig *rig)
{
    rig_adverts(rig);
    assert_int_equal(trib_secagg_hub_close_keys(rig->hub), TRIB_OK);
    rig_shares(rig);
    assert_int_equal(trib_secagg_hub_close_shares(rig->hub), TRIB_OK);
    rig_mask(rig);
    assert_int_equal(trib_secagg_hub_close_masked(rig->hub), TRIB_OK);
    rig_consents(rig);
    assert_true(trib_secagg_hub_has_consent(rig->hub));
    rig_unmask(rig);
    assert_true(trib_secagg_hub_can_open(rig->hub));
    assert_int_equal(trib_secagg_hub_open(rig->hub), TRIB_OK);
    rig_check_sum(rig);
}

static void nobody_lost_the_sum_is_exact(void **state)
{
    (void)state;
    static const uint32_t word_bits[] = {16, 24, 32};
    for (int i = 0; i < 3; i++) {
        struct trib_secagg_header header = rig_header(5, 2, word_bits[i], 100);
        struct rig rig;
        rig_init(&rig, &header);
        rig.lost_at[1] = RIG_MASK;
        rig.lost_at[3] = RIG_MASK;
        run(&rig);
        rig_fini(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_lost_the_sum_is_exact),
    };
    return RUN_TESTS(tests);
}
