#include "coordinator/ctl/grid.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/rand.h"

bool trib_grid_take(struct trib_grid *grid, const char *text)
{
    struct trib_grid_key *key = &grid->keys[grid->key_count];
    const char *equals = strchr(text, '=');
    if (grid->key_count == TRIB_GRID_KEYS_MAX || !equals || equals == text ||
        strlen(equals + 1) >= sizeof(key->text) || (size_t)(equals - text) >= sizeof(key->name))
        return false;
    (void)snprintf(key->name, sizeof(key->name), "%.*s", (int)(equals - text), text);
    (void)snprintf(key->text, sizeof(key->text), "%s", equals + 1);
    key->count = 0;
    for (char *next = key->text; next;) {
        char *value = next;
        next = strchr(value, ',');
        if (next)
            *next++ = '\0';
        if (!*value || key->count == TRIB_GRID_VALUES_MAX)
            return false;
        key->values[key->count++] = value;
    }
    grid->key_count++;
    return true;
}

bool trib_grid_take_all(struct trib_grid *grid, const struct trib_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        if (!trib_grid_take(grid, texts->items[i])) {
            (void)fprintf(stderr,
                          "tune: --grid %s: want section.key=value,value,... (at most %d keys of "
                          "%d values)\n",
                          texts->items[i], TRIB_GRID_KEYS_MAX, TRIB_GRID_VALUES_MAX);
            return false;
        }
    }
    if (grid->key_count == 0)
        (void)fprintf(stderr, "tune: --grid is missing: which keys, and which values\n");
    else if (trib_grid_size(grid) > TRIB_GRID_SIZE_MAX)
        (void)fprintf(stderr, "tune: the grid has more than %d candidates\n", TRIB_GRID_SIZE_MAX);
    else
        return true;
    return false;
}

size_t trib_grid_size(const struct trib_grid *grid)
{
    size_t size = 1;
    for (size_t k = 0; k < grid->key_count; k++) {
        size *= grid->keys[k].count;
        if (size > TRIB_GRID_SIZE_MAX)
            return TRIB_GRID_SIZE_MAX + 1;
    }
    return size;
}

void trib_grid_sets(const struct trib_grid *grid, uint32_t number,
                    char ret_sets[][TRIB_GRID_SET_SIZE])
{
    for (size_t k = grid->key_count; k-- > 0;) {
        const struct trib_grid_key *key = &grid->keys[k];
        (void)snprintf(ret_sets[k], TRIB_GRID_SET_SIZE, "%s=%s", key->name,
                       key->values[number % key->count]);
        number /= (uint32_t)key->count;
    }
}

enum trib_err trib_grid_choose(const struct trib_grid *grid, uint64_t random, uint64_t seed,
                               uint32_t **ret_numbers, size_t *ret_count)
{
    const size_t size = trib_grid_size(grid);
    struct trib_rng rng;
    uint32_t *numbers = trib_alloc_array(size, sizeof(*numbers));
    if (!numbers)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < size; i++)
        numbers[i] = (uint32_t)i;
    if (random > 0) {
        trib_rng_init(&rng, seed, "tune", 0, NULL);
        trib_rng_shuffle(&rng, numbers, size);
    }
    *ret_numbers = numbers;
    *ret_count = random > 0 && random < size ? (size_t)random : size;
    return TRIB_OK;
}
