#include "common/wire/blob.h"

#include <stdlib.h>

#include "common/base/alloc.h"

struct trib_blob *trib_blob_take(uint8_t *data, size_t size)
{
    struct trib_blob *blob = trib_alloc(sizeof(*blob));
    if (!blob) {
        free(data);
        return NULL;
    }
    *blob = (struct trib_blob){.refs = 1, .size = size, .data = data};
    return blob;
}

struct trib_blob *trib_blob_ref(struct trib_blob *blob)
{
    __atomic_add_fetch(&blob->refs, 1, __ATOMIC_RELAXED);
    return blob;
}

void trib_blob_unref(struct trib_blob *blob)
{
    if (blob && __atomic_sub_fetch(&blob->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        free(blob->data);
        free(blob);
    }
}
