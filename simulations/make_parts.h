// make_parts.h - what the commands of make.h have in common.
#ifndef TRIB_SIMULATIONS_MAKE_PARTS_H
#define TRIB_SIMULATIONS_MAKE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/args.h"
#include "common/base/buf.h"
#include "common/base/rand.h"

enum {
    TRIB_MAKE_DIMENSIONS_MAX = 4096,
    TRIB_MAKE_OPTIONS_MAX = 16
};

struct trib_make {
    uint64_t users, items, per_user, seed;
    uint64_t user_dim, item_dim; // numbers of a user and of an item
    uint64_t rank;               // ratings: factors of a user and of an item
    uint64_t devices;            // clicks: that the users are dealt out to
    double noise;                // standard deviation
    const char *out;
};

// The options of all, and `extra` ones of the command. False: `ret_status` is what to exit with.
bool trib_make_parse(const struct trib_command *command, const struct trib_option *extra,
                     size_t extra_count, struct trib_make *s, int argc, char **argv,
                     int *ret_status);
// Is value within 1 .. max? Otherwise says so.
bool trib_make_check(const char *command, const char *option, uint64_t value, uint64_t max);

// `per_user` different items of the `items` there are. `next` draws one; `is_taken` (items) is
// all false before and after.
void trib_make_items(const struct trib_make *s, struct trib_rng *rng,
                     size_t (*next)(void *user, struct trib_rng *rng), void *user, bool *is_taken,
                     uint32_t *ret_items);
size_t trib_make_uniform(void *user, struct trib_rng *rng); // a `next`; user: struct trib_make

// Standard normal numbers with three decimals: what stands in the file is what counts.
void trib_make_features(struct trib_rng *rng, size_t count, double *ret_values);
void trib_make_put(struct trib_buf *text, const double *values, size_t count);

// Writes the file, says its name, and frees the text. What to exit with.
int trib_make_write(const struct trib_make *s, struct trib_buf *text);

#endif // TRIB_SIMULATIONS_MAKE_PARTS_H
