#include "coordinator/round.h"
#include "tests/test.h"

#include <stdbool.h>
#include <string.h>

enum {
    CAPACITY = 12
};

static const struct trib_round_plan plan = {
    .goal = 3, .offers = 4, .accepted_min = 2, .select_ms = 100, .report_ms = 1000};

static struct trib_round_member members[CAPACITY];

static enum trib_err send(struct trib_round *r, enum trib_round_event event, uint32_t member,
                          uint64_t now_ms)
{
    return trib_round_step(
        r,
        &(struct trib_round_input){
            .event = event, .member = member, .device = 100 + member, .code = TRIB_CODE_NORM},
        now_ms);
}

static void feed(struct trib_round *r, enum trib_round_event event, uint32_t member,
                 uint64_t now_ms)
{
    assert_int_equal(send(r, event, member, now_ms), TRIB_OK);
}

static struct trib_round selecting(uint32_t offered)
{
    struct trib_round r;
    assert_int_equal(trib_round_init(&r, &plan, members, CAPACITY), TRIB_OK);
    feed(&r, TRIB_ROUND_EV_OPENED, 0, 0);
    for (uint32_t i = 0; i < offered; i++)
        feed(&r, TRIB_ROUND_EV_OFFER, i, 0);
    return r;
}

static struct trib_round collecting(void)
{
    struct trib_round r = selecting(4);
    for (uint32_t i = 0; i < 4; i++)
        feed(&r, TRIB_ROUND_EV_TAKE, i, 10);
    assert_int_equal(r.state, TRIB_ROUND_COLLECTING);
    assert_int_equal(r.deadline_ms, 1010);
    return r;
}

static void count(struct trib_round *r, uint32_t member)
{
    feed(r, TRIB_ROUND_EV_PEND, member, 20);
    feed(r, TRIB_ROUND_EV_COUNT, member, 20);
}

static void plans_that_contradict_themselves_are_refused(void **state)
{
    (void)state;
    struct trib_round r;
    const struct trib_round_plan bad[] = {
        {.goal = 0, .offers = 1, .accepted_min = 1, .select_ms = 1, .report_ms = 1},
        {.goal = 2, .offers = 1, .accepted_min = 1, .select_ms = 1, .report_ms = 1},
        {.goal = 2, .offers = 2, .accepted_min = 3, .select_ms = 1, .report_ms = 1},
        {.goal = 2, .offers = 2, .accepted_min = 0, .select_ms = 1, .report_ms = 1},
        {.goal = 2, .offers = 2, .accepted_min = 1, .select_ms = 0, .report_ms = 1},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(trib_round_init(&r, &bad[i], members, CAPACITY), TRIB_ERR_INVAL);
}

static void goal_counted_seals_and_late_ones_expire(void **state)
{
    (void)state;
    struct trib_round r = collecting();
    for (uint32_t i = 0; i < 3; i++)
        count(&r, i);
    assert_int_equal(r.state, TRIB_ROUND_SEALED);
    assert_int_equal(members[3].lease, TRIB_LEASE_EXPIRED);
    assert_int_equal(send(&r, TRIB_ROUND_EV_PEND, 3, 30), TRIB_ERR_STATE);
    feed(&r, TRIB_ROUND_EV_SEAL_DURABLE, 0, 30);
    assert_int_equal(r.state, TRIB_ROUND_AGGREGATING);
    feed(&r, TRIB_ROUND_EV_COMMIT_DURABLE, 0, 40);
    assert_int_equal(r.state, TRIB_ROUND_COMMITTED);
    assert_int_equal(send(&r, TRIB_ROUND_EV_CANCEL, 0, 50), TRIB_ERR_STATE);
}

static void no_more_than_the_goal_is_ever_pending(void **state)
{
    (void)state;
    struct trib_round r = collecting();
    for (uint32_t i = 0; i < 3; i++)
        feed(&r, TRIB_ROUND_EV_PEND, i, 20);
    assert_int_equal(send(&r, TRIB_ROUND_EV_PEND, 3, 20), TRIB_ERR_LIMIT);
    feed(&r, TRIB_ROUND_EV_REFUSE, 0, 20); // makes room
    feed(&r, TRIB_ROUND_EV_PEND, 3, 20);
    assert_int_equal(members[0].lease, TRIB_LEASE_REFUSED);
    assert_int_equal(members[0].code, TRIB_CODE_NORM);
}

static void declined_offers_are_made_up_for(void **state)
{
    (void)state;
    struct trib_round r = selecting(4);
    assert_int_equal(trib_round_offers_wanted(&r), 0);
    feed(&r, TRIB_ROUND_EV_RELEASE, 1, 5);
    assert_int_equal(trib_round_offers_wanted(&r), 1);
    feed(&r, TRIB_ROUND_EV_OFFER, 4, 6);
    assert_int_equal(trib_round_offers_wanted(&r), 0);
}

static void exhausted_goes_on_with_those_there_are(void **state)
{
    (void)state;
    struct trib_round r = selecting(2);
    feed(&r, TRIB_ROUND_EV_TAKE, 0, 5);
    feed(&r, TRIB_ROUND_EV_EXHAUSTED, 0, 6);
    assert_int_equal(r.state, TRIB_ROUND_SELECTING); // one offer is open
    feed(&r, TRIB_ROUND_EV_TAKE, 1, 7);
    assert_int_equal(r.state, TRIB_ROUND_COLLECTING);
    count(&r, 0);
    count(&r, 1);
    assert_int_equal(r.state, TRIB_ROUND_SEALED); // nobody is left who could report
}

static void few_selected_abandons(void **state)
{
    (void)state;
    struct trib_round r = selecting(2);
    feed(&r, TRIB_ROUND_EV_TAKE, 0, 5);
    feed(&r, TRIB_ROUND_EV_TICK, 0, 99);
    assert_int_equal(r.state, TRIB_ROUND_SELECTING);
    feed(&r, TRIB_ROUND_EV_TICK, 0, 100);
    assert_int_equal(r.state, TRIB_ROUND_ABANDONED);
    assert_int_equal(r.reason, TRIB_ROUND_REASON_FEW_SELECTED);
}

static void few_reported_abandons_as_soon_as_it_is_certain(void **state)
{
    (void)state;
    struct trib_round r = collecting();
    feed(&r, TRIB_ROUND_EV_REFUSE, 0, 20);
    feed(&r, TRIB_ROUND_EV_RELEASE, 1, 20);
    assert_int_equal(r.state, TRIB_ROUND_COLLECTING);
    feed(&r, TRIB_ROUND_EV_REFUSE, 2, 20);
    assert_int_equal(r.state, TRIB_ROUND_ABANDONED);
    assert_int_equal(r.reason, TRIB_ROUND_REASON_FEW_REPORTED);
}

static void deadline_waits_for_what_is_being_made_durable(void **state)
{
    (void)state;
    struct trib_round r = collecting();
    count(&r, 0);
    feed(&r, TRIB_ROUND_EV_PEND, 1, 900);
    feed(&r, TRIB_ROUND_EV_TICK, 0, 1010);
    assert_int_equal(r.state, TRIB_ROUND_COLLECTING);
    assert_int_equal(members[2].lease, TRIB_LEASE_EXPIRED);
    feed(&r, TRIB_ROUND_EV_COUNT, 1, 1011);
    assert_int_equal(r.state, TRIB_ROUND_SEALED);
}

static void resume_keeps_what_was_counted(void **state)
{
    (void)state;
    struct trib_round r;
    assert_int_equal(trib_round_init(&r, &plan, members, CAPACITY), TRIB_OK);
    for (uint32_t i = 0; i < 4; i++)
        members[i] = (struct trib_round_member){
            .device = 100 + i, .lease = i == 0 ? TRIB_LEASE_COUNTED : TRIB_LEASE_TAKEN};
    r.member_count = 4;
    trib_round_resume(&r, false, 50);
    assert_int_equal(r.state, TRIB_ROUND_SELECTING);
    assert_int_equal(r.leases[TRIB_LEASE_COUNTED], 1);
    assert_int_equal(r.leases[TRIB_LEASE_OFFERED], 3);
    assert_int_equal(trib_round_offers_wanted(&r), 0);
    count(&r, 1); // a finished update says that the lease was taken
    count(&r, 2);
    assert_int_equal(r.state, TRIB_ROUND_SEALED);
}

// ---- Secure aggregation

static const struct trib_round_plan masked_plan = {.goal = 4,
                                                   .offers = 4,
                                                   .accepted_min = 3,
                                                   .select_ms = 100,
                                                   .report_ms = 1000,
                                                   .is_masked = true,
                                                   .phase_ms = 50};

static struct trib_round masked(void)
{
    struct trib_round r;
    assert_int_equal(trib_round_init(&r, &masked_plan, members, CAPACITY), TRIB_OK);
    feed(&r, TRIB_ROUND_EV_OPENED, 0, 0);
    for (uint32_t i = 0; i < 4; i++)
        feed(&r, TRIB_ROUND_EV_OFFER, i, 0);
    for (uint32_t i = 0; i < 4; i++)
        feed(&r, TRIB_ROUND_EV_TAKE, i, 10);
    assert_int_equal(r.state, TRIB_ROUND_KEYS);
    assert_int_equal(r.deadline_ms, 1010);
    return r;
}

static void advance_but(struct trib_round *r, uint32_t absent, uint64_t now_ms)
{
    for (uint32_t i = 0; i < 4; i++) {
        if (i != absent && members[i].lease == TRIB_LEASE_TAKEN)
            feed(r, TRIB_ROUND_EV_ADVANCE, i, now_ms);
    }
}

static struct trib_round masked_collecting(void)
{
    struct trib_round r = masked();
    advance_but(&r, UINT32_MAX, 20);
    assert_int_equal(r.state, TRIB_ROUND_SHARES);
    assert_int_equal(r.deadline_ms, 70);
    advance_but(&r, UINT32_MAX, 30);
    assert_int_equal(r.state, TRIB_ROUND_COLLECTING);
    assert_int_equal(r.deadline_ms, 80);
    return r;
}

static struct trib_round masked_sealed(uint32_t counted)
{
    struct trib_round r = masked_collecting();
    for (uint32_t i = 0; i < counted; i++)
        count(&r, i);
    feed(&r, TRIB_ROUND_EV_TICK, 0, 80);
    assert_int_equal(r.state, TRIB_ROUND_SEALED);
    return r;
}

static void a_masked_round_goes_through_all_its_phases(void **state)
{
    (void)state;
    struct trib_round r = masked_collecting();
    for (uint32_t i = 0; i < 4; i++)
        count(&r, i);
    assert_int_equal(r.state, TRIB_ROUND_SEALED);
    feed(&r, TRIB_ROUND_EV_SEAL_DURABLE, 0, 40);
    assert_int_equal(r.state, TRIB_ROUND_CONSISTENCY);
    feed(&r, TRIB_ROUND_EV_ENOUGH, 0, 41);
    assert_int_equal(r.state, TRIB_ROUND_UNMASKING);
    feed(&r, TRIB_ROUND_EV_ENOUGH, 0, 42);
    assert_int_equal(r.state, TRIB_ROUND_AGGREGATING);
    feed(&r, TRIB_ROUND_EV_COMMIT_DURABLE, 0, 43);
    assert_int_equal(r.state, TRIB_ROUND_COMMITTED);
}

static void whoever_is_behind_is_left_behind(void **state)
{
    (void)state;
    struct trib_round r = masked();
    advance_but(&r, 2, 20);
    assert_int_equal(r.state, TRIB_ROUND_KEYS); // member 2 still trains
    feed(&r, TRIB_ROUND_EV_TICK, 0, 1009);
    assert_int_equal(r.state, TRIB_ROUND_KEYS);
    feed(&r, TRIB_ROUND_EV_TICK, 0, 1010);
    assert_int_equal(r.state, TRIB_ROUND_SHARES);
    assert_int_equal(members[2].lease, TRIB_LEASE_EXPIRED);
    assert_int_equal(send(&r, TRIB_ROUND_EV_ADVANCE, 2, 1011), TRIB_ERR_STATE);
    advance_but(&r, 2, 1012);
    assert_int_equal(r.state, TRIB_ROUND_COLLECTING);
    assert_int_equal(send(&r, TRIB_ROUND_EV_PEND, 2, 1013), TRIB_ERR_STATE);
}

static void a_masked_round_below_its_threshold_is_abandoned_in_every_phase(void **state)
{
    (void)state;
    struct trib_round r = masked();
    feed(&r, TRIB_ROUND_EV_RELEASE, 0, 20);
    assert_int_equal(r.state, TRIB_ROUND_KEYS);
    feed(&r, TRIB_ROUND_EV_RELEASE, 1, 20);
    assert_int_equal(r.state, TRIB_ROUND_ABANDONED);
    assert_int_equal(r.reason, TRIB_ROUND_REASON_FEW_REPORTED);

    r = masked();
    advance_but(&r, UINT32_MAX, 20);
    feed(&r, TRIB_ROUND_EV_ADVANCE, 0, 21);
    feed(&r, TRIB_ROUND_EV_ADVANCE, 1, 21);
    feed(&r, TRIB_ROUND_EV_TICK, 0, 70);
    assert_int_equal(r.state, TRIB_ROUND_ABANDONED);
    assert_int_equal(r.reason, TRIB_ROUND_REASON_FEW_REPORTED);

    r = masked_collecting();
    count(&r, 0);
    count(&r, 1);
    feed(&r, TRIB_ROUND_EV_TICK, 0, 80);
    assert_int_equal(r.state, TRIB_ROUND_ABANDONED);
    assert_int_equal(r.reason, TRIB_ROUND_REASON_FEW_REPORTED);

    for (int enough = 0; enough < 2; enough++) {
        r = masked_sealed(3);
        feed(&r, TRIB_ROUND_EV_SEAL_DURABLE, 0, 90);
        if (enough)
            feed(&r, TRIB_ROUND_EV_ENOUGH, 0, 90);
        feed(&r, TRIB_ROUND_EV_TICK, 0, 139);
        assert_int_not_equal(r.state, TRIB_ROUND_ABANDONED);
        feed(&r, TRIB_ROUND_EV_TICK, 0, 140);
        assert_int_equal(r.state, TRIB_ROUND_ABANDONED);
        assert_int_equal(r.reason, TRIB_ROUND_REASON_FEW_UNMASKED);
    }
}

static void no_masked_update_counts_before_its_secrets_are_shared(void **state)
{
    (void)state;
    struct trib_round r = masked();
    assert_int_equal(send(&r, TRIB_ROUND_EV_PEND, 0, 20), TRIB_ERR_STATE);
    feed(&r, TRIB_ROUND_EV_ADVANCE, 0, 20);
    assert_int_equal(send(&r, TRIB_ROUND_EV_ADVANCE, 0, 20), TRIB_ERR_STATE); // once a phase
    advance_but(&r, 0, 20);
    assert_int_equal(r.state, TRIB_ROUND_SHARES);
    assert_int_equal(send(&r, TRIB_ROUND_EV_PEND, 0, 20), TRIB_ERR_STATE);
}

// Its secrets were in memory: only what is sealed goes on, with the same survivors.
static void a_restart_abandons_a_masked_round_unless_it_was_sealed(void **state)
{
    (void)state;
    struct trib_round r;
    for (int is_sealed = 0; is_sealed < 2; is_sealed++) {
        assert_int_equal(trib_round_init(&r, &masked_plan, members, CAPACITY), TRIB_OK);
        r.member_count = 4;
        for (uint32_t i = 0; i < 4; i++)
            members[i] = (struct trib_round_member){
                .device = i, .lease = i < 3 ? TRIB_LEASE_COUNTED : TRIB_LEASE_TAKEN};
        trib_round_resume(&r, is_sealed, 1000);
        if (is_sealed) {
            assert_int_equal(r.state, TRIB_ROUND_CONSISTENCY);
            assert_int_equal(r.deadline_ms, 1050);
            assert_int_equal(r.leases[TRIB_LEASE_COUNTED], 3);
            assert_int_equal(members[3].lease, TRIB_LEASE_EXPIRED);
        } else {
            assert_int_equal(r.state, TRIB_ROUND_ABANDONED);
            assert_int_equal(r.reason, TRIB_ROUND_REASON_RESTARTED);
        }
    }
}

// No sequence of events breaks an invariant (asserted inside), counts a member twice, or leaves a
// final state.
static void random_events_never_break_an_invariant(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t rng = seed;
        struct trib_round r;
        bool counted[CAPACITY] = {false};
        const struct trib_round_plan *chosen = seed % 2 ? &plan : &masked_plan;
        assert_int_equal(trib_round_init(&r, chosen, members, CAPACITY), TRIB_OK);
        for (uint64_t now = 0; now < 300; now++) {
            enum trib_round_state was = r.state;
            enum trib_round_event event = (enum trib_round_event)(
                test_rand(&rng) % (seed % 3 ? TRIB_ROUND_EV_CANCEL : TRIB_ROUND_EV_CANCEL + 1));
            uint32_t member = (uint32_t)(test_rand(&rng) % CAPACITY);
            if (event == TRIB_ROUND_EV_OFFER)
                member = r.member_count; // each device once
            else if (r.member_count > 0)
                member %= r.member_count;
            bool wants_member = event == TRIB_ROUND_EV_TAKE || event == TRIB_ROUND_EV_RELEASE ||
                                event == TRIB_ROUND_EV_PEND || event == TRIB_ROUND_EV_COUNT ||
                                event == TRIB_ROUND_EV_REFUSE || event == TRIB_ROUND_EV_ADVANCE;
            if (wants_member && r.member_count == 0)
                continue;
            enum trib_err err = send(&r, event, member, now * 5);
            assert_true(err == TRIB_OK || err == TRIB_ERR_STATE || err == TRIB_ERR_LIMIT);
            if (!err && event == TRIB_ROUND_EV_COUNT) {
                assert_false(counted[member]);
                counted[member] = true;
            }
            if (was == TRIB_ROUND_COMMITTED || was == TRIB_ROUND_ABANDONED)
                assert_int_equal(r.state, was);
            assert_true(r.leases[TRIB_LEASE_COUNTED] <= chosen->goal);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_that_contradict_themselves_are_refused),
        cmocka_unit_test(goal_counted_seals_and_late_ones_expire),
        cmocka_unit_test(no_more_than_the_goal_is_ever_pending),
        cmocka_unit_test(declined_offers_are_made_up_for),
        cmocka_unit_test(exhausted_goes_on_with_those_there_are),
        cmocka_unit_test(few_selected_abandons),
        cmocka_unit_test(few_reported_abandons_as_soon_as_it_is_certain),
        cmocka_unit_test(deadline_waits_for_what_is_being_made_durable),
        cmocka_unit_test(resume_keeps_what_was_counted),
        cmocka_unit_test(a_masked_round_goes_through_all_its_phases),
        cmocka_unit_test(whoever_is_behind_is_left_behind),
        cmocka_unit_test(a_masked_round_below_its_threshold_is_abandoned_in_every_phase),
        cmocka_unit_test(no_masked_update_counts_before_its_secrets_are_shared),
        cmocka_unit_test(a_restart_abandons_a_masked_round_unless_it_was_sealed),
        cmocka_unit_test(random_events_never_break_an_invariant),
    };
    return RUN_TESTS(tests);
}
