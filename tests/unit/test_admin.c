#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/limits.h"
#include "common/wire/admin.h"

enum {
    PREFIX = TRIB_ADMIN_LENGTH_SIZE
};

static void check_length(const struct trib_buf *buf)
{
    assert_false(buf->failed);
    assert_true(buf->size >= PREFIX);
    assert_int_equal(trib_load_be32(buf->data), buf->size - PREFIX);
}

// ---- Requests

static void sample_request(struct trib_admin_request *request, size_t word_count)
{
    *request = (struct trib_admin_request){.word_count = word_count,
                                           .body_name = "job.ini",
                                           .body_dir = "/tmp",
                                           .body = (const uint8_t *)"[model]\0\n",
                                           .body_size = 9};
    for (size_t i = 0; i < word_count && i < TRIB_ADMIN_WORDS_MAX; i++)
        request->words[i] = i % 2 ? "submit" : "jobs";
}

static void a_request_arrives_as_it_was_sent(void **state)
{
    (void)state;
    for (size_t count = 1; count <= TRIB_ADMIN_WORDS_MAX; count++) {
        struct trib_admin_request request, got;
        struct trib_buf buf = {.data = NULL};
        sample_request(&request, count);
        trib_admin_request_pack(&request, &buf);
        check_length(&buf);
        assert_int_equal(trib_admin_request_unpack(buf.data + PREFIX, buf.size - PREFIX, &got),
                         TRIB_OK);
        trib_buf_fini(&buf); // the request has memory of its own
        assert_int_equal(got.word_count, count);
        for (size_t i = 0; i < count; i++)
            assert_string_equal(got.words[i], request.words[i]);
        assert_string_equal(got.body_name, "job.ini");
        assert_string_equal(got.body_dir, "/tmp");
        assert_int_equal(got.body_size, 9);
        assert_memory_equal(got.body, request.body, 9);
        trib_admin_request_fini(&got);
        assert_null(got.memory);
        trib_admin_request_fini(&got); // twice is fine
    }
}

static void a_request_of_no_words_too_many_or_too_long_is_refused(void **state)
{
    struct trib_admin_request request, got;
    struct trib_buf buf = {.data = NULL};
    static const uint8_t one_more[] = {1 << 3 | 2, 1, 'x'}; // another entry of the list of words
    (void)state;
    sample_request(&request, 0);
    trib_admin_request_pack(&request, &buf);
    assert_int_equal(trib_admin_request_unpack(buf.data + PREFIX, buf.size - PREFIX, &got),
                     TRIB_ERR_PROTO);
    trib_buf_clear(&buf);
    sample_request(&request, TRIB_ADMIN_WORDS_MAX);
    trib_admin_request_pack(&request, &buf);
    trib_buf_append(&buf, one_more, sizeof(one_more));
    assert_int_equal(trib_admin_request_unpack(buf.data + PREFIX, buf.size - PREFIX, &got),
                     TRIB_ERR_PROTO);
    trib_buf_clear(&buf);
    sample_request(&request, 1);
    request.body_size = TRIB_ADMIN_REQUEST_MAX;
    uint8_t *body = calloc(1, request.body_size);
    assert_non_null(body);
    request.body = body;
    trib_admin_request_pack(&request, &buf);
    assert_int_equal(trib_admin_request_unpack(buf.data + PREFIX, buf.size - PREFIX, &got),
                     TRIB_ERR_PROTO);
    free(body);
    trib_buf_fini(&buf);
}

// ---- Replies

static void sample_reply(struct trib_admin_reply *reply)
{
    *reply = (struct trib_admin_reply){.exit_code = 0};
    for (int i = 0; i < 20; i++) { // more rows than are allocated at first
        (void)trib_admin_row_add(reply);
        trib_admin_text(reply, "name", i ? "dev-\"1\"" : "a");
        trib_admin_number(reply, "round", UINT64_MAX);
        trib_admin_real(reply, "loss", 0.5);
        trib_admin_real(reply, "ratio", (double)NAN);
        trib_admin_flag(reply, "live", i % 2);
        trib_admin_json(reply, "metrics", "{\"a\":1}");
        trib_admin_text(reply, "group", NULL);
    }
    assert_false(reply->failed);
}

static void a_reply_arrives_with_every_kind_of_value(void **state)
{
    struct trib_admin_reply reply, got;
    struct trib_buf buf = {.data = NULL};
    struct trib_buf text = {.data = NULL};
    (void)state;
    sample_reply(&reply);
    trib_admin_reply_pack(&reply, &buf);
    check_length(&buf);
    assert_int_equal(trib_admin_reply_unpack(buf.data + PREFIX, buf.size - PREFIX, &got), TRIB_OK);
    assert_int_equal(got.row_count, 20);
    const struct trib_admin_row *row = &got.rows[19];
    assert_string_equal(trib_admin_find_text(row, "name"), "dev-\"1\"");
    assert_true(trib_admin_find_number(row, "round") == UINT64_MAX);
    assert_true(trib_admin_find_real(row, "loss") == 0.5);
    assert_true(isnan(trib_admin_find_real(row, "ratio")));
    assert_int_equal(trib_admin_find(row, "ratio")->kind, TRIB_ADMIN_NULL);
    assert_true(trib_admin_find(row, "live")->flag);
    assert_string_equal(trib_admin_find_text(row, "metrics"), "{\"a\":1}");
    assert_null(trib_admin_find(row, "absent"));
    assert_string_equal(trib_admin_find_text(row, "absent"), "");
    assert_true(trib_admin_find_number(row, "absent") == 0);
    trib_admin_row_json(row, &text);
    assert_string_equal((const char *)text.data,
                        "{\"name\":\"dev-\\\"1\\\"\",\"round\":18446744073709551615,\"loss\":0.5,"
                        "\"ratio\":null,\"live\":true,\"metrics\":{\"a\":1},\"group\":null}\n");
    trib_buf_fini(&text);
    trib_buf_fini(&buf);
    trib_admin_reply_fini(&got);
    trib_admin_reply_fini(&reply);
}

static void a_failure_arrives_with_its_exit_code_and_text(void **state)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_admin_reply got;
    struct trib_buf buf = {.data = NULL};
    (void)state;
    trib_admin_fail(&reply, 2, "no job %d", 1);
    trib_admin_fail(&reply, 4, "no job %d", 7); // the last one counts
    trib_admin_reply_pack(&reply, &buf);
    assert_int_equal(trib_admin_reply_unpack(buf.data + PREFIX, buf.size - PREFIX, &got), TRIB_OK);
    assert_int_equal(got.exit_code, 4);
    assert_string_equal(got.error, "no job 7");
    trib_buf_fini(&buf);
    trib_admin_reply_fini(&got);
    trib_admin_reply_fini(&reply);
}

static void a_row_holds_no_more_fields_than_its_limit(void **state)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    (void)state;
    (void)trib_admin_row_add(&reply);
    for (size_t i = 0; i < TRIB_ADMIN_FIELDS_MAX; i++)
        trib_admin_number(&reply, "n", i);
    assert_false(reply.failed);
    trib_admin_number(&reply, "n", 0);
    assert_true(reply.failed);
    assert_int_equal(reply.rows[0].count, TRIB_ADMIN_FIELDS_MAX);
    trib_admin_reply_fini(&reply);
}

static void a_reply_of_too_many_rows_or_fields_is_refused(void **state)
{
    static const uint8_t empty_row[] = {3 << 3 | 2, 0};
    static const uint8_t empty_field[] = {1 << 3 | 2, 0};
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_admin_reply got;
    struct trib_buf buf = {.data = NULL};
    (void)state;
    for (size_t i = 0; i < TRIB_ADMIN_ROWS_MAX; i++)
        assert_non_null(trib_admin_row_add(&reply));
    trib_admin_reply_pack(&reply, &buf);
    assert_int_equal(buf.size, PREFIX + TRIB_ADMIN_ROWS_MAX * sizeof(empty_row));
    assert_memory_equal(buf.data + PREFIX, empty_row, sizeof(empty_row));
    assert_int_equal(trib_admin_reply_unpack(buf.data + PREFIX, buf.size - PREFIX, &got), TRIB_OK);
    assert_int_equal(got.row_count, TRIB_ADMIN_ROWS_MAX);
    trib_admin_reply_fini(&got);
    trib_buf_append(&buf, empty_row, sizeof(empty_row));
    assert_int_equal(trib_admin_reply_unpack(buf.data + PREFIX, buf.size - PREFIX, &got),
                     TRIB_ERR_PROTO);
    assert_null(trib_admin_row_add(&reply)); // nor is such a reply built
    assert_true(reply.failed);
    trib_admin_reply_fini(&reply);

    for (size_t fields = TRIB_ADMIN_FIELDS_MAX; fields <= TRIB_ADMIN_FIELDS_MAX + 1; fields++) {
        const uint8_t row[] = {empty_row[0], (uint8_t)(fields * sizeof(empty_field))};
        trib_buf_clear(&buf);
        trib_buf_append(&buf, row, sizeof(row));
        for (size_t i = 0; i < fields; i++)
            trib_buf_append(&buf, empty_field, sizeof(empty_field));
        assert_false(buf.failed);
        enum trib_err err = trib_admin_reply_unpack(buf.data, buf.size, &got);
        assert_int_equal(err, fields > TRIB_ADMIN_FIELDS_MAX ? TRIB_ERR_PROTO : TRIB_OK);
        if (!err)
            trib_admin_reply_fini(&got);
    }
    trib_buf_fini(&buf);
}

// A long object would be cut in a cell.
static void a_list_shows_an_object_whole_with_a_member_a_line(void **state)
{
    enum {
        LONG = 5000
    };
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_buf text = {.data = NULL};
    char json[LONG + 64];
    (void)state;
    (void)trib_admin_row_add(&reply);
    trib_admin_number(&reply, "version", 3);
    trib_admin_json(&reply, "metrics", "{\"a,\\\"b\":1,\"c\":{\"d\":[1,2],\"e\":2},\"f\":3}");
    trib_admin_json(&reply, "none", NULL);
    trib_admin_list(&reply.rows[0], &text);
    assert_string_equal((const char *)text.data,
                        "version                3\n"
                        "metrics                {\"a,\\\"b\":1,\n"
                        "                        \"c\":{\"d\":[1,2],\"e\":2},\n"
                        "                        \"f\":3}\n"
                        "none                   -\n");
    trib_buf_fini(&text);
    trib_admin_reply_fini(&reply);

    (void)snprintf(json, sizeof(json), "{\"confusion\":[%0*d]}", LONG, 0);
    (void)trib_admin_row_add(&reply);
    trib_admin_json(&reply, "metrics", json);
    trib_admin_list(&reply.rows[0], &text);
    assert_non_null(strstr((const char *)text.data, json));
    trib_buf_fini(&text);
    trib_admin_reply_fini(&reply);
}

static void a_table_has_aligned_columns(void **state)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_buf text = {.data = NULL};
    (void)state;
    (void)trib_admin_row_add(&reply);
    trib_admin_text(&reply, "name", "a");
    trib_admin_number(&reply, "round", 12);
    (void)trib_admin_row_add(&reply);
    trib_admin_text(&reply, "name", "longer");
    trib_admin_table(&reply, &text);
    assert_string_equal((const char *)text.data, "name    round\n"
                                                 "a          12\n"
                                                 "longer      -\n");
    trib_buf_fini(&text);
    trib_admin_reply_fini(&reply);
}

static void a_table_has_no_column_of_json_or_of_nothing(void **state)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_buf text = {.data = NULL};
    (void)state;
    for (uint64_t round = 1; round <= 2; round++) {
        (void)trib_admin_row_add(&reply);
        trib_admin_number(&reply, "round", round);
        trib_admin_json(&reply, "metrics", round == 2 ? "{\"a\":1}" : NULL);
        trib_admin_text(&reply, "reason", NULL);
        trib_admin_text(&reply, "note", round == 2 ? "late" : NULL);
    }
    trib_admin_table(&reply, &text);
    assert_string_equal((const char *)text.data, "round  note\n"
                                                 "    1  -\n"
                                                 "    2  late\n");
    trib_buf_fini(&text);
    trib_admin_reply_fini(&reply);
}

// ---- Any bytes

static void unpack_both(const uint8_t *data, size_t size)
{
    struct trib_admin_request request;
    struct trib_admin_reply reply;
    if (trib_admin_request_unpack(data, size, &request) == TRIB_OK) {
        assert_in_range(request.word_count, 1, TRIB_ADMIN_WORDS_MAX);
        trib_admin_request_fini(&request);
    }
    if (trib_admin_reply_unpack(data, size, &reply) == TRIB_OK) {
        for (size_t i = 0; i < reply.row_count; i++)
            assert_in_range(reply.rows[i].count, 0, TRIB_ADMIN_FIELDS_MAX);
        trib_admin_reply_fini(&reply);
    }
}

static void truncated_and_changed_bytes_are_refused_or_harmless(void **state)
{
    struct trib_admin_request request;
    struct trib_admin_reply reply;
    struct trib_buf buf[2] = {{.data = NULL}, {.data = NULL}};
    uint64_t seed = 6;
    (void)state;
    sample_request(&request, 3);
    trib_admin_request_pack(&request, &buf[0]);
    sample_reply(&reply);
    trib_admin_reply_pack(&reply, &buf[1]);
    trib_admin_reply_fini(&reply);
    for (size_t b = 0; b < 2; b++) {
        size_t size = buf[b].size - PREFIX;
        uint8_t *copy = malloc(size);
        assert_non_null(copy);
        for (size_t cut = 0; cut < size; cut++)
            unpack_both(buf[b].data + PREFIX, cut);
        for (size_t round = 0; round < 3000; round++) {
            memcpy(copy, buf[b].data + PREFIX, size);
            copy[test_rand(&seed) % size] = (uint8_t)(test_rand(&seed) >> 32);
            unpack_both(copy, size);
        }
        free(copy);
        trib_buf_fini(&buf[b]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_arrives_as_it_was_sent),
        cmocka_unit_test(a_request_of_no_words_too_many_or_too_long_is_refused),
        cmocka_unit_test(a_reply_arrives_with_every_kind_of_value),
        cmocka_unit_test(a_failure_arrives_with_its_exit_code_and_text),
        cmocka_unit_test(a_row_holds_no_more_fields_than_its_limit),
        cmocka_unit_test(a_reply_of_too_many_rows_or_fields_is_refused),
        cmocka_unit_test(a_list_shows_an_object_whole_with_a_member_a_line),
        cmocka_unit_test(a_table_has_aligned_columns),
        cmocka_unit_test(a_table_has_no_column_of_json_or_of_nothing),
        cmocka_unit_test(truncated_and_changed_bytes_are_refused_or_harmless),
    };
    return RUN_TESTS(tests);
}
