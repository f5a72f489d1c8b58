#include "common/data/split.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/rand.h"

uint64_t trib_split_identity(const void *bytes, size_t size)
{
    struct trib_hash hash;
    uint8_t digest[8];
    trib_hash_init(&hash, NULL, 0, sizeof(digest));
    trib_hash_update(&hash, bytes, size);
    trib_hash_final(&hash, digest, sizeof(digest));
    return trib_load_le64(digest);
}

uint64_t trib_split_identity_of_row(const struct trib_dataset *dataset, size_t row)
{
    struct trib_hash hash;
    uint8_t digest[8];
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "values are hashed as they lie");
    trib_hash_init(&hash, NULL, 0, sizeof(digest));
    if (dataset->values)
        trib_hash_update(&hash, dataset->values + row * dataset->columns,
                         dataset->columns * sizeof(*dataset->values));
    trib_hash_update(&hash, dataset->x + row * dataset->inputs,
                     dataset->inputs * sizeof(*dataset->x));
    trib_hash_update(&hash, dataset->y + row, sizeof(*dataset->y));
    trib_hash_final(&hash, digest, sizeof(digest));
    return trib_load_le64(digest);
}

enum trib_err trib_split_identify(struct trib_dataset *dataset, enum trib_split_by by)
{
    assert(by != TRIB_SPLIT_BY_AUTO);
    if (by == TRIB_SPLIT_BY_ID) // the reader made them
        return dataset->ids ? TRIB_OK : TRIB_ERR_INVAL;
    if (!dataset->ids)
        dataset->ids = trib_alloc_array(dataset->rows, sizeof(*dataset->ids));
    if (!dataset->ids)
        return TRIB_ERR_NOMEM;
    for (size_t row = 0; row < dataset->rows; row++) {
        if (by == TRIB_SPLIT_BY_ROW)
            dataset->ids[row] = trib_split_identity_of_row(dataset, row);
        else
            dataset->ids[row] = dataset->positions ? dataset->positions[row] : row;
    }
    return TRIB_OK;
}

double trib_split_number(uint64_t seed, uint64_t identity)
{
    struct trib_rng rng;
    trib_rng_init(&rng, seed, "split", identity, NULL);
    return trib_rng_real(&rng);
}

enum trib_side trib_split_side(const struct trib_split *split, uint64_t identity)
{
    const double number = trib_split_number(split->seed, identity);
    if (number < split->test)
        return TRIB_SIDE_TEST;
    return number < split->test + split->validation ? TRIB_SIDE_VALIDATION : TRIB_SIDE_TRAIN;
}

uint64_t trib_split_fold(uint64_t seed, uint64_t identity, uint64_t folds)
{
    struct trib_rng rng;
    assert(folds >= 1 && folds <= TRIB_FOLDS_MAX);
    trib_rng_init(&rng, seed, "fold", identity, NULL);
    return trib_rng_below(&rng, folds);
}

// ---- Stratified, and folds of devices: by rank

struct ranked {
    float label;
    double number;
    uint32_t row;
};

static int by_label_and_number(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->label != b->label)
        return a->label < b->label ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

// The sides of `count` rows of one label, in the order of their numbers.
static void cut(const struct trib_split *split, const struct ranked *rows, size_t count,
                uint8_t *sides)
{
    const double test = rint((double)count * split->test);
    const double kept = rint((double)count * (split->test + split->validation));
    uint8_t side = TRIB_SIDE_TEST;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || rows[i].number != rows[i - 1].number) // the same row again stays with it
            side = (double)i < test   ? TRIB_SIDE_TEST
                   : (double)i < kept ? TRIB_SIDE_VALIDATION
                                      : TRIB_SIDE_TRAIN;
        sides[rows[i].row] = side;
    }
}

enum trib_err trib_split_stratified(const struct trib_split *split, const uint64_t *ids,
                                    const float *labels, size_t count, uint8_t *ret_sides)
{
    struct ranked *rows = trib_alloc_array(count, sizeof(*rows));
    if (!rows)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct ranked){0, trib_split_number(split->seed, ids[i]), (uint32_t)i};
    qsort(rows, count, sizeof(*rows), by_label_and_number);
    for (size_t i = 0; i < count; i++) { // an identity has the label of its first row
        const bool is_same = i > 0 && rows[i].number == rows[i - 1].number;
        rows[i].label = is_same ? rows[i - 1].label : labels[rows[i].row];
    }
    qsort(rows, count, sizeof(*rows), by_label_and_number);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && rows[end].label == rows[first].label;)
            end++;
        cut(split, rows + first, end - first, ret_sides);
    }
    free(rows);
    return TRIB_OK;
}

enum trib_err trib_split_device_folds(uint64_t seed, const char *const *names, size_t count,
                                      uint64_t folds, uint32_t *ret_folds)
{
    struct ranked *devices = trib_alloc_array(count, sizeof(*devices));
    assert(folds >= 1 && folds <= TRIB_FOLDS_MAX);
    if (!devices)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        struct trib_rng rng;
        trib_rng_init(&rng, seed, "device fold", 0, names[i]);
        devices[i] = (struct ranked){0, trib_rng_real(&rng), (uint32_t)i};
    }
    qsort(devices, count, sizeof(*devices), by_label_and_number);
    for (size_t i = 0; i < count; i++)
        ret_folds[devices[i].row] = (uint32_t)(i % folds);
    free(devices);
    return TRIB_OK;
}

// ---- Devices

void trib_split_drop_test(const struct trib_split *split, struct trib_dataset *dataset)
{
    size_t kept = 0;
    assert(dataset->ids);
    for (size_t row = 0; row < dataset->rows; row++) {
        if (trib_split_side(split, dataset->ids[row]) == TRIB_SIDE_TEST)
            continue;
        memmove(dataset->x + kept * dataset->inputs, dataset->x + row * dataset->inputs,
                dataset->inputs * sizeof(*dataset->x));
        if (dataset->values)
            memmove(dataset->values + kept * dataset->columns,
                    dataset->values + row * dataset->columns,
                    dataset->columns * sizeof(*dataset->values));
        if (dataset->owners)
            dataset->owners[kept] = dataset->owners[row];
        dataset->y[kept] = dataset->y[row];
        dataset->ids[kept] = dataset->ids[row];
        if (dataset->weights)
            dataset->weights[kept] = dataset->weights[row];
        if (dataset->positions)
            dataset->positions[kept] = dataset->positions[row];
        if (dataset->lines)
            dataset->lines[kept] = dataset->lines[row];
        kept++;
    }
    dataset->rows = kept;
}
