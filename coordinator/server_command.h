// server_command.h - what the files of the admin commands share: server_command*.c only.
#ifndef TRIB_COORDINATOR_SERVER_COMMAND_H
#define TRIB_COORDINATOR_SERVER_COMMAND_H

#include "common/base/args.h"
#include "common/wire/token.h"
#include "coordinator/server_state.h"

enum {
    TRIB_COMMAND_LIST_MAX = TRIB_ADMIN_ROWS_MAX, // rows of an answer
};

// ---- Words of a request
const char *trib_command_word(const struct trib_admin_call *call, size_t index); // "": none
// The value behind "--name", or NULL.
// Does this word stand behind the command?
bool trib_command_has(const struct trib_admin_call *call, const char *word);
const char *trib_command_option(const struct trib_admin_call *call, const char *name);
uint64_t trib_command_number(const struct trib_admin_call *call, const char *name,
                             uint64_t fallback);
// "--limit", at most TRIB_COMMAND_LIST_MAX.
uint64_t trib_command_limit(const struct trib_admin_call *call);
bool trib_command_parse(const char *text, uint64_t *ret_value);
// Answer with an error and nothing else.
void trib_command_fail(struct trib_admin_call *call, uint32_t exit_code, const char *text);

// ---- A command that needs the store, as an operation of the commit thread
struct trib_query {
    struct trib_server_op op;
    struct trib_admin_call *call;
    struct trib_admin_reply reply;
    uint64_t a, b, c; // the command's numbers
    enum trib_err (*ask)(struct trib_query *query, struct trib_store *store);
    uint8_t digest[TRIB_DIGEST_SIZE];
    bool found;
    union {
        struct trib_store_device device;
        struct trib_store_token token;
        struct trib_store_job job;
    } row;
    struct trib_token secret;
    bool is_again;               // a token: in the place of others of its name
    char *text;                  // owned
    struct trib_active_job *job; // being submitted
    char *refusal;               // of the job, owned; NULL: none
    struct trib_peer *peer;
};

// What comes behind "... could not be stored".
#define TRIB_UNSTORED \
    ": the coordinator's log says why (a full disk?); it ends, and goes on when it is started"

// NULL: out of memory, and answered.
struct trib_query *trib_query_create(struct trib_admin_call *call,
                                     enum trib_err (*ask)(struct trib_query *,
                                                          struct trib_store *));
void trib_query_submit(struct trib_query *query);
void trib_query_free(struct trib_query *query);

// ---- The table of commands (server_command_table.c)
struct trib_command_entry {
    const char *first, *second; // its words; "": it has one
    void (*run)(struct trib_admin_call *call);
    enum trib_role role; // the least that may give it
    bool changes;        // something that lasts, so that it is recorded
};
size_t trib_command_count(void);
const struct trib_command_entry *trib_command_at(size_t index);
// May a peer of this role give it?
bool trib_command_allows(const struct trib_command_entry *entry, enum trib_role role);

// ---- The commands
void trib_cmd_roles(struct trib_admin_call *call);
void trib_cmd_advise(struct trib_admin_call *call);
void trib_cmd_status(struct trib_admin_call *call);
void trib_cmd_doctor(struct trib_admin_call *call);
void trib_cmd_jobs_submit(struct trib_admin_call *call);
void trib_cmd_jobs_ls(struct trib_admin_call *call);
void trib_cmd_jobs_show(struct trib_admin_call *call);
void trib_cmd_jobs_selection(struct trib_admin_call *call);
void trib_cmd_jobs_start(struct trib_admin_call *call);
void trib_cmd_jobs_pause(struct trib_admin_call *call);
void trib_cmd_jobs_cancel(struct trib_admin_call *call);
void trib_cmd_devices_ls(struct trib_admin_call *call);
void trib_cmd_devices_token(struct trib_admin_call *call);
void trib_cmd_devices_approve(struct trib_admin_call *call);
void trib_cmd_devices_revoke(struct trib_admin_call *call);
void trib_cmd_roster_export(struct trib_admin_call *call);
void trib_cmd_roster_load(struct trib_admin_call *call);
void trib_cmd_rounds_ls(struct trib_admin_call *call);
void trib_cmd_rounds_show(struct trib_admin_call *call);
void trib_cmd_rounds_measured(struct trib_admin_call *call);
void trib_cmd_rounds_counted(struct trib_admin_call *call);
void trib_cmd_models_ls(struct trib_admin_call *call);
void trib_cmd_models_show(struct trib_admin_call *call);
void trib_cmd_models_export(struct trib_admin_call *call);
void trib_cmd_models_ensemble(struct trib_admin_call *call);
void trib_cmd_keys_list(struct trib_admin_call *call);
void trib_cmd_keys_retire(struct trib_admin_call *call);
void trib_cmd_backup(struct trib_admin_call *call);
void trib_cmd_audit_ls(struct trib_admin_call *call);
void trib_cmd_audit_verify(struct trib_admin_call *call);

#endif // TRIB_COORDINATOR_SERVER_COMMAND_H
