// What secure aggregation costs: CPU of a member and of the coordinator, bytes of each message.
//
//     bench_secagg [--json] [MEMBERS [PARAMS [LOST_PERCENT [THRESHOLD_PERCENT]]]]
//
// Runs one whole round in this process, one thread, real randomness; members are lost after their
// shares were sent, which is the dearest moment. The graph follows from
// the numbers, with a tenth that may collude. The sum is checked.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/wipe.h"
#include "common/privacy/mask.h"
#include "common/privacy/secagg.h"

enum {
    WORD_BITS = 24,
    COUNT_MAX = 2048,
};

// Microseconds of one thread, per step.
struct cost {
    uint64_t keys, shares, mask, consents, unmask;
};

struct bench {
    struct trib_secagg_header header;
    uint32_t n, lost; // members; the last ones are lost after R1
    struct trib_secagg_member *members[COUNT_MAX];
    struct trib_secagg_hub *hub;
    struct trib_secagg_entry *view;
    uint32_t *sums;
    int32_t *words;
    struct cost member_cost, hub_cost; // the members': of all together
    size_t entry_size, sealed_size, consents_size, unmask_size, set_size;
};

static void must(bool is_so, const char *what)
{
    if (is_so)
        return;
    (void)fprintf(stderr, "bench_secagg: %s\n", what);
    exit(1);
}

static uint64_t now(void)
{
    return trib_clock_thread_us();
}

static int32_t word_of(uint32_t member, size_t i)
{
    return (int32_t)((member * 31 + i * 7) % 8191) - 4095;
}

static void fill_header(struct bench *b, uint64_t params, uint64_t threshold_percent)
{
    char why[256] = "";
    enum trib_err err = trib_secagg_plan_make(b->n, (double)threshold_percent / 100, 0.1,
                                              &b->header.plan, why, sizeof(why));
    must(err == TRIB_OK, why);
    b->header.job = 1;
    b->header.round_id = 1;
    b->header.params = params;
    b->header.encoding = (struct trib_encoding){.mode = TRIB_PRIVACY_DISTRIBUTED,
                                                .grid = 0x1p-12,
                                                .word_bits = WORD_BITS,
                                                .shares = b->header.plan.shares};
}

static void setup(struct bench *b)
{
    uint8_t roster[32] = {1};
    trib_sign_public(roster, b->header.roster_key);
    must(trib_secagg_hub_create(&b->header, "bench", &b->hub) == TRIB_OK, "no such plan");
    for (uint32_t i = 0; i < b->n; i++) {
        struct trib_secagg_entry entry = {0};
        uint8_t seed[32] = {2, (uint8_t)i, (uint8_t)(i >> 8)};
        (void)snprintf(entry.name, sizeof(entry.name), "device-%05u", i);
        trib_sign_public(seed, entry.sign_key);
        trib_roster_sign(roster, "bench", entry.name, entry.sign_key, entry.roster_signature);
        const struct trib_secagg_member_options options = {
            .header = &b->header, .population = "bench", .name = entry.name, .sign_seed = seed};
        uint64_t start = now();
        must(trib_secagg_member_create(&options, &b->members[i]) == TRIB_OK, "member");
        must(trib_secagg_member_advert(b->members[i], &entry.advert) == TRIB_OK, "advert");
        uint64_t middle = now();
        must(trib_secagg_hub_advert(b->hub, i, &entry) == TRIB_OK, "hub advert");
        b->member_cost.keys += middle - start;
        b->hub_cost.keys += now() - middle;
    }
    uint64_t start = now();
    must(trib_secagg_hub_close_keys(b->hub) == TRIB_OK, "close keys");
    b->hub_cost.keys += now() - start;
    b->entry_size = strlen("device-00000") + 1 + sizeof(b->view[0].sign_key) +
                    sizeof(b->view[0].roster_signature) + sizeof(b->view[0].advert);
    b->set_size = trib_secagg_set_size(b->n);
}

static void share(struct bench *b)
{
    uint8_t *sealed = malloc(trib_secagg_sealed_max(&b->header.plan));
    must(sealed, "memory");
    for (uint32_t i = 0; i < b->n; i++)
        b->view[i] = *trib_secagg_hub_entry(b->hub, i);
    for (uint32_t i = 0; i < b->n; i++) {
        uint64_t start = now();
        must(trib_secagg_member_keys(b->members[i], b->view, b->n, sealed) == TRIB_OK, "keys");
        uint64_t middle = now();
        b->sealed_size = trib_secagg_member_neighbours(b->members[i]);
        b->sealed_size *= TRIB_SECAGG_SEALED_SIZE;
        must(trib_secagg_hub_shares(b->hub, i, sealed, b->sealed_size) == TRIB_OK, "shares");
        b->member_cost.shares += middle - start;
        b->hub_cost.shares += now() - middle;
    }
    uint64_t start = now();
    must(trib_secagg_hub_close_shares(b->hub) == TRIB_OK, "close shares");
    b->hub_cost.shares += now() - start;
    free(sealed);
}

static void mask(struct bench *b)
{
    for (uint32_t i = 0; i < b->n - b->lost; i++) {
        struct trib_buf buf = {0};
        uint64_t start = now();
        uint32_t count = trib_secagg_hub_sealed_for(b->hub, i, &buf);
        b->hub_cost.shares += now() - start;
        for (size_t p = 0; p < b->header.params; p++)
            b->words[p] = word_of(i, p);
        start = now();
        must(trib_secagg_member_sealed(b->members[i], trib_secagg_hub_shared_set(b->hub),
                                       b->set_size, buf.data, count) == TRIB_OK,
             "sealed");
        must(trib_secagg_member_mask(b->members[i], b->words, b->header.params) == TRIB_OK, "mask");
        b->member_cost.mask += now() - start;
        start = now();
        for (size_t p = 0; p < b->header.params; p++)
            b->sums[p] += (uint32_t)b->words[p];
        must(trib_secagg_hub_masked(b->hub, i) == TRIB_OK, "masked");
        b->hub_cost.mask += now() - start;
        trib_buf_fini(&buf);
    }
    must(trib_secagg_hub_close_masked(b->hub) == TRIB_OK, "close masked");
}

static void unmask(struct bench *b)
{
    struct trib_buf signatures = {0};
    uint8_t signature[TRIB_SIGNATURE_SIZE];
    uint32_t survivors = b->n - b->lost;
    uint8_t *shares = malloc(trib_secagg_unmask_max(&b->header.plan));
    must(shares, "memory");
    for (uint32_t i = 0; i < survivors; i++) {
        uint64_t start = now();
        must(trib_secagg_member_survivors(b->members[i], trib_secagg_hub_survivor_set(b->hub),
                                          b->set_size, signature) == TRIB_OK,
             "survivors");
        uint64_t middle = now();
        must(trib_secagg_hub_consent(b->hub, i, signature) == TRIB_OK, "consent");
        b->member_cost.consents += middle - start;
        b->hub_cost.consents += now() - middle;
    }
    trib_secagg_hub_signatures(b->hub, &signatures);
    b->consents_size = b->set_size + signatures.size;
    for (uint32_t i = 0; i < survivors; i++) {
        uint64_t start = now();
        must(trib_secagg_member_unmask(b->members[i], trib_secagg_hub_signer_set(b->hub),
                                       b->set_size, signatures.data, survivors, shares,
                                       &b->unmask_size) == TRIB_OK,
             "unmask");
        uint64_t middle = now();
        must(trib_secagg_hub_unmask(b->hub, i, shares, b->unmask_size) == TRIB_OK, "hub unmask");
        b->member_cost.unmask += middle - start;
        b->hub_cost.unmask += now() - middle;
    }
    uint64_t start = now();
    must(trib_secagg_hub_open(b->hub) == TRIB_OK, "open");
    trib_secagg_hub_remove(b->hub, 0, b->header.params, b->sums);
    b->hub_cost.unmask += now() - start;
    for (size_t p = 0; p < b->header.params; p++) {
        int32_t expected = 0;
        for (uint32_t i = 0; i < survivors; i++)
            expected += word_of(i, p);
        must(trib_mask_lift(b->sums[p], WORD_BITS) == trib_mask_lift((uint32_t)expected, WORD_BITS),
             "the sum is wrong");
    }
    free(shares);
    trib_buf_fini(&signatures);
}

static void report(const struct bench *b, bool is_json)
{
    uint32_t survivors = b->n - b->lost;
    const struct {
        const char *name;
        uint64_t member_us, hub_us; // of one member, of the coordinator for all
        size_t up, down;            // bytes of one member's messages
    } rows[] = {
        {"keys", b->member_cost.keys / b->n, b->hub_cost.keys, sizeof(struct trib_secagg_advert),
         b->n * b->entry_size},
        {"shares", b->member_cost.shares / b->n, b->hub_cost.shares, b->sealed_size,
         b->set_size + b->sealed_size},
        {"masked", b->member_cost.mask / survivors, b->hub_cost.mask,
         (size_t)b->header.params * WORD_BITS / 8, b->set_size},
        {"consents", b->member_cost.consents / survivors, b->hub_cost.consents, TRIB_SIGNATURE_SIZE,
         b->consents_size},
        {"unmask", b->member_cost.unmask / survivors, b->hub_cost.unmask, b->unmask_size, 0},
    };
    uint64_t member_us = 0;
    uint64_t hub_us = 0;

    if (is_json)
        (void)printf("{\"members\":%u,\"params\":%llu,\"lost\":%u,\"neighbours\":%u,\"steps\":{",
                     b->n, (unsigned long long)b->header.params, b->lost,
                     b->header.plan.neighbours);
    else
        (void)printf("%-9s %12s %12s %12s %12s\n", "step", "member ms", "hub ms", "up bytes",
                     "down bytes");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)printf(is_json ? "\"%s\":{\"member_ms\":%.3f,\"hub_ms\":%.3f,\"up\":%zu,"
                               "\"down\":%zu},"
                             : "%-9s %12.3f %12.3f %12zu %12zu\n",
                     rows[i].name, (double)rows[i].member_us / 1e3, (double)rows[i].hub_us / 1e3,
                     rows[i].up, rows[i].down);
        member_us += rows[i].member_us;
        hub_us += rows[i].hub_us;
    }
    (void)printf(is_json ? "\"all\":{\"member_ms\":%.3f,\"hub_ms\":%.3f}}}\n"
                         : "all       %12.3f %12.3f\n",
                 (double)member_us / 1e3, (double)hub_us / 1e3);
}

static uint64_t number(int argc, char **argv, int index, uint64_t otherwise)
{
    if (index >= argc)
        return otherwise;
    char *end;
    unsigned long long value = strtoull(argv[index], &end, 10);
    must(*argv[index] != '\0' && *end == '\0', "usage: [--json] [N [PARAMS [LOST% [THRESHOLD%]]]]");
    return value;
}

int main(int argc, char **argv)
{
    static struct bench b;
    bool is_json = argc > 1 && strcmp(argv[1], "--json") == 0;
    int first = is_json ? 2 : 1;
    uint64_t n = number(argc, argv, first, 100);
    uint64_t params = number(argc, argv, first + 1, 100000);
    uint64_t percent = number(argc, argv, first + 2, 10);

    must(n >= 4 && n <= COUNT_MAX && params >= 1 && params <= TRIB_PARAMS_MAX && percent < 100,
         "4 to 2048 members");
    trib_crypto_init();
    b.n = (uint32_t)n;
    b.lost = (uint32_t)(n * percent / 100);
    fill_header(&b, params, number(argc, argv, first + 3, 75));
    must(b.lost <= b.header.plan.drop_max, "more are lost than may be");
    b.view = calloc(n, sizeof(*b.view));
    b.sums = calloc(params, sizeof(*b.sums));
    b.words = calloc(params, sizeof(*b.words));
    must(b.view && b.sums && b.words, "memory");
    setup(&b);
    share(&b);
    mask(&b);
    unmask(&b);
    report(&b, is_json);
    for (uint32_t i = 0; i < b.n; i++)
        trib_secagg_member_destroy(b.members[i]);
    trib_secagg_hub_destroy(b.hub);
    free(b.view);
    free(b.sums);
    free(b.words);
    return 0;
}
