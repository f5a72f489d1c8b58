// fault_power - the power fails: what was written and not synced is lost, in any order.
//
//     fault_power short|all [SEED [MODE]]
//
// All that a coordinator and a device do to their files while a job runs is recorded, with what they
// promise meanwhile. From that, disks are made up as a power cut may leave them at any moment: what
// was not synced by then is there in part, or not at all; names are there without the data, or the
// data without the names. On each disk every promise made before that moment has to hold; some of
// them are started, and the job has to end as it does without the cut.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/args.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "tests/fault/rig.h"
#include "tests/test.h"

enum {
    LOG_SIZE = 16 << 20,
    NAME_SIZE = 160,
    OPS_MAX = 4096,
    FILES_MAX = 256,
    PROMISES = 100, // those of rig.h from here on; what is below is of fault.h
};

// What is recorded, by both processes.
struct op {
    int kind;
    char path[NAME_SIZE], other[NAME_SIZE];
    uint64_t offset;
    size_t data, size; // data: where in `bytes`
    struct rig_promise promise;
    int file;      // which one, whatever it is called; -1: none
    size_t synced; // by which operation; OPS_MAX: none
};
static struct record {
    pthread_mutex_t lock;
    size_t count, used;
    struct op ops[OPS_MAX];
    uint8_t bytes[LOG_SIZE];
} * record;

static struct rig rig;
static struct rig_outcome expected;

// ---- Recording

static struct op *add(int kind)
{
    if (record->count == OPS_MAX)
        abort(); // a longer job than this is made for
    struct op *op = &record->ops[record->count++];
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    return op;
}

static void take_op(void *user, const struct fault_op *done)
{
    (void)user;
    (void)pthread_mutex_lock(&record->lock);
    struct op *op = add((int)done->kind);
    (void)snprintf(op->path, sizeof(op->path), "%s", done->path);
    (void)snprintf(op->other, sizeof(op->other), "%s", done->other ? done->other : "");
    op->offset = done->offset;
    op->size = done->size;
    if (done->size > 0) {
        if (done->size > LOG_SIZE - record->used)
            abort();
        op->data = record->used;
        memcpy(record->bytes + record->used, done->data, done->size);
        record->used += done->size;
    }
    (void)pthread_mutex_unlock(&record->lock);
}

static void take_promise(void *user, enum rig_promise_kind kind, const struct rig_promise *promise)
{
    (void)user;
    (void)pthread_mutex_lock(&record->lock);
    add(PROMISES + (int)kind)->promise = *promise;
    (void)pthread_mutex_unlock(&record->lock);
}

static void begin_record(void *user, enum rig_side side)
{
    (void)side;
    fault_trace(take_op, user);
}

static int live(void *user)
{
    struct rig *r = user;
    return rig_begin(r, "recorded") && rig_live(r) && rig_check(r, NULL, &r->shared->outcome) ? 0
                                                                                              : 1;
}

// ---- Which file, and when it was safe

static struct {
    char names[FILES_MAX][NAME_SIZE]; // as they are now; "": no name
    int count;
} files;

static int file_of(const char *path)
{
    for (int i = 0; i < files.count; i++) {
        if (strcmp(files.names[i], path) == 0)
            return i;
    }
    if (files.count == FILES_MAX)
        abort();
    (void)snprintf(files.names[files.count], NAME_SIZE, "%s", path);
    return files.count++;
}

static bool is_name(int kind)
{
    return kind == FAULT_OP_CREATE || kind == FAULT_OP_RENAME || kind == FAULT_OP_UNLINK ||
           kind == FAULT_OP_MAKE_FOLDER;
}

// Does the sync of `sync` make `op` safe?
static bool covers(const struct op *sync, const struct op *op)
{
    char folder[TRIB_PATH_MAX + 1];
    if (sync->kind == FAULT_OP_SYNC)
        return sync->file == op->file && (op->kind == FAULT_OP_WRITE || op->kind == FAULT_OP_SIZE);
    return sync->kind == FAULT_OP_SYNC_FOLDER && is_name(op->kind) &&
           trib_path_dir(folder, op->path) == TRIB_OK && strcmp(folder, sync->path) == 0;
}

static void understand(void)
{
    for (size_t i = 0; i < record->count; i++) {
        struct op *op = &record->ops[i];
        op->synced = OPS_MAX;
        op->file = -1;
        if (op->kind == FAULT_OP_CREATE) { // another one than had the name before
            for (int f = 0; f < files.count; f++) {
                if (strcmp(files.names[f], op->path) == 0)
                    files.names[f][0] = '\0';
            }
        }
        if (op->kind < PROMISES)
            op->file = file_of(op->path);
        if (op->kind == FAULT_OP_RENAME) {
            files.names[file_of(op->other)][0] = '\0';
            (void)snprintf(files.names[op->file], NAME_SIZE, "%s", op->other);
        } else if (op->kind == FAULT_OP_UNLINK) {
            files.names[op->file][0] = '\0';
        }
        for (size_t j = 0; j < i; j++) {
            if (record->ops[j].synced == OPS_MAX && covers(op, &record->ops[j]))
                record->ops[j].synced = i;
        }
    }
}

// ---- Making up a disk

enum policy {
    LOSE_ALL,   // that was not safe
    LOSE_DATA,  // names come before what they are names of
    LOSE_NAMES, // and the other way round
    LOSE_ONE,
    LOSE_SOME,
    POLICIES
};
static const char *const policy_names[POLICIES] = {"all", "data", "names", "one", "some"};

struct cut {
    size_t at; // operations before it were done
    enum policy policy;
    uint64_t seed;
    bool is_started; // afterwards
};

static bool is_lost(const struct cut *cut, const struct op *op, size_t left, uint64_t *random)
{
    switch (cut->policy) {
    case LOSE_ALL: return true;
    case LOSE_DATA: return !is_name(op->kind);
    case LOSE_NAMES: return is_name(op->kind);
    case LOSE_ONE: return left == 0;
    case LOSE_SOME: return test_rand(random) >> 63 != 0;
    case POLICIES: break;
    }
    return false;
}

// Files whose making was lost: what is in them may still be safe, and get a name that was not lost.
static bool is_nameless[FILES_MAX];

static const char *place_of(char path[static TRIB_PATH_MAX + 1], const char *name)
{
    (void)snprintf(path, TRIB_PATH_MAX + 1, "%s/%s", rig.dir, name);
    return path;
}

// Where the file of an operation is.
static const char *place_of_op(char path[static TRIB_PATH_MAX + 1], const struct op *op)
{
    if (op->file < 0 || !is_nameless[op->file])
        return place_of(path, op->path);
    (void)snprintf(path, TRIB_PATH_MAX + 1, "%s/nameless.%d", rig.dir, op->file);
    return path;
}

static void drop_nameless(void)
{
    for (int i = 0; i < files.count; i++) {
        char path[TRIB_PATH_MAX + 1];
        const struct op op = {.file = i};
        if (is_nameless[i])
            (void)unlink(place_of_op(path, &op));
    }
}

static bool apply(const struct op *op)
{
    char path[TRIB_PATH_MAX + 1], other[TRIB_PATH_MAX + 1];
    bool is_good = true;
    FILE *file = NULL;
    switch ((enum fault_op_kind)op->kind) {
    case FAULT_OP_MAKE_FOLDER: return mkdir(place_of(path, op->path), 0700) == 0;
    case FAULT_OP_UNLINK: (void)unlink(place_of_op(path, op)); return true;
    case FAULT_OP_CREATE: file = fopen(place_of_op(path, op), "wb"); break;
    case FAULT_OP_RENAME:
        is_good = rename(place_of_op(path, op), place_of(other, op->other)) == 0;
        is_nameless[op->file] = false;
        break;
    case FAULT_OP_WRITE:
    case FAULT_OP_SIZE:
        file = fopen(place_of_op(path, op), "r+b");
        if (!file)
            return true; // its removal was not lost, and it was written to afterwards
        if (op->kind == FAULT_OP_SIZE)
            is_good = ftruncate(fileno(file), (off_t)op->offset) == 0;
        else
            is_good = fseek(file, (long)op->offset, SEEK_SET) == 0 &&
                      fwrite(record->bytes + op->data, 1, op->size, file) == op->size;
        break;
    case FAULT_OP_SYNC:
    case FAULT_OP_SYNC_FOLDER: return true;
    }
    if (file)
        is_good = fclose(file) == 0 && is_good;
    return is_good;
}

static void give_promise(struct rig_shared *shared, enum rig_promise_kind kind,
                         const struct rig_promise *promise)
{
    size_t *count = &shared->promise_count[kind];
    if (*count < RIG_PROMISES_MAX)
        shared->promises[kind][(*count)++] = *promise;
}

// What was promised before the cut, and all that was not lost by it.
static bool make_up(const struct cut *cut)
{
    uint64_t random = cut->seed * 2 + 1;
    size_t unsafe = 0, seen = 0;
    struct rig_shared *shared = rig.shared;
    memset(shared->promise_count, 0, sizeof(shared->promise_count));
    memset(is_nameless, 0, sizeof(is_nameless));
    for (size_t i = 0; i < cut->at; i++)
        unsafe += record->ops[i].kind < PROMISES && record->ops[i].synced >= cut->at;
    const size_t one = unsafe ? test_rand(&random) % unsafe : 0;
    for (size_t i = 0; i < cut->at; i++) {
        const struct op *op = &record->ops[i];
        if (op->kind >= PROMISES) {
            give_promise(shared, (enum rig_promise_kind)(op->kind - PROMISES), &op->promise);
            continue;
        }
        const bool is_safe = op->synced < cut->at;
        const bool is_gone = !is_safe && is_lost(cut, op, seen++ - one, &random);
        if (is_gone && op->kind == FAULT_OP_CREATE)
            is_nameless[op->file] = true;
        else if (is_gone)
            continue;
        if (!apply(op))
            return rig_wrong("operation %zu on %s cannot be done again", i, op->path);
    }
    drop_nameless();
    return true;
}

static int look(void *user)
{
    const struct cut *cut = user;
    if (!rig_begin(&rig, "made") || !make_up(cut) || !rig_hold(&rig))
        return 1;
    return !cut->is_started ||
                   (rig_live_on(&rig) && rig_check(&rig, &expected, &rig.shared->outcome))
               ? 0
               : 1;
}

// ---- All of it

static bool try_cut(struct cut *cut)
{
    char log[FOLDER_PATH_SIZE], line[512];
    int status = 1;
    (void)snprintf(log, sizeof(log), "%s/made.log", rig.root);
    (void)unlink(log);
    const pid_t process = rig_fork(look, cut, log);
    if (process > 0 && waitpid(process, &status, 0) == process && status == 0)
        return true;
    (void)printf("cut at %zu of %zu, lost: %s, seed %" PRIu64 "\n", cut->at, record->count,
                 policy_names[cut->policy], cut->seed);
    FILE *file = fopen(log, "r");
    while (file && fgets(line, sizeof(line), file))
        (void)printf("    %s", line);
    if (file)
        (void)fclose(file);
    return false;
}

static bool prepare(const char *mode)
{
    char log[FOLDER_PATH_SIZE];
    int status = 1;
    pthread_mutexattr_t attributes;
    if (!rig_make(&rig, mode, NULL))
        return false;
    rig.shared = rig_share(sizeof(*rig.shared));
    record = rig_share(sizeof(*record));
    if (!rig.shared || !record)
        return false;
    (void)pthread_mutexattr_init(&attributes);
    (void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    (void)pthread_mutex_init(&record->lock, &attributes);
    rig.on_start = begin_record;
    rig.on_promise = take_promise;
    (void)snprintf(log, sizeof(log), "%s/recorded.log", rig.root);
    const pid_t process = rig_fork(live, &rig, log);
    rig.on_start = NULL;
    rig.on_promise = NULL;
    if (process < 0 || waitpid(process, &status, 0) < 0 || status != 0)
        return rig_wrong("the recording failed: see %s", log);
    expected = rig.shared->outcome;
    understand();
    return true;
}

// In the short form: some, and those at which a noised sum begins to be used.
static bool is_looked_at(size_t at, bool is_short, size_t first, size_t step)
{
    return !is_short || at % step == first ||
           (at > 0 && record->ops[at - 1].kind == PROMISES + (int)RIG_NOISED);
}

static bool run(bool is_short, uint64_t seed, const char *mode)
{
    const uint64_t began_ms = trib_clock_mono_ms();
    unsigned long disks = 0, started = 0, wrong = 0;
    uint64_t random = seed * 2 + 1;
    if (!prepare(mode))
        return false;
    const size_t step = record->count / 16 + 1;
    const size_t first = is_short ? test_rand(&random) % step : 0;
    for (size_t at = 0; at <= record->count; at++) {
        if (!is_looked_at(at, is_short, first, step))
            continue;
        for (int policy = 0; policy < POLICIES; policy++) {
            const int times = policy < LOSE_ONE || is_short ? 1 : 4;
            for (int i = 0; i < times; i++) {
                struct cut cut = {
                    .at = at, .policy = (enum policy)policy, .seed = test_rand(&random) >> 16};
                cut.is_started = disks % (is_short ? 40 : 16) == 0;
                started += cut.is_started;
                disks++;
                wrong += !try_cut(&cut);
            }
        }
    }
    (void)printf("mode=%s operations=%zu disks=%lu started=%lu seed=%" PRIu64
                 " seconds=%.0f wrong=%lu\n",
                 mode, record->count, disks, started, seed,
                 (double)(trib_clock_mono_ms() - began_ms) / 1000, wrong);
    return wrong == 0;
}

int main(int argc, char **argv)
{
    const bool is_short = argc >= 2 && strcmp(argv[1], "short") == 0;
    if (argc < 2 || argc > 4 || (!is_short && strcmp(argv[1], "all") != 0)) {
        (void)fprintf(stderr, "usage: fault_power short|all [SEED [MODE]]\n");
        return TRIB_EXIT_USAGE;
    }
    char *end = NULL;
    const bool is_good =
        run(is_short, argc > 2 ? strtoull(argv[2], &end, 10) : 1, argc > 3 ? argv[3] : "local");
    rig_remove(&rig);
    return is_good ? TRIB_EXIT_OK : TRIB_EXIT_INTERNAL;
}
