#include "tests/test.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/message.h"
#include "tests/messages.h"

// ---- Tools

static struct trib_buf packed(const struct message *message, const void *msg)
{
    struct trib_buf buf = {.data = NULL};
    message->pack(msg, &buf);
    assert_false(buf.failed);
    return buf;
}

static void *canary(const struct message *message)
{
    void *msg = malloc(message->size);
    assert_non_null(msg);
    memset(msg, 0xa5, message->size);
    return msg;
}

static void refuses(const struct message *message, const uint8_t *data, size_t size)
{
    uint8_t *msg = canary(message);
    if (message->unpack(data, size, msg) != TRIB_ERR_PROTO)
        fail_msg("%s: accepted", message->name);
    for (size_t i = 0; i < message->size; i++)
        assert_int_equal(msg[i], 0xa5); // nothing was written
    free(msg);
}

// Refused without a trace, or taken as something that packs and unpacks to itself. Returns whether
// it was taken.
static bool is_harmless(const struct message *message, const uint8_t *data, size_t size)
{
    uint8_t *msg = canary(message);
    enum trib_err err = message->unpack(data, size, msg);
    if (err) {
        assert_int_equal(err, TRIB_ERR_PROTO);
        for (size_t i = 0; i < message->size; i++)
            assert_int_equal(msg[i], 0xa5);
    } else {
        struct trib_buf once = packed(message, msg);
        assert_int_equal(message->unpack(once.data, once.size, msg), TRIB_OK);
        struct trib_buf twice = packed(message, msg);
        assert_int_equal(once.size, twice.size);
        if (once.size > 0)
            assert_memory_equal(once.data, twice.data, once.size);
        trib_buf_fini(&once);
        trib_buf_fini(&twice);
    }
    free(msg);
    return !err;
}

static const struct message *find(const char *name)
{
    size_t i = 0;
    while (i < MESSAGE_COUNT && strcmp(messages[i].name, name) != 0)
        i++;
    assert_true(i < MESSAGE_COUNT);
    return &messages[i];
}

// ---- Properties of all messages

static void every_field_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        const struct message *message = &messages[i];
        struct trib_buf buf = packed(message, message->sample);
        uint8_t *got = canary(message);
        assert_int_equal(message->unpack(buf.data, buf.size, got), TRIB_OK);
        for (size_t f = 0; f < message->field_count; f++) {
            const struct field *field = &message->fields[f];
            if (memcmp(got + field->offset, (const uint8_t *)message->sample + field->offset,
                       field->size) != 0)
                fail_msg("%s.%s differs", message->name, field->name);
        }
        free(got);
        trib_buf_fini(&buf);
    }
}

static void every_truncation_is_refused_or_harmless(void **state)
{
    size_t refused = 0;
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        struct trib_buf buf = packed(&messages[i], messages[i].sample);
        for (size_t cut = 0; cut < buf.size; cut++) {
            uint8_t *exact = malloc(cut > 0 ? cut : 1); // a sanitizer sees a read beyond it
            assert_non_null(exact);
            memcpy(exact, buf.data, cut);
            refused += !is_harmless(&messages[i], exact, cut);
            free(exact);
        }
        trib_buf_fini(&buf);
    }
    assert_true(refused > 1000); // where a field ends, a shorter message may be one as well
}

static void changed_bytes_are_refused_or_harmless(void **state)
{
    uint64_t seed = 3;
    size_t taken = 0;
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        struct trib_buf buf = packed(&messages[i], messages[i].sample);
        uint8_t *copy = malloc(buf.size);
        assert_non_null(copy);
        for (size_t round = 0; round < 3000; round++) {
            memcpy(copy, buf.data, buf.size);
            for (uint64_t left = 1 + test_rand(&seed) % 4; left > 0; left--)
                copy[test_rand(&seed) % buf.size] = (uint8_t)(test_rand(&seed) >> 32);
            taken += is_harmless(&messages[i], copy, buf.size);
        }
        free(copy);
        trib_buf_fini(&buf);
    }
    assert_true(taken > 1000); // the changes go deep enough to reach the checks of values
}

static void random_bytes_are_refused_or_harmless(void **state)
{
    uint64_t seed = 4;
    (void)state;
    for (size_t round = 0; round < 20000; round++) {
        uint8_t data[48];
        size_t size = test_rand(&seed) % sizeof(data);
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)(test_rand(&seed) >> 32);
        (void)is_harmless(&messages[round % MESSAGE_COUNT], data, size);
    }
}

// Unknown fields are skipped (proto/README.md), and with their help a message of any size is made.
static void a_message_longer_than_the_limit_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGE_COUNT; i++) {
        struct trib_buf buf = packed(&messages[i], messages[i].sample);
        size_t rest = TRIB_CONTROL_MAX - buf.size - 5; // tag of two bytes, length of three
        uint8_t head[5] = {0xa2, 0x1f, (uint8_t)(rest | 0x80), (uint8_t)(rest >> 7 | 0x80),
                           (uint8_t)(rest >> 14)};
        trib_buf_append(&buf, head, sizeof(head));
        memset(trib_buf_extend(&buf, rest), 0, rest);
        assert_int_equal(buf.size, TRIB_CONTROL_MAX);
        assert_true(is_harmless(&messages[i], buf.data, buf.size));
        trib_buf_fini(&buf);

        buf = packed(&messages[i], messages[i].sample);
        rest++;
        head[2] = (uint8_t)(rest | 0x80);
        head[3] = (uint8_t)(rest >> 7 | 0x80);
        head[4] = (uint8_t)(rest >> 14);
        trib_buf_append(&buf, head, sizeof(head));
        memset(trib_buf_extend(&buf, rest), 0, rest);
        refuses(&messages[i], buf.data, buf.size);
        trib_buf_fini(&buf);
    }
}

// ---- Ranges of single fields

// A copy of the noun's sample with one field set to `value` is refused, or taken.
#define WITH(noun, member, value, check)                 \
    do {                                                 \
        struct trib_msg_##noun msg = sample_##noun;      \
        msg.member = (value);                            \
        struct trib_buf buf = packed(find(#noun), &msg); \
        check(find(#noun), buf.data, buf.size);          \
        trib_buf_fini(&buf);                             \
    } while (0)
#define REFUSED(noun, member, value) WITH(noun, member, value, refuses)
#define TAKEN(noun, member, value)   WITH(noun, member, value, takes)

static void takes(const struct message *message, const uint8_t *data, size_t size)
{
    if (!is_harmless(message, data, size))
        fail_msg("%s: refused", message->name);
}

static void numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    REFUSED(pace, retry_max_ms, 0);
    REFUSED(round_end, pace.retry_max_ms, 9);
    REFUSED(receipt, pace.retry_max_ms, 29);
    REFUSED(receipt, code, (enum trib_code)1000);
    TAKEN(receipt, code, (enum trib_code)999); // one we do not know yet
    REFUSED(task_reply, code, (enum trib_code)1000);
    REFUSED(installed, code, (enum trib_code)UINT32_MAX);
    REFUSED(enrol_reply, code, (enum trib_code)1000);
    REFUSED(credit, limit, UINT64_MAX - 1);
    TAKEN(credit, offset, 0);
    REFUSED(manifest, version, 0);
    REFUSED(manifest, params, 0);
    REFUSED(manifest, params, (uint64_t)TRIB_PARAMS_MAX + 1);
    REFUSED(manifest, epsilon, -1);
    REFUSED(manifest, epsilon_pure, (double)INFINITY);
    REFUSED(manifest, delta, (double)NAN);
    REFUSED(new_version, manifest_size, 0);
    TAKEN(new_version, manifest_size, TRIB_MSG_MANIFEST_MAX);
}

static void task_numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    REFUSED(task, epochs, 0);
    REFUSED(task, epochs, 10001);
    TAKEN(task, epochs, 1);
    TAKEN(task, batch, 0);
    REFUSED(task, batch, (uint64_t)TRIB_ROWS_MAX + 1);
    REFUSED(task, learning_rate, (double)NAN);
    REFUSED(task, learning_rate, -0.1);
    REFUSED(task, momentum, 1);
    REFUSED(task, momentum, -0.5);
    REFUSED(task, weight_decay, (double)INFINITY);
    REFUSED(task, epsilon_pure, -1);
    REFUSED(task, rho, (double)NAN);
    REFUSED(task, send_tick_ms, 60001);
    REFUSED(task, encoding.grid, 0);
    REFUSED(task, encoding.grid, -1);
    REFUSED(task, encoding.grid, (double)INFINITY);
    REFUSED(task, encoding.clip_l1, -1);
    REFUSED(task, encoding.clip_l2, (double)NAN);
    REFUSED(task, hyper[1].value, (double)INFINITY);
    REFUSED(task, fit.l1, -1);
    REFUSED(task, fit.proximal_mu, (double)NAN);
    REFUSED(task, fit.clip_norm, (double)INFINITY);
    REFUSED(task, fit.lr_gamma, 1.5);
    REFUSED(task, fit.lr_gamma, 0); // with the schedule that uses it
    REFUSED(task, fit.lr_step, 0);
    REFUSED(task, fit.lr_min, -1);
    REFUSED(task, fit.validation_fraction, 0.95);
    REFUSED(task, fit.validation_fraction, -0.1);
    REFUSED(task, fit.fold, 1);     // without folds
    REFUSED(task, fit.folds, 5);    // beside a share
    TAKEN(task, fit.optimizer, 77); // ones we do not know yet
    TAKEN(task, fit.lr_schedule, 77);
    TAKEN(task, fit.class_weights, 77);
    TAKEN(task, fit.class_count, 0);
    REFUSED(task, fit.class_weight[1], -1);
    REFUSED(task, fit.class_weight[1], NAN);
    TAKEN(task, fit.mode, 77);
    REFUSED(task, fit.tally.values, 0);
    REFUSED(task, fit.tally.values, TRIB_TALLY_VALUES_MAX + 1);
    REFUSED(task, fit.tally.scale, -1);
    REFUSED(task, fit.tally.ranking_relevant, (double)NAN);
    TAKEN(task, fit.tally.ranking_k, 10);
    TAKEN(task, fit.tally.layout, 77); // one we do not know yet
    TAKEN(task, fit.tally.kind, 77);
    TAKEN(task, fit.tally.is_decided, true);
    REFUSED(task, fit.tally.threshold, 0.25); // without is_decided
    TAKEN(task, fit.sampling, 77);
    REFUSED(task, fit.sampling_ratio, 1.5);
    REFUSED(task, fit.sampling_ratio, -0.5);
    REFUSED(task, fit.smote_neighbours, 65);
    REFUSED(task, fit.jitter, -1);
    REFUSED(task, fit.mixup, 1.5);
    REFUSED(task, fit.rotate, 181);
    REFUSED(task, fit.crop, 1.5);
    REFUSED(task, fit.shift, 1001);
    REFUSED(task, fit.trunk_rate, (double)INFINITY);
}

static void a_threshold_is_a_probability_and_arrives_as_it_was(void **state)
{
    (void)state;
    const struct message *message = find("task");
    static const double good[] = {0, 0.1, 1}, bad[] = {-0.1, 1.1, (double)NAN};
    struct trib_msg_task task = sample_task, got;
    task.fit.tally.is_decided = true;
    for (size_t i = 0; i < 3; i++) {
        task.fit.tally.threshold = good[i];
        struct trib_buf buf = packed(message, &task);
        assert_int_equal(trib_msg_task_unpack(buf.data, buf.size, &got), TRIB_OK);
        assert_true(got.fit.tally.is_decided);
        assert_memory_equal(&got.fit.tally.threshold, &good[i], sizeof(good[i]));
        trib_buf_fini(&buf);
        task.fit.tally.threshold = bad[i];
        buf = packed(message, &task);
        assert_int_equal(trib_msg_task_unpack(buf.data, buf.size, &got), TRIB_ERR_PROTO);
        trib_buf_fini(&buf);
    }
}

static void a_plain_task_says_nothing_of_how_to_fit(void **state)
{
    (void)state;
    const struct message *message = find("task");
    struct trib_msg_task plain = sample_task, got;
    plain.fit = (struct trib_msg_fit){0};
    struct trib_buf full = packed(message, &sample_task);
    struct trib_buf buf = packed(message, &plain);
    assert_true(buf.size + 50 < full.size);
    assert_int_equal(trib_msg_task_unpack(buf.data, buf.size, &got), TRIB_OK);
    assert_true(trib_msg_fit_is_plain(&got.fit));
    assert_false(trib_msg_fit_is_plain(&sample_task.fit));
    // Task.fit (24) with a field of the future (100, the number 1) in it
    static const uint8_t future[] = {0xc2, 0x01, 3, 0xa0, 0x06, 1};
    trib_buf_append(&buf, future, sizeof(future));
    assert_int_equal(trib_msg_task_unpack(buf.data, buf.size, &got), TRIB_OK);
    assert_true(got.fit.is_strange);
    trib_buf_fini(&buf);
    // Fit.tally (30): kind 2, 1 value, and such a field
    static const uint8_t counts[] = {0xc2, 0x01, 10, 0xf2, 0x01, 7, 0x08,
                                     2,    0x10, 1,  0xa0, 0x06, 1};
    buf = packed(message, &plain);
    trib_buf_append(&buf, counts, sizeof(counts));
    assert_int_equal(trib_msg_task_unpack(buf.data, buf.size, &got), TRIB_OK);
    assert_true(got.fit.is_strange && got.fit.tally.kind == 2);
    trib_buf_fini(&buf);
    trib_buf_fini(&full);
}

static void texts_must_be_there_and_printable(void **state)
{
    (void)state;
    REFUSED(ready, population[0], '\0');
    REFUSED(ready, population[1], '\n');
    REFUSED(ready, software[0], '\x7f');
    TAKEN(ready, software[0], '\0');
    REFUSED(enrol, software[0], '\x1b');
    REFUSED(enrol_reply, name[0], '\0');
    REFUSED(enrol_reply, population[0], '\0');
    REFUSED(task, population[0], '\0');
    REFUSED(task, spec[0], '\0');
    REFUSED(task, spec[3], (char)0xc3);
    REFUSED(task, hyper[0].name[0], '\0');
    REFUSED(manifest, spec[0], '\0');
    REFUSED(manifest, kind[0], '\0');
    REFUSED(manifest, population[0], '\0');
    REFUSED(manifest, metrics[0].name[0], '\0');
}

// A field that comes twice counts with its last value (protobuf's rule), so that appending one
// replaces it by something that the structs could not express.
static void append_field(struct trib_buf *buf, unsigned number, const void *data, size_t size)
{
    unsigned tag = number << 3 | 2; // length-delimited
    uint8_t head[4] = {(uint8_t)((tag & 0x7f) | 0x80), (uint8_t)(tag >> 7),
                       (uint8_t)((size & 0x7f) | 0x80), (uint8_t)(size >> 7)};
    trib_buf_append(buf, head, sizeof(head));
    trib_buf_append(buf, data, size);
}

static void check_appended(const char *name, unsigned number, size_t size, bool is_taken)
{
    const struct message *message = find(name);
    struct trib_buf buf = packed(message, message->sample);
    uint8_t data[600];
    memset(data, 'x', sizeof(data));
    append_field(&buf, number, data, size);
    if (is_taken)
        takes(message, buf.data, buf.size);
    else
        refuses(message, buf.data, buf.size);
    trib_buf_fini(&buf);
}

static void sizes_of_texts_and_digests_are_checked(void **state)
{
    static const struct {
        const char *name;
        unsigned number; // of the field in the .proto file
        size_t size;     // right, while one more is wrong
        bool is_exact;   // one less is wrong, too
    } cases[] = {
        {"enrol", 1, 32, true},        {"enrol", 2, 63, false},       {"enrol_reply", 2, 63, false},
        {"enrol_reply", 3, 32, true},  {"enrol_reply", 4, 63, false}, {"ready", 1, 63, false},
        {"ready", 4, 32, true},        {"ready", 5, 16, true},        {"ready", 7, 63, false},
        {"task", 4, 511, false},       {"task", 7, 32, true},         {"task", 22, 63, false},
        {"manifest", 4, 32, true},     {"manifest", 5, 32, true},     {"manifest", 6, 511, false},
        {"manifest", 11, 63, false},   {"manifest", 19, 63, false},   {"new_version", 2, 64, true},
        {"manifest", 20, 32, true},    {"manifest", 21, 32, true},    {"model_get", 1, 32, true},
        {"installed", 3, 32, true},    {"upload_begin", 1, 16, true}, {"upload_begin", 4, 32, true},
        {"upload_begin", 5, 32, true}, {"upload_begin", 6, 32, true}, {"credit", 1, 16, true},
        {"upload_end", 1, 16, true},   {"receipt", 1, 16, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_appended(cases[i].name, cases[i].number, cases[i].size, true);
        check_appended(cases[i].name, cases[i].number, cases[i].size + 1, false);
        check_appended(cases[i].name, cases[i].number, cases[i].size - 1, !cases[i].is_exact);
    }
}

static void a_text_with_a_nul_inside_does_not_hide_what_follows(void **state)
{
    const struct message *message = find("ready");
    struct trib_buf buf = packed(message, message->sample);
    struct trib_msg_ready got;
    (void)state;
    append_field(&buf, 1, "ab\0cd", 5);
    if (message->unpack(buf.data, buf.size, &got) == TRIB_OK)
        assert_string_equal(got.population, "ab"); // never more than what was checked
    trib_buf_fini(&buf);
}

static void a_manifest_beyond_its_limit_is_refused(void **state)
{
    const struct message *message = find("new_version");
    struct trib_buf buf = packed(message, message->sample);
    static uint8_t manifest[TRIB_MSG_MANIFEST_MAX + 1];
    uint8_t head[4] = {1 << 3 | 2, (uint8_t)(sizeof(manifest) & 0x7f) | 0x80,
                       (uint8_t)(sizeof(manifest) >> 7 & 0x7f) | 0x80,
                       (uint8_t)(sizeof(manifest) >> 14)};
    (void)state;
    trib_buf_append(&buf, head, sizeof(head));
    trib_buf_append(&buf, manifest, sizeof(manifest));
    refuses(message, buf.data, buf.size);
    trib_buf_fini(&buf);
}

// A manifest that was signed before it could name its parent has the bytes that it had.
static void a_manifest_without_parent_keeps_its_bytes(void **state)
{
    const struct message *message = find("manifest");
    struct trib_msg_manifest manifest, got;
    (void)state;
    memcpy(&manifest, message->sample, sizeof(manifest));
    memset(manifest.parent_digest, 7, sizeof(manifest.parent_digest));
    struct trib_buf named = packed(message, &manifest);
    memset(manifest.parent_digest, 0, sizeof(manifest.parent_digest));
    struct trib_buf nameless = packed(message, &manifest);
    assert_int_equal(named.size, nameless.size + 2 + 1 + sizeof(manifest.parent_digest));
    assert_memory_equal(named.data, nameless.data, nameless.size); // the field is the last one
    memset(&got, 1, sizeof(got));
    assert_int_equal(message->unpack(nameless.data, nameless.size, &got), TRIB_OK);
    assert_memory_equal(got.parent_digest, manifest.parent_digest, sizeof(got.parent_digest));
    assert_int_equal(message->unpack(named.data, named.size, &got), TRIB_OK);
    assert_int_equal(got.parent_digest[31], 7);
    trib_buf_fini(&named);
    trib_buf_fini(&nameless);
}

static void a_table_in_a_manifest_has_a_bound_and_no_nul(void **state)
{
    const struct message *message = find("manifest");
    static struct trib_msg_manifest manifest, got;
    (void)state;
    memcpy(&manifest, message->sample, sizeof(manifest));
    struct trib_buf without = packed(message, &manifest);
    memset(manifest.fallback, '\n', TRIB_FALLBACK_TEXT_MAX);
    struct trib_buf full = packed(message, &manifest);
    assert_in_range(full.size, TRIB_FALLBACK_TEXT_MAX, TRIB_MSG_MANIFEST_MAX);
    assert_memory_equal(full.data, without.data, without.size); // what is not there takes no byte
    assert_int_equal(message->unpack(full.data, full.size, &got), TRIB_OK);
    assert_string_equal(got.fallback, manifest.fallback);
    assert_int_equal(message->unpack(without.data, without.size, &got), TRIB_OK);
    assert_string_equal(got.fallback, "");
    trib_buf_fini(&full);
    trib_buf_fini(&without);
    static uint8_t more[TRIB_FALLBACK_TEXT_MAX + 1];
    memset(more, ' ', sizeof(more));
    struct trib_buf buf = packed(message, message->sample);
    append_field(&buf, 22, more, sizeof(more));
    refuses(message, buf.data, buf.size);
    trib_buf_fini(&buf);
    buf = packed(message, message->sample);
    append_field(&buf, 22, "a\0b", 3);
    refuses(message, buf.data, buf.size);
    trib_buf_fini(&buf);
}

static void lists_are_as_long_as_they_may_be_and_no_longer(void **state)
{
    static const struct {
        const char *name;
        unsigned number;
        size_t max;
    } cases[] = {{"task", 21, TRIB_HYPER_MAX}, {"manifest", 14, TRIB_METRICS_MAX}};
    static const uint8_t entry[] = {1 << 3 | 2, 1, 'n'}; // name "n", value 0
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct message *message = find(cases[i].name);
        struct trib_buf buf = packed(message, message->sample);
        for (size_t count = 2; count < cases[i].max; count++) // the sample has two
            append_field(&buf, cases[i].number, entry, sizeof(entry));
        takes(message, buf.data, buf.size);
        append_field(&buf, cases[i].number, entry, sizeof(entry));
        refuses(message, buf.data, buf.size);
        trib_buf_fini(&buf);
    }
}

// ---- Presence

static void a_weight_of_zero_differs_from_no_weight(void **state)
{
    struct trib_msg_upload_begin msg = sample_upload_begin;
    struct trib_msg_upload_begin got;
    (void)state;
    msg.weight = 0;
    for (int has_weight = 0; has_weight < 2; has_weight++) {
        msg.has_weight = has_weight;
        struct trib_buf buf = packed(find("upload_begin"), &msg);
        assert_int_equal(trib_msg_upload_begin_unpack(buf.data, buf.size, &got), TRIB_OK);
        assert_int_equal(got.has_weight, has_weight);
        assert_int_equal(got.weight, 0);
        trib_buf_fini(&buf);
    }
}

static void ready_without_model_or_spool_says_so(void **state)
{
    const struct trib_msg_ready msg = {.population = NAMES};
    struct trib_buf buf = packed(find("ready"), &msg);
    struct trib_msg_ready got;
    (void)state;
    assert_int_equal(trib_msg_ready_unpack(buf.data, buf.size, &got), TRIB_OK);
    assert_true(got.version == 0);
    assert_false(got.has_spooled);
    append_field(&buf, 4, sample_ready.digest, TRIB_DIGEST_SIZE); // of no version
    refuses(find("ready"), buf.data, buf.size);
    trib_buf_fini(&buf);
}

static void a_task_without_encoding_is_refused(void **state)
{
    const struct message *message = find("task");
    static const uint8_t no_fields[] = {1 << 3, 1}; // round_id and nothing else
    (void)state;
    refuses(message, no_fields, sizeof(no_fields));
    refuses(message, no_fields, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_comes_back),
        cmocka_unit_test(every_truncation_is_refused_or_harmless),
        cmocka_unit_test(changed_bytes_are_refused_or_harmless),
        cmocka_unit_test(random_bytes_are_refused_or_harmless),
        cmocka_unit_test(a_message_longer_than_the_limit_is_refused),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(task_numbers_out_of_range_are_refused),
        cmocka_unit_test(a_threshold_is_a_probability_and_arrives_as_it_was),
        cmocka_unit_test(a_plain_task_says_nothing_of_how_to_fit),
        cmocka_unit_test(texts_must_be_there_and_printable),
        cmocka_unit_test(sizes_of_texts_and_digests_are_checked),
        cmocka_unit_test(a_text_with_a_nul_inside_does_not_hide_what_follows),
        cmocka_unit_test(a_manifest_beyond_its_limit_is_refused),
        cmocka_unit_test(a_manifest_without_parent_keeps_its_bytes),
        cmocka_unit_test(a_table_in_a_manifest_has_a_bound_and_no_nul),
        cmocka_unit_test(lists_are_as_long_as_they_may_be_and_no_longer),
        cmocka_unit_test(a_weight_of_zero_differs_from_no_weight),
        cmocka_unit_test(ready_without_model_or_spool_says_so),
        cmocka_unit_test(a_task_without_encoding_is_refused),
    };
    return RUN_TESTS(tests);
}
