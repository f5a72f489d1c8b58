#include "common/data/owners.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/map.h"

struct owner {
    char *text; // owned
    double number;
    uint32_t place;
};

struct trib_owners {
    bool are_numbers;
    struct trib_map *map; // of places + 1, as pointers
    struct owner *list;   // owned
    uint32_t *ranks;      // of places, as many, owned
    size_t count, capacity;
};

enum trib_err trib_owners_create(bool are_numbers, struct trib_owners **ret_owners)
{
    struct trib_owners *owners = trib_alloc(sizeof(*owners));
    if (!owners)
        return TRIB_ERR_NOMEM;
    owners->are_numbers = are_numbers;
    enum trib_err err = trib_map_create(&owners->map);
    if (err) {
        free(owners);
        return err;
    }
    *ret_owners = owners;
    return TRIB_OK;
}

void trib_owners_destroy(struct trib_owners *owners)
{
    if (!owners)
        return;
    for (size_t i = 0; i < owners->count; i++)
        free(owners->list[i].text);
    free(owners->list);
    free(owners->ranks);
    trib_map_destroy(owners->map);
    free(owners);
}

static enum trib_err grow(struct trib_owners *owners)
{
    if (owners->count < owners->capacity)
        return TRIB_OK;
    const size_t capacity = owners->capacity ? 2 * owners->capacity : 64;
    struct owner *list = trib_alloc_array(capacity, sizeof(*list));
    uint32_t *ranks = trib_alloc_array(capacity, sizeof(*ranks));
    if (!list || !ranks) {
        free(list);
        free(ranks);
        return TRIB_ERR_NOMEM;
    }
    if (owners->count > 0)
        memcpy(list, owners->list, owners->count * sizeof(*list));
    free(owners->list);
    free(owners->ranks);
    owners->list = list;
    owners->ranks = ranks;
    owners->capacity = capacity;
    return TRIB_OK;
}

static enum trib_err add(struct trib_owners *owners, const char *text, double number,
                         const void *key, size_t key_size)
{
    enum trib_err err = grow(owners);
    if (err)
        return err;
    struct owner *owner = &owners->list[owners->count];
    *owner = (struct owner){
        .text = trib_alloc_text(text), .number = number, .place = (uint32_t)owners->count};
    err = owner->text
              ? trib_map_put(owners->map, key, key_size, (void *)((uintptr_t)owners->count + 1))
              : TRIB_ERR_NOMEM;
    if (err) {
        free(owner->text);
        return err;
    }
    owners->count++;
    return TRIB_OK;
}

enum trib_err trib_owners_place(struct trib_owners *owners, const char *text, uint32_t *ret_place)
{
    const size_t size = strlen(text);
    char *end;
    const double number = owners->are_numbers ? strtod(text, &end) + 0.0 : 0; // -0 is 0
    const void *key = owners->are_numbers ? (const void *)&number : text;
    const size_t key_size = owners->are_numbers ? sizeof(number) : size;
    assert(size >= 1 && size <= TRIB_OWNER_TEXT_MAX);
    const void *found = trib_map_get(owners->map, key, key_size);
    if (found) {
        *ret_place = (uint32_t)((uintptr_t)found - 1);
        return TRIB_OK;
    }
    enum trib_err err = add(owners, text, number, key, key_size);
    if (!err)
        *ret_place = (uint32_t)(owners->count - 1);
    return err;
}

static int compare(const void *a, const void *b)
{
    const struct owner *x = a;
    const struct owner *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return strcmp(x->text, y->text);
}

void trib_owners_rank(struct trib_owners *owners, uint32_t *places, size_t count)
{
    if (owners->count == 0)
        return;
    qsort(owners->list, owners->count, sizeof(*owners->list), compare);
    for (size_t i = 0; i < owners->count; i++)
        owners->ranks[owners->list[i].place] = (uint32_t)i;
    for (size_t i = 0; i < count; i++)
        places[i] = owners->ranks[places[i]];
}
