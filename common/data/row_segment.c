#include "common/data/row_segment.h"

#include <assert.h>
#include <string.h>

#include "common/base/bytes.h"

static const char magic[8] = {'T', 'R', 'I', 'B', 'R', 'O', 'W', '1'};

enum {
    CRC_START = 12 // the header's checksum covers everything from here on
};

void trib_row_columns_digest(const struct trib_schema *schema,
                             uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, &schema->separator, 1);
    for (size_t i = 0; i < schema->count; i++) // with its NUL, so that names cannot run together
        trib_hash_update(&hash, schema->columns[i].name, strlen(schema->columns[i].name) + 1);
    trib_hash_final(&hash, ret_digest, TRIB_DIGEST_SIZE);
}

void trib_row_segment_pack(const struct trib_row_segment_header *header,
                           uint8_t ret_bytes[static TRIB_ROW_SEGMENT_HEADER_SIZE])
{
    memset(ret_bytes, 0, TRIB_ROW_SEGMENT_HEADER_SIZE);
    memcpy(ret_bytes, magic, sizeof(magic));
    trib_store_le64(ret_bytes + 16, header->first);
    trib_store_le64(ret_bytes + 24, header->created_ms);
    memcpy(ret_bytes + 32, header->columns, TRIB_DIGEST_SIZE);
    trib_store_le32(ret_bytes + 8, trib_crc32c(0, ret_bytes + CRC_START,
                                               TRIB_ROW_SEGMENT_HEADER_SIZE - CRC_START));
}

bool trib_row_segment_unpack(const uint8_t *data, size_t size,
                             struct trib_row_segment_header *ret_header)
{
    if (size < TRIB_ROW_SEGMENT_HEADER_SIZE || memcmp(data, magic, sizeof(magic)) != 0 ||
        trib_crc32c(0, data + CRC_START, TRIB_ROW_SEGMENT_HEADER_SIZE - CRC_START) !=
            trib_load_le32(data + 8))
        return false;
    ret_header->first = trib_load_le64(data + 16);
    ret_header->created_ms = trib_load_le64(data + 24);
    memcpy(ret_header->columns, data + 32, TRIB_DIGEST_SIZE);
    return true;
}

void trib_row_pack(const struct trib_row *row, struct trib_buf *buf)
{
    uint8_t header[TRIB_ROW_HEADER_SIZE];
    assert(row->size >= 1 && row->size <= TRIB_ROW_SIZE_MAX);
    trib_store_le32(header, (uint32_t)row->size);
    trib_store_le64(header + 8, row->sequence);
    trib_store_le64(header + 16, row->arrival_ms);
    uint32_t crc = trib_crc32c(0, header, 4);
    crc = trib_crc32c(crc, header + 8, sizeof(header) - 8);
    trib_store_le32(header + 4, trib_crc32c(crc, row->text, row->size));
    trib_buf_append(buf, header, sizeof(header));
    trib_buf_append(buf, row->text, row->size);
}

void trib_row_reader_init(struct trib_row_reader *reader,
                          const struct trib_row_segment_header *header, const uint8_t *data,
                          size_t size)
{
    *reader = (struct trib_row_reader){
        .data = data, .size = size, .at = TRIB_ROW_SEGMENT_HEADER_SIZE, .next = header->first};
}

enum trib_row_event trib_row_next(struct trib_row_reader *reader, struct trib_row *ret_row)
{
    const uint8_t *header = reader->data + reader->at;
    const size_t left = reader->size - reader->at;
    if (left == 0)
        return TRIB_ROW_END;
    if (left < TRIB_ROW_HEADER_SIZE)
        return TRIB_ROW_TORN;
    const size_t size = trib_load_le32(header);
    if (size < 1 || size > TRIB_ROW_SIZE_MAX || size > left - TRIB_ROW_HEADER_SIZE ||
        trib_load_le64(header + 8) != reader->next)
        return TRIB_ROW_TORN;
    const uint32_t crc = trib_crc32c(0, header, 4);
    if (trib_crc32c(crc, header + 8, TRIB_ROW_HEADER_SIZE - 8 + size) != trib_load_le32(header + 4))
        return TRIB_ROW_TORN;
    *ret_row = (struct trib_row){.sequence = reader->next,
                                 .arrival_ms = trib_load_le64(header + 16),
                                 .text = header + TRIB_ROW_HEADER_SIZE,
                                 .size = size};
    reader->at += TRIB_ROW_HEADER_SIZE + size;
    reader->next++;
    return TRIB_ROW_WHOLE;
}
