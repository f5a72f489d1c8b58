// A version against its parent and the updates that count, summed here once more and without the
// coordinator's code.
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "coordinator/publish.h"
#include "simulations/chaos/chaos.h"
#include "simulations/chaos/oracle_parts.h"

enum {
    HEAD_SIZE = 32, // of the file of a noised sum
    SUM_FILE_MAX = 1 << 20,
    NOISE_MAX = 64, // in units of its scale: e^-64 is never
};

// Word `index` of 16, 24 or 32 bits, little-endian, two's complement.
static int64_t word_at(const uint8_t *packed, size_t index, unsigned bits)
{
    const unsigned bytes = bits / 8;
    uint64_t word = 0;
    for (unsigned b = 0; b < bytes; b++)
        word |= (uint64_t)packed[index * bytes + b] << 8 * b;
    return (int64_t)word - (word >> (bits - 1) ? (int64_t)1 << bits : 0);
}

struct sum {
    uint64_t round;
    uint64_t weight;
    const struct trib_seen_noise *noise; // mode central, else NULL
};

// Of one coordinate of the rows of a round.
static int64_t sum_rows(struct sum *sum, size_t index)
{
    int64_t words = 0;
    sum->weight = 0;
    for (const struct trib_seen_update *u = trib_seen.updates; u; u = u->next) {
        const uint32_t weight = u->begin.has_weight ? u->begin.weight : 1;
        if (!u->stamp || u->begin.round_id != sum->round)
            continue;
        words += weight * word_at(u->packed, index, trib_seen.encoding.word_bits);
        sum->weight += weight;
    }
    return words;
}

// What coordinate `index` of the next version has to be.
static float expected(struct sum *sum, const float *base, size_t index)
{
    int64_t words = sum_rows(sum, index);
    if (sum->noise) {
        const int64_t drawn = sum->noise->sums[index] - words;
        if (drawn >> trib_seen.encoding.grid_bits > NOISE_MAX ||
            -drawn >> trib_seen.encoding.grid_bits > NOISE_MAX)
            trib_chaos_fail("sum", "round %" PRIu64 ", value %zu: %" PRIi64 " is too much noise",
                            sum->round, index, drawn);
        words += drawn;
    }
    const float mean = (float)((double)words * trib_seen.encoding.grid / (double)sum->weight);
    return (float)((double)base[index] + (double)mean);
}

// ---- Noised sums (coordinator/finish.h)

static struct trib_seen_noise *noise_of(uint64_t round)
{
    struct trib_seen_noise *noise = trib_seen.noises;
    while (noise && noise->round != round)
        noise = noise->next;
    return noise;
}

static void take_noise(const struct trib_buf *file)
{
    const uint64_t round = trib_load_le64(file->data + 8);
    const size_t count = (file->size - HEAD_SIZE) / sizeof(int64_t);
    struct trib_seen_noise *seen = noise_of(round);
    if (!seen) {
        seen = trib_alloc(sizeof(*seen));
        if (!seen || !(seen->sums = trib_alloc_array(count, sizeof(*seen->sums))))
            abort();
        seen->round = round;
        for (size_t i = 0; i < count; i++)
            seen->sums[i] = (int64_t)trib_load_le64(file->data + HEAD_SIZE + 8 * i);
        seen->next = trib_seen.noises;
        trib_seen.noises = seen;
    }
    for (size_t i = 0; i < count; i++) {
        if (seen->sums[i] != (int64_t)trib_load_le64(file->data + HEAD_SIZE + 8 * i))
            trib_chaos_fail("noise", "the noised sum of round %" PRIu64 " was drawn again", round);
    }
}

void trib_oracle_noise(void)
{
    char folder[TRIB_PATH_MAX + 1];
    DIR *entries;
    if (trib_chaos.mode != TRIB_PRIVACY_CENTRAL ||
        trib_path_join(folder, trib_chaos.coordinator->name, "updates") ||
        !(entries = opendir(folder)))
        return;
    for (const struct dirent *entry; (entry = readdir(entries));) {
        char path[TRIB_PATH_MAX + 1];
        struct trib_buf file = {0};
        const char *end = strrchr(entry->d_name, '.');
        if (end && strcmp(end, ".sum") == 0 && !trib_path_join(path, folder, entry->d_name) &&
            !trib_file_read(path, SUM_FILE_MAX, &file) && file.size > HEAD_SIZE)
            take_noise(&file);
        trib_buf_fini(&file);
    }
    (void)closedir(entries);
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
    if (trib_chaos.mode == TRIB_PRIVACY_DISTRIBUTED)
        return;
    struct sum sum = {.round = row->round};
    if (trib_chaos.mode == TRIB_PRIVACY_CENTRAL && !(sum.noise = noise_of(row->round)))
        trib_chaos_fail("sum", "version %" PRIu64 " has no noised sum on the disk", row->version);
    for (size_t i = 0; i < seen->count; i++) {
        const float value = expected(&sum, base->params, i);
        if (memcmp(&value, &seen->params[i], sizeof(value)) != 0)
            trib_chaos_fail("sum", "version %" PRIu64 ", value %zu: %.9g, but the rows say %.9g",
                            row->version, i, (double)seen->params[i], (double)value);
    }
}
