// A version against its parent and the updates that count, summed here once more and without the
// coordinator's code.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "coordinator/publish.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/oracle_parts.h"

// Word `index` of 16, 24 or 32 bits, little-endian, two's complement.
static int64_t word_at(const uint8_t *packed, size_t index, unsigned bits)
{
    const unsigned bytes = bits / 8;
    uint64_t word = 0;
    for (unsigned b = 0; b < bytes; b++)
        word |= (uint64_t)packed[index * bytes + b] << 8 * b;
    return (int64_t)word - (word >> (bits - 1) ? (int64_t)1 << bits : 0);
}

// What coordinate `index` of the next version has to be.
static float expected(const float *base, uint64_t round, size_t index)
{
    int64_t sum = 0;
    uint64_t total = 0;
    for (const struct trib_seen_update *u = trib_seen.updates; u; u = u->next) {
        const uint32_t weight = u->begin.has_weight ? u->begin.weight : 1;
        if (!u->stamp || u->begin.round_id != round)
            continue;
        sum += weight * word_at(u->packed, index, trib_seen.encoding.word_bits);
        total += weight;
    }
    const float mean = (float)((double)sum * trib_seen.encoding.grid / (double)total);
    return (float)((double)base[index] + (double)mean);
}

static struct trib_seen_version *keep(const struct trib_store_version *row,
                                      const struct trib_version *version)
{
    struct trib_seen_version *seen = trib_alloc(sizeof(*seen));
    const size_t size = version->params->size;
    if (!seen || !(seen->params = trib_alloc(size)))
        abort();
    seen->version = row->version;
    seen->parent = row->parent;
    seen->count = size / sizeof(float);
    memcpy(seen->digest, row->digest, TRIB_DIGEST_SIZE);
    memcpy(seen->params, version->params->data, size);
    seen->next = trib_seen.versions;
    trib_seen.versions = seen;
    return seen;
}

void trib_oracle_sum(const struct trib_store_version *row, const struct trib_version *version)
{
    const struct trib_seen_version *seen = keep(row, version);
    const struct trib_seen_version *base = trib_seen.versions;
    while (base && base->version != row->parent)
        base = base->next;
    if (strcmp(row->kind, "round") != 0)
        return; // a first version, or an average of several
    if (!base || base->count != seen->count)
        trib_chaos_fail("sum", "version %" PRIu64 " has no parent", row->version);
    for (size_t i = 0; i < seen->count; i++) {
        const float value = expected(base->params, row->round, i);
        if (memcmp(&value, &seen->params[i], sizeof(value)) != 0)
            trib_chaos_fail("sum", "version %" PRIu64 ", value %zu: %.9g, but the rows say %.9g",
                            row->version, i, (double)seen->params[i], (double)value);
    }
}
