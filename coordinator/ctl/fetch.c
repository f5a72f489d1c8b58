#include "coordinator/ctl/fetch.h"

#include <stdio.h>

#include "common/base/args.h"
#include "coordinator/ctl/call.h"

enum {
    TIMEOUT_MS = 30000,
};

int trib_ctl_fetch(const char *dir, const char *version, struct trib_buf *whole,
                   enum trib_err *ret_err)
{
    *ret_err = TRIB_OK;
    for (uint64_t size = 1; whole->size < size;) {
        char offset[24];
        struct trib_admin_reply reply;
        (void)snprintf(offset, sizeof(offset), "%zu", whole->size);
        const struct trib_admin_request request = {
            .word_count = 5, .words = {"models", "export", version, "--offset", offset}};
        *ret_err = trib_ctl_call(dir, &request, TIMEOUT_MS, &reply);
        if (*ret_err)
            return (int)trib_exit_of(*ret_err);
        int code = (int)reply.exit_code;
        size = reply.row_count ? trib_admin_find_number(&reply.rows[0], "size") : 0;
        trib_buf_append(whole, reply.body, reply.body_size);
        bool is_stuck = reply.body_size == 0;
        if (code)
            (void)fprintf(stderr, "%s\n", reply.error ? reply.error : "refused");
        trib_admin_reply_fini(&reply);
        if (code || is_stuck || whole->failed)
            return code ? code : TRIB_EXIT_INTERNAL;
    }
    return TRIB_EXIT_OK;
}
