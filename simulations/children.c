#include "simulations/children.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "child"

enum {
    SHOWN_LINES = 10,
    LOG_MAX = 64 << 20,
};

enum trib_err trib_child_find(const char *folder, const char *program,
                              char ret_path[static TRIB_PATH_MAX + 1])
{
    char self[TRIB_PATH_MAX + 1];
    char here[TRIB_PATH_MAX + 1];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (size <= 0)
        return TRIB_ERR_IO;
    self[size] = '\0';
    enum trib_err err = trib_path_dir(here, self);
    if (err)
        return err;
    for (size_t i = 0; i < 2; i++) {
        int length =
            i == 0 ? snprintf(ret_path, TRIB_PATH_MAX + 1, "%s/../%s/%s", here, folder, program)
                   : snprintf(ret_path, TRIB_PATH_MAX + 1, "%s/%s", here, program);
        if (length > 0 && length <= TRIB_PATH_MAX && access(ret_path, X_OK) == 0)
            return TRIB_OK;
    }
    (void)snprintf(ret_path, TRIB_PATH_MAX + 1, "%s", program); // execvp looks in PATH
    return TRIB_OK;
}

// In the child, between fork and exec: async-signal-safe calls only.
static void become(const char *const *argv, int log_fd, pid_t parent)
{
    union { // execvp does not change them
        const char *const *borrowed;
        char *const *plain;
    } arguments = {.borrowed = argv};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);      // the parent died before the line above
    (void)setpgid(0, 0); // a Ctrl-C is for the simulator, which then stops its children in order
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    if (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
        _exit(127);
    (void)execvp(arguments.plain[0], arguments.plain);
    _exit(127);
}

enum trib_err trib_child_start(struct trib_child *child, const char *name, const char *log,
                               const char *const *argv)
{
    pid_t parent = getpid();
    (void)snprintf(child->name, sizeof(child->name), "%s", name);
    (void)snprintf(child->log, sizeof(child->log), "%s", log);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) {
        TRIB_ERROR("%s: %s", log, strerror(errno));
        return TRIB_ERR_IO;
    }
    pid_t pid = fork();
    if (pid == 0)
        become(argv, fd, parent);
    (void)close(fd);
    if (pid < 0) {
        TRIB_ERROR("fork: %s", strerror(errno));
        return TRIB_ERR_IO;
    }
    child->pid = pid;
    return TRIB_OK;
}

static void show_tail(const struct trib_child *child)
{
    struct trib_buf text = {0};
    if (trib_file_read(child->log, LOG_MAX, &text) || text.size == 0)
        return;
    const char *start = (const char *)text.data + text.size;
    int lines = 0;
    while (start > (const char *)text.data && lines <= SHOWN_LINES) {
        start--;
        lines += *start == '\n' && start[1];
    }
    (void)fprintf(stderr, "--- last lines of %s\n%s---\n", child->log,
                  *start == '\n' ? start + 1 : start);
    trib_buf_fini(&text);
}

bool trib_child_was_killed(struct trib_child *child)
{
    siginfo_t info = {.si_pid = 0};
    if (child->pid == 0 ||
        waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid != child->pid || info.si_code != CLD_KILLED || info.si_status != SIGKILL)
        return false;
    (void)waitpid(child->pid, NULL, 0);
    child->pid = 0;
    return true;
}

bool trib_child_has_died(struct trib_child *child)
{
    int status;
    if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
        return false;
    child->pid = 0;
    if (WIFSIGNALED(status))
        TRIB_ERROR("%s was killed by signal %d", child->name, WTERMSIG(status));
    else
        TRIB_ERROR("%s ended with exit code %d", child->name, WEXITSTATUS(status));
    show_tail(child);
    return true;
}

void trib_children_stop(struct trib_child *children, size_t count, unsigned patience_ms)
{
    const uint64_t until_ms = trib_clock_mono_ms() + patience_ms;
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (children[i].pid)
            (void)kill(children[i].pid, SIGTERM);
    }
    do {
        left = 0;
        for (size_t i = 0; i < count; i++) {
            if (children[i].pid && waitpid(children[i].pid, NULL, WNOHANG) == children[i].pid)
                children[i].pid = 0;
            left += children[i].pid != 0;
        }
        if (left > 0)
            trib_clock_sleep_ms(5);
    } while (left > 0 && trib_clock_mono_ms() < until_ms);
    for (size_t i = 0; i < count; i++) {
        if (children[i].pid) {
            (void)kill(children[i].pid, SIGKILL);
            (void)waitpid(children[i].pid, NULL, 0);
            children[i].pid = 0;
        }
    }
}
