// The table of commands: what tributaryctl can ask for, and the least role that may.
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "coordinator/server_command.h"

#define TRIB_LOG_MODULE "command"

enum {
    LOOKS = false,
    CHANGES = true,
};

// All five: a command without a role does not compile.
#define COMMAND(first, second, function, least, kind)            \
    {                                                            \
        (first), (second), (function), TRIB_ROLE_##least, (kind) \
    }

static const struct trib_command_entry commands[] = {
    COMMAND("advise", "", trib_cmd_advise, VIEWER, LOOKS),
    COMMAND("status", "", trib_cmd_status, VIEWER, LOOKS),
    COMMAND("doctor", "", trib_cmd_doctor, VIEWER, LOOKS),
    COMMAND("roles", "", trib_cmd_roles, VIEWER, LOOKS),
    COMMAND("jobs", "submit", trib_cmd_jobs_submit, OPERATOR, CHANGES),
    COMMAND("jobs", "ls", trib_cmd_jobs_ls, VIEWER, LOOKS),
    COMMAND("jobs", "show", trib_cmd_jobs_show, VIEWER, LOOKS),
    COMMAND("jobs", "selection", trib_cmd_jobs_selection, VIEWER, LOOKS),
    COMMAND("jobs", "start", trib_cmd_jobs_start, OPERATOR, CHANGES),
    COMMAND("jobs", "pause", trib_cmd_jobs_pause, OPERATOR, CHANGES),
    COMMAND("jobs", "cancel", trib_cmd_jobs_cancel, OPERATOR, CHANGES),
    COMMAND("devices", "ls", trib_cmd_devices_ls, VIEWER, LOOKS),
    COMMAND("devices", "token", trib_cmd_devices_token, OPERATOR, CHANGES),
    COMMAND("devices", "approve", trib_cmd_devices_approve, OPERATOR, CHANGES),
    COMMAND("devices", "revoke", trib_cmd_devices_revoke, ADMIN, CHANGES),
    COMMAND("roster", "export", trib_cmd_roster_export, VIEWER, LOOKS),
    COMMAND("roster", "load", trib_cmd_roster_load, ADMIN, CHANGES),
    COMMAND("rounds", "ls", trib_cmd_rounds_ls, VIEWER, LOOKS),
    COMMAND("rounds", "show", trib_cmd_rounds_show, VIEWER, LOOKS),
    COMMAND("rounds", "measured", trib_cmd_rounds_measured, VIEWER, LOOKS),
    COMMAND("rounds", "counted", trib_cmd_rounds_counted, VIEWER, LOOKS),
    COMMAND("models", "ls", trib_cmd_models_ls, VIEWER, LOOKS),
    COMMAND("models", "show", trib_cmd_models_show, VIEWER, LOOKS),
    COMMAND("models", "export", trib_cmd_models_export, VIEWER, LOOKS),
    COMMAND("models", "ensemble", trib_cmd_models_ensemble, OPERATOR, CHANGES),
    COMMAND("keys", "list", trib_cmd_keys_list, VIEWER, LOOKS),
    COMMAND("keys", "retire", trib_cmd_keys_retire, ADMIN, CHANGES),
    COMMAND("backup", "", trib_cmd_backup, ADMIN, CHANGES),
    COMMAND("audit", "ls", trib_cmd_audit_ls, VIEWER, LOOKS),
    COMMAND("audit", "verify", trib_cmd_audit_verify, VIEWER, LOOKS),
};

size_t trib_command_count(void)
{
    return sizeof(commands) / sizeof(commands[0]);
}

const struct trib_command_entry *trib_command_at(size_t index)
{
    return &commands[index];
}

bool trib_command_allows(const struct trib_command_entry *entry, enum trib_role role)
{
    return entry->role != TRIB_ROLE_NONE && role >= entry->role;
}

static const struct trib_command_entry *find(const struct trib_admin_call *call)
{
    for (size_t i = 0; i < trib_command_count(); i++) {
        if (strcmp(trib_command_word(call, 0), commands[i].first) == 0 &&
            (!*commands[i].second || strcmp(trib_command_word(call, 1), commands[i].second) == 0))
            return &commands[i];
    }
    return NULL;
}

static void refuse(struct trib_admin_call *call, const struct trib_command_entry *entry)
{
    const char *who = trib_admin_peer(call)->name;
    const char *role = trib_role_text(trib_admin_role(call));
    const char *need = trib_role_text(entry->role);
    char text[512];
    TRIB_WARN("id=role-refused user=\"%s\" role=%s command=\"%s%s%s\" wants=%s", who, role,
              entry->first, *entry->second ? " " : "", entry->second, need);
    (void)snprintf(text, sizeof(text),
                   "%s%s%s wants the role %s, and %s has the role %s: [roles] of the "
                   "coordinator's tributary.ini says who has which",
                   entry->first, *entry->second ? " " : "", entry->second, need, who, role);
    trib_command_fail(call, TRIB_EXIT_PEER, text);
}

// The first option whose number is none, or NULL.
static const char *find_wrong_number(const struct trib_admin_call *call)
{
    static const char *const options[] = {"--uses", "--limit", "--after", "--job", "--offset"};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const char *text = trib_command_option(call, options[i]);
        uint64_t value;
        if (text && !trib_command_parse(text, &value))
            return options[i];
    }
    return NULL;
}

void trib_command_run(struct trib_admin_call *call)
{
    const struct trib_command_entry *entry = find(call);
    if (!entry) {
        trib_command_fail(call, TRIB_EXIT_USAGE, "this coordinator does not know that command");
        return;
    }
    const bool may = trib_command_allows(entry, trib_admin_role(call));
    trib_admin_begin(call, entry, !may);
    const char *wrong = find_wrong_number(call);
    char text[64];
    if (!may) {
        refuse(call, entry);
    } else if (wrong) {
        (void)snprintf(text, sizeof(text), "%s wants a whole number", wrong);
        trib_command_fail(call, TRIB_EXIT_USAGE, text);
    } else {
        entry->run(call);
    }
}

// ---- roles

void trib_cmd_roles(struct trib_admin_call *call)
{
    struct trib_admin_reply reply = {.exit_code = 0};
    for (size_t i = 0; i < trib_command_count(); i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "%s%s%s", commands[i].first,
                       *commands[i].second ? " " : "", commands[i].second);
        (void)trib_admin_row_add(&reply);
        trib_admin_text(&reply, "command", name);
        trib_admin_text(&reply, "wants", trib_role_text(commands[i].role));
        trib_admin_text(&reply, "you", trib_role_text(trib_admin_role(call)));
        trib_admin_flag(&reply, "may", trib_command_allows(&commands[i], trib_admin_role(call)));
        trib_admin_flag(&reply, "changes", commands[i].changes);
    }
    trib_admin_answer(call, &reply);
}
