#include "coordinator/audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"

static const char start_context[] = "tributary audit start v1";
static const char record_context[] = "tributary audit record v1";
static const char checkpoint_context[] = "tributary audit checkpoint v1";

void trib_audit_begin(const uint8_t release_key[static TRIB_SIGN_KEY_SIZE],
                      uint8_t ret_hash[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, start_context, sizeof(start_context));
    trib_hash_update(&hash, release_key, TRIB_SIGN_KEY_SIZE);
    trib_hash_final(&hash, ret_hash, TRIB_DIGEST_SIZE);
}

static void add_number(struct trib_hash *hash, uint64_t value)
{
    uint8_t bytes[8];
    trib_store_le64(bytes, value);
    trib_hash_update(hash, bytes, sizeof(bytes));
}

static void add_text(struct trib_hash *hash, const char *text)
{
    const size_t size = strlen(text);
    uint8_t bytes[4];
    trib_store_le32(bytes, (uint32_t)size);
    trib_hash_update(hash, bytes, sizeof(bytes));
    trib_hash_update(hash, text, size);
}

void trib_audit_link(uint8_t hash[static TRIB_DIGEST_SIZE], const struct trib_audit_record *record)
{
    struct trib_hash next;
    trib_hash_init(&next, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&next, record_context, sizeof(record_context));
    trib_hash_update(&next, hash, TRIB_DIGEST_SIZE);
    add_number(&next, record->number);
    add_number(&next, record->time_ms);
    add_text(&next, record->actor);
    add_text(&next, record->role);
    add_text(&next, record->action);
    add_text(&next, record->subject);
    add_text(&next, record->outcome);
    trib_hash_final(&next, hash, TRIB_DIGEST_SIZE);
}

// What a checkpoint signs.
static void fill_claim(uint64_t number, const uint8_t hash[static TRIB_DIGEST_SIZE],
                       uint8_t claim[static 8 + TRIB_DIGEST_SIZE])
{
    trib_store_le64(claim, number);
    memcpy(claim + 8, hash, TRIB_DIGEST_SIZE);
}

void trib_audit_sign(const uint8_t seed[static TRIB_SIGN_SEED_SIZE], uint64_t number,
                     const uint8_t hash[static TRIB_DIGEST_SIZE],
                     uint8_t ret_signature[static TRIB_SIGNATURE_SIZE])
{
    uint8_t claim[8 + TRIB_DIGEST_SIZE];
    fill_claim(number, hash, claim);
    trib_sign(seed, checkpoint_context, claim, sizeof(claim), ret_signature);
}

// ---- Checking

void trib_audit_check_init(struct trib_audit_check *check,
                           const uint8_t release_key[static TRIB_SIGN_KEY_SIZE])
{
    *check = (struct trib_audit_check){.release_key = release_key};
    trib_audit_begin(release_key, check->hash);
}

static void __attribute__((format(printf, 3, 4)))
break_at(struct trib_audit_check *check, uint64_t number, const char *format, ...)
{
    va_list args;
    check->is_broken = true;
    check->broken_at = number;
    va_start(args, format);
    (void)vsnprintf(check->what, sizeof(check->what), format, args);
    va_end(args);
}

// By the key that signed the one before, or by one that came after it: never by one before.
static bool is_signed(struct trib_audit_check *check, const uint8_t *claim, size_t size,
                      const uint8_t signature[static TRIB_SIGNATURE_SIZE])
{
    if (trib_sign_verify(check->release_key, checkpoint_context, claim, size, signature))
        return true;
    for (size_t i = 0; i < check->later_count; i++) {
        const uint8_t *key = check->later[i].release_key;
        if (!trib_sign_verify(key, checkpoint_context, claim, size, signature))
            continue;
        check->release_key = key;
        check->later += i + 1;
        check->later_count -= i + 1;
        return true;
    }
    return false;
}

static void check_checkpoint(struct trib_audit_check *check, const struct trib_audit_row *row)
{
    const uint64_t number = row->record.number;
    uint8_t claim[8 + TRIB_DIGEST_SIZE];
    fill_claim(number, row->signed_hash, claim);
    if (!is_signed(check, claim, sizeof(claim), row->signature)) {
        break_at(check, number,
                 "the checkpoint of record %" PRIu64 " is not signed by this "
                 "coordinator",
                 number);
    } else if (memcmp(row->signed_hash, check->hash, TRIB_DIGEST_SIZE) != 0) {
        break_at(check, number,
                 "a record from %" PRIu64 " to %" PRIu64 " was changed, and the chain made anew",
                 check->checked + 1, number);
    } else {
        check->checkpoints++;
        check->checked = number;
    }
}

void trib_audit_check_row(struct trib_audit_check *check, const struct trib_audit_row *row)
{
    const uint64_t wanted = check->records + 1;
    const uint64_t number = row->record.number;
    if (check->is_broken)
        return;
    if (number != wanted) {
        break_at(check, wanted, "record %" PRIu64 " is gone: the next one is %" PRIu64, wanted,
                 number);
        return;
    }
    trib_audit_link(check->hash, &row->record);
    if (memcmp(check->hash, row->hash, TRIB_DIGEST_SIZE) != 0) {
        break_at(check, number,
                 "record %" PRIu64
                 " is not the one that was written there: it was changed or moved",
                 number);
        return;
    }
    check->records = number;
    if (number == check->known && memcmp(check->hash, check->known_hash, TRIB_DIGEST_SIZE) != 0) {
        break_at(check, number, "record %" PRIu64 " has another hash than the one given", number);
        return;
    }
    if (row->has_checkpoint)
        check_checkpoint(check, row);
    else if (number % TRIB_AUDIT_INTERVAL == 0)
        break_at(check, number, "the checkpoint of record %" PRIu64 " is gone", number);
}

void trib_audit_check_end(struct trib_audit_check *check, uint64_t orphan)
{
    if (!check->is_broken && orphan == 0 && check->known > check->records)
        break_at(check, check->records + 1,
                 "record %" PRIu64
                 " is gone, and all behind it, though there was a record %" PRIu64,
                 check->records + 1, check->known);
    if (check->is_broken || orphan == 0)
        return;
    break_at(check, check->records + 1,
             "record %" PRIu64 " is gone, and all behind it, though a checkpoint signed record "
             "%" PRIu64,
             check->records + 1, orphan);
}
