#include "coordinator/store_log.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"

enum {
    HEADER_SIZE = 32, // magic, format, page size, count, two salts, two sums
    FRAME_SIZE = 24,  // page, pages of the database after a commit, two salts, two sums
    PREFIX_SIZE = 8,  // of a frame's header is summed up
    SALTS_AT = 16,
    FORMAT = 3007000,
    PAGE_MIN = 512,
    PAGE_MAX = 65536,
};

static const uint32_t magic = 0x377f0682; // its lowest bit: sums are of big-endian words

struct sum {
    uint32_t a, b;
};

struct walk {
    const struct trib_store_log *log;
    uint8_t header[HEADER_SIZE];
    uint32_t page_size;
    bool is_big;
    uint64_t count; // frames that are there in full
    uint8_t *frame; // owned: FRAME_SIZE + page_size
};

static uint32_t word_at(const uint8_t *data, bool is_big)
{
    return is_big ? trib_load_be32(data) : trib_load_le32(data);
}

static struct sum add(struct sum sum, const uint8_t *data, size_t size, bool is_big)
{
    for (size_t i = 0; i < size; i += 8) {
        sum.a += word_at(data + i, is_big) + sum.b;
        sum.b += word_at(data + i + 4, is_big) + sum.a;
    }
    return sum;
}

static struct sum sum_at(const uint8_t *data)
{
    return (struct sum){trib_load_be32(data), trib_load_be32(data + 4)};
}

static bool is_same(struct sum left, struct sum right)
{
    return left.a == right.a && left.b == right.b;
}

// Of the frame that was read, after `seed`.
static struct sum frame_sum(const struct walk *walk, struct sum seed)
{
    const struct sum sum = add(seed, walk->frame, PREFIX_SIZE, walk->is_big);
    return add(sum, walk->frame + FRAME_SIZE, walk->page_size, walk->is_big);
}

static bool has_salts(const struct walk *walk)
{
    return memcmp(walk->frame + 8, walk->header + SALTS_AT, 8) == 0;
}

static enum trib_err read_frame(struct walk *walk, uint64_t number)
{
    const uint32_t size = FRAME_SIZE + walk->page_size;
    return walk->log->read(walk->log->user, walk->frame, size, HEADER_SIZE + (number - 1) * size);
}

static unsigned bits(uint32_t word)
{
    return (unsigned)__builtin_popcount(word);
}

// Is `wanted` the sum of the same words with one bit changed in one of them? `pairs` of words.
static bool is_one_bit_off(struct sum found, struct sum wanted, size_t pairs)
{
    const struct sum off = {wanted.a - found.a, wanted.b - found.b};
    // What 1 more in the first and in the second word of a pair makes of the sum.
    struct sum first = {1, 1};
    struct sum second = {0, 1};
    if (bits(found.a ^ wanted.a) + bits(found.b ^ wanted.b) == 1)
        return true; // of the sum itself
    for (size_t i = 0; i < pairs; i++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            const struct sum x = {first.a << bit, first.b << bit};
            const struct sum y = {second.a << bit, second.b << bit};
            if (is_same(off, x) || is_same(off, y) ||
                is_same(off, (struct sum){0u - x.a, 0u - x.b}) ||
                is_same(off, (struct sum){0u - y.a, 0u - y.b}))
                return true;
        }
        first = (struct sum){first.a + first.b, first.a + 2 * first.b}; // the pair before it
        second = (struct sum){second.a + second.b, second.a + 2 * second.b};
    }
    return false;
}

static bool is_page_size(uint32_t size)
{
    return size >= PAGE_MIN && size <= PAGE_MAX && (size & (size - 1)) == 0;
}

static bool header_is_good(struct walk *walk)
{
    const uint32_t found = trib_load_be32(walk->header);
    walk->is_big = (found & 1) != 0;
    return (found & ~1u) == magic && trib_load_be32(walk->header + 4) == FORMAT &&
           is_page_size(trib_load_be32(walk->header + 8)) &&
           is_same(add((struct sum){0, 0}, walk->header, 24, walk->is_big),
                   sum_at(walk->header + 24));
}

// A header that makes no sense was written in vain, unless the first frame was made with it.
static enum trib_err check_header(struct walk *walk, struct trib_store_log_damage *damage)
{
    enum trib_err err = read_frame(walk, 1);
    for (int order = 0; order < 2 && !err; order++) {
        walk->is_big = order == 1;
        const struct sum seeds[] = {
            sum_at(walk->header + 24),
            add((struct sum){0, 0}, walk->header, 24, walk->is_big),
        };
        for (int i = 0; i < 2; i++) {
            if (is_same(frame_sum(walk, seeds[i]), sum_at(walk->frame + FRAME_SIZE - 8)))
                damage->is_damaged = true;
        }
    }
    damage->frame = 0;
    return err;
}

// The first frame that SQLite does not take is there. Was it whole once?
static enum trib_err check_rest(struct walk *walk, uint64_t number, struct sum seed,
                                struct trib_store_log_damage *damage)
{
    struct sum stored = sum_at(walk->frame + FRAME_SIZE - 8);
    const struct sum found = frame_sum(walk, seed);
    const unsigned salts_off =
        bits(trib_load_be32(walk->frame + 8) ^ trib_load_be32(walk->header + SALTS_AT)) +
        bits(trib_load_be32(walk->frame + 12) ^ trib_load_be32(walk->header + SALTS_AT + 4));
    damage->frame = number;
    damage->is_damaged = salts_off == 0
                             ? is_one_bit_off(found, stored, (PREFIX_SIZE + walk->page_size) / 8)
                             : salts_off == 1 && is_same(found, stored);
    enum trib_err err = TRIB_OK;
    bool was_commit = has_salts(walk) && trib_load_be32(walk->frame + 4) != 0;
    while (!err && !damage->is_damaged && number < walk->count) {
        err = read_frame(walk, ++number);
        const struct sum next = sum_at(walk->frame + FRAME_SIZE - 8);
        damage->is_damaged =
            !err && was_commit && has_salts(walk) && is_same(frame_sum(walk, stored), next);
        was_commit = has_salts(walk) && trib_load_be32(walk->frame + 4) != 0;
        stored = next;
    }
    return err;
}

static enum trib_err walk_frames(struct walk *walk, struct trib_store_log_damage *damage)
{
    struct sum sum = sum_at(walk->header + 24);
    for (uint64_t i = 1; i <= walk->count; i++) {
        const enum trib_err err = read_frame(walk, i);
        if (err)
            return err;
        const struct sum next = frame_sum(walk, sum);
        if (!has_salts(walk) || trib_load_be32(walk->frame) == 0 ||
            !is_same(next, sum_at(walk->frame + FRAME_SIZE - 8)))
            return check_rest(walk, i, sum, damage);
        sum = next;
    }
    return TRIB_OK;
}

enum trib_err trib_store_log_check(const struct trib_store_log *log,
                                   struct trib_store_log_damage *ret_damage)
{
    struct walk walk = {.log = log, .page_size = log->page_size};
    *ret_damage = (struct trib_store_log_damage){.is_damaged = false};
    if (log->size < HEADER_SIZE)
        return TRIB_OK;
    enum trib_err err = log->read(log->user, walk.header, HEADER_SIZE, 0);
    if (err)
        return err;
    const bool is_good = header_is_good(&walk);
    if (is_good)
        walk.page_size = trib_load_be32(walk.header + 8);
    if (!is_page_size(walk.page_size))
        return TRIB_OK; // not even the database can be read
    walk.count = (log->size - HEADER_SIZE) / (FRAME_SIZE + walk.page_size);
    if (walk.count == 0)
        return TRIB_OK;
    walk.frame = trib_alloc(FRAME_SIZE + walk.page_size);
    if (!walk.frame)
        return TRIB_ERR_NOMEM;
    err = is_good ? walk_frames(&walk, ret_damage) : check_header(&walk, ret_damage);
    free(walk.frame);
    return err;
}
