// map.h - a hash map from byte strings to pointers, safe against chosen keys (SipHash-2-4 with a
// key of its own). Open addressing; keys are copied; values are borrowed.
#ifndef TRIB_BASE_MAP_H
#define TRIB_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

struct trib_map;

TRIB_CHECKED enum trib_err trib_map_create(struct trib_map **ret_map);
void trib_map_destroy(struct trib_map *map);

// Set or replace. `value` is not NULL; key_size is 1 to 255.
TRIB_CHECKED enum trib_err trib_map_put(struct trib_map *map, const void *key, size_t key_size,
                                        void *value);
// NULL if it is not there.
void *trib_map_get(const struct trib_map *map, const void *key, size_t key_size);
// The value that was there, or NULL.
void *trib_map_remove(struct trib_map *map, const void *key, size_t key_size);
size_t trib_map_count(const struct trib_map *map);

#endif // TRIB_BASE_MAP_H
