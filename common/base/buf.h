// buf.h - a growing byte buffer that remembers a failed allocation, so that callers check once.
#ifndef TRIB_BASE_BUF_H
#define TRIB_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Zero-initialise to start. `data` is NUL-terminated beyond `size` whenever it is not NULL.
struct trib_buf {
    uint8_t *data;
    size_t size;     // bytes used
    size_t capacity; // bytes allocated
    bool failed;     // an append was dropped for want of memory: the contents are not to be used
};

void trib_buf_append(struct trib_buf *buf, const void *data, size_t size);
void trib_buf_text(struct trib_buf *buf, const char *text);
void trib_buf_printf(struct trib_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// Room for `size` more bytes, counted as used; NULL when there is no memory.
uint8_t *trib_buf_extend(struct trib_buf *buf, size_t size);
// Keep the memory, forget the contents.
void trib_buf_clear(struct trib_buf *buf);
void trib_buf_fini(struct trib_buf *buf);

#endif // TRIB_BASE_BUF_H
