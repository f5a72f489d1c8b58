#include "common/wire/step.h"
#include "tests/test.h"

#include <string.h>

static const struct trib_msg_secagg_step step = {
    .round_id = 9, .kind = TRIB_SECAGG_STEP_CONSENT, .size = 10};
static struct trib_step_in in;

static int set_up(void **state)
{
    (void)state;
    return trib_step_begin(&in, 3, &step) == TRIB_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    trib_step_drop(&in);
    return 0;
}

static enum trib_err give(uint16_t stream, uint32_t offset, const char *bytes, bool *ret_is_whole)
{
    const struct trib_record record = {.type = TRIB_RECORD_SECAGG_CHUNK,
                                       .stream = stream,
                                       .offset = offset,
                                       .payload = (const uint8_t *)bytes,
                                       .payload_size = strlen(bytes)};
    return trib_step_chunk(&in, &record, ret_is_whole);
}

static void pieces_in_order_make_the_whole(void **state)
{
    (void)state;
    bool is_whole = true;
    assert_int_equal(give(3, 0, "abcd", &is_whole), TRIB_OK);
    assert_false(is_whole);
    assert_int_equal(give(3, 4, "efg", &is_whole), TRIB_OK);
    assert_false(is_whole);
    assert_int_equal(give(3, 7, "hij", &is_whole), TRIB_OK);
    assert_true(is_whole);
    assert_memory_equal(in.data, "abcdefghij", 10);
    assert_int_equal(in.round_id, 9);
    assert_int_equal(in.kind, TRIB_SECAGG_STEP_CONSENT);
}

static void a_gap_an_overlap_and_a_repetition_are_errors(void **state)
{
    (void)state;
    bool is_whole;
    assert_int_equal(give(3, 1, "bcd", &is_whole), TRIB_ERR_PROTO);
    assert_int_equal(give(3, 0, "abcd", &is_whole), TRIB_OK);
    assert_int_equal(give(3, 5, "f", &is_whole), TRIB_ERR_PROTO);
    assert_int_equal(give(3, 3, "d", &is_whole), TRIB_ERR_PROTO);
    assert_int_equal(give(3, 0, "abcd", &is_whole), TRIB_ERR_PROTO);
    assert_int_equal(in.received, 4);
    assert_false(is_whole);
}

static void more_bytes_than_announced_are_an_error_and_are_not_written(void **state)
{
    (void)state;
    bool is_whole;
    assert_int_equal(give(3, 0, "abcdefghijk", &is_whole), TRIB_ERR_PROTO);
    assert_int_equal(give(3, 0, "abcdefgh", &is_whole), TRIB_OK);
    assert_int_equal(give(3, 8, "ijk", &is_whole), TRIB_ERR_PROTO);
    assert_false(is_whole);
    assert_int_equal(in.received, 8);
}

static void chunks_of_another_stream_are_skipped(void **state)
{
    (void)state;
    bool is_whole;
    assert_int_equal(give(2, 0, "XXXX", &is_whole), TRIB_OK);
    assert_int_equal(give(4, 77, "a long one that would not fit", &is_whole), TRIB_OK);
    assert_false(is_whole);
    assert_int_equal(in.received, 0);
    assert_int_equal(give(3, 0, "abcdefghij", &is_whole), TRIB_OK);
    assert_true(is_whole);
}

static void what_follows_the_whole_changes_nothing(void **state)
{
    (void)state;
    bool is_whole;
    assert_int_equal(give(3, 0, "abcdefghij", &is_whole), TRIB_OK);
    assert_true(is_whole);
    assert_int_equal(give(3, 10, "k", &is_whole), TRIB_OK);
    assert_false(is_whole);
    assert_memory_equal(in.data, "abcdefghij", 10);
}

static void a_new_step_replaces_an_unfinished_one(void **state)
{
    (void)state;
    bool is_whole;
    assert_int_equal(give(3, 0, "abcd", &is_whole), TRIB_OK);
    const struct trib_msg_secagg_step next = {
        .round_id = 10, .kind = TRIB_SECAGG_STEP_SHARES, .size = 2};
    assert_int_equal(trib_step_begin(&in, 4, &next), TRIB_OK);
    assert_int_equal(give(3, 4, "ef", &is_whole), TRIB_OK);
    assert_false(is_whole);
    assert_int_equal(give(4, 0, "xy", &is_whole), TRIB_OK);
    assert_true(is_whole);
    assert_int_equal(in.round_id, 10);
}

static void without_a_step_chunks_are_skipped(void **state)
{
    (void)state;
    bool is_whole = true;
    trib_step_drop(&in);
    assert_int_equal(give(3, 0, "abcd", &is_whole), TRIB_OK);
    assert_false(is_whole);
    assert_null(in.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces_in_order_make_the_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_gap_an_overlap_and_a_repetition_are_errors, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(more_bytes_than_announced_are_an_error_and_are_not_written,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(chunks_of_another_stream_are_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_follows_the_whole_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_step_replaces_an_unfinished_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_step_chunks_are_skipped, set_up, tear_down),
    };
    return RUN_TESTS(tests);
}
