#include "simulations/cohort.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/base/wipe.h"
#include "common/privacy/secagg_bytes.h"
#include "common/privacy/vouched.h"

#define TRIB_LOG_MODULE "cohort"

#define POPULATION      "simulation"

// One member of the round.
struct seat {
    struct trib_cohort_member who;
    struct trib_secagg_member *member;
    struct trib_secagg_entry entry;
    uint8_t *sealed; // owned: what it sealed for the others
    uint8_t *shares; // owned: its answer to the unmask request
    size_t shares_size;
    uint8_t consent[TRIB_SIGNATURE_SIZE];
};

typedef enum trib_err (*seat_fn)(struct trib_cohort *cohort, struct seat *seat);

struct helper {
    struct trib_work work; // first
    struct trib_cohort *cohort;
};

struct trib_cohort {
    size_t devices;
    uint32_t cohort_min;
    uint8_t (*seeds)[TRIB_SIGN_SEED_SIZE]; // (devices) of their Ed25519 keys
    uint8_t roster_seed[TRIB_SIGN_SEED_SIZE];
    struct trib_vouched *vouched; // of all devices: what one has verified holds for the others

    struct trib_secagg_header header;
    struct trib_secagg_hub *hub;
    struct seat *seats;
    uint32_t count;
    const struct trib_secagg_entry *entries; // U1 as all see it, while R1 goes on
    uint64_t bytes_up, bytes_down;

    // Seats are dealt out to the threads.
    struct trib_pool *pool;
    struct helper *helpers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    seat_fn todo;
    uint32_t next;
    unsigned working;
    enum trib_err failure;
};

// ---- Doing something for every seat, on all threads

static void help(struct trib_work *work)
{
    struct trib_cohort *cohort = ((struct helper *)work)->cohort;
    (void)pthread_mutex_lock(&cohort->lock);
    while (cohort->next < cohort->count && !cohort->failure) {
        struct seat *seat = &cohort->seats[cohort->next++];
        (void)pthread_mutex_unlock(&cohort->lock);
        enum trib_err err = cohort->todo(cohort, seat);
        (void)pthread_mutex_lock(&cohort->lock);
        if (err && !cohort->failure)
            cohort->failure = err;
    }
    cohort->working--;
    (void)pthread_cond_broadcast(&cohort->changed);
    (void)pthread_mutex_unlock(&cohort->lock);
}

static enum trib_err for_each(struct trib_cohort *cohort, seat_fn todo)
{
    const unsigned threads = trib_pool_threads(cohort->pool);
    cohort->todo = todo;
    cohort->next = 0;
    cohort->failure = TRIB_OK;
    cohort->working = threads;
    for (unsigned i = 0; i < threads; i++) {
        cohort->helpers[i] = (struct helper){.work = {.run = help}, .cohort = cohort};
        trib_pool_submit(cohort->pool, &cohort->helpers[i].work);
    }
    (void)pthread_mutex_lock(&cohort->lock);
    while (cohort->working > 0)
        (void)pthread_cond_wait(&cohort->changed, &cohort->lock);
    (void)pthread_mutex_unlock(&cohort->lock);
    return cohort->failure;
}

// ---- Life

enum trib_err trib_cohort_create(size_t devices, uint32_t cohort_min, struct trib_pool *pool,
                                 struct trib_cohort **ret_cohort)
{
    struct trib_cohort *cohort = trib_alloc(sizeof(*cohort));
    if (!cohort)
        return TRIB_ERR_NOMEM;
    (void)pthread_mutex_init(&cohort->lock, NULL);
    (void)pthread_cond_init(&cohort->changed, NULL);
    cohort->devices = devices;
    cohort->cohort_min = cohort_min;
    cohort->pool = pool;
    cohort->helpers = trib_alloc_array(trib_pool_threads(pool), sizeof(*cohort->helpers));
    cohort->seeds = trib_alloc_array(devices, sizeof(*cohort->seeds));
    if (!cohort->helpers || !cohort->seeds || trib_vouched_create(&cohort->vouched)) {
        trib_cohort_destroy(cohort);
        return TRIB_ERR_NOMEM;
    }
    trib_random_bytes(cohort->roster_seed, sizeof(cohort->roster_seed));
    trib_random_bytes(cohort->seeds, devices * sizeof(*cohort->seeds));
    *ret_cohort = cohort;
    return TRIB_OK;
}

static void end_round(struct trib_cohort *cohort)
{
    for (uint32_t i = 0; i < cohort->count; i++) {
        trib_secagg_member_destroy(cohort->seats[i].member);
        free(cohort->seats[i].sealed);
        free(cohort->seats[i].shares);
    }
    free(cohort->seats);
    cohort->seats = NULL;
    cohort->count = 0;
    trib_secagg_hub_destroy(cohort->hub);
    cohort->hub = NULL;
    cohort->bytes_up = cohort->bytes_down = 0;
}

void trib_cohort_destroy(struct trib_cohort *cohort)
{
    if (!cohort)
        return;
    end_round(cohort);
    if (cohort->seeds)
        trib_wipe(cohort->seeds, cohort->devices * sizeof(*cohort->seeds));
    trib_wipe(cohort->roster_seed, sizeof(cohort->roster_seed));
    trib_vouched_destroy(cohort->vouched);
    free(cohort->seeds);
    free(cohort->helpers);
    (void)pthread_cond_destroy(&cohort->changed);
    (void)pthread_mutex_destroy(&cohort->lock);
    free(cohort);
}

const struct trib_secagg_hub *trib_cohort_hub(const struct trib_cohort *cohort)
{
    return cohort->hub;
}

void trib_cohort_bytes(const struct trib_cohort *cohort, uint64_t *ret_up, uint64_t *ret_down)
{
    *ret_up = cohort->bytes_up;
    *ret_down = cohort->bytes_down;
}

static struct seat *seat_of(struct trib_cohort *cohort, uint32_t tag)
{
    for (uint32_t i = 0; i < cohort->count; i++) {
        if (cohort->seats[i].who.tag == tag)
            return &cohort->seats[i];
    }
    return NULL;
}

// ---- R0, R1

static void fill_entry(struct trib_cohort *cohort, struct seat *seat)
{
    struct trib_secagg_entry *entry = &seat->entry;
    memcpy(entry->name, seat->who.name, strlen(seat->who.name) + 1);
    trib_sign_public(cohort->seeds[seat->who.device], entry->sign_key);
    trib_roster_sign(cohort->roster_seed, POPULATION, entry->name, entry->sign_key,
                     entry->roster_signature);
}

static enum trib_err invite(struct trib_cohort *cohort)
{
    const struct trib_secagg_entry **list = trib_alloc_array(cohort->count, sizeof(*list));
    if (!list)
        return TRIB_ERR_NOMEM;
    for (uint32_t i = 0; i < cohort->count; i++) {
        fill_entry(cohort, &cohort->seats[i]);
        cohort->seats[i].who.name = cohort->seats[i].entry.name; // the caller's goes
        list[i] = &cohort->seats[i].entry;
    }
    trib_secagg_invited_hash(list, cohort->count, cohort->header.invited);
    free(list);
    trib_sign_public(cohort->roster_seed, cohort->header.roster_key);
    return trib_secagg_hub_create(&cohort->header, POPULATION, &cohort->hub);
}

static enum trib_err give_up(const struct seat *seat, enum trib_err err)
{
    TRIB_ERROR("device=%s leaves the round: %s", seat->who.name,
               seat->member ? trib_secagg_reason_text(trib_secagg_member_reason(seat->member))
                            : trib_err_text(err));
    return err;
}

static enum trib_err advertise(struct trib_cohort *cohort, struct seat *seat)
{
    const struct trib_secagg_member_options options = {
        .header = &cohort->header,
        .population = POPULATION,
        .name = seat->who.name,
        .sign_seed = cohort->seeds[seat->who.device],
        .cohort_min = cohort->cohort_min,
        .vouched = cohort->vouched,
    };
    enum trib_err err = trib_secagg_member_create(&options, &seat->member);
    if (!err)
        err = trib_secagg_member_advert(seat->member, &seat->entry.advert);
    return err ? give_up(seat, err) : TRIB_OK;
}

static enum trib_err share(struct trib_cohort *cohort, struct seat *seat)
{
    seat->sealed = trib_alloc(trib_secagg_sealed_max(&cohort->header.plan));
    if (!seat->sealed)
        return TRIB_ERR_NOMEM;
    enum trib_err err = trib_secagg_member_keys(seat->member, cohort->entries,
                                                trib_secagg_hub_count(cohort->hub), seat->sealed);
    return err ? give_up(seat, err) : TRIB_OK;
}

static enum trib_err take_sealed(struct trib_cohort *cohort, struct seat *seat)
{
    const uint32_t members = trib_secagg_hub_count(cohort->hub);
    struct trib_buf buf = {0};
    uint32_t count = trib_secagg_hub_sealed_for(
        cohort->hub, trib_secagg_hub_find(cohort->hub, seat->who.tag), &buf);
    enum trib_err err =
        buf.failed
            ? TRIB_ERR_NOMEM
            : trib_secagg_member_sealed(seat->member, trib_secagg_hub_shared_set(cohort->hub),
                                        trib_secagg_set_size(members), buf.data, count);
    trib_buf_fini(&buf);
    return err ? give_up(seat, err) : TRIB_OK;
}

static enum trib_err deal_shares(struct trib_cohort *cohort)
{
    const uint32_t members = trib_secagg_hub_count(cohort->hub);
    struct trib_secagg_entry *entries = trib_alloc_array(members, sizeof(*entries));
    if (!entries)
        return TRIB_ERR_NOMEM;
    for (uint32_t i = 0; i < members; i++)
        entries[i] = *trib_secagg_hub_entry(cohort->hub, i);
    cohort->entries = entries;
    enum trib_err err = for_each(cohort, share);
    cohort->entries = NULL;
    free(entries);
    for (uint32_t i = 0; i < cohort->count && !err; i++) {
        struct seat *seat = &cohort->seats[i];
        const size_t size =
            (size_t)trib_secagg_member_neighbours(seat->member) * TRIB_SECAGG_SEALED_SIZE;
        err = trib_secagg_hub_shares(cohort->hub, trib_secagg_hub_find(cohort->hub, seat->who.tag),
                                     seat->sealed, size);
        cohort->bytes_up += TRIB_SECAGG_ADVERT_SIZE + size;
        cohort->bytes_down +=
            (uint64_t)members * TRIB_SECAGG_ENTRY_SIZE + size + trib_secagg_set_size(members);
    }
    if (!err)
        err = trib_secagg_hub_close_shares(cohort->hub);
    return err ? err : for_each(cohort, take_sealed);
}

enum trib_err trib_cohort_begin(struct trib_cohort *cohort, const struct trib_secagg_header *header,
                                const struct trib_cohort_member *members, uint32_t count)
{
    end_round(cohort);
    cohort->header = *header;
    cohort->seats = trib_alloc_array(count, sizeof(*cohort->seats));
    if (!cohort->seats)
        return TRIB_ERR_NOMEM;
    cohort->count = count;
    for (uint32_t i = 0; i < count; i++)
        cohort->seats[i].who = members[i];
    enum trib_err err = invite(cohort);
    if (!err)
        err = for_each(cohort, advertise);
    for (uint32_t i = 0; i < count && !err; i++)
        err = trib_secagg_hub_advert(cohort->hub, members[i].tag, &cohort->seats[i].entry);
    if (!err)
        err = trib_secagg_hub_close_keys(cohort->hub);
    return err ? err : deal_shares(cohort);
}

// ---- R2

enum trib_err trib_cohort_mask(struct trib_cohort *cohort, uint32_t tag, int32_t *words,
                               size_t count)
{
    struct seat *seat = seat_of(cohort, tag);
    assert(seat);
    enum trib_err err = trib_secagg_member_mask(seat->member, words, count);
    return err ? give_up(seat, err) : TRIB_OK;
}

enum trib_err trib_cohort_masked(struct trib_cohort *cohort, uint32_t tag)
{
    return trib_secagg_hub_masked(cohort->hub, trib_secagg_hub_find(cohort->hub, tag));
}

// ---- R3, R4

static bool survives(const struct trib_cohort *cohort, const struct seat *seat)
{
    return trib_secagg_has(trib_secagg_hub_survivor_set(cohort->hub),
                           trib_secagg_hub_find(cohort->hub, seat->who.tag));
}

static enum trib_err consent(struct trib_cohort *cohort, struct seat *seat)
{
    if (!survives(cohort, seat))
        return TRIB_OK;
    enum trib_err err = trib_secagg_member_survivors(
        seat->member, trib_secagg_hub_survivor_set(cohort->hub),
        trib_secagg_set_size(trib_secagg_hub_count(cohort->hub)), seat->consent);
    return err ? give_up(seat, err) : TRIB_OK;
}

static enum trib_err unmask(struct trib_cohort *cohort, struct seat *seat)
{
    struct trib_buf buf = {0};
    if (!survives(cohort, seat))
        return TRIB_OK;
    seat->shares = trib_alloc(trib_secagg_unmask_max(&cohort->header.plan));
    trib_secagg_hub_signatures(cohort->hub, &buf);
    enum trib_err err =
        !seat->shares || buf.failed
            ? TRIB_ERR_NOMEM
            : trib_secagg_member_unmask(seat->member, trib_secagg_hub_signer_set(cohort->hub),
                                        trib_secagg_set_size(trib_secagg_hub_count(cohort->hub)),
                                        buf.data, (uint32_t)(buf.size / TRIB_SIGNATURE_SIZE),
                                        seat->shares, &seat->shares_size);
    trib_buf_fini(&buf);
    return err ? give_up(seat, err) : TRIB_OK;
}

static void count_bytes(struct trib_cohort *cohort, uint32_t survivors)
{
    const size_t set = trib_secagg_set_size(trib_secagg_hub_count(cohort->hub));
    struct trib_buf buf = {0};
    trib_secagg_hub_signatures(cohort->hub, &buf);
    cohort->bytes_up += (uint64_t)survivors * TRIB_SIGNATURE_SIZE;
    cohort->bytes_down += (uint64_t)survivors * (2 * set + buf.size);
    for (uint32_t i = 0; i < cohort->count; i++)
        cohort->bytes_up += cohort->seats[i].shares_size;
    trib_buf_fini(&buf);
}

enum trib_err trib_cohort_finish(struct trib_cohort *cohort)
{
    uint32_t survivors = 0;
    enum trib_err err = trib_secagg_hub_close_masked(cohort->hub);
    if (!err)
        err = for_each(cohort, consent);
    for (uint32_t i = 0; i < cohort->count && !err; i++) {
        const struct seat *seat = &cohort->seats[i];
        if (!survives(cohort, seat))
            continue;
        survivors++;
        if (!trib_secagg_hub_has_consent(cohort->hub)) // those of T are enough for everybody
            err = trib_secagg_hub_consent(
                cohort->hub, trib_secagg_hub_find(cohort->hub, seat->who.tag), seat->consent);
    }
    if (!err)
        err = for_each(cohort, unmask);
    for (uint32_t i = 0; i < cohort->count && !err; i++) {
        const struct seat *seat = &cohort->seats[i];
        if (seat->shares && !trib_secagg_hub_can_open(cohort->hub))
            err = trib_secagg_hub_unmask(cohort->hub,
                                         trib_secagg_hub_find(cohort->hub, seat->who.tag),
                                         seat->shares, seat->shares_size);
    }
    if (!err)
        err = trib_secagg_hub_open(cohort->hub);
    if (!err)
        count_bytes(cohort, survivors);
    return err;
}
