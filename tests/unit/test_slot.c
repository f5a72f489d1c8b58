#include "client/slot.h"
#include "tests/unit/files.h"
#include "tests/unit/old_manifest.h"

#include <pthread.h>

#include "common/base/bytes.h"

#define SPEC "3 - dense 2 softmax"

enum {
    PARAMS = 8
};

static const uint8_t seed[TRIB_SIGN_SEED_SIZE] = {42};
static const uint8_t other_seed[TRIB_SIGN_SEED_SIZE] = {43};
static struct trib_state_enrolment enrolment;
static struct trib_model model;
static struct trib_msg_manifest manifest; // a good one: version 7 of generation 2
static float params[PARAMS] = {0.5f, -1, 2, 0, 0.25f, 3, -0.125f, 1e-6f};

static struct trib_msg_new_version announced; // what make() signed

// A signed announcement of `manifest`.
static const struct trib_msg_new_version *make(const uint8_t *with_seed)
{
    struct trib_buf packed = {0};
    trib_msg_manifest_pack(&manifest, &packed);
    assert_false(packed.failed);
    assert_in_range(packed.size, 1, sizeof(announced.manifest));
    memcpy(announced.manifest, packed.data, packed.size);
    announced.manifest_size = packed.size;
    trib_sign(with_seed, TRIB_MANIFEST_CONTEXT, packed.data, packed.size, announced.signature);
    trib_buf_fini(&packed);
    return &announced;
}

static int set_up(void **state)
{
    (void)state;
    char why[128];
    enrolment = (struct trib_state_enrolment){.population = "default"};
    trib_sign_public(seed, enrolment.release_key);
    if (trib_model_parse(SPEC, &model, why, sizeof(why)) || model.param_count != PARAMS)
        return -1;
    manifest = (struct trib_msg_manifest){.generation = 2,
                                          .version = 7,
                                          .parent = 6,
                                          .spec = SPEC,
                                          .params = PARAMS,
                                          .kind = "round",
                                          .population = "default"};
    memcpy(manifest.arch_digest, model.arch_digest, sizeof(manifest.arch_digest));
    trib_model_digest(&model, params, manifest.digest);
    return 0;
}

static enum trib_code judge(const struct trib_slot *slot, const uint8_t *with_seed)
{
    struct trib_msg_manifest got = {.version = 0};
    struct trib_model got_model;
    const enum trib_code code =
        trib_slot_judge(slot, &enrolment, make(with_seed), &got, &got_model);
    // A refusal names what it refuses, once it is known to be ours.
    assert_int_equal(got.version, code == TRIB_CODE_MODEL_UNSIGNED ? 0 : manifest.version);
    assert_int_equal(got.generation, code == TRIB_CODE_MODEL_UNSIGNED ? 0 : manifest.generation);
    return code;
}

// Judge and install what `manifest` says with these parameters.
static enum trib_err install(struct trib_slot *slot, const char *dir, const float *values)
{
    struct trib_msg_manifest got;
    struct trib_model got_model;
    assert_int_equal(trib_slot_judge(slot, &enrolment, make(seed), &got, &got_model),
                     TRIB_CODE_MODEL_INSTALLED);
    float *copy = malloc(sizeof(params));
    assert_non_null(copy);
    memcpy(copy, values, sizeof(params));
    enum trib_err err = trib_slot_install(slot, dir, &announced, &got, &got_model, copy);
    if (err)
        free(copy);
    return err;
}

static void only_newer_versions_are_wanted(void **state)
{
    (void)state;
    const struct trib_slot empty = {.params = NULL};
    struct trib_slot slot = {.manifest = manifest};
    assert_int_equal(judge(&empty, seed), TRIB_CODE_MODEL_INSTALLED);
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_OLDER); // the very same
    manifest.version = 6;
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_OLDER);
    manifest.version = 8;
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_INSTALLED);
    manifest.generation = 1; // a coordinator set back to an old backup
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_OLDER);
    manifest.generation = 3;
    manifest.version = 1;
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_INSTALLED);
}

static void two_models_with_one_number_are_a_fork(void **state)
{
    (void)state;
    const struct trib_slot slot = {.manifest = manifest};
    manifest.digest[0] ^= 1;
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_FORKED);
}

static void a_child_of_another_model_with_our_number_is_a_fork(void **state)
{
    (void)state;
    const struct trib_slot slot = {.manifest = manifest};
    manifest.version = 8;
    manifest.parent = 7;
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_INSTALLED); // as signed before parents
    memcpy(manifest.parent_digest, manifest.digest, sizeof(manifest.parent_digest));
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_INSTALLED);
    manifest.parent_digest[31] ^= 1;
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_FORKED);
    manifest.parent = 6; // one that we do not have
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_INSTALLED);
    manifest.parent = 7;
    manifest.generation = 3; // after a restore there may be another version 7
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_INSTALLED);
    manifest.generation = 2;
    const struct trib_slot empty = {.params = NULL};
    manifest.parent = 0; // made from a file
    assert_int_equal(judge(&empty, seed), TRIB_CODE_MODEL_INSTALLED);
}

static void a_version_from_before_there_were_parents_is_taken(void **state)
{
    (void)state;
    static const uint8_t none[TRIB_DIGEST_SIZE];
    struct trib_slot slot = {.params = NULL};
    struct trib_msg_manifest got;
    struct trib_model got_model;
    old_manifest(&announced);
    assert_int_equal(trib_slot_judge(&slot, &enrolment, &announced, &got, &got_model),
                     TRIB_CODE_MODEL_INSTALLED);
    assert_int_equal(got.version, 7);
    assert_int_equal(got.parent, 6);
    assert_memory_equal(got.parent_digest, none, sizeof(none));
    assert_memory_equal(got.digest, manifest.digest, sizeof(got.digest));
    // Its child knows it by its digest.
    slot.manifest = got;
    manifest = got;
    manifest.version = 8;
    manifest.parent = 7;
    memcpy(manifest.parent_digest, got.digest, sizeof(got.digest));
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_INSTALLED);
}

static void only_the_pinned_key_signs(void **state)
{
    (void)state;
    const struct trib_slot empty = {.params = NULL};
    struct trib_msg_manifest got;
    struct trib_model got_model;
    assert_int_equal(judge(&empty, other_seed), TRIB_CODE_MODEL_UNSIGNED);
    (void)make(seed);
    for (size_t i = 0; i < 8 * announced.manifest_size; i++) { // every bit of what is signed
        announced.manifest[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(trib_slot_judge(&empty, &enrolment, &announced, &got, &got_model),
                         TRIB_CODE_MODEL_UNSIGNED);
        announced.manifest[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    announced.manifest_size--;
    assert_int_equal(trib_slot_judge(&empty, &enrolment, &announced, &got, &got_model),
                     TRIB_CODE_MODEL_UNSIGNED);
}

static void a_foreign_population_is_refused(void **state)
{
    (void)state;
    const struct trib_slot empty = {.params = NULL};
    (void)snprintf(manifest.population, sizeof(manifest.population), "default2");
    assert_int_equal(judge(&empty, seed), TRIB_CODE_MODEL_FOREIGN);
}

static void a_specification_must_parse_and_match(void **state)
{
    (void)state;
    const struct trib_slot empty = {.params = NULL};
    manifest.params++;
    assert_int_equal(judge(&empty, seed), TRIB_CODE_MODEL_ARCH);
    manifest.params--;
    manifest.arch_digest[31] ^= 1;
    assert_int_equal(judge(&empty, seed), TRIB_CODE_MODEL_ARCH);
    manifest.arch_digest[31] ^= 1;
    (void)snprintf(manifest.spec, sizeof(manifest.spec), "3  -  dense 2 softmax");
    assert_int_equal(judge(&empty, seed), TRIB_CODE_MODEL_ARCH); // not the canonical text
    (void)snprintf(manifest.spec, sizeof(manifest.spec), "3 - telepathy 2");
    assert_int_equal(judge(&empty, seed), TRIB_CODE_MODEL_ARCH);
    struct trib_msg_manifest got;
    struct trib_model got_model;
    announced.manifest_size = 3; // signed by the right key, but not a manifest
    memset(announced.manifest, 0xff, 3);
    trib_sign(seed, TRIB_MANIFEST_CONTEXT, announced.manifest, 3, announced.signature);
    assert_int_equal(trib_slot_judge(&empty, &enrolment, &announced, &got, &got_model),
                     TRIB_CODE_MODEL_ARCH);
}

static void lent_parameters_outlive_the_next_version(void **state)
{
    (void)state;
    struct trib_slot slot = {.params = NULL};
    assert_int_equal(install(&slot, files_dir, params), TRIB_OK);
    float *lent = slot.params;
    slot.is_lent = true;
    manifest.version++;
    assert_int_equal(install(&slot, files_dir, params), TRIB_OK);
    assert_ptr_not_equal(slot.params, lent);
    assert_false(slot.is_lent); // the new ones are not
    assert_memory_equal(lent, params, sizeof(params));
    free(lent); // who had them frees them
    trib_slot_fini(&slot);
}

static void a_model_is_for_one_pipeline(void **state)
{
    (void)state;
    static const uint8_t none[TRIB_DIGEST_SIZE];
    static const uint8_t ours[TRIB_DIGEST_SIZE] = {1, 2, 3};
    static const uint8_t other[TRIB_DIGEST_SIZE] = {1, 2, 4};
    const struct trib_slot any = {.params = NULL};
    const struct trib_slot plain = {.prepare_digest = none};
    struct trib_slot with = {.prepare_digest = ours};
    assert_int_equal(judge(&plain, seed), TRIB_CODE_MODEL_INSTALLED); // neither has one
    assert_int_equal(judge(&with, seed), TRIB_CODE_MODEL_PIPELINE);   // only the device
    memcpy(manifest.prepare_digest, ours, sizeof(ours));
    assert_int_equal(judge(&with, seed), TRIB_CODE_MODEL_INSTALLED);
    assert_int_equal(judge(&any, seed), TRIB_CODE_MODEL_INSTALLED); // prepares its rows itself
    assert_int_equal(judge(&plain, seed), TRIB_CODE_MODEL_PIPELINE);
    assert_int_equal(install(&with, files_dir, params), TRIB_OK);
    trib_slot_fini(&with);
    assert_ptr_equal(with.prepare_digest, ours);
    // The installed one too loads with its pipeline only.
    const struct {
        const uint8_t *digest;
        uint64_t version;
    } loads[] = {{ours, 7}, {NULL, 7}, {other, 0}, {none, 0}};
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        struct trib_slot slot;
        assert_int_equal(trib_slot_load(files_dir, &enrolment, loads[i].digest, &slot), TRIB_OK);
        assert_int_equal(slot.manifest.version, loads[i].version);
        trib_slot_fini(&slot);
    }
}

static void an_installed_model_is_there_after_a_restart(void **state)
{
    (void)state;
    struct trib_slot slot;
    assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
    assert_int_equal(slot.manifest.version, 0); // nothing yet
    assert_int_equal(install(&slot, files_dir, params), TRIB_OK);
    assert_int_equal(slot.manifest.version, 7);
    trib_slot_fini(&slot);
    assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
    assert_int_equal(slot.manifest.generation, 2);
    assert_int_equal(slot.manifest.version, 7);
    assert_string_equal(slot.model.spec, SPEC);
    assert_memory_equal(slot.params, params, sizeof(params));
    trib_slot_fini(&slot);
}

static void a_failed_installation_leaves_the_old_model(void **state)
{
    (void)state;
    float wrong[PARAMS];
    struct trib_slot slot = {.params = NULL};
    assert_int_equal(install(&slot, files_dir, params), TRIB_OK);
    memcpy(wrong, params, sizeof(wrong));
    wrong[PARAMS - 1] = 2;
    manifest.version = 8;
    assert_int_equal(install(&slot, files_dir, wrong), TRIB_ERR_CORRUPT);
    assert_int_equal(install(&slot, "/nonexistent", params), TRIB_ERR_IO);
    assert_int_equal(slot.manifest.version, 7);
    assert_memory_equal(slot.params, params, sizeof(params));
    trib_slot_fini(&slot);
    assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
    assert_int_equal(slot.manifest.version, 7);
    trib_slot_fini(&slot);
}

// Whatever happens to the file, what is loaded from it is what was signed, or nothing.
static void a_damaged_file_counts_as_absent(void **state)
{
    (void)state;
    struct trib_slot slot = {.params = NULL};
    struct trib_buf whole = {0};
    size_t absent = 0;
    assert_int_equal(install(&slot, files_dir, params), TRIB_OK);
    trib_slot_fini(&slot);
    const char *path = files_put(0, "model.safetensors", NULL, 0);
    assert_int_equal(trib_file_read(path, 1 << 16, &whole), TRIB_OK);
    for (size_t i = 0; i < whole.size; i++) {
        assert_int_equal(trib_file_write(path, whole.data, i, 0600), TRIB_OK);
        assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
        assert_null(slot.params); // cut short
        assert_int_equal(slot.manifest.version, 0);

        whole.data[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(trib_file_write(path, whole.data, whole.size, 0600), TRIB_OK);
        whole.data[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
        absent += slot.params == NULL;
        if (i >= whole.size - sizeof(params))
            assert_null(slot.params);
        if (slot.params) // the damage was in a text for people
            assert_memory_equal(slot.params, params, sizeof(params));
        trib_slot_fini(&slot);
    }
    assert_true(absent > whole.size / 4);
    trib_buf_fini(&whole);
}

static void bytes_behind_the_parameters_are_damage(void **state)
{
    (void)state;
    struct trib_slot slot = {.params = NULL};
    struct trib_buf whole = {0};
    assert_int_equal(install(&slot, files_dir, params), TRIB_OK);
    trib_slot_fini(&slot);
    const char *path = files_put(0, "model.safetensors", NULL, 0);
    assert_int_equal(trib_file_read(path, 1 << 16, &whole), TRIB_OK);
    trib_buf_append(&whole, "\0", 1);
    assert_false(whole.failed);
    assert_int_equal(trib_file_write(path, whole.data, whole.size, 0600), TRIB_OK);
    assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
    assert_null(slot.params);
    files_assert_logged("id=model-corrupt");
    assert_int_equal(trib_file_write(path, whole.data, whole.size - 1, 0600), TRIB_OK);
    assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
    assert_non_null(slot.params);
    trib_slot_fini(&slot);
    trib_buf_fini(&whole);
}

static void a_file_signed_by_another_key_counts_as_absent(void **state)
{
    (void)state;
    struct trib_slot slot = {.params = NULL};
    assert_int_equal(install(&slot, files_dir, params), TRIB_OK);
    trib_slot_fini(&slot);
    trib_sign_public(other_seed, enrolment.release_key); // enrolled elsewhere
    assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
    assert_null(slot.params);
    files_assert_logged("id=model-corrupt");
    // Unless that is the key before: then it is good on the disk, and from nobody else.
    enrolment.has_model_key = true;
    trib_sign_public(seed, enrolment.model_key);
    assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
    assert_non_null(slot.params);
    assert_true(slot.is_former);
    trib_slot_fini(&slot);
    assert_int_equal(judge(&slot, seed), TRIB_CODE_MODEL_UNSIGNED);
    enrolment.has_model_key = false;
}

// Renames two versions over the installed one in turns, until `is_over`.
static int is_over; // atomic

static void *swap(void *user)
{
    char from[TRIB_PATH_MAX + 1], next[TRIB_PATH_MAX + 1], to[TRIB_PATH_MAX + 1];
    static const char *const names[] = {"one", "two"};
    (void)user;
    assert_int_equal(trib_path_join(next, files_dir, "next"), TRIB_OK);
    assert_int_equal(trib_path_join(to, files_dir, "model.safetensors"), TRIB_OK);
    for (unsigned i = 0; !__atomic_load_n(&is_over, __ATOMIC_RELAXED); i++) {
        assert_int_equal(trib_path_join(from, files_dir, names[i % 2]), TRIB_OK);
        assert_int_equal(link(from, next), 0);
        assert_int_equal(rename(next, to), 0);
    }
    return NULL;
}

static void a_version_that_is_swapped_while_it_is_read_is_whole(void **state)
{
    (void)state;
    static const char *const names[] = {"one", "two"};
    struct trib_slot slot = {.params = NULL};
    uint64_t seen[2] = {0};
    pthread_t swapper;
    for (size_t i = 0; i < 2; i++) {
        float values[PARAMS] = {(float)i};
        manifest.version = 7 + i;
        trib_model_digest(&model, values, manifest.digest);
        assert_int_equal(install(&slot, files_dir, values), TRIB_OK);
        assert_int_equal(
            rename(files_put(0, "model.safetensors", NULL, 0), files_put(1, names[i], NULL, 0)), 0);
    }
    trib_slot_fini(&slot);
    // rename does nothing between two names of one file: the swapper begins with the other
    assert_int_equal(link(files_put(0, "two", NULL, 0), files_put(1, "model.safetensors", NULL, 0)),
                     0);
    assert_int_equal(pthread_create(&swapper, NULL, swap, NULL), 0);
    for (int i = 0; i < 2000 || !seen[0] || !seen[1]; i++) {
        assert_int_equal(trib_slot_load(files_dir, &enrolment, NULL, &slot), TRIB_OK);
        assert_non_null(slot.params);
        assert_true(slot.params[0] == (float)(slot.manifest.version - 7));
        seen[slot.manifest.version - 7]++;
        trib_slot_fini(&slot);
    }
    __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(swapper, NULL), 0);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"model.safetensors", "one", "two", NULL};
    (void)state;
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_newer_versions_are_wanted, set_up),
        cmocka_unit_test_setup(two_models_with_one_number_are_a_fork, set_up),
        cmocka_unit_test_setup(a_child_of_another_model_with_our_number_is_a_fork, set_up),
        cmocka_unit_test_setup(a_version_from_before_there_were_parents_is_taken, set_up),
        cmocka_unit_test_setup(only_the_pinned_key_signs, set_up),
        cmocka_unit_test_setup(a_foreign_population_is_refused, set_up),
        cmocka_unit_test_setup(a_specification_must_parse_and_match, set_up),
        cmocka_unit_test_setup(an_installed_model_is_there_after_a_restart, set_up),
        cmocka_unit_test_setup(a_failed_installation_leaves_the_old_model, set_up),
        cmocka_unit_test_setup(a_damaged_file_counts_as_absent, set_up),
        cmocka_unit_test_setup(bytes_behind_the_parameters_are_damage, set_up),
        cmocka_unit_test_setup(a_file_signed_by_another_key_counts_as_absent, set_up),
        cmocka_unit_test_setup(a_version_that_is_swapped_while_it_is_read_is_whole, set_up),
        cmocka_unit_test_setup(lent_parameters_outlive_the_next_version, set_up),
        cmocka_unit_test_setup(a_model_is_for_one_pipeline, set_up),
    };
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
