#include "coordinator/round.h"

#include <assert.h>

static void assert_invariants(const struct trib_round *r)
{
    uint32_t sum = 0;
    for (int i = 0; i < TRIB_LEASE_STATES; i++)
        sum += r->leases[i];
    assert(sum == r->member_count);
    assert(r->member_count <= r->member_capacity);
    assert(r->leases[TRIB_LEASE_PENDING] + r->leases[TRIB_LEASE_COUNTED] <= r->plan.goal);
    if (r->state == TRIB_ROUND_SEALED || r->state == TRIB_ROUND_CONSISTENCY ||
        r->state == TRIB_ROUND_UNMASKING || r->state == TRIB_ROUND_AGGREGATING ||
        r->state == TRIB_ROUND_COMMITTED) {
        assert(r->leases[TRIB_LEASE_PENDING] == 0);
        assert(r->leases[TRIB_LEASE_OFFERED] == 0 && r->leases[TRIB_LEASE_TAKEN] == 0);
        assert(r->leases[TRIB_LEASE_COUNTED] >= r->plan.accepted_min);
    }
}

static void set_lease(struct trib_round *r, uint32_t member, enum trib_lease_state lease)
{
    r->leases[r->members[member].lease]--;
    r->members[member].lease = lease;
    r->leases[lease]++;
}

// Members that have counted or still may.
static uint32_t hopeful(const struct trib_round *r)
{
    return r->leases[TRIB_LEASE_TAKEN] + r->leases[TRIB_LEASE_PENDING] +
           r->leases[TRIB_LEASE_COUNTED];
}

static void enter(struct trib_round *r, enum trib_round_state state, uint64_t deadline_ms)
{
    r->state = state;
    r->deadline_ms = deadline_ms;
}

static void abandon(struct trib_round *r, enum trib_round_reason reason)
{
    enter(r, TRIB_ROUND_ABANDONED, UINT64_MAX);
    r->reason = reason;
}

// Leases that are still open get no further chance.
static void expire_open_leases(struct trib_round *r, bool also_taken)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        enum trib_lease_state lease = r->members[i].lease;
        if (lease == TRIB_LEASE_OFFERED || (also_taken && lease == TRIB_LEASE_TAKEN))
            set_lease(r, i, TRIB_LEASE_EXPIRED);
    }
}

static void seal(struct trib_round *r)
{
    expire_open_leases(r, true);
    enter(r, TRIB_ROUND_SEALED, UINT64_MAX);
}

// Has COLLECTING run its course?
static void settle_collecting(struct trib_round *r)
{
    uint32_t counted = r->leases[TRIB_LEASE_COUNTED];
    if (counted == r->plan.goal)
        seal(r);
    else if (hopeful(r) < r->plan.accepted_min)
        abandon(r, TRIB_ROUND_REASON_FEW_REPORTED);
    else if (hopeful(r) == counted) // nobody is left who could report
        seal(r);
}

// The steps that a member has done when the phase is over for it.
static uint8_t steps_wanted(enum trib_round_state phase)
{
    return phase == TRIB_ROUND_KEYS ? 1 : 2;
}

// Has KEYS or SHARES run its course?
static void settle_phase(struct trib_round *r, uint64_t now_ms)
{
    uint8_t wanted = steps_wanted(r->state);
    if (hopeful(r) < r->plan.accepted_min) {
        abandon(r, TRIB_ROUND_REASON_FEW_REPORTED);
        return;
    }
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].lease == TRIB_LEASE_TAKEN && r->members[i].steps < wanted)
            return;
    }
    enter(r, r->state == TRIB_ROUND_KEYS ? TRIB_ROUND_SHARES : TRIB_ROUND_COLLECTING,
          now_ms + r->plan.phase_ms);
}

static void begin_collecting(struct trib_round *r, uint64_t now_ms)
{
    expire_open_leases(r, false);
    if (hopeful(r) < r->plan.accepted_min) {
        abandon(r, TRIB_ROUND_REASON_FEW_SELECTED);
        return;
    }
    if (r->plan.is_masked) {
        enter(r, TRIB_ROUND_KEYS, now_ms + r->plan.report_ms);
        return;
    }
    enter(r, TRIB_ROUND_COLLECTING, now_ms + r->plan.report_ms);
    settle_collecting(r);
}

// Has SELECTING run its course?
static void settle_selecting(struct trib_round *r, uint64_t now_ms)
{
    if (r->leases[TRIB_LEASE_COUNTED] == r->plan.goal)
        seal(r);
    else if (hopeful(r) >= r->plan.offers)
        begin_collecting(r, now_ms);
    else if (r->is_exhausted && r->leases[TRIB_LEASE_OFFERED] == 0)
        begin_collecting(r, now_ms);
}

static void settle(struct trib_round *r, uint64_t now_ms)
{
    if (r->state == TRIB_ROUND_SELECTING)
        settle_selecting(r, now_ms);
    else if (r->state == TRIB_ROUND_COLLECTING)
        settle_collecting(r);
    else
        settle_phase(r, now_ms);
}

static enum trib_err offer(struct trib_round *r, uint64_t device)
{
    if (r->state != TRIB_ROUND_SELECTING)
        return TRIB_ERR_STATE;
    if (r->member_count == r->member_capacity)
        return TRIB_ERR_LIMIT;
    assert(trib_round_find(r, device) == UINT32_MAX);
    r->members[r->member_count++] =
        (struct trib_round_member){.device = device, .lease = TRIB_LEASE_OFFERED};
    r->leases[TRIB_LEASE_OFFERED]++;
    return TRIB_OK;
}

// A masked update makes sense only from a member that has shared its secrets.
static bool may_pend(const struct trib_round *r, const struct trib_round_member *member)
{
    if (!r->plan.is_masked)
        return true;
    return r->state == TRIB_ROUND_COLLECTING && member->steps == 2;
}

static enum trib_err advance(struct trib_round *r, uint32_t index)
{
    if (r->state != TRIB_ROUND_KEYS && r->state != TRIB_ROUND_SHARES)
        return TRIB_ERR_STATE;
    assert(index < r->member_count);
    struct trib_round_member *member = &r->members[index];
    if (member->lease != TRIB_LEASE_TAKEN || member->steps + 1 != steps_wanted(r->state))
        return TRIB_ERR_STATE;
    member->steps++;
    return TRIB_OK;
}

static enum trib_err step_member(struct trib_round *r, const struct trib_round_input *input)
{
    assert(input->member < r->member_count);
    struct trib_round_member *member = &r->members[input->member];
    bool is_open = member->lease == TRIB_LEASE_OFFERED || member->lease == TRIB_LEASE_TAKEN;
    enum trib_lease_state next = member->lease;

    if (input->event == TRIB_ROUND_EV_TAKE && member->lease == TRIB_LEASE_OFFERED)
        next = TRIB_LEASE_TAKEN;
    else if (input->event == TRIB_ROUND_EV_RELEASE && is_open)
        next = TRIB_LEASE_RELEASED;
    else if (input->event == TRIB_ROUND_EV_PEND && is_open && may_pend(r, member))
        next = TRIB_LEASE_PENDING;
    else if (input->event == TRIB_ROUND_EV_COUNT && member->lease == TRIB_LEASE_PENDING)
        next = TRIB_LEASE_COUNTED;
    else if (input->event == TRIB_ROUND_EV_REFUSE &&
             (is_open || member->lease == TRIB_LEASE_PENDING))
        next = TRIB_LEASE_REFUSED;
    else
        return TRIB_ERR_STATE;

    if (next == TRIB_LEASE_PENDING &&
        r->leases[TRIB_LEASE_PENDING] + r->leases[TRIB_LEASE_COUNTED] == r->plan.goal)
        return TRIB_ERR_LIMIT;
    if (next == TRIB_LEASE_REFUSED || next == TRIB_LEASE_RELEASED)
        member->code = input->code;
    set_lease(r, input->member, next);
    return TRIB_OK;
}

static void tick(struct trib_round *r, uint64_t now_ms)
{
    if (now_ms < r->deadline_ms)
        return;
    if (r->state == TRIB_ROUND_SELECTING) {
        r->is_exhausted = true;
        begin_collecting(r, now_ms);
        return;
    }
    if (r->state != TRIB_ROUND_COLLECTING) {
        uint8_t wanted = steps_wanted(r->state);
        for (uint32_t i = 0; i < r->member_count; i++) {
            if (r->members[i].lease == TRIB_LEASE_TAKEN && r->members[i].steps < wanted)
                set_lease(r, i, TRIB_LEASE_EXPIRED);
        }
        settle_phase(r, now_ms);
        return;
    }
    r->is_closing = true; // PENDING ones are valid and in time: they may still become durable
    expire_open_leases(r, true);
    settle_collecting(r);
}

static enum trib_err step_open(struct trib_round *r, const struct trib_round_input *input,
                               uint64_t now_ms)
{
    enum trib_err err = TRIB_OK;

    switch (input->event) {
    case TRIB_ROUND_EV_OFFER: return offer(r, input->device);
    case TRIB_ROUND_EV_EXHAUSTED:
        if (r->state != TRIB_ROUND_SELECTING)
            return TRIB_ERR_STATE;
        r->is_exhausted = true;
        break;
    case TRIB_ROUND_EV_TAKE:
    case TRIB_ROUND_EV_RELEASE:
    case TRIB_ROUND_EV_PEND:
    case TRIB_ROUND_EV_COUNT:
    case TRIB_ROUND_EV_REFUSE:
        err = step_member(r, input);
        if (err)
            return err;
        break;
    case TRIB_ROUND_EV_ADVANCE:
        err = advance(r, input->member);
        if (err)
            return err;
        break;
    case TRIB_ROUND_EV_TICK: tick(r, now_ms); return TRIB_OK;
    case TRIB_ROUND_EV_ENOUGH:
    case TRIB_ROUND_EV_OPENED:
    case TRIB_ROUND_EV_SEAL_DURABLE:
    case TRIB_ROUND_EV_COMMIT_DURABLE:
    case TRIB_ROUND_EV_CANCEL: return TRIB_ERR_STATE;
    }
    settle(r, now_ms);
    return TRIB_OK;
}

enum trib_err trib_round_init(struct trib_round *round, const struct trib_round_plan *plan,
                              struct trib_round_member *members, uint32_t capacity)
{
    assert(round && plan && members);

    if (plan->goal == 0 || plan->accepted_min == 0 || plan->accepted_min > plan->goal ||
        plan->offers < plan->goal || plan->select_ms == 0 || plan->report_ms == 0)
        return TRIB_ERR_INVAL;
    if (plan->is_masked && (plan->offers != plan->goal || plan->phase_ms == 0))
        return TRIB_ERR_INVAL;
    *round = (struct trib_round){
        .plan = *plan,
        .state = TRIB_ROUND_PLANNED,
        .deadline_ms = UINT64_MAX,
        .members = members,
        .member_capacity = capacity,
    };
    return TRIB_OK;
}

// SEALED and what comes after it, up to AGGREGATING.
static enum trib_err step_sealed(struct trib_round *r, enum trib_round_event event, uint64_t now_ms)
{
    if (r->state == TRIB_ROUND_SEALED && event == TRIB_ROUND_EV_SEAL_DURABLE) {
        if (r->plan.is_masked)
            enter(r, TRIB_ROUND_CONSISTENCY, now_ms + r->plan.phase_ms);
        else
            enter(r, TRIB_ROUND_AGGREGATING, UINT64_MAX);
        return TRIB_OK;
    }
    if (r->state == TRIB_ROUND_SEALED)
        return TRIB_ERR_STATE;
    if (event == TRIB_ROUND_EV_ENOUGH && r->state == TRIB_ROUND_CONSISTENCY)
        enter(r, TRIB_ROUND_UNMASKING, now_ms + r->plan.phase_ms);
    else if (event == TRIB_ROUND_EV_ENOUGH)
        enter(r, TRIB_ROUND_AGGREGATING, UINT64_MAX);
    else if (event != TRIB_ROUND_EV_TICK)
        return TRIB_ERR_STATE;
    else if (now_ms >= r->deadline_ms)
        abandon(r, TRIB_ROUND_REASON_FEW_UNMASKED);
    return TRIB_OK;
}

enum trib_err trib_round_step(struct trib_round *round, const struct trib_round_input *input,
                              uint64_t now_ms)
{
    enum trib_err err = TRIB_ERR_STATE;

    if (input->event == TRIB_ROUND_EV_CANCEL && !trib_round_is_final(round)) {
        abandon(round, input->reason);
        assert_invariants(round);
        return TRIB_OK;
    }
    switch (round->state) {
    case TRIB_ROUND_PLANNED:
        if (input->event == TRIB_ROUND_EV_OPENED) {
            enter(round, TRIB_ROUND_SELECTING, now_ms + round->plan.select_ms);
            err = TRIB_OK;
        }
        break;
    case TRIB_ROUND_SELECTING:
    case TRIB_ROUND_KEYS:
    case TRIB_ROUND_SHARES:
    case TRIB_ROUND_COLLECTING: err = step_open(round, input, now_ms); break;
    case TRIB_ROUND_SEALED:
    case TRIB_ROUND_CONSISTENCY:
    case TRIB_ROUND_UNMASKING: err = step_sealed(round, input->event, now_ms); break;
    case TRIB_ROUND_AGGREGATING:
        if (input->event == TRIB_ROUND_EV_COMMIT_DURABLE) {
            enter(round, TRIB_ROUND_COMMITTED, UINT64_MAX);
            err = TRIB_OK;
        }
        break;
    case TRIB_ROUND_COMMITTED:
    case TRIB_ROUND_ABANDONED: break;
    }
    assert_invariants(round);
    return err;
}

uint32_t trib_round_offers_wanted(const struct trib_round *round)
{
    if (round->state != TRIB_ROUND_SELECTING || round->is_exhausted)
        return 0;
    uint32_t have = hopeful(round) + round->leases[TRIB_LEASE_OFFERED];
    return have < round->plan.offers ? round->plan.offers - have : 0;
}

uint32_t trib_round_find(const struct trib_round *round, uint64_t device)
{
    for (uint32_t i = 0; i < round->member_count; i++) {
        if (round->members[i].device == device)
            return i;
    }
    return UINT32_MAX;
}

void trib_round_resume(struct trib_round *round, bool is_sealed, uint64_t now_ms)
{
    assert(round->state == TRIB_ROUND_PLANNED);
    for (int i = 0; i < TRIB_LEASE_STATES; i++)
        round->leases[i] = 0;
    for (uint32_t i = 0; i < round->member_count; i++) {
        struct trib_round_member *member = &round->members[i];
        bool is_open = member->lease == TRIB_LEASE_TAKEN || member->lease == TRIB_LEASE_PENDING ||
                       member->lease == TRIB_LEASE_OFFERED;
        if (is_open)
            member->lease = is_sealed ? TRIB_LEASE_EXPIRED : TRIB_LEASE_OFFERED;
        round->leases[member->lease]++;
    }
    if (is_sealed && round->plan.is_masked) {
        enter(round, TRIB_ROUND_CONSISTENCY, now_ms + round->plan.phase_ms);
    } else if (is_sealed) {
        enter(round, TRIB_ROUND_AGGREGATING, UINT64_MAX);
    } else if (round->plan.is_masked) {
        abandon(round, TRIB_ROUND_REASON_RESTARTED);
    } else {
        enter(round, TRIB_ROUND_SELECTING, now_ms + round->plan.select_ms);
        settle_selecting(round, now_ms);
    }
    assert_invariants(round);
}

bool trib_round_is_final(const struct trib_round *round)
{
    return round->state == TRIB_ROUND_COMMITTED || round->state == TRIB_ROUND_ABANDONED;
}

bool trib_round_is_open(const struct trib_round *round)
{
    return round->state == TRIB_ROUND_SELECTING || round->state == TRIB_ROUND_KEYS ||
           round->state == TRIB_ROUND_SHARES || round->state == TRIB_ROUND_COLLECTING;
}

const char *trib_round_state_name(enum trib_round_state state)
{
    switch (state) {
    case TRIB_ROUND_PLANNED: return "planned";
    case TRIB_ROUND_SELECTING: return "selecting";
    case TRIB_ROUND_COLLECTING: return "collecting";
    case TRIB_ROUND_SEALED: return "sealed";
    case TRIB_ROUND_AGGREGATING: return "aggregating";
    case TRIB_ROUND_COMMITTED: return "committed";
    case TRIB_ROUND_ABANDONED: return "abandoned";
    case TRIB_ROUND_KEYS: return "keys";
    case TRIB_ROUND_SHARES: return "shares";
    case TRIB_ROUND_CONSISTENCY: return "consistency";
    case TRIB_ROUND_UNMASKING: return "unmasking";
    }
    return "unknown";
}

const char *trib_round_reason_name(enum trib_round_reason reason)
{
    switch (reason) {
    case TRIB_ROUND_REASON_NONE: return "none";
    case TRIB_ROUND_REASON_FEW_SELECTED: return "few_selected";
    case TRIB_ROUND_REASON_FEW_REPORTED: return "few_reported";
    case TRIB_ROUND_REASON_CANCELLED: return "cancelled";
    case TRIB_ROUND_REASON_FAILED: return "failed";
    case TRIB_ROUND_REASON_FEW_UNMASKED: return "few_unmasked";
    case TRIB_ROUND_REASON_RESTARTED: return "restarted";
    case TRIB_ROUND_REASON_NEWTON: return TRIB_ROUND_NEWTON_REFUSED;
    case TRIB_ROUND_REASON_SECAGG: return "secagg";
    case TRIB_ROUND_REASON_STORAGE: return "storage";
    }
    return "unknown";
}

const char *trib_lease_state_name(enum trib_lease_state state)
{
    switch (state) {
    case TRIB_LEASE_OFFERED: return "offered";
    case TRIB_LEASE_TAKEN: return "taken";
    case TRIB_LEASE_PENDING: return "pending";
    case TRIB_LEASE_COUNTED: return "counted";
    case TRIB_LEASE_REFUSED: return "refused";
    case TRIB_LEASE_EXPIRED: return "expired";
    case TRIB_LEASE_RELEASED: return "released";
    }
    return "unknown";
}
