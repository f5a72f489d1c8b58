#include "common/math/npz.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"

// Numbers are those of PKWARE's APPNOTE 6.3: 4.3.7 local header, 4.3.12 central directory, 4.3.16
// end of central directory.
enum {
    LOCAL_SIGNATURE = 0x04034b50,
    CENTRAL_SIGNATURE = 0x02014b50,
    END_SIGNATURE = 0x06054b50,
    LOCAL_SIZE = 30,
    CENTRAL_SIZE = 46,
    END_SIZE = 22,
    COMMENT_MAX = 65535,
    VERSION = 20,       // 2.0: what a reader must know for stored entries
    DOS_DATE = 33,      // 1980-01-01: files of equal models are equal
    NPY_ALIGNMENT = 64, // the array's data begin on a multiple of it, from the npy's beginning
    NPY_PRELUDE = 10,   // magic, version, header length
};

static const char npy_magic[] = "\x93NUMPY";

struct reason {
    char *text;
    size_t size;
};

static enum trib_err wrong(struct reason why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum trib_err wrong(struct reason why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why.text, why.size, format, args);
    va_end(args);
    return TRIB_ERR_DATA;
}

// CRC-32 of ISO 3309, reflected, as zip wants it; a nibble at a time. Starts with 0.
static uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

// ---- Writing

struct writer {
    struct trib_buf *buf;
    size_t start;            // of the file in the buffer
    struct trib_buf central; // the directory, written at the end
    uint16_t entries;
};

static void put16(struct trib_buf *buf, uint32_t value)
{
    uint8_t *room = trib_buf_extend(buf, 2);
    if (room)
        trib_store_le16(room, (uint16_t)value);
}

static void put32(struct trib_buf *buf, uint32_t value)
{
    uint8_t *room = trib_buf_extend(buf, 4);
    if (room)
        trib_store_le32(room, value);
}

// What both headers of an entry hold, from "version needed" to "extra field length".
static void put_common(struct trib_buf *buf, uint32_t crc, size_t size, size_t name_size)
{
    put16(buf, VERSION);
    put16(buf, 0); // flags
    put16(buf, 0); // stored
    put16(buf, 0); // time
    put16(buf, DOS_DATE);
    put32(buf, crc);
    put32(buf, (uint32_t)size); // at most TRIB_PARAMS_MAX floats: below 2^32
    put32(buf, (uint32_t)size);
    put16(buf, (uint32_t)name_size);
    put16(buf, 0); // extra
}

static void put_entry(struct writer *w, const char *name, const struct trib_buf *head,
                      const void *data, size_t size)
{
    const size_t offset = w->buf->size - w->start;
    const size_t whole = head->size + size;
    const uint32_t crc = crc32(crc32(0, head->data, head->size), data, size);
    put32(w->buf, LOCAL_SIGNATURE);
    put_common(w->buf, crc, whole, strlen(name));
    trib_buf_text(w->buf, name);
    trib_buf_append(w->buf, head->data, head->size);
    trib_buf_append(w->buf, data, size);

    put32(&w->central, CENTRAL_SIGNATURE);
    put16(&w->central, VERSION); // made by: MS-DOS, so that no file modes are meant
    put_common(&w->central, crc, whole, strlen(name));
    put16(&w->central, 0); // comment
    put16(&w->central, 0); // disk
    put16(&w->central, 0); // internal attributes
    put32(&w->central, 0); // external attributes
    put32(&w->central, (uint32_t)offset);
    trib_buf_text(&w->central, name);
    w->entries++;
}

// NEP 1: the header is a Python dict, padded with blanks and ended by a newline.
static void put_array(struct writer *w, const char *name, const char *type, const char *shape,
                      const void *data, size_t size)
{
    struct trib_buf head = {0};
    char entry[TRIB_TENSOR_NAME_MAX + 16];
    trib_buf_append(&head, npy_magic, 6);
    trib_buf_append(&head, "\1\0", 2);
    put16(&head, 0); // the length, once it is known
    trib_buf_printf(&head, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    while ((head.size + 1) % NPY_ALIGNMENT != 0)
        trib_buf_text(&head, " ");
    trib_buf_text(&head, "\n");
    if (!head.failed) {
        trib_store_le16(head.data + 8, (uint16_t)(head.size - NPY_PRELUDE));
        (void)snprintf(entry, sizeof(entry), "%s.npy", name);
        put_entry(w, entry, &head, data, size);
    }
    w->buf->failed = w->buf->failed || head.failed;
    trib_buf_fini(&head);
}

static void put_tensor(struct writer *w, uint32_t layer, const struct trib_layer_tensor *tensor,
                       const float *params)
{
    char name[32];
    char shape[64];
    int used = 0;
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".%s", layer, tensor->name);
    for (uint32_t d = 0; d < tensor->dimensions; d++)
        used += snprintf(shape + used, sizeof(shape) - (size_t)used, "%s%" PRIu32, d ? ", " : "(",
                         tensor->shape[d]);
    (void)snprintf(shape + used, sizeof(shape) - (size_t)used,
                   tensor->dimensions == 1 ? ",)" : ")");
    put_array(w, name, "<f4", shape, params + tensor->offset, tensor->count * sizeof(float));
}

void trib_npz_write(const struct trib_model *model, const float *params,
                    const struct trib_safetensors_text *texts, size_t text_count,
                    struct trib_buf *buf)
{
    struct writer w = {.buf = buf, .start = buf->size};
    char name[TRIB_TENSOR_NAME_MAX + 1];
    char type[32];
    for (uint32_t l = 0; l < model->layer_count; l++) {
        for (uint32_t t = 0; t < model->layers[l].tensor_count; t++)
            put_tensor(&w, l, &model->layers[l].tensors[t], params);
    }
    for (size_t i = 0; i < text_count; i++) {
        const size_t size = strlen(texts[i].value);
        (void)snprintf(name, sizeof(name), "metadata/%s", texts[i].name);
        // NumPy knows no empty byte string: one NUL stands for it.
        (void)snprintf(type, sizeof(type), "|S%zu", size ? size : 1);
        put_array(&w, name, type, "()", texts[i].value, size ? size : 1);
    }
    const size_t directory = buf->size - w.start;
    trib_buf_append(buf, w.central.data, w.central.size);
    put32(buf, END_SIGNATURE);
    put16(buf, 0); // this disk, and that of the directory
    put16(buf, 0);
    put16(buf, w.entries);
    put16(buf, w.entries);
    put32(buf, (uint32_t)w.central.size);
    put32(buf, (uint32_t)directory);
    put16(buf, 0); // comment
    buf->failed = buf->failed || w.central.failed;
    trib_buf_fini(&w.central);
}

// ---- Reading

bool trib_npz_is(const uint8_t *data, size_t size)
{
    return size >= END_SIZE && data[0] == 'P' && data[1] == 'K' &&
           (trib_load_le32(data) == LOCAL_SIGNATURE || trib_load_le32(data) == END_SIGNATURE);
}

// Where a name of the npy header stands, behind its colon and blanks; NULL if it is not there.
static const char *find_field(const char *header, const char *name)
{
    const char *at = strstr(header, name);
    if (!at)
        return NULL;
    at += strlen(name);
    at += strspn(at, " ");
    if (*at++ != ':')
        return NULL;
    return at + strspn(at, " ");
}

// "(3, 4)", "(3,)", "()".
static bool parse_shape(const char *at, struct trib_tensor *tensor)
{
    if (!at || *at++ != '(')
        return false;
    tensor->count = 1;
    for (;;) {
        char *end;
        at += strspn(at, ", ");
        if (*at == ')')
            return true;
        if (*at < '0' || *at > '9' || tensor->dimensions == TRIB_TENSOR_DIMENSIONS_MAX)
            return false;
        const unsigned long long size = strtoull(at, &end, 10);
        if (size > TRIB_PARAMS_MAX || tensor->count * size > TRIB_PARAMS_MAX)
            return false;
        tensor->shape[tensor->dimensions++] = size;
        tensor->count *= size;
        at = end;
    }
}

// A text: one byte string, '|S7', whose padding is NUL.
static enum trib_err take_text(const char *name, const char *type, const uint8_t *data, size_t size,
                               struct trib_tensors *tensors, struct reason why)
{
    char *end;
    const unsigned long long width = strtoull(type + 2, &end, 10);
    if (*end != '\'' || width != size)
        return wrong(why, "'%s' is not a single byte string", name);
    return trib_tensors_add_text(tensors, name + strlen("metadata/"), (const char *)data,
                                 strnlen((const char *)data, size), why.text, why.size);
}

// `header` is the dict of an npy file, `data` what follows it.
static enum trib_err take_array(const char *name, const char *header, const uint8_t *data,
                                size_t size, struct trib_tensors *tensors, struct reason why)
{
    struct trib_tensor tensor = {.data = data};
    const char *type = find_field(header, "'descr'");
    const char *order = find_field(header, "'fortran_order'");
    if (!type || *type++ != '\'' || !order || !parse_shape(find_field(header, "'shape'"), &tensor))
        return wrong(why, "'%s': not the header of an array we can use", name);
    if (strncmp(name, "metadata/", 9) == 0 && strncmp(type, "|S", 2) == 0 && tensor.dimensions == 0)
        return take_text(name, type, data, size, tensors, why);
    if (strncmp(type, "<f4'", 4) != 0)
        return wrong(why, "'%s' is of the type '%.*s'; it wants to be float32, '<f4'", name,
                     (int)strcspn(type, "'") > 16 ? 16 : (int)strcspn(type, "'"), type);
    if (strncmp(order, "False", 5) != 0)
        return wrong(why, "'%s' is in Fortran order; save numpy.ascontiguousarray of it", name);
    if (size != tensor.count * sizeof(float))
        return wrong(why, "'%s' has %zu bytes of data, its shape wants %zu", name, size,
                     tensor.count * sizeof(float));
    (void)snprintf(tensor.name, sizeof(tensor.name), "%s", name);
    return trib_tensors_add(tensors, &tensor, why.text, why.size);
}

static enum trib_err take_npy(const char *name, const uint8_t *data, size_t size,
                              struct trib_tensors *tensors, struct reason why)
{
    char header[512];
    if (size < NPY_PRELUDE + 2 || memcmp(data, npy_magic, 6) != 0)
        return wrong(why, "'%s' is not an npy array", name);
    const bool is_wide = data[6] > 1; // versions 2 and 3 have four bytes of length
    const size_t start = is_wide ? NPY_PRELUDE + 2 : NPY_PRELUDE;
    const size_t length = is_wide ? trib_load_le32(data + 8) : trib_load_le16(data + 8);
    if (data[6] < 1 || data[6] > 3 || length > size - start || length >= sizeof(header))
        return wrong(why, "'%s': not the header of an array we can use", name);
    memcpy(header, data + start, length);
    header[length] = '\0';
    return take_array(name, header, data + start + length, size - start - length, tensors, why);
}

// An entry of the central directory; its data are behind the local header.
static enum trib_err take_entry(const uint8_t *file, size_t file_size, const uint8_t *central,
                                struct trib_tensors *tensors, struct reason why)
{
    char name[TRIB_TENSOR_NAME_MAX + 1];
    const size_t name_size = trib_load_le16(central + 28);
    const uint64_t packed = trib_load_le32(central + 20);
    const uint64_t size = trib_load_le32(central + 24);
    const uint64_t offset = trib_load_le32(central + 42);
    if (name_size < 5 || name_size > TRIB_TENSOR_NAME_MAX ||
        memcmp(central + CENTRAL_SIZE + name_size - 4, ".npy", 4) != 0 ||
        memchr(central + CENTRAL_SIZE, '\0', name_size))
        return wrong(why, "an entry of it is not named like an npy array");
    (void)snprintf(name, sizeof(name), "%.*s", (int)name_size - 4,
                   (const char *)central + CENTRAL_SIZE);
    if (trib_load_le16(central + 10) != 0)
        return wrong(why, "'%s' is compressed; write it with numpy.savez", name);
    if (packed != size || offset + LOCAL_SIZE > file_size ||
        trib_load_le32(file + offset) != LOCAL_SIGNATURE)
        return wrong(why, "'%s' is not where the directory says", name);
    const uint64_t start = offset + LOCAL_SIZE + trib_load_le16(file + offset + 26) +
                           trib_load_le16(file + offset + 28);
    if (start + size > file_size)
        return wrong(why, "'%s' is cut short", name);
    if (crc32(0, file + start, size) != trib_load_le32(central + 16))
        return wrong(why, "'%s' is damaged: its CRC-32 does not match", name);
    return take_npy(name, file + start, size, tensors, why);
}

// The end of central directory, the last one that is there; NULL if there is none.
static const uint8_t *find_end(const uint8_t *data, size_t size)
{
    for (size_t back = END_SIZE; back <= size && back <= END_SIZE + COMMENT_MAX; back++) {
        const uint8_t *at = data + size - back;
        if (trib_load_le32(at) == END_SIGNATURE && trib_load_le16(at + 20) == back - END_SIZE)
            return at;
    }
    return NULL;
}

enum trib_err trib_npz_read(const uint8_t *data, size_t size, struct trib_tensors *ret_tensors,
                            char *why, size_t why_size)
{
    const struct reason reason = {why, why_size};
    const uint8_t *end = find_end(data, size);
    if (!end)
        return wrong(reason, "is not a whole zip file: its end is missing");
    const size_t entries = trib_load_le16(end + 10);
    const uint64_t before = (uint64_t)(end - data);
    uint64_t at = trib_load_le32(end + 16);
    for (size_t i = 0; i < entries; i++) {
        if (at + CENTRAL_SIZE > before || trib_load_le32(data + at) != CENTRAL_SIGNATURE)
            return wrong(reason, "its directory is damaged");
        const uint64_t next = at + CENTRAL_SIZE + trib_load_le16(data + at + 28) +
                              trib_load_le16(data + at + 30) + trib_load_le16(data + at + 32);
        if (next > before)
            return wrong(reason, "its directory is damaged");
        enum trib_err err = take_entry(data, size, data + at, ret_tensors, reason);
        if (err)
            return err;
        at = next;
    }
    return TRIB_OK;
}
