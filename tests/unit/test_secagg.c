#include "tests/unit/secagg_rig.h"

#include "common/privacy/secagg_core.h"

// ---- Whole rounds

// Every way to lose at most D of five, at any step: the sum of the survivors is exact.
static void masks_cancel_for_every_way_to_lose_members(void **state)
{
    (void)state;
    static const uint32_t word_bits[] = {16, 24, 32};
    uint32_t cases = 0;
    for (uint32_t code = 0; code < 6 * 6 * 6 * 6 * 6; code++) {
        uint32_t lost = 0;
        uint32_t rest = code;
        enum rig_step at[5];
        for (int i = 0; i < 5; i++, rest /= 6) {
            at[i] = (enum rig_step)(rest % 6);
            lost += at[i] != RIG_NEVER;
        }
        if (lost > 2)
            continue;
        struct trib_secagg_header header = rig_header(5, 2, word_bits[cases++ % 3], 19);
        struct rig rig;
        rig_init(&rig, &header);
        memcpy(rig.lost_at, at, sizeof(at));
        rig_run(&rig);
        assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_OK);
        rig_check_sum(&rig);
        rig_fini(&rig);
    }
    assert_int_equal(cases, 1 + 5 * 5 + 10 * 25);
}

// One more than D lost at a step: that step does not close, or the sum is not opened.
static void below_the_threshold_there_is_no_sum(void **state)
{
    (void)state;
    for (int step = RIG_ADVERTS; step < RIG_NEVER; step++) {
        struct trib_secagg_header header = rig_header(5, 2, 24, 19);
        struct rig rig;
        rig_init(&rig, &header);
        for (int i = 1; i < 4; i++)
            rig.lost_at[i] = (enum rig_step)step;
        enum trib_err err = rig_try(&rig);
        assert_int_equal(err, step < RIG_CONSENTS ? TRIB_ERR_STATE : TRIB_OK);
        if (step >= RIG_CONSENTS) {
            assert_false(trib_secagg_hub_can_open(rig.hub));
            assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_ERR_STATE);
        }
        rig_fini(&rig);
    }
}

// Sums that wrap at +-2^(w-1), and words at both ends.
static void the_sum_wraps_as_words_do(void **state)
{
    (void)state;
    static const uint32_t word_bits[] = {16, 24, 32};
    for (int i = 0; i < 3; i++) {
        int32_t top = (int32_t)((UINT32_C(1) << (word_bits[i] - 1)) - 1);
        struct trib_secagg_header header = rig_header(5, 2, word_bits[i], 4);
        struct rig rig;
        rig_init(&rig, &header);
        for (uint32_t m = 0; m < 5; m++) {
            rig.words[4 * m] = top;
            rig.words[4 * m + 1] = -top - 1;
            rig.words[4 * m + 2] = m == 0 ? top : (m == 1);
            rig.words[4 * m + 3] = m == 0 ? -top - 1 : -(int32_t)(m == 1);
        }
        rig_run(&rig);
        for (uint32_t m = 0; m < 20; m++) { // what is sent fits a word
            assert_true(rig.masked[m] <= top && rig.masked[m] >= -top - 1);
        }
        assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_OK);
        rig_check_sum(&rig);
        rig_fini(&rig);
    }
}

static void a_sparse_graph_loses_members_and_keeps_the_sum(void **state)
{
    (void)state;
    struct trib_secagg_header header = rig_header(130, 13, 24, 19);
    struct rig rig;
    header.plan.neighbours = 78;
    header.plan.neighbour_threshold = 52;
    rig_init(&rig, &header);
    for (uint32_t i = 0; i < 13; i++)
        rig.lost_at[(i * 37) % 130] = (enum rig_step)(i % 5);
    rig_run(&rig);
    assert_int_equal(trib_secagg_member_neighbours(rig.members[1]), 78);
    assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_OK);
    rig_check_sum(&rig);
    rig_fini(&rig);
}

// ---- The graph

static void a_graph_is_regular_symmetric_and_consistent(void **state)
{
    (void)state;
    for (uint32_t count = 130; count <= 200; count += 7) {
        const struct trib_secagg_plan plan = {.neighbours = 78};
        const uint8_t hash[TRIB_DIGEST_SIZE] = {(uint8_t)count};
        struct trib_secagg_graph graph;
        uint32_t row[RIG_MAX];
        assert_int_equal(trib_secagg_graph_init(&graph, &plan, count, hash), TRIB_OK);
        assert_int_equal(graph.degree, 78);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t edges = 0;
            trib_secagg_graph_row(&graph, i, row);
            for (uint32_t j = 0; j < count; j++) {
                bool is_edge = trib_secagg_graph_is_edge(&graph, i, j);
                assert_int_equal(is_edge, trib_secagg_graph_is_edge(&graph, j, i));
                assert_int_equal(trib_secagg_graph_rank(&graph, i, NULL, j), edges);
                if (is_edge)
                    assert_int_equal(row[edges++], j);
            }
            assert_int_equal(edges, 78);
            assert_false(trib_secagg_graph_is_edge(&graph, i, i));
        }
        trib_secagg_graph_fini(&graph);
    }
}

// Over many rounds each pair is a pair as often: k / (n - 1) of the time.
static void a_graph_is_drawn_from_the_hash_alike_for_all(void **state)
{
    (void)state;
    enum {
        ROUNDS = 2000,
        COUNT = 12
    };
    const struct trib_secagg_plan plan = {.neighbours = 4};
    uint32_t edges[COUNT] = {0};
    for (uint32_t r = 0; r < ROUNDS; r++) {
        const uint8_t hash[TRIB_DIGEST_SIZE] = {(uint8_t)r, (uint8_t)(r >> 8)};
        struct trib_secagg_graph graph;
        assert_int_equal(trib_secagg_graph_init(&graph, &plan, COUNT, hash), TRIB_OK);
        for (uint32_t j = 1; j < COUNT; j++)
            edges[j] += trib_secagg_graph_is_edge(&graph, 0, j);
        trib_secagg_graph_fini(&graph);
    }
    for (uint32_t j = 1; j < COUNT; j++) // 727 expected, standard deviation 21.5
        assert_in_range(edges[j], 727 - 110, 727 + 110);
}

static void few_members_of_a_sparse_plan_are_all_neighbours(void **state)
{
    (void)state;
    const struct trib_secagg_plan plan = {.neighbours = 78};
    const uint8_t hash[TRIB_DIGEST_SIZE] = {1};
    struct trib_secagg_graph graph;
    assert_int_equal(trib_secagg_graph_init(&graph, &plan, 60, hash), TRIB_OK);
    assert_int_equal(graph.degree, 59);
    assert_true(trib_secagg_graph_is_edge(&graph, 0, 59));
    trib_secagg_graph_fini(&graph);
}

// ---- Hashes

static void check_differs(const struct trib_secagg_header *header, const uint8_t *hash)
{
    uint8_t other[TRIB_DIGEST_SIZE];
    trib_secagg_round_hash(header, other);
    assert_memory_not_equal(hash, other, sizeof(other));
}

static void the_round_hash_covers_every_field(void **state)
{
    (void)state;
    const struct trib_secagg_header header = rig_header(5, 2, 24, 19);
    struct trib_secagg_header h = header;
    uint8_t hash[TRIB_DIGEST_SIZE];
    uint8_t again[TRIB_DIGEST_SIZE];
    trib_secagg_round_hash(&header, hash);
    trib_secagg_round_hash(&h, again);
    assert_memory_equal(hash, again, sizeof(hash));
#define CHANGE(field)            \
    do {                         \
        h = header;              \
        h.field += 1;            \
        check_differs(&h, hash); \
    } while (0)
    CHANGE(job);
    CHANGE(round_id);
    CHANGE(round_number);
    CHANGE(params);
    CHANGE(base_digest[31]);
    CHANGE(training[31]);
    CHANGE(roster_key[31]);
    CHANGE(invited[31]);
    CHANGE(encoding.mode);
    CHANGE(encoding.grid);
    CHANGE(encoding.grid_bits);
    CHANGE(encoding.s1);
    CHANGE(encoding.s2);
    CHANGE(encoding.sinf);
    CHANGE(encoding.word_bits);
    CHANGE(encoding.shares);
    CHANGE(encoding.clip_l1);
    CHANGE(encoding.clip_l2);
    CHANGE(plan.members);
    CHANGE(plan.threshold);
    CHANGE(plan.drop_max);
    CHANGE(plan.colluders);
    CHANGE(plan.shares);
    CHANGE(plan.neighbours);
    CHANGE(plan.neighbour_threshold);
#undef CHANGE
}

static void the_invited_hash_tells_names_keys_and_counts_apart(void **state)
{
    (void)state;
    struct trib_secagg_entry a = rig_vouched(1);
    struct trib_secagg_entry b = rig_vouched(2);
    const struct trib_secagg_entry *both[] = {&a, &b};
    uint8_t hash[TRIB_DIGEST_SIZE];
    uint8_t other[TRIB_DIGEST_SIZE];
    trib_secagg_invited_hash(both, 2, hash);
    trib_secagg_invited_hash(both, 1, other);
    assert_memory_not_equal(hash, other, sizeof(hash));
    a.sign_key[0] ^= 1;
    trib_secagg_invited_hash(both, 2, other);
    assert_memory_not_equal(hash, other, sizeof(hash));
    a.sign_key[0] ^= 1;
    a.name[0] ^= 1;
    trib_secagg_invited_hash(both, 2, other);
    assert_memory_not_equal(hash, other, sizeof(hash));
}

// ---- A lost connection, and a coordinator that was killed

static void the_same_call_again_gives_the_same_bytes(void **state)
{
    (void)state;
    struct trib_secagg_header header = rig_header(5, 2, 24, 19);
    struct trib_secagg_advert first, second;
    uint8_t signature[TRIB_SIGNATURE_SIZE], other[TRIB_SIGNATURE_SIZE];
    uint8_t shares[5 * TRIB_SECAGG_SHARE_SIZE], again[5 * TRIB_SECAGG_SHARE_SIZE];
    size_t size, size_again;
    struct rig rig;
    rig_init(&rig, &header);
    assert_int_equal(trib_secagg_member_advert(rig.members[0], &first), TRIB_OK);
    assert_int_equal(trib_secagg_member_advert(rig.members[0], &second), TRIB_OK);
    assert_memory_equal(&first, &second, sizeof(first));
    rig.lost_at[4] = RIG_CONSENTS; // signs later
    rig_until(&rig, RIG_UNMASK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(trib_secagg_member_survivors(rig.members[0],
                                                      trib_secagg_hub_survivor_set(rig.hub), 1,
                                                      i == 0 ? signature : other),
                         TRIB_OK);
    }
    assert_memory_equal(signature, other, sizeof(other));
    assert_int_equal(rig_ask(&rig, 0, shares, &size), TRIB_OK);
    assert_int_equal(size, 5 * TRIB_SECAGG_SHARE_SIZE);
    rig.lost_at[4] = RIG_NEVER;
    rig_consents(&rig); // one consent more
    assert_int_equal(rig_ask(&rig, 0, again, &size_again), TRIB_OK);
    assert_int_equal(size, size_again);
    assert_memory_equal(shares, again, size);
    assert_int_equal(trib_secagg_hub_unmask(rig.hub, 0, shares, size), TRIB_OK);
    assert_int_equal(trib_secagg_hub_unmask(rig.hub, 0, shares, size), TRIB_OK);
    rig_unmask(&rig);
    assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_OK);
    assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_OK);
    rig_check_sum(&rig);
    rig_fini(&rig);
}

// The hub is replaced by what its bytes say.
static void reload(struct rig *rig)
{
    struct trib_buf buf = {0};
    struct trib_secagg_hub *hub = NULL;
    trib_secagg_hub_pack(rig->hub, &buf);
    assert_false(buf.failed);
    assert_int_equal(trib_secagg_hub_unpack(buf.data, buf.size, &rig->header, RIG_POPULATION, &hub),
                     TRIB_OK);
    struct trib_buf again = {0};
    trib_secagg_hub_pack(hub, &again);
    assert_int_equal(buf.size, again.size);
    assert_memory_equal(buf.data, again.data, buf.size);
    trib_secagg_hub_destroy(rig->hub);
    rig->hub = hub;
    trib_buf_fini(&buf);
    trib_buf_fini(&again);
}

static void a_hub_goes_on_from_its_bytes_at_every_point(void **state)
{
    (void)state;
    struct trib_secagg_header header = rig_header(5, 2, 24, 19);
    struct rig rig;
    rig_init(&rig, &header);
    rig.lost_at[1] = RIG_SHARES;
    rig.lost_at[3] = RIG_MASK;
    rig_until(&rig, RIG_CONSENTS);
    reload(&rig);
    for (int last = 0; last < 5; last++) { // one consent after another
        for (int i = 0; i < 5; i++)
            rig.lost_at[i] = i == last && i != 1 && i != 3 ? RIG_NEVER : RIG_CONSENTS;
        rig_consents(&rig);
        reload(&rig);
    }
    assert_true(trib_secagg_hub_has_consent(rig.hub));
    for (int last = 0; last < 5; last++) {
        assert_false(trib_secagg_hub_can_open(rig.hub));
        for (int i = 0; i < 5; i++)
            rig.lost_at[i] = i == last && i != 1 && i != 3 ? RIG_NEVER : RIG_CONSENTS;
        rig_unmask(&rig);
        reload(&rig);
    }
    assert_true(trib_secagg_hub_can_open(rig.hub));
    assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_OK);
    rig_check_sum(&rig);
    reload(&rig);
    assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_OK);
    rig_check_sum(&rig);
    rig_fini(&rig);
}

static void every_truncation_and_flipped_bit_of_a_hub_is_refused(void **state)
{
    (void)state;
    struct trib_secagg_header header = rig_header(5, 2, 24, 19);
    struct trib_secagg_hub *hub = NULL;
    struct trib_buf buf = {0};
    struct rig rig;
    rig_init(&rig, &header);
    rig_run(&rig);
    trib_secagg_hub_pack(rig.hub, &buf);
    for (size_t size = 0; size < buf.size; size++) {
        assert_int_equal(trib_secagg_hub_unpack(buf.data, size, &header, RIG_POPULATION, &hub),
                         TRIB_ERR_CORRUPT);
    }
    for (size_t i = 0; i < buf.size; i++) {
        buf.data[i] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(trib_secagg_hub_unpack(buf.data, buf.size, &header, RIG_POPULATION, &hub),
                         TRIB_ERR_CORRUPT);
        buf.data[i] ^= (uint8_t)(1 << i % 8);
    }
    // Bits flipped by somebody who mends the digest: refused, or a hub that does no harm.
    for (size_t i = 0; i < buf.size - TRIB_DIGEST_SIZE; i++) {
        struct trib_secagg_hub *forged = NULL;
        buf.data[i] ^= (uint8_t)(1 << i % 8);
        trib_digest(buf.data, buf.size - TRIB_DIGEST_SIZE, buf.data + buf.size - TRIB_DIGEST_SIZE);
        if (!trib_secagg_hub_unpack(buf.data, buf.size, &header, RIG_POPULATION, &forged) &&
            trib_secagg_hub_can_open(forged))
            (void)!trib_secagg_hub_open(forged);
        trib_secagg_hub_destroy(forged);
        buf.data[i] ^= (uint8_t)(1 << i % 8);
    }
    header.round_number++;
    trib_digest(buf.data, buf.size - TRIB_DIGEST_SIZE, buf.data + buf.size - TRIB_DIGEST_SIZE);
    assert_int_equal(trib_secagg_hub_unpack(buf.data, buf.size, &header, RIG_POPULATION, &hub),
                     TRIB_ERR_CORRUPT); // of another round
    trib_buf_fini(&buf);
    rig_fini(&rig);
}

// ---- The hub's answers to what does not fit

static void the_hub_refuses_what_is_out_of_turn_or_of_the_wrong_size(void **state)
{
    (void)state;
    struct trib_secagg_header header = rig_header(5, 2, 24, 19);
    uint8_t bytes[5 * TRIB_SECAGG_SEALED_SIZE] = {0};
    struct rig rig;
    rig_init(&rig, &header);
    assert_int_equal(trib_secagg_hub_close_keys(rig.hub), TRIB_ERR_STATE);
    assert_int_equal(trib_secagg_hub_close_shares(rig.hub), TRIB_ERR_STATE);
    rig_adverts(&rig);
    assert_int_equal(trib_secagg_hub_advert(rig.hub, 9, &rig.entries[0]), TRIB_ERR_LIMIT);
    assert_int_equal(trib_secagg_hub_find(rig.hub, 9), UINT32_MAX);
    assert_int_equal(trib_secagg_hub_close_keys(rig.hub), TRIB_OK);
    assert_int_equal(rig_device(&rig, trib_secagg_hub_find(rig.hub, 103)), 3);
    assert_int_equal(trib_secagg_hub_advert(rig.hub, 9, &rig.entries[0]), TRIB_ERR_STATE);
    assert_int_equal(trib_secagg_hub_shares(rig.hub, 0, bytes, 1), TRIB_ERR_DATA);
    assert_int_equal(trib_secagg_hub_masked(rig.hub, 0), TRIB_ERR_STATE);
    rig.lost_at[4] = RIG_SHARES;
    rig_shares(&rig);
    assert_int_equal(trib_secagg_hub_close_shares(rig.hub), TRIB_OK);
    assert_int_equal(trib_secagg_hub_masked(rig.hub, 4), TRIB_ERR_STATE); // not of U2
    assert_int_equal(trib_secagg_hub_consent(rig.hub, 0, bytes), TRIB_ERR_STATE);
    rig_mask(&rig);
    assert_int_equal(trib_secagg_hub_close_masked(rig.hub), TRIB_OK);
    assert_int_equal(trib_secagg_hub_consent(rig.hub, 0, bytes), TRIB_ERR_AUTH);
    assert_int_equal(trib_secagg_hub_consent(rig.hub, 4, bytes), TRIB_ERR_AUTH);
    assert_int_equal(trib_secagg_hub_unmask(rig.hub, 0, bytes, 5 * TRIB_SECAGG_SHARE_SIZE),
                     TRIB_ERR_DATA);
    assert_int_equal(trib_secagg_hub_unmask(rig.hub, 4, bytes, 4 * TRIB_SECAGG_SHARE_SIZE),
                     TRIB_ERR_STATE);
    assert_int_equal(trib_secagg_hub_open(rig.hub), TRIB_ERR_STATE);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_cancel_for_every_way_to_lose_members),
        cmocka_unit_test(below_the_threshold_there_is_no_sum),
        cmocka_unit_test(the_sum_wraps_as_words_do),
        cmocka_unit_test(a_sparse_graph_loses_members_and_keeps_the_sum),
        cmocka_unit_test(a_graph_is_regular_symmetric_and_consistent),
        cmocka_unit_test(a_graph_is_drawn_from_the_hash_alike_for_all),
        cmocka_unit_test(few_members_of_a_sparse_plan_are_all_neighbours),
        cmocka_unit_test(the_round_hash_covers_every_field),
        cmocka_unit_test(the_invited_hash_tells_names_keys_and_counts_apart),
        cmocka_unit_test(the_same_call_again_gives_the_same_bytes),
        cmocka_unit_test(a_hub_goes_on_from_its_bytes_at_every_point),
        cmocka_unit_test(every_truncation_and_flipped_bit_of_a_hub_is_refused),
        cmocka_unit_test(the_hub_refuses_what_is_out_of_turn_or_of_the_wrong_size),
    };
    return RUN_TESTS(tests);
}
