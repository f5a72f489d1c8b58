// What finds no memory says so, and nothing else: for every call of malloc that may fail.
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "client/slot.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/math/safetensors.h"
#include "common/wire/message.h"
#include "tests/fault/fault.h"

enum {
    CALLS_MAX = 1000 // of malloc, in one of these functions
};

static void arm(unsigned long nth)
{
    fault_arm(&(struct fault){.kind = FAULT_MEMORY, .nth = nth, .code = ENOMEM});
}

// Did the call that was armed find memory after all? Then there were fewer calls.
static bool was_enough(void)
{
    const bool is_enough = fault_fired() == 0;
    fault_disarm();
    return is_enough;
}

static struct trib_model model;
static uint8_t seed[TRIB_SIGN_SEED_SIZE] = {7};
static struct trib_state_enrolment enrolment = {.population = "default"};
static struct trib_msg_new_version announced;

static void a_model_files_header_ends(void **state)
{
    bool is_over = false;
    (void)state;
    for (unsigned long nth = 1; !is_over; nth++) {
        const struct trib_safetensors_text text = {.name = "spec", .value = model.spec};
        struct trib_buf buf = {0};
        assert_true(nth < CALLS_MAX);
        arm(nth);
        trib_safetensors_header(&model, &text, 1, &buf);
        is_over = was_enough();
        assert_int_equal(buf.failed, !is_over);
        trib_buf_fini(&buf);
    }
}

static void a_version_is_not_refused(void **state)
{
    bool is_over = false;
    (void)state;
    for (unsigned long nth = 1; !is_over; nth++) {
        const struct trib_slot slot = {.params = NULL};
        struct trib_msg_manifest manifest;
        struct trib_model got;
        assert_true(nth < CALLS_MAX);
        arm(nth);
        const enum trib_code code = trib_slot_judge(&slot, &enrolment, &announced, &manifest, &got);
        is_over = was_enough();
        assert_int_equal(code, is_over ? TRIB_CODE_MODEL_INSTALLED : TRIB_CODE_RETRY_LATER);
    }
}

static void a_message_is_not_called_malformed(void **state)
{
    const struct trib_msg_ready ready = {.population = "default", .software = "test"};
    struct trib_msg_ready got;
    struct trib_buf packed = {0};
    bool is_over = false;
    (void)state;
    trib_msg_ready_pack(&ready, &packed);
    assert_false(packed.failed);
    for (unsigned long nth = 1; !is_over; nth++) {
        assert_true(nth < CALLS_MAX);
        arm(nth);
        const enum trib_err err = trib_msg_ready_unpack(packed.data, packed.size, &got);
        is_over = was_enough();
        assert_int_equal(err, is_over ? TRIB_OK : TRIB_ERR_NOMEM);
    }
    assert_int_equal(trib_msg_ready_unpack(packed.data, packed.size - 1, &got), TRIB_ERR_PROTO);
    trib_buf_fini(&packed);
}

static void drop_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static int set_up(void **state)
{
    char why[256];
    struct trib_buf packed = {0};
    (void)state;
    trib_crypto_init();
    trib_log_set_sink(drop_line, NULL);
    if (trib_model_parse("2 - dense 4 relu - dense 2 softmax", &model, why, sizeof(why)))
        return -1;
    struct trib_msg_manifest manifest = {.generation = 1,
                                         .version = 1,
                                         .kind = "initial",
                                         .population = "default",
                                         .params = model.param_count};
    (void)snprintf(manifest.spec, sizeof(manifest.spec), "%s", model.spec);
    memcpy(manifest.arch_digest, model.arch_digest, sizeof(manifest.arch_digest));
    trib_msg_manifest_pack(&manifest, &packed);
    if (packed.failed || packed.size > sizeof(announced.manifest))
        return -1;
    memcpy(announced.manifest, packed.data, packed.size);
    announced.manifest_size = packed.size;
    trib_buf_fini(&packed);
    trib_sign_public(seed, enrolment.release_key);
    trib_sign(seed, TRIB_MANIFEST_CONTEXT, announced.manifest, announced.manifest_size,
              announced.signature);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_files_header_ends),
        cmocka_unit_test(a_version_is_not_refused),
        cmocka_unit_test(a_message_is_not_called_malformed),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
