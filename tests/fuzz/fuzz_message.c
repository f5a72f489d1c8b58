// The first byte names a message: a control message of the table, then the admin request and reply.
// What is taken must pack and unpack to itself; what is refused must leave nothing behind.
#include <stdlib.h>
#include <string.h>

#include "common/wire/admin.h"
#include "tests/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

static void try_message(const struct message *message, const uint8_t *data, size_t size)
{
    struct trib_buf once = {.data = NULL};
    struct trib_buf twice = {.data = NULL};
    uint8_t *msg = malloc(message->size);
    require(msg != NULL);
    memset(msg, 0xa5, message->size);
    if (message->unpack(data, size, msg)) {
        for (size_t i = 0; i < message->size; i++)
            require(msg[i] == 0xa5);
    } else {
        message->pack(msg, &once);
        require(!once.failed && message->unpack(once.data, once.size, msg) == TRIB_OK);
        message->pack(msg, &twice);
        require(once.size == twice.size);
        require(once.size == 0 || memcmp(once.data, twice.data, once.size) == 0);
    }
    trib_buf_fini(&once);
    trib_buf_fini(&twice);
    free(msg);
}

static void try_request(const uint8_t *data, size_t size)
{
    struct trib_admin_request request;
    struct trib_buf buf = {.data = NULL};
    if (trib_admin_request_unpack(data, size, &request))
        return;
    require(request.word_count >= 1 && request.word_count <= TRIB_ADMIN_WORDS_MAX);
    trib_admin_request_pack(&request, &buf);
    require(!buf.failed);
    trib_buf_fini(&buf);
    trib_admin_request_fini(&request);
}

static void try_reply(const uint8_t *data, size_t size)
{
    struct trib_admin_reply reply;
    struct trib_buf buf = {.data = NULL};
    if (trib_admin_reply_unpack(data, size, &reply))
        return;
    for (size_t i = 0; i < reply.row_count; i++)
        trib_admin_row_json(&reply.rows[i], &buf);
    trib_admin_table(&reply, &buf);
    trib_admin_reply_pack(&reply, &buf);
    require(!buf.failed);
    trib_buf_fini(&buf);
    trib_admin_reply_fini(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] < MESSAGE_COUNT)
        try_message(&messages[data[0]], data + 1, size - 1);
    else if (data[0] == MESSAGE_COUNT)
        try_request(data + 1, size - 1);
    else if (data[0] == MESSAGE_COUNT + 1)
        try_reply(data + 1, size - 1);
    return 0;
}
