// secagg_rig.h - a cohort and its coordinator in one process, for the tests of secure aggregation.
//
// Every step is a function, and a test may lose members or tamper between them. Seeds are fixed.
#ifndef TRIB_TESTS_UNIT_SECAGG_RIG_H
#define TRIB_TESTS_UNIT_SECAGG_RIG_H

#include "tests/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/wipe.h"
#include "common/privacy/secagg.h"

enum {
    RIG_MAX = 200,
    RIG_PARAMS_MAX = 512,
};

#define RIG_POPULATION "edge"

// Steps of a round.
enum rig_step {
    RIG_ADVERTS,
    RIG_SHARES,
    RIG_MASK,
    RIG_CONSENTS,
    RIG_UNMASK,
    RIG_NEVER,
};

struct rig {
    struct trib_secagg_header header;
    uint32_t n;
    struct trib_secagg_member *members[RIG_MAX]; // by device, which is also the order of names
    struct trib_secagg_hub *hub;
    struct trib_secagg_entry entries[RIG_MAX];
    int32_t *words;  // n rows of params: what each wants to add
    int32_t *masked; // n rows: what each sent
    uint64_t seed;
    enum rig_step lost_at[RIG_MAX]; // the first step that a device takes no part in
};

static inline void rig_seed(uint32_t device, uint8_t what, uint8_t ret_seed[static 32])
{
    memset(ret_seed, what, 32);
    ret_seed[0] = (uint8_t)device;
    ret_seed[1] = (uint8_t)(device >> 8);
}

static inline void rig_name(uint32_t device, char name[static TRIB_NAME_MAX + 1])
{
    memset(name, 0, TRIB_NAME_MAX + 1);
    (void)snprintf(name, TRIB_NAME_MAX + 1, "device-%04u", device);
}

// A round for n devices of which `drop_max` may be lost, none of which collude.
static inline struct trib_secagg_header rig_header(uint32_t n, uint32_t drop_max,
                                                   uint32_t word_bits, uint64_t params)
{
    struct trib_secagg_header header = {
        .job = 7,
        .round_id = 0x1122334455667788,
        .round_number = 3,
        .params = params,
        .base_digest = {1, 2, 3},
        .invited = {4, 5, 6},
        .encoding = {.mode = TRIB_PRIVACY_DISTRIBUTED,
                     .grid = 0x1p-12,
                     .grid_bits = 12,
                     .s1 = 4096,
                     .s2 = 4096,
                     .sinf = 4096,
                     .word_bits = word_bits,
                     .shares = n - drop_max},
        .plan = {.members = n,
                 .threshold = n - drop_max,
                 .drop_max = drop_max,
                 .shares = n - drop_max,
                 .neighbour_threshold = n - drop_max},
    };
    uint8_t seed[32];
    rig_seed(0, 'R', seed);
    trib_sign_public(seed, header.roster_key);
    return header;
}

static inline struct trib_secagg_entry rig_vouched(uint32_t device)
{
    struct trib_secagg_entry entry = {0};
    uint8_t roster[32];
    uint8_t sign[32];
    rig_seed(0, 'R', roster);
    rig_seed(device, 'S', sign);
    rig_name(device, entry.name);
    trib_sign_public(sign, entry.sign_key);
    trib_roster_sign(roster, RIG_POPULATION, entry.name, entry.sign_key, entry.roster_signature);
    return entry;
}

static inline struct trib_secagg_member *rig_member(const struct trib_secagg_header *header,
                                                    uint32_t device, uint8_t what)
{
    struct trib_secagg_member *member = NULL;
    uint8_t sign[32];
    uint8_t secrets[32];
    char name[TRIB_NAME_MAX + 1];
    rig_seed(device, 'S', sign);
    rig_seed(device, what, secrets);
    rig_name(device, name);
    const struct trib_secagg_member_options options = {
        .header = header,
        .population = RIG_POPULATION,
        .name = name,
        .sign_seed = sign,
        .test_seed = secrets,
    };
    assert_int_equal(trib_secagg_member_create(&options, &member), TRIB_OK);
    return member;
}

static inline void rig_init(struct rig *rig, const struct trib_secagg_header *header)
{
    trib_crypto_init();
    *rig = (struct rig){.header = *header, .n = header->plan.members, .seed = 42};
    assert_true(rig->n <= RIG_MAX);
    rig->words = calloc(rig->n * header->params, sizeof(int32_t));
    rig->masked = calloc(rig->n * header->params, sizeof(int32_t));
    assert_true(rig->words && rig->masked);
    assert_int_equal(trib_secagg_hub_create(header, RIG_POPULATION, &rig->hub), TRIB_OK);
    for (uint32_t i = 0; i < rig->n; i++) {
        rig->members[i] = rig_member(header, i, 'T');
        rig->entries[i] = rig_vouched(i);
        rig->lost_at[i] = RIG_NEVER;
        for (size_t p = 0; p < header->params; p++) {
            rig->words[i * header->params + p] = (int32_t)(test_rand(&rig->seed) >> 32);
        }
    }
}

static inline void rig_fini(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->n; i++)
        trib_secagg_member_destroy(rig->members[i]);
    trib_secagg_hub_destroy(rig->hub);
    free(rig->words);
    free(rig->masked);
}

// Devices that are lost by then send nothing.
static inline void rig_adverts(struct rig *rig)
{
    for (uint32_t i = rig->n; i-- > 0;) { // not in order of names
        struct trib_secagg_entry *entry = &rig->entries[i];
        if (rig->lost_at[i] <= RIG_ADVERTS)
            continue;
        assert_int_equal(trib_secagg_member_advert(rig->members[i], &entry->advert), TRIB_OK);
        assert_int_equal(trib_secagg_hub_advert(rig->hub, 100 + i, entry), TRIB_OK);
    }
}

// U1 as the hub sends it.
static inline uint32_t rig_view(const struct rig *rig, struct trib_secagg_entry *ret_entries)
{
    uint32_t count = trib_secagg_hub_count(rig->hub);
    for (uint32_t i = 0; i < count; i++)
        ret_entries[i] = *trib_secagg_hub_entry(rig->hub, i);
    return count;
}

// The device behind member number `index` of U1.
static inline uint32_t rig_device(const struct rig *rig, uint32_t index)
{
    return trib_secagg_hub_tag(rig->hub, index) - 100;
}

static inline void rig_shares(struct rig *rig)
{
    static struct trib_secagg_entry view[RIG_MAX];
    uint32_t count = rig_view(rig, view);
    uint8_t *sealed = malloc(trib_secagg_sealed_max(&rig->header.plan));
    assert_non_null(sealed);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t device = rig_device(rig, i);
        struct trib_secagg_member *member = rig->members[device];
        if (rig->lost_at[device] <= RIG_SHARES)
            continue;
        assert_int_equal(trib_secagg_member_keys(member, view, count, sealed), TRIB_OK);
        assert_int_equal(trib_secagg_member_index(member), i);
        assert_int_equal(trib_secagg_hub_shares(rig->hub, i, sealed,
                                                trib_secagg_member_neighbours(member) *
                                                    (size_t)TRIB_SECAGG_SEALED_SIZE),
                         TRIB_OK);
    }
    free(sealed);
}

static inline enum trib_err rig_give_sealed(struct rig *rig, uint32_t index)
{
    struct trib_buf buf = {0};
    uint32_t count = trib_secagg_hub_sealed_for(rig->hub, index, &buf);
    enum trib_err err = trib_secagg_member_sealed(
        rig->members[rig_device(rig, index)], trib_secagg_hub_shared_set(rig->hub),
        trib_secagg_set_size(trib_secagg_hub_count(rig->hub)), buf.data, count);
    trib_buf_fini(&buf);
    return err;
}

static inline void rig_mask(struct rig *rig)
{
    size_t params = rig->header.params;
    for (uint32_t i = 0; i < trib_secagg_hub_count(rig->hub); i++) {
        uint32_t device = rig_device(rig, i);
        if (rig->lost_at[device] <= RIG_MASK ||
            !trib_secagg_has(trib_secagg_hub_shared_set(rig->hub), i))
            continue;
        int32_t *masked = rig->masked + device * params;
        memcpy(masked, rig->words + device * params, params * sizeof(*masked));
        assert_int_equal(rig_give_sealed(rig, i), TRIB_OK);
        assert_int_equal(trib_secagg_member_mask(rig->members[device], masked, params), TRIB_OK);
        assert_int_equal(trib_secagg_hub_masked(rig->hub, i), TRIB_OK);
    }
}

static inline void rig_consents(struct rig *rig)
{
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    for (uint32_t i = 0; i < trib_secagg_hub_count(rig->hub); i++) {
        uint32_t device = rig_device(rig, i);
        if (rig->lost_at[device] <= RIG_CONSENTS ||
            !trib_secagg_has(trib_secagg_hub_survivor_set(rig->hub), i))
            continue;
        assert_int_equal(trib_secagg_member_survivors(
                             rig->members[device], trib_secagg_hub_survivor_set(rig->hub),
                             trib_secagg_set_size(trib_secagg_hub_count(rig->hub)), signature),
                         TRIB_OK);
        assert_int_equal(trib_secagg_hub_consent(rig->hub, i, signature), TRIB_OK);
    }
}

static inline enum trib_err rig_ask(struct rig *rig, uint32_t index, uint8_t *ret_shares,
                                    size_t *ret_size)
{
    struct trib_buf signatures = {0};
    uint32_t members = trib_secagg_hub_count(rig->hub);
    uint32_t count = 0;
    for (uint32_t i = 0; i < members; i++)
        count += trib_secagg_has(trib_secagg_hub_signer_set(rig->hub), i);
    trib_secagg_hub_signatures(rig->hub, &signatures);
    enum trib_err err = trib_secagg_member_unmask(
        rig->members[rig_device(rig, index)], trib_secagg_hub_signer_set(rig->hub),
        trib_secagg_set_size(members), signatures.data, count, ret_shares, ret_size);
    trib_buf_fini(&signatures);
    return err;
}

static inline void rig_unmask(struct rig *rig)
{
    uint8_t *shares = malloc(trib_secagg_unmask_max(&rig->header.plan));
    size_t size = 0;
    assert_non_null(shares);
    for (uint32_t i = 0; i < trib_secagg_hub_count(rig->hub); i++) {
        if (rig->lost_at[rig_device(rig, i)] <= RIG_UNMASK ||
            !trib_secagg_has(trib_secagg_hub_survivor_set(rig->hub), i))
            continue;
        assert_int_equal(rig_ask(rig, i, shares, &size), TRIB_OK);
        assert_int_equal(trib_secagg_hub_unmask(rig->hub, i, shares, size), TRIB_OK);
    }
    free(shares);
}

// All steps before `stop`; what stopped the hub from closing one.
static inline enum trib_err rig_steps(struct rig *rig, enum rig_step stop)
{
    enum trib_err err = TRIB_OK;
    if (stop > RIG_ADVERTS) {
        rig_adverts(rig);
        err = trib_secagg_hub_close_keys(rig->hub);
    }
    if (!err && stop > RIG_SHARES) {
        rig_shares(rig);
        err = trib_secagg_hub_close_shares(rig->hub);
    }
    if (!err && stop > RIG_MASK) {
        rig_mask(rig);
        err = trib_secagg_hub_close_masked(rig->hub);
    }
    if (!err && stop > RIG_CONSENTS)
        rig_consents(rig);
    if (!err && stop > RIG_UNMASK && trib_secagg_hub_has_consent(rig->hub))
        rig_unmask(rig);
    return err;
}

static inline enum trib_err rig_try(struct rig *rig)
{
    return rig_steps(rig, RIG_NEVER);
}

static inline void rig_until(struct rig *rig, enum rig_step stop)
{
    assert_int_equal(rig_steps(rig, stop), TRIB_OK);
}

static inline void rig_run(struct rig *rig)
{
    rig_until(rig, RIG_NEVER);
}

// The word that `value` is modulo 2^word_bits, computed another way than the code under test does.
static inline int64_t rig_lift(int64_t value, uint32_t word_bits)
{
    int64_t modulus = INT64_C(1) << word_bits;
    int64_t rest = ((value % modulus) + modulus) % modulus;
    return rest >= modulus / 2 ? rest - modulus : rest;
}

// The sum of the survivors' masked words, unmasked, is the sum of what they wanted to add.
static inline void rig_check_sum(struct rig *rig)
{
    size_t params = rig->header.params;
    uint32_t word_bits = rig->header.encoding.word_bits;
    uint32_t *sums = calloc(params, sizeof(*sums));
    assert_non_null(sums);
    for (uint32_t i = 0; i < trib_secagg_hub_count(rig->hub); i++) {
        if (!trib_secagg_has(trib_secagg_hub_survivor_set(rig->hub), i))
            continue;
        for (size_t p = 0; p < params; p++)
            sums[p] += (uint32_t)rig->masked[rig_device(rig, i) * params + p];
    }
    trib_secagg_hub_remove(rig->hub, 0, params / 3, sums); // in two pieces, as threads would
    trib_secagg_hub_remove(rig->hub, params / 3, params - params / 3, sums + params / 3);
    for (size_t p = 0; p < params; p++) {
        int64_t expected = 0;
        for (uint32_t i = 0; i < trib_secagg_hub_count(rig->hub); i++) {
            if (trib_secagg_has(trib_secagg_hub_survivor_set(rig->hub), i))
                expected += rig->words[rig_device(rig, i) * params + p];
        }
        assert_int_equal(rig_lift((int64_t)sums[p], word_bits), rig_lift(expected, word_bits));
    }
    free(sums);
}

#endif // TRIB_TESTS_UNIT_SECAGG_RIG_H
