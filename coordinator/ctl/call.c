#include "coordinator/ctl/call.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "ctl"

enum {
    SEND_S = 30, // until it is let in, and for what it asks
};

// A plain socket: the far end is nng's ipc stream, which adds no framing of its own.
static enum trib_err connect_to(const char *dir, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", dir);
    if (size < 0 || size >= (int)sizeof(address.sun_path)) {
        TRIB_ERROR("%s/admin.sock: %d bytes, but the path of a Unix socket has at most %zu", dir,
                   size, sizeof(address.sun_path) - 1);
        return TRIB_ERR_INVAL;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return TRIB_ERR_IO;
    const struct timeval most = {.tv_sec = SEND_S}; // a full backlog, or nobody who reads
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
        const bool is_late = errno == EAGAIN;
        (void)close(fd);
        return is_late ? TRIB_ERR_TIMEOUT : TRIB_ERR_CONNECT;
    }
    *ret_fd = fd;
    return TRIB_OK;
}

static enum trib_err send_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return sent < 0 && errno == EAGAIN ? TRIB_ERR_TIMEOUT : TRIB_ERR_CONNECT;
        data += sent;
        size -= (size_t)sent;
    }
    return TRIB_OK;
}

static enum trib_err receive_all(int fd, uint8_t *data, size_t size, uint64_t until_ms)
{
    while (size > 0) {
        uint64_t now_ms = trib_clock_mono_ms();
        struct pollfd item = {.fd = fd, .events = POLLIN};
        if (now_ms >= until_ms)
            return TRIB_ERR_TIMEOUT;
        if (poll(&item, 1, (int)(until_ms - now_ms)) <= 0)
            continue;
        ssize_t got = recv(fd, data, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return TRIB_ERR_PROTO; // hung up in the middle of an answer
        data += got;
        size -= (size_t)got;
    }
    return TRIB_OK;
}

enum trib_err trib_ctl_call(const char *dir, const struct trib_admin_request *request,
                            unsigned timeout_ms, struct trib_admin_reply *ret_reply)
{
    const uint64_t until_ms = trib_clock_mono_ms() + timeout_ms;
    struct trib_buf out = {0};
    uint8_t length[TRIB_ADMIN_LENGTH_SIZE];
    uint8_t *data = NULL;
    int fd = -1;

    enum trib_err err = connect_to(dir, &fd);
    if (err)
        return err;
    trib_admin_request_pack(request, &out);
    err = out.failed ? TRIB_ERR_NOMEM : send_all(fd, out.data, out.size);
    if (!err)
        err = receive_all(fd, length, sizeof(length), until_ms);
    if (err)
        goto out;
    size_t size = trib_load_be32(length);
    if (size > TRIB_ADMIN_REPLY_MAX) {
        err = TRIB_ERR_PROTO;
        goto out;
    }
    data = malloc(size ? size : 1);
    err = data ? receive_all(fd, data, size, until_ms) : TRIB_ERR_NOMEM;
    if (!err)
        err = trib_admin_reply_unpack(data, size, ret_reply);

out:
    free(data);
    trib_buf_fini(&out);
    (void)close(fd);
    return err;
}
