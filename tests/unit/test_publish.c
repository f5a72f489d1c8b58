#include "coordinator/publish.h"
#include "tests/unit/files.h"
#include "tests/unit/old_manifest.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/bytes.h"

#define SPEC "3 - dense 2 softmax"

enum {
    PARAMS = 8
};

static const float params[PARAMS] = {0.5f, -1, 2, 0, 0.25f, 3, -0.125f, 1e-6f};
static struct trib_identity identity, other;
static struct trib_model model;
static struct trib_version *version; // of set_up
static char path[TRIB_PATH_MAX + 1]; // of its file

static int set_up(void **state)
{
    char why[128];
    (void)state;
    memset(identity.release_seed, 1, sizeof(identity.release_seed));
    memset(other.release_seed, 2, sizeof(other.release_seed));
    trib_sign_public(identity.release_seed, identity.release_key);
    trib_sign_public(other.release_seed, other.release_key);
    const struct trib_msg_manifest manifest = {.generation = 1,
                                               .version = 7,
                                               .parent = 6,
                                               .job = 3,
                                               .round_id = 20,
                                               .round_number = 4,
                                               .kind = "round",
                                               .accepted = 12,
                                               .population = "default"};
    if (trib_model_parse(SPEC, &model, why, sizeof(why)) ||
        trib_version_make(&identity, &model, params, &manifest, &version))
        return -1;
    return trib_version_path(files_dir, version->manifest.digest, path) ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    trib_version_destroy(version);
    (void)unlink(path);
    return 0;
}

// Read what set_up wrote, as the identity `who`.
static enum trib_err read_as(const struct trib_identity *who, struct trib_version **ret_version)
{
    return trib_version_read(files_dir, who, version->announcement.manifest,
                             version->announcement.manifest_size, version->announcement.signature,
                             ret_version);
}

static void a_manifest_says_what_the_parameters_are_and_is_signed(void **state)
{
    (void)state;
    struct trib_msg_manifest read;
    uint8_t digest[TRIB_DIGEST_SIZE];
    const struct trib_msg_new_version *announcement = &version->announcement;
    assert_true(trib_sign_verify(identity.release_key, TRIB_MANIFEST_CONTEXT,
                                 announcement->manifest, announcement->manifest_size,
                                 announcement->signature));
    assert_int_equal(
        trib_msg_manifest_unpack(announcement->manifest, announcement->manifest_size, &read),
        TRIB_OK);
    trib_model_digest(&model, params, digest);
    assert_memory_equal(read.digest, digest, sizeof(digest));
    assert_memory_equal(read.arch_digest, model.arch_digest, sizeof(digest));
    assert_string_equal(read.spec, SPEC);
    assert_string_equal(read.kind, "round");
    assert_int_equal(read.params, PARAMS);
    assert_int_equal(read.version, 7);
    assert_int_equal(read.parent, 6);
    assert_int_equal(read.accepted, 12);
    assert_memory_equal(trib_version_params(version), params, sizeof(params));
    assert_ptr_not_equal(trib_version_params(version), params); // a copy
}

static void a_version_reads_back_the_same(void **state)
{
    (void)state;
    struct trib_version *read;
    struct stat info;
    assert_int_equal(trib_version_write(files_dir, version), TRIB_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(read_as(&identity, &read), TRIB_OK);
    assert_memory_equal(trib_version_params(read), params, sizeof(params));
    assert_int_equal(read->announcement.manifest_size, version->announcement.manifest_size);
    assert_memory_equal(read->announcement.manifest, version->announcement.manifest,
                        read->announcement.manifest_size);
    assert_memory_equal(read->announcement.signature, version->announcement.signature,
                        TRIB_SIGNATURE_SIZE);
    trib_version_destroy(read);
}

static void a_version_from_before_there_were_parents_reads_back_the_same(void **state)
{
    (void)state;
    static struct trib_msg_new_version old;
    static struct trib_identity then = {.release_seed = {42}};
    struct trib_version *read;
    old_manifest(&old);
    trib_sign_public(then.release_seed, then.release_key);
    assert_int_equal(trib_version_write(files_dir, version), TRIB_OK); // the same parameters
    assert_int_equal(
        trib_version_read(files_dir, &then, old.manifest, old.manifest_size, old.signature, &read),
        TRIB_OK);
    // What it sends to devices is what was signed then, byte for byte.
    assert_int_equal(read->announcement.manifest_size, old.manifest_size);
    assert_memory_equal(read->announcement.manifest, old.manifest, old.manifest_size);
    assert_memory_equal(read->announcement.signature, old.signature, TRIB_SIGNATURE_SIZE);
    trib_version_destroy(read);
}

static void every_flipped_bit_of_the_parameters_is_found(void **state)
{
    (void)state;
    struct trib_buf whole = {0};
    struct trib_version *read = NULL;
    assert_int_equal(trib_version_write(files_dir, version), TRIB_OK);
    assert_int_equal(trib_file_read(path, 1 << 16, &whole), TRIB_OK);
    for (size_t bit = 0; bit < 8 * sizeof(params); bit++) {
        uint8_t *byte = whole.data + whole.size - sizeof(params) + bit / 8;
        *byte ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(trib_file_write(path, whole.data, whole.size, 0600), TRIB_OK);
        *byte ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(read_as(&identity, &read), TRIB_ERR_CORRUPT);
        files_assert_logged("id=model-corrupt");
        assert_null(read);
    }
    trib_buf_fini(&whole);
}

static void a_file_that_is_cut_short_or_gone_is_not_a_version(void **state)
{
    (void)state;
    struct trib_buf whole = {0};
    struct trib_version *read = NULL;
    assert_int_equal(trib_version_write(files_dir, version), TRIB_OK);
    assert_int_equal(trib_file_read(path, 1 << 16, &whole), TRIB_OK);
    for (size_t size = 0; size < whole.size; size++) {
        assert_int_equal(trib_file_write(path, whole.data, size, 0600), TRIB_OK);
        assert_int_equal(read_as(&identity, &read), TRIB_ERR_CORRUPT);
    }
    trib_buf_fini(&whole);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(read_as(&identity, &read), TRIB_ERR_IO);
    assert_null(read);
}

static void a_manifest_of_somebody_else_is_refused(void **state)
{
    (void)state;
    struct trib_version *read = NULL;
    assert_int_equal(trib_version_write(files_dir, version), TRIB_OK);
    assert_int_equal(read_as(&other, &read), TRIB_ERR_CORRUPT);
    for (size_t i = 0; i < version->announcement.manifest_size; i++) {
        version->announcement.manifest[i] ^= 1;
        assert_int_equal(read_as(&identity, &read), TRIB_ERR_CORRUPT);
        files_assert_logged("id=manifest-corrupt");
        version->announcement.manifest[i] ^= 1;
    }
    version->announcement.signature[63] ^= 1;
    assert_int_equal(read_as(&identity, &read), TRIB_ERR_CORRUPT);
    assert_null(read);
}

static void a_version_is_found_by_its_digest(void **state)
{
    (void)state;
    char hex[TRIB_DIGEST_TEXT_SIZE];
    uint8_t digest[TRIB_DIGEST_SIZE] = {0xab, 0x01};
    char found[TRIB_PATH_MAX + 1];
    trib_hex_encode(digest, sizeof(digest), hex);
    assert_int_equal(trib_version_path("/var/lib/tributary", digest, found), TRIB_OK);
    assert_memory_equal(found, "/var/lib/tributary/models/ab01", 30);
    assert_string_equal(strstr(found, hex) + 64, ".safetensors");
}

static void only_metrics_of_the_models_kind_are_published(void **state)
{
    (void)state;
    struct trib_msg_manifest manifest = {.metric_count = 0};
    const struct trib_evaluation evaluation = {
        .rows = 100, .loss = 0.5, .classes = 2, .accuracy = 0.75, .f1 = 0.625};
    trib_manifest_set_evaluation(&manifest, &evaluation);
    bool has_accuracy = false;
    assert_in_range(manifest.metric_count, 1, TRIB_METRICS_MAX);
    for (uint32_t i = 0; i < manifest.metric_count; i++) {
        assert_string_not_equal(manifest.metrics[i].name, "mse");
        if (strcmp(manifest.metrics[i].name, "accuracy") == 0) {
            has_accuracy = true;
            assert_true(manifest.metrics[i].value == 0.75);
        }
    }
    assert_true(has_accuracy);
}

static void an_evaluation_comes_back_from_its_manifest(void **state)
{
    (void)state;
    struct trib_msg_manifest manifest = {.metric_count = 0};
    struct trib_evaluation got;
    const struct trib_evaluation evaluation = {.rows = 100,
                                               .classes = 2,
                                               .loss = 0.5,
                                               .accuracy = 0.75,
                                               .threshold = 0.375,
                                               .auc = (double)NAN};
    trib_manifest_set_evaluation(&manifest, &evaluation);
    for (uint32_t i = 0; i < manifest.metric_count; i++)
        assert_string_not_equal(manifest.metrics[i].name, "auc"); // there was none
    trib_manifest_get_evaluation(&manifest, 2, &got);
    assert_true(got.accuracy == 0.75 && got.loss == 0.5 && got.threshold == 0.375);
    assert_true(isnan(got.auc) && isnan(got.precision) && got.classes == 2);
}

static int begin(void **state)
{
    if (files_setup(state))
        return -1;
    return trib_dir_make(files_put(0, "models", NULL, 0), 0700) ? -1 : 0;
}

static int end(void **state)
{
    static const char *const names[] = {NULL};
    (void)state;
    return rmdir(files_put(0, "models", NULL, 0)) ? -1 : files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_manifest_says_what_the_parameters_are_and_is_signed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_version_reads_back_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_version_from_before_there_were_parents_reads_back_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_flipped_bit_of_the_parameters_is_found, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_cut_short_or_gone_is_not_a_version, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_manifest_of_somebody_else_is_refused, set_up, tear_down),
        cmocka_unit_test(a_version_is_found_by_its_digest),
        cmocka_unit_test(only_metrics_of_the_models_kind_are_published),
        cmocka_unit_test(an_evaluation_comes_back_from_its_manifest),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
