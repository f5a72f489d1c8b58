// tributaryctl roster ...: whom a key on another machine is to vouch for, and what it said.
#include "coordinator/server_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "coordinator/roster.h"

#define TRIB_LOG_MODULE "command"

// ---- export

static bool has_word(const struct trib_admin_call *call, const char *word)
{
    const struct trib_admin_request *request = trib_admin_request_of(call);
    for (size_t i = 2; i < request->word_count; i++) {
        if (strcmp(request->words[i], word) == 0)
            return true;
    }
    return false;
}

void trib_cmd_roster_export(struct trib_admin_call *call)
{
    const struct trib_server *server = trib_admin_server(call);
    const bool only_unsigned = has_word(call, "--unsigned");
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_buf file = {0};
    uint64_t count = 0;

    trib_roster_print_head(&file, server->config.population, false);
    for (size_t i = 0; i < trib_peers_count(server->peers); i++) {
        const struct trib_peer *peer = trib_peers_at(server->peers, i);
        if (peer->row.is_revoked || (only_unsigned && peer->row.has_roster))
            continue;
        trib_roster_print_line(&file, peer->row.name, peer->row.sign_key, NULL);
        count++;
    }
    if (file.failed || file.size > TRIB_ROSTER_FILE_MAX) {
        trib_command_fail(call, TRIB_EXIT_INTERNAL,
                          file.failed ? "out of memory"
                                      : "more devices than one roster file holds");
        trib_buf_fini(&file);
        return;
    }
    (void)trib_admin_row_add(&reply);
    trib_admin_text(&reply, "population", server->config.population);
    trib_admin_number(&reply, "devices", count);
    reply.body = file.data; // the reply's from here
    reply.body_size = file.size;
    trib_admin_answer(call, &reply);
}

// ---- load

// All or nothing: every line is looked at before the first is stored, in one transaction.
struct load_op {
    struct trib_server_op op;
    struct trib_admin_call *call;
    struct trib_roster_text text; // borrows from the call's request
    struct trib_roster roster;
    struct trib_peer **peers; // (roster.count), owned
};

static void load_free(struct load_op *load)
{
    trib_roster_fini(&load->roster);
    free(load->peers);
    free(load);
}

// On the commit thread: a signature takes a tenth of a millisecond, and there may be thousands.
static enum trib_err load_prepare(struct trib_commit_op *commit_op)
{
    struct load_op *load = (struct load_op *)commit_op;
    return trib_roster_check(&load->roster, load->op.server->config.roster_key, &load->text);
}

static enum trib_err load_apply(struct trib_commit_op *commit_op, struct trib_store *store)
{
    struct load_op *load = (struct load_op *)commit_op;
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; i < load->roster.count && !err; i++)
        err = trib_store_device_roster(store, load->peers[i]->row.id,
                                       load->roster.lines[i].signature);
    return err ? err : trib_admin_record(load->call, store, "ok");
}

static void load_finish(struct trib_server *server, struct trib_server_op *op)
{
    struct load_op *load = (struct load_op *)op;
    struct trib_admin_reply reply = {.exit_code = 0};
    struct trib_roster_count count;
    if (op->op.result == TRIB_ERR_AUTH) {
        trib_admin_fail(&reply, TRIB_EXIT_USAGE, "%s", load->text.why);
    } else if (op->op.result) {
        trib_admin_fail(&reply, TRIB_EXIT_INTERNAL, "the roster could not be stored" TRIB_UNSTORED);
    } else {
        for (size_t i = 0; i < load->roster.count; i++) {
            struct trib_store_device *row = &load->peers[i]->row;
            memcpy(row->roster, load->roster.lines[i].signature, sizeof(row->roster));
            row->has_roster = true;
        }
        trib_secagg_count_roster(server, &count);
        TRIB_INFO("roster loaded devices=%zu rostered=%zu UNROSTERED=%zu", load->roster.count,
                  count.rostered, count.unrostered);
        (void)trib_admin_row_add(&reply);
        trib_admin_number(&reply, "loaded", load->roster.count);
        trib_admin_number(&reply, "rostered", count.rostered);
        trib_admin_number(&reply, "unrostered", count.unrostered);
    }
    trib_admin_answer(load->call, &reply);
    load_free(load);
}

static enum trib_err reject_line(struct load_op *load, size_t index, const char *what)
{
    trib_roster_reject(&load->text, index, "%s: %s", load->roster.lines[index].name, what);
    return TRIB_ERR_INVAL;
}

// Find the device of each line.
static enum trib_err match(const struct trib_server *server, struct load_op *load)
{
    struct trib_roster *roster = &load->roster;
    struct trib_roster_text *text = &load->text;
    enum trib_err err = trib_roster_parse(text, roster);
    if (err)
        return err;
    if (!roster->is_signed || strcmp(roster->population, server->config.population) != 0) {
        (void)snprintf(text->why, sizeof(text->why),
                       roster->is_signed ? "%.200s:1: is of population %s, this one is %.63s"
                                         : "%.200s:1: nobody signed it: tributary-coordinator "
                                           "roster sign",
                       text->file, roster->population, server->config.population);
        return TRIB_ERR_INVAL;
    }
    load->peers = trib_alloc_array(roster->count ? roster->count : 1, sizeof(struct trib_peer *));
    if (!load->peers)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < roster->count; i++) {
        const struct trib_roster_line *line = &roster->lines[i];
        struct trib_peer *peer = trib_peers_by_name(server->peers, line->name);
        if (!peer)
            return reject_line(load, i, "no device of that name is enrolled");
        if (peer->row.is_revoked)
            return reject_line(load, i, "the device is revoked");
        if (memcmp(peer->row.sign_key, line->sign_key, sizeof(line->sign_key)) != 0)
            return reject_line(load, i, "the key is not the one that device enrolled with");
        load->peers[i] = peer;
    }
    return TRIB_OK;
}

void trib_cmd_roster_load(struct trib_admin_call *call)
{
    struct trib_server *server = trib_admin_server(call);
    const struct trib_admin_request *request = trib_admin_request_of(call);
    if (!server->config.roster_is_offline) {
        trib_command_fail(call, TRIB_EXIT_USAGE,
                          "this coordinator signs its roster itself: [secagg] roster = offline in "
                          "tributary.ini is wanted before one can be loaded");
        return;
    }
    struct load_op *load = trib_alloc(sizeof(*load));
    if (!load) {
        trib_command_fail(call, TRIB_EXIT_INTERNAL, "out of memory");
        return;
    }
    load->call = call;
    load->text = (struct trib_roster_text){.data = request->body,
                                           .size = request->body_size,
                                           .file = request->body_name ? request->body_name : "-"};
    enum trib_err err = match(server, load);
    if (err) {
        trib_command_fail(call, err == TRIB_ERR_INVAL ? TRIB_EXIT_USAGE : TRIB_EXIT_INTERNAL,
                          err == TRIB_ERR_INVAL ? load->text.why : trib_err_text(err));
        load_free(load);
        return;
    }
    load->op.op.prepare = load_prepare;
    load->op.op.apply = load_apply;
    load->op.finish = load_finish;
    trib_server_submit(server, &load->op);
}
