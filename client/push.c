// Pushing a file or a pipe: through the socket of a running client, or straight into the store.
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/inlet.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "push"

enum {
    READ_SIZE = 1 << 16,
    SYNC_SIZE = 1 << 20, // bytes that a power cut may cost
};

// A piece of the input; 0 at its end.
static enum trib_err read_piece(int fd, char *buf, size_t *ret_size)
{
    ssize_t got;
    do
        got = read(fd, buf, READ_SIZE);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        TRIB_ERROR("the rows cannot be read: %s", strerror(errno));
        return TRIB_ERR_IO;
    }
    *ret_size = (size_t)got;
    return TRIB_OK;
}

// ---- Into the store

static enum trib_err fill(struct trib_row_stream *stream, struct trib_row_store *store, int fd)
{
    char buf[READ_SIZE];
    size_t size;
    for (;;) {
        enum trib_err err = read_piece(fd, buf, &size);
        if (err)
            return err;
        const uint64_t now_ms = trib_clock_wall_ms();
        if (size == 0)
            err = trib_row_stream_end(stream, now_ms);
        else
            err = trib_row_stream_put(stream, buf, size, now_ms);
        if (!err && trib_row_store_state(store).unsynced >= SYNC_SIZE)
            err = trib_row_store_sync(store);
        if (err || size == 0)
            return err;
    }
}

static enum trib_err push_to_store(const struct trib_data_config *config, int fd,
                                   struct trib_buf *ret_summary)
{
    struct trib_schema *schema = NULL;
    struct trib_row_store *store = NULL;
    struct trib_row_stream *stream = NULL;
    enum trib_err err = trib_data_open_store(config, trib_clock_wall_ms(), &schema, &store);
    if (err)
        return err;
    const struct trib_row_stream_options options = {
        .is_json_lines = config->push_format == TRIB_PUSH_JSON_LINES,
        .header = (enum trib_csv_header)config->header,
        .schema = schema,
        .store = store,
    };
    err = trib_row_stream_create(&options, &stream);
    if (err)
        goto out;
    err = fill(stream, store, fd);
    enum trib_err synced = trib_row_store_sync(store);
    if (!err)
        err = synced;
    const char *why = trib_row_stream_why(stream);
    trib_inlet_summary(stream, !err ? NULL : why[0] ? why : trib_err_text(err), ret_summary);
    if (ret_summary->failed)
        err = TRIB_ERR_NOMEM;
    else if (why[0])
        err = TRIB_ERR_DATA;

out:
    trib_row_stream_destroy(stream);
    trib_row_store_close(store);
    trib_schema_destroy(schema);
    return err;
}

// ---- Through the socket

// -1: nobody listens.
static int reach(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path[0] || strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer >= 0 && connect(peer, (const struct sockaddr *)&address, sizeof(address))) {
        (void)close(peer);
        return -1;
    }
    return peer;
}

// False: the client hung up, perhaps with an answer.
static bool send_all(int peer, const char *buf, size_t size)
{
    while (size > 0) {
        const ssize_t done = send(peer, buf, size, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        buf += done;
        size -= (size_t)done;
    }
    return true;
}

static enum trib_err take_answer(int peer, struct trib_buf *ret_summary)
{
    char buf[READ_SIZE];
    size_t size = 1;
    while (size > 0) {
        enum trib_err err = read_piece(peer, buf, &size);
        if (err)
            return err;
        trib_buf_append(ret_summary, buf, size);
    }
    while (ret_summary->size > 0 && ret_summary->data[ret_summary->size - 1] == '\n')
        ret_summary->data[--ret_summary->size] = '\0';
    if (ret_summary->failed)
        return TRIB_ERR_NOMEM;
    if (ret_summary->size == 0) {
        TRIB_ERROR("the client went away without an answer: not all rows may be there");
        return TRIB_ERR_CONNECT;
    }
    return strstr((const char *)ret_summary->data, "\"error\":") ? TRIB_ERR_DATA : TRIB_OK;
}

static enum trib_err push_to_client(int peer, int fd, struct trib_buf *ret_summary)
{
    char buf[READ_SIZE];
    size_t size;
    for (;;) {
        enum trib_err err = read_piece(fd, buf, &size);
        if (err)
            return err;
        if (size == 0 || !send_all(peer, buf, size))
            break;
    }
    (void)shutdown(peer, SHUT_WR);
    return take_answer(peer, ret_summary);
}

enum trib_err trib_inlet_push_file(const struct trib_data_config *config, int fd,
                                   struct trib_buf *ret_summary)
{
    const int peer = reach(config->socket);
    if (peer < 0)
        return push_to_store(config, fd, ret_summary);
    enum trib_err err = push_to_client(peer, fd, ret_summary);
    (void)close(peer);
    return err;
}
