// The first byte chooses header and label; the rest is a file, plain or gzip. A data set that comes
// of it is whole and finite.
#include <math.h>

#include "common/data/csv.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const labels[] = {"last", "1", "y", "3"};
    struct trib_dataset *dataset;
    struct memory_file file;
    if (size < 1)
        return 0;
    const struct trib_csv_options options = {.header = (enum trib_csv_header)(data[0] % 3),
                                             .label = labels[data[0] / 3 % 4],
                                             .scale = 1,
                                             .limit = data[0] / 12};
    trib_log_set_sink(drop_line, NULL);
    memory_file_open(&file, data + 1, size - 1);
    if (trib_csv_read(file.path, &options, &dataset) == TRIB_OK) {
        if (options.limit > 0 && dataset->rows > options.limit)
            abort();
        for (size_t i = 0; i < dataset->rows * dataset->inputs; i++) {
            if (!isfinite(dataset->x[i]))
                abort();
        }
        for (size_t i = 0; i < dataset->rows; i++) {
            if (!isfinite(dataset->y[i]) || dataset->lines[i] == 0)
                abort();
        }
        trib_dataset_free(dataset);
    }
    memory_file_close(&file);
    return 0;
}
