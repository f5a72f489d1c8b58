// The products that broadcast elements of a along rows of b. Compiled once for each instruction set.
#include "common/math/kernels_sets.h"

#include <assert.h>
#include <stdint.h>

#include "common/math/lanes.h"

enum {
    // Sums longer than this are made in spans of at most that, when there are several tiles of rows
    // below each other: so the columns of b that these share stay in the first cache. Part of the
    // order of summation, so the same for each instruction set.
    SPAN_MAX = 512,
    SPAN = 384,
    SPAN_ROWS = 14,
    // When all of b is no larger than this, it is read anew for each tile of rows, and c and a only
    // once; else the other way round.
    SMALL_B = 32768,
};

// rows (up to TILE_ROWS) by one or two vectors of c
struct tile {
    const struct trib_product *p;
    const float *a, *b, *bias, *gate;
    float *c;
    int k;
    float beta;
    bool is_relu;
    part edge; // of the only vector
};

ALWAYS_INLINE void finish(const struct tile *t, vec sum, ptrdiff_t at, ptrdiff_t column,
                          const bool is_edge)
{
    float *c = t->c + at + column;
    vec base = splat(0);
    if (t->bias) {
        base = is_edge ? load_part(t->bias + column, t->edge) : load(t->bias + column);
    } else if (t->beta != 0) {
        base = is_edge ? load_part(c, t->edge) : load(c);
        if (t->beta != 1)
            base *= splat(t->beta);
    }
    vec out = fused(splat(t->p->alpha), sum, base);
    if (t->is_relu)
        out = where_positive(out, out);
    if (t->gate) {
        const float *gate = t->gate + at + column;
        out = where_positive(is_edge ? load_part(gate, t->edge) : load(gate), out);
    }
    if (is_edge)
        store_part(c, t->edge, out);
    else
        store(c, out);
}

ALWAYS_INLINE void tile(const int rows, const bool is_pair, const struct tile *t)
{
    const struct trib_product *p = t->p;
    const ptrdiff_t a_row = p->a_row, a_step = p->a_step, b_row = p->b_row;
    vec sums[TILE_ROWS][2];
    UNROLLED for (int i = 0; i < rows; i++)
    {
        sums[i][0] = splat(0);
        sums[i][1] = splat(0);
    }
    for (int q = 0; q < p->k2; q++) {
        const float *a = t->a + q * p->a_step2;
        const float *b = t->b + q * p->b_row2;
        for (int left = t->k; left > 0; left--, a += a_step, b += b_row) {
            const vec first = is_pair ? load(b) : load_part(b, t->edge);
            const vec second = is_pair ? load(b + LANES) : first;
            UNROLLED for (int i = 0; i < rows; i++)
            {
                const vec x = splat(a[i * a_row]);
                sums[i][0] = fused(x, first, sums[i][0]);
                if (is_pair)
                    sums[i][1] = fused(x, second, sums[i][1]);
            }
        }
    }
    UNROLLED for (int i = 0; i < rows; i++)
    {
        finish(t, sums[i][0], i * p->c_row, 0, !is_pair);
        if (is_pair)
            finish(t, sums[i][1], i * p->c_row, LANES, false);
    }
}

typedef void (*tile_fn)(const struct tile *);

#define TILE(rows)                                                          \
    static __attribute__((noinline)) void tile_##rows(const struct tile *t) \
    {                                                                       \
        tile(rows, false, t);                                               \
    }                                                                       \
    static __attribute__((noinline)) void pair_##rows(const struct tile *t) \
    {                                                                       \
        tile(rows, true, t);                                                \
    }
#define TILE_NAMES(rows)         \
    {                            \
        tile_##rows, pair_##rows \
    }

TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
#if TRIB_LANES_KIND == TRIB_LANES_AVX512 || TRIB_LANES_KIND == TRIB_LANES_NEON
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
#endif
#if TRIB_LANES_KIND == TRIB_LANES_AVX512
TILE(13)
TILE(14)
#endif

static const tile_fn tiles[][2] = {
    {NULL, NULL},   TILE_NAMES(1),  TILE_NAMES(2), TILE_NAMES(3),  TILE_NAMES(4),  TILE_NAMES(5),
    TILE_NAMES(6),
#if TRIB_LANES_KIND == TRIB_LANES_AVX512 || TRIB_LANES_KIND == TRIB_LANES_NEON
    TILE_NAMES(7),  TILE_NAMES(8),  TILE_NAMES(9), TILE_NAMES(10), TILE_NAMES(11), TILE_NAMES(12),
#endif
#if TRIB_LANES_KIND == TRIB_LANES_AVX512
    TILE_NAMES(13), TILE_NAMES(14),
#endif
};
_Static_assert(sizeof(tiles) / sizeof(tiles[0]) == TILE_ROWS + 1, "a function for each height");

// A span of the sums: p from `first`, `k` of them.
struct span {
    const struct trib_product *p;
    int first, k;
    bool is_first, is_last;
};

static void run_tile(const struct span *span, int row, int rows, int column, int columns)
{
    const struct trib_product *p = span->p;
    const ptrdiff_t at = row * p->c_row + column;
    const struct tile tile = {
        .p = p,
        .a = p->a + row * p->a_row + span->first * p->a_step,
        .b = p->b + span->first * p->b_row + column,
        .bias = p->bias && span->is_first ? p->bias + column : NULL,
        .gate = p->gate && span->is_last ? p->gate + at : NULL,
        .c = p->c + at,
        .k = span->k,
        .beta = span->is_first ? p->beta : 1,
        .is_relu = p->is_relu && span->is_last,
        .edge = part_of(columns < LANES ? columns : LANES),
    };
    tiles[rows][columns == 2 * LANES](&tile);
}

// All rows of some columns, in tiles of like height.
static void run_rows(const struct span *span, int column, int columns)
{
    const int m = span->p->m;
    int left = (m + TILE_ROWS - 1) / TILE_ROWS;
    for (int row = 0; left > 0; left--) {
        const int rows = (m - row + left - 1) / left;
        run_tile(span, row, rows, column, columns);
        row += rows;
    }
}

static int columns_at(int column, int n)
{
    if (n - column >= 2 * LANES)
        return 2 * LANES;
    return n - column < LANES ? n - column : LANES;
}

static void run_span(const struct span *span)
{
    const struct trib_product *p = span->p;
    if ((int64_t)span->k * p->k2 * p->n * (int64_t)sizeof(float) > SMALL_B || p->m <= TILE_ROWS) {
        for (int column = 0, columns; column < p->n; column += columns) {
            columns = columns_at(column, p->n);
            run_rows(span, column, columns);
        }
        return;
    }
    int left = (p->m + TILE_ROWS - 1) / TILE_ROWS;
    for (int row = 0; left > 0; left--) {
        const int rows = (p->m - row + left - 1) / left;
        for (int column = 0, columns; column < p->n; column += columns) {
            columns = columns_at(column, p->n);
            run_tile(span, row, rows, column, columns);
        }
        row += rows;
    }
}

void TRIB_LANES(trib_products)(const struct trib_product *p)
{
    assert(p->m >= 0 && p->n >= 0 && p->k >= 0 && p->k2 >= 1);
    int spans = 1;
    if (p->k2 == 1 && p->k > SPAN_MAX && p->m > SPAN_ROWS)
        spans = (p->k + SPAN - 1) / SPAN;
    for (int s = 0, first = 0; s < spans; s++) {
        const struct span span = {.p = p,
                                  .first = first,
                                  .k = (p->k - first + spans - s - 1) / (spans - s),
                                  .is_first = s == 0,
                                  .is_last = s == spans - 1};
        run_span(&span);
        first += span.k;
    }
}
