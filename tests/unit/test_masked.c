// A device's part in a masked round, with a hub and three members in one process.
#include "client/masked.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/privacy/secagg_bytes.h"
#include "common/wire/codec.h"
#include "common/wire/training.h"
#include "tests/unit/update_label.h"

#define POPULATION "edge"

enum {
    N = 3,
    PARAMS = 100,
    WORD_BITS = 24,
};

// Linked with --wrap=free: the words' memory is looked at in the moment it is given back.
void __real_free(void *data); // NOLINT(bugprone-reserved-identifier): the linker's names
void __wrap_free(void *data); // NOLINT(bugprone-reserved-identifier)
static const int32_t *watched[N];
static unsigned freed, freed_with_words;

void __wrap_free(void *data)
{
    for (int i = 0; i < N && data; i++) {
        if (data != watched[i])
            continue;
        bool is_wiped = true;
        for (int p = 0; p < PARAMS; p++)
            is_wiped = is_wiped && watched[i][p] == 0;
        freed++;
        freed_with_words += !is_wiped;
        watched[i] = NULL;
    }
    __real_free(data);
}

struct device {
    struct trib_task task;
    char name[16];
    uint8_t sign_seed[TRIB_SIGN_SEED_SIZE];
    struct trib_secagg_entry entry;
    struct trib_masked *masked;
    int32_t words[PARAMS]; // what it wants to add
};

static struct device devices[N];
static struct trib_secagg_header header;
static struct trib_secagg_hub *hub;
static uint32_t sums[PARAMS];

static void fill_task(struct trib_task *task)
{
    char why[200];
    *task = (struct trib_task){
        .msg = {.round_id = 77,
                .round_number = 2,
                .job = 5,
                .base_digest = {1, 2, 3},
                .learning_rate = 0.5},
        .model = {.param_count = PARAMS},
        .word_count = PARAMS,
        .encoding = {.mode = TRIB_PRIVACY_DISTRIBUTED,
                     .grid = 0x1p-12,
                     .grid_bits = 12,
                     .s1 = 4096,
                     .s2 = 4096,
                     .sinf = 4096,
                     .word_bits = WORD_BITS},
    };
    assert_int_equal(trib_secagg_plan_make(N, 0.6, 0, &task->secagg, why, sizeof(why)), TRIB_OK);
    assert_int_equal(task->secagg.threshold, 2);
    task->encoding.shares = task->secagg.shares;
}

static void fill_header(const struct trib_task *task, const uint8_t *roster_seed)
{
    header = (struct trib_secagg_header){.job = task->msg.job,
                                         .round_id = task->msg.round_id,
                                         .round_number = task->msg.round_number,
                                         .params = PARAMS,
                                         .invited = {9, 9},
                                         .encoding = task->encoding,
                                         .plan = task->secagg};
    memcpy(header.base_digest, task->msg.base_digest, TRIB_DIGEST_SIZE);
    trib_training_digest(&task->msg, header.training);
    trib_sign_public(roster_seed, header.roster_key);
}

static void create(struct device *device, int number, const uint8_t *roster_seed)
{
    uint64_t seed = 100 + (uint64_t)number;
    fill_task(&device->task);
    (void)snprintf(device->name, sizeof(device->name), "d%d", number);
    memset(device->sign_seed, 'a' + number, sizeof(device->sign_seed));
    memcpy(device->entry.name, device->name, sizeof(device->name));
    trib_sign_public(device->sign_seed, device->entry.sign_key);
    trib_roster_sign(roster_seed, POPULATION, device->name, device->entry.sign_key,
                     device->entry.roster_signature);
    int32_t *words = trib_alloc_array(PARAMS, sizeof(*words));
    assert_non_null(words);
    for (int p = 0; p < PARAMS; p++)
        words[p] = device->words[p] = (int32_t)(test_rand(&seed) % 10000) - 5001; // never 0 only
    watched[number] = words;
    const struct trib_masked_options options = {.task = &device->task,
                                                .roster_key = header.roster_key,
                                                .sign_seed = device->sign_seed,
                                                .population = POPULATION,
                                                .name = device->name,
                                                .invited = header.invited,
                                                .roster_open = header.roster_key,
                                                .cohort_min = 2};
    struct trib_masked_answer answer;
    assert_int_equal(trib_masked_create(&options, words, &device->masked, &answer),
                     TRIB_CODE_ACCEPTED);
    assert_int_equal(answer.kind, TRIB_SECAGG_STEP_ADVERT);
    assert_int_equal(
        trib_secagg_advert_unpack(answer.blob->data, answer.blob->size, &device->entry.advert),
        TRIB_OK);
    trib_blob_unref(answer.blob);
    assert_int_equal(trib_secagg_hub_advert(hub, (uint32_t)number, &device->entry), TRIB_OK);
}

static int set_up(void **state)
{
    (void)state;
    struct trib_task task;
    uint8_t roster_seed[TRIB_SIGN_SEED_SIZE];
    trib_crypto_init();
    trib_log_set_level(TRIB_LOG_ERROR); // devices say why they leave, here often
    memset(roster_seed, 'R', sizeof(roster_seed));
    memset(devices, 0, sizeof(devices));
    memset(sums, 0, sizeof(sums));
    freed = freed_with_words = 0;
    fill_task(&task);
    fill_header(&task, roster_seed);
    assert_int_equal(trib_secagg_hub_create(&header, POPULATION, &hub), TRIB_OK);
    for (int i = 0; i < N; i++)
        create(&devices[i], i, roster_seed);
    assert_int_equal(trib_secagg_hub_close_keys(hub), TRIB_OK);
    return 0;
}

// Whatever a test did, no device gave its words back unwiped.
static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        trib_masked_destroy(devices[i].masked);
    trib_secagg_hub_destroy(hub);
    assert_int_equal(freed, N);
    assert_int_equal(freed_with_words, 0);
    return 0;
}

// ---- What the coordinator says

static struct trib_buf keys_buf(void)
{
    struct trib_buf buf = {0};
    for (uint32_t i = 0; i < trib_secagg_hub_count(hub); i++)
        trib_secagg_entry_pack(trib_secagg_hub_entry(hub, i), &buf);
    return buf;
}

static struct trib_buf sealed_buf(uint32_t member)
{
    struct trib_buf buf = {0};
    trib_buf_append(&buf, trib_secagg_hub_shared_set(hub), trib_secagg_set_size(N));
    (void)trib_secagg_hub_sealed_for(hub, member, &buf);
    return buf;
}

static struct trib_buf consents_buf(void)
{
    struct trib_buf buf = {0};
    trib_buf_append(&buf, trib_secagg_hub_signer_set(hub), trib_secagg_set_size(N));
    trib_secagg_hub_signatures(hub, &buf);
    return buf;
}

static struct trib_buf survivors_buf(void)
{
    struct trib_buf buf = {0};
    trib_buf_append(&buf, trib_secagg_hub_survivor_set(hub), trib_secagg_set_size(N));
    return buf;
}

// Say it twice: the answer is there, and is the same both times.
static struct trib_blob *ask_twice(int device, uint32_t asked, const struct trib_buf *buf,
                                   uint32_t answered)
{
    struct trib_masked_answer first;
    struct trib_masked_answer again;
    struct trib_masked *masked = devices[device].masked;
    assert_int_equal(trib_masked_take(masked, asked, buf->data, buf->size, &first),
                     TRIB_CODE_ACCEPTED);
    assert_int_equal(first.kind, answered);
    assert_int_equal(trib_masked_take(masked, asked, buf->data, buf->size, &again),
                     TRIB_CODE_ACCEPTED);
    assert_int_equal(again.kind, answered);
    assert_int_equal(again.blob->size, first.blob->size);
    assert_memory_equal(again.blob->data, first.blob->data, first.blob->size);
    trib_blob_unref(again.blob);
    trib_masked_again(masked, &again);
    assert_int_equal(again.kind, answered);
    assert_memory_equal(again.blob->data, first.blob->data, first.blob->size);
    trib_blob_unref(again.blob);
    return first.blob;
}

static void play_shares(void)
{
    struct trib_buf keys = keys_buf();
    for (int i = 0; i < N; i++) {
        struct trib_blob *blob =
            ask_twice(i, TRIB_SECAGG_STEP_KEYS, &keys, TRIB_SECAGG_STEP_SHARES);
        assert_int_equal(trib_secagg_hub_shares(hub, (uint32_t)i, blob->data, blob->size), TRIB_OK);
        trib_blob_unref(blob);
    }
    trib_buf_fini(&keys);
    assert_int_equal(trib_secagg_hub_close_shares(hub), TRIB_OK);
}

static void upload(int device)
{
    struct trib_masked *masked = devices[device].masked;
    struct trib_msg_upload_begin begin;
    uint8_t *packed;
    int32_t words[PARAMS];
    assert_true(trib_masked_wants_upload(masked));
    assert_int_equal(trib_masked_upload(masked, &begin, &packed), TRIB_CODE_ACCEPTED);
    assert_false(trib_masked_wants_upload(masked));
    assert_false(begin.has_weight);
    assert_int_equal(begin.round_id, 77);
    assert_int_equal(begin.size, trib_codec_size(PARAMS, WORD_BITS));
    assert_label(&begin, packed);
    trib_codec_unpack(packed, PARAMS, WORD_BITS, words);
    assert_memory_not_equal(words, devices[device].words, sizeof(words));
    for (int p = 0; p < PARAMS; p++)
        sums[p] += (uint32_t)words[p];
    free(packed);
}

static void play_upload(int device)
{
    struct trib_masked_answer answer;
    struct trib_masked *masked = devices[device].masked;
    struct trib_buf sealed = sealed_buf((uint32_t)device);
    for (int time = 0; time < 2; time++) { // the second changes nothing: there is one upload
        assert_int_equal(
            trib_masked_take(masked, TRIB_SECAGG_STEP_SEALED, sealed.data, sealed.size, &answer),
            TRIB_CODE_ACCEPTED);
        assert_int_equal(answer.kind, 0);
        assert_null(answer.blob);
        if (time == 0)
            upload(device);
    }
    assert_false(trib_masked_wants_upload(masked));
    trib_buf_fini(&sealed);
    assert_int_equal(trib_secagg_hub_masked(hub, (uint32_t)device), TRIB_OK);
}

static void play_consent(int device)
{
    struct trib_buf survivors = survivors_buf();
    struct trib_blob *blob =
        ask_twice(device, TRIB_SECAGG_STEP_SURVIVORS, &survivors, TRIB_SECAGG_STEP_CONSENT);
    assert_int_equal(blob->size, TRIB_SIGNATURE_SIZE);
    assert_int_equal(trib_secagg_hub_consent(hub, (uint32_t)device, blob->data), TRIB_OK);
    trib_blob_unref(blob);
    trib_buf_fini(&survivors);
}

static void play_unmask(int device)
{
    struct trib_buf consents = consents_buf();
    struct trib_blob *blob =
        ask_twice(device, TRIB_SECAGG_STEP_CONSENTS, &consents, TRIB_SECAGG_STEP_UNMASK);
    assert_int_equal(trib_secagg_hub_unmask(hub, (uint32_t)device, blob->data, blob->size),
                     TRIB_OK);
    trib_blob_unref(blob);
    trib_buf_fini(&consents);
}

// Devices from `first` on survive.
static void play_to_the_seal(int first)
{
    play_shares();
    for (int i = first; i < N; i++)
        play_upload(i);
    assert_int_equal(trib_secagg_hub_close_masked(hub), TRIB_OK);
}

static void assert_sum(int first)
{
    assert_int_equal(trib_secagg_hub_open(hub), TRIB_OK);
    trib_secagg_hub_remove(hub, 0, PARAMS, sums);
    for (int p = 0; p < PARAMS; p++) {
        int32_t expected = 0;
        for (int i = first; i < N; i++)
            expected += devices[i].words[p];
        assert_int_equal(sums[p] & 0xFFFFFF, (uint32_t)expected & 0xFFFFFF);
    }
}

// ---- Tests

static void the_sum_is_exact_and_what_is_repeated_is_answered_with_the_same_bytes(void **state)
{
    (void)state;
    play_to_the_seal(0);
    for (int i = 0; i < N; i++)
        play_consent(i);
    for (int i = 0; i < N; i++)
        play_unmask(i);
    assert_sum(0);
}

static void without_one_member_the_sum_is_that_of_the_others(void **state)
{
    (void)state;
    play_to_the_seal(1);
    play_consent(1);
    play_consent(2);
    play_unmask(1);
    play_unmask(2);
    assert_sum(1);
}

// After a restart the coordinator says the survivors again, also to members that unmasked.
static void after_unmasking_the_same_survivors_are_no_reason_to_leave(void **state)
{
    (void)state;
    play_to_the_seal(0);
    for (int i = 0; i < N; i++)
        play_consent(i);
    play_unmask(0);
    play_consent(0);
    play_unmask(0);
}

// All but one of the others told to stand still: their keys are for another round than ours.
static void members_that_are_to_train_otherwise_share_no_round(void **state)
{
    (void)state;
    struct device odd = devices[2];
    struct trib_masked_answer answer;
    int32_t *words = trib_alloc_array(PARAMS, sizeof(*words));
    assert_non_null(words);
    odd.task.msg.learning_rate = 0;
    const struct trib_masked_options options = {.task = &odd.task,
                                                .roster_key = header.roster_key,
                                                .sign_seed = odd.sign_seed,
                                                .population = POPULATION,
                                                .name = odd.name,
                                                .invited = header.invited,
                                                .roster_open = header.roster_key,
                                                .cohort_min = 2};
    assert_int_equal(trib_masked_create(&options, words, &odd.masked, &answer), TRIB_CODE_ACCEPTED);
    assert_int_equal(
        trib_secagg_advert_unpack(answer.blob->data, answer.blob->size, &odd.entry.advert),
        TRIB_OK);
    trib_blob_unref(answer.blob);
    struct trib_buf keys = {0};
    trib_secagg_entry_pack(&devices[0].entry, &keys);
    trib_secagg_entry_pack(&devices[1].entry, &keys);
    trib_secagg_entry_pack(&odd.entry, &keys);
    assert_int_equal(
        trib_masked_take(devices[0].masked, TRIB_SECAGG_STEP_KEYS, keys.data, keys.size, &answer),
        TRIB_CODE_DECLINED_SIGNATURE);
    assert_int_equal(
        trib_masked_take(odd.masked, TRIB_SECAGG_STEP_KEYS, keys.data, keys.size, &answer),
        TRIB_CODE_DECLINED_SIGNATURE);
    trib_buf_fini(&keys);
    trib_masked_destroy(odd.masked);
}

static void other_survivors_make_a_device_leave(void **state)
{
    (void)state;
    struct trib_masked_answer answer;
    play_to_the_seal(0);
    play_consent(0);
    const uint8_t fewer[] = {0x3}; // without the last, still T
    assert_int_equal(trib_masked_take(devices[0].masked, TRIB_SECAGG_STEP_SURVIVORS, fewer,
                                      sizeof(fewer), &answer),
                     TRIB_CODE_DECLINED_VIEW);
    assert_null(answer.blob);
    for (int i = 1; i < N; i++)
        play_consent(i);
    struct trib_buf consents = consents_buf();
    assert_int_not_equal(trib_masked_take(devices[0].masked, TRIB_SECAGG_STEP_CONSENTS,
                                          consents.data, consents.size, &answer),
                         TRIB_CODE_ACCEPTED);
    trib_buf_fini(&consents);
}

static void assert_wrong_sizes(uint32_t kind, const struct trib_buf *good, enum trib_code code)
{
    struct trib_masked_answer answer;
    uint8_t *data = calloc(1, good->size + 1);
    assert_non_null(data);
    memcpy(data, good->data, good->size);
    assert_int_equal(trib_masked_take(devices[0].masked, kind, data, good->size - 1, &answer),
                     code);
    assert_null(answer.blob);
    assert_int_equal(trib_masked_take(devices[1].masked, kind, data, good->size + 1, &answer),
                     code);
    assert_null(answer.blob);
    free(data);
}

static void keys_of_a_wrong_size_are_refused(void **state)
{
    (void)state;
    struct trib_buf buf = keys_buf();
    assert_wrong_sizes(TRIB_SECAGG_STEP_KEYS, &buf, TRIB_CODE_DECLINED_ROSTER);
    trib_buf_fini(&buf);
}

static void sealed_shares_of_a_wrong_size_are_refused(void **state)
{
    (void)state;
    play_shares();
    struct trib_buf buf = sealed_buf(0);
    assert_wrong_sizes(TRIB_SECAGG_STEP_SEALED, &buf, TRIB_CODE_DECLINED_SHARE);
    trib_buf_fini(&buf);
}

static void consents_of_a_wrong_size_are_refused(void **state)
{
    (void)state;
    play_to_the_seal(0);
    for (int i = 0; i < N; i++)
        play_consent(i);
    struct trib_buf buf = consents_buf();
    assert_wrong_sizes(TRIB_SECAGG_STEP_CONSENTS, &buf, TRIB_CODE_DECLINED_SIGNATURE);
    trib_buf_fini(&buf);
}

static void steps_out_of_turn_are_refused(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {TRIB_SECAGG_STEP_SEALED,
                                     TRIB_SECAGG_STEP_SURVIVORS,
                                     TRIB_SECAGG_STEP_CONSENTS,
                                     TRIB_SECAGG_STEP_ADVERT,
                                     TRIB_SECAGG_STEP_UNMASK,
                                     0,
                                     99};
    static const uint8_t bytes[1 + TRIB_SECAGG_SEALED_SIZE] = {0x7};
    struct trib_masked_answer answer;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (size_t size = 1; size <= sizeof(bytes); size++) {
            enum trib_code code =
                trib_masked_take(devices[0].masked, kinds[k], bytes, size, &answer);
            if (kinds[k] == 0) // nothing was asked before the advert: it is said again
                assert_int_equal(code, TRIB_CODE_ACCEPTED);
            else
                assert_int_not_equal(code, TRIB_CODE_ACCEPTED);
            trib_blob_unref(answer.blob);
            assert_false(trib_masked_wants_upload(devices[0].masked));
        }
    }
}

static void the_room_for_a_step_is_what_the_step_may_have(void **state)
{
    (void)state;
    const struct trib_task *task = &devices[0].task;
    assert_int_equal(trib_masked_size_max(task, TRIB_SECAGG_STEP_KEYS), 3 * 320);
    assert_true(trib_masked_size_max(task, TRIB_SECAGG_STEP_SEALED) >= 1 + 2 * 104);
    assert_int_equal(trib_masked_size_max(task, TRIB_SECAGG_STEP_SURVIVORS), 1);
    assert_int_equal(trib_masked_size_max(task, TRIB_SECAGG_STEP_CONSENTS), 1 + 3 * 64);
    static const uint32_t not_its[] = {0,
                                       TRIB_SECAGG_STEP_ADVERT,
                                       TRIB_SECAGG_STEP_SHARES,
                                       TRIB_SECAGG_STEP_CONSENT,
                                       TRIB_SECAGG_STEP_UNMASK,
                                       99};
    for (size_t i = 0; i < sizeof(not_its) / sizeof(not_its[0]); i++)
        assert_int_equal(trib_masked_size_max(task, not_its[i]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_sum_is_exact_and_what_is_repeated_is_answered_with_the_same_bytes),
        TEST(without_one_member_the_sum_is_that_of_the_others),
        TEST(after_unmasking_the_same_survivors_are_no_reason_to_leave),
        TEST(members_that_are_to_train_otherwise_share_no_round),
        TEST(other_survivors_make_a_device_leave),
        TEST(keys_of_a_wrong_size_are_refused),
        TEST(sealed_shares_of_a_wrong_size_are_refused),
        TEST(consents_of_a_wrong_size_are_refused),
        TEST(steps_out_of_turn_are_refused),
        TEST(the_room_for_a_step_is_what_the_step_may_have),
    };
    return RUN_TESTS(tests);
}
