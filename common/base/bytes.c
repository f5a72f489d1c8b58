#include "common/base/bytes.h"

#include <pthread.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    CRC_SLICES = 8
};

static uint32_t crc_table[CRC_SLICES][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_fill(void)
{
    const uint32_t polynomial = 0x82f63b78; // Castagnoli, reflected
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (polynomial & -(crc & 1));
        crc_table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int s = 1; s < CRC_SLICES; s++)
            crc_table[s][i] = crc_table[s - 1][i] >> 8 ^ crc_table[0][crc_table[s - 1][i] & 0xff];
    }
}

// Eight table look-ups a step ("slicing by 8"), for machines without the instruction.
static uint32_t crc_plain(uint32_t crc, const uint8_t *data, size_t size)
{
    (void)pthread_once(&crc_once, crc_fill);
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t low = crc ^ trib_load_le32(data);
        uint32_t high = trib_load_le32(data + 4);
        crc = 0;
        for (int i = 0; i < 4; i++) {
            crc ^= crc_table[7 - i][low >> (8 * i) & 0xff];
            crc ^= crc_table[3 - i][high >> (8 * i) & 0xff];
        }
    }
    for (; size > 0; data++, size--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *data) & 0xff];
    return crc;
}

#if defined(__x86_64__)
enum {
    CRC_LANE = 1024, // bytes of each of three sums that are made at once
};

// crc * x^(8 n) mod P, for `factor` = x^(8 n - 33) mod P: the sum of what was summed and n zeroes
// after it. The product of two reflected polynomials comes out times x, the instruction takes it
// times x^32 (Gopal et al., "Fast CRC computation for iSCSI polynomial using CRC32 instruction",
// Intel 2011).
__attribute__((target("sse4.2,pclmul"))) static uint64_t crc_shift(uint64_t crc, uint32_t factor)
{
    const __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi32_si128((int)factor), 0);
    return __builtin_ia32_crc32di(0, (uint64_t)_mm_cvtsi128_si64(product));
}

// The instruction takes three cycles, and another one may begin in each of them.
__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_lanes(uint32_t crc,
                                                                   const uint8_t *data, size_t size,
                                                                   size_t *ret_done)
{
    uint64_t first = crc;
    size_t done = 0;
    for (; size - done >= 3 * (size_t)CRC_LANE; done += 3 * (size_t)CRC_LANE) {
        const uint8_t *lane = data + done;
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < CRC_LANE; i += 8) {
            first = __builtin_ia32_crc32di(first, trib_load_le64(lane + i));
            second = __builtin_ia32_crc32di(second, trib_load_le64(lane + CRC_LANE + i));
            third = __builtin_ia32_crc32di(third, trib_load_le64(lane + 2 * CRC_LANE + i));
        }
        first = crc_shift(first, 0xa51b6135) ^ crc_shift(second, 0x170076fa) ^
                third; // by two lanes, by one
    }
    *ret_done = done;
    return (uint32_t)first;
}

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *data,
                                                            size_t size)
{
    uint64_t wide = crc;
    for (; size >= 8; data += 8, size -= 8)
        wide = __builtin_ia32_crc32di(wide, trib_load_le64(data));
    crc = (uint32_t)wide;
    for (; size > 0; data++, size--)
        crc = __builtin_ia32_crc32qi(crc, *data);
    return crc;
}
#endif

uint32_t trib_crc32c(uint32_t crc, const void *data, size_t size)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        const uint8_t *bytes = data;
        size_t done = 0;
        crc = ~crc;
        if (size >= 3 * (size_t)CRC_LANE && __builtin_cpu_supports("pclmul"))
            crc = crc_lanes(crc, bytes, size, &done);
        return ~crc_sse42(crc, bytes + done, size - done);
    }
#endif
    return ~crc_plain(~crc, data, size);
}

void trib_hex_encode(const uint8_t *data, size_t size, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        *text++ = digits[data[i] >> 4];
        *text++ = digits[data[i] & 15];
    }
    *text = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool trib_hex_decode(const char *text, uint8_t *data, size_t size)
{
    if (strlen(text) != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        data[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void trib_base64_encode(const uint8_t *data, size_t size, char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | data[i];
        for (count += 8; count >= 6; count -= 6)
            *text++ = digits[bits >> (count - 6) & 63];
    }
    if (count > 0)
        *text++ = digits[bits << (6 - count) & 63];
    *text = '\0';
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-' || c == '+')
        return 62;
    if (c == '_' || c == '/')
        return 63;
    return -1;
}

bool trib_base64_decode(const char *text, uint8_t *data, size_t capacity, size_t *ret_size)
{
    uint32_t bits = 0;
    int count = 0;
    size_t size = 0;
    size_t length = strlen(text);

    while (length > 0 && text[length - 1] == '=')
        length--;
    if (length % 4 == 1)
        return false;
    for (size_t i = 0; i < length; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            if (size == capacity)
                return false;
            data[size++] = (uint8_t)(bits >> count);
        }
    }
    if (bits & ((1u << count) - 1)) // one text for one value: left-over bits are zero
        return false;
    *ret_size = size;
    return true;
}
