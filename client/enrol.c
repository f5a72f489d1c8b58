// Enrolment: prove a token or a listed key once, pin the coordinator's keys.
#include <stdio.h>
#include <string.h>

#include "client/enrol.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "common/wire/token.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "enrol"

enum {
    TIMEOUT_MS = 15000
};

// One conversation: dial, hello, ENROL, answer. Work items of the channel run on this thread.
struct conversation {
    struct trib_queue queue;
    struct trib_work dialed; // posted when the dial has ended
    struct trib_conn *conn;
    bool dial_is_over;
    struct trib_channel *channel;
    struct trib_msg_enrol request;
    struct trib_msg_enrol_reply reply;
    bool is_opened, is_answered, is_closed;
};

static void nothing(struct trib_work *work)
{
    (void)work;
}

static void on_dialed(void *user, enum trib_err err, struct trib_conn *conn)
{
    struct conversation *c = user;
    (void)err;
    c->conn = conn;
    trib_queue_put(&c->queue, &c->dialed.node);
}

static void submit(void *executor, struct trib_work *work)
{
    trib_queue_put(executor, &work->node);
}

static void on_opened(void *user, struct trib_channel *channel, const struct trib_welcome *welcome)
{
    struct conversation *c = user;
    struct trib_buf packed = {0};
    (void)welcome;
    c->is_opened = true;
    trib_msg_enrol_pack(&c->request, &packed);
    if (packed.failed || trib_channel_send(channel, TRIB_RECORD_ENROL, 0, packed.data, packed.size))
        trib_channel_close(channel, TRIB_CLOSE_NOMEM);
    trib_buf_fini(&packed);
}

static bool on_record(void *user, struct trib_channel *channel, const struct trib_record *record)
{
    struct conversation *c = user;
    if (record->type != TRIB_RECORD_ENROL_REPLY)
        return record->type < TRIB_RECORD_CRITICAL;
    if (trib_msg_enrol_reply_unpack(record->payload, record->payload_size, &c->reply))
        return false;
    c->is_answered = true;
    trib_channel_close(channel, TRIB_CLOSE_DONE);
    return true;
}

static void on_closed(void *user, struct trib_channel *channel, enum trib_close_reason reason)
{
    struct conversation *c = user;
    (void)channel;
    (void)reason;
    c->is_closed = true;
}

static const struct trib_channel_handler handler = {
    .opened = on_opened, .record = on_record, .closed = on_closed};

static void work_until(struct conversation *c, const bool *done, uint64_t until_ms)
{
    while (!*done) {
        uint64_t now_ms = trib_clock_mono_ms();
        if (now_ms >= until_ms)
            return;
        struct trib_work *work = (struct trib_work *)trib_queue_take(&c->queue, until_ms - now_ms);
        if (work == &c->dialed)
            c->dial_is_over = true;
        else if (work)
            work->run(work);
    }
}

static enum trib_err converse(struct conversation *c, const char *url,
                              const struct trib_channel_options *options)
{
    const uint64_t until_ms = trib_clock_mono_ms() + TIMEOUT_MS;
    struct trib_dial *dial;
    enum trib_err err = trib_link_dial(url, on_dialed, c, &dial);
    if (err)
        return err;
    work_until(c, &c->dial_is_over, until_ms);
    if (!c->dial_is_over) {
        trib_dial_cancel(dial);
        work_until(c, &c->dial_is_over, UINT64_MAX);
    }
    trib_dial_free(dial);
    if (!c->conn) {
        TRIB_ERROR("%s: cannot be reached", url);
        return TRIB_ERR_CONNECT;
    }
    err = trib_channel_connect(c->conn, options, &c->channel);
    if (err)
        return err;
    trib_channel_start(c->channel);
    work_until(c, &c->is_closed, until_ms);
    if (!c->is_closed) {
        trib_channel_close(c->channel, TRIB_CLOSE_SHUTDOWN);
        work_until(c, &c->is_closed, UINT64_MAX);
    }
    for (struct trib_work *work; (work = (struct trib_work *)trib_queue_take(&c->queue, 0));)
        work->run(work);
    trib_channel_unref(c->channel);
    if (c->is_answered)
        return TRIB_OK;
    TRIB_ERROR("%s: %s", url,
               c->is_opened ? "the coordinator hung up before it answered"
                            : "the coordinator does not accept this token or key (it stays silent "
                              "to whom it does not know)");
    return TRIB_ERR_AUTH;
}

// By its name the operator tells this device from others that wait.
static void say_waiting(const struct trib_enrol_call *call)
{
    uint8_t public[TRIB_NOISE_KEY_SIZE];
    char name[TRIB_DEVICE_NAME_SIZE];
    trib_noise_public(call->keys->secret, public);
    trib_device_name(public, name);
    TRIB_WARN(
        "%s: this device, %s, waits for the operator's approval (tributaryctl devices approve %s); "
        "enrol again afterwards",
        call->url, name, name);
}

enum trib_err trib_enrol_ask(const struct trib_enrol_call *call,
                             struct trib_msg_enrol_reply *ret_reply)
{
    struct conversation c = {.dialed = {.run = nothing}};
    struct trib_frames *frames = NULL;
    trib_sign_public(call->keys->sign_seed, c.request.sign_key);
    (void)snprintf(c.request.software, sizeof(c.request.software), "tributary-client %s",
                   TRIB_VERSION_TEXT);
    c.request.has_next = call->next != NULL;
    if (call->next) {
        trib_noise_public(call->next->secret, c.request.next_key);
        trib_sign_public(call->next->sign_seed, c.request.next_sign_key);
    }
    enum trib_err err = trib_queue_init(&c.queue, false);
    if (err)
        return err;
    err = trib_frames_create(2, 1, &frames);
    const struct trib_channel_options options = {
        .handler = &handler,
        .user = &c,
        .submit = submit,
        .executor = &c.queue,
        .receive_frames = frames,
        .send_frames = frames,
        .secret = call->keys->secret,
        .coordinator = call->coordinator,
        .hello = call->hello,
    };
    if (!err)
        err = converse(&c, call->url, &options);
    TRIB_CRASH_POINT("enrol.answered");
    if (!err && c.reply.code == TRIB_CODE_RETRY_LATER) {
        say_waiting(call);
        err = TRIB_ERR_AUTH;
    } else if (!err && c.reply.code != TRIB_CODE_ACCEPTED) {
        TRIB_ERROR("%s: refused: %s", call->url, trib_code_text(c.reply.code));
        err = TRIB_ERR_AUTH;
    }
    if (!err)
        *ret_reply = c.reply;
    trib_queue_fini(&c.queue);
    trib_frames_destroy(frames);
    return err;
}

// Enrol at `url` as whom `hello` says, and write down what is pinned.
static enum trib_err enrol(const char *dir, const char *url,
                           const uint8_t coordinator[static TRIB_NOISE_KEY_SIZE],
                           const struct trib_hello *hello)
{
    struct trib_msg_enrol_reply reply;
    struct trib_state_keys keys;
    struct trib_state_enrolment enrolment = {.name = ""};
    const struct trib_enrol_call call = {
        .url = url, .coordinator = coordinator, .hello = hello, .keys = &keys};

    trib_crypto_init();
    enum trib_err err = trib_state_make(dir);
    if (!err)
        err = trib_state_keys_make(dir, &keys);
    TRIB_CRASH_POINT("enrol.keys");
    if (err)
        return err;
    err = trib_enrol_ask(&call, &reply);
    if (err)
        goto out;
    (void)snprintf(enrolment.url, sizeof(enrolment.url), "%s", url);
    (void)snprintf(enrolment.name, sizeof(enrolment.name), "%s", reply.name);
    (void)snprintf(enrolment.population, sizeof(enrolment.population), "%s", reply.population);
    memcpy(enrolment.coordinator_key, coordinator, sizeof(enrolment.coordinator_key));
    memcpy(enrolment.first_key, coordinator, sizeof(enrolment.first_key));
    enrolment.key_sequence = reply.key_sequence;
    memcpy(enrolment.release_key, reply.release_key, sizeof(enrolment.release_key));
    enrolment.has_roster_key = reply.has_roster_key;
    memcpy(enrolment.roster_key, reply.roster_key, sizeof(enrolment.roster_key));
    err = trib_state_config_write(dir);
    TRIB_CRASH_POINT("enrol.config");
    if (!err)
        err = trib_state_enrolment_save(dir, &enrolment); // last: its presence says all is there
    TRIB_CRASH_POINT("enrol.saved");
    if (!err)
        TRIB_INFO("enrolled name=%s url=%s", enrolment.name, url);

out:
    trib_state_keys_wipe(&keys);
    return err;
}

enum trib_err trib_client_enrol(const char *token_text, const char *state_dir)
{
    struct trib_token token;
    struct trib_hello hello = {.kind = TRIB_HELLO_TOKEN};
    if (!token_text || !state_dir)
        return TRIB_ERR_INVAL;
    if (!trib_token_read(token_text, &token)) {
        TRIB_ERROR("%s", trib_token_fault(token_text));
        return TRIB_ERR_INVAL;
    }
    if (!trib_link_url_is_good(token.url)) {
        TRIB_ERROR("this is not the whole of an enrolment token: its end, an address, is missing");
        trib_wipe(&token, sizeof(token));
        return TRIB_ERR_INVAL;
    }
    memcpy(hello.token_id, token.id, sizeof(hello.token_id));
    memcpy(hello.token_secret, token.secret, sizeof(hello.token_secret));
    enum trib_err err = enrol(state_dir, token.url, token.coordinator, &hello);
    trib_wipe(&token, sizeof(token));
    trib_wipe(&hello, sizeof(hello));
    return err;
}

enum trib_err trib_enrol_listed(const char *url, const char *key_text, const char *state_dir)
{
    const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    uint8_t key[TRIB_NOISE_KEY_SIZE];
    size_t size;
    if (!trib_base64_decode(key_text, key, sizeof(key), &size) || size != sizeof(key)) {
        TRIB_ERROR("--key: not a coordinator's public key (coordinator.pub)");
        return TRIB_ERR_INVAL;
    }
    return enrol(state_dir, url, key, &hello);
}
