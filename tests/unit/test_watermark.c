#include "client/watermark.h"
#include "tests/unit/files.h"

static const uint8_t id[TRIB_MSG_ID_SIZE] = {1, 2, 3};
static const uint8_t other_id[TRIB_MSG_ID_SIZE] = {1, 2, 4};

static uint64_t used(void)
{
    struct trib_data_mark mark = {.position = 99};
    assert_int_equal(trib_watermark_load(files_dir, &mark), TRIB_OK);
    return mark.position;
}

static void claim(const uint8_t *update_id, uint64_t position)
{
    const struct trib_data_mark mark = {.position = position, .digest = {7}};
    assert_int_equal(trib_watermark_claim(files_dir, update_id, &mark), TRIB_OK);
}

// The next start, with this in the spool. Does the update there have a claim?
static bool restart(enum trib_watermark_spool spool, const uint8_t *spooled_id)
{
    bool has_claim = true;
    assert_int_equal(trib_watermark_recover(files_dir, spool, spooled_id, &has_claim), TRIB_OK);
    return has_claim;
}

static int begin(void **state)
{
    (void)state;
    return unlink(files_put(0, "watermark", NULL, 0)), 0;
}

static void rows_are_used_when_their_update_is_counted(void **state)
{
    (void)state;
    struct trib_data_mark mark;
    assert_int_equal(used(), 0);
    assert_int_equal(trib_watermark_settle(files_dir, true), TRIB_OK); // there is no claim
    claim(id, 5);
    assert_int_equal(used(), 0);
    assert_int_equal(trib_watermark_settle(files_dir, true), TRIB_OK);
    assert_int_equal(used(), 5);
    claim(id, 9);
    assert_int_equal(trib_watermark_settle(files_dir, false), TRIB_OK); // refused
    assert_int_equal(trib_watermark_load(files_dir, &mark), TRIB_OK);
    assert_int_equal(mark.position, 5);
    assert_int_equal(mark.digest[0], 7);
}

// Each kill between two writes, as the next start finds it.
static void a_start_settles_what_a_kill_left_open(void **state)
{
    (void)state;
    claim(id, 5); // killed before the update was in the spool
    assert_false(restart(TRIB_WATERMARK_SPOOL_EMPTY, NULL));
    assert_int_equal(used(), 0);
    claim(id, 5); // an older update is in the spool, by the same chance
    assert_false(restart(TRIB_WATERMARK_SPOOL_WHOLE, other_id));
    assert_int_equal(used(), 0);
    claim(id, 5); // killed before the receipt was taken: it is sent again
    assert_true(restart(TRIB_WATERMARK_SPOOL_WHOLE, id));
    assert_int_equal(used(), 0);
    assert_int_equal(trib_watermark_settle(files_dir, true), TRIB_OK);
    assert_false(restart(TRIB_WATERMARK_SPOOL_WHOLE, id)); // counted, killed before it was removed
    assert_int_equal(used(), 5);
    claim(id, 7); // refused, removed, and killed before the claim was released
    assert_false(restart(TRIB_WATERMARK_SPOOL_EMPTY, NULL));
    assert_int_equal(used(), 5);
    claim(id, 8); // sent or not: the spool cannot tell
    assert_false(restart(TRIB_WATERMARK_SPOOL_DAMAGED, NULL));
    assert_int_equal(used(), 8);
    claim(NULL, 11); // masked: nobody can send it again
    assert_false(restart(TRIB_WATERMARK_SPOOL_EMPTY, NULL));
    assert_int_equal(used(), 11);
    claim(NULL, 12);
    assert_false(restart(TRIB_WATERMARK_SPOOL_WHOLE, (const uint8_t[TRIB_MSG_ID_SIZE]){0}));
    assert_int_equal(used(), 12);
}

static void every_damage_is_found(void **state)
{
    (void)state;
    struct trib_data_mark mark = {.position = 0};
    struct trib_buf whole = {0};
    bool has_claim;
    claim(id, 5);
    const char *path = files_put(0, "watermark", NULL, 0);
    assert_int_equal(trib_file_read(path, 1000, &whole), TRIB_OK);
    for (size_t at = 0; at <= whole.size; at++) {
        if (at < whole.size)
            whole.data[at] ^= 0x40;
        assert_int_equal(
            trib_file_write(path, whole.data, at < whole.size ? whole.size : at - 1, 0600),
            TRIB_OK);
        assert_int_equal(trib_watermark_load(files_dir, &mark), TRIB_ERR_CORRUPT);
        files_assert_logged("id=watermark-corrupt");
        assert_int_equal(trib_watermark_claim(files_dir, id, &mark), TRIB_ERR_CORRUPT);
        // Batch tasks do not need it: the client starts.
        assert_int_equal(
            trib_watermark_recover(files_dir, TRIB_WATERMARK_SPOOL_EMPTY, NULL, &has_claim),
            TRIB_OK);
        if (at < whole.size)
            whole.data[at] ^= 0x40;
    }
    trib_buf_fini(&whole);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"watermark", NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rows_are_used_when_their_update_is_counted, begin),
        cmocka_unit_test_setup(a_start_settles_what_a_kill_left_open, begin),
        cmocka_unit_test_setup(every_damage_is_found, begin),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
