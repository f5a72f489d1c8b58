#include "client/task.h"
#include "tests/unit/files.h"

#include <math.h>

#include "common/wire/codec.h"
#include "tests/unit/task_rig.h"
#include "tests/unit/update_label.h"

struct outcome {
    enum trib_code code;
    struct trib_msg_upload_begin begin;
    uint8_t *packed;
    bool is_spooled;
};

// Judge and run `msg` as the device `name`, and take the spooled update away again.
static struct outcome run(const char *name)
{
    static const float base[PARAMS] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct outcome outcome = {.packed = NULL};
    struct trib_task task;
    struct trib_task_result result = {.words = NULL};
    struct trib_spool spool;
    take_task(name, &task);
    outcome.code = trib_task_run(&task, &trainer, &script, base, files_dir, &result);
    assert_null(result.words);
    outcome.begin = result.begin;
    outcome.packed = result.packed;
    if (trib_spool_read(files_dir, &spool) == TRIB_OK) {
        outcome.is_spooled = true;
        assert_int_equal(spool.begin.size, outcome.begin.size);
        assert_memory_equal(spool.packed, outcome.packed, spool.begin.size);
        assert_memory_equal(spool.begin.update_id, outcome.begin.update_id, TRIB_MSG_ID_SIZE);
        trib_spool_fini(&spool);
        assert_int_equal(trib_spool_remove(files_dir), TRIB_OK);
    }
    return outcome;
}

static void a_task_is_declined_for_what_is_wrong_with_it(void **state)
{
    (void)state;
    assert_int_equal(judge(0), TRIB_CODE_ACCEPTED);
    assert_int_equal(judge(PARAMS * 5 * sizeof(float)), TRIB_CODE_ACCEPTED);
    assert_int_equal(judge(PARAMS * 5 * sizeof(float) - 1), TRIB_CODE_DECLINED_MODEL);
    (void)snprintf(msg.spec, sizeof(msg.spec), "3 - telepathy 2");
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_MODEL);
    (void)set_up(state);
    msg.encoding.grid = 0;
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_POLICY);
    msg.encoding.grid = (double)NAN;
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_POLICY);
    (void)set_up(state);
    msg.encoding.mode = 77; // of a later version
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_POLICY);
    (void)set_up(state);
    msg.encoding.word_bits = 12;
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_POLICY);
    (void)set_up(state);
    (void)snprintf(policy.allowed_modes, sizeof(policy.allowed_modes), "local");
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_POLICY);
    use_local_privacy();
    assert_int_equal(judge(0), TRIB_CODE_ACCEPTED);
    policy.max_epsilon_pure_round = 2048.0 / 64 - 0.01;
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_POLICY);
}

static void a_test_seed_is_for_test_builds_only(void **state)
{
    (void)state;
    use_local_privacy();
    msg.test_seed = 1;
#ifdef TRIB_WITH_TEST_NOISE
    assert_int_equal(judge(0), TRIB_CODE_ACCEPTED);
#else
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_POLICY);
#endif
}

static void without_privacy_the_rounded_delta_and_its_weight_are_sent(void **state)
{
    (void)state;
    int32_t words[PARAMS];
    struct trib_model model;
    char why[128];
    const struct outcome got = run("d0");
    assert_int_equal(got.code, TRIB_CODE_ACCEPTED);
    assert_true(got.is_spooled);
    assert_int_equal(got.begin.size, trib_codec_size(PARAMS, 24));
    trib_codec_unpack(got.packed, PARAMS, 24, words);
    for (int i = 0; i < PARAMS; i++)
        assert_int_equal(words[i], 256); // 0.25 / 2^-10
    assert_true(got.begin.has_weight);
    assert_int_equal(got.begin.weight, 20);
    assert_int_equal(got.begin.round_id, 9);
    assert_memory_equal(got.begin.base_digest, msg.base_digest, TRIB_DIGEST_SIZE);
    assert_int_equal(trib_model_parse(SPEC, &model, why, sizeof(why)), TRIB_OK);
    assert_memory_equal(got.begin.arch_digest, model.arch_digest, TRIB_DIGEST_SIZE);
    assert_label(&got.begin, got.packed);
    free(got.packed);
}

static void a_weight_is_never_above_what_the_round_allows(void **state)
{
    (void)state;
    const uint64_t examples[] = {999, 1000, 1001, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        script.examples = examples[i];
        const struct outcome got = run("d0");
        assert_int_equal(got.code, TRIB_CODE_ACCEPTED);
        assert_int_equal(got.begin.weight, examples[i] < 1000 ? examples[i] : 1000);
        free(got.packed);
    }
}

static void with_privacy_the_number_of_examples_stays_on_the_device(void **state)
{
    (void)state;
    use_local_privacy();
    const struct outcome got = run("d0");
    assert_int_equal(got.code, TRIB_CODE_ACCEPTED);
    assert_true(got.is_spooled);
    assert_false(got.begin.has_weight);
    assert_int_equal(got.begin.weight, 0);
    free(got.packed);
}

// The same delta twice: the noise differs, and so does the id of the update.
static void with_privacy_no_two_updates_are_alike(void **state)
{
    (void)state;
    use_local_privacy();
    const struct outcome first = run("d0");
    const struct outcome second = run("d0");
    assert_memory_not_equal(first.packed, second.packed, first.begin.size);
    assert_memory_not_equal(first.begin.update_id, second.begin.update_id, TRIB_MSG_ID_SIZE);
    free(first.packed);
    free(second.packed);
}

// Before it trains, and whatever the coordinator says of itself.
static void a_masked_task_with_bad_thresholds_is_declined(void **state)
{
    (void)state;
    use_local_privacy();
    (void)snprintf(policy.allowed_modes, sizeof(policy.allowed_modes), "distributed");
    policy.min_cohort = 20;
    msg.encoding.mode = TRIB_PRIVACY_DISTRIBUTED;
    msg.encoding.shares = 13;
    msg.secagg = (struct trib_msg_secagg_plan){.members = 20,
                                               .threshold = 15,
                                               .drop_max = 5,
                                               .colluders = 2,
                                               .shares = 13,
                                               .neighbour_threshold = 15};
    assert_int_equal(judge(0), TRIB_CODE_ACCEPTED);
    msg.secagg.threshold = 11; // 2T = n + c: two sums could be opened
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_PLAN);
    msg.secagg.threshold = 15;
    policy.min_cohort = 21;
    assert_int_equal(judge(0), TRIB_CODE_DECLINED_PLAN);
}

// The words wait in memory to be masked; nothing that could be sent, or read from a disk, is made.
static void a_share_of_the_noise_is_never_packed_unmasked(void **state)
{
    (void)state;
    static const float base[PARAMS] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct trib_task_result result = {.words = NULL};
    struct trib_task task;
    struct trib_spool spool;

    use_local_privacy();
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_ACCEPTED);
    task.device = "anna";
    task.stop = &stop;
    task.encoding.mode = TRIB_PRIVACY_DISTRIBUTED;
    task.encoding.shares = 60;
    assert_int_equal(trib_task_run(&task, &trainer, &script, base, files_dir, &result),
                     TRIB_CODE_ACCEPTED);
    assert_non_null(result.words);
    assert_null(result.packed);
    assert_int_not_equal(trib_spool_read(files_dir, &spool), TRIB_OK);
    trib_task_result_fini(&result, PARAMS);
    assert_null(result.words);
}

static void predictable_noise_follows_the_seed_the_round_and_the_device(void **state)
{
    (void)state;
#ifdef TRIB_WITH_TEST_NOISE
    use_local_privacy();
    msg.test_seed = 5;
    const struct outcome first = run("d0");
    const struct outcome again = run("d0");
    const struct outcome other = run("d1");
    assert_memory_equal(first.packed, again.packed, first.begin.size);
    assert_memory_not_equal(first.packed, other.packed, first.begin.size);
    msg.test_seed = 6;
    const struct outcome reseeded = run("d0");
    assert_memory_not_equal(first.packed, reseeded.packed, first.begin.size);
    free(first.packed);
    free(again.packed);
    free(other.packed);
    free(reseeded.packed);
#else
    skip(); // this build has no predictable noise
#endif
}

static void a_trainer_that_fails_sends_nothing(void **state)
{
    (void)state;
    const struct {
        enum trib_err err;
        uint64_t examples;
        float step;
        enum trib_code code;
    } cases[] = {
        {TRIB_ERR_REFUSED, 20, 0, TRIB_CODE_DECLINED_MODEL},
        {TRIB_OK, 0, 0, TRIB_CODE_DECLINED_NO_DATA},
        {TRIB_ERR_DATA, 20, 0, TRIB_CODE_DECLINED_MODEL},
        {TRIB_ERR_PRIVACY, 20, 0, TRIB_CODE_DECLINED_POLICY},
        {TRIB_ERR_STOPPED, 20, 0, TRIB_CODE_DECLINED_FAILED},
        {TRIB_ERR_NOMEM, 20, 0, TRIB_CODE_DECLINED_FAILED},
        {TRIB_OK, 20, INFINITY, TRIB_CODE_DECLINED_RANGE},
        {TRIB_OK, 20, NAN, TRIB_CODE_DECLINED_RANGE},
        {TRIB_OK, 20, 8193, TRIB_CODE_DECLINED_RANGE}, // 2^13 / 2^-10 = 2^23: no 24-bit word
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        script.err = cases[i].err;
        script.examples = cases[i].examples;
        script.step = cases[i].step;
        const struct outcome got = run("d0");
        assert_int_equal(got.code, cases[i].code);
        assert_null(got.packed);
        assert_false(got.is_spooled);
    }
}

static void with_privacy_on_all_trainers_failures_look_alike(void **state)
{
    (void)state;
    static const struct {
        enum trib_err err;
        uint64_t examples;
    } cases[] = {{TRIB_ERR_REFUSED, 20},
                 {TRIB_OK, 0},
                 {TRIB_ERR_DATA, 20},
                 {TRIB_ERR_PRIVACY, 20},
                 {TRIB_ERR_STOPPED, 20}};
    use_local_privacy();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        script.err = cases[i].err;
        script.examples = cases[i].examples;
        assert_int_equal(run("d0").code, TRIB_CODE_DECLINED_FAILED);
    }
    script.err = TRIB_OK;
    script.examples = 20;
    script.step = NAN; // counts as 0, and takes part
    const struct outcome got = run("d0");
    assert_int_equal(got.code, TRIB_CODE_ACCEPTED);
    free(got.packed);
}

static void what_cannot_be_made_durable_is_not_sent(void **state)
{
    (void)state;
    static const float base[PARAMS];
    struct trib_task task;
    struct trib_task_result result = {.words = NULL};
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_ACCEPTED);
    task.device = "d0";
    task.stop = &stop;
    assert_int_equal(trib_task_run(&task, &trainer, &script, base, "/nonexistent", &result),
                     TRIB_CODE_DECLINED_FAILED);
    assert_null(result.packed);
}

// Charged before it is spooled: a spool that cannot be written may be there all the same.
static void an_update_is_charged_before_it_is_durable(void **state)
{
    (void)state;
    struct trib_ledger_totals totals;
    free(run("d0").packed); // mode off
    trib_ledger_totals(ledger, &totals);
    assert_int_equal(totals.entries, 0);

    use_local_privacy();
    struct outcome got = run("d0");
    assert_int_equal(got.code, TRIB_CODE_ACCEPTED);
    free(got.packed);
    trib_ledger_totals(ledger, &totals);
    assert_int_equal(totals.all.rounds, 1);
    assert_true(totals.all.epsilon_pure == 2048.0 / 64);
    script.err = TRIB_ERR_REFUSED; // nothing was noised
    assert_int_equal(run("d0").code, TRIB_CODE_DECLINED_FAILED);
    trib_ledger_totals(ledger, &totals);
    assert_int_equal(totals.all.rounds, 1);
}

static void without_budget_nothing_is_made(void **state)
{
    (void)state;
    const struct trib_ledger_options options = {.budget.epsilon_pure = 50};
    trib_ledger_close(ledger);
    assert_int_equal(trib_ledger_open(&options, &ledger), TRIB_OK);
    use_local_privacy(); // 32 a round
    struct outcome got = run("d0");
    assert_int_equal(got.code, TRIB_CODE_ACCEPTED);
    free(got.packed);
    got = run("d0");
    assert_int_equal(got.code, TRIB_CODE_DECLINED_BUDGET);
    assert_null(got.packed);
    assert_false(got.is_spooled);
    trib_ledger_close(ledger); // a device without a ledger promises nothing either
    ledger = NULL;
    got = run("d0");
    assert_int_equal(got.code, TRIB_CODE_DECLINED_FAILED);
    assert_false(got.is_spooled);
}

static void a_way_to_fit_that_we_do_not_know_is_declined(void **state)
{
    (void)state;
    struct trib_task task;
    msg.fit.optimizer = TRIB_OPTIMIZER_ADAM;
    msg.fit.lr_schedule = TRIB_SCHEDULE_COSINE;
    msg.fit.class_weights = 1;
    const struct trib_msg_fit known = msg.fit;
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_ACCEPTED);
    msg.fit.optimizer = TRIB_OPTIMIZER_COUNT;
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    msg.fit = known;
    msg.fit.lr_schedule = TRIB_SCHEDULE_PLATEAU; // a device sees no held-out metric
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    msg.fit = known;
    msg.fit.class_weights = TRIB_CLASS_WEIGHTS_COUNT;
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    msg.fit = known;
    msg.fit.is_strange = true;
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
}

static void ways_that_do_not_fit_the_model_are_declined(void **state)
{
    (void)state;
    struct trib_task task;
    static const struct {
        const char *spec;
        struct trib_msg_fit fit;
        uint64_t batch;
        enum trib_code code;
    } cases[] = {
        {SPEC, {.sampling = 1, .sampling_ratio = 1}, 16, TRIB_CODE_ACCEPTED},
        {SPEC, {.sampling = 4, .sampling_ratio = 1}, 16, TRIB_CODE_DECLINED_MODEL},
        {SPEC, {.sampling = 1}, 16, TRIB_CODE_DECLINED_MODEL}, // without a ratio
        {SPEC, {.sampling = 1, .sampling_ratio = 1}, 0, TRIB_CODE_DECLINED_MODEL},
        {SPEC, {.sampling = 2, .sampling_ratio = 1}, 0, TRIB_CODE_ACCEPTED},
        {SPEC, {.sampling = 3, .sampling_ratio = 1}, 16, TRIB_CODE_DECLINED_MODEL}, // neighbours
        {SPEC, {.sampling = 3, .sampling_ratio = 1, .smote_neighbours = 5}, 16, TRIB_CODE_ACCEPTED},
        {SPEC,
         {.sampling = 1, .sampling_ratio = 1, .class_weights = 1},
         16,
         TRIB_CODE_DECLINED_MODEL},
        {SPEC, {.class_weights = 2, .class_count = 2}, 16, TRIB_CODE_ACCEPTED},
        {SPEC, {.class_weights = 2, .class_count = 3}, 16, TRIB_CODE_DECLINED_MODEL},
        {SPEC, {.class_weights = 2}, 16, TRIB_CODE_DECLINED_MODEL}, // without the weights
        {SPEC, {.class_weights = 1, .class_count = 2}, 16, TRIB_CODE_DECLINED_MODEL},
        {"3 - dense 1 linear", {.sampling = 1, .sampling_ratio = 1}, 16, TRIB_CODE_DECLINED_MODEL},
        {SPEC, {.jitter = 1, .mixup = 0.5}, 0, TRIB_CODE_ACCEPTED},
        {SPEC, {.shift = 1}, 16, TRIB_CODE_DECLINED_MODEL}, // no picture
        {SPEC, {.rotate = 1}, 16, TRIB_CODE_DECLINED_MODEL},
        {SPEC, {.crop = 0.5}, 16, TRIB_CODE_DECLINED_MODEL},
        {"1x2x2 - dense 2 softmax", {.shift = 1, .rotate = 1, .crop = 0.5}, 16, TRIB_CODE_ACCEPTED},
        {SPEC, {.frozen_layers = 1}, 16, TRIB_CODE_ACCEPTED},
        {SPEC, {.frozen_layers = 2}, 16, TRIB_CODE_DECLINED_MODEL}, // there is no layer 1
        {SPEC, {.trunk_layers = 1, .trunk_rate = 0.5}, 16, TRIB_CODE_ACCEPTED},
        {SPEC, {.trunk_layers = 1}, 16, TRIB_CODE_DECLINED_MODEL}, // without a rate
        {SPEC, {.trunk_layers = UINT64_C(1) << 63, .trunk_rate = 1}, 16, TRIB_CODE_DECLINED_MODEL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        msg.fit = cases[i].fit;
        msg.batch = cases[i].batch;
        (void)snprintf(msg.spec, sizeof(msg.spec), "%s", cases[i].spec);
        const enum trib_code code = trib_task_judge(&msg, &policy, 0, &task);
        if (code != cases[i].code)
            fail_msg("case %zu: %s", i, trib_code_text(code));
    }
}

static void what_the_optimizer_keeps_counts_against_the_memory(void **state)
{
    (void)state;
    struct trib_task task;
    const uint64_t plain = 5 * PARAMS * sizeof(float);
    assert_int_equal(trib_task_judge(&msg, &policy, plain, &task), TRIB_CODE_ACCEPTED);
    msg.fit.optimizer = TRIB_OPTIMIZER_ADAM; // two moments
    msg.fit.proximal_mu = 0.1;               // the start
    msg.fit.validation_fraction = 0.1;       // the best epoch
    const uint64_t most = 9 * PARAMS * sizeof(float);
    assert_int_equal(trib_task_judge(&msg, &policy, most - 1, &task), TRIB_CODE_DECLINED_MODEL);
    assert_int_equal(trib_task_judge(&msg, &policy, most, &task), TRIB_CODE_ACCEPTED);
}

static void a_trainer_finds_every_number_of_its_task(void **state)
{
    (void)state;
    struct trib_task task;
    msg.momentum = 0.75;
    msg.weight_decay = 0.125;
    msg.fit = (struct trib_msg_fit){
        .l1 = 0.25, .proximal_mu = 2, .clip_norm = 3, .validation_fraction = 0.375, .patience = 4};
    msg.hyper_count = 1;
    msg.hyper[0] = (struct trib_msg_hyper){.name = "dropout", .value = 0.5};
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_ACCEPTED);
    task.stop = &stop;
    assert_int_equal(trib_task_epochs(&task), 5);
    assert_true(trib_task_hyper(&task, "learning_rate", -1) == 0.5);
    assert_true(trib_task_hyper(&task, "momentum", -1) == 0.75);
    assert_true(trib_task_hyper(&task, "weight_decay", -1) == 0.125);
    assert_true(trib_task_hyper(&task, "batch", -1) == 16);
    assert_true(trib_task_hyper(&task, "l1", -1) == 0.25);
    assert_true(trib_task_hyper(&task, "proximal_mu", -1) == 2);
    assert_true(trib_task_hyper(&task, "clip_norm", -1) == 3);
    assert_true(trib_task_hyper(&task, "validation_fraction", -1) == 0.375);
    assert_true(trib_task_hyper(&task, "patience", -1) == 4);
    assert_true(trib_task_hyper(&task, "dropout", -1) == 0.5);
    assert_true(trib_task_hyper(&task, "absent", -1) == -1);
    assert_int_equal(trib_task_should_stop(&task), 0);
    stop = 1;
    assert_int_equal(trib_task_should_stop(&task), 1);
    stop = 0;
}

static void shuffles_differ_by_seed_round_and_device_and_repeat(void **state)
{
    (void)state;
    struct trib_rng first, again, seeded, later, other;
    trib_task_rng(&first, 1, 1, "d0");
    trib_task_rng(&again, 1, 1, "d0");
    trib_task_rng(&seeded, 2, 1, "d0");
    trib_task_rng(&later, 1, 2, "d0");
    trib_task_rng(&other, 1, 1, "d1");
    assert_memory_equal(&first, &again, sizeof(first));
    assert_memory_not_equal(&first, &seeded, sizeof(first));
    assert_memory_not_equal(&first, &later, sizeof(first));
    assert_memory_not_equal(&first, &other, sizeof(first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_task_is_declined_for_what_is_wrong_with_it, set_up),
        cmocka_unit_test_setup(a_test_seed_is_for_test_builds_only, set_up),
        cmocka_unit_test_setup(without_privacy_the_rounded_delta_and_its_weight_are_sent, set_up),
        cmocka_unit_test_setup(a_weight_is_never_above_what_the_round_allows, set_up),
        cmocka_unit_test_setup(with_privacy_the_number_of_examples_stays_on_the_device, set_up),
        cmocka_unit_test_setup(with_privacy_no_two_updates_are_alike, set_up),
        cmocka_unit_test_setup(a_masked_task_with_bad_thresholds_is_declined, set_up),
        cmocka_unit_test_setup(a_share_of_the_noise_is_never_packed_unmasked, set_up),
        cmocka_unit_test_setup(predictable_noise_follows_the_seed_the_round_and_the_device, set_up),
        cmocka_unit_test_setup(a_trainer_that_fails_sends_nothing, set_up),
        cmocka_unit_test_setup(with_privacy_on_all_trainers_failures_look_alike, set_up),
        cmocka_unit_test_setup(what_cannot_be_made_durable_is_not_sent, set_up),
        cmocka_unit_test_setup(an_update_is_charged_before_it_is_durable, set_up),
        cmocka_unit_test_setup(without_budget_nothing_is_made, set_up),
        cmocka_unit_test_setup(a_way_to_fit_that_we_do_not_know_is_declined, set_up),
        cmocka_unit_test_setup(ways_that_do_not_fit_the_model_are_declined, set_up),
        cmocka_unit_test_setup(what_the_optimizer_keeps_counts_against_the_memory, set_up),
        cmocka_unit_test_setup(a_trainer_finds_every_number_of_its_task, set_up),
        cmocka_unit_test_setup(shuffles_differ_by_seed_round_and_device_and_repeat, set_up),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
