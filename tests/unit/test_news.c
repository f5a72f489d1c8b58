// Rows that are new: what a mark says, and what it says after the source changed.
#include "common/data/source.h"
#include "tests/unit/files.h"

#include "common/data/csv.h"
#include "common/data/row_store.h"
#include "common/data/schema.h"

static struct trib_data_config config;

static void put(const char *text)
{
    const char *path = files_put(0, "t.csv", text, strlen(text));
    memcpy(config.train, path, strlen(path) + 1);
}

static int begin(void **state)
{
    (void)state;
    config = (struct trib_data_config){.format = TRIB_DATA_CSV, .scale = 1, .label = "last"};
    return 0;
}

// Read what is behind `mark`: `count` rows, of which the first has this feature. The mark moves on
// by `take` of them.
static void assert_news(struct trib_data_mark *mark, size_t count, float first, size_t take)
{
    struct trib_data_news news;
    assert_int_equal(trib_data_news_open(&config, mark, false, 1000, &news), TRIB_OK);
    assert_int_equal(trib_data_news_count(&news), count);
    const struct trib_samples samples = trib_data_news_samples(&news);
    assert_int_equal(samples.rows, count);
    if (count > 0)
        assert_true(samples.x[0] == first);
    if (take > 0)
        trib_data_news_mark(&news, take, mark);
    trib_data_news_fini(&news);
}

static void a_file_that_grows_has_each_row_new_once(void **state)
{
    (void)state;
    struct trib_data_mark mark = {.position = 0};
    put("1,0\n2,0\n3,1");
    assert_news(&mark, 2, 1, 2); // the third may be still in the writing
    assert_int_equal(mark.position, 2);
    assert_news(&mark, 0, 0, 0);
    put("1,0\n2,0\n3,1\n4,1\n5,0\n");
    assert_news(&mark, 3, 3, 1);
    assert_news(&mark, 2, 4, 2);
    assert_news(&mark, 0, 0, 0);
    files_logged[0] = '\0';
    put("8,0\n9,0\n"); // rotated
    assert_news(&mark, 2, 8, 1);
    files_assert_logged("id=data-rotated");
    put("8,1\n9,0\n"); // written anew
    assert_news(&mark, 2, 8, 2);
    put("");
    assert_news(&mark, 0, 0, 0);
}

static void records_of_several_lines_and_bad_rows_are_counted_by_lines(void **state)
{
    (void)state;
    static const char declared[] = "[column x]\n[column name]\ntype = text\nrole = id\n"
                                   "[column y]\nrole = label\n";
    struct trib_data_mark mark = {.position = 0};
    const char *schema = files_put(1, "s.ini", declared, strlen(declared));
    memcpy(config.schema, schema, strlen(schema) + 1);
    config.max_bad_share = 0.9;
    config.header = TRIB_CSV_HEADER_YES;
    put("x,name,y\n1,\"a\nb\nc\",0\nbad,n,0\n2,n,1\n");
    assert_news(&mark, 2, 1, 1);
    assert_int_equal(mark.position, 5); // behind the bad row, too
    assert_news(&mark, 1, 2, 1);
    assert_int_equal(mark.position, 6);
    put("x,name,y\n1,\"a\nb\nc\",0\nbad,n,0\n2,n,1\n3,\"n\n\",1\n");
    assert_news(&mark, 1, 3, 1);
    assert_int_equal(mark.position, 8);
}

static void a_rehearsal_hides_what_comes_later(void **state)
{
    (void)state;
    struct trib_data_mark mark = {.position = 0};
    struct trib_data_news news;
    put("1,0\n2,0\n3,1\n4,1\n5,0\n");
    static const size_t wanted[] = {2, 2, 1, 0};
    for (uint64_t round = 1; round <= 4; round++) {
        assert_int_equal(trib_data_news_open(&config, &mark, false, 1000, &news), TRIB_OK);
        trib_data_news_hide(&news, 2, round);
        assert_int_equal(trib_data_news_count(&news), wanted[round - 1]);
        if (wanted[round - 1])
            trib_data_news_mark(&news, wanted[round - 1], &mark);
        trib_data_news_fini(&news);
    }
    assert_int_equal(mark.position, 5);
}

static void rows_of_a_store_are_new_by_their_numbers_and_their_age(void **state)
{
    (void)state;
    static const char declared[] = "[column x]\n[column y]\nrole = label\n";
    struct trib_data_mark mark = {.position = 0};
    struct trib_schema *schema;
    struct trib_row_store *store;
    const char *path = files_put(1, "s.ini", declared, strlen(declared));
    config.format = TRIB_DATA_STORE;
    config.store_max_bytes = TRIB_ROW_STORE_BYTES_MIN;
    memcpy(config.schema, path, strlen(path) + 1);
    path = files_put(2, "rows", NULL, 0);
    memcpy(config.store, path, strlen(path) + 1);
    assert_news(&mark, 0, 0, 0);
    assert_int_equal(trib_data_open_store(&config, 1, &schema, &store), TRIB_OK);
    for (uint64_t i = 1; i <= 5; i++) {
        char text[16];
        int size = snprintf(text, sizeof(text), "%d,1", (int)i);
        assert_int_equal(trib_row_store_append(store, text, (size_t)size, 100 * i), TRIB_OK);
    }
    assert_int_equal(trib_row_store_flush(store), TRIB_OK);
    assert_news(&mark, 5, 1, 2);
    assert_int_equal(mark.position, 2);
    assert_news(&mark, 3, 3, 0);
    config.store_max_age_s = 1; // at 1000 ms everything is young
    assert_news(&mark, 3, 3, 3);
    assert_news(&mark, 0, 0, 0);
    mark.digest[0] ^= 1; // of another source
    assert_news(&mark, 5, 1, 0);
    files_assert_logged("id=data-changed");
    trib_row_store_close(store);
    trib_schema_destroy(schema);
    (void)unlink(files_put(0, "rows/0000000000000001.rows", NULL, 0));
    (void)unlink(files_put(0, "rows/lock", NULL, 0));
    assert_int_equal(rmdir(config.store), 0);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"t.csv", "s.ini", NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_file_that_grows_has_each_row_new_once, begin),
        cmocka_unit_test_setup(records_of_several_lines_and_bad_rows_are_counted_by_lines, begin),
        cmocka_unit_test_setup(a_rehearsal_hides_what_comes_later, begin),
        cmocka_unit_test_setup(rows_of_a_store_are_new_by_their_numbers_and_their_age, begin),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
