// split.h - which rows are learnt from, which are kept to choose by, and which to judge by.
//
// A row has an identity, 64 bits that are always the same for the same row, and a side that depends
// on nothing but the identity and a seed. So it keeps its side for ever: across restarts, when rows
// are added or removed, and in any order. Rows with one identity are on one side.
#ifndef TRIB_DATA_SPLIT_H
#define TRIB_DATA_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/data/dataset.h"
#include "tributary/err.h"

enum trib_side {
    TRIB_SIDE_TRAIN,
    TRIB_SIDE_VALIDATION,
    TRIB_SIDE_TEST,
};

// What a row is known by. The same numbers as the words of data.split_by.
enum trib_split_by {
    TRIB_SPLIT_BY_AUTO,  // the schema's id column where there is one, else what the program says
    TRIB_SPLIT_BY_ID,    // the schema's id column; a row with an empty id by its values
    TRIB_SPLIT_BY_ROW,   // its values: features and label
    TRIB_SPLIT_BY_PLACE, // its number in the file or source, for those that grow at their end only
};

enum {
    TRIB_FOLDS_MAX = 1000
};

struct trib_split {
    uint64_t seed;
    double test;       // share of the rows, in [0, 1)
    double validation; // likewise; test + validation < 1
};

// The identity of what these bytes name: BLAKE2b-64.
uint64_t trib_split_identity(const void *bytes, size_t size);

// Of a row's values as they lie in memory, little-endian: those that wait for their pipeline
// (float64), or features and label (float32).
uint64_t trib_split_identity_of_row(const struct trib_dataset *dataset, size_t row);

// Fill dataset->ids. `by` is not AUTO. TRIB_ERR_INVAL: by ID, and the rows came without.
TRIB_CHECKED enum trib_err trib_split_identify(struct trib_dataset *dataset, enum trib_split_by by);

// The row's number in [0, 1): BLAKE2b keyed by the seed. Below `test` it is a test row, in the next
// `validation` one to choose by.
double trib_split_number(uint64_t seed, uint64_t identity);
enum trib_side trib_split_side(const struct trib_split *split, uint64_t identity);

// The sides of `count` rows so that each label has its share on each side, to the nearest row (rows
// with one identity stay together, under the label of the first of them, and may move a border).
// Within a label the rows with the smallest numbers are the test rows. Where the borders lie
// depends on all rows: this is for data that stay as they are. `labels` and `ids` have `count`
// elements.
TRIB_CHECKED enum trib_err trib_split_stratified(const struct trib_split *split,
                                                 const uint64_t *ids, const float *labels,
                                                 size_t count, uint8_t *ret_sides);

// The row's fold, 0 .. folds-1, unrelated to its side. 1 <= folds <= TRIB_FOLDS_MAX.
uint64_t trib_split_fold(uint64_t seed, uint64_t identity, uint64_t folds);

// Folds of whole devices: of `count` names in any order each fold gets as many as any other, or one
// more. ret_folds has `count` elements.
TRIB_CHECKED enum trib_err trib_split_device_folds(uint64_t seed, const char *const *names,
                                                   size_t count, uint64_t folds,
                                                   uint32_t *ret_folds);

// Keep only the rows that are not test rows, in their order. `dataset` has ids.
void trib_split_drop_test(const struct trib_split *split, struct trib_dataset *dataset);

#endif // TRIB_DATA_SPLIT_H
