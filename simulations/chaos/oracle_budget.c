// A device's ledger, read from its file as an outsider reads it (common/privacy/ledger_file.h).
#include <inttypes.h>
#include <stdio.h>

#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/privacy/ledger_file.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/oracle_parts.h"

enum {
    KIND_RESERVE = 1,
    AT_KIND = 8,
    AT_ROUND = 48,
    AT_REFUNDED = 56,
    AT_SEQUENCE = 0,
    LEDGER_MAX = 1 << 20,
};

static bool is_refunded(const struct trib_buf *file, uint64_t sequence)
{
    for (size_t at = 0; at + TRIB_LEDGER_RECORD_SIZE <= file->size; at += TRIB_LEDGER_RECORD_SIZE) {
        if (trib_load_le64(file->data + at + AT_REFUNDED) == sequence)
            return true;
    }
    return false;
}

void trib_oracle_budget(const struct trib_seen_update *update)
{
    const char *name = trib_chaos.members[update->member]->name;
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf file = {0};
    unsigned charges = 0;
    unsigned released = 0;
    if (trib_chaos.mode == TRIB_PRIVACY_OFF)
        return;
    (void)snprintf(path, sizeof(path), "%s/privacy.ledger", name);
    if (!trib_file_exists(path) || trib_file_read(path, LEDGER_MAX, &file))
        trib_chaos_fail("budget", "%s sends an update, and has no ledger", name);
    for (size_t at = 0; at + TRIB_LEDGER_RECORD_SIZE <= file.size; at += TRIB_LEDGER_RECORD_SIZE) {
        const uint8_t *record = file.data + at;
        charges += trib_load_le32(record + AT_KIND) == KIND_RESERVE &&
                   trib_load_le64(record + AT_ROUND) == update->begin.round_id &&
                   !is_refunded(&file, trib_load_le64(record + AT_SEQUENCE));
    }
    for (const struct trib_seen_update *u = trib_seen.updates; u; u = u->next)
        released += u->is_released && u->member == update->member &&
                    u->begin.round_id == update->begin.round_id;
    if (charges < released)
        trib_chaos_fail("budget", "%s sent %u updates of round %" PRIu64 " and charged %u", name,
                        released, update->begin.round_id, charges);
    trib_buf_fini(&file);
}
