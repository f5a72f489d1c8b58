#include "common/math/model_file.h"
#include "tests/unit/files.h"

#include <math.h>

#include "common/base/bytes.h"
#include "common/math/c_export.h"
#include "common/math/npz.h"
#include "common/math/onnx.h"
#include "common/math/safetensors.h"
#include "common/math/tensors.h"

static const char spec[] = "3 - dense 2 tanh - dense 2 softmax";
static char why[512];

static struct trib_model parsed(const char *text)
{
    struct trib_model model;
    if (trib_model_parse(text, &model, why, sizeof(why)))
        fail_msg("%s", why);
    return model;
}

// Values whose bits are easily lost: not sums of few powers of two, a negative zero, a subnormal.
static void fill(float *params, size_t count)
{
    uint64_t seed = 11;
    for (size_t i = 0; i < count; i++)
        params[i] = (float)((double)test_rand(&seed) / 1.8e19 - 0.5);
    params[0] = -0.0f;
    params[1] = 1e-40f;
    params[2] = -3.4e38f;
}

static const struct trib_safetensors_text texts[] = {
    {"spec", spec}, {"empty", ""}, {"note", "a b"}};

static struct trib_buf safetensors_of(const struct trib_model *model, const float *params)
{
    struct trib_buf buf = {0};
    trib_safetensors_header(model, texts, 3, &buf);
    trib_buf_append(&buf, params, model->param_count * sizeof(*params));
    assert_false(buf.failed);
    return buf;
}

// ---- npz, taken apart by the book

// CRC-32 bit by bit, as APPNOTE 4.4.7 describes it.
static uint32_t slow_crc32(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

// Check a local entry at `at` and return where the next one begins.
static size_t check_entry(const struct trib_buf *buf, size_t at, const char *name,
                          const char *header, const void *data, size_t size)
{
    const uint8_t *entry = buf->data + at;
    const size_t whole = trib_load_le32(entry + 22);
    assert_memory_equal(entry, "PK\3\4", 4);
    assert_int_equal(trib_load_le16(entry + 8), 0); // stored
    assert_int_equal(trib_load_le32(entry + 18), whole);
    assert_int_equal(trib_load_le16(entry + 26), strlen(name));
    assert_int_equal(trib_load_le16(entry + 28), 0);
    assert_memory_equal(entry + 30, name, strlen(name));
    const uint8_t *npy = entry + 30 + strlen(name);
    assert_int_equal(trib_load_le32(entry + 14), slow_crc32(npy, whole));
    assert_memory_equal(npy, "\x93NUMPY\1\0", 8);
    const size_t length = trib_load_le16(npy + 8);
    assert_int_equal((10 + length) % 64, 0);
    assert_memory_equal(npy + 10, header, strlen(header));
    for (size_t i = strlen(header); i + 1 < length; i++)
        assert_int_equal(npy[10 + i], ' ');
    assert_int_equal(npy[10 + length - 1], '\n');
    assert_int_equal(whole, 10 + length + size);
    assert_memory_equal(npy + 10 + length, data, size);
    return at + 30 + strlen(name) + whole;
}

static void an_npz_is_a_zip_of_npy_arrays(void **state)
{
    (void)state;
    const struct trib_model model = parsed(spec);
    float params[14];
    struct trib_buf buf = {0};
    fill(params, 14);
    trib_npz_write(&model, params, texts, 2, &buf);
    assert_true(trib_npz_is(buf.data, buf.size));
    size_t at =
        check_entry(&buf, 0, "0.weight.npy",
                    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", params, 24);
    at = check_entry(&buf, at, "0.bias.npy",
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", params + 6, 8);
    at = check_entry(&buf, at, "1.weight.npy",
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", params + 8, 16);
    at = check_entry(&buf, at, "1.bias.npy",
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", params + 12, 8);
    at = check_entry(&buf, at, "metadata/spec.npy",
                     "{'descr': '|S34', 'fortran_order': False, 'shape': (), }", spec, 34);
    at = check_entry(&buf, at, "metadata/empty.npy",
                     "{'descr': '|S1', 'fortran_order': False, 'shape': (), }", "", 1);
    const uint8_t *end = buf.data + buf.size - 22;
    assert_memory_equal(end, "PK\5\6", 4);
    assert_int_equal(trib_load_le16(end + 8), 6);
    assert_int_equal(trib_load_le16(end + 10), 6);
    assert_int_equal(trib_load_le32(end + 16), at);
    assert_int_equal(trib_load_le32(end + 12), buf.size - 22 - at);
    size_t offset = 0;
    for (int i = 0; i < 6; i++) { // the directory repeats what the entries say
        const uint8_t *central = buf.data + at;
        const size_t name_size = trib_load_le16(central + 28);
        assert_memory_equal(central, "PK\1\2", 4);
        assert_int_equal(trib_load_le32(central + 42), offset);
        assert_memory_equal(central + 10, buf.data + offset + 8, 18); // method to name length
        assert_memory_equal(central + 46, buf.data + offset + 30, name_size);
        offset += 30 + name_size + trib_load_le32(central + 24);
        at += 46 + name_size;
    }
    trib_buf_fini(&buf);
}

static void a_file_that_goes_through_npz_is_the_same_file(void **state)
{
    (void)state;
    const struct trib_model model = parsed(spec);
    float params[14];
    fill(params, 14);
    struct trib_buf first = safetensors_of(&model, params);
    struct trib_buf npz = {0};
    struct trib_buf last = {0};
    assert_int_equal(trib_model_file_convert(&first, TRIB_MODEL_NPZ, "", &npz, why, sizeof(why)),
                     TRIB_OK);
    assert_int_equal(
        trib_model_file_convert(&npz, TRIB_MODEL_SAFETENSORS, "", &last, why, sizeof(why)),
        TRIB_OK);
    assert_int_equal(last.size, first.size);
    assert_memory_equal(last.data, first.data, first.size);
    trib_buf_fini(&first);
    trib_buf_fini(&npz);
    trib_buf_fini(&last);
}

// Whatever a damaged file is taken for, it is taken apart within its bytes (the sanitizers look)
// and refused with a reason unless its arrays are whole.
static void no_truncation_is_a_model(void **state)
{
    (void)state;
    const struct trib_model model = parsed(spec);
    float params[14];
    fill(params, 14);
    struct trib_buf files[2] = {safetensors_of(&model, params), {0}};
    trib_npz_write(&model, params, texts, 3, &files[1]);
    for (int f = 0; f < 2; f++) {
        for (size_t size = 0; size < files[f].size; size++) {
            uint8_t *copy = malloc(size ? size : 1); // exactly as long, for the sanitizers
            assert_non_null(copy);
            memcpy(copy, files[f].data, size);
            const struct trib_buf cut = {.data = copy, .size = size};
            struct trib_buf out = {0};
            why[0] = '\0';
            assert_int_equal(
                trib_model_file_convert(&cut, TRIB_MODEL_ONNX, "", &out, why, sizeof(why)),
                TRIB_ERR_DATA);
            assert_true(why[0] && out.data == NULL);
            free(copy);
        }
        trib_buf_fini(&files[f]);
    }
}

static void no_flipped_bit_of_an_npz_changes_a_parameter(void **state)
{
    (void)state;
    const struct trib_model model = parsed(spec);
    float params[14];
    float read[14];
    struct trib_buf npz = {0};
    fill(params, 14);
    trib_npz_write(&model, params, texts, 3, &npz);
    size_t refused = 0;
    for (size_t bit = 0; bit < npz.size * 8; bit++) {
        struct trib_tensors *tensors = calloc(1, sizeof(*tensors));
        assert_non_null(tensors);
        npz.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        enum trib_err err = trib_npz_read(npz.data, npz.size, tensors, why, sizeof(why));
        if (!err)
            err = trib_tensors_params(tensors, &model, read, why, sizeof(why));
        if (!err)
            assert_memory_equal(read, params, sizeof(params));
        refused += err != TRIB_OK;
        npz.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        trib_tensors_fini(tensors);
        free(tensors);
    }
    assert_true(refused > npz.size * 4); // most bytes are data, whose CRC is checked
    trib_buf_fini(&npz);
}

// ---- The parameters out of arrays

static enum trib_err load(const char *header, size_t data_size, const struct trib_model *model)
{
    static const uint8_t zeros[256];
    float params[64];
    uint8_t length[8];
    struct trib_buf file = {0};
    trib_store_le64(length, strlen(header));
    trib_buf_append(&file, length, 8);
    trib_buf_text(&file, header);
    trib_buf_append(&file, zeros, data_size);
    const char *path = files_put(0, "model", file.data, file.size);
    trib_buf_fini(&file);
    return trib_model_file_load(path, model, params, why, sizeof(why));
}

#define W(name, shape, from, to)                                               \
    "\"" name "\": {\"data_offsets\": [" #from ", " #to "], \"shape\": " shape \
    ", \"dtype\": \"F32\"}"

static void foreign_files_may_be_in_any_order_and_have_gaps(void **state)
{
    (void)state;
    const struct trib_model model = parsed("3 - dense 2 relu - dense 1 linear");
    assert_int_equal(load("{" W("10.bias", "[1]", 0, 4) "," W("2.weight", "[2,3]", 4, 28) ",\n" W(
                              "10.weight", "[1,2]", 28, 36) "," W("2.bias", "[2]", 36, 44) "}",
                          44, &model),
                     TRIB_OK);
}

static void arrays_that_do_not_fit_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data_size;
        const char *reason;
    } cases[] = {
        {"{" W("0.weight", "[1,2]", 0, 8) "}", 8, "there is no '0.bias'"},
        {"{" W("0.bias", "[1]", 0, 4) "}", 4, "wants a weight for its layer 1"},
        {"{" W("0.weight", "[2,1]", 0, 8) "," W("0.bias", "[1]", 8, 12) "}", 12,
         "'0.weight' has the shape (2, 1), the model wants (1, 2)"},
        {"{" W("0.weight", "[1,2]", 0, 8) "," W("0.bias", "[]", 8, 12) "}", 12,
         "'0.bias' has the shape (), the model wants (1)"},
        {"{" W("0.weight", "[1,2]", 0, 8) "," W("0.bias", "[1]", 8, 12) "," W("b", "[1]", 12,
                                                                              16) "}",
         16, "holds 3 arrays, the model has 2"},
        {"{" W("0.weight", "[1,2]", 0, 8) "," W("0.weight", "[1,2]", 0, 8) "}", 16,
         "holds '0.weight' twice"},
        {"{" W("0.weight", "[1,2]", 0, 4) "}", 4, "other bytes than its shape wants"},
        {"{" W("0.weight", "[1,2]", 0, 8) "}", 4, "other bytes than its shape wants"},
        {"{" W("0.weight", "[1,2]", 8, 0) "}", 8, "other bytes than its shape wants"},
        {"{" W("0.weight", "[1,2]", 0, 8) "}", 12, "has 12 bytes of data, its arrays hold 8"},
        {"{" W("0.weight", "[99999999,99999999]", 0, 8) "}", 8, "larger than a model may be"},
        {"{\"0.weight\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
         "is of the type 'F64'"},
        {"{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "is not described as an array is"},
        {"{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 0,
         "is not described as an array is"},
        {"{\"__metadata__\":{\"spec\":\"5 - dense 1 linear\"}}", 0,
         "is of the model '5 - dense 1 linear', not of '2 - dense 1 linear'"},
        {"{\"__metadata__\":{\"spec\":7}}", 0, "not what a safetensors file has"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "holds the text 'a' twice"},
        {"[]", 0, "not what a safetensors file has"},
        {"{} ,", 0, "something behind the value"},
    };
    const struct trib_model model = parsed("2 - dense 1 linear");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(load(cases[i].header, cases[i].data_size, &model), TRIB_ERR_DATA);
        if (!strstr(why, cases[i].reason))
            fail_msg("case %zu says '%s', wanted '%s'", i, why, cases[i].reason);
        assert_non_null(strstr(why, "/model: ")); // and the file
    }
}

static void values_that_are_not_finite_start_nothing(void **state)
{
    (void)state;
    const struct trib_model model = parsed("2 - dense 1 linear");
    const float bad[] = {(float)NAN, (float)INFINITY, (float)-INFINITY};
    for (int i = 0; i < 3; i++) {
        float params[3] = {1, 2, 3};
        float read[3];
        struct trib_buf npz = {0};
        params[i] = bad[i];
        trib_npz_write(&model, params, NULL, 0, &npz);
        const char *path = files_put(0, "model", npz.data, npz.size);
        assert_int_equal(trib_model_file_load(path, &model, read, why, sizeof(why)), TRIB_ERR_DATA);
        assert_non_null(strstr(why, "not finite"));
        trib_buf_fini(&npz);
    }
    assert_int_equal(
        trib_model_file_load("/nowhere/model", &model, (float[3]){0}, why, sizeof(why)),
        TRIB_ERR_IO);
    assert_non_null(strstr(why, "/nowhere/model: cannot be read"));
}

static void a_file_without_a_spec_cannot_be_converted(void **state)
{
    (void)state;
    const struct trib_model model = parsed("2 - dense 1 linear");
    const float params[3] = {1, 2, 3};
    struct trib_buf npz = {0};
    struct trib_buf out = {0};
    trib_npz_write(&model, params, NULL, 0, &npz);
    assert_int_equal(trib_model_file_convert(&npz, TRIB_MODEL_C, "m", &out, why, sizeof(why)),
                     TRIB_ERR_DATA);
    assert_non_null(strstr(why, "does not say of what model it is"));
    trib_buf_fini(&npz);
}

// ---- ONNX and C (what they predict is tested in tests/integration/test_export.py)

// A graph so small that its bytes can be written out by hand, message by message.
static const char onnx_wanted[] =
    "\x08\x07"                                                                 // ir_version
    "\x12\x09\x74\x72\x69\x62\x75\x74\x61\x72\x79"                             // producer_name
    "\x42\x04\x0a\x00\x10\x0d"                                                 // opset_import
    "\x72\x06\x0a\x01\x6b\x12\x01\x76"                                         // metadata_props
    "\x3a\x97\x01"                                                             // graph, 151 bytes
    "\x0a\x36\x0a\x01\x78\x0a\x08\x30\x2e\x77\x65\x69\x67\x68\x74\x0a\x06\x30" // node
    "\x2e\x62\x69\x61\x73\x12\x01\x79\x1a\x07\x30\x2e\x64\x65\x6e\x73\x65\x22"
    "\x04\x47\x65\x6d\x6d\x2a\x0d\x0a\x06\x74\x72\x61\x6e\x73\x42\x18\x01\xa0"
    "\x01\x02"
    "\x12\x05\x6d\x6f\x64\x65\x6c"                                             // name
    "\x2a\x16\x08\x01\x08\x01\x10\x01\x42\x08\x30\x2e\x77\x65\x69\x67\x68\x74" // initializer
    "\x4a\x04\x00\x00\x80\x3f"
    "\x2a\x12\x08\x01\x10\x01\x42\x06\x30\x2e\x62\x69\x61\x73\x4a\x04\x00\x00" // initializer
    "\x00\xc0"
    "\x5a\x14\x0a\x01\x78\x12\x0f\x0a\x0d\x08\x01\x12\x09\x0a\x03\x12\x01\x4e" // input
    "\x0a\x02\x08\x01"
    "\x62\x14\x0a\x01\x79\x12\x0f\x0a\x0d\x08\x01\x12\x09\x0a\x03\x12\x01\x4e" // output
    "\x0a\x02\x08\x01";

static void onnx_bytes_are_those_of_its_schema(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1 - dense 1 linear");
    const float params[] = {1, -2};
    const struct trib_safetensors_text text = {"k", "v"};
    struct trib_buf buf = {0};
    trib_onnx_write(&model, params, &text, 1, &buf);
    assert_int_equal(buf.size, sizeof(onnx_wanted) - 1);
    assert_memory_equal(buf.data, onnx_wanted, sizeof(onnx_wanted) - 1);
    trib_buf_fini(&buf);
}

static void the_c_file_names_its_function_after_the_file(void **state)
{
    (void)state;
    const struct trib_model model = parsed("1 - dense 1 linear");
    const float params[] = {0.1f, -2};
    static const struct {
        const char *name, *function;
    } cases[] = {{"digits", "void digits_predict("},
                 {"my-model", "void my_model_predict("},
                 {"7", "void m7_predict("},
                 {"", "void m_predict("}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_buf buf = {0};
        trib_c_export_write(&model, params, cases[i].name, &buf);
        assert_non_null(strstr((const char *)buf.data, cases[i].function));
        assert_non_null(strstr((const char *)buf.data, "0x1.99999ap-4f")); // 0.1f, exactly
        assert_non_null(strstr((const char *)buf.data, "-0x1p+1f"));
        trib_buf_fini(&buf);
    }
}

static void formats_have_their_words(void **state)
{
    (void)state;
    enum trib_model_format format;
    assert_false(trib_model_format_find("pickle", &format));
    assert_false(trib_model_format_find("", &format));
    for (int f = TRIB_MODEL_SAFETENSORS; f <= TRIB_MODEL_C; f++) {
        assert_true(
            trib_model_format_find(trib_model_format_text((enum trib_model_format)f), &format));
        assert_int_equal(format, f);
    }
}

static int teardown(void **state)
{
    (void)state;
    static const char *const names[] = {"model", NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_npz_is_a_zip_of_npy_arrays),
        cmocka_unit_test(a_file_that_goes_through_npz_is_the_same_file),
        cmocka_unit_test(no_truncation_is_a_model),
        cmocka_unit_test(no_flipped_bit_of_an_npz_changes_a_parameter),
        cmocka_unit_test(foreign_files_may_be_in_any_order_and_have_gaps),
        cmocka_unit_test(arrays_that_do_not_fit_are_named),
        cmocka_unit_test(values_that_are_not_finite_start_nothing),
        cmocka_unit_test(a_file_without_a_spec_cannot_be_converted),
        cmocka_unit_test(onnx_bytes_are_those_of_its_schema),
        cmocka_unit_test(the_c_file_names_its_function_after_the_file),
        cmocka_unit_test(formats_have_their_words),
    };
    return cmocka_run_group_tests(tests, files_setup, teardown);
}
