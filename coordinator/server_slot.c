// Slots of the open round's segment: who has which, and those that the disk does not take.
#include <inttypes.h>

#include "common/base/log.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "upload"

enum {
    FAILURES_MAX = 3 // of one slot, before it is not used any more: one may have been of a moment
};

static uint32_t take_free(struct trib_round_run *run)
{
    const uint32_t count = trib_segment_slot_count(run->segment);
    uint32_t best = UINT32_MAX;
    for (uint32_t slot = 0; slot < count; slot++) {
        const struct trib_slot_use *use = &run->slots[slot];
        if (use->is_used || use->failures == FAILURES_MAX)
            continue;
        if (best == UINT32_MAX || use->failures < run->slots[best].failures)
            best = slot;
        if (use->failures == 0)
            break;
    }
    if (best != UINT32_MAX)
        run->slots[best].is_used = true;
    return best;
}

// Has this upload broken off, of a lease that is over or also of one that is not, and is its slot in the way?
static bool is_in_the_way(const struct trib_round_run *run, uint32_t member, bool also_open)
{
    const struct trib_member_upload *upload = &run->uploads[member];
    return upload->state == TRIB_UPLOAD_BROKEN && upload->slot != UINT32_MAX &&
           (also_open || trib_leases_is_over(run->members[member].lease));
}

uint32_t trib_slots_take(struct trib_server *server)
{
    struct trib_round_run *run = server->run;
    uint32_t slot = take_free(run);
    for (int also_open = 0; also_open < 2; also_open++) {
        for (uint32_t i = 0; i < run->round.member_count && slot == UINT32_MAX; i++) {
            if (!is_in_the_way(run, i, also_open))
                continue;
            trib_upload_release(server, i); // who comes back begins anew
            slot = take_free(run);
        }
    }
    return slot;
}

uint32_t trib_slots_usable(const struct trib_round_run *run)
{
    const uint32_t count = trib_segment_slot_count(run->segment);
    uint32_t usable = 0;
    for (uint32_t slot = 0; slot < count; slot++)
        usable += run->slots[slot].failures < FAILURES_MAX;
    return usable;
}

void trib_slots_fail(struct trib_server *server, uint32_t slot)
{
    struct trib_round_run *run = server->run;
    run->slots[slot].failures++;
    if (run->slots[slot].failures != FAILURES_MAX)
        return;
    const uint32_t usable = trib_slots_usable(run);
    TRIB_ERROR("id=slot-unusable round=%" PRIu64 " slot=%" PRIu32
               " cannot be written again and again; %" PRIu32 " are left",
               run->number, slot, usable);
    if (usable < run->plan.accepted_min)
        (void)!trib_rounds_step(server,
                                &(struct trib_round_input){.event = TRIB_ROUND_EV_CANCEL,
                                                           .reason = TRIB_ROUND_REASON_STORAGE});
}
