// allow_list.h - devices that may enrol without a token, by their keys (docs/operating.md).
//
//     base64(key) name group [expires]        a line each; # begins a comment
#ifndef TRIB_COORDINATOR_ALLOW_LIST_H
#define TRIB_COORDINATOR_ALLOW_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/limits.h"
#include "common/wire/message.h"
#include "tributary/err.h"

struct trib_allow_list;

struct trib_allowed {
    trib_name name;
    trib_name group;
    struct trib_allowed *next; // the list's
};

// Read a file; what had expired at `wall_ms` is left out. TRIB_ERR_INVAL after logging file and line.
TRIB_CHECKED enum trib_err trib_allow_list_read(const char *path, uint64_t wall_ms,
                                                struct trib_allow_list **ret_list);
void trib_allow_list_destroy(struct trib_allow_list *list); // NULL is fine
size_t trib_allow_list_count(const struct trib_allow_list *list);
// NULL: it is not in the list, or there is none. Borrowed.
const struct trib_allowed *trib_allow_list_find(const struct trib_allow_list *list,
                                                const uint8_t key[static 32]);

#endif // TRIB_COORDINATOR_ALLOW_LIST_H
