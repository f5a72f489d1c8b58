// A stream of events for a round: the first bytes make its plan, then five bytes an event. Whatever
// comes, in whatever order, the round's own assertions hold, a final state stays, what is refused
// changes nothing, and nobody is counted twice.
#include <stdlib.h>
#include <string.h>

#include "coordinator/round.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MEMBERS_MAX = 24,
    PLAN_SIZE = 6,
    EVENT_SIZE = 5,
};

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

static struct trib_round_input event_of(const uint8_t *bytes)
{
    return (struct trib_round_input){
        .event = (enum trib_round_event)(bytes[0] % (TRIB_ROUND_EV_CANCEL + 1)),
        .device = bytes[1] % (MEMBERS_MAX + 4),
        .member = bytes[2] % (MEMBERS_MAX + 2),
        .code = bytes[3] & 1 ? TRIB_CODE_REVOKED : TRIB_CODE_DECLINED_FAILED,
        .reason = bytes[3] & 2 ? TRIB_ROUND_REASON_CANCELLED : TRIB_ROUND_REASON_FAILED,
    };
}

// What the caller of the state machine promises: members that there are, devices that are new.
static bool is_sound(const struct trib_round *round, const struct trib_round_input *input)
{
    const enum trib_round_event event = input->event;
    if (event == TRIB_ROUND_EV_OFFER)
        return round->member_count < round->member_capacity &&
               trib_round_find(round, input->device) == UINT32_MAX;
    const bool has_member = event == TRIB_ROUND_EV_TAKE || event == TRIB_ROUND_EV_RELEASE ||
                            event == TRIB_ROUND_EV_PEND || event == TRIB_ROUND_EV_COUNT ||
                            event == TRIB_ROUND_EV_REFUSE || event == TRIB_ROUND_EV_ADVANCE;
    return !has_member || input->member < round->member_count;
}

static void check(const struct trib_round *before, const struct trib_round *round,
                  const struct trib_round_member *were, enum trib_err err)
{
    uint32_t leases[TRIB_LEASE_STATES] = {0};
    if (err) {
        require(memcmp(before, round, sizeof(*round)) == 0);
        require(memcmp(were, round->members, MEMBERS_MAX * sizeof(*were)) == 0);
    }
    if (trib_round_is_final(before))
        require(round->state == before->state && round->reason == before->reason);
    for (uint32_t i = 0; i < round->member_count; i++) {
        const enum trib_lease_state lease = round->members[i].lease;
        leases[lease]++;
        if (i < before->member_count && were[i].lease == TRIB_LEASE_COUNTED)
            require(lease == TRIB_LEASE_COUNTED);
    }
    require(memcmp(leases, round->leases, sizeof(leases)) == 0);
    require(leases[TRIB_LEASE_PENDING] + leases[TRIB_LEASE_COUNTED] <= round->plan.goal);
    require((round->state == TRIB_ROUND_ABANDONED) == (round->reason != TRIB_ROUND_REASON_NONE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trib_round_member members[MEMBERS_MAX] = {{0}};
    struct trib_round_member were[MEMBERS_MAX];
    struct trib_round round, before;
    memset(&round, 0, sizeof(round)); // with what is between its fields
    uint64_t now = 1000;
    if (size < PLAN_SIZE)
        return 0;
    const struct trib_round_plan plan = {.goal = data[0] % MEMBERS_MAX,
                                         .offers = data[1] % MEMBERS_MAX,
                                         .accepted_min = data[2] % MEMBERS_MAX,
                                         .select_ms = data[3],
                                         .report_ms = data[4],
                                         .is_masked = data[5] & 1,
                                         .phase_ms = data[5]};
    if (trib_round_init(&round, &plan, members, MEMBERS_MAX))
        return 0;
    for (size_t at = PLAN_SIZE; at + EVENT_SIZE <= size; at += EVENT_SIZE) {
        const struct trib_round_input input = event_of(data + at);
        now += data[at + 4];
        if (!is_sound(&round, &input))
            continue;
        memcpy(were, members, sizeof(were));
        memcpy(&before, &round, sizeof(before));
        const enum trib_err err = trib_round_step(&round, &input, now);
        check(&before, &round, were, err);
        (void)trib_round_offers_wanted(&round);
    }
    return 0;
}
