// roles.h - who may give which command through the admin socket.
//
// The kernel says which user and group are at the other end; `[roles]` of tributary.ini says what
// they may do. Root, and the user the coordinator runs as, are always admins; whoever is not named
// has no role. A role may do all that the roles below it may.
#ifndef TRIB_COORDINATOR_ROLES_H
#define TRIB_COORDINATOR_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tributary/err.h"

enum trib_role {
    TRIB_ROLE_NONE,     // may ask for nothing
    TRIB_ROLE_VIEWER,   // looks; changes nothing
    TRIB_ROLE_OPERATOR, // runs jobs and lets devices in
    TRIB_ROLE_ADMIN,    // all of it
    TRIB_ROLE_COUNT,
};

const char *trib_role_text(enum trib_role role); // "none", "viewer", ...

enum {
    TRIB_ROLE_RULES_MAX = 96,
    TRIB_ROLE_GROUPS_MAX = 256, // groups of one user that are looked at
    TRIB_ROLE_NAME_SIZE = 64,
};

struct trib_role_rule {
    enum trib_role role;
    bool is_group;
    uint64_t id; // uid, or gid
};

struct trib_roles {
    size_t count;
    struct trib_role_rule rules[TRIB_ROLE_RULES_MAX];
};

// Add "alice, @wheel, 1001, @27": users, and groups behind an @, by name or number; "" adds none.
// TRIB_ERR_INVAL with `why`: no such user or group, too many, or not a list.
TRIB_CHECKED enum trib_err trib_roles_add(struct trib_roles *roles, enum trib_role role,
                                          const char *list, char *why, size_t why_size);

// Who is at the other end of a connection.
struct trib_role_peer {
    bool is_known; // false: the kernel did not say; has no role
    uint64_t uid;
    size_t gid_count;
    uint64_t gids[TRIB_ROLE_GROUPS_MAX]; // the process' own group first
    char name[TRIB_ROLE_NAME_SIZE];      // of the user, or "uid 1001" when it has none
};

// At the start of a process: the C library opens the machine's lists when it is first asked, and ends the
// process when there is no memory for that. Better now than in the middle of a round.
void trib_role_lists_open(void);

// From the ids of the connection and the machine's lists of users and groups, which may be
// elsewhere: this may wait. `is_known` is up to the caller.
void trib_role_peer_look_up(struct trib_role_peer *peer, uint64_t uid, uint64_t gid);

// The highest role of that peer; `owner` is the uid that the coordinator runs as.
enum trib_role trib_role_of(const struct trib_roles *roles, uint64_t owner,
                            const struct trib_role_peer *peer);

#endif // TRIB_COORDINATOR_ROLES_H
