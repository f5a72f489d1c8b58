#include "simulations/bench_fleet.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "coordinator/ctl/call.h"
#include "coordinator/identity.h"
#include "tributary/client.h"

#define TRIB_LOG_MODULE "bench"

enum {
    CALL_MS = 60000,
    WAIT_MS = 60000,
    JOB_MS = 600000,
    ASK_SHARE = 40, // of the time so far: how long a job may be over before it is noticed
    STOP_MS = 10000,
};

enum trib_err trib_bench_fleet_call(const struct trib_bench_fleet *fleet,
                                    const struct trib_admin_request *request,
                                    struct trib_admin_reply *reply)
{
    enum trib_err err = trib_ctl_call(fleet->coordinator, request, CALL_MS, reply);
    if (err || reply->exit_code == 0)
        return err;
    TRIB_ERROR("%s", reply->error ? reply->error : "refused");
    trib_admin_reply_fini(reply);
    return TRIB_ERR_INVAL;
}

static enum trib_err make_temp(const char *base, char path[static TRIB_PATH_MAX + 1])
{
    (void)snprintf(path, TRIB_PATH_MAX + 1, "%s/tributary-bench-XXXXXX", base);
    if (mkdtemp(path))
        return TRIB_OK;
    TRIB_ERROR("%s: %s", path, strerror(errno));
    path[0] = '\0';
    return TRIB_ERR_IO;
}

enum trib_err trib_bench_fleet_init(struct trib_bench_fleet *fleet, size_t client_max)
{
    *fleet = (struct trib_bench_fleet){.client_max = client_max};
    fleet->children = trib_alloc_array(client_max + 1, sizeof(*fleet->children));
    enum trib_err err = fleet->children ? make_temp(".", fleet->disk) : TRIB_ERR_NOMEM;
    if (!err)
        err = make_temp(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", fleet->memory);
    return err ? err : trib_path_join(fleet->coordinator, fleet->disk, "c");
}

enum trib_err trib_bench_fleet_coordinate(struct trib_bench_fleet *fleet)
{
    char program[TRIB_PATH_MAX + 1];
    const char *const argv[] = {program, "run", fleet->coordinator, NULL};
    enum trib_err err = trib_child_find("coordinator", "tributary-coordinator", program);
    if (!err)
        err = trib_bench_fleet_start(fleet, argv);
    return err ? err : trib_bench_fleet_wait(fleet, "uptime_seconds", 0, 5);
}

enum trib_err trib_bench_fleet_create(struct trib_bench_fleet *fleet, size_t client_max)
{
    struct trib_identity identity = {.secret = {0}};
    enum trib_err err = trib_bench_fleet_init(fleet, client_max);
    if (!err)
        err = trib_identity_make(fleet->coordinator, "tcp://127.0.0.1:0", NULL, &identity);
    trib_identity_wipe(&identity);
    return err ? err : trib_bench_fleet_coordinate(fleet);
}

enum trib_err trib_bench_fleet_enrol(struct trib_bench_fleet *fleet, size_t index,
                                     const char *config, char ret_dir[static TRIB_PATH_MAX + 1])
{
    char name[32];
    char path[TRIB_PATH_MAX + 1];
    struct trib_admin_reply reply;
    (void)snprintf(name, sizeof(name), "d%04zu", index);
    const struct trib_admin_request request = {.word_count = 4,
                                               .words = {"devices", "token", "--name", name}};
    enum trib_err err = trib_path_join(ret_dir, fleet->memory, name);
    if (!err)
        err = trib_dir_make(ret_dir, 0700);
    if (!err)
        err = trib_path_join(path, ret_dir, "client.ini");
    if (!err)
        err = trib_file_write(path, config, strlen(config), 0600);
    if (!err)
        err = trib_bench_fleet_call(fleet, &request, &reply);
    if (err)
        return err;
    err = trib_client_enrol(trib_admin_find_text(&reply.rows[0], "token"), ret_dir);
    trib_admin_reply_fini(&reply);
    return err;
}

enum trib_err trib_bench_fleet_start(struct trib_bench_fleet *fleet, const char *const *argv)
{
    char log[TRIB_PATH_MAX + 1];
    char name[32];
    (void)snprintf(name, sizeof(name), "%zu.log", fleet->child_count);
    enum trib_err err = trib_path_join(log, fleet->memory, name);
    if (!err)
        err = trib_child_start(&fleet->children[fleet->child_count], name, log, argv);
    fleet->child_count += !err;
    return err;
}

static enum trib_err check(struct trib_bench_fleet *fleet)
{
    for (size_t i = 0; i < fleet->child_count; i++) {
        if (trib_child_has_died(&fleet->children[i]))
            return TRIB_ERR_IO;
    }
    return TRIB_OK;
}

enum trib_err trib_bench_fleet_status(const struct trib_bench_fleet *fleet, const char *name,
                                      uint64_t *ret_value)
{
    const struct trib_admin_request request = {.word_count = 1, .words = {"status"}};
    struct trib_admin_reply reply;
    enum trib_err err = trib_bench_fleet_call(fleet, &request, &reply);
    if (err)
        return err;
    *ret_value = trib_admin_find_number(&reply.rows[0], name);
    trib_admin_reply_fini(&reply);
    return TRIB_OK;
}

enum trib_err trib_bench_fleet_wait(struct trib_bench_fleet *fleet, const char *name,
                                    uint64_t wanted, unsigned poll_ms)
{
    const uint64_t until_ms = trib_clock_mono_ms() + WAIT_MS;
    while (trib_clock_mono_ms() < until_ms) {
        uint64_t value = 0;
        enum trib_err err = check(fleet);
        if (!err)
            err = trib_bench_fleet_status(fleet, name, &value);
        if (!err && value >= wanted)
            return TRIB_OK;
        if (err && err != TRIB_ERR_CONNECT)
            return err;
        trib_clock_sleep_ms(poll_ms);
    }
    return TRIB_ERR_TIMEOUT;
}

enum trib_err trib_bench_fleet_run_job(struct trib_bench_fleet *fleet, const char *text,
                                       unsigned poll_ms)
{
    union { // the request only reads it
        const char *text;
        const uint8_t *bytes;
    } body = {.text = text};
    const struct trib_admin_request submit = {.word_count = 2,
                                              .words = {"jobs", "submit"},
                                              .body_name = "bench",
                                              .body_dir = fleet->memory,
                                              .body = body.bytes,
                                              .body_size = strlen(text)};
    const uint64_t begin_ms = trib_clock_mono_ms();
    struct trib_admin_reply reply;
    enum trib_err err = trib_bench_fleet_call(fleet, &submit, &reply);
    if (err)
        return err;
    trib_admin_reply_fini(&reply);
    for (uint64_t ms = 0; ms < JOB_MS; ms = trib_clock_mono_ms() - begin_ms) {
        uint64_t job = 1;
        err = check(fleet);
        if (!err)
            err = trib_bench_fleet_status(fleet, "job", &job);
        if (err || job == 0) // none is running any more
            return err;
        // Asking is work for whom we measure: the longer it takes, the less often.
        trib_clock_sleep_ms(poll_ms > ms / ASK_SHARE ? poll_ms : ms / ASK_SHARE);
    }
    return TRIB_ERR_TIMEOUT;
}

static uint64_t status_bytes(const struct trib_child *child, const char *name)
{
    char path[64];
    char line[256];
    uint64_t kib = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)child->pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            char *end;
            kib = strtoull(line + strlen(name), &end, 10);
        }
    }
    (void)fclose(file);
    return kib * 1024;
}

uint64_t trib_bench_peak_rss(const struct trib_child *child)
{
    return status_bytes(child, "VmHWM:");
}

uint64_t trib_bench_rss(const struct trib_child *child)
{
    return status_bytes(child, "VmRSS:");
}

uint64_t trib_bench_cpu_us(const struct trib_child *child)
{
    return trib_clock_process_us((int)child->pid);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

void trib_bench_fleet_destroy(struct trib_bench_fleet *fleet)
{
    if (fleet->child_count > 1)
        trib_children_stop(fleet->children + 1, fleet->child_count - 1, STOP_MS);
    if (fleet->child_count > 0)
        trib_children_stop(fleet->children, 1, STOP_MS);
    if (fleet->disk[0])
        (void)nftw(fleet->disk, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (fleet->memory[0])
        (void)nftw(fleet->memory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(fleet->children);
}
