// Whoever is told that its update does not count throws it away: then the store knows, so that a
// coordinator that dies does not offer it the round again.
#include <inttypes.h>

#include "coordinator/server_state.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/oracle_parts.h"

// The newest round, as it is durable. All before it are over.
static uint64_t round_id;
static uint32_t state;
static bool is_open[TRIB_CHAOS_MEMBERS]; // its lease

static void take_round(void *user, const struct trib_store_round *row)
{
    (void)user;
    round_id = row->id;
    state = row->state;
}

static void take_lease(void *user, const struct trib_store_lease *lease, const char *name)
{
    const int member = trib_chaos_member(name);
    (void)user;
    if (member >= 0)
        is_open[member] = lease->state <= TRIB_LEASE_PENDING;
}

enum trib_err trib_oracle_leases(struct trib_store *store)
{
    enum trib_err err = trib_store_round_get(store, 0, take_round, NULL);
    for (int i = 0; i < TRIB_CHAOS_MEMBERS; i++)
        is_open[i] = false;
    return err || round_id == 0 ? err : trib_store_leases(store, round_id, take_lease, NULL);
}

void trib_oracle_final(int member, uint64_t round, enum trib_code code)
{
    // What it says of another update, or of any; and a masked round does not outlive its coordinator.
    if (trib_code_class(code) != TRIB_CODE_CLASS_NEVER || code == TRIB_CODE_CONFLICT ||
        trib_chaos.mode == TRIB_PRIVACY_DISTRIBUTED || round != round_id)
        return;
    // It is stored as PLANNED or SELECTING until it is sealed.
    if (state <= TRIB_ROUND_COLLECTING && is_open[member])
        trib_chaos_fail("final", "%s was told %s in round %" PRIu64 ", and may be asked again",
                        trib_chaos.members[member]->name, trib_code_text(code), round);
}
