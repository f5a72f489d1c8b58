#include "coordinator/ctl/reach.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/args.h"

static void hop(struct trib_admin_reply *reply, const char *name, bool is_ok, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

static void hop(struct trib_admin_reply *reply, const char *name, bool is_ok, const char *format,
                ...)
{
    char detail[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    (void)trib_admin_row_add(reply);
    trib_admin_text(reply, "hop", name);
    trib_admin_flag(reply, "ok", is_ok);
    trib_admin_text(reply, "detail", detail);
    if (!is_ok)
        trib_admin_fail(reply, TRIB_EXIT_PEER, "%s: %s", name, detail);
}

// 0, or the error number of what is wrong with `dir`/`name`.
static int look_at(const char *dir, const char *name, int how)
{
    char path[4096];
    int size = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (size < 0 || size >= (int)sizeof(path))
        return ENAMETOOLONG;
    return access(path, how) ? errno : 0;
}

static bool directory_is_good(const char *dir, struct trib_admin_reply *reply)
{
    int wrong = look_at(dir, ".", X_OK);
    if (wrong) {
        hop(reply, "directory", false, "%s: %s (uid %d)", dir, strerror(wrong), (int)geteuid());
        return false;
    }
    // Only its presence is asked: the configuration is for the coordinator's user to read.
    wrong = look_at(dir, "tributary.ini", F_OK);
    if (wrong) {
        hop(reply, "directory", false,
            "%s is no coordinator's directory: tributary.ini: %s (--dir DIR; tributary-coordinator "
            "init makes one)",
            dir, strerror(wrong));
        return false;
    }
    hop(reply, "directory", true, "%s is a coordinator's", dir);
    return true;
}

// The error number of connecting to the socket, or 0.
static int try_socket(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof(address.sun_path), "%s/admin.sock", dir);
    if (size < 0 || size >= (int)sizeof(address.sun_path))
        return ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int wrong = connect(fd, (const struct sockaddr *)&address, sizeof(address)) ? errno : 0;
    (void)close(fd);
    return wrong;
}

void trib_ctl_reach(const char *dir, struct trib_admin_reply *reply)
{
    static const char name[] = "admin socket";
    if (!directory_is_good(dir, reply))
        return;
    int wrong = try_socket(dir);
    switch (wrong) {
    case 0: return;
    case ENOENT:
        hop(reply, name, false,
            "%s/admin.sock is not there: is the coordinator running? (tributary-coordinator run %s)",
            dir, dir);
        return;
    case ECONNREFUSED:
        hop(reply, name, false,
            "nobody listens at %s/admin.sock: the coordinator was killed or has failed; its log "
            "says why",
            dir);
        return;
    case EACCES:
        hop(reply, name, false,
            "%s/admin.sock is not for uid %d: its owner and its group may use it", dir,
            (int)geteuid());
        return;
    default: hop(reply, name, false, "%s/admin.sock: %s", dir, strerror(wrong));
    }
}

void trib_ctl_unanswered(const char *dir, enum trib_err err, struct trib_admin_reply *reply)
{
    if (err == TRIB_ERR_TIMEOUT)
        hop(reply, "admin socket", false,
            "%s/admin.sock takes questions, but none is answered (timed out): the coordinator hangs, "
            "or was halted; its log says what it did last",
            dir);
    else if (err == TRIB_ERR_PROTO)
        hop(reply, "admin socket", false,
            "the coordinator hung up before it answered; its log says why");
    else
        hop(reply, "admin socket", false, "%s/admin.sock: %s", dir, trib_err_text(err));
}

void trib_ctl_add_hops(const struct trib_admin_reply *told, struct trib_admin_reply *reply)
{
    for (size_t i = 0; i < told->row_count; i++) {
        const struct trib_admin_row *row = &told->rows[i];
        const struct trib_admin_field *is_ok = trib_admin_find(row, "ok");
        (void)trib_admin_row_add(reply);
        trib_admin_text(reply, "hop", trib_admin_find_text(row, "hop"));
        trib_admin_flag(reply, "ok", is_ok && is_ok->flag);
        trib_admin_text(reply, "detail", trib_admin_find_text(row, "detail"));
    }
    if (told->exit_code)
        trib_admin_fail(reply, told->exit_code, "%s", told->error ? told->error : "refused");
}
