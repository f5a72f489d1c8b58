// Tasks that count instead of training.
#include "client/task.h"
#include "tests/unit/files.h"

#include <math.h>

#include "common/math/aside.h"
#include "common/wire/codec.h"
#include "tests/unit/task_rig.h"

enum {
    TALLY_VALUES = 4 * 5 / 2 + 4 + 2, // of Newton with 3 inputs
    TALLY_WORDS = TALLY_VALUES * TRIB_TALLY_LIMBS,
};

// Of the tally rounds of these tests: adds `tally_adds` to the first and the last value.
static double tally_adds[2];

static enum trib_err count_two(void *user, struct trib_task *task, const float *params,
                               size_t count)
{
    assert_ptr_equal(user, &script);
    assert_int_equal(count, 4);
    assert_true(params[3] == 0.5f);
    assert_int_equal(task->tally->count, TALLY_VALUES);
    enum trib_err err = trib_tally_add(task->tally, 0, tally_adds[0]);
    return err ? err : trib_tally_add(task->tally, TALLY_VALUES - 1, tally_adds[1]);
}

static const struct trib_trainer counting = {
    .struct_size = sizeof(counting), .train = train, .tally = count_two};

static void ask_for_a_tally(void)
{
    (void)snprintf(msg.spec, sizeof(msg.spec), "3 - dense 1 linear");
    msg.fit.tally = (struct trib_msg_tally){.kind = TRIB_TALLY_NEWTON, .values = TALLY_VALUES};
    msg.encoding = (struct trib_msg_encoding){.grid = 1, .word_bits = TRIB_TALLY_WORD_BITS};
    msg.weight_max = 1;
    tally_adds[0] = -1e-20;
    tally_adds[1] = 1e20;
}

static enum trib_code count_once(struct trib_task_result *result)
{
    static const float base[4] = {0, 0, 0, 0.5f};
    struct trib_task task;
    take_task("d0", &task);
    *result = (struct trib_task_result){.words = NULL};
    return trib_task_run(&task, &counting, &script, base, files_dir, result);
}

static void what_is_counted_is_sent_exactly_with_a_weight_of_one(void **state)
{
    (void)state;
    struct trib_task_result result;
    struct trib_tally tally;
    int64_t sums[TALLY_WORDS] = {0};
    ask_for_a_tally();
    assert_int_equal(count_once(&result), TRIB_CODE_ACCEPTED);
    assert_int_equal(result.begin.size, TALLY_WORDS * 4);
    assert_int_equal(result.begin.weight, 1);
    trib_codec_add(result.packed, TALLY_WORDS, 32, 1, sums);
    assert_int_equal(trib_tally_init(&tally, TALLY_VALUES), TRIB_OK);
    trib_tally_take(&tally, sums);
    assert_true(trib_tally_value(&tally, 0) == -1e-20);
    assert_true(trib_tally_value(&tally, 1) == 0);
    assert_true(trib_tally_value(&tally, TALLY_VALUES - 1) == 1e20);
    trib_tally_fini(&tally);
    trib_task_result_fini(&result, TALLY_WORDS);
}

static void a_number_out_of_range_is_never_sent(void **state)
{
    (void)state;
    static const double bad[] = {0x1p109, (double)NAN, (double)INFINITY};
    static const enum trib_code codes[] = {TRIB_CODE_DECLINED_RANGE, TRIB_CODE_DECLINED_MODEL,
                                           TRIB_CODE_DECLINED_MODEL};
    struct trib_task_result result;
    ask_for_a_tally();
    for (size_t i = 0; i < 3; i++) {
        tally_adds[1] = bad[i];
        assert_int_equal(count_once(&result), codes[i]);
        assert_null(result.packed);
    }
}

static void with_privacy_a_tally_goes_through_the_boundary(void **state)
{
    (void)state;
    struct trib_task_result result;
    uint64_t total = 0;
    ask_for_a_tally();
    use_local_privacy();
    msg.fit.tally.scale = 4;
    tally_adds[0] = 2;
    tally_adds[1] = 1e30; // clipped like any delta
    assert_int_equal(count_once(&result), TRIB_CODE_ACCEPTED);
    assert_int_equal(result.begin.size, TALLY_VALUES * 3);
    assert_false(result.begin.has_weight);
    assert_true(result.reservation > 0); // and costs what any round costs
    int64_t sums[TALLY_VALUES] = {0};
    trib_codec_add(result.packed, TALLY_VALUES, 24, 1, sums);
    for (size_t i = 0; i < TALLY_VALUES; i++)
        total += (uint64_t)llabs(sums[i]);
    assert_in_range(total, 512, 1024 + TALLY_VALUES * 64 * 20); // the clip, and noise of scale 64
    trib_task_result_fini(&result, TALLY_VALUES);
}

static void a_tally_that_we_would_count_otherwise_is_declined(void **state)
{
    (void)state;
    struct trib_task task;
    ask_for_a_tally();
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_ACCEPTED);
    assert_true(trib_trainer_can(&counting, &task));
    assert_false(trib_trainer_can(&trainer, &task)); // it can only train
    struct trib_trainer old = counting;
    old.struct_size = offsetof(struct trib_trainer, tally); // of before there was such a thing
    assert_false(trib_trainer_can(&old, &task));
    assert_int_equal(trib_task_judge(&msg, &policy, TALLY_WORDS * 16 - 1, &task),
                     TRIB_CODE_DECLINED_MODEL);
    assert_int_equal(trib_task_judge(&msg, &policy, TALLY_WORDS * 16, &task), TRIB_CODE_ACCEPTED);
    msg.fit.tally.kind = TRIB_TALLY_KINDS + 7; // of a newer coordinator
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    ask_for_a_tally();
    msg.fit.tally.values++;
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    ask_for_a_tally();
    msg.fit.tally.scale = 1; // is for noise
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    ask_for_a_tally();
    msg.encoding.word_bits = 24;
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    ask_for_a_tally();
    use_local_privacy(); // without a scale
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    ask_for_a_tally();
    (void)snprintf(msg.spec, sizeof(msg.spec), SPEC);
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
}

static void a_layout_is_that_of_the_kind_or_whole(void **state)
{
    (void)state;
    struct trib_task task;
    ask_for_a_tally();
    msg.fit.tally.layout = TRIB_TALLY_CELLS; // sums of products are no cells
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    ask_for_a_tally();
    (void)snprintf(msg.spec, sizeof(msg.spec), "3 - dense 2 softmax");
    struct trib_model model;
    char why[128];
    assert_int_equal(trib_model_parse(msg.spec, &model, why, sizeof(why)), TRIB_OK);
    const size_t values = trib_aside_values(&model);
    msg.fit.validation_fraction = 0.25;
    msg.fit.tally = (struct trib_msg_tally){.kind = TRIB_TALLY_EVALUATION, .values = values};
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_ACCEPTED);
    assert_int_equal(task.word_count, values * TRIB_TALLY_LIMBS); // of an older coordinator
    msg.fit.tally.layout = TRIB_TALLY_CELLS;
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_ACCEPTED);
    assert_int_equal(task.word_count, values * 3);
    assert_int_equal(trib_task_judge(&msg, &policy, values * TRIB_TALLY_LIMBS * 16 - 1, &task),
                     TRIB_CODE_DECLINED_MODEL); // what is held is not less
    msg.fit.tally.layout = TRIB_TALLY_LAYOUTS;  // of a newer one
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
    msg.fit.tally.layout = TRIB_TALLY_CELLS;
    msg.fit.tally.scale = 1;
    use_local_privacy(); // sums are no limbs then
    assert_int_equal(trib_task_judge(&msg, &policy, 0, &task), TRIB_CODE_DECLINED_MODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_counted_is_sent_exactly_with_a_weight_of_one, set_up),
        cmocka_unit_test_setup(a_number_out_of_range_is_never_sent, set_up),
        cmocka_unit_test_setup(with_privacy_a_tally_goes_through_the_boundary, set_up),
        cmocka_unit_test_setup(a_layout_is_that_of_the_kind_or_whole, set_up),
        cmocka_unit_test_setup(a_tally_that_we_would_count_otherwise_is_declined, set_up),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
