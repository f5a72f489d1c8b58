#include "common/privacy/ledger_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/crash.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/wipe.h"

#define TRIB_LOG_MODULE "ledger"

enum {
    BODY_SIZE = TRIB_LEDGER_RECORD_SIZE - TRIB_DIGEST_SIZE,
    HEAD_BODY_SIZE = TRIB_LEDGER_HEAD_SIZE - TRIB_DIGEST_SIZE,
    STEP = 1024, // records read at a time
    KIND_RESERVE = 1,
    KIND_REFUND = 2,
    FILE_MODE = 0600,
};

static const char head_magic[8] = {'T', 'R', 'I', 'B', 'L', 'H', 'D', '1'};

static enum trib_err tampered(const struct trib_ledger_file *file, const char *what)
{
    TRIB_ERROR("id=ledger-corrupt %s: %s. What this device has spent of its privacy budget is not "
               "known for sure, so it takes no part. If privacy.ledger and privacy.head come from "
               "different copies of the directory, put the newest of both back. To begin anew, and "
               "forget what was spent, move both away.",
               file->path, what);
    return TRIB_ERR_CORRUPT;
}

static enum trib_err failure(const struct trib_ledger_file *file, const char *what)
{
    TRIB_ERROR("%s: %s: %s", file->path, what, strerror(errno));
    return TRIB_ERR_IO;
}

// ---- Bytes

static void derive(const uint8_t *secret, const char *label, uint8_t key[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    trib_hash_init(&hash, secret, TRIB_LEDGER_SECRET_SIZE, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, label, strlen(label) + 1);
    trib_hash_final(&hash, key, TRIB_DIGEST_SIZE);
}

static void store_real(uint8_t *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    trib_store_le64(out, bits);
}

static double load_real(const uint8_t *in)
{
    const uint64_t bits = trib_load_le64(in);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void pack(const struct trib_ledger_entry *entry, uint8_t body[static BODY_SIZE])
{
    const struct trib_charge *charge = &entry->charge;
    memset(body, 0, BODY_SIZE);
    trib_store_le64(body, entry->sequence);
    trib_store_le32(body + 8, entry->refunds ? KIND_REFUND : KIND_RESERVE);
    trib_store_le32(body + 12, (uint32_t)charge->mode);
    trib_store_le64(body + 16, charge->s1);
    trib_store_le64(body + 24, charge->s2);
    trib_store_le32(body + 32, charge->grid_bits);
    trib_store_le32(body + 36, charge->shares);
    trib_store_le64(body + 40, charge->job);
    trib_store_le64(body + 48, charge->round_id);
    trib_store_le64(body + 56, entry->refunds);
    trib_store_le64(body + 64, entry->wall_ms);
    trib_store_le64(body + 72, entry->time_ms);
    store_real(body + 80, charge->epsilon_pure);
    store_real(body + 88, charge->rho);
    memcpy(body + 96, charge->whom, sizeof(charge->whom));
    trib_store_le32(body + 112, charge->cohort.members);
    trib_store_le32(body + 116, charge->cohort.colluders);
    trib_store_le32(body + 120, charge->cohort.is_vouched_apart);
}

static void unpack(const uint8_t body[static BODY_SIZE], struct trib_ledger_entry *ret_entry)
{
    *ret_entry = (struct trib_ledger_entry){
        .sequence = trib_load_le64(body),
        .refunds = trib_load_le64(body + 56),
        .wall_ms = trib_load_le64(body + 64),
        .time_ms = trib_load_le64(body + 72),
        .charge =
            {
                .mode = (enum trib_privacy_mode)trib_load_le32(body + 12),
                .s1 = trib_load_le64(body + 16),
                .s2 = trib_load_le64(body + 24),
                .grid_bits = trib_load_le32(body + 32),
                .shares = trib_load_le32(body + 36),
                .job = trib_load_le64(body + 40),
                .round_id = trib_load_le64(body + 48),
                .epsilon_pure = load_real(body + 80),
                .rho = load_real(body + 88),
                .cohort =
                    {
                        .members = trib_load_le32(body + 112),
                        .colluders = trib_load_le32(body + 116),
                        .is_vouched_apart = trib_load_le32(body + 120) != 0,
                    },
            },
    };
    memcpy(ret_entry->charge.whom, body + 96, sizeof(ret_entry->charge.whom));
}

static void next_chain(const struct trib_ledger_file *file, const uint8_t body[static BODY_SIZE],
                       uint8_t ret_chain[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    trib_hash_init(&hash, file->chain_key, sizeof(file->chain_key), TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, file->chain, sizeof(file->chain));
    trib_hash_update(&hash, body, BODY_SIZE);
    trib_hash_final(&hash, ret_chain, TRIB_DIGEST_SIZE);
}

// ---- The head

static void head_mac(const struct trib_ledger_file *file, const uint8_t *body,
                     uint8_t ret_mac[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    trib_hash_init(&hash, file->head_key, sizeof(file->head_key), TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, body, HEAD_BODY_SIZE);
    trib_hash_final(&hash, ret_mac, TRIB_DIGEST_SIZE);
}

static enum trib_err write_head(const struct trib_ledger_file *file)
{
    uint8_t head[TRIB_LEDGER_HEAD_SIZE];
    memcpy(head, head_magic, sizeof(head_magic));
    trib_store_le64(head + 8, file->count);
    memcpy(head + 16, file->chain, TRIB_DIGEST_SIZE);
    head_mac(file, head, head + HEAD_BODY_SIZE);
    return trib_file_write(file->head_path, head, sizeof(head), FILE_MODE);
}

// How many records were promised, and the chain's value there.
static enum trib_err read_head(const struct trib_ledger_file *file, uint64_t *ret_count,
                               uint8_t ret_chain[static TRIB_DIGEST_SIZE])
{
    uint8_t mac[TRIB_DIGEST_SIZE];
    struct trib_buf buf = {0};
    enum trib_err err = trib_file_read(file->head_path, TRIB_LEDGER_HEAD_SIZE, &buf);
    if (err && err != TRIB_ERR_LIMIT && err != TRIB_ERR_DATA)
        return err;
    bool is_good = !err && buf.size == TRIB_LEDGER_HEAD_SIZE &&
                   memcmp(buf.data, head_magic, sizeof(head_magic)) == 0;
    if (is_good) {
        head_mac(file, buf.data, mac);
        is_good = memcmp(mac, buf.data + HEAD_BODY_SIZE, sizeof(mac)) == 0;
    }
    if (is_good) {
        *ret_count = trib_load_le64(buf.data + 8);
        memcpy(ret_chain, buf.data + 16, TRIB_DIGEST_SIZE);
    }
    trib_buf_fini(&buf);
    return is_good ? TRIB_OK : tampered(file, "its head, privacy.head, was changed");
}

// ---- Reading

// Exactly `size` bytes at `offset`, which are there.
static enum trib_err read_at(const struct trib_ledger_file *file, uint64_t offset, uint8_t *data,
                             size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t got = pread(file->fd, data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure(file, "cannot read");
        if (got == 0)
            return tampered(file, "records are missing at its end");
        done += (size_t)got;
    }
    return TRIB_OK;
}

// The next record of the chain; false if it is not.
static bool take(struct trib_ledger_file *file,
                 const uint8_t record[static TRIB_LEDGER_RECORD_SIZE],
                 struct trib_ledger_entry *ret_entry)
{
    uint8_t chain[TRIB_DIGEST_SIZE];
    next_chain(file, record, chain);
    if (memcmp(chain, record + BODY_SIZE, sizeof(chain)) != 0)
        return false;
    unpack(record, ret_entry);
    if (ret_entry->sequence != file->count + 1)
        return false;
    memcpy(file->chain, chain, sizeof(chain));
    file->count++;
    return true;
}

static enum trib_err read_promised(struct trib_ledger_file *file, uint64_t count,
                                   trib_ledger_visit_fn visit, void *user)
{
    struct trib_ledger_entry entry;
    enum trib_err err = TRIB_OK;
    uint8_t *records = trib_alloc((size_t)STEP * TRIB_LEDGER_RECORD_SIZE);
    if (!records)
        return TRIB_ERR_NOMEM;
    while (!err && file->count < count) {
        const uint64_t left = count - file->count;
        const size_t step = left < STEP ? (size_t)left : STEP;
        err = read_at(file, file->count * TRIB_LEDGER_RECORD_SIZE, records,
                      step * TRIB_LEDGER_RECORD_SIZE);
        for (size_t i = 0; !err && i < step; i++) {
            if (take(file, records + i * TRIB_LEDGER_RECORD_SIZE, &entry))
                visit(user, &entry);
            else
                err = tampered(file, "a record was changed, or is not where it belongs");
        }
    }
    free(records);
    return err;
}

// What lies behind the promised records: what a crash may leave there, or tampering.
static enum trib_err read_tail(struct trib_ledger_file *file, uint64_t size, bool is_reader,
                               trib_ledger_visit_fn visit, void *user)
{
    uint8_t record[TRIB_LEDGER_RECORD_SIZE];
    struct trib_ledger_entry entry;
    const uint64_t end = file->count * TRIB_LEDGER_RECORD_SIZE;
    if (is_reader || size == end)
        return TRIB_OK; // a reader meets the writer at its work
    if (size - end > TRIB_LEDGER_RECORD_SIZE)
        return tampered(file, "its head, privacy.head, is older than its records");
    if (size - end == TRIB_LEDGER_RECORD_SIZE) {
        enum trib_err err = read_at(file, end, record, sizeof(record));
        if (err)
            return err;
        if (take(file, record, &entry)) {
            visit(user, &entry);
            // Not yet synced for all we know, and the head must never be ahead.
            return fsync(file->fd) ? failure(file, "cannot fsync") : write_head(file);
        }
    }
    TRIB_INFO("%s: an entry that a crash cut short is dropped", file->path);
    if (ftruncate(file->fd, (off_t)end) || fsync(file->fd))
        return failure(file, "cannot be cut");
    return TRIB_OK;
}

static enum trib_err read_all(struct trib_ledger_file *file, bool is_reader,
                              trib_ledger_visit_fn visit, void *user)
{
    struct stat info;
    uint64_t count = 0;
    uint8_t chain[TRIB_DIGEST_SIZE];
    enum trib_err err = read_head(file, &count, chain);
    if (err)
        return err;
    if (fstat(file->fd, &info))
        return failure(file, "cannot stat");
    const uint64_t size = (uint64_t)info.st_size;
    if (count > size / TRIB_LEDGER_RECORD_SIZE)
        return tampered(file, "records are missing at its end");
    err = read_promised(file, count, visit, user);
    if (!err && memcmp(chain, file->chain, sizeof(chain)) != 0)
        err = tampered(file, "its records are not those that its head, privacy.head, knows");
    return err ? err : read_tail(file, size, is_reader, visit, user);
}

// ---- Opening and writing

// The files, made when there are none: the head first.
static enum trib_err open_files(struct trib_ledger_file *file, const char *dir, bool is_reader)
{
    const bool has_head = trib_file_exists(file->head_path);
    if (!has_head && trib_file_exists(file->path))
        return tampered(file, "its head, privacy.head, is gone");
    if (!has_head && is_reader)
        return TRIB_ERR_STATE;
    enum trib_err err = has_head ? TRIB_OK : write_head(file);
    if (err)
        return err;
    TRIB_CRASH_POINT("ledger.begun");
    file->fd = is_reader ? open(file->path, O_RDONLY | O_CLOEXEC)
                         : open(file->path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (file->fd < 0 && is_reader && errno == ENOENT)
        return tampered(file, "is gone");
    if (file->fd < 0)
        return failure(file, "cannot open");
    return is_reader ? TRIB_OK : trib_dir_sync(dir);
}

enum trib_err trib_ledger_file_open(struct trib_ledger_file *file,
                                    const struct trib_ledger_options *options,
                                    trib_ledger_visit_fn visit, void *user)
{
    *file = (struct trib_ledger_file){.fd = -1};
    enum trib_err err = trib_path_join(file->path, options->dir, "privacy.ledger");
    if (!err)
        err = trib_path_join(file->head_path, options->dir, "privacy.head");
    if (err)
        return err;
    derive(options->secret, "tributary ledger chain 1", file->chain_key);
    derive(options->secret, "tributary ledger head 1", file->head_key);
    derive(file->chain_key, "tributary ledger start 1", file->chain);
    err = open_files(file, options->dir, options->is_reader);
    if (err == TRIB_ERR_STATE)
        return TRIB_OK; // a reader, and nothing was ever written
    return err ? err : read_all(file, options->is_reader, visit, user);
}

static enum trib_err write_at(const struct trib_ledger_file *file, uint64_t offset,
                              const uint8_t *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t put = pwrite(file->fd, data + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return failure(file, "cannot write");
        done += (size_t)put;
    }
    return TRIB_OK;
}

enum trib_err trib_ledger_file_append(struct trib_ledger_file *file,
                                      const struct trib_ledger_entry *entry)
{
    uint8_t record[TRIB_LEDGER_RECORD_SIZE];
    const uint64_t offset = file->count * TRIB_LEDGER_RECORD_SIZE;
    pack(entry, record);
    next_chain(file, record, record + BODY_SIZE);
    TRIB_CRASH_POINT("ledger.before");
    enum trib_err err = write_at(file, offset, record, sizeof(record));
    if (err)
        return err;
    TRIB_CRASH_POINT("ledger.written");
    if (fsync(file->fd)) { // never retried: the kernel may have dropped the dirty pages
        file->is_unsynced = true;
        return failure(file, "cannot fsync");
    }
    TRIB_CRASH_POINT("ledger.synced");
    memcpy(file->chain, record + BODY_SIZE, TRIB_DIGEST_SIZE);
    file->count++;
    err = write_head(file);
    TRIB_CRASH_POINT("ledger.durable");
    return err;
}

void trib_ledger_file_close(struct trib_ledger_file *file)
{
    if (file->fd >= 0)
        (void)close(file->fd);
    trib_wipe(file, sizeof(*file));
    file->fd = -1;
}
