#include "common/base/map.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct entry {
    uint8_t *key; // owned; NULL: free slot
    uint8_t key_size;
    void *value; // NULL with a key: removed, but a chain may go on behind it
};

struct trib_map {
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct entry *entries;
    size_t capacity; // a power of two
    size_t used;     // slots with a key, removed ones too
    size_t count;    // slots with a value
};

enum trib_err trib_map_create(struct trib_map **ret_map)
{
    struct trib_map *map = trib_alloc(sizeof(*map));
    if (!map)
        return TRIB_ERR_NOMEM;
    map->capacity = 16;
    map->entries = trib_alloc_array(map->capacity, sizeof(*map->entries));
    if (!map->entries) {
        free(map);
        return TRIB_ERR_NOMEM;
    }
    crypto_shorthash_keygen(map->hash_key);
    *ret_map = map;
    return TRIB_OK;
}

void trib_map_destroy(struct trib_map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->capacity; i++)
        free(map->entries[i].key);
    free(map->entries);
    free(map);
}

// The slot with this key, or the free slot where it would go.
static struct entry *find(const struct trib_map *map, const void *key, size_t key_size)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t at;
    (void)crypto_shorthash(hash, key, key_size, map->hash_key);
    memcpy(&at, hash, sizeof(at));
    for (;; at++) {
        struct entry *entry = &map->entries[at & (map->capacity - 1)];
        if (!entry->key)
            return entry;
        if (entry->key_size == key_size && memcmp(entry->key, key, key_size) == 0)
            return entry;
    }
}

static enum trib_err rebuild(struct trib_map *map)
{
    size_t capacity = map->count * 4 > map->capacity ? map->capacity * 2 : map->capacity;
    struct trib_map old = *map;
    struct entry *entries = trib_alloc_array(capacity, sizeof(*entries));
    if (!entries)
        return TRIB_ERR_NOMEM;
    map->entries = entries;
    map->capacity = capacity;
    map->used = map->count;
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.entries[i].value)
            *find(map, old.entries[i].key, old.entries[i].key_size) = old.entries[i];
        else
            free(old.entries[i].key);
    }
    free(old.entries);
    return TRIB_OK;
}

enum trib_err trib_map_put(struct trib_map *map, const void *key, size_t key_size, void *value)
{
    assert(value && key_size > 0 && key_size <= UINT8_MAX);

    if ((map->used + 1) * 4 > map->capacity * 3) {
        enum trib_err err = rebuild(map);
        if (err)
            return err;
    }
    struct entry *entry = find(map, key, key_size);
    if (!entry->key) {
        entry->key = trib_alloc(key_size);
        if (!entry->key)
            return TRIB_ERR_NOMEM;
        memcpy(entry->key, key, key_size);
        entry->key_size = (uint8_t)key_size;
        map->used++;
    }
    if (!entry->value)
        map->count++;
    entry->value = value;
    return TRIB_OK;
}

void *trib_map_get(const struct trib_map *map, const void *key, size_t key_size)
{
    return find(map, key, key_size)->value;
}

void *trib_map_remove(struct trib_map *map, const void *key, size_t key_size)
{
    struct entry *entry = find(map, key, key_size);
    void *value = entry->value;
    if (value) {
        entry->value = NULL;
        map->count--;
    }
    return value;
}

size_t trib_map_count(const struct trib_map *map)
{
    return map->count;
}
