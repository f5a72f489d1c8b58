#include "coordinator/roles.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"

enum {
    WORD_SIZE = 128,
    ENTRY_SIZE = 1 << 20, // of one line of the lists: a group has many members
    USER_SIZE = 1 << 14,  // of that of a user
};

static const char *const names[TRIB_ROLE_COUNT] = {"none", "viewer", "operator", "admin"};

const char *trib_role_text(enum trib_role role)
{
    return names[role];
}

// ---- [roles]

static bool parse_id(const char *word, uint64_t *ret_id)
{
    char *end;
    if (word[0] < '0' || word[0] > '9' || strlen(word) > 10)
        return false;
    *ret_id = strtoull(word, &end, 10);
    return *end == '\0' && *ret_id < UINT32_MAX; // the last one means "nobody" to the kernel
}

static bool find_user(const char *name, char *entry, uint64_t *ret_id)
{
    struct passwd row;
    struct passwd *found = NULL;
    if (getpwnam_r(name, &row, entry, ENTRY_SIZE, &found) || !found)
        return false;
    *ret_id = found->pw_uid;
    return true;
}

static bool find_group(const char *name, char *entry, uint64_t *ret_id)
{
    struct group row;
    struct group *found = NULL;
    if (getgrnam_r(name, &row, entry, ENTRY_SIZE, &found) || !found)
        return false;
    *ret_id = found->gr_gid;
    return true;
}

static enum trib_err add_word(struct trib_roles *roles, enum trib_role role, const char *word,
                              char *why, size_t why_size)
{
    struct trib_role_rule rule = {.role = role, .is_group = word[0] == '@'};
    const char *name = rule.is_group ? word + 1 : word;
    if (roles->count == TRIB_ROLE_RULES_MAX) {
        (void)snprintf(why, why_size, "more than %d users and groups in all", TRIB_ROLE_RULES_MAX);
        return TRIB_ERR_INVAL;
    }
    if (!parse_id(name, &rule.id)) {
        char *entry = trib_alloc(ENTRY_SIZE);
        if (!entry)
            return TRIB_ERR_NOMEM;
        const bool is_there =
            rule.is_group ? find_group(name, entry, &rule.id) : find_user(name, entry, &rule.id);
        free(entry);
        if (!is_there) {
            (void)snprintf(why, why_size, "no %s \"%s\" on this machine",
                           rule.is_group ? "group" : "user", name);
            return TRIB_ERR_INVAL;
        }
    }
    roles->rules[roles->count++] = rule;
    return TRIB_OK;
}

enum trib_err trib_roles_add(struct trib_roles *roles, enum trib_role role, const char *list,
                             char *why, size_t why_size)
{
    enum trib_err err = TRIB_OK;
    const char *at = list + strspn(list, " \t");
    (void)snprintf(why, why_size, "out of memory");
    while (*at && !err) {
        char word[WORD_SIZE];
        const size_t size = strcspn(at, ",");
        size_t used = size;
        while (used > 0 && (at[used - 1] == ' ' || at[used - 1] == '\t'))
            used--;
        if (used == 0 || used >= sizeof(word)) {
            (void)snprintf(why, why_size,
                           "wants users and @groups with commas between them, each 1 to %d bytes",
                           WORD_SIZE - 1);
            return TRIB_ERR_INVAL;
        }
        memcpy(word, at, used);
        word[used] = '\0';
        err = add_word(roles, role, word, why, why_size);
        at += size;
        if (*at == ',') {
            at++;
            at += strspn(at, " \t");
            if (!*at && !err) {
                (void)snprintf(why, why_size, "ends with a comma");
                err = TRIB_ERR_INVAL;
            }
        }
    }
    return err;
}

// ---- Peers

static bool has_group(const struct trib_role_peer *peer, uint64_t gid)
{
    for (size_t i = 0; i < peer->gid_count; i++) {
        if (peer->gids[i] == gid)
            return true;
    }
    return false;
}

void trib_role_peer_look_up(struct trib_role_peer *peer, uint64_t uid, uint64_t gid)
{
    gid_t groups[TRIB_ROLE_GROUPS_MAX];
    int count = TRIB_ROLE_GROUPS_MAX;
    struct passwd row;
    struct passwd *found = NULL;
    char entry[USER_SIZE];

    *peer = (struct trib_role_peer){.uid = uid, .gid_count = 1, .gids = {gid}};
    (void)snprintf(peer->name, sizeof(peer->name), "uid %" PRIu64, uid);
    if (getpwuid_r((uid_t)uid, &row, entry, sizeof(entry), &found) == 0 && found) {
        (void)snprintf(peer->name, sizeof(peer->name), "%s", found->pw_name);
        (void)!getgrouplist(found->pw_name, found->pw_gid, groups, &count);
        if (count > TRIB_ROLE_GROUPS_MAX)
            count = TRIB_ROLE_GROUPS_MAX; // as many as there was room for
        for (int i = 0; i < count && peer->gid_count < TRIB_ROLE_GROUPS_MAX; i++) {
            if (!has_group(peer, groups[i]))
                peer->gids[peer->gid_count++] = groups[i];
        }
    }
}

void trib_role_lists_open(void)
{
    struct trib_role_peer self;
    trib_role_peer_look_up(&self, getuid(), getgid());
}

enum trib_role trib_role_of(const struct trib_roles *roles, uint64_t owner,
                            const struct trib_role_peer *peer)
{
    enum trib_role role = TRIB_ROLE_NONE;
    if (!peer->is_known)
        return TRIB_ROLE_NONE;
    if (peer->uid == 0 || peer->uid == owner)
        return TRIB_ROLE_ADMIN;
    for (size_t i = 0; i < roles->count; i++) {
        const struct trib_role_rule *rule = &roles->rules[i];
        const bool fits = rule->is_group ? has_group(peer, rule->id) : rule->id == peer->uid;
        if (fits && rule->role > role)
            role = rule->role;
    }
    return role;
}
