// The folder that every life begins with a copy of.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "client/include/tributary/client.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/wipe.h"
#include "coordinator/ctl/call.h"
#include "coordinator/identity.h"
#include "tests/fault/rig_parts.h"

enum {
    CALL_MS = 5000,
    ROWS = 40,
};

bool rig_put_text(const char *dir, const char *name, const char *text)
{
    char path[TRIB_PATH_MAX + 1];
    return trib_path_join(path, dir, name) == TRIB_OK &&
           trib_file_write(path, text, strlen(text), 0600) == TRIB_OK;
}

static bool put_rows(const char *dir, const char *name)
{
    char text[ROWS * 16] = "";
    size_t used = 0;
    for (int i = 0; i < ROWS; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%d,%d,%d\n", i % 16, i * 7 % 16,
                                 i % 16 > 7);
    return rig_put_text(dir, name, text);
}

bool rig_put_ini(const struct rig *rig)
{
    char dir[TRIB_PATH_MAX + 1], text[512];
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    (void)snprintf(text, sizeof(text),
                   "[fleet]\nlisten = ipc://%s/fleet.sock\n[store]\nreserve_mib = 1\n", rig->dir);
    return rig_put_text(dir, "tributary.ini", text);
}

bool rig_ask(const struct rig *rig, const struct trib_admin_request *request,
             struct trib_admin_reply *ret_reply)
{
    char dir[TRIB_PATH_MAX + 1];
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    enum trib_err err = TRIB_ERR_CONNECT;
    for (int i = 0; i < 1000 && err == TRIB_ERR_CONNECT; i++) {
        err = trib_ctl_call(dir, request, CALL_MS, ret_reply);
        if (err == TRIB_ERR_CONNECT)
            trib_clock_sleep_ms(5);
    }
    if (err)
        return rig_wrong("%s: %s", request->words[0], trib_err_text(err));
    if (ret_reply->exit_code || ret_reply->row_count == 0)
        return rig_wrong("%s: %s", request->words[0],
                         ret_reply->error ? ret_reply->error : "no row");
    return true;
}

static bool enrol(const struct rig *rig, unsigned index)
{
    static const char *const names[] = {"d0000", "d0001", "d0002"};
    char dir[TRIB_PATH_MAX + 1], text[512];
    struct trib_admin_reply reply;
    const struct trib_admin_request request = {
        .word_count = 4, .words = {"devices", "token", "--name", names[index]}};
    rig_device_dir(rig, index, dir);
    if (!rig_ask(rig, &request, &reply))
        return false;
    const enum trib_err err = trib_client_enrol(trib_admin_find_text(&reply.rows[0], "token"), dir);
    trib_admin_reply_fini(&reply);
    if (err)
        return rig_wrong("enrol: %s", trib_err_text(err));
    (void)snprintf(text, sizeof(text),
                   "[data]\ntrain = data.csv\nscale = 16\n[client]\nreconnect_max_ms = 50\n"
                   "[client.policy]\nallowed_modes = off,%s\nmin_cohort = 2\n",
                   rig->mode);
    return rig_put_text(dir, "client.ini", text) && put_rows(dir, "data.csv");
}

// What a device may miss of a masked round is soon over.
static const char masked_job[] = "[secagg]\nmin_cohort = 2\nthreshold_frac = 0.66\n"
                                 "max_colluders_frac = 0\nphase_ms = 1500\n";

static bool submit(const struct rig *rig)
{
    const bool is_masked = strcmp(rig->mode, "distributed") == 0;
    char text[1024];
    struct trib_admin_reply reply;
    (void)snprintf(text, sizeof(text),
                   "[model]\nspec = 2 - dense 4 relu - dense 2 softmax\nseed = 1\n"
                   "[round]\nrounds = %d\ncohort = %u\n%sbatch = 16\nlearning_rate = 0.1\n"
                   "local_epochs = 1\nbeat_baseline = no\n" // so short a job need not learn
                   "[privacy]\nmode = %s\nsend_tick_ms = 0\n%s"
                   "%s[strategy]\nname = fedavg\n[data]\ntest = %s/test.csv\nscale = 16\n",
                   RIG_ROUNDS, rig->devices,
                   is_masked ? "select_ms = 3000\nreport_ms = 3000\n" : "", rig->mode,
                   strcmp(rig->mode, "off") == 0 ? "" : "noise_multiplier = 0.05\ntest_seed = 5\n",
                   is_masked ? masked_job : "", rig->root);
    const struct trib_admin_request request = {
        .word_count = 3,
        .words = {"jobs", "submit", "--accept-drowned-signal"},
        .body_name = "job.ini",
        .body_dir = rig->root,
        .body = (const uint8_t *)text,
        .body_size = strlen(text)};
    if (!put_rows(rig->root, "test.csv") || !rig_ask(rig, &request, &reply))
        return false;
    trib_admin_reply_fini(&reply);
    return true;
}

static int prepare(void *user)
{
    struct rig *rig = user;
    char dir[TRIB_PATH_MAX + 1];
    struct trib_identity identity;
    struct rig_process coordinator = {.rig = rig, .which = RIG_COORDINATOR};
    trib_crypto_init();
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig->dir);
    if (mkdir(rig->dir, 0700) || trib_identity_make(dir, NULL, NULL, &identity))
        return 1;
    trib_identity_wipe(&identity);
    if (!rig_put_ini(rig) || !rig_start(&coordinator))
        return 1;
    bool is_good = true;
    for (unsigned i = 0; i < rig->devices && is_good && !(rig->scene && !rig->scene->has_job); i++)
        is_good = enrol(rig, i);
    if (is_good && rig->scene)
        is_good = rig->scene->prepare(rig);
    if (is_good && !(rig->scene && !rig->scene->has_job))
        is_good = submit(rig);
    return rig_stop(&coordinator) && is_good ? 0 : 1;
}

// A log, of what went wrong; false.
static bool show(const char *log)
{
    char line[512];
    FILE *file = fopen(log, "r");
    while (file && fgets(line, sizeof(line), file))
        (void)fprintf(stderr, "    %s", line);
    if (file)
        (void)fclose(file);
    return false;
}

bool rig_make(struct rig *rig, const char *mode, const struct rig_scene *scene)
{
    char log[FOLDER_PATH_SIZE];
    const char *where = getenv("TMPDIR");
    int status = 1;
    *rig = (struct rig){
        .victim = RIG_SIDES, .scene = scene, .devices = strcmp(mode, "distributed") == 0 ? 3 : 1};
    (void)snprintf(rig->mode, sizeof(rig->mode), "%s", mode);
    // The path of a Unix socket is short.
    (void)snprintf(rig->root, sizeof(rig->root), "%s/trib-fault-XXXXXX",
                   where && where[0] && strlen(where) < 50 ? where : "/tmp");
    if (!mkdtemp(rig->root))
        return rig_wrong("%s cannot be made", rig->root);
    (void)snprintf(rig->dir, sizeof(rig->dir), "%s/begin", rig->root);
    (void)snprintf(log, sizeof(log), "%s/begin.log", rig->root);
    const pid_t process = rig_fork(prepare, rig, log);
    if (process < 0 || waitpid(process, &status, 0) < 0 || status != 0)
        return show(log) || rig_wrong("the beginning failed");
    return true;
}

void rig_remove(struct rig *rig)
{
    if (rig->root[0])
        folder_remove(rig->root, 0);
    rig->root[0] = '\0';
}
