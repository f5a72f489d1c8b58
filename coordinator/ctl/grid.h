// grid.h - values of keys that a series of trainings tries: every combination, or some of them.
#ifndef TRIB_COORDINATOR_CTL_GRID_H
#define TRIB_COORDINATOR_CTL_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/args.h"
#include "common/base/conf.h"
#include "tributary/err.h"

enum {
    TRIB_GRID_KEYS_MAX = 8,
    TRIB_GRID_VALUES_MAX = 64,  // of a key
    TRIB_GRID_SIZE_MAX = 10000, // combinations
    TRIB_GRID_NAME_SIZE = 128,  // "section.key"
    TRIB_GRID_SET_SIZE = TRIB_CONF_TEXT_MAX + 1 + TRIB_GRID_NAME_SIZE,
};

struct trib_grid_key {
    char name[TRIB_GRID_NAME_SIZE];
    const char *values[TRIB_GRID_VALUES_MAX]; // point into `text`
    size_t count;
    char text[TRIB_CONF_TEXT_MAX + 1];
};

// All 0 at first. It must not be moved.
struct trib_grid {
    struct trib_grid_key keys[TRIB_GRID_KEYS_MAX];
    size_t key_count;
};

// One "section.key=value,value,...". False: it is not that, or there are too many.
bool trib_grid_take(struct trib_grid *grid, const char *text);

// All that a command line says with --grid, at least one. False: what is wrong is said on stderr.
bool trib_grid_take_all(struct trib_grid *grid, const struct trib_texts *texts);

// Combinations: at least 1, and at most TRIB_GRID_SIZE_MAX + 1, which stands for all that are more.
size_t trib_grid_size(const struct trib_grid *grid);

// Combination `number` (below the size) as key_count texts "section.key=value": the last key
// changes fastest.
void trib_grid_sets(const struct trib_grid *grid, uint32_t number,
                    char ret_sets[][TRIB_GRID_SET_SIZE]);

// The numbers in the order in which they are tried: all in their order, or with `random` > 0 at most
// so many, drawn without repetition. *ret_numbers is the caller's, to be freed.
TRIB_CHECKED enum trib_err trib_grid_choose(const struct trib_grid *grid, uint64_t random,
                                            uint64_t seed, uint32_t **ret_numbers,
                                            size_t *ret_count);

#endif // TRIB_COORDINATOR_CTL_GRID_H
