// Enrolments of one device that cross on their way to the store, as when an answer was lost.
#include "coordinator/server_state.h"
#include "tests/test.h"

enum {
    ANSWERS = 4
};

static struct trib_server_op *submitted[ANSWERS];
static size_t submitted_count;
static struct trib_msg_enrol_reply answers[ANSWERS];
static size_t answer_count;

void __wrap_trib_server_submit(struct trib_server *server, struct trib_server_op *op);
void __wrap_trib_server_submit(struct trib_server *server, struct trib_server_op *op)
{
    (void)server;
    assert_true(submitted_count < ANSWERS);
    submitted[submitted_count++] = op;
}

enum trib_err __wrap_trib_channel_send(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                       const void *payload, size_t size);
enum trib_err __wrap_trib_channel_send(struct trib_channel *channel, uint8_t type, uint16_t stream,
                                       const void *payload, size_t size)
{
    (void)channel;
    (void)stream;
    assert_int_equal(type, TRIB_RECORD_ENROL_REPLY);
    assert_true(answer_count < ANSWERS);
    assert_int_equal(trib_msg_enrol_reply_unpack(payload, size, &answers[answer_count++]), TRIB_OK);
    return TRIB_OK;
}

struct trib_channel *__wrap_trib_channel_ref(struct trib_channel *channel);
struct trib_channel *__wrap_trib_channel_ref(struct trib_channel *channel)
{
    return channel;
}

void __wrap_trib_channel_unref(struct trib_channel *channel);
void __wrap_trib_channel_unref(struct trib_channel *channel)
{
    (void)channel;
}

void __wrap_trib_channel_close_after(struct trib_channel *channel, enum trib_close_reason reason);
void __wrap_trib_channel_close_after(struct trib_channel *channel, enum trib_close_reason reason)
{
    (void)channel;
    assert_int_equal(reason, TRIB_CLOSE_DONE);
}

static void ask(struct trib_server *server, uint8_t key)
{
    struct trib_session_link session = {.server = server, .may_only_enrol = true};
    const struct trib_msg_enrol msg = {.sign_key = {9}, .software = "test"};
    struct trib_buf packed = {0};
    session.enrolment =
        (struct trib_enrolment){.how = TRIB_VERDICT_TOKEN, .token_id = {1}, .key = {key}};
    trib_msg_enrol_pack(&msg, &packed);
    assert_false(packed.failed);
    trib_enrol_handle(&session, packed.data, packed.size);
    trib_buf_fini(&packed);
}

static void the_second_of_a_device_is_told_what_the_first_is(void **state)
{
    struct trib_server server = {.config = {.population = "home"}};
    const struct trib_store_token token = {
        .id = {1}, .name = "kitchen", .uses_left = 1, .expires_ms = UINT64_MAX};
    (void)state;
    assert_int_equal(trib_peers_create(10, 10, &server.peers), TRIB_OK);
    assert_int_equal(trib_peers_token_add(server.peers, &token), TRIB_OK);
    ask(&server, 7);
    ask(&server, 7); // its first connection broke
    ask(&server, 8); // somebody else has the token, too
    assert_int_equal(submitted_count, 3);
    assert_int_equal(answer_count, 0);
    for (size_t i = 0; i < 3; i++) { // the store takes the first one
        submitted[i]->op.result = i == 0 ? TRIB_OK : TRIB_ERR_STATE;
        submitted[i]->finish(&server, submitted[i]);
    }
    assert_int_equal(answer_count, 3);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(answers[i].code, TRIB_CODE_ACCEPTED);
        assert_string_equal(answers[i].name, "kitchen");
    }
    assert_int_equal(answers[2].code, TRIB_CODE_NOT_ELIGIBLE);
    trib_peers_destroy(server.peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_of_a_device_is_told_what_the_first_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
