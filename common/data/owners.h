// owners.h - whom each row belongs to: the values of a column, numbered in their order.
//
// Numbers are told apart by what they are (7 and 07 are one), all else by the text. Ranks follow
// the numbers, or the bytes of the texts, so that they do not depend on the order of the rows.
#ifndef TRIB_DATA_OWNERS_H
#define TRIB_DATA_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tributary/err.h"

enum {
    TRIB_OWNER_TEXT_MAX = 255, // bytes of a value
};

struct trib_owners;

TRIB_CHECKED enum trib_err trib_owners_create(bool are_numbers, struct trib_owners **ret_owners);
void trib_owners_destroy(struct trib_owners *owners);

// The place of a value, new or seen before; places count from 0 in the order of appearance. `text`
// has 1 to TRIB_OWNER_TEXT_MAX bytes and is a number if they are.
TRIB_CHECKED enum trib_err trib_owners_place(struct trib_owners *owners, const char *text,
                                             uint32_t *ret_place);

// Replace places by ranks. No values can be added afterwards.
void trib_owners_rank(struct trib_owners *owners, uint32_t *places, size_t count);

#endif // TRIB_DATA_OWNERS_H
