// source_read.h - the readers of the [data] section's sources: source*.c only.
#ifndef TRIB_DATA_SOURCE_READ_H
#define TRIB_DATA_SOURCE_READ_H

#include <stdint.h>

#include "common/data/source.h"
#include "common/data/table.h"
#include "tributary/err.h"

// The rows of a csv or jsonl text. Errors are logged with its name, line and column.
TRIB_CHECKED enum trib_err trib_data_parse_text(const struct trib_data_config *config,
                                                const struct trib_table_text *text, double scale,
                                                struct trib_dataset **ret_dataset);

// The rows of the store behind number `after` that are not too old at `now_ms` (wall clock).
TRIB_CHECKED enum trib_err trib_data_read_store(const struct trib_data_config *config,
                                                uint64_t after, uint64_t now_ms, double scale,
                                                struct trib_dataset **ret_dataset);

#endif // TRIB_DATA_SOURCE_READ_H
