// The operator: hands out tokens, submits the job, pauses it now and then, and looks whether it is
// done. As tributaryctl does, he has an answer or none, and asks again.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/wire/admin.h"
#include "common/wire/link.h"
#include "coordinator/identity.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/oracle.h"
#include "simulations/chaos/roles.h"

enum {
    ANSWER_MS = 60000,
    AGAIN_MS = 1000,
    ROOM = 65536, // of an answer
    QUIET_MS = 3600 * 1000,
};

// One request on a connection of its own.
struct call {
    struct trib_dial *dial;
    struct trib_conn *conn;
    bool has_dialed, is_over; // over: answered, or the connection broke
    struct trib_buf out;
    uint8_t in[ROOM];
    size_t size;
};

static bool is_whole(const struct call *call)
{
    return call->size >= TRIB_ADMIN_LENGTH_SIZE &&
           call->size >= TRIB_ADMIN_LENGTH_SIZE + trib_load_be32(call->in);
}

static void received(void *user, enum trib_err err, size_t size)
{
    struct call *call = user;
    call->size += size;
    call->is_over = err || is_whole(call) || call->size == sizeof(call->in);
    if (call->is_over)
        trib_machine_wake(call, true);
    else
        trib_conn_receive(call->conn, call->in + call->size, sizeof(call->in) - call->size);
}

static void sent(void *user, enum trib_err err)
{
    (void)user;
    (void)err; // then nothing is received either
}

static void dialed(void *user, enum trib_err err, struct trib_conn *conn)
{
    struct call *call = user;
    (void)err;
    call->has_dialed = true;
    call->conn = conn;
    trib_machine_wake(call, true);
}

static enum trib_err converse(struct call *call)
{
    static const struct trib_conn_handler handler = {.received = received, .sent = sent};
    const uint64_t until_us = trib_machine_now_us() + (uint64_t)ANSWER_MS * 1000;
    char url[TRIB_URL_MAX + 1];
    enum trib_err err = trib_admin_url(trib_chaos.coordinator->name, url, sizeof(url));
    if (!err)
        err = trib_link_dial(url, dialed, call, &call->dial);
    if (err)
        return err;
    while (!call->has_dialed)
        (void)trib_machine_wait(call, UINT64_MAX);
    trib_dial_free(call->dial);
    if (!call->conn)
        return TRIB_ERR_CONNECT;
    trib_conn_start(call->conn, &handler, call);
    trib_conn_receive(call->conn, call->in, sizeof(call->in));
    trib_conn_send(call->conn, call->out.data, call->out.size);
    while (!call->is_over && trib_machine_wait(call, until_us))
        ;
    trib_conn_close(call->conn);
    return is_whole(call) ? TRIB_OK : TRIB_ERR_CONNECT;
}

// False: no answer. A refusal is an answer without rows.
static bool ask(const struct trib_admin_request *request, struct trib_admin_reply *ret_reply)
{
    static struct call call; // there is one operator, who does one thing at a time
    call = (struct call){.size = 0};
    trib_admin_request_pack(request, &call.out);
    enum trib_err err = converse(&call);
    if (!err)
        err = trib_admin_reply_unpack(call.in + TRIB_ADMIN_LENGTH_SIZE, trib_load_be32(call.in),
                                      ret_reply);
    trib_buf_fini(&call.out);
    if (!err && ret_reply->error)
        trib_chaos_say("refused: %s", ret_reply->error);
    return !err;
}

static void rest(void)
{
    trib_clock_sleep_ms(trib_machine_draw(TRIB_STREAM_WORK, 1, AGAIN_MS));
}

// An answer that is lost leaves a token that nobody knows, and its name taken: then he asks for
// another name.
static void hand_out(int member)
{
    struct trib_admin_reply reply = {.row_count = 0};
    for (unsigned n = 1; reply.row_count == 0; n++) {
        char name[TRIB_NAME_MAX + 1];
        (void)snprintf(name, sizeof(name), "%s-%u", trib_chaos.members[member]->name, n);
        const struct trib_admin_request request = {.word_count = 4,
                                                   .words = {"devices", "token", "--name", name}};
        trib_admin_reply_fini(&reply);
        if (!ask(&request, &reply))
            rest();
    }
    (void)snprintf(trib_chaos.tokens[member], sizeof(trib_chaos.tokens[member]), "%s",
                   trib_admin_find_text(&reply.rows[0], "token"));
    trib_admin_reply_fini(&reply);
}

// ---- The job

// The job's row; false: no answer. No row: there is no job.
static bool show_job(char state[static 16], uint64_t *ret_id)
{
    const struct trib_admin_request request = {.word_count = 2, .words = {"jobs", "ls"}};
    struct trib_admin_reply reply;
    if (!ask(&request, &reply))
        return false;
    if (reply.row_count > 1)
        trib_chaos_fail("operator", "%zu jobs, one was submitted", reply.row_count);
    *ret_id = reply.row_count ? trib_admin_find_number(&reply.rows[0], "job") : 0;
    (void)snprintf(state, 16, "%s",
                   reply.row_count ? trib_admin_find_text(&reply.rows[0], "state") : "");
    trib_admin_reply_fini(&reply);
    return true;
}

static uint64_t submit(void)
{
    char text[1024];
    char state[16];
    const bool is_masked = trib_chaos.mode == TRIB_PRIVACY_DISTRIBUTED;
    (void)snprintf(text, sizeof(text),
                   "[model]\nspec = 6%s - dense 3 softmax\nseed = 1\n"
                   "[round]\nrounds = %" PRIu64 "\ncohort = %d\nselect_ms = 5000\n"
                   "report_ms = 60000\neval_every = 0\n%s[privacy]\nmode = %s\n%s",
                   trib_chaos.is_wide ? " - dense 800 relu" : "", trib_chaos.rounds,
                   TRIB_CHAOS_COHORT,
                   is_masked ? "[secagg]\nmin_cohort = 4\nphase_ms = 5000\n"
                             : "over_selection = 1.5\nmin_accepted = 2\n",
                   trib_privacy_mode_text(trib_chaos.mode),
                   trib_chaos.mode == TRIB_PRIVACY_OFF ? "" : "noise_multiplier = 1\n");
    union { // the request only reads it
        const char *text;
        const uint8_t *bytes;
    } body = {.text = text};
    const struct trib_admin_request request = {
        .word_count = 3,
        .words = {"jobs", "submit", "--accept-drowned-signal"},
        .body_name = "job.ini",
        .body_dir = ".",
        .body = body.bytes,
        .body_size = strlen(text)};
    for (;;) {
        struct trib_admin_reply reply;
        uint64_t id = 0;
        const bool is_answered = ask(&request, &reply);
        if (is_answered && reply.row_count == 0)
            trib_chaos_fail("operator", "the job is refused: %s",
                            reply.error ? reply.error : "no rows");
        if (is_answered)
            trib_admin_reply_fini(&reply);
        while (!show_job(state, &id))
            rest();
        if (is_answered && id == 0)
            trib_chaos_fail("operator", "a job that was taken is gone");
        if (id > 0)
            return id;
    }
}

static void change(const char *how, uint64_t job)
{
    char number[24];
    (void)snprintf(number, sizeof(number), "%" PRIu64, job);
    const struct trib_admin_request request = {.word_count = 3, .words = {"jobs", how, number}};
    struct trib_admin_reply reply;
    while (!ask(&request, &reply))
        rest();
    trib_admin_reply_fini(&reply);
}

static void pause_for_a_while(uint64_t job)
{
    char state[16];
    uint64_t id;
    trib_chaos.wants_pause = false;
    change("pause", job);
    trib_clock_sleep_ms(trib_machine_draw(TRIB_STREAM_WORK, 0, 5000));
    while (!show_job(state, &id))
        rest();
    if (strcmp(state, "paused") != 0 && strcmp(state, "done") != 0)
        trib_chaos_fail("operator", "a job that was paused is %s", state);
    change("start", job);
}

void trib_role_operator(struct trib_process *process)
{
    char state[16] = "";
    uint64_t quiet_ms = 0;
    (void)process;
    for (int i = 0; i < TRIB_CHAOS_MEMBERS; i++)
        hand_out(i);
    uint64_t job = submit();
    while (strcmp(state, "done") != 0) {
        if (trib_chaos.wants_pause)
            pause_for_a_while(job);
        rest();
        if (!show_job(state, &job))
            continue;
        if (strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0)
            trib_chaos_fail("quiet", "the job is %s", state);
        if (trib_chaos.is_quiet && quiet_ms == 0)
            quiet_ms = trib_clock_mono_ms();
        if (quiet_ms > 0 && trib_clock_mono_ms() > quiet_ms + QUIET_MS)
            trib_chaos_fail("quiet", "an hour without faults, and the job is %s", state);
    }
    trib_chaos.is_quiet = true;
    quiet_ms = trib_clock_mono_ms();
    while (!trib_oracle_is_settled()) {
        rest();
        if (trib_clock_mono_ms() > quiet_ms + QUIET_MS)
            trib_chaos_fail("quiet", "an hour after the job, and not everybody has its version");
    }
    trib_chaos.is_over = true;
    for (;;)
        rest();
}
