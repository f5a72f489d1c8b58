#include "client/counter_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "counters"

// magic 8 | BLAKE2b-256 of what follows | version | counters | versions | name 24, is_sum, low,
// high of each counter | number, and n, sum, squares of each counter, of each version. All numbers
// are 8 bytes, little-endian.
enum {
    MAGIC_SIZE = 8,
    DIGEST_AT = MAGIC_SIZE,
    BODY_AT = DIGEST_AT + TRIB_DIGEST_SIZE,
    COUNTER_SIZE = TRIB_COUNTER_NAME_SIZE + 24,
    FILE_MAX = BODY_AT + 24 + TRIB_COUNTERS_MAX * COUNTER_SIZE +
               TRIB_COUNTER_STORE_VERSIONS * (8 + 24 * TRIB_COUNTERS_MAX),
};
static const char magic[MAGIC_SIZE + 1] = "TRIBCNT1";
static const double totals_max = 0x1p53; // of what a double holds exactly

struct totals {
    uint64_t version;
    struct trib_arm arms[TRIB_COUNTERS_MAX];
};

struct counter_file {
    uint64_t version; // installed; 0: none
    struct trib_counter_list counters;
    size_t count;
    struct totals totals[TRIB_COUNTER_STORE_VERSIONS]; // the oldest first
};

// ---- The file

static void put_u64(struct trib_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    trib_store_le64(bytes, value);
    trib_buf_append(buf, bytes, sizeof(bytes));
}

static void put_real(struct trib_buf *buf, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_u64(buf, bits);
}

static enum trib_err save(const char *path, const struct counter_file *file)
{
    struct trib_buf buf = {0};
    static const uint8_t room[TRIB_DIGEST_SIZE];
    trib_buf_append(&buf, magic, MAGIC_SIZE);
    trib_buf_append(&buf, room, sizeof(room));
    put_u64(&buf, file->version);
    put_u64(&buf, file->counters.count);
    put_u64(&buf, file->count);
    for (size_t c = 0; c < file->counters.count; c++) {
        const struct trib_counter *counter = &file->counters.list[c];
        trib_buf_append(&buf, counter->name, sizeof(counter->name));
        put_u64(&buf, counter->is_sum);
        put_real(&buf, counter->low);
        put_real(&buf, counter->high);
    }
    for (size_t v = 0; v < file->count; v++) {
        put_u64(&buf, file->totals[v].version);
        for (size_t c = 0; c < file->counters.count; c++) {
            put_real(&buf, file->totals[v].arms[c].n);
            put_real(&buf, file->totals[v].arms[c].sum);
            put_real(&buf, file->totals[v].arms[c].squares);
        }
    }
    if (!buf.failed)
        trib_digest(buf.data + BODY_AT, buf.size - BODY_AT, buf.data + DIGEST_AT);
    enum trib_err err =
        buf.failed ? TRIB_ERR_NOMEM : trib_file_write(path, buf.data, buf.size, 0600);
    trib_buf_fini(&buf);
    return err;
}

static double real_at(const uint8_t *data)
{
    const uint64_t bits = trib_load_le64(data);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

// False: it is not what we wrote.
static bool unpack(const uint8_t *data, size_t size, struct counter_file *ret_file)
{
    struct counter_file file = {.version = 0};
    uint8_t digest[TRIB_DIGEST_SIZE];
    if (size < BODY_AT + 24 || memcmp(data, magic, MAGIC_SIZE) != 0)
        return false;
    trib_digest(data + BODY_AT, size - BODY_AT, digest);
    if (memcmp(digest, data + DIGEST_AT, sizeof(digest)) != 0)
        return false;
    const uint8_t *at = data + BODY_AT;
    file.version = trib_load_le64(at);
    file.counters.count = trib_load_le64(at + 8);
    file.count = trib_load_le64(at + 16);
    if (file.counters.count > TRIB_COUNTERS_MAX || file.count > TRIB_COUNTER_STORE_VERSIONS ||
        size != BODY_AT + 24 + file.counters.count * COUNTER_SIZE +
                    file.count * (8 + 24 * file.counters.count))
        return false;
    at += 24;
    for (size_t c = 0; c < file.counters.count; c++, at += COUNTER_SIZE) {
        struct trib_counter *counter = &file.counters.list[c];
        memcpy(counter->name, at, TRIB_COUNTER_NAME_SIZE);
        counter->name[TRIB_COUNTER_NAME_SIZE - 1] = '\0';
        counter->is_sum = trib_load_le64(at + TRIB_COUNTER_NAME_SIZE) != 0;
        counter->low = real_at(at + TRIB_COUNTER_NAME_SIZE + 8);
        counter->high = real_at(at + TRIB_COUNTER_NAME_SIZE + 16);
    }
    for (size_t v = 0; v < file.count; v++) {
        file.totals[v].version = trib_load_le64(at);
        at += 8;
        for (size_t c = 0; c < file.counters.count; c++, at += 24)
            file.totals[v].arms[c] =
                (struct trib_arm){real_at(at), real_at(at + 8), real_at(at + 16)};
    }
    *ret_file = file;
    return true;
}

static enum trib_err load(const char *path, struct counter_file *ret_file)
{
    struct trib_buf buf = {0};
    *ret_file = (struct counter_file){.version = 0};
    if (!trib_file_exists(path))
        return TRIB_OK;
    enum trib_err err = trib_file_read(path, FILE_MAX, &buf);
    if (err == TRIB_ERR_IO || err == TRIB_ERR_NOMEM)
        return err;
    if (err || !unpack(buf.data, buf.size, ret_file))
        TRIB_WARN("id=counters-corrupt %s is damaged: what was counted is lost", path);
    trib_buf_fini(&buf);
    return TRIB_OK;
}

// ---- Turns

struct opened {
    int lock;
    char path[TRIB_PATH_MAX + 1];
    struct counter_file file;
};

static void shut(struct opened *o)
{
    if (o->lock >= 0)
        (void)close(o->lock);
    o->lock = -1;
}

static enum trib_err open_file(const char *dir, struct opened *ret_opened)
{
    char lock[TRIB_PATH_MAX + 1];
    struct opened *o = ret_opened;
    o->lock = -1;
    enum trib_err err = trib_path_join(lock, dir, "counters.lock");
    if (!err)
        err = trib_path_join(o->path, dir, "counters");
    if (err)
        return err;
    o->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int locked = o->lock < 0 ? -1 : flock(o->lock, LOCK_EX);
    while (o->lock >= 0 && locked != 0 && errno == EINTR)
        locked = flock(o->lock, LOCK_EX);
    if (locked != 0) {
        TRIB_ERROR("%s: cannot lock: %s", lock, strerror(errno));
        err = TRIB_ERR_IO;
    }
    if (!err)
        err = load(o->path, &o->file);
    if (err)
        shut(o);
    return err;
}

// ---- Changes

static bool is_same(const struct trib_counter *a, const struct trib_counter *b)
{
    return strcmp(a->name, b->name) == 0 && a->is_sum == b->is_sum && !(a->low < b->low) &&
           !(a->low > b->low) && !(a->high < b->high) && !(a->high > b->high);
}

static bool are_same(const struct trib_counter_list *a, const struct trib_counter_list *b)
{
    bool same = a->count == b->count;
    for (size_t c = 0; same && c < a->count; c++)
        same = is_same(&a->list[c], &b->list[c]);
    return same;
}

// Totals in the places of other counters; those of counters that are not among them go.
static void move_totals(const struct counter_file *from, const struct trib_counter_list *counters,
                        struct totals *to, size_t v)
{
    to->version = from->totals[v].version;
    for (size_t c = 0; c < counters->count; c++) {
        const struct trib_counter *old =
            trib_counters_find(&from->counters, counters->list[c].name);
        to->arms[c] = (struct trib_arm){0, 0, 0};
        if (old && is_same(old, &counters->list[c]))
            to->arms[c] = from->totals[v].arms[old - from->counters.list];
    }
}

enum trib_err trib_counter_store_declare(const char *dir, const struct trib_counter_list *counters,
                                         uint64_t version)
{
    struct opened o;
    enum trib_err err = open_file(dir, &o);
    if (err)
        return err;
    if (o.file.version != version || !are_same(&o.file.counters, counters)) {
        struct counter_file next = {
            .version = version, .counters = *counters, .count = o.file.count};
        for (size_t v = 0; v < next.count; v++)
            move_totals(&o.file, counters, &next.totals[v], v);
        err = save(o.path, &next);
    }
    shut(&o);
    return err;
}

enum trib_err trib_counter_store_version(const char *dir, uint64_t version)
{
    struct opened o;
    char path[TRIB_PATH_MAX + 1];
    enum trib_err err = trib_path_join(path, dir, "counters");
    if (err || !trib_file_exists(path))
        return err;
    err = open_file(dir, &o);
    if (err)
        return err;
    if (o.file.version != version) {
        o.file.version = version;
        err = save(o.path, &o.file);
    }
    shut(&o);
    return err;
}

// The totals of the installed version; the oldest make room.
static struct totals *current(struct counter_file *file)
{
    for (size_t v = 0; v < file->count; v++) {
        if (file->totals[v].version == file->version)
            return &file->totals[v];
    }
    if (file->count == TRIB_COUNTER_STORE_VERSIONS) {
        file->count--;
        memmove(file->totals, file->totals + 1, file->count * sizeof(file->totals[0]));
    }
    struct totals *totals = &file->totals[file->count++];
    *totals = (struct totals){.version = file->version};
    return totals;
}

static enum trib_err add(const char *dir, const char *name, bool is_sum, const struct trib_arm *arm,
                         char *why, size_t why_size)
{
    struct opened o;
    enum trib_err err = open_file(dir, &o);
    if (err) {
        (void)snprintf(why, why_size, "the counters of %s cannot be read", dir);
        return err;
    }
    const struct trib_counter *counter = trib_counters_find(&o.file.counters, name);
    if (!counter) {
        (void)snprintf(why, why_size, "no counter '%.64s' is declared (round.counters of the job)",
                       name);
        err = TRIB_ERR_REFUSED;
    } else if (counter->is_sum != is_sum) {
        (void)snprintf(why, why_size, "counter '%s' is %s", name,
                       counter->is_sum ? "of numbers, not a rate" : "a rate, not of numbers");
        err = TRIB_ERR_INVAL;
    } else if (is_sum && !(arm->sum >= counter->low && arm->sum <= counter->high)) {
        (void)snprintf(why, why_size, "counter '%s' takes %g to %g, not %g", name, counter->low,
                       counter->high, arm->sum);
        err = TRIB_ERR_INVAL;
    } else {
        struct trib_arm *total = &current(&o.file)->arms[counter - o.file.counters.list];
        trib_arm_add(total, arm);
        err = total->n > totals_max ? TRIB_ERR_LIMIT : TRIB_OK;
        if (err)
            (void)snprintf(why, why_size, "counter '%s' is full", name);
        if (!err && save(o.path, &o.file)) {
            (void)snprintf(why, why_size, "%s cannot be written", o.path);
            err = TRIB_ERR_IO;
        }
    }
    shut(&o);
    return err;
}

enum trib_err trib_counter_store_trials(const char *dir, const char *name, uint64_t successes,
                                        uint64_t trials, char *why, size_t why_size)
{
    if (trials == 0 || successes > trials || trials > UINT32_MAX) {
        (void)snprintf(why, why_size,
                       "%" PRIu64 "/%" PRIu64 ": want 1 to 2^32 - 1 trials, and no more successes",
                       successes, trials);
        return TRIB_ERR_INVAL;
    }
    const struct trib_arm arm = {(double)trials, (double)successes, (double)successes};
    return add(dir, name, false, &arm, why, why_size);
}

enum trib_err trib_counter_store_number(const char *dir, const char *name, double number, char *why,
                                        size_t why_size)
{
    const struct trib_arm arm = {1, number, number * number};
    return add(dir, name, true, &arm, why, why_size);
}

// ---- Collecting

enum trib_err trib_counter_store_sum(const char *dir, const struct trib_counter_list *counters,
                                     uint64_t newest, struct trib_tally *tally)
{
    struct opened o;
    enum trib_err err = open_file(dir, &o);
    if (err)
        return err;
    shut(&o);
    for (size_t v = 0; v < o.file.count && !err; v++) {
        struct totals totals;
        const uint64_t version = o.file.totals[v].version;
        if (version > newest || newest - version >= TRIB_COUNTER_VERSIONS)
            continue;
        const size_t place = (size_t)(newest - version);
        bool has_any = false;
        move_totals(&o.file, counters, &totals, v);
        for (size_t c = 0; c < counters->count && !err; c++) {
            const struct trib_arm *arm = &totals.arms[c];
            const double values[TRIB_ARM_VALUES] = {arm->n, arm->sum, arm->squares};
            has_any = has_any || arm->n > 0;
            for (size_t i = 0; i < TRIB_ARM_VALUES && !err; i++)
                err = trib_tally_add(tally, trib_counters_place(counters, place, c) + i, values[i]);
        }
        if (!err && has_any)
            err = trib_tally_add(tally, trib_counters_place(counters, place, 0) - 1, 1);
    }
    return err;
}
