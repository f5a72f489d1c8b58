// A command and its end may meet: the coordinator stops, or the time to ask is over, just when the request
// is whole.
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/wire/admin.h"
#include "common/wire/link.h"
#include "coordinator/server_command.h"

enum {
    POSTED_MAX = 8,
};

static struct trib_server server;
static struct trib_server_event *posted[POSTED_MAX]; // and not taken yet
static size_t posted_count;
static const struct trib_conn_handler *handler;
static void *user;
static uint8_t *room;
static size_t capacity;
static int commands;
static uint64_t uid; // of who connects

// The queue: nobody may be in it twice.
void __wrap_trib_server_post(struct trib_server *to, struct trib_server_event *event);
void __wrap_trib_server_post(struct trib_server *to, struct trib_server_event *event)
{
    assert_ptr_equal(to, &server);
    for (size_t i = 0; i < posted_count; i++)
        assert_ptr_not_equal(posted[i], event);
    assert_true(posted_count < POSTED_MAX);
    posted[posted_count++] = event;
}

static void take_one(void)
{
    struct trib_server_event *event = posted[0];
    assert_true(posted_count > 0);
    posted_count--;
    memmove(posted, posted + 1, posted_count * sizeof(posted[0]));
    event->handle(&server, event);
}

// The connection.
void __wrap_trib_conn_start(struct trib_conn *conn, const struct trib_conn_handler *with,
                            void *whose);
void __wrap_trib_conn_start(struct trib_conn *conn, const struct trib_conn_handler *with,
                            void *whose)
{
    (void)conn;
    handler = with;
    user = whose;
}

void __wrap_trib_conn_receive(struct trib_conn *conn, uint8_t *data, size_t size);
void __wrap_trib_conn_receive(struct trib_conn *conn, uint8_t *data, size_t size)
{
    (void)conn;
    room = data;
    capacity = size;
}

void __wrap_trib_conn_close(struct trib_conn *conn);
void __wrap_trib_conn_close(struct trib_conn *conn)
{
    (void)conn;
    handler->closed(user);
}

bool __wrap_trib_conn_peer_ids(const struct trib_conn *conn, uint64_t *ret_uid, uint64_t *ret_gid);
bool __wrap_trib_conn_peer_ids(const struct trib_conn *conn, uint64_t *ret_uid, uint64_t *ret_gid)
{
    (void)conn;
    *ret_uid = uid;
    *ret_gid = 0;
    return true;
}

void __wrap_trib_command_run(struct trib_admin_call *call);
void __wrap_trib_command_run(struct trib_admin_call *call)
{
    (void)call;
    commands++;
}

static void begin(void)
{
    static uint8_t somebody;
    assert_true(trib_server_admin_accepted(&server, (struct trib_conn *)(void *)&somebody));
    take_one();
}

// One has connected; its request is whole, and waits to be taken.
static void ask(void)
{
    struct trib_admin_request request = {.word_count = 1, .words = {"status"}};
    struct trib_buf packed = {0};
    memset(&server, 0, sizeof(server));
    posted_count = 0;
    commands = 0;
    begin();
    assert_int_equal(server.admins_open, 1);
    trib_admin_request_pack(&request, &packed);
    assert_false(packed.failed);
    assert_true(packed.size <= capacity);
    memcpy(room, packed.data, packed.size);
    handler->received(user, TRIB_OK, packed.size);
    trib_buf_fini(&packed);
    assert_int_equal(posted_count, 1);
}

static void assert_is_over(int wanted)
{
    while (posted_count > 0)
        take_one();
    assert_int_equal(commands, wanted);
    assert_int_equal(server.admins_open, 0);
    assert_null(server.admins);
}

static void one_that_is_whole_when_we_stop_is_over_once(void **state)
{
    (void)state;
    ask();
    trib_admins_stop(&server);
    assert_is_over(0);
}

static void one_that_is_whole_in_time_is_run(void **state)
{
    (void)state;
    ask();
    trib_admins_tick(&server, trib_clock_mono_ms() + 6000); // it has been asked: not closed
    take_one();
    assert_int_equal(commands, 1);
    handler->sent(user, TRIB_OK);
    assert_is_over(1);
}

// However often somebody connects who has no role: root finds a place, and waits behind nobody.
static void nobody_takes_all_places(void **state)
{
    (void)state;
    memset(&server, 0, sizeof(server));
    posted_count = 0;
    commands = 0;
    uid = 4000000001;
    for (int i = 0; i < 100; i++) {
        begin();
        if (posted_count > 0)
            take_one(); // it was closed at once
    }
    assert_int_equal(server.admins_open, 8);
    uid = 4000000002; // another one
    begin();
    assert_int_equal(server.admins_open, 9);
    uid = 0;
    for (int i = 0; i < 20; i++)
        begin();
    assert_int_equal(server.admins_open, 29);
    while (server.admins) {
        handler->closed(server.admins);
        take_one();
    }
    assert_int_equal(server.admins_open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_whole_when_we_stop_is_over_once),
        cmocka_unit_test(one_that_is_whole_in_time_is_run),
        cmocka_unit_test(nobody_takes_all_places),
    };
    return RUN_TESTS(tests);
}
