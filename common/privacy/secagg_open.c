// The coordinator's last step: secrets from shares, masks from secrets.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/wipe.h"
#include "common/privacy/secagg_hub.h"

// Room to put secrets together, and the weights of the last set of points: when everybody is a
// neighbour all secrets have the same.
struct work {
    uint32_t threshold;
    uint32_t known;   // points that `weights` are for, 0: none
    uint32_t *points; // the holders' numbers + 1
    uint32_t *next;
    uint8_t *weights;
    uint8_t *shares;
};

static bool work_init(struct work *work, uint32_t threshold)
{
    *work = (struct work){.threshold = threshold};
    work->points = trib_alloc_array(threshold, sizeof(*work->points));
    work->next = trib_alloc_array(threshold, sizeof(*work->next));
    work->weights = trib_alloc_array(threshold, TRIB_SHAMIR_SIZE);
    work->shares = trib_alloc_array(threshold, TRIB_SHAMIR_SIZE);
    return work->points && work->next && work->weights && work->shares;
}

static void work_fini(struct work *work)
{
    if (work->shares)
        trib_wipe(work->shares, (size_t)work->threshold * TRIB_SHAMIR_SIZE);
    free(work->points);
    free(work->next);
    free(work->weights);
    free(work->shares);
}

// The share of `member`'s secret that `holder` sent.
static const uint8_t *share_from(const struct trib_secagg_hub *hub, uint32_t holder,
                                 uint32_t member)
{
    size_t rank = trib_secagg_graph_rank(&hub->graph, holder, hub->shared_set, member);
    rank += holder < member; // the holder's own share is in between
    return hub->seats[holder].reply + rank * TRIB_SECAGG_SHARE_SIZE;
}

static void combine(const struct trib_secagg_hub *hub, uint32_t member, struct work *work,
                    uint8_t ret_secret[static TRIB_SHAMIR_SIZE])
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < hub->count && found < work->threshold; i++) {
        if (!hub->seats[i].reply ||
            (i != member && !trib_secagg_graph_is_edge(&hub->graph, i, member)))
            continue;
        work->next[found] = i + 1;
        memcpy(work->shares + (size_t)found * TRIB_SHAMIR_SIZE, share_from(hub, i, member),
               TRIB_SHAMIR_SIZE);
        found++;
    }
    assert(found == work->threshold); // can_open
    if (work->known != found ||
        memcmp(work->points, work->next, found * sizeof(*work->points)) != 0) {
        memcpy(work->points, work->next, found * sizeof(*work->points));
        trib_shamir_weights(work->points, found, work->weights);
        work->known = found;
    }
    trib_shamir_combine(work->weights, work->shares, found, ret_secret);
}

// A survivor's self mask goes out.
static bool remove_self(struct trib_secagg_hub *hub, uint32_t member,
                        const uint8_t b[static TRIB_SHAMIR_SIZE])
{
    const struct trib_secagg_advert *advert = &hub->seats[member].entry.advert;
    uint8_t commitment[TRIB_DIGEST_SIZE];

    trib_secagg_commitment(b, commitment);
    if (!trib_equal_ct(commitment, advert->commitment, sizeof(commitment)))
        return false;
    struct trib_mask *mask = &hub->masks[hub->mask_count++];
    trib_secagg_self_key(hub->round_hash, b, mask->key);
    mask->is_subtracted = true;
    return true;
}

// The masks that survivors made with a member that was lost have nothing to cancel them.
static bool remove_pairs(struct trib_secagg_hub *hub, uint32_t member,
                         const uint8_t a[static TRIB_SHAMIR_SIZE])
{
    const struct trib_secagg_advert *advert = &hub->seats[member].entry.advert;
    uint8_t secret[TRIB_SECAGG_KEY_SIZE];
    uint8_t public[TRIB_SECAGG_KEY_SIZE];

    trib_secagg_mask_pair(a, secret, public);
    bool is_good = trib_equal_ct(public, advert->mask_key, sizeof(public));
    for (uint32_t i = 0; i < hub->count && is_good; i++) {
        if (!trib_secagg_has(hub->survivor_set, i) ||
            !trib_secagg_graph_is_edge(&hub->graph, i, member))
            continue;
        const struct trib_secagg_pair pair = {
            .secret = secret,
            .public = hub->seats[i].entry.advert.mask_key,
            .own = member,
            .peer = i,
        };
        struct trib_mask *mask = &hub->masks[hub->mask_count++];
        is_good = trib_secagg_pair_key(hub->round_hash, &pair, mask->key);
        mask->is_subtracted = i < member; // the survivor added it for a higher number
    }
    trib_wipe(secret, sizeof(secret));
    return is_good;
}

// One for each survivor, and one for each of its neighbours in U2 that was lost.
static size_t count_masks(const struct trib_secagg_hub *hub)
{
    size_t count = 0;
    for (uint32_t i = 0; i < hub->count; i++) {
        if (trib_secagg_has(hub->survivor_set, i))
            count++;
        else if (trib_secagg_has(hub->shared_set, i))
            count += trib_secagg_graph_rank(&hub->graph, i, hub->survivor_set, UINT32_MAX);
    }
    return count;
}

static enum trib_err open_all(struct trib_secagg_hub *hub, struct work *work)
{
    uint8_t secret[TRIB_SHAMIR_SIZE];
    bool is_good = true;

    for (uint32_t i = 0; i < hub->count && is_good; i++) {
        if (!trib_secagg_has(hub->shared_set, i))
            continue;
        combine(hub, i, work, secret);
        is_good = trib_secagg_has(hub->survivor_set, i) ? remove_self(hub, i, secret)
                                                        : remove_pairs(hub, i, secret);
    }
    trib_wipe(secret, sizeof(secret));
    return is_good ? TRIB_OK : TRIB_ERR_PROTO;
}

enum trib_err trib_secagg_hub_open(struct trib_secagg_hub *hub)
{
    enum trib_err err = TRIB_ERR_NOMEM;
    struct work work = {0};

    if (hub->phase == TRIB_SECAGG_PHASE_OPEN)
        return TRIB_OK;
    if (hub->phase == TRIB_SECAGG_PHASE_FAILED)
        return TRIB_ERR_PROTO;
    if (!trib_secagg_hub_can_open(hub) || !trib_secagg_hub_has_consent(hub))
        return TRIB_ERR_STATE;
    size_t capacity = count_masks(hub);
    if (!work_init(&work, trib_secagg_share_threshold(&hub->header.plan)))
        goto out;
    hub->masks = trib_alloc_array(capacity, sizeof(*hub->masks));
    if (!hub->masks)
        goto out;
    hub->mask_capacity = capacity;
    err = open_all(hub, &work);
    hub->phase = err ? TRIB_SECAGG_PHASE_FAILED : TRIB_SECAGG_PHASE_OPEN;
    if (err)
        trib_wipe(hub->masks, capacity * sizeof(*hub->masks));
out:
    work_fini(&work);
    return err;
}

void trib_secagg_hub_remove(const struct trib_secagg_hub *hub, size_t begin, size_t count,
                            uint32_t *sums)
{
    assert(hub->phase == TRIB_SECAGG_PHASE_OPEN && begin <= hub->header.params &&
           count <= hub->header.params - begin);
    trib_mask_apply(hub->masks, hub->mask_count, begin, count, sums);
}
