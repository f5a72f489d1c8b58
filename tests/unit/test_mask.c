#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/wipe.h"
#include "common/privacy/mask.h"
#include "tests/unit/chi_square.h"

static struct trib_mask mask_of(uint8_t first)
{
    struct trib_mask mask = {.is_subtracted = false};
    for (int i = 0; i < TRIB_MASK_KEY_SIZE; i++)
        mask.key[i] = (uint8_t)(first + i);
    return mask;
}

// RFC 8439 A.1, vectors 1 and 2: key 0, nonce 0, block counters 0 and 1.
static void a_mask_is_the_key_stream_of_rfc_8439(void **state)
{
    (void)state;
    static const char expected[] =
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f";
    const struct trib_mask mask = {.is_subtracted = false};
    uint8_t stream[128];
    uint32_t words[32] = {0};
    assert_true(trib_hex_decode(expected, stream, sizeof(stream)));
    trib_mask_apply(&mask, 1, 0, 32, words);
    for (int i = 0; i < 32; i++)
        assert_int_equal(words[i], trib_load_le32(stream + 4 * i));
}

// Every begin and length around the borders of blocks and chunks.
static void any_range_is_the_same_piece_of_the_whole(void **state)
{
    (void)state;
    enum {
        COUNT = 5000
    };
    static uint32_t whole[COUNT];
    static uint32_t part[COUNT];
    static const size_t begins[] = {0, 1, 15, 16, 17, 2031, 2047, 2048, 2049, 4095, 4999};
    static const size_t counts[] = {0, 1, 2, 15, 16, 17, 33, 2047, 2048, 2049, 2900};
    const struct trib_mask masks[2] = {mask_of(1), mask_of(77)};
    memset(whole, 0, sizeof(whole));
    trib_mask_apply(masks, 2, 0, COUNT, whole);
    for (size_t b = 0; b < sizeof(begins) / sizeof(begins[0]); b++) {
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            size_t begin = begins[b];
            size_t count = counts[c] < COUNT - begin ? counts[c] : COUNT - begin;
            memset(part, 0, sizeof(part));
            trib_mask_apply(masks, 2, begin, count, part + begin);
            assert_memory_equal(part + begin, whole + begin, 4 * count);
            for (size_t i = 0; i < COUNT; i++) { // nothing beside the range is touched
                if (i < begin || i >= begin + count)
                    assert_int_equal(part[i], 0);
            }
        }
    }
}

static void what_is_added_and_subtracted_is_nothing(void **state)
{
    (void)state;
    enum {
        COUNT = 3001
    };
    static uint32_t words[COUNT];
    struct trib_mask masks[3] = {mask_of(1), mask_of(2), mask_of(1)};
    masks[2].is_subtracted = true;
    for (uint32_t i = 0; i < COUNT; i++)
        words[i] = i * 2654435761u;
    trib_mask_apply(masks, 3, 0, COUNT, words);
    masks[1].is_subtracted = true;
    trib_mask_apply(&masks[1], 1, 0, COUNT, words);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(words[i], i * 2654435761u);
}

static void one_bit_of_the_key_changes_the_mask(void **state)
{
    (void)state;
    uint32_t plain[16] = {0};
    struct trib_mask mask = mask_of(9);
    trib_mask_apply(&mask, 1, 0, 16, plain);
    for (int bit = 0; bit < 8 * TRIB_MASK_KEY_SIZE; bit++) {
        uint32_t other[16] = {0};
        int same = 0;
        mask.key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        trib_mask_apply(&mask, 1, 0, 16, other);
        mask.key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        for (int i = 0; i < 16; i++)
            same += plain[i] == other[i];
        assert_true(same == 0);
    }
}

static void words_are_lifted_into_the_centred_range(void **state)
{
    (void)state;
    assert_int_equal(trib_mask_lift(0x7fff, 16), 32767);
    assert_int_equal(trib_mask_lift(0x8000, 16), -32768);
    assert_int_equal(trib_mask_lift(0xffff, 16), -1);
    assert_int_equal(trib_mask_lift(0xabcd0001, 16), 1);
    assert_int_equal(trib_mask_lift(0x7fffff, 24), 8388607);
    assert_int_equal(trib_mask_lift(0x800000, 24), -8388608);
    assert_int_equal(trib_mask_lift(0xff000000, 24), 0);
    assert_int_equal(trib_mask_lift(0x7fffffff, 32), INT32_MAX);
    assert_int_equal(trib_mask_lift(0x80000000, 32), INT32_MIN);
    assert_int_equal(trib_mask_lift(0xffffffff, 32), -1);
    assert_int_equal(trib_mask_lift(1, 1), -1);
}

static void words_of_a_mask_are_uniform(void **state)
{
    (void)state;
    enum {
        COUNT = 1 << 16
    };
    static uint32_t words[COUNT];
    static uint64_t counts[4][256];
    const struct trib_mask mask = mask_of(200);
    memset(words, 0, sizeof(words));
    memset(counts, 0, sizeof(counts));
    trib_mask_apply(&mask, 1, 0, COUNT, words);
    for (size_t i = 0; i < COUNT; i++) {
        for (int j = 0; j < 4; j++)
            counts[j][words[i] >> (8 * j) & 0xff]++;
    }
    for (int j = 0; j < 4; j++) {
        struct chi_square chi = {0};
        for (int i = 0; i < 256; i++)
            chi_square_add(&chi, COUNT / 256.0, counts[j][i]);
        double deviate = chi_square_deviate(&chi);
        assert_true(deviate < CHI_SQUARE_MAX && deviate > -CHI_SQUARE_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_is_the_key_stream_of_rfc_8439),
        cmocka_unit_test(any_range_is_the_same_piece_of_the_whole),
        cmocka_unit_test(what_is_added_and_subtracted_is_nothing),
        cmocka_unit_test(one_bit_of_the_key_changes_the_mask),
        cmocka_unit_test(words_are_lifted_into_the_centred_range),
        cmocka_unit_test(words_of_a_mask_are_uniform),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
