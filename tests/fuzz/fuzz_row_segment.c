// A segment of pushed rows: what is read is what was written, in its order, up to the first byte
// that is not; and what is read can be written again as the same bytes.
#include <stdlib.h>
#include <string.h>

#include "common/data/row_segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trib_row_segment_header header;
    struct trib_row_reader reader;
    struct trib_row row;
    struct trib_buf again = {0};
    enum trib_row_event event;
    uint8_t bytes[TRIB_ROW_SEGMENT_HEADER_SIZE];
    if (!trib_row_segment_unpack(data, size, &header))
        return 0;
    trib_row_segment_pack(&header, bytes);
    trib_buf_append(&again, bytes, sizeof(bytes));
    trib_row_reader_init(&reader, &header, data, size);
    uint64_t sequence = header.first;
    while ((event = trib_row_next(&reader, &row)) == TRIB_ROW_WHOLE) {
        require(row.sequence == sequence++);
        require(row.size >= 1 && row.size <= TRIB_ROW_SIZE_MAX);
        trib_row_pack(&row, &again);
    }
    require((event == TRIB_ROW_END) == (reader.at == size));
    require(again.failed || again.size == reader.at);
    require(again.failed || memcmp(again.data + 16, data + 16, reader.at - 16) == 0);
    trib_buf_fini(&again);
    return 0;
}
