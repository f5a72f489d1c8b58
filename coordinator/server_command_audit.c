// tributaryctl audit ...
#include "coordinator/server_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "coordinator/keys.h"

enum {
    NEWEST = 100, // records, when none is asked for
};

static void put_record(void *user, const struct trib_audit_record *record)
{
    struct trib_admin_reply *reply = user;
    char when[TRIB_CLOCK_TEXT_SIZE];
    trib_clock_text(record->time_ms, when);
    (void)trib_admin_row_add(reply);
    trib_admin_number(reply, "record", record->number);
    trib_admin_text(reply, "time", when);
    trib_admin_text(reply, "actor", record->actor);
    trib_admin_text(reply, "role", record->role);
    trib_admin_text(reply, "action", record->action);
    trib_admin_text(reply, "subject", record->subject);
    trib_admin_text(reply, "outcome", record->outcome);
}

static enum trib_err ask_list(struct trib_query *q, struct trib_store *store)
{
    uint64_t last = 0;
    enum trib_err err = trib_store_audit_last(store, &last);
    if (!err && q->a == 0)
        q->a = last > q->b ? last - q->b + 1 : 1;
    return err ? err : trib_store_audit_list(store, q->a, q->b, put_record, &q->reply);
}

void trib_cmd_audit_ls(struct trib_admin_call *call)
{
    const char *since = trib_command_option(call, "--since");
    uint64_t first = 0;
    if (since && (!trib_command_parse(since, &first) || first == 0)) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "--since wants the number of a record, from 1");
        return;
    }
    struct trib_query *q = trib_query_create(call, ask_list);
    if (!q)
        return;
    q->a = first;
    q->b = since || trib_command_option(call, "--limit") ? trib_command_limit(call) : NEWEST;
    trib_query_submit(q);
}

static enum trib_err ask_verify(struct trib_query *q, struct trib_store *store)
{
    struct trib_audit_check check;
    char hash[TRIB_DIGEST_TEXT_SIZE];
    char head[TRIB_DIGEST_TEXT_SIZE + 24];
    trib_keys_audit_check(&q->op.server->identity, &check);
    check.known = q->a;
    memcpy(check.known_hash, q->digest, sizeof(check.known_hash));
    enum trib_err err = trib_store_audit_check(store, &check);
    if (err)
        return err;
    (void)trib_admin_row_add(&q->reply);
    trib_admin_flag(&q->reply, "whole", !check.is_broken);
    trib_admin_number(&q->reply, "records", check.records);
    trib_admin_number(&q->reply, "checkpoints", check.checkpoints);
    trib_admin_number(&q->reply, "signed_up_to", check.checked);
    trib_hex_encode(check.hash, sizeof(check.hash), hash);
    (void)snprintf(head, sizeof(head), "%" PRIu64 ":%s", check.records, hash);
    trib_admin_text(&q->reply, "head", check.is_broken ? NULL : head);
    trib_admin_text(&q->reply, "found", check.is_broken ? check.what : NULL);
    if (check.is_broken)
        trib_admin_fail(&q->reply, TRIB_EXIT_DATA, "the audit log is not whole: %s", check.what);
    return TRIB_OK;
}

// "NUMBER:HASH", as verify prints it.
static bool parse_head(const char *text, uint64_t *ret_number, uint8_t hash[TRIB_DIGEST_SIZE])
{
    char number[24];
    const char *colon = strchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof(number))
        return false;
    (void)snprintf(number, sizeof(number), "%.*s", (int)(colon - text), text);
    return trib_command_parse(number, ret_number) && *ret_number > 0 &&
           strlen(colon + 1) == TRIB_DIGEST_TEXT_SIZE - 1 &&
           trib_hex_decode(colon + 1, hash, TRIB_DIGEST_SIZE);
}

void trib_cmd_audit_verify(struct trib_admin_call *call)
{
    const char *head = trib_command_option(call, "--head");
    uint64_t number = 0;
    uint8_t hash[TRIB_DIGEST_SIZE] = {0};
    if (head && !parse_head(head, &number, hash)) {
        trib_command_fail(call, TRIB_EXIT_USAGE,
                          "--head wants NUMBER:HASH, the head that an earlier verify printed");
        return;
    }
    struct trib_query *q = trib_query_create(call, ask_verify);
    if (!q)
        return;
    q->a = number;
    memcpy(q->digest, hash, sizeof(q->digest));
    trib_query_submit(q);
}
