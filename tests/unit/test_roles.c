#include "coordinator/roles.h"
#include "coordinator/server_command.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

// ---- Every cell of the matrix

// Written down once more, by role: a command that gets another role, or none, fails here.
static const struct wanted {
    const char *command;
    bool may[TRIB_ROLE_COUNT]; // none, viewer, operator, admin
    bool changes;
} matrix[] = {
    {"advise", {false, true, true, true}, false},
    {"status", {false, true, true, true}, false},
    {"doctor", {false, true, true, true}, false},
    {"roles", {false, true, true, true}, false},
    {"jobs submit", {false, false, true, true}, true},
    {"jobs ls", {false, true, true, true}, false},
    {"jobs show", {false, true, true, true}, false},
    {"jobs selection", {false, true, true, true}, false},
    {"jobs start", {false, false, true, true}, true},
    {"jobs pause", {false, false, true, true}, true},
    {"jobs cancel", {false, false, true, true}, true},
    {"devices ls", {false, true, true, true}, false},
    {"devices token", {false, false, true, true}, true},
    {"devices approve", {false, false, true, true}, true},
    {"devices revoke", {false, false, false, true}, true},
    {"roster export", {false, true, true, true}, false},
    {"roster load", {false, false, false, true}, true},
    {"rounds ls", {false, true, true, true}, false},
    {"rounds show", {false, true, true, true}, false},
    {"rounds measured", {false, true, true, true}, false},
    {"rounds counted", {false, true, true, true}, false},
    {"models ls", {false, true, true, true}, false},
    {"models show", {false, true, true, true}, false},
    {"models export", {false, true, true, true}, false},
    {"models ensemble", {false, false, true, true}, true},
    {"keys list", {false, true, true, true}, false},
    {"keys retire", {false, false, false, true}, true},
    {"backup", {false, false, false, true}, true},
    {"audit ls", {false, true, true, true}, false},
    {"audit verify", {false, true, true, true}, false},
};

static const struct wanted *wanted_of(const struct trib_command_entry *entry)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%s%s%s", entry->first, *entry->second ? " " : "",
                   entry->second);
    size_t i = 0;
    while (i < sizeof(matrix) / sizeof(matrix[0]) && strcmp(matrix[i].command, name) != 0)
        i++;
    if (i == sizeof(matrix) / sizeof(matrix[0]))
        fail_msg("%s: is not in the matrix", name);
    return &matrix[i];
}

static void every_role_may_do_with_every_command_what_the_matrix_says(void **state)
{
    (void)state;
    assert_int_equal(trib_command_count(), sizeof(matrix) / sizeof(matrix[0]));
    for (size_t i = 0; i < trib_command_count(); i++) {
        const struct trib_command_entry *entry = trib_command_at(i);
        const struct wanted *wanted = wanted_of(entry);
        assert_non_null(entry->run);
        assert_int_equal(entry->changes, wanted->changes);
        for (int role = TRIB_ROLE_NONE; role < TRIB_ROLE_COUNT; role++) {
            if (trib_command_allows(entry, (enum trib_role)role) != wanted->may[role])
                fail_msg("%s as %s", wanted->command, trib_role_text((enum trib_role)role));
        }
    }
}

static void a_command_without_a_role_is_for_nobody(void **state)
{
    (void)state;
    const struct trib_command_entry entry = {.first = "new", .second = ""};
    assert_false(trib_command_allows(&entry, TRIB_ROLE_ADMIN));
}

// ---- Who has which

static void add(struct trib_roles *roles, enum trib_role role, const char *list)
{
    char why[256];
    if (trib_roles_add(roles, role, list, why, sizeof(why)))
        fail_msg("%s: %s", list, why);
}

static enum trib_role role_of(const struct trib_roles *roles, uint64_t uid, uint64_t gid,
                              uint64_t other_gid)
{
    const struct trib_role_peer peer = {
        .is_known = true, .uid = uid, .gid_count = 2, .gids = {gid, other_gid}};
    return trib_role_of(roles, 500, &peer);
}

static void the_owner_and_root_are_admins_and_others_have_what_is_written(void **state)
{
    (void)state;
    struct trib_roles roles = {.count = 0};
    assert_int_equal(role_of(&roles, 0, 0, 0), TRIB_ROLE_ADMIN);
    assert_int_equal(role_of(&roles, 500, 500, 500), TRIB_ROLE_ADMIN);
    assert_int_equal(role_of(&roles, 1001, 500, 0), TRIB_ROLE_NONE); // the owner's group is no user
    add(&roles, TRIB_ROLE_VIEWER, "1001, @2000");
    add(&roles, TRIB_ROLE_OPERATOR, "  1002 ,@2001");
    add(&roles, TRIB_ROLE_ADMIN, "1003,root");
    assert_int_equal(role_of(&roles, 1001, 9, 9), TRIB_ROLE_VIEWER);
    assert_int_equal(role_of(&roles, 1002, 9, 9), TRIB_ROLE_OPERATOR);
    assert_int_equal(role_of(&roles, 1003, 9, 9), TRIB_ROLE_ADMIN);
    assert_int_equal(role_of(&roles, 7, 2000, 9), TRIB_ROLE_VIEWER);
    assert_int_equal(role_of(&roles, 7, 9, 2001), TRIB_ROLE_OPERATOR);
    assert_int_equal(role_of(&roles, 7, 2001, 2000), TRIB_ROLE_OPERATOR); // the highest
    assert_int_equal(role_of(&roles, 2000, 1001, 1002), TRIB_ROLE_NONE);  // numbers of other kinds
    assert_int_equal(role_of(&roles, 7, 9, 9), TRIB_ROLE_NONE);
}

static void who_is_not_known_has_no_role(void **state)
{
    (void)state;
    struct trib_roles roles = {.count = 0};
    const struct trib_role_peer peer = {.gid_count = 1}; // of zeros, which is not root
    add(&roles, TRIB_ROLE_ADMIN, "@0");
    assert_int_equal(trib_role_of(&roles, 500, &peer), TRIB_ROLE_NONE);
}

static void a_list_that_makes_no_sense_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *list, *why;
    } cases[] = {
        {"no-such-user", "no user \"no-such-user\" on this machine"},
        {"root, @no-such-group", "no group \"no-such-group\" on this machine"},
        {"4294967295", "no user \"4294967295\" on this machine"},
        {"-1", "no user \"-1\" on this machine"},
        {"root,", "ends with a comma"},
        {"root,,root", "wants users and @groups with commas between them, each 1 to 127 bytes"},
        {"@", "no group \"\" on this machine"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_roles roles = {.count = 0};
        char why[256];
        assert_int_equal(trib_roles_add(&roles, TRIB_ROLE_VIEWER, cases[i].list, why, sizeof(why)),
                         TRIB_ERR_INVAL);
        assert_string_equal(why, cases[i].why);
    }
}

static void there_is_an_end_to_a_list(void **state)
{
    (void)state;
    struct trib_roles roles = {.count = 0};
    char why[256];
    for (int i = 0; i < TRIB_ROLE_RULES_MAX; i++)
        add(&roles, TRIB_ROLE_VIEWER, "7");
    assert_int_equal(trib_roles_add(&roles, TRIB_ROLE_VIEWER, "7", why, sizeof(why)),
                     TRIB_ERR_INVAL);
    assert_string_equal(why, "more than 96 users and groups in all");
}

static void a_peer_has_the_name_and_groups_of_the_machine(void **state)
{
    (void)state;
    struct trib_role_peer peer;
    trib_role_peer_look_up(&peer, 0, 12345);
    assert_string_equal(peer.name, "root");
    assert_int_equal(peer.gids[0], 12345); // the process' own
    assert_true(peer.gid_count >= 2);      // and root's
    assert_false(peer.is_known);
    trib_role_peer_look_up(&peer, 3999999999, 7);
    assert_string_equal(peer.name, "uid 3999999999");
    assert_int_equal(peer.gid_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_role_may_do_with_every_command_what_the_matrix_says),
        cmocka_unit_test(a_command_without_a_role_is_for_nobody),
        cmocka_unit_test(the_owner_and_root_are_admins_and_others_have_what_is_written),
        cmocka_unit_test(who_is_not_known_has_no_role),
        cmocka_unit_test(a_list_that_makes_no_sense_is_refused_by_name),
        cmocka_unit_test(there_is_an_end_to_a_list),
        cmocka_unit_test(a_peer_has_the_name_and_groups_of_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
