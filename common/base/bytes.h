// bytes.h - integers and bytes: byte orders, CRC32C, hexadecimal, base64url.
#ifndef TRIB_BASE_BYTES_H
#define TRIB_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint16_t trib_load_be16(const uint8_t *in)
{
    return (uint16_t)(in[0] << 8 | in[1]);
}

static inline void trib_store_be16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static inline uint16_t trib_load_le16(const uint8_t *in)
{
    return (uint16_t)(in[0] | in[1] << 8);
}

static inline void trib_store_le16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static inline uint32_t trib_load_be32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static inline void trib_store_be32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline uint32_t trib_load_le32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static inline void trib_store_le32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t trib_load_le64(const uint8_t *in)
{
    return (uint64_t)trib_load_le32(in) | (uint64_t)trib_load_le32(in + 4) << 32;
}

static inline void trib_store_le64(uint8_t *out, uint64_t value)
{
    trib_store_le32(out, (uint32_t)value);
    trib_store_le32(out + 4, (uint32_t)(value >> 32));
}

// CRC32C (Castagnoli), RFC 3720 appendix B.4. Start with 0; feed the result back in to continue.
uint32_t trib_crc32c(uint32_t crc, const void *data, size_t size);

// Lower-case hexadecimal; `text` holds 2 * size + 1 bytes.
void trib_hex_encode(const uint8_t *data, size_t size, char *text);
// Exactly 2 * size hexadecimal digits, else false.
bool trib_hex_decode(const char *text, uint8_t *data, size_t size);

// base64 with the URL alphabet and no padding (RFC 4648 section 5).
enum {
    TRIB_KEY_TEXT_SIZE = 44 // a 32-byte key in base64url, and NUL
};
#define TRIB_BASE64_TEXT_SIZE(size) (((size)*4 + 2) / 3 + 1)
void trib_base64_encode(const uint8_t *data, size_t size, char *text);
// Both alphabets, padding allowed. False on any other byte, or if it is more than `capacity` bytes.
bool trib_base64_decode(const char *text, uint8_t *data, size_t capacity, size_t *ret_size);

#endif // TRIB_BASE_BYTES_H
