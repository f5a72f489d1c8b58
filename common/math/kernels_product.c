// The products that broadcast elements of a along rows of b. Compiled once for each instruction
// set.
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
    // Columns are done in chunks, as many as have no more bytes of b than this: it stays in the
    // second cache for all rows, while c, which may be a large layer's weights, passes by in long
    // runs.
    CHUNK_SIZE = 131072,
};

// Up to TILE_ROWS rows of c, over `n` columns.
struct strip {
    const struct trib_product *p;
    const float *a, *b, *bias, *gate;
    float *c;
    int n, k;
    float beta;
    bool is_relu;
};

// One or two vectors of columns of it.
struct tile {
    const float *b, *bias, *gate;
    float *c;
    part edge; // of the only vector
};

ALWAYS_INLINE vec columns_of(const float *from, const bool is_pair, int v, part edge)
{
    return is_pair ? load(from + v * LANES) : load_part(from, edge);
}

// c = epilogue(alpha * sum + base). Most strips only add or only set, and that without a branch.
enum finish {
    FINISH_SET,
    FINISH_ADD,
    FINISH_ANY,
};

ALWAYS_INLINE void finish(const enum finish how, const int rows, const bool is_pair,
                          const struct strip *s, const struct tile *t, vec sums[TILE_ROWS][2])
{
    const ptrdiff_t c_row = s->p->c_row;
    const vec alpha = splat(s->p->alpha), beta = splat(s->beta);
    const bool is_scaled = !t->bias && s->beta != 0, is_relu = s->is_relu;
    UNROLLED for (int i = 0; i < rows; i++)
    {
        UNROLLED for (int v = 0; v < 1 + is_pair; v++)
        {
            float *c = t->c + i * c_row;
            vec base = splat(0);
            if (how == FINISH_ADD)
                base = columns_of(c, is_pair, v, t->edge);
            if (how == FINISH_ANY && t->bias)
                base = columns_of(t->bias, is_pair, v, t->edge);
            if (how == FINISH_ANY && is_scaled)
                base = beta * columns_of(c, is_pair, v, t->edge);
            vec out = fused(alpha, sums[i][v], base);
            if (how == FINISH_ANY && is_relu)
                out = where_positive(out, out);
            if (how == FINISH_ANY && t->gate)
                out = where_positive(columns_of(t->gate + i * c_row, is_pair, v, t->edge), out);
            if (is_pair)
                store(c + v * LANES, out);
            else
                store_part(c, t->edge, out);
        }
    }
}

ALWAYS_INLINE void tile(const int rows, const bool is_pair, const struct strip *s,
                        const struct tile *t)
{
    const struct trib_product *p = s->p;
    const ptrdiff_t a_row = p->a_row, a_step = p->a_step, b_row = p->b_row;
    vec sums[TILE_ROWS][2];
    UNROLLED for (int i = 0; i < rows; i++)
    {
        sums[i][0] = splat(0);
        sums[i][1] = splat(0);
    }
    for (int q = 0; q < p->k2; q++) {
        const float *a = s->a + q * p->a_step2;
        const float *b = t->b + q * p->b_row2;
        for (int left = s->k; left > 0; left--, a += a_step, b += b_row) {
            const vec first = columns_of(b, is_pair, 0, t->edge);
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
    if (s->is_relu || t->gate || t->bias || (s->beta != 0 && s->beta != 1))
        finish(FINISH_ANY, rows, is_pair, s, t, sums);
    else if (s->beta == 0)
        finish(FINISH_SET, rows, is_pair, s, t, sums);
    else
        finish(FINISH_ADD, rows, is_pair, s, t, sums);
}

ALWAYS_INLINE struct tile tile_at(const struct strip *s, int column, int columns)
{
    return (struct tile){
        .b = s->b + column,
        .bias = s->bias ? s->bias + column : NULL,
        .gate = s->gate ? s->gate + column : NULL,
        .c = s->c + column,
        .edge = part_of(columns < LANES ? columns : LANES),
    };
}

ALWAYS_INLINE void strip(const int rows, const struct strip *given)
{
    const struct strip s = *given; // a copy that no store to c can change
    int column = 0;
    for (; column + 2 * LANES <= s.n; column += 2 * LANES) {
        const struct tile t = tile_at(&s, column, 2 * LANES);
        tile(rows, true, &s, &t);
    }
    for (; column < s.n; column += LANES) {
        const struct tile t = tile_at(&s, column, s.n - column);
        tile(rows, false, &s, &t);
    }
}

typedef void (*strip_fn)(const struct strip *);

#define STRIP(rows)                                                           \
    static __attribute__((noinline)) void strip_##rows(const struct strip *s) \
    {                                                                         \
        strip(rows, s);                                                       \
    }

STRIP(1)
STRIP(2)
STRIP(3)
STRIP(4)
STRIP(5)
STRIP(6)
#if TRIB_LANES_KIND == TRIB_LANES_AVX512 || TRIB_LANES_KIND == TRIB_LANES_NEON
STRIP(7)
STRIP(8)
STRIP(9)
STRIP(10)
STRIP(11)
STRIP(12)
#endif
#if TRIB_LANES_KIND == TRIB_LANES_AVX512
STRIP(13)
STRIP(14)
#endif

static const strip_fn strips[] = {
    NULL,     strip_1,  strip_2, strip_3,  strip_4,  strip_5,  strip_6,
#if TRIB_LANES_KIND == TRIB_LANES_AVX512 || TRIB_LANES_KIND == TRIB_LANES_NEON
    strip_7,  strip_8,  strip_9, strip_10, strip_11, strip_12,
#endif
#if TRIB_LANES_KIND == TRIB_LANES_AVX512
    strip_13, strip_14,
#endif
};
_Static_assert(sizeof(strips) / sizeof(strips[0]) == TILE_ROWS + 1, "a function for each height");

// A span of the sums: p from `first`, `k` of them.
struct span {
    const struct trib_product *p;
    int first, k;
    bool is_first, is_last;
};

static void run_strip(const struct span *span, int row, int rows, int column, int columns)
{
    const struct trib_product *p = span->p;
    const ptrdiff_t at = row * p->c_row + column;
    const struct strip s = {
        .p = p,
        .a = p->a + row * p->a_row + span->first * p->a_step,
        .b = p->b + span->first * p->b_row + column,
        .bias = p->bias && span->is_first ? p->bias + column : NULL,
        .gate = p->gate && span->is_last ? p->gate + at : NULL,
        .c = p->c + at,
        .n = columns,
        .k = span->k,
        .beta = span->is_first ? p->beta : 1,
        .is_relu = p->is_relu && span->is_last,
    };
    strips[rows](&s);
}

// All rows of some columns, in strips of like height.
static void run_rows(const struct span *span, int column, int columns)
{
    const int m = span->p->m;
    int left = (m + TILE_ROWS - 1) / TILE_ROWS;
    for (int row = 0; left > 0; left--) {
        const int rows = (m - row + left - 1) / left;
        run_strip(span, row, rows, column, columns);
        row += rows;
    }
}

static void run_span(const struct span *span)
{
    const struct trib_product *p = span->p;
    const int64_t column_size = (int64_t)span->k * p->k2 * (int64_t)sizeof(float);
    int chunk = p->n;
    if (p->m > TILE_ROWS && column_size * p->n > CHUNK_SIZE) {
        chunk = (int)(CHUNK_SIZE / column_size) / (2 * LANES) * (2 * LANES);
        chunk = chunk > 2 * LANES ? chunk : 2 * LANES;
    }
    for (int column = 0; column < p->n; column += chunk)
        run_rows(span, column, p->n - column < chunk ? p->n - column : chunk);
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
