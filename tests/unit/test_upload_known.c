// Updates that come again: what the store says of them, and when they are told.
#include "tests/unit/upload_rig.h"

// It sends its update again when the round is over, and the store says so of it; what it is told.
static enum trib_code ask(uint32_t device, bool is_found, uint64_t owner)
{
    uint64_t before[TRIB_CODE_MAX];
    const uint64_t begins = fixture.server.counters.begins;
    memcpy(before, fixture.answered, sizeof(before));
    submitted = NULL;
    upload(device, ours);
    assert_int_equal(memcmp(before, fixture.answered, sizeof(before)), 0); // not before it said so
    assert_non_null(submitted);
    assert_int_equal(trib_server_uploads_in_flight(&fixture.server), 1);

    struct trib_server_op *op = submitted;
    upload(device, ours); // while it waits it is asked to wait, and nobody is asked again
    assert_ptr_equal(submitted, op);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], before[TRIB_CODE_RETRY_LATER] + 1);
    before[TRIB_CODE_RETRY_LATER]++;
    assert_int_equal(fixture.server.counters.begins, begins + 2);

    row = (struct trib_store_update){.device = owner};
    is_stored = is_found;
    op->op.result = op->op.apply(&op->op, NULL);
    op->finish(&fixture.server, op);
    assert_int_equal(trib_server_uploads_in_flight(&fixture.server), 0);
    for (int i = 0; i < TRIB_CODE_MAX; i++) {
        if (fixture.answered[i] != before[i])
            return (enum trib_code)i;
    }
    return TRIB_CODE_MAX;
}

static void the_store_says_what_became_of_old_ones(void **state)
{
    (void)state;
    fixture.server.run = NULL;
    assert_int_equal(ask(7, true, 107), TRIB_CODE_DUPLICATE);
    assert_int_equal(ask(7, true, 108), TRIB_CODE_CONFLICT); // another device's
    assert_int_equal(ask(7, false, 0), TRIB_CODE_ROUND_CLOSED);
    fixture.server.last_round_id = ROUND + TRIB_SERVER_LEDGER_ROUNDS + 1;
    assert_int_equal(ask(7, true, 107), TRIB_CODE_DUPLICATE); // it still knows
    assert_int_equal(ask(7, false, 0), TRIB_CODE_STALE);
    assert_books_balance(0);
}

// Its round opens while the store is asked: it begins anew.
static void one_that_was_asked_about_too_early_begins_anew(void **state)
{
    (void)state;
    fixture.server.run = NULL;
    upload(7, ours);
    struct trib_server_op *op = submitted;
    fixture.server.run = &fixture.run;
    is_stored = false;
    op->op.result = op->op.apply(&op->op, NULL);
    op->finish(&fixture.server, op);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
}

// An id of before, sent with the open round: only the store knows it, at the end.
static void an_old_id_in_the_open_round_is_told_what_it_is(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        upload(i, ours);
        fixture.uploads[i].state = TRIB_UPLOAD_HELD;
        fixture.uploads[i].arrival = trib_arrival_create(SIZE, 24);
        trib_upload_pump(&fixture.server);
        row = (struct trib_store_update){.device = i == 1 ? 999 : 100 + i};
        is_stored = i < 2; // the last one: its device counts already
        submitted->op.result = submitted->op.apply(&submitted->op, NULL);
        assert_int_equal(submitted->op.result, TRIB_ERR_STATE);
        submitted->finish(&fixture.server, submitted);
    }
    save_leases(3);
    assert_int_equal(fixture.answered[TRIB_CODE_DUPLICATE], 1);
    assert_int_equal(fixture.answered[TRIB_CODE_CONFLICT], 1);
    assert_int_equal(fixture.answered[TRIB_CODE_ALREADY_COUNTED], 1);
}

// An update is being made durable when its round is given up, and the device, which heard nothing,
// sends it again: nobody may tell it that it does not count.
static void one_that_is_being_made_durable_outlives_its_round(void **state)
{
    (void)state;
    upload(7, ours);
    fixture.uploads[7].state = TRIB_UPLOAD_HELD; // as when all of it has come
    fixture.uploads[7].arrival = trib_arrival_create(SIZE, 24);
    trib_upload_pump(&fixture.server);
    assert_non_null(submitted);
    assert_int_equal(fixture.server.accepts_in_flight, 1);
    fixture.run.round.state = TRIB_ROUND_ABANDONED;
    upload(7, ours);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
    fixture.server.run = NULL; // it is over and forgotten
    upload(7, ours);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 2);
    submitted->op.result = TRIB_OK;
    submitted->finish(&fixture.server, submitted);
    assert_null(fixture.server.accepting);
    assert_null(fixture.server.known_list); // nothing is remembered of rounds that are over
    assert_int_equal(ask(7, true, 107), TRIB_CODE_DUPLICATE);
    assert_int_equal(fixture.answered[TRIB_CODE_ROUND_CLOSED], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_store_says_what_became_of_old_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_was_asked_about_too_early_begins_anew, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_old_id_in_the_open_round_is_told_what_it_is, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_being_made_durable_outlives_its_round, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, files_setup, remove_all);
}
