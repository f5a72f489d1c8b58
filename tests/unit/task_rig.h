// task_rig.h - a task that a device may take, and a trainer that does as it is told.
#ifndef TRIB_TESTS_TASK_RIG_H
#define TRIB_TESTS_TASK_RIG_H

#include "client/task.h"
#include "tests/unit/files.h"

#define SPEC "3 - dense 2 softmax"

enum {
    PARAMS = 8,
};

static struct trib_policy policy;
static struct trib_msg_task msg;
static int stop;
static struct trib_ledger *ledger; // in memory, of the test

// What the trainer of these tests does.
static struct {
    enum trib_err err;
    uint64_t examples;
    float step; // added to each parameter
} script;

static inline enum trib_err train(void *user, struct trib_task *task, float *params, size_t count,
                                  uint64_t *ret_examples)
{
    assert_ptr_equal(user, &script);
    assert_int_equal(trib_task_round(task), 3);
    assert_string_equal(trib_task_model(task), SPEC);
    assert_int_equal(count, PARAMS);
    for (size_t i = 0; i < count; i++)
        params[i] += script.step;
    *ret_examples = script.examples;
    return script.err;
}

static const struct trib_trainer trainer = {.struct_size = sizeof(trainer), .train = train};

static inline int set_up(void **state)
{
    (void)state;
    policy = (struct trib_policy){.allowed_modes = "off,local"};
    trib_ledger_close(ledger);
    if (trib_ledger_open(&(struct trib_ledger_options){.dir = NULL}, &ledger))
        return -1;
    script.err = TRIB_OK;
    script.examples = 20;
    script.step = 0.25f;
    msg = (struct trib_msg_task){.round_id = 9,
                                 .round_number = 3,
                                 .population = "default",
                                 .spec = SPEC,
                                 .base_version = 4,
                                 .base_digest = {1, 2, 3},
                                 .epochs = 5,
                                 .batch = 16,
                                 .learning_rate = 0.5,
                                 .weight_max = 1000,
                                 .encoding = {.grid = 0x1p-10, .word_bits = 24}};
    return 0;
}

static inline void use_local_privacy(void)
{
    msg.encoding = (struct trib_msg_encoding){.mode = TRIB_PRIVACY_LOCAL,
                                              .grid = 0x1p-10,
                                              .grid_bits = 6,
                                              .s1 = 2048,
                                              .s2 = 1024,
                                              .sinf = 1024,
                                              .word_bits = 24};
}

static inline enum trib_code judge(uint64_t memory_max)
{
    struct trib_task task;
    return trib_task_judge(&msg, &policy, memory_max, &task);
}

// `msg` as a task of the device `name`, with what it will cost.
static inline void take_task(const char *name, struct trib_task *ret_task)
{
    assert_int_equal(trib_task_judge(&msg, &policy, 0, ret_task), TRIB_CODE_ACCEPTED);
    ret_task->device = name;
    ret_task->stop = &stop;
    ret_task->ledger = ledger;
    trib_ledger_charge(&ret_task->encoding, 1, 2, (const uint8_t[16]){0}, &ret_task->charge);
}

static inline int tear_down(void **state)
{
    static const char *const names[] = {"spool.update", NULL};
    (void)state;
    trib_ledger_close(ledger);
    return files_teardown(names);
}

#endif // TRIB_TESTS_TASK_RIG_H
