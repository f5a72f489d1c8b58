// lines.h - rows of a CSV or JSON Lines file as they are written, for files that devices read like
// their own.
#ifndef TRIB_SIMULATIONS_LINES_H
#define TRIB_SIMULATIONS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/data/schema.h"
#include "tributary/err.h"

struct trib_lines;

// `has_names`: the first record names the columns, and stands in every part too.
TRIB_CHECKED enum trib_err trib_lines_open(const char *path, const struct trib_schema *schema,
                                           bool is_json_lines, bool has_names,
                                           struct trib_lines **ret_lines);
void trib_lines_close(struct trib_lines *lines); // NULL is fine

// Write the rows that begin in these lines (trib_dataset.lines), in this order.
TRIB_CHECKED enum trib_err trib_lines_write(const struct trib_lines *lines, const uint32_t *numbers,
                                            size_t count, const char *path);

#endif // TRIB_SIMULATIONS_LINES_H
