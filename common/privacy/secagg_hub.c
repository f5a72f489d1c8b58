#include "common/privacy/secagg_hub.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/wipe.h"

enum trib_err trib_secagg_hub_create(const struct trib_secagg_header *header,
                                     const char *population, struct trib_secagg_hub **ret_hub)
{
    size_t population_size = strlen(population);

    if (population_size > TRIB_NAME_MAX)
        return TRIB_ERR_INVAL;
    enum trib_err err = trib_secagg_header_check(header);
    if (err)
        return err;
    struct trib_secagg_hub *hub = trib_alloc(sizeof(*hub));
    if (!hub)
        return TRIB_ERR_NOMEM;
    hub->seats = trib_alloc_array(header->plan.members, sizeof(*hub->seats));
    if (!hub->seats) {
        trib_secagg_hub_destroy(hub);
        return TRIB_ERR_NOMEM;
    }
    hub->header = *header;
    memcpy(hub->population, population, population_size);
    trib_secagg_round_hash(header, hub->round_hash);
    *ret_hub = hub;
    return TRIB_OK;
}

void trib_secagg_hub_destroy(struct trib_secagg_hub *hub)
{
    if (!hub)
        return;
    for (uint32_t i = 0; i < hub->count; i++) {
        if (hub->seats[i].reply)
            trib_wipe(hub->seats[i].reply, trib_secagg_hub_reply_size(hub, i));
        free(hub->seats[i].reply);
        free(hub->seats[i].sealed);
    }
    if (hub->masks)
        trib_wipe(hub->masks, hub->mask_capacity * sizeof(*hub->masks));
    free(hub->masks);
    trib_secagg_graph_fini(&hub->graph);
    free(hub->sets);
    free(hub->seats);
    free(hub);
}

// ---- R0

static bool is_same_key(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, TRIB_SECAGG_KEY_SIZE) == 0;
}

// Is some key of the one some key of the other? Members refuse that, whatever kind they are.
static bool keys_clash(const struct trib_secagg_entry *a, const struct trib_secagg_entry *b)
{
    const uint8_t *x[] = {a->sign_key, a->advert.mask_key, a->advert.share_key};
    const uint8_t *y[] = {b->sign_key, b->advert.mask_key, b->advert.share_key};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            if (is_same_key(x[i], y[j]) && (a != b || i != j))
                return true;
        }
    }
    return false;
}

enum trib_err trib_secagg_hub_advert(struct trib_secagg_hub *hub, uint32_t tag,
                                     const struct trib_secagg_entry *entry)
{
    if (hub->phase != TRIB_SECAGG_PHASE_KEYS)
        return TRIB_ERR_STATE;
    if (hub->count == hub->header.plan.members)
        return TRIB_ERR_LIMIT;
    if (trib_secagg_entry_check(&hub->header, hub->population, hub->round_hash, entry, NULL) !=
            TRIB_SECAGG_REASON_NONE ||
        keys_clash(entry, entry))
        return TRIB_ERR_AUTH;
    for (uint32_t i = 0; i < hub->count; i++) {
        const struct trib_secagg_entry *other = &hub->seats[i].entry;
        if (strcmp(other->name, entry->name) == 0 || keys_clash(other, entry))
            return TRIB_ERR_STATE;
    }
    hub->seats[hub->count++] = (struct trib_secagg_seat){.entry = *entry, .tag = tag};
    return TRIB_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct trib_secagg_seat *x = a;
    const struct trib_secagg_seat *y = b;
    return strcmp(x->entry.name, y->entry.name);
}

enum trib_err trib_secagg_hub_settle(struct trib_secagg_hub *hub)
{
    struct trib_hash hash;

    trib_secagg_cohort_init(&hash, hub->round_hash);
    for (uint32_t i = 0; i < hub->count; i++)
        trib_secagg_cohort_add(&hash, &hub->seats[i].entry);
    trib_hash_final(&hash, hub->cohort_hash, sizeof(hub->cohort_hash));
    size_t size = trib_secagg_set_size(hub->count);
    hub->sets = trib_alloc_array(3, size);
    if (!hub->sets)
        return TRIB_ERR_NOMEM;
    hub->shared_set = hub->sets;
    hub->survivor_set = hub->sets + size;
    hub->signer_set = hub->sets + 2 * size;
    enum trib_err err =
        trib_secagg_graph_init(&hub->graph, &hub->header.plan, hub->count, hub->cohort_hash);
    if (err) {
        free(hub->sets);
        hub->sets = NULL;
    }
    return err;
}

enum trib_err trib_secagg_hub_close_keys(struct trib_secagg_hub *hub)
{
    const struct trib_secagg_plan *plan = &hub->header.plan;

    if (hub->phase != TRIB_SECAGG_PHASE_KEYS || hub->count < plan->threshold ||
        hub->count < trib_secagg_share_threshold(plan))
        return TRIB_ERR_STATE;
    qsort(hub->seats, hub->count, sizeof(*hub->seats), compare_names);
    enum trib_err err = trib_secagg_hub_settle(hub);
    if (err)
        return err;
    hub->phase = TRIB_SECAGG_PHASE_SHARES;
    return TRIB_OK;
}

uint32_t trib_secagg_hub_count(const struct trib_secagg_hub *hub)
{
    return hub->count;
}

const struct trib_secagg_entry *trib_secagg_hub_entry(const struct trib_secagg_hub *hub,
                                                      uint32_t member)
{
    assert(member < hub->count);
    return &hub->seats[member].entry;
}

uint32_t trib_secagg_hub_tag(const struct trib_secagg_hub *hub, uint32_t member)
{
    assert(member < hub->count);
    return hub->seats[member].tag;
}

uint32_t trib_secagg_hub_find(const struct trib_secagg_hub *hub, uint32_t tag)
{
    for (uint32_t i = 0; i < hub->count; i++) {
        if (hub->seats[i].tag == tag)
            return i;
    }
    return UINT32_MAX;
}

// ---- R1

enum trib_err trib_secagg_hub_shares(struct trib_secagg_hub *hub, uint32_t member,
                                     const uint8_t *sealed, size_t size)
{
    assert(member < hub->count);
    struct trib_secagg_seat *seat = &hub->seats[member];

    if (hub->phase != TRIB_SECAGG_PHASE_SHARES)
        return TRIB_ERR_STATE;
    if (size != (size_t)hub->graph.degree * TRIB_SECAGG_SEALED_SIZE)
        return TRIB_ERR_DATA;
    if (seat->sealed)
        return TRIB_OK;
    seat->sealed = trib_alloc_array(1, size);
    if (!seat->sealed)
        return TRIB_ERR_NOMEM;
    memcpy(seat->sealed, sealed, size);
    trib_secagg_set_add(hub->shared_set, member);
    return TRIB_OK;
}

// Can every secret of U2 be put together by members of `set`? Fewer than T: no.
static bool set_is_enough(const struct trib_secagg_hub *hub, const uint8_t *set)
{
    if (trib_secagg_set_count(set, hub->count) < hub->header.plan.threshold)
        return false;
    for (uint32_t i = 0; i < hub->count; i++) {
        uint32_t holders =
            trib_secagg_graph_rank(&hub->graph, i, set, UINT32_MAX) + trib_secagg_has(set, i);
        if (trib_secagg_has(hub->shared_set, i) &&
            holders < trib_secagg_share_threshold(&hub->header.plan))
            return false;
    }
    return true;
}

enum trib_err trib_secagg_hub_close_shares(struct trib_secagg_hub *hub)
{
    if (hub->phase != TRIB_SECAGG_PHASE_SHARES || !set_is_enough(hub, hub->shared_set))
        return TRIB_ERR_STATE;
    hub->phase = TRIB_SECAGG_PHASE_MASKED;
    return TRIB_OK;
}

uint32_t trib_secagg_hub_sealed_for(const struct trib_secagg_hub *hub, uint32_t member,
                                    struct trib_buf *buf)
{
    assert(member < hub->count && hub->phase >= TRIB_SECAGG_PHASE_MASKED);
    uint32_t count = 0;

    for (uint32_t i = 0; i < hub->count; i++) {
        const uint8_t *sealed = hub->seats[i].sealed;
        if (!sealed || !trib_secagg_graph_is_edge(&hub->graph, i, member))
            continue;
        size_t rank = trib_secagg_graph_rank(&hub->graph, i, NULL, member);
        trib_buf_append(buf, sealed + rank * TRIB_SECAGG_SEALED_SIZE, TRIB_SECAGG_SEALED_SIZE);
        count++;
    }
    return count;
}

const uint8_t *trib_secagg_hub_shared_set(const struct trib_secagg_hub *hub)
{
    return hub->shared_set;
}

// ---- R2

enum trib_err trib_secagg_hub_masked(struct trib_secagg_hub *hub, uint32_t member)
{
    assert(member < hub->count);
    if (hub->phase != TRIB_SECAGG_PHASE_MASKED || !trib_secagg_has(hub->shared_set, member))
        return TRIB_ERR_STATE;
    trib_secagg_set_add(hub->survivor_set, member);
    return TRIB_OK;
}

void trib_secagg_hub_seal(struct trib_secagg_hub *hub)
{
    trib_secagg_seal_digest(hub->round_hash, hub->cohort_hash, hub->survivor_set, hub->count,
                            hub->seal_digest);
    hub->short_count = trib_secagg_set_count(hub->shared_set, hub->count);
    hub->phase = TRIB_SECAGG_PHASE_UNMASK;
}

enum trib_err trib_secagg_hub_close_masked(struct trib_secagg_hub *hub)
{
    if (hub->phase != TRIB_SECAGG_PHASE_MASKED || !set_is_enough(hub, hub->survivor_set))
        return TRIB_ERR_STATE;
    for (uint32_t i = 0; i < hub->count; i++) { // delivered, or never will be
        free(hub->seats[i].sealed);
        hub->seats[i].sealed = NULL;
    }
    trib_secagg_hub_seal(hub);
    return TRIB_OK;
}

const uint8_t *trib_secagg_hub_survivor_set(const struct trib_secagg_hub *hub)
{
    return hub->survivor_set;
}

const uint8_t *trib_secagg_hub_seal_digest(const struct trib_secagg_hub *hub)
{
    return hub->seal_digest;
}

// ---- R3

enum trib_err trib_secagg_hub_consent(struct trib_secagg_hub *hub, uint32_t member,
                                      const uint8_t signature[static TRIB_SIGNATURE_SIZE])
{
    assert(member < hub->count);
    struct trib_secagg_seat *seat = &hub->seats[member];

    if (hub->phase != TRIB_SECAGG_PHASE_UNMASK)
        return TRIB_ERR_STATE;
    if (!trib_secagg_has(hub->survivor_set, member) ||
        !trib_sign_verify(seat->entry.sign_key, TRIB_SECAGG_CONSENT_CONTEXT, hub->seal_digest,
                          sizeof(hub->seal_digest), signature))
        return TRIB_ERR_AUTH;
    memcpy(seat->consent, signature, sizeof(seat->consent)); // Ed25519: the same, if for the
    trib_secagg_set_add(hub->signer_set, member);            // second time
    return TRIB_OK;
}

bool trib_secagg_hub_has_consent(const struct trib_secagg_hub *hub)
{
    return trib_secagg_set_count(hub->signer_set, hub->count) >= hub->header.plan.threshold;
}

const uint8_t *trib_secagg_hub_signer_set(const struct trib_secagg_hub *hub)
{
    return hub->signer_set;
}

void trib_secagg_hub_signatures(const struct trib_secagg_hub *hub, struct trib_buf *buf)
{
    for (uint32_t i = 0; i < hub->count; i++) {
        if (trib_secagg_has(hub->signer_set, i))
            trib_buf_append(buf, hub->seats[i].consent, sizeof(hub->seats[i].consent));
    }
}

// ---- R4

size_t trib_secagg_hub_reply_size(const struct trib_secagg_hub *hub, uint32_t member)
{
    uint32_t peers = trib_secagg_graph_rank(&hub->graph, member, hub->shared_set, UINT32_MAX);
    return (size_t)(peers + 1) * TRIB_SECAGG_SHARE_SIZE;
}

enum trib_err trib_secagg_hub_unmask(struct trib_secagg_hub *hub, uint32_t member,
                                     const uint8_t *shares, size_t size)
{
    assert(member < hub->count);
    uint32_t threshold = trib_secagg_share_threshold(&hub->header.plan);
    struct trib_secagg_seat *seat = &hub->seats[member];

    if (hub->phase != TRIB_SECAGG_PHASE_UNMASK || !trib_secagg_has(hub->survivor_set, member))
        return TRIB_ERR_STATE;
    if (size != trib_secagg_hub_reply_size(hub, member))
        return TRIB_ERR_DATA;
    if (seat->reply)
        return TRIB_OK;
    seat->reply = trib_alloc_array(1, size);
    if (!seat->reply)
        return TRIB_ERR_NOMEM;
    memcpy(seat->reply, shares, size);
    for (uint32_t i = 0; i < hub->count; i++) {
        if (!trib_secagg_has(hub->shared_set, i) ||
            (i != member && !trib_secagg_graph_is_edge(&hub->graph, i, member)))
            continue;
        if (++hub->seats[i].have == threshold)
            hub->short_count--;
    }
    return TRIB_OK;
}

bool trib_secagg_hub_can_open(const struct trib_secagg_hub *hub)
{
    return hub->phase >= TRIB_SECAGG_PHASE_UNMASK && hub->short_count == 0;
}
