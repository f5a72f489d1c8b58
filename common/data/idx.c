#include "common/data/idx.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "data"

enum {
    TYPE_UBYTE = 0x08,
    DIMENSIONS_MAX = 8,
    FILE_SIZE_MAX = 0x7fffffff,
};

struct idx {
    struct trib_buf buf;
    const uint8_t *elements;
    size_t items;     // size of the first dimension
    size_t item_size; // product of the others, 1 for labels
};

static enum trib_err read_file(const char *path, const char *what, struct idx *idx)
{
    enum trib_err err = trib_file_read(path, FILE_SIZE_MAX, &idx->buf);
    if (err)
        return err;
    const uint8_t *data = idx->buf.data;
    size_t size = idx->buf.size;

    if (size < 4 || data[0] || data[1] || data[2] != TYPE_UBYTE || data[3] < 1 ||
        data[3] > DIMENSIONS_MAX) {
        TRIB_ERROR("%s: not an IDX file of %s: magic 0x%08x, want 0x0000080N (unsigned bytes)",
                   path, what, size < 4 ? 0 : trib_load_be32(data));
        return TRIB_ERR_DATA;
    }
    size_t dimensions = data[3];
    size_t header = 4 + 4 * dimensions;
    uint64_t total = 1;
    for (size_t d = 0; d < dimensions && size >= header; d++) {
        uint64_t length = trib_load_be32(data + 4 + 4 * d);
        if (d > 0 && length == 0)
            length = UINT32_MAX; // an item without elements: refused as too large below
        total = length > FILE_SIZE_MAX || total > FILE_SIZE_MAX ? UINT32_MAX : total * length;
    }
    if (size < header || total != size - header) {
        TRIB_ERROR("%s: %zu bytes, but its dimensions want %llu: the file is %s", path, size,
                   (unsigned long long)(header + total),
                   size < header + total ? "cut short" : "too long");
        return TRIB_ERR_DATA;
    }
    idx->elements = data + header;
    idx->items = trib_load_be32(data + 4);
    idx->item_size = idx->items ? (size_t)total / idx->items : 0;
    return TRIB_OK;
}

enum trib_err trib_idx_read(const char *items_path, const char *labels_path, double scale,
                            size_t limit, struct trib_dataset **ret_dataset)
{
    struct idx items = {.items = 0};
    struct idx labels = {.items = 0};
    struct trib_dataset *dataset = NULL;
    const float divisor = (float)scale;

    enum trib_err err = read_file(items_path, "items", &items);
    if (!err)
        err = read_file(labels_path, "labels", &labels);
    if (err)
        goto out;
    if (labels.items > 0 && labels.item_size != 1) {
        TRIB_ERROR("%s: labels have one dimension, this file has more", labels_path);
        err = TRIB_ERR_DATA;
        goto out;
    }
    if (items.items != labels.items) {
        TRIB_ERROR("%s: %zu items, but %s has %zu labels", items_path, items.items, labels_path,
                   labels.items);
        err = TRIB_ERR_DATA;
        goto out;
    }
    if (items.items > TRIB_ROWS_MAX || items.item_size > TRIB_COLUMNS_MAX) {
        TRIB_ERROR("%s: more than %d items or %d values each", items_path, TRIB_ROWS_MAX,
                   TRIB_COLUMNS_MAX);
        err = TRIB_ERR_LIMIT;
        goto out;
    }
    size_t rows = limit && limit < items.items ? limit : items.items;
    err = trib_dataset_create(rows, items.item_size, false, items_path, &dataset);
    if (err)
        goto out;
    for (size_t i = 0; i < rows * items.item_size; i++)
        dataset->x[i] = (float)items.elements[i] / divisor;
    for (size_t r = 0; r < rows; r++)
        dataset->y[r] = (float)labels.elements[r];
    *ret_dataset = dataset;

out:
    trib_buf_fini(&items.buf);
    trib_buf_fini(&labels.buf);
    return err;
}

static bool put_byte(struct trib_buf *buf, float value)
{
    uint8_t byte = (uint8_t)(value >= 0 && value <= 255 ? value : 0);
    trib_buf_append(buf, &byte, 1);
    return (float)byte == value;
}

static void put_header(struct trib_buf *buf, size_t count, size_t item_size)
{
    uint8_t header[12] = {0, 0, TYPE_UBYTE, item_size ? 2 : 1};
    trib_store_be32(header + 4, (uint32_t)count);
    trib_store_be32(header + 8, (uint32_t)item_size);
    trib_buf_append(buf, header, item_size ? 12 : 8);
}

enum trib_err trib_idx_write(const char *items_path, const char *labels_path,
                             const struct trib_dataset *dataset, const uint32_t *rows, size_t count)
{
    struct trib_buf items = {0};
    struct trib_buf labels = {0};
    enum trib_err err = TRIB_OK;
    bool fits = true;

    put_header(&items, count, dataset->inputs);
    put_header(&labels, count, 0);
    for (size_t i = 0; i < count; i++) {
        const float *x = dataset->x + (size_t)rows[i] * dataset->inputs;
        for (size_t j = 0; j < dataset->inputs; j++)
            fits = put_byte(&items, x[j]) && fits;
        fits = put_byte(&labels, dataset->y[rows[i]]) && fits;
    }
    if (!fits) {
        TRIB_ERROR("%s: values are not whole numbers from 0 to 255", dataset->name);
        err = TRIB_ERR_DATA;
    } else if (items.failed || labels.failed) {
        err = TRIB_ERR_NOMEM;
    }
    if (!err)
        err = trib_file_write(items_path, items.data, items.size, 0600);
    if (!err)
        err = trib_file_write(labels_path, labels.data, labels.size, 0600);
    trib_buf_fini(&items);
    trib_buf_fini(&labels);
    return err;
}
