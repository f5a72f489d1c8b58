// dedup: rows that were there before are dropped.
#include <math.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/data/prepare_step.h"

enum {
    // Bits of a filter for each row it holds, and bits that a row sets: a full filter takes a new
    // row for an old one with probability (1 - exp(-16/24))^16 = 3e-5 (Bloom 1970), two of them
    // twice that.
    BITS_PER_ROW = 24,
    PROBES = 16,
};

static const struct trib_prepare_key keys[] = {
    TRIB_PREPARE_KEY("window", TRIB_PREPARE_INT, window, "131072", 1, 1 << 22, NULL),
    TRIB_PREPARE_KEY("seed", TRIB_PREPARE_INT, seed, "0", 0, 9007199254740991, NULL),
};

// Two filters: rows go into one until it holds `window`, which then stands in for the past while
// the other is filled. So the last `window` rows are always known, and twice as many at most.
struct memory {
    uint64_t held;   // rows of the filter that is filled
    uint64_t filled; // which of them that is
    uint8_t bits[];  // (2, filter_size)
};

static size_t filter_size(const struct trib_prepare_step *step)
{
    return (step->options.window * BITS_PER_ROW + 7) / 8;
}

static size_t state_size(const struct trib_prepare_step *step)
{
    return sizeof(struct memory) + 2 * filter_size(step);
}

static enum trib_err settle(const struct trib_prepare_parser *p, struct trib_prepare_step *step)
{
    (void)p;
    step->drops_rows = true;
    return TRIB_OK;
}

static void hash_value(struct trib_hash *hash, double x)
{
    uint8_t bytes[8];
    uint64_t bits;
    x = isnan(x) ? (double)NAN : x + 0.0; // one NaN, one 0
    memcpy(&bits, &x, sizeof(bits));
    trib_store_le64(bytes, bits);
    trib_hash_update(hash, bytes, sizeof(bytes));
}

// BLAKE2b-128 of the row and its label, with the seed as the key.
static void fingerprint(const struct trib_prepare_step *step, const struct trib_prepare_row *row,
                        uint64_t ret_print[static 2])
{
    struct trib_hash hash;
    uint8_t key[16] = {0};
    uint8_t bytes[16];
    trib_store_le64(key, step->options.seed);
    trib_hash_init(&hash, key, sizeof(key), sizeof(bytes));
    for (size_t i = 0; i < step->input_count; i++)
        hash_value(&hash, row->values[step->inputs[i]]);
    hash_value(&hash, row->source[row->prepare->schema->label]);
    trib_hash_final(&hash, bytes, sizeof(bytes));
    ret_print[0] = trib_load_le64(bytes);
    ret_print[1] = trib_load_le64(bytes + 8) | 1;
}

// Two hashes do for all probes (Kirsch & Mitzenmacher 2006).
static size_t probe(const uint64_t print[static 2], size_t number, size_t bits)
{
    return (size_t)((print[0] + number * print[1]) % bits);
}

static bool holds(const uint8_t *filter, size_t size, const uint64_t *print)
{
    for (size_t i = 0; i < PROBES; i++) {
        const size_t bit = probe(print, i, size * 8);
        if (!(filter[bit / 8] >> bit % 8 & 1))
            return false;
    }
    return true;
}

static void insert(uint8_t *filter, size_t size, const uint64_t *print)
{
    for (size_t i = 0; i < PROBES; i++) {
        const size_t bit = probe(print, i, size * 8);
        filter[bit / 8] = (uint8_t)(filter[bit / 8] | 1 << bit % 8);
    }
}

static bool apply(const struct trib_prepare_step *step, void *state, struct trib_prepare_row *row)
{
    struct memory *memory = state;
    const size_t size = filter_size(step);
    uint64_t print[2];
    fingerprint(step, row, print);
    row->tally->values += step->input_count;
    if (holds(memory->bits, size, print) || holds(memory->bits + size, size, print))
        return false;
    if (memory->held == step->options.window) {
        memory->filled = 1 - memory->filled;
        memory->held = 0;
        memset(memory->bits + memory->filled * size, 0, size);
    }
    insert(memory->bits + memory->filled * size, size, print);
    memory->held++;
    return true;
}

const struct trib_prepare_kind trib_prepare_dedup = {
    .name = "dedup",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .may_use_any_role = true,
    .may_use_local = true,
    .may_use_category = true,
    .may_use_number = true,
    .settle = settle,
    .state_size = state_size,
    .apply = apply,
};
