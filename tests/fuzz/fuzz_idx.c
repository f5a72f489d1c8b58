// Two bytes (big-endian) say how many of the rest are the file of items; what is left is the file
// of labels. A data set that comes of them holds bytes.
#include "common/base/bytes.h"
#include "common/data/idx.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_byte(float value)
{
    if (!(value >= 0 && value <= 255) || (float)(int)value != value)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trib_dataset *dataset;
    struct memory_file items, labels;
    if (size < 2 || trib_load_be16(data) > size - 2)
        return 0;
    size_t items_size = trib_load_be16(data);
    trib_log_set_sink(drop_line, NULL);
    memory_file_open(&items, data + 2, items_size);
    memory_file_open(&labels, data + 2 + items_size, size - 2 - items_size);
    if (trib_idx_read(items.path, labels.path, 1, 0, &dataset) == TRIB_OK) {
        for (size_t i = 0; i < dataset->rows * dataset->inputs; i++)
            require_byte(dataset->x[i]);
        for (size_t i = 0; i < dataset->rows; i++)
            require_byte(dataset->y[i]);
        trib_dataset_free(dataset);
    }
    memory_file_close(&labels);
    memory_file_close(&items);
    return 0;
}
