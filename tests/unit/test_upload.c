// Uploads as they come in, up to the receipt: many devices, and no network.
#include "tests/unit/upload_rig.h"

static void no_update_of_another_architecture_counts(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DEVICES; i++)
        upload(i, theirs);
    assert_int_equal(answered(), 0);
    assert_int_equal(trib_server_uploads_in_flight(&fixture.server), DEVICES);
    save_leases(DEVICES);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], DEVICES);
    assert_int_equal(answered(), DEVICES);
    assert_int_equal(fixture.server.counters.begins, DEVICES);
    const struct trib_round *round = &fixture.run.round;
    assert_int_equal(round->state, TRIB_ROUND_ABANDONED); // nobody is left to wait for
    assert_int_equal(round->leases[TRIB_LEASE_COUNTED] + round->leases[TRIB_LEASE_PENDING], 0);
    assert_int_equal(round->leases[TRIB_LEASE_REFUSED], DEVICES);
    trib_upload_pump(&fixture.server); // nor is anything on its way to be counted
    for (uint32_t i = 0; i < DEVICES; i++) {
        assert_int_equal(fixture.uploads[i].state, TRIB_UPLOAD_NONE);
        assert_false(fixture.slots[i].is_used);
        assert_false(fixture.sessions[i].sink.is_open);
    }
}

static void those_of_this_architecture_are_let_in_beside_them(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < DEVICES; i++)
        upload(i, i % 2 ? ours : theirs);
    save_leases(DEVICES / 2);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], DEVICES / 2);
    assert_int_equal(answered(), DEVICES / 2);
    for (uint32_t i = 0; i < DEVICES; i++)
        assert_int_equal(fixture.uploads[i].state, i % 2 ? TRIB_UPLOAD_WAITING : TRIB_UPLOAD_NONE);
}

// Nobody waits for it, so that it is too late for another one; nor is it told before it is durable.
static void one_that_was_refused_is_out_of_the_round(void **state)
{
    (void)state;
    upload(7, theirs);
    assert_int_equal(fixture.run.round.leases[TRIB_LEASE_REFUSED], 1);
    assert_books_balance(1);
    upload(7, ours);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
    assert_books_balance(1);
    trib_upload_session_gone(&fixture.sessions[7]);
    assert_books_balance(1); // it is answered, whether it is there or not
    save_leases(1);
    assert_int_equal(last_lease.device, 107);
    assert_int_equal(last_lease.state, TRIB_LEASE_REFUSED);
    assert_int_equal(last_lease.code, TRIB_CODE_ARCH_MISMATCH);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 1);
    assert_books_balance(0);
    upload(7, ours);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_NONE);
    assert_int_equal(fixture.answered[TRIB_CODE_NO_LEASE], 1);
    assert_books_balance(0);
}

// One comes while others are on their way to the disk: it goes with the next transaction.
static void refusals_go_together(void **state)
{
    (void)state;
    upload(1, theirs);
    upload(2, theirs);
    submitted = NULL;
    trib_leases_save(&fixture.server);
    struct trib_server_op *first = submitted;
    upload(3, theirs);
    submitted = NULL;
    trib_leases_save(&fixture.server);
    assert_null(submitted);
    first->op.result = TRIB_OK;
    first->finish(&fixture.server, first);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 2);
    save_leases(1);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 3);
    assert_books_balance(0);
}

// A masked round does not go on after a restart: nobody is asked again.
static void those_of_a_masked_round_are_told_at_once(void **state)
{
    (void)state;
    fixture.run.plan.is_masked = true;
    upload(1, theirs);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 1);
    upload(2, ours);
    fixture.run.round.state = TRIB_ROUND_SEALED;
    trib_upload_finish_all(&fixture.server);
    assert_int_equal(fixture.answered[TRIB_CODE_ROUND_CLOSED], 1);
    assert_books_balance(0);
}

// Its update with credit, as one sends it that waits to be let.
static void upload_whole(uint32_t device)
{
    struct trib_msg_upload_end end = {.update_id = {0}};
    struct trib_buf packed = {0};
    static const uint8_t bytes[SIZE] = {1, 2, 3};
    const struct trib_record chunk = {
        .type = TRIB_RECORD_UPLOAD_CHUNK, .stream = 1, .payload = bytes, .payload_size = SIZE};
    upload(device, ours); // begins, and is not let yet
    trib_upload_pump(&fixture.server);
    assert_true(trib_upload_chunk(&fixture.sessions[device], &chunk));
    memcpy(end.update_id, fixture.uploads[device].begin.update_id, sizeof(end.update_id));
    trib_msg_upload_end_pack(&end, &packed);
    trib_upload_end(&fixture.sessions[device], packed.data, packed.size);
    trib_buf_fini(&packed);
}

// The other slots are taken.
static void leave_slots(uint32_t count)
{
    for (uint32_t i = count; i < DEVICES; i++)
        fixture.slots[i] = (struct trib_slot_use){.is_used = true};
}

static void a_slot_that_cannot_be_written_is_left_for_another(void **state)
{
    (void)state;
    leave_slots(3);
    fixture.slots[0].is_used = true;
    broken_from = 2;
    fixture.slots[1].is_used = true; // so that the broken one is the only free one
    upload_whole(7);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
    assert_int_equal(fixture.slots[2].failures, 1);
    assert_false(fixture.slots[2].is_used);
    fixture.slots[1].is_used = false;
    upload_whole(7);
    assert_int_equal(fixture.uploads[7].slot, 1);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_HELD);
    assert_int_equal(answered(), 1);
    assert_books_balance(1);
}

// Another may need it more than once: then it is not used any more, and the round does without.
static void one_that_finds_no_slot_is_out_of_the_round(void **state)
{
    (void)state;
    leave_slots(1);
    broken_from = 0;
    for (uint32_t i = 1; i <= 3; i++) {
        upload_whole(7);
        assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], i);
        assert_int_equal(fixture.slots[0].failures, i);
    }
    assert_int_equal(trib_slots_usable(&fixture.run), DEVICES - 1);
    upload(7, ours);
    assert_int_equal(fixture.run.members[7].lease, TRIB_LEASE_REFUSED);
    save_leases(1);
    assert_int_equal(fixture.answered[TRIB_CODE_ROUND_CLOSED], 1);
    assert_int_equal(fixture.run.round.state, TRIB_ROUND_COLLECTING);
    assert_books_balance(0);
}

static void a_round_with_too_few_slots_is_given_up(void **state)
{
    (void)state;
    fixture.run.plan.accepted_min = DEVICES;
    leave_slots(1);
    broken_from = 0;
    for (uint32_t i = 1; i <= 3; i++)
        upload_whole(7);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 3);
    assert_int_equal(fixture.run.round.state, TRIB_ROUND_ABANDONED);
    assert_int_equal(fixture.run.round.reason, TRIB_ROUND_REASON_STORAGE);
    assert_books_balance(0);
}

// An update of which some bytes came, and no more: whoever waits for its turn would wait for ever.
static void one_that_stands_still_is_told_slow_and_may_come_again(void **state)
{
    (void)state;
    static const uint8_t bytes[SIZE / 2] = {1, 2, 3};
    const struct trib_record chunk = {.type = TRIB_RECORD_UPLOAD_CHUNK,
                                      .stream = 1,
                                      .payload = bytes,
                                      .payload_size = sizeof(bytes)};
    const struct trib_upload_sink *sink = &fixture.sessions[7].sink;
    leave_slots(1);
    upload(7, ours);
    trib_upload_pump(&fixture.server);
    assert_true(trib_upload_chunk(&fixture.sessions[7], &chunk));
    trib_upload_tick(&fixture.server, sink->moved_ms + TRIB_SERVER_UPLOAD_IDLE_MS);
    assert_int_equal(answered(), 0);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_ACTIVE);
    trib_upload_tick(&fixture.server, sink->moved_ms + TRIB_SERVER_UPLOAD_IDLE_MS + 1);
    assert_int_equal(fixture.answered[TRIB_CODE_SLOW], 1);
    assert_int_equal(answered(), 1);
    assert_false(sink->is_open);
    assert_false(fixture.slots[0].is_used); // another may have it
    assert_int_equal(fixture.members[7].lease, TRIB_LEASE_TAKEN);
    assert_books_balance(0);
    trib_upload_tick(&fixture.server, UINT64_MAX); // it is told once
    assert_int_equal(answered(), 1);
    upload_whole(7);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_HELD);
    assert_int_equal(answered(), 1);
    assert_books_balance(1);
}

// The coordinator was started again: what was taken is offered, and whoever does not come back in time is out.
static void start_again(void)
{
    fixture.run.round.state = TRIB_ROUND_PLANNED;
    trib_round_resume(&fixture.run.round, false, 0);
    assert_int_equal(fixture.run.round.state, TRIB_ROUND_SELECTING);
}

static void one_that_came_back_with_its_update_is_waited_for(void **state)
{
    (void)state;
    start_again();
    upload(7, ours);
    trib_upload_pump(&fixture.server);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_ACTIVE);
    const struct trib_round_input tick = {.event = TRIB_ROUND_EV_TICK};
    assert_int_equal(trib_round_step(&fixture.run.round, &tick, 1001), TRIB_OK);
    assert_int_equal(fixture.run.round.state, TRIB_ROUND_COLLECTING);
    assert_int_equal(fixture.members[7].lease, TRIB_LEASE_TAKEN);
    assert_int_equal(fixture.members[8].lease, TRIB_LEASE_EXPIRED);
    trib_upload_session_gone(&fixture.sessions[7]);
}

// Of one whose lease is over first.
static void the_slot_of_what_broke_off_is_given_to_another(void **state)
{
    (void)state;
    leave_slots(2);
    start_again();
    for (uint32_t i = 7; i < 9; i++) {
        upload(i, ours);
        trib_upload_session_gone(&fixture.sessions[i]);
        assert_int_equal(fixture.uploads[i].state, TRIB_UPLOAD_BROKEN);
    }
    step(TRIB_ROUND_EV_RELEASE, 0, 8);
    const uint32_t slot = fixture.uploads[8].slot;
    upload(20, ours);
    assert_int_equal(fixture.uploads[20].state, TRIB_UPLOAD_WAITING);
    assert_int_equal(fixture.uploads[20].slot, slot);
    assert_int_equal(fixture.uploads[8].slot, UINT32_MAX);
    upload(21, ours);
    assert_int_equal(fixture.uploads[21].state, TRIB_UPLOAD_WAITING);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_NONE); // it begins anew
    upload(7, ours);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1); // for others have them now
    assert_books_balance(2);
}

// What is on its way to the disk will be told ACCEPTED, whatever becomes of the round: it is paid for.
static void one_that_is_being_made_durable_is_charged(void **state)
{
    (void)state;
    static struct trib_active_job job;
    static struct trib_privacy_plan privacy;
    static struct trib_version head;
    static struct trib_server_op *ended;
    memset(&job, 0, sizeof(job));
    privacy.encoding = fixture.encoding;
    fixture.server.job = &job;
    fixture.server.head = &head;
    fixture.run.shape.privacy = &privacy;
    fixture.run.round.plan.accepted_min = 2;
    upload_whole(7);
    trib_upload_pump(&fixture.server);
    assert_int_equal(fixture.members[7].lease, TRIB_LEASE_PENDING);
    struct trib_server_op *accept = submitted;
    const struct trib_round_input tick = {.event = TRIB_ROUND_EV_TICK};
    assert_int_equal(trib_round_step(&fixture.run.round, &tick, 1001), TRIB_OK);
    assert_int_equal(fixture.run.round.state, TRIB_ROUND_ABANDONED);
    trib_rounds_end(&fixture.server);
    ended = submitted;
    assert_ptr_not_equal(ended, accept);
    assert_int_equal(job.spent.rounds, 1);
    struct trib_lease_list *leases = trib_rounds_leases(&fixture.run);
    assert_int_equal(leases->count, DEVICES - 1); // its own is written with it
    free(leases);
    accept->op.result = TRIB_OK;
    accept->finish(&fixture.server, accept);
    assert_int_equal(fixture.answered[TRIB_CODE_ACCEPTED], 1);
    trib_known_forget(&fixture.server);
}

// All of it is there and good; the device begins once more, with a lie that ends nothing.
static void one_that_waits_for_its_turn_hears_no_last_word(void **state)
{
    (void)state;
    upload_whole(7);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_HELD);
    upload(7, theirs);
    assert_int_equal(fixture.answered[TRIB_CODE_RETRY_LATER], 1);
    assert_int_equal(fixture.answered[TRIB_CODE_ARCH_MISMATCH], 0);
    assert_int_equal(fixture.members[7].lease, TRIB_LEASE_TAKEN);
}

// The connection goes after a write that failed: what the slot has is not gone on with.
static void a_failed_write_is_not_forgotten_with_its_connection(void **state)
{
    (void)state;
    const struct trib_record chunk = {.type = TRIB_RECORD_UPLOAD_CHUNK,
                                      .stream = 1,
                                      .payload = (const uint8_t *)"123",
                                      .payload_size = 3};
    broken_from = 0;
    upload(7, ours);
    trib_upload_pump(&fixture.server);
    assert_true(trib_upload_chunk(&fixture.sessions[7], &chunk));
    trib_upload_session_gone(&fixture.sessions[7]);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_NONE);
    assert_int_equal(fixture.uploads[7].received, 0);
    assert_int_equal(fixture.slots[0].failures, 1);
    assert_books_balance(0);
    broken_from = DEVICES;
    upload_whole(7);
    assert_int_equal(fixture.uploads[7].state, TRIB_UPLOAD_HELD);
    assert_int_equal(fixture.uploads[7].slot, 1);
}

// Whatever becomes of an upload: begun = answered + cut + in flight.
static void every_upload_that_begins_ends_once(void **state)
{
    (void)state;
    enum {
        SOME = 40
    };
    for (uint32_t i = 0; i < SOME; i++)
        upload(i, i % 4 ? ours : theirs);
    assert_books_balance(SOME);
    save_leases(SOME / 4);
    assert_books_balance(SOME * 3 / 4);
    for (uint32_t i = 0; i < SOME; i += 2) // half of them go, some of those with an answer
        trib_upload_session_gone(&fixture.sessions[i]);
    assert_books_balance(SOME / 2);
    assert_int_equal(fixture.server.counters.cut, SOME / 4);
    for (uint32_t i = 0; i < SOME; i++) // they come back, and those that stayed begin anew
        upload(i, ours);
    assert_books_balance(SOME * 3 / 4);
    trib_upload_session_gone(&fixture.sessions[1]);
    assert_books_balance(SOME * 3 / 4 - 1);
    fixture.run.round.state = TRIB_ROUND_ABANDONED; // in memory
    trib_upload_finish_all(&fixture.server);        // nobody is there any more to be told
    assert_int_equal(fixture.server.counters.receipts[TRIB_CODE_ROUND_CLOSED], 0);
    assert_books_balance(SOME * 3 / 4 - 1);
    upload(2, ours); // asks once more
    assert_books_balance(SOME * 3 / 4 - 1);
    trib_leases_tell(&fixture.server); // on the disk
    assert_books_balance(0);
    assert_int_equal(fixture.server.counters.receipts[TRIB_CODE_ROUND_CLOSED], SOME * 3 / 4 - 1);
    assert_int_equal(trib_server_uploads_in_flight(&fixture.server), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_update_of_another_architecture_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(those_of_this_architecture_are_let_in_beside_them, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_was_refused_is_out_of_the_round, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(refusals_go_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_of_a_masked_round_are_told_at_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_slot_that_cannot_be_written_is_left_for_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_finds_no_slot_is_out_of_the_round, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_round_with_too_few_slots_is_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_stands_still_is_told_slow_and_may_come_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_came_back_with_its_update_is_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_slot_of_what_broke_off_is_given_to_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_is_being_made_durable_is_charged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_that_waits_for_its_turn_hears_no_last_word, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failed_write_is_not_forgotten_with_its_connection, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_upload_that_begins_ends_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, files_setup, remove_all);
}
