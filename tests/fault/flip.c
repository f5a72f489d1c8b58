// fault_flip - a bit that flips in any file is found and named, and what it is in is never used.
//
//     fault_flip short|all
//
// A coordinator dies with an open round and an update that counts, its device with the update in the
// spool. In copies of what they left one byte after the other (`short`: some of them) has one bit
// flipped; then what reads the file is started. Either the damage is said, by its file, or nothing
// came of it: bytes that nobody reads.
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/slot.h"
#include "client/spool.h"
#include "common/base/args.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/privacy/ledger.h"
#include "coordinator/server.h"
#include "tests/fault/rig.h"

enum {
    PATIENCE_S = 60,
};

struct models { // the names of the files, which are the digests of what is in them, in order
    char names[4][NAME_MAX + 1];
    size_t count;
};

static struct rig rig;
static char said[65536];       // all that was logged
static struct models expected; // when nothing flips

static void take_line(void *user, enum trib_log_level level, const char *line)
{
    const size_t used = strlen(said);
    (void)user;
    (void)level;
    (void)snprintf(said + used, sizeof(said) - used, "%s\n", line);
    if (strstr(line, " committed ") || strstr(line, " abandoned "))
        trib_server_stop(NULL); // a coordinator that runs has shown what it makes of it
}

// ---- Readers: true when the damage was said and nothing used, or nothing came of it

enum verdict {
    FOUND,
    HARMLESS, // what is used is what it was
    MISSED,
};

static void device_dir(char dir[static TRIB_PATH_MAX + 1])
{
    (void)snprintf(dir, TRIB_PATH_MAX + 1, "%s/device", rig.dir);
}

static enum verdict read_ledger(void)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_state_keys keys;
    struct trib_ledger *ledger;
    device_dir(dir);
    if (trib_state_keys_load(dir, &keys))
        return MISSED;
    const struct trib_ledger_options options = {.dir = dir, .secret = keys.secret};
    const enum trib_err err = trib_ledger_open(&options, &ledger);
    trib_state_keys_wipe(&keys);
    if (!err)
        trib_ledger_close(ledger);
    return err == TRIB_ERR_CORRUPT && strstr(said, "id=ledger-corrupt") &&
                   strstr(said, "device/privacy.ledger")
               ? FOUND
               : MISSED;
}

static enum verdict read_spool(void)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_spool spool;
    device_dir(dir);
    const enum trib_err err = trib_spool_read(dir, &spool);
    if (!err)
        trib_spool_fini(&spool);
    return err == TRIB_ERR_CORRUPT && strstr(said, "id=spool-corrupt") &&
                   strstr(said, "device/spool.update")
               ? FOUND
               : MISSED;
}

static enum verdict read_slot(void)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_state_enrolment enrolment;
    struct trib_slot slot;
    device_dir(dir);
    if (trib_state_enrolment_load(dir, &enrolment) || trib_slot_load(dir, &enrolment, NULL, &slot))
        return MISSED;
    // Its parameters were held against the digest that is signed: what is said beside them in the
    // header, and nobody asks for, may be anything.
    const bool is_used = slot.manifest.version != 0;
    trib_slot_fini(&slot);
    if (is_used)
        return HARMLESS;
    return strstr(said, "id=model-corrupt") && strstr(said, "device/model.safetensors") ? FOUND
                                                                                        : MISSED;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool list_models(const char *life, struct models *ret_models)
{
    char path[TRIB_PATH_MAX + 1];
    const struct dirent *entry;
    *ret_models = (struct models){.count = 0};
    (void)snprintf(path, sizeof(path), "%s/%s/coordinator/models", rig.root, life);
    DIR *entries = opendir(path);
    while (entries && (entry = readdir(entries)) && ret_models->count < 4) {
        char *name = ret_models->names[ret_models->count];
        if (strstr(entry->d_name, ".safetensors"))
            (void)snprintf(name, sizeof(ret_models->names[0]), "%s", entry->d_name);
        ret_models->count += name[0] != '\0';
    }
    if (entries)
        (void)closedir(entries);
    qsort(ret_models->names, ret_models->count, sizeof(ret_models->names[0]), by_name);
    return ret_models->count > 0;
}

// It starts, and goes on with the round that is open until that is over.
static enum verdict run_coordinator(const char *id)
{
    char dir[TRIB_PATH_MAX + 1];
    struct trib_server *server;
    (void)snprintf(dir, sizeof(dir), "%s/coordinator", rig.dir);
    const enum trib_err err = trib_server_create(dir, &server);
    if (!err && trib_server_run(server) == TRIB_OK)
        trib_server_destroy(server);
    if (strstr(said, " committed ")) { // then it is what it would have been
        struct models made;
        const bool is_same = list_models("flipped", &made) && made.count == expected.count &&
                             memcmp(made.names, expected.names, sizeof(made.names)) == 0;
        return is_same || expected.count == 0 ? HARMLESS : MISSED;
    }
    return strstr(said, id) ? FOUND : MISSED;
}

static enum verdict read_blob(void)
{
    return run_coordinator("id=model-corrupt");
}

static enum verdict read_segment(void)
{
    return run_coordinator("id=segment-corrupt");
}

static enum verdict read_store(void)
{
    return run_coordinator("id=store-corrupt");
}

// ---- Flipping

struct target {
    const char *path; // below the folder of a life
    enum verdict (*read)(void);
    uint64_t from, to; // bytes; 0: to the end
};

struct trial {
    const struct target *target;
    uint64_t at;
    bool is_whole; // nothing flips
};

static bool flip(const char *path, uint64_t at)
{
    FILE *file = fopen(path, "r+b");
    bool is_good = file && fseek(file, (long)at, SEEK_SET) == 0;
    const int byte = is_good ? fgetc(file) : EOF;
    is_good = byte != EOF && fseek(file, (long)at, SEEK_SET) == 0 &&
              fputc(byte ^ (1 << (at * 5 % 8)), file) != EOF;
    if (file)
        is_good = fclose(file) == 0 && is_good;
    return is_good;
}

static int try_one(void *user)
{
    const struct trial *trial = user;
    char from[FOLDER_PATH_SIZE], path[TRIB_PATH_MAX + 1];
    (void)snprintf(from, sizeof(from), "%s/left", rig.root);
    (void)snprintf(rig.dir, sizeof(rig.dir), "%s/flipped", rig.root);
    folder_remove(rig.dir, 0);
    if (!folder_copy(from, rig.dir, 1) || trib_path_join(path, rig.dir, trial->target->path) ||
        (!trial->is_whole && !flip(path, trial->at)))
        return MISSED;
    trib_log_set_sink(take_line, NULL);
    trib_crypto_init();
    (void)alarm(PATIENCE_S);
    const enum verdict verdict = trial->target->read();
    if (verdict == MISSED)
        (void)fprintf(stderr, "%s byte %" PRIu64 ":\n%s", trial->target->path, trial->at, said);
    trib_log_set_sink(NULL, NULL);
    return 10 + (int)verdict;
}

static enum verdict verdict_of(struct trial *trial)
{
    int status = 0;
    const pid_t process = rig_fork(try_one, trial, NULL);
    if (process < 0 || waitpid(process, &status, 0) < 0)
        status = -1;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) - 10 : -1;
    if (code >= FOUND && code <= MISSED)
        return (enum verdict)code;
    (void)rig_wrong("%s byte %" PRIu64 ": status %d", trial->target->path, trial->at, status);
    return MISSED;
}

static bool try_all(const struct target *target, uint64_t every)
{
    char path[TRIB_PATH_MAX + 1];
    struct stat info;
    unsigned long counts[MISSED + 1] = {0};
    (void)snprintf(path, sizeof(path), "%s/left/%s", rig.root, target->path);
    if (stat(path, &info))
        return rig_wrong("%s is not there", path);
    const uint64_t end = target->to ? target->to : (uint64_t)info.st_size;
    for (uint64_t at = target->from; at < end; at += every) {
        struct trial trial = {.target = target, .at = at};
        counts[verdict_of(&trial)]++;
    }
    (void)printf("%s: found=%lu harmless=%lu missed=%lu\n", target->path, counts[FOUND],
                 counts[HARMLESS], counts[MISSED]);
    (void)fflush(stdout);
    return counts[MISSED] == 0 && counts[FOUND] > 0;
}

// What the coordinator makes of it when nothing flips.
static bool expect_models(const struct target *target)
{
    struct models before;
    struct trial trial = {.target = target, .is_whole = true};
    if (!list_models("left", &before) || verdict_of(&trial) != HARMLESS ||
        !list_models("flipped", &expected) || expected.count != before.count + 1)
        return rig_wrong("nothing comes of the round that is open");
    return true;
}

// What both leave when the coordinator dies; and what comes of it when nothing flips.
static int leave(void *user)
{
    struct rig *r = user;
    return rig_begin(r, "left") && rig_live_to_receipt(r) ? 0 : 1;
}

static bool prepare(void)
{
    char log[FOLDER_PATH_SIZE];
    int status = 1;
    if (!rig_make(&rig, "local", NULL))
        return false;
    rig.shared = rig_share(sizeof(*rig.shared));
    (void)snprintf(log, sizeof(log), "%s/left.log", rig.root);
    const pid_t process = rig.shared ? rig_fork(leave, &rig, log) : -1;
    return (process > 0 && waitpid(process, &status, 0) == process && status == 0) ||
           rig_wrong("nothing was left: see %s", log);
}

static char segment_path[] = "coordinator/updates/1.seg";
static char blob_path[TRIB_PATH_MAX + 1];

// The only model of the coordinator.
static bool find_blob(void)
{
    struct models models;
    const bool is_one = list_models("left", &models) && models.count == 1;
    (void)snprintf(blob_path, sizeof(blob_path), "coordinator/models/%s", models.names[0]);
    return is_one || rig_wrong("there are %zu models", models.count);
}

static bool run(bool is_short)
{
    const struct {
        struct target target;
        uint64_t every;
    } all[] = {
        {{"device/privacy.ledger", read_ledger, 0, 0}, 31},
        {{"device/privacy.head", read_ledger, 0, 0}, 19},
        {{"device/spool.update", read_spool, 0, 0}, 41},
        {{"device/model.safetensors", read_slot, 0, 0}, 97},
        {{blob_path, read_blob, 0, 0}, 400},
        {{segment_path, read_segment, 0, 32}, 13},      // the header
        {{segment_path, read_segment, 4096, 4162}, 29}, // the update
        // Pages that are in the log as well are not read; of the log, all that SQLite takes.
        {{"coordinator/store.db", read_store, 0, 100}, 19},
        {{"coordinator/store.db", read_store, 100, 0}, 9973},
        {{"coordinator/store.db-wal", read_store, 0, 0}, 7013},
    };
    bool is_good = prepare() && find_blob() && expect_models(&all[5].target);
    for (size_t i = 0; is_good && i < sizeof(all) / sizeof(all[0]); i++)
        is_good = try_all(&all[i].target, is_short ? all[i].every : 1);
    rig_remove(&rig);
    return is_good;
}

int main(int argc, char **argv)
{
    const bool is_short = argc == 2 && strcmp(argv[1], "short") == 0;
    if (!is_short && (argc != 2 || strcmp(argv[1], "all") != 0)) {
        (void)fprintf(stderr, "usage: fault_flip short|all\n");
        return TRIB_EXIT_USAGE;
    }
    return run(is_short) ? TRIB_EXIT_OK : TRIB_EXIT_INTERNAL;
}
