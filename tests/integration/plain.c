#include "tests/integration/plain.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/hash.h"

enum {
    HEAD_SIZE = 2 + TRIB_SESSION_MAC_SIZE, // of a hello, before the Noise message
};

int plain_connect(const struct echo_server *server)
{
    uint16_t port = trib_listener_port(server->listener);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    (void)snprintf(local.sun_path, sizeof(local.sun_path), "%s", server->url + strlen("ipc://"));
    const struct sockaddr *address = port ? (struct sockaddr *)&in : (struct sockaddr *)&local;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, address, port ? sizeof(in) : sizeof(local))) {
        perror("connect");
        abort(); // refused: the very thing that must not happen
    }
    struct timeval wait = {.tv_sec = ECHO_WAIT_MS / 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    return fd;
}

void plain_send(int fd, const void *data, size_t size)
{
    (void)!send(fd, data, size, MSG_NOSIGNAL); // the other side may have gone, and that is fine
}

void plain_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    (void)close(fd);
}

ssize_t plain_drain(int fd)
{
    uint8_t data[512];
    ssize_t total = 0;
    for (;;) {
        ssize_t size = recv(fd, data, sizeof(data), 0);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return -1;
        if (size <= 0)
            return total;
        total += size;
    }
}

bool plain_receive(int fd, uint8_t *data, size_t size)
{
    return recv(fd, data, size, MSG_WAITALL) == (ssize_t)size;
}

void plain_hello(const struct echo_server *server, const uint8_t secret[static 32],
                 struct trib_session *session, uint8_t frame[static TRIB_HANDSHAKE_MAX])
{
    static const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    size_t size;
    trib_session_init_client(session, secret, server->key);
    enum trib_err err = trib_session_write_hello(session, &hello, frame, &size);
    assert(!err && size == PLAIN_HELLO_SIZE);
    (void)err;
}

void plain_mac(const struct echo_server *server, uint8_t *body, size_t size)
{
    struct trib_hash hash;
    uint8_t key[32];
    trib_hash_init(&hash, NULL, 0, sizeof(key));
    trib_hash_update(&hash, "trib mac1", 9);
    trib_hash_update(&hash, server->key, sizeof(server->key));
    trib_hash_final(&hash, key, sizeof(key));
    trib_hash_init(&hash, key, sizeof(key), TRIB_SESSION_MAC_SIZE);
    trib_hash_update(&hash, body, 2);
    trib_hash_update(&hash, body + HEAD_SIZE, size - HEAD_SIZE);
    trib_hash_final(&hash, body + 2, TRIB_SESSION_MAC_SIZE);
}
