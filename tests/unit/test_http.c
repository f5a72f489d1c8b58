// Those who watch, and hold their places: the clock of the limits is ours here.
#include "tests/test.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "coordinator/http.h"

enum {
    LIMIT_MS = 10000,
    PLACES = 16,
};

static const char request[] = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";

static void answer(void *user, const char *path, struct trib_http_answer *ret_answer)
{
    (void)user;
    ret_answer->status = strcmp(path, "/x") == 0 ? 200 : 404;
    trib_buf_text(&ret_answer->body, "it\n");
}

static struct sockaddr_in local(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = local(0);
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static struct trib_http *start(uint16_t *ret_port)
{
    struct trib_http_config config = {.listen = "127.0.0.1:0"};
    struct trib_http *http = NULL;
    *ret_port = free_port();
    assert_true(trib_http_address_parse(config.listen, &config.address));
    config.address.port = *ret_port;
    assert_int_equal(trib_http_start(&config, answer, NULL, &http), TRIB_OK);
    return http;
}

static int dial(uint16_t port)
{
    const struct sockaddr_in address = local(port);
    const struct timeval wait = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool hears(int fd, const char *text)
{
    char heard[1024];
    size_t used = 0;
    while (used < sizeof(heard) - 1) {
        ssize_t got = recv(fd, heard + used, sizeof(heard) - 1 - used, 0);
        if (got <= 0)
            return false;
        used += (size_t)got;
        heard[used] = '\0';
        if (strstr(heard, text))
            return true;
    }
    return false;
}

static bool is_open(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) < 0;
}

// A byte now and then keeps a connection from being idle, and no longer keeps its place.
static void who_drips_loses_its_place(void **state)
{
    uint16_t port;
    struct trib_http *http = start(&port);
    int fds[PLACES];
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        fds[i] = dial(port);
        say(fds[i], "GET /x");
    }
    trib_clock_sleep_ms(300); // so that all were accepted
    int late = dial(port);
    say(late, request);
    const uint64_t now_ms = trib_clock_mono_ms();
    trib_http_tick(http, now_ms + LIMIT_MS / 2);
    trib_clock_sleep_ms(100);
    for (size_t i = 0; i < PLACES; i++) {
        say(fds[i], "x");
        assert_true(is_open(fds[i]));
    }
    assert_true(is_open(late));
    trib_http_tick(http, now_ms + LIMIT_MS + 1);
    assert_true(hears(late, "it\n"));
    for (size_t i = 0; i < PLACES; i++) {
        assert_false(hears(fds[i], "it\n"));
        (void)close(fds[i]);
    }
    (void)close(late);
    trib_http_stop(http);
}

static void a_request_that_is_over_begins_the_time_anew(void **state)
{
    uint16_t port;
    struct trib_http *http = start(&port);
    int fd = dial(port);
    (void)state;
    say(fd, request);
    assert_true(hears(fd, "it\n"));
    const uint64_t between_ms = trib_clock_mono_ms();
    trib_clock_sleep_ms(50);
    say(fd, request);
    assert_true(hears(fd, "it\n"));
    trib_clock_sleep_ms(50); // until the library has put the request away
    trib_http_tick(http, between_ms + LIMIT_MS + 1);
    assert_true(is_open(fd));
    trib_http_tick(http, trib_clock_mono_ms() + LIMIT_MS + 1);
    assert_false(hears(fd, "it\n"));
    (void)close(fd);
    fd = dial(port); // a place that was held is free again
    say(fd, request);
    assert_true(hears(fd, "it\n"));
    (void)close(fd);
    trib_http_stop(http);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_drips_loses_its_place),
        cmocka_unit_test(a_request_that_is_over_begins_the_time_anew),
    };
    return RUN_TESTS(tests);
}
