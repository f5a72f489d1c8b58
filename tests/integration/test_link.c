// The listener under attack, with plain sockets and a session of our own on the hostile side: what
// nobody authenticated sends must cost little, be answered with silence, and never keep honest
// clients out.
#include "tests/test.h"

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/wipe.h"
#include "tests/integration/echo.h"
#include "tests/integration/plain.h"

enum {
    ATTACKS = 2000, // connections of each kind
    DRIPPING = 400, // at once, of those that send slowly
    BULK_SIZE = 300000,
};

static const uint8_t stranger_secret[32] = "somebody who was never enrolled";

static char ipc_path[TEST_FOLDER_SIZE + 8];
static char ipc_url[TEST_FOLDER_SIZE + 16];
static const char *const tcp_url = "tcp://127.0.0.1:0";

// ---- The attacks, `index` of many

static void attack_reset(const struct echo_server *server, size_t index)
{
    (void)index;
    plain_reset(plain_connect(server));
}

static void attack_farewell_then_reset(const struct echo_server *server, size_t index)
{
    int fd = plain_connect(server);
    (void)index;
    (void)shutdown(fd, SHUT_WR);
    plain_reset(fd);
}

static void attack_garbage(const struct echo_server *server, size_t index)
{
    uint8_t data[700];
    uint64_t seed = index + 1;
    int fd = plain_connect(server);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(test_rand(&seed) >> 32);
    plain_send(fd, data, 3 + test_rand(&seed) % (sizeof(data) - 3));
    plain_reset(fd);
}

static void attack_half_a_frame(const struct echo_server *server, size_t index)
{
    static const uint8_t data[PLAIN_HELLO_SIZE] = {0, PLAIN_HELLO_SIZE - 2, 1, 1};
    int fd = plain_connect(server);
    plain_send(fd, data, 1 + index % (sizeof(data) - 1));
    (void)close(fd);
}

// `DRIPPING` connections at once, one byte each by turns.
static void attack_drip(const struct echo_server *server, size_t index)
{
    static const uint8_t data[] = {0, PLAIN_HELLO_SIZE - 2, 1, 1, 9, 9};
    int fds[DRIPPING];
    if (index % DRIPPING != 0)
        return; // was done with the first of them
    for (size_t i = 0; i < DRIPPING; i++)
        fds[i] = plain_connect(server);
    for (size_t at = 0; at < sizeof(data); at++) {
        for (size_t i = 0; i < DRIPPING; i++)
            plain_send(fds[i], data + at, 1);
    }
    for (size_t i = 0; i < DRIPPING; i++)
        plain_reset(fds[i]);
}

typedef void (*attack_fn)(const struct echo_server *server, size_t index);

static const struct attack {
    const char *name;
    attack_fn attack;
} attacks[] = {
    {"reset", attack_reset},     {"farewell and reset", attack_farewell_then_reset},
    {"garbage", attack_garbage}, {"half a frame", attack_half_a_frame},
    {"slow drip", attack_drip},
};

struct attacker {
    pthread_t thread;
    const struct echo_server *server;
    attack_fn attack;
    uint64_t is_done; // atomic
};

static void *attacker_main(void *user)
{
    struct attacker *attacker = user;
    for (size_t i = 0; i < ATTACKS; i++)
        attacker->attack(attacker->server, i);
    __atomic_store_n(&attacker->is_done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    (void)closedir(directory);
    return count;
}

// The number once nng has freed in the background what it no longer needs.
static size_t settled_descriptors(void)
{
    size_t last = open_descriptors();
    for (int quiet = 0; quiet < 20; quiet++) {
        trib_clock_sleep_ms(10);
        size_t now = open_descriptors();
        if (now != last)
            quiet = 0;
        last = now;
    }
    return last;
}

// An honest client that comes after everyone else has been served: nobody waits in the kernel.
static void check_accounts(struct echo_server *server, uint64_t honest)
{
    uint64_t sum = 0;
    assert_true(echo_wait(&server->closed_count, echo_get(&server->accepted)));
    for (size_t reason = 0; reason < TRIB_CLOSE_REASONS; reason++)
        sum += echo_get(&server->closed[reason]);
    assert_true(sum == echo_get(&server->accepted)); // each closed exactly once
    assert_true(echo_get(&server->opened) == honest);
    assert_true(echo_get(&server->hellos) == honest); // no other reached the curve
}

static void withstand(const char *url)
{
    struct echo_server server;
    uint64_t honest = 0;
    echo_server_start(&server, url, 4);
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        struct attacker attacker = {.server = &server, .attack = attacks[i].attack};
        assert_int_equal(pthread_create(&attacker.thread, NULL, attacker_main, &attacker), 0);
        size_t during = 0;
        do { // during the attack, and once more after it
            if (!echo_client_exchange(&server, BULK_SIZE))
                fail_msg("%s: an honest client was not served during: %s", url, attacks[i].name);
            during++;
        } while (!echo_get(&attacker.is_done));
        assert_int_equal(pthread_join(attacker.thread, NULL), 0);
        if (!echo_client_exchange(&server, BULK_SIZE))
            fail_msg("%s: an honest client was not served after: %s", url, attacks[i].name);
        honest += during + 1;
        check_accounts(&server, honest);
    }
    echo_server_stop(&server);
}

static void honest_clients_are_served_during_and_after_every_attack(void **state)
{
    (void)state;
    struct echo_server server;
    echo_server_start(&server, tcp_url, 1); // wakes nng, whose own descriptors then stay
    assert_true(echo_client_exchange(&server, 0));
    echo_server_stop(&server);
    size_t before = settled_descriptors();
    withstand(tcp_url);
    withstand(ipc_url);
    assert_int_equal(settled_descriptors(), before);
}

// ---- Who is answered, and with what

// Send `frame` on a new connection: silence, a close, and the reason counted.
static void is_met_with_silence(struct echo_server *server, const uint8_t *frame, size_t size,
                                enum trib_close_reason reason)
{
    uint64_t before = echo_get(&server->closed[reason]);
    int fd = plain_connect(server);
    plain_send(fd, frame, size);
    assert_int_equal(plain_drain(fd), 0);
    assert_true(echo_wait(&server->closed[reason], before + 1));
    (void)close(fd);
}

static void who_may_not_come_in_gets_not_one_byte(void **state)
{
    static const char *const urls[] = {"tcp://127.0.0.1:0", NULL}; // NULL: ipc
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct echo_server server;
        struct trib_session session;
        uint8_t frame[TRIB_HANDSHAKE_MAX];
        echo_server_start(&server, urls[i] ? urls[i] : ipc_url, 1);

        plain_hello(&server, stranger_secret, &session, frame);
        is_met_with_silence(&server, frame, PLAIN_HELLO_SIZE, TRIB_CLOSE_UNKNOWN);
        assert_int_equal(echo_get(&server.hellos), 1);

        plain_hello(&server, echo_device_secret, &session, frame);
        frame[PLAIN_HELLO_SIZE - 1] ^= 1;
        is_met_with_silence(&server, frame, PLAIN_HELLO_SIZE, TRIB_CLOSE_BAD_MAC);
        plain_mac(&server, frame + 2, PLAIN_HELLO_SIZE - 2);
        is_met_with_silence(&server, frame, PLAIN_HELLO_SIZE, TRIB_CLOSE_HANDSHAKE);
        // Who is busy does not even look whether it is genuine, which is what costs.
        __atomic_store_n(&server.is_busy, true, __ATOMIC_RELEASE);
        is_met_with_silence(&server, frame, PLAIN_HELLO_SIZE, TRIB_CLOSE_BUDGET);

        trib_store_be16(frame, 0);
        is_met_with_silence(&server, frame, 2, TRIB_CLOSE_MALFORMED);
        trib_store_be16(frame, TRIB_HANDSHAKE_MAX + 1);
        is_met_with_silence(&server, frame, 2, TRIB_CLOSE_OVERSIZE);
        trib_store_be16(frame, UINT16_MAX);
        is_met_with_silence(&server, frame, 2, TRIB_CLOSE_OVERSIZE);
        assert_int_equal(echo_get(&server.hellos), 1);
        assert_int_equal(echo_get(&server.sent_bytes), 0);
        echo_server_stop(&server);
    }
}

static void who_says_nothing_is_closed_when_the_time_is_up(void **state)
{
    struct echo_server server;
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    int fd = plain_connect(&server);
    plain_send(fd, "\0", 1);
    assert_true(echo_wait(&server.accepted, 1));
    echo_server_tick(&server, 60000);
    assert_int_equal(echo_get(&server.closed_count), 0); // too early
    trib_clock_sleep_ms(20);
    echo_server_tick(&server, 10);
    assert_int_equal(plain_drain(fd), 0);
    assert_true(echo_wait(&server.closed[TRIB_CLOSE_SLOW], 1));
    (void)close(fd);
    echo_server_stop(&server);
}

// ---- Listening and dialing

static int listening_descriptor(uint16_t port)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in address = {.sin_port = 0};
        socklen_t size = sizeof(address);
        int listens = 0;
        socklen_t flag_size = sizeof(listens);
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &flag_size) == 0 && listens &&
            getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
            ntohs(address.sin_port) == port)
            return fd;
    }
    return -1;
}

static void the_backlog_is_longer_than_that_of_nng(void **state)
{
    struct echo_server server;
    struct tcp_info info = {.tcpi_state = 0};
    socklen_t size = sizeof(info);
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    int fd = listening_descriptor(trib_listener_port(server.listener));
    assert_true(fd >= 0);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    assert_true(info.tcpi_sacked > 128); // of a listening socket: its backlog
    echo_server_stop(&server);
}

// Whoever comes while as many as may be are there is neither refused nor accepted.
static void beyond_the_limit_connections_wait_until_one_is_released(void **state)
{
    enum {
        LIMIT = 2,
        COUNT = 5,
    };
    struct echo_server server;
    int fds[COUNT];
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    trib_listener_limit(server.listener, LIMIT);
    for (int i = 0; i < COUNT; i++)
        fds[i] = plain_connect(&server);
    assert_true(echo_wait(&server.accepted, LIMIT));
    for (uint64_t in = LIMIT; in < COUNT; in++) {
        trib_clock_sleep_ms(20);
        assert_true(echo_get(&server.accepted) == in);
        trib_listener_release(server.listener);
        assert_true(echo_wait(&server.accepted, in + 1));
    }
    for (int i = 0; i < COUNT; i++)
        (void)close(fds[i]);
    echo_server_stop(&server);
}

static void an_ipc_socket_has_the_mode_that_was_asked_for(void **state)
{
    struct echo_server server;
    struct stat status;
    (void)state;
    echo_server_start(&server, ipc_url, 1);
    assert_int_equal(stat(ipc_path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    echo_server_stop(&server);
}

struct meeting {
    uint64_t uid, gid;
    bool has_ids;
    char peer[TRIB_PEER_TEXT_SIZE];
    uint64_t is_done; // atomic
};

static bool on_met(void *user, struct trib_conn *conn)
{
    struct meeting *meeting = user;
    meeting->has_ids = trib_conn_peer_ids(conn, &meeting->uid, &meeting->gid);
    trib_conn_peer_text(conn, meeting->peer);
    trib_conn_close(conn);
    __atomic_store_n(&meeting->is_done, 1, __ATOMIC_RELEASE);
    return false;
}

static void meet(const char *url, struct meeting *meeting)
{
    struct echo_server server = {.accepted = 0}; // what plain_connect needs of one
    *meeting = (struct meeting){.is_done = 0};
    (void)snprintf(server.url, sizeof(server.url), "%s", url);
    assert_int_equal(trib_link_listen(url, 0600, on_met, meeting, &server.listener), TRIB_OK);
    int fd = plain_connect(&server);
    assert_true(echo_wait(&meeting->is_done, 1));
    (void)close(fd);
    trib_listener_close(server.listener);
}

static void a_connection_says_who_is_at_the_other_end(void **state)
{
    struct meeting meeting;
    (void)state;
    meet(ipc_url, &meeting);
    assert_true(meeting.has_ids);
    assert_true(meeting.uid == getuid() && meeting.gid == getgid());
    assert_string_equal(meeting.peer, "local");
    meet(tcp_url, &meeting);
    assert_false(meeting.has_ids);
    assert_int_equal(strncmp(meeting.peer, "127.0.0.1:", 10), 0);
}

// ---- Without waiting

struct held {
    struct trib_conn *conn;
    uint64_t is_there, is_told, is_closed; // atomic
    enum trib_err err;
};

static void on_told(void *user, enum trib_err err, size_t size)
{
    struct held *held = user;
    (void)size;
    held->err = err;
    __atomic_store_n(&held->is_told, 1, __ATOMIC_RELEASE);
}

static void on_gone(void *user)
{
    struct held *held = user;
    __atomic_store_n(&held->is_closed, 1, __ATOMIC_RELEASE);
}

static bool on_kept(void *user, struct trib_conn *conn)
{
    static const struct trib_conn_handler handler = {.received = on_told, .closed = on_gone};
    struct held *held = user;
    trib_conn_start(conn, &handler, held);
    held->conn = conn;
    __atomic_store_n(&held->is_there, 1, __ATOMIC_RELEASE);
    return true;
}

static size_t receive_soon(struct trib_conn *conn, uint8_t *data, size_t capacity)
{
    size_t size = 0;
    for (int i = 0; i < 5000 && size == 0; i++) {
        size = trib_conn_receive_now(conn, data, capacity);
        if (size == 0)
            trib_clock_sleep_ms(1);
    }
    return size;
}

// Send until the kernel takes no more, then read all of it at the other end. What was taken must
// come in order and once.
static void fill_and_drain(struct trib_conn *conn, int fd)
{
    static uint8_t out[BULK_SIZE], in[BULK_SIZE];
    size_t sent = 0, read_back = 0, part;
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    for (;;) { // in two parts, now and then in one
        const size_t at = sent % BULK_SIZE, left = BULK_SIZE - at;
        const size_t head = left / 3;
        part = trib_conn_send_now(conn, &(struct trib_conn_parts){.head = out + at,
                                                                  .head_size = head,
                                                                  .tail = out + at + head,
                                                                  .tail_size = left - head});
        if (part == 0)
            break;
        sent += part;
    }
    assert_true(sent > 0 && sent < 64u << 20);
    while (read_back < sent) {
        const size_t at = read_back % BULK_SIZE;
        const size_t left = sent - read_back;
        const ssize_t got = recv(fd, in, left < BULK_SIZE - at ? left : BULK_SIZE - at, 0);
        assert_true(got > 0);
        assert_memory_equal(in, out + at, (size_t)got);
        read_back += (size_t)got;
    }
}

static void what_is_there_is_moved_at_once_and_nothing_is_waited_for(void **state)
{
    const char *const urls[] = {tcp_url, ipc_url};
    uint8_t data[16];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct echo_server server = {.accepted = 0};
        struct held held = {.conn = NULL};
        (void)snprintf(server.url, sizeof(server.url), "%s", urls[i]);
        assert_int_equal(trib_link_listen(urls[i], 0600, on_kept, &held, &server.listener),
                         TRIB_OK);
        int fd = plain_connect(&server);
        assert_true(echo_wait(&held.is_there, 1));
        assert_int_equal(trib_conn_receive_now(held.conn, data, sizeof(data)), 0);
        plain_send(fd, (const uint8_t *)"hello", 5);
        assert_int_equal(receive_soon(held.conn, data, sizeof(data)), 5);
        assert_memory_equal(data, "hello", 5);
        fill_and_drain(held.conn, fd);
        (void)close(fd);
        assert_int_equal(trib_conn_receive_now(held.conn, data, sizeof(data)), 0);
        assert_int_equal(held.is_told, 0);
        trib_conn_receive(held.conn, data, sizeof(data)); // who waits is told of the end
        assert_true(echo_wait(&held.is_told, 1));
        assert_int_equal(held.err, TRIB_ERR_IO);
        trib_conn_close(held.conn);
        assert_true(echo_wait(&held.is_closed, 1));
        trib_listener_close(server.listener);
    }
}

static void on_dialed(void *user, enum trib_err err, struct trib_conn *conn)
{
    uint64_t *calls = user;
    assert_true((err == TRIB_OK) == (conn != NULL));
    if (conn)
        trib_conn_close(conn);
    __atomic_add_fetch(calls, err ? 1 : 1000, __ATOMIC_ACQ_REL);
}

static void dialing_nobody_and_cancelling_call_back_exactly_once(void **state)
{
    struct echo_server server;
    struct trib_dial *dial;
    uint64_t calls = 0;
    (void)state;
    echo_server_start(&server, tcp_url, 1);
    char url[sizeof(server.url)];
    memcpy(url, server.url, sizeof(url));
    for (int i = 0; i < 50; i++) { // sometimes too late to be cancelled
        calls = 0;
        assert_int_equal(trib_link_dial(url, on_dialed, &calls, &dial), TRIB_OK);
        if (i % 2)
            trib_clock_sleep_ms(1);
        trib_dial_cancel(dial);
        trib_dial_free(dial);
        assert_true(calls == 1 || calls == 1000);
    }
    echo_server_stop(&server);
    calls = 0;
    assert_int_equal(trib_link_dial(url, on_dialed, &calls, &dial), TRIB_OK);
    trib_dial_free(dial);
    assert_int_equal(calls, 1); // refused: nobody listens there any more
    assert_int_equal(trib_link_dial("udp://127.0.0.1:1", on_dialed, &calls, &dial), TRIB_ERR_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_clients_are_served_during_and_after_every_attack),
        cmocka_unit_test(who_may_not_come_in_gets_not_one_byte),
        cmocka_unit_test(who_says_nothing_is_closed_when_the_time_is_up),
        cmocka_unit_test(the_backlog_is_longer_than_that_of_nng),
        cmocka_unit_test(beyond_the_limit_connections_wait_until_one_is_released),
        cmocka_unit_test(an_ipc_socket_has_the_mode_that_was_asked_for),
        cmocka_unit_test(a_connection_says_who_is_at_the_other_end),
        cmocka_unit_test(what_is_there_is_moved_at_once_and_nothing_is_waited_for),
        cmocka_unit_test(dialing_nobody_and_cancelling_call_back_exactly_once),
    };
    char directory[TEST_FOLDER_SIZE];
    if (!test_folder(directory))
        return EXIT_FAILURE;
    (void)snprintf(ipc_path, sizeof(ipc_path), "%s/link", directory);
    (void)snprintf(ipc_url, sizeof(ipc_url), "ipc://%s", ipc_path);
    trib_crypto_init();
    int failed = RUN_TESTS(tests);
    (void)unlink(ipc_path);
    (void)rmdir(directory);
    return failed;
}
