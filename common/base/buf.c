#include "common/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"

#define TRIB_LOG_MODULE "buf"

// Room for `size` bytes and a NUL behind what is there.
static bool reserve(struct trib_buf *buf, size_t size)
{
    if (buf->failed)
        return false;
    if (size < buf->capacity - buf->size)
        return true;

    size_t need;
    size_t capacity = buf->capacity ? buf->capacity : 256;
    if (__builtin_add_overflow(buf->size, size, &need) || need >= SIZE_MAX / 2)
        goto failed;
    while (capacity <= need)
        capacity *= 2;
    uint8_t *data = realloc(buf->data, capacity);
    if (!data)
        goto failed;
    buf->data = data;
    buf->capacity = capacity;
    return true;

failed:
    TRIB_ERROR("out of memory size=%zu more=%zu", buf->size, size);
    buf->failed = true;
    return false;
}

uint8_t *trib_buf_extend(struct trib_buf *buf, size_t size)
{
    if (!reserve(buf, size))
        return NULL;
    uint8_t *room = buf->data + buf->size;
    buf->size += size;
    buf->data[buf->size] = '\0';
    return room;
}

void trib_buf_append(struct trib_buf *buf, const void *data, size_t size)
{
    uint8_t *room = trib_buf_extend(buf, size);
    if (room && size > 0)
        memcpy(room, data, size);
}

void trib_buf_text(struct trib_buf *buf, const char *text)
{
    trib_buf_append(buf, text, strlen(text));
}

void trib_buf_printf(struct trib_buf *buf, const char *format, ...)
{
    va_list args;
    va_list again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size >= 0 && reserve(buf, (size_t)size)) {
        (void)vsnprintf((char *)buf->data + buf->size, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}

void trib_buf_clear(struct trib_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
    if (buf->data)
        buf->data[0] = '\0';
}

void trib_buf_fini(struct trib_buf *buf)
{
    free(buf->data);
    *buf = (struct trib_buf){0};
}
