// A device that says whatever it is told to: sessions of the real wire code, led by lines of text.
//
//     usage: peer COORDINATOR_KEY PORT        (base64; on 127.0.0.1)
//
// A line is a command, and each is answered by one line. S is a slot, one connection each; bytes are
// hexadecimal, "-" for none. What is not a command ends the program: that is a mistake of the test.
//
//     connect S                             ok | refused
//     send S HEX                            ok | gone
//     hello S NAME [TOKEN_ID SECRET]        HEX: a hello of the key that NAME stands for; not sent
//     welcome S MS                          open | closed N | silent N: what came until then
//     open S NAME MS [TOKEN_ID SECRET]      connect, hello and welcome in one
//     seal S TYPE FLAGS STREAM OFFSET HEX   HEX: the record's frame; not sent
//     record S TYPE STREAM OFFSET HEX       ok | gone
//     zeros S STREAM SIZE                   ok | gone: an update of zeros, in chunks
//     hear S MS                             record TYPE STREAM OFFSET HEX | closed N | silent N
//     await S TYPE MS                       the same, but records of other types are passed over
//     ask FIRST COUNT MS                    microseconds of a question and its answer in each of the
//                                           slots: an update that nobody asked for, and its receipt
//     strangers S MS                        CONNECTIONS BYTES: so many keys that nobody knows said hello
//                                           for so long, one after another, and heard so many bytes
//     key NAME                              the public key that NAME stands for, base64
//     close S                               ok
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/wipe.h"
#include "common/wire/message.h"
#include "common/wire/session.h"

enum {
    SLOTS = 2048,
    FRAME_SIZE = TRIB_FRAME_PREFIX_SIZE + TRIB_FRAME_MAX,
    WORDS = 8,
    STRANGER_MS = 10000, // longer than a handshake may take
    LINE_SIZE = 3 * FRAME_SIZE,
};

struct slot {
    int fd; // 0: none
    size_t used;
    uint8_t *in; // FRAME_SIZE bytes, made when it is wanted
    struct trib_session session;
};

static struct slot slots[SLOTS];
static uint8_t coordinator[TRIB_NOISE_KEY_SIZE];
static uint16_t port;
static uint8_t bytes[FRAME_SIZE];
static uint8_t frame[FRAME_SIZE + TRIB_SEALED_OVERHEAD];

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "peer: %s\n", what);
    exit(2);
}

static unsigned number(const char *text)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || value > UINT32_MAX)
        give_up("not a number");
    return (unsigned)value;
}

static struct slot *slot_of(const char *text)
{
    const unsigned index = number(text);
    if (index >= SLOTS)
        give_up("no such slot");
    return &slots[index];
}

static size_t take_hex(const char *text)
{
    if (strcmp(text, "-") == 0)
        return 0;
    const size_t size = strlen(text) / 2;
    if (size > sizeof(bytes) || !trib_hex_decode(text, bytes, size))
        give_up("not hexadecimal, or too much of it");
    return size;
}

static void say_hex(const uint8_t *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        (void)putchar(digits[data[i] >> 4]);
        (void)putchar(digits[data[i] & 15]);
    }
    if (size == 0)
        (void)putchar('-');
}

static void secret_of(const char *name, uint8_t secret[static TRIB_NOISE_KEY_SIZE])
{
    trib_digest(name, strlen(name), secret);
}

// ---- Bytes

static void slot_close(struct slot *slot)
{
    if (slot->fd)
        (void)close(slot->fd);
    trib_session_fini(&slot->session);
    free(slot->in);
    *slot = (struct slot){.fd = 0};
}

static bool slot_connect(struct slot *slot)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    slot_close(slot);
    slot->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (slot->fd <= 0)
        give_up("no more sockets");
    return connect(slot->fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

static bool slot_send(struct slot *slot, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(slot->fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

enum heard {
    HEARD_FRAME,
    HEARD_END,
    HEARD_NOTHING
};

// Wait for a whole frame at the begin of the buffer.
static enum heard slot_hear(struct slot *slot, uint64_t until_ms, size_t *ret_size)
{
    if (!slot->in)
        slot->in = calloc(1, FRAME_SIZE);
    if (!slot->in)
        give_up("out of memory");
    for (;;) {
        if (slot->used >= TRIB_FRAME_PREFIX_SIZE) {
            *ret_size = TRIB_FRAME_PREFIX_SIZE + (size_t)trib_load_be16(slot->in);
            if (slot->used >= *ret_size)
                return HEARD_FRAME;
        }
        const uint64_t now_ms = trib_clock_mono_ms();
        struct pollfd wait = {.fd = slot->fd, .events = POLLIN};
        if (poll(&wait, 1, now_ms < until_ms ? (int)(until_ms - now_ms) : 0) <= 0)
            return HEARD_NOTHING;
        ssize_t got = recv(slot->fd, slot->in + slot->used, FRAME_SIZE - slot->used, 0);
        if (got <= 0)
            return HEARD_END;
        slot->used += (size_t)got;
    }
}

static void slot_drop(struct slot *slot, size_t size)
{
    slot->used -= size;
    memmove(slot->in, slot->in + size, slot->used);
}

static void say_none(const struct slot *slot, enum heard heard)
{
    (void)printf("%s %zu\n", heard == HEARD_END ? "closed" : "silent", slot->used);
}

// ---- Sessions

static size_t make_hello(struct slot *slot, const char *name, const char *id, const char *secret)
{
    uint8_t own[TRIB_NOISE_KEY_SIZE];
    struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    size_t size;
    if (id && (!trib_hex_decode(id, hello.token_id, sizeof(hello.token_id)) ||
               !trib_hex_decode(secret, hello.token_secret, sizeof(hello.token_secret))))
        give_up("not a token");
    if (id)
        hello.kind = TRIB_HELLO_TOKEN;
    secret_of(name, own);
    trib_session_fini(&slot->session);
    trib_session_init_client(&slot->session, own, coordinator);
    if (trib_session_write_hello(&slot->session, &hello, frame, &size))
        give_up("no hello");
    return size;
}

static void do_welcome(struct slot *slot, unsigned wait_ms)
{
    struct trib_welcome welcome;
    size_t size;
    enum heard heard = slot_hear(slot, trib_clock_mono_ms() + wait_ms, &size);
    if (heard != HEARD_FRAME) {
        say_none(slot, heard);
        return;
    }
    if (trib_session_read_welcome(&slot->session, slot->in + TRIB_FRAME_PREFIX_SIZE,
                                  size - TRIB_FRAME_PREFIX_SIZE, &welcome))
        give_up("a welcome that is none");
    slot_drop(slot, size);
    (void)puts("open");
}

static void do_open(struct slot *slot, char **words, size_t count)
{
    if (!slot_connect(slot)) {
        (void)puts("refused");
        return;
    }
    size_t size = make_hello(slot, words[2], count > 5 ? words[4] : NULL, words[5]);
    (void)slot_send(slot, frame, size);
    do_welcome(slot, number(words[3]));
}

static size_t make_record(struct slot *slot, const struct trib_record *record)
{
    size_t size;
    if (trib_session_seal(&slot->session, record, frame, &size))
        give_up("cannot seal: is the session open?");
    return size;
}

static void say_sent(bool is_sent)
{
    (void)puts(is_sent ? "ok" : "gone");
}

static void do_seal(struct slot *slot, char **words, bool is_sent)
{
    const bool has_flags = !is_sent;
    const size_t size = take_hex(words[5 + has_flags]);
    const struct trib_record record = {.type = (uint8_t)number(words[2]),
                                       .flags = has_flags ? (uint8_t)number(words[3]) : 0,
                                       .stream = (uint16_t)number(words[3 + has_flags]),
                                       .offset = number(words[4 + has_flags]),
                                       .payload = bytes,
                                       .payload_size = size};
    const size_t sealed = make_record(slot, &record);
    if (is_sent) {
        say_sent(slot_send(slot, frame, sealed));
        return;
    }
    say_hex(frame, sealed);
    (void)putchar('\n');
}

static void do_zeros(struct slot *slot, char **words)
{
    const size_t size = number(words[3]);
    bool is_sent = true;
    memset(bytes, 0, sizeof(bytes));
    for (size_t at = 0; at < size && is_sent; at += TRIB_CHUNK_SIZE) {
        const size_t left = size - at;
        const struct trib_record record = {.type = TRIB_RECORD_UPLOAD_CHUNK,
                                           .stream = (uint16_t)number(words[2]),
                                           .offset = (uint32_t)at,
                                           .payload = bytes,
                                           .payload_size =
                                               left < TRIB_CHUNK_SIZE ? left : TRIB_CHUNK_SIZE};
        is_sent = slot_send(slot, frame, make_record(slot, &record));
    }
    say_sent(is_sent);
}

// The next record of this type, or of any for 0.
static enum heard hear_record(struct slot *slot, unsigned type, uint64_t until_ms,
                              struct trib_record *ret_record, size_t *ret_size)
{
    for (;;) {
        enum heard heard = slot_hear(slot, until_ms, ret_size);
        if (heard != HEARD_FRAME)
            return heard;
        if (trib_session_open(&slot->session, slot->in + TRIB_FRAME_PREFIX_SIZE,
                              *ret_size - TRIB_FRAME_PREFIX_SIZE, ret_record))
            give_up("a record that does not open");
        if (type == 0 || ret_record->type == type)
            return HEARD_FRAME;
        slot_drop(slot, *ret_size);
    }
}

static void do_hear(struct slot *slot, unsigned type, unsigned wait_ms)
{
    struct trib_record record;
    size_t size;
    enum heard heard = hear_record(slot, type, trib_clock_mono_ms() + wait_ms, &record, &size);
    if (heard != HEARD_FRAME) {
        say_none(slot, heard);
        return;
    }
    (void)printf("record %u %u %" PRIu32 " ", record.type, record.stream, record.offset);
    say_hex(record.payload, record.payload_size);
    (void)putchar('\n');
    slot_drop(slot, size);
}

// One after another, so that the waiting is the coordinator's and not ours.
static void do_ask(char **words)
{
    const struct trib_msg_upload_begin begin = {.round_id = 0};
    struct trib_buf packed = {0};
    const unsigned first = number(words[1]);
    const unsigned count = number(words[2]);
    const unsigned wait_ms = number(words[3]);
    trib_msg_upload_begin_pack(&begin, &packed);
    const struct trib_record question = {
        .type = TRIB_RECORD_UPLOAD_BEGIN, .payload = packed.data, .payload_size = packed.size};
    for (unsigned i = first; i < first + count && i < SLOTS; i++) {
        struct trib_record record;
        size_t size;
        const uint64_t begin_us = trib_clock_mono_us();
        const bool is_sent = slot_send(&slots[i], frame, make_record(&slots[i], &question));
        if (!is_sent || hear_record(&slots[i], TRIB_RECORD_RECEIPT, trib_clock_mono_ms() + wait_ms,
                                    &record, &size) != HEARD_FRAME) {
            (void)printf("- ");
            continue;
        }
        slot_drop(&slots[i], size);
        (void)printf("%" PRIu64 " ", trib_clock_mono_us() - begin_us);
    }
    trib_buf_fini(&packed);
    (void)putchar('\n');
}

static void do_strangers(struct slot *slot, unsigned wait_ms)
{
    const uint64_t until_ms = trib_clock_mono_ms() + wait_ms;
    uint64_t count = 0;
    uint64_t heard_bytes = 0;
    while (trib_clock_mono_ms() < until_ms) {
        char name[64];
        size_t size;
        (void)snprintf(name, sizeof(name), "stranger-%" PRIu64 "-%ld", count, (long)getpid());
        if (!slot_connect(slot))
            continue;
        size = make_hello(slot, name, NULL, NULL);
        (void)slot_send(slot, frame, size);
        if (slot_hear(slot, trib_clock_mono_ms() + STRANGER_MS, &size) == HEARD_NOTHING)
            give_up("a stranger is kept waiting");
        heard_bytes += slot->used;
        count++;
    }
    (void)printf("%" PRIu64 " %" PRIu64 "\n", count, heard_bytes);
}

static void do_key(const char *name)
{
    uint8_t secret[TRIB_NOISE_KEY_SIZE];
    uint8_t public[TRIB_NOISE_KEY_SIZE];
    char text[64];
    secret_of(name, secret);
    trib_noise_public(secret, public);
    trib_base64_encode(public, sizeof(public), text);
    (void)puts(text);
}

static void obey(char **words, size_t count)
{
    const char *verb = words[0];
    struct slot *slot = strcmp(verb, "key") == 0 ? NULL : slot_of(words[1]);
    if (strcmp(verb, "connect") == 0) {
        (void)puts(slot_connect(slot) ? "ok" : "refused");
    } else if (strcmp(verb, "send") == 0 && count == 3) {
        say_sent(slot_send(slot, bytes, take_hex(words[2])));
    } else if (strcmp(verb, "hello") == 0 && count >= 3) {
        say_hex(frame, make_hello(slot, words[2], count > 4 ? words[3] : NULL, words[4]));
        (void)putchar('\n');
    } else if (strcmp(verb, "welcome") == 0 && count == 3) {
        do_welcome(slot, number(words[2]));
    } else if (strcmp(verb, "open") == 0 && count >= 4) {
        do_open(slot, words, count);
    } else if (strcmp(verb, "seal") == 0 && count == 7) {
        do_seal(slot, words, false);
    } else if (strcmp(verb, "record") == 0 && count == 6) {
        do_seal(slot, words, true);
    } else if (strcmp(verb, "zeros") == 0 && count == 4) {
        do_zeros(slot, words);
    } else if (strcmp(verb, "hear") == 0 && count == 3) {
        do_hear(slot, 0, number(words[2]));
    } else if (strcmp(verb, "await") == 0 && count == 4) {
        do_hear(slot, number(words[2]), number(words[3]));
    } else if (strcmp(verb, "ask") == 0 && count == 4) {
        do_ask(words);
    } else if (strcmp(verb, "strangers") == 0 && count == 3) {
        do_strangers(slot, number(words[2]));
    } else if (strcmp(verb, "key") == 0 && count == 2) {
        do_key(words[1]);
    } else if (strcmp(verb, "close") == 0) {
        slot_close(slot);
        (void)puts("ok");
    } else {
        give_up(verb);
    }
}

int main(int argc, char **argv)
{
    static char line[LINE_SIZE];
    size_t size;
    trib_crypto_init();
    if (argc != 3 || !trib_base64_decode(argv[1], coordinator, sizeof(coordinator), &size) ||
        size != sizeof(coordinator))
        give_up("usage: peer COORDINATOR_KEY PORT");
    port = (uint16_t)number(argv[2]);
    while (fgets(line, sizeof(line), stdin)) {
        char *words[WORDS] = {NULL};
        char *rest = NULL;
        size_t count = 0;
        for (char *word = strtok_r(line, " \n", &rest); word && count < WORDS;
             word = strtok_r(NULL, " \n", &rest))
            words[count++] = word;
        if (count < 2)
            give_up("a line without a command");
        obey(words, count);
        (void)fflush(stdout);
    }
    for (size_t i = 0; i < SLOTS; i++)
        slot_close(&slots[i]);
    return 0;
}
