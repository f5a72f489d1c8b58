// idx.h - the IDX format of the MNIST files: big-endian magic, dimensions, unsigned bytes.
//
//     offset  size  field
//     0       2     zero
//     2       1     type of the elements: 0x08, unsigned byte
//     3       1     number of dimensions (labels 1, pictures 3; any number is read)
//     4       4 x d sizes of the dimensions
//     ...           the elements
//
// Plain or gzip. An error names the file and what was expected; nothing is returned.
#ifndef TRIB_DATA_IDX_H
#define TRIB_DATA_IDX_H

#include "common/data/dataset.h"
#include "tributary/err.h"

// Features are divided by `scale`; at most `limit` rows are kept (0: all).
TRIB_CHECKED enum trib_err trib_idx_read(const char *items_path, const char *labels_path,
                                         double scale, size_t limit,
                                         struct trib_dataset **ret_dataset);

// Write rows whose features and labels are whole numbers from 0 to 255. TRIB_ERR_DATA otherwise.
TRIB_CHECKED enum trib_err trib_idx_write(const char *items_path, const char *labels_path,
                                          const struct trib_dataset *dataset, const uint32_t *rows,
                                          size_t count);

#endif // TRIB_DATA_IDX_H
