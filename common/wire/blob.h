// blob.h - bytes that many channels send, made once and freed with the last reference.
#ifndef TRIB_WIRE_BLOB_H
#define TRIB_WIRE_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct trib_blob {
    unsigned refs; // atomic
    size_t size;
    uint8_t *data; // owned
};
// Takes `data`, also when it fails (NULL).
struct trib_blob *trib_blob_take(uint8_t *data, size_t size);
struct trib_blob *trib_blob_ref(struct trib_blob *blob);
void trib_blob_unref(struct trib_blob *blob); // NULL is fine

#endif // TRIB_WIRE_BLOB_H
