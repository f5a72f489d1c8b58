// What is worked out of an update while it comes in is what its bytes say, in whatever pieces.
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "coordinator/arrival.h"
#include "coordinator/segment.h"

enum {
    WORDS = 70001, // more than a block of each width, and no whole number of blocks
};

static void all_pieces_come_to_the_same(void **state)
{
    uint64_t seed = 3;
    (void)state;
    for (unsigned bits = 16; bits <= 32; bits += 8) {
        const size_t size = trib_codec_size(WORDS, bits);
        uint8_t *bytes = malloc(size);
        struct trib_codec_norms norms = {.max_abs = 0};
        assert_non_null(bytes);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)test_rand(&seed);
        trib_codec_norms_add(bytes, WORDS, bits, &norms);
        static const size_t most[] = {1, 2, 5, 61440, 65536, 1 << 20}; // of a piece
        for (size_t k = 0; k < sizeof(most) / sizeof(most[0]); k++) {
            struct trib_arrival *arrival = trib_arrival_create(size, bits);
            assert_non_null(arrival);
            for (size_t at = 0; at < size;) {
                size_t part = k % 2 ? most[k] : 1 + test_rand(&seed) % most[k];
                part = part < size - at ? part : size - at;
                trib_arrival_take(arrival, bytes + at, part);
                at += part;
                assert_int_equal(arrival->taken, at);
            }
            assert_memory_equal(&arrival->norms, &norms, sizeof(norms));
            for (size_t at = 0; at < size; at += TRIB_SEGMENT_BLOCK) {
                size_t part = size - at < TRIB_SEGMENT_BLOCK ? size - at : TRIB_SEGMENT_BLOCK;
                assert_int_equal(arrival->checksums[at / TRIB_SEGMENT_BLOCK],
                                 trib_crc32c(0, bytes + at, part));
            }
            trib_arrival_unref(arrival);
        }
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pieces_come_to_the_same),
    };
    return RUN_TESTS(tests);
}
