#include "coordinator/result.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"

// Every field has a value of its own, numbers the largest that a row holds, texts as long as fits.
static struct trib_round_result full_result(void)
{
    struct trib_round_result result = {
        .id = UINT64_MAX,
        .round = UINT64_MAX - 1,
        .version = UINT64_MAX - 2,
        .asked = UINT64_MAX - 3,
        .accepted = UINT64_MAX - 4,
        .refused = UINT64_MAX - 5,
        .loss = 0.1,
        .value = -0.2,
        .epsilon_pure = 1e-300,
        .epsilon = 1.0 / 3,
        .delta = 1e-5,
        .bytes_up = UINT64_MAX - 6,
        .bytes_down = UINT64_MAX - 7,
        .seconds = 1e300,
    };
    memset(result.state, 's', sizeof(result.state) - 1);
    memset(result.reason, 'r', sizeof(result.reason) - 1);
    memset(result.metric, 'm', sizeof(result.metric) - 1);
    memset(result.metrics, 'x', sizeof(result.metrics) - 1);
    result.metrics[0] = result.metrics[sizeof(result.metrics) - 2] = '"';
    memset(result.kind, 'k', sizeof(result.kind) - 1);
    memset(result.tally, 't', sizeof(result.tally) - 1);
    result.tally[0] = result.tally[sizeof(result.tally) - 2] = '"';
    memset(result.privacy, 'p', sizeof(result.privacy) - 1);
    memset(result.phases, 'h', sizeof(result.phases) - 1);
    result.phases[0] = result.phases[sizeof(result.phases) - 2] = '"';
    result.privacy[0] = result.privacy[sizeof(result.privacy) - 2] = '"';
    return result;
}

// The row of a result after its way over the admin socket.
static struct trib_admin_reply sent(const struct trib_round_result *result)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_admin_reply got;
    struct trib_buf buf = {0};
    trib_result_to_row(result, &reply);
    assert_false(reply.failed);
    trib_admin_reply_pack(&reply, &buf);
    assert_false(buf.failed);
    assert_int_equal(trib_admin_reply_unpack(buf.data + TRIB_ADMIN_LENGTH_SIZE,
                                             buf.size - TRIB_ADMIN_LENGTH_SIZE, &got),
                     TRIB_OK);
    assert_int_equal(got.row_count, 1);
    trib_admin_reply_fini(&reply);
    trib_buf_fini(&buf);
    return got;
}

static void assert_same_real(double a, double b)
{
    assert_true(isnan(a) ? isnan(b) : a == b);
}

static void assert_same(const struct trib_round_result *a, const struct trib_round_result *b)
{
    assert_true(a->id == b->id);
    assert_true(a->round == b->round);
    assert_true(a->version == b->version);
    assert_string_equal(a->state, b->state);
    assert_string_equal(a->reason, b->reason);
    assert_true(a->asked == b->asked);
    assert_true(a->accepted == b->accepted);
    assert_true(a->refused == b->refused);
    assert_same_real(a->loss, b->loss);
    assert_string_equal(a->metric, b->metric);
    assert_same_real(a->value, b->value);
    assert_string_equal(a->metrics, b->metrics);
    assert_string_equal(a->privacy, b->privacy);
    assert_string_equal(a->kind, b->kind);
    assert_string_equal(a->tally, b->tally);
    assert_string_equal(a->phases, b->phases);
    assert_same_real(a->epsilon_pure, b->epsilon_pure);
    assert_same_real(a->epsilon, b->epsilon);
    assert_same_real(a->delta, b->delta);
    assert_true(a->bytes_up == b->bytes_up);
    assert_true(a->bytes_down == b->bytes_down);
    assert_same_real(a->seconds, b->seconds);
}

static void every_field_arrives_as_it_was_sent_and_nothing_is_cut(void **state)
{
    (void)state;
    const struct trib_round_result result = full_result();
    struct trib_round_result got;
    struct trib_admin_reply reply = sent(&result);
    trib_result_from_row(&reply.rows[0], &got);
    assert_same(&result, &got);
    assert_int_equal(strlen(got.metrics), TRIB_RESULT_METRICS_SIZE - 1);
    assert_int_equal(strlen(got.state), sizeof(got.state) - 1);
    trib_admin_reply_fini(&reply);
}

// Clear one field after the other: each has its own place in the row.
static void no_field_stands_for_another(void **state)
{
    (void)state;
    const struct trib_round_result whole = full_result();
    static const size_t numbers[] = {offsetof(struct trib_round_result, id),
                                     offsetof(struct trib_round_result, round),
                                     offsetof(struct trib_round_result, version),
                                     offsetof(struct trib_round_result, asked),
                                     offsetof(struct trib_round_result, accepted),
                                     offsetof(struct trib_round_result, refused),
                                     offsetof(struct trib_round_result, loss),
                                     offsetof(struct trib_round_result, value),
                                     offsetof(struct trib_round_result, epsilon),
                                     offsetof(struct trib_round_result, delta),
                                     offsetof(struct trib_round_result, bytes_up),
                                     offsetof(struct trib_round_result, seconds),
                                     offsetof(struct trib_round_result, bytes_down),
                                     offsetof(struct trib_round_result, epsilon_pure)};
    static const size_t texts[] = {
        offsetof(struct trib_round_result, state),   offsetof(struct trib_round_result, reason),
        offsetof(struct trib_round_result, metric),  offsetof(struct trib_round_result, metrics),
        offsetof(struct trib_round_result, privacy), offsetof(struct trib_round_result, kind),
        offsetof(struct trib_round_result, tally),   offsetof(struct trib_round_result, phases)};
    const size_t number_count = sizeof(numbers) / sizeof(numbers[0]);
    for (size_t i = 0; i < number_count + sizeof(texts) / sizeof(texts[0]); i++) {
        struct trib_round_result result = whole;
        struct trib_round_result got;
        if (i < number_count)
            memset((char *)&result + numbers[i], 0, sizeof(uint64_t));
        else
            ((char *)&result)[texts[i - number_count]] = '\0';
        struct trib_admin_reply reply = sent(&result);
        trib_result_from_row(&reply.rows[0], &got);
        assert_same(&result, &got);
        trib_admin_reply_fini(&reply);
    }
}

static void what_does_not_exist_is_null_and_comes_back_as_not_a_number(void **state)
{
    (void)state;
    struct trib_round_result result;
    struct trib_round_result got;
    struct trib_buf text = {0};
    trib_result_init(&result);
    struct trib_admin_reply reply = sent(&result);
    trib_admin_row_json(&reply.rows[0], &text);
    assert_string_equal((const char *)text.data,
                        "{\"event\":\"round\",\"round\":0,\"version\":0,\"asked\":0,\"accepted\":0,"
                        "\"refused\":0,\"loss\":null,\"metric\":null,\"value\":null,"
                        "\"metrics\":null,\"epsilon_pure\":null,\"epsilon\":null,\"delta\":null,"
                        "\"bytes_up\":0,\"bytes_down\":0,\"seconds\":0,\"state\":\"\","
                        "\"reason\":null,\"id\":0,\"privacy\":null,"
                        "\"kind\":\"train\",\"tally\":null,\"device_metrics\":null,"
                        "\"phases\":null}\n");
    trib_result_from_row(&reply.rows[0], &got);
    assert_same(&result, &got);
    assert_true(isnan(got.loss) && isnan(got.value) && isnan(got.epsilon));
    trib_buf_fini(&text);
    trib_admin_reply_fini(&reply);
}

static void infinity_is_null_too(void **state)
{
    (void)state;
    struct trib_round_result result = full_result();
    struct trib_round_result got;
    result.loss = (double)INFINITY;
    result.epsilon = -(double)INFINITY;
    struct trib_admin_reply reply = sent(&result);
    assert_int_equal(trib_admin_find(&reply.rows[0], "loss")->kind, TRIB_ADMIN_NULL);
    assert_int_equal(trib_admin_find(&reply.rows[0], "epsilon")->kind, TRIB_ADMIN_NULL);
    trib_result_from_row(&reply.rows[0], &got);
    assert_true(isnan(got.loss) && isnan(got.epsilon));
    trib_admin_reply_fini(&reply);
}

// A row of another version of the coordinator: what it lacks is absent, not made up.
static void a_row_without_a_field_gives_nothing_for_it(void **state)
{
    (void)state;
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_round_result got;
    (void)trib_admin_row_add(&reply);
    trib_admin_number(&reply, "round", 7);
    trib_admin_text(&reply, "later", "what nobody knows yet");
    trib_result_from_row(&reply.rows[0], &got);
    assert_true(got.round == 7 && got.id == 0 && got.bytes_up == 0);
    assert_true(isnan(got.loss) && isnan(got.seconds));
    assert_string_equal(got.state, "");
    assert_string_equal(got.metrics, "");
    trib_admin_reply_fini(&reply);
}

static void an_evaluation_gives_its_primary_metric_and_all_of_them_as_json(void **state)
{
    (void)state;
    const struct trib_held_out classes = {
        .validation = {.classes = 3, .rows = 10, .loss = 0.5, .accuracy = 0.25}};
    const struct trib_held_out regression = {
        .validation = {.classes = 0, .rows = 10, .loss = 2, .mse = 4},
        .test = {.classes = 0, .rows = 7, .loss = 3, .mse = 6}};
    struct trib_round_result result;

    trib_result_init(&result);
    trib_result_set_evaluation(&result, &classes);
    assert_string_equal(result.metric, "accuracy");
    assert_true(result.value == 0.25 && result.loss == 0.5);
    assert_int_equal(result.metrics[0], '{');
    assert_int_equal(result.metrics[strlen(result.metrics) - 1], '}');
    assert_non_null(strstr(result.metrics, "\"accuracy\":0.25"));
    assert_null(strstr(result.metrics, "test"));

    trib_result_init(&result);
    trib_result_set_evaluation(&result, &regression);
    assert_string_equal(result.metric, "mse");
    assert_true(result.value == 4 && result.loss == 2);
    assert_non_null(strstr(result.metrics, "\"mse\":4"));
    assert_non_null(strstr(result.metrics, "\"test\":{\"rows\":7,\"loss\":3,\"mse\":6"));
    assert_true(isnan(result.epsilon)); // nothing else was touched
}

// Numbers as long as they get, in both halves and with every interval.
static void the_longest_evaluation_is_not_cut(void **state)
{
    (void)state;
    const double longest = -1.2345678901234567e-300;
    for (uint32_t classes = 0; classes <= 6; classes += 2) {
        struct trib_held_out held_out = {.validation = {.classes = classes, .confidence = 0.95}};
        struct trib_evaluation_value values[TRIB_EVALUATION_VALUES];
        struct trib_round_result result;
        const size_t count = trib_evaluation_values(&held_out.validation, values);
        double *ends = (double *)(void *)&held_out.validation.intervals;
        for (size_t i = 0; i < count; i++)
            trib_evaluation_set(&held_out.validation, values[i].name, longest);
        for (size_t i = 0; i < sizeof(held_out.validation.intervals) / sizeof(*ends); i++)
            ends[i] = longest;
        held_out.test = held_out.validation;
        held_out.test.rows = UINT64_MAX;
        trib_result_init(&result);
        trib_result_set_evaluation(&result, &held_out);
        assert_int_equal(result.metrics[0], '{');
        assert_int_equal(result.metrics[strlen(result.metrics) - 1], '}');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_arrives_as_it_was_sent_and_nothing_is_cut),
        cmocka_unit_test(no_field_stands_for_another),
        cmocka_unit_test(what_does_not_exist_is_null_and_comes_back_as_not_a_number),
        cmocka_unit_test(infinity_is_null_too),
        cmocka_unit_test(a_row_without_a_field_gives_nothing_for_it),
        cmocka_unit_test(the_longest_evaluation_is_not_cut),
        cmocka_unit_test(an_evaluation_gives_its_primary_metric_and_all_of_them_as_json),
    };
    return RUN_TESTS(tests);
}
