// The products whose both sides lie along the sum. Compiled once for each instruction set.
#include "common/math/kernels_sets.h"

#include <assert.h>
#include <stdint.h>

#include "common/math/lanes.h"

// Cells of c at a time: as many as the registers hold the sums of.
enum {
#if TRIB_LANES_KIND == TRIB_LANES_AVX512
    DOT_ROWS = 6,
    DOT_COLUMNS = 4,
#elif TRIB_LANES_KIND == TRIB_LANES_PLAIN
    DOT_ROWS = 3,
    DOT_COLUMNS = 1,
#else
    DOT_ROWS = 3,
    DOT_COLUMNS = 2,
#endif
};

enum {
    // Sums longer than this are made in spans of at most that, each folded and added to c: so the
    // rows of a strip stay in the first cache. Part of the order of summation, so the same for each
    // set.
    SPAN_MAX = 1536,
    SPAN = 1024,
    // Columns are done in chunks, as many as have no more bytes of b than this: it stays in the
    // second cache for all rows.
    CHUNK_SIZE = 262144,
};

// One step of sixteen: sums of `rows` rows of a by `columns` rows of b.
struct step {
    const float *a, *b;
    ptrdiff_t a_row, b_row;
};

ALWAYS_INLINE void add_step(const int rows, const int columns, const struct step *at,
                            vec sums[DOT_ROWS][DOT_COLUMNS][SUM_VECS])
{
    UNROLLED for (int v = 0; v < SUM_VECS; v++)
    {
        vec b[DOT_COLUMNS];
        UNROLLED for (int j = 0; j < columns; j++) b[j] = load(at->b + j * at->b_row + v * LANES);
        UNROLLED for (int i = 0; i < rows; i++)
        {
            const vec a = load(at->a + i * at->a_row + v * LANES);
            UNROLLED for (int j = 0; j < columns; j++) sums[i][j][v] =
                fused(a, b[j], sums[i][j][v]);
        }
    }
}

// The last, shorter step: what is not there counts as 0.
ALWAYS_INLINE void add_rest(const int rows, const int columns, const struct step *at, int count,
                            vec sums[DOT_ROWS][DOT_COLUMNS][SUM_VECS])
{
    UNROLLED for (int v = 0; v < SUM_VECS; v++)
    {
        const int here = count - v * LANES;
        const part some = part_of(here < 0 ? 0 : here > LANES ? LANES : here);
        vec b[DOT_COLUMNS];
        UNROLLED for (int j = 0; j < columns; j++) b[j] =
            load_part(at->b + j * at->b_row + v * LANES, some);
        UNROLLED for (int i = 0; i < rows; i++)
        {
            const vec a = load_part(at->a + i * at->a_row + v * LANES, some);
            UNROLLED for (int j = 0; j < columns; j++) sums[i][j][v] =
                fused(a, b[j], sums[i][j][v]);
        }
    }
}

// What to do with the sums; a copy that no store to c can change.
struct finish {
    float *c;
    const float *bias, *gate;
    ptrdiff_t c_row;
    float alpha, beta;
    bool is_relu;
};

#if TRIB_LANES_KIND == TRIB_LANES_AVX512

// fold() of four sums at once: each step adds halves of two or four of them with one instruction.
ALWAYS_INLINE __m128 fold_four(const vec s0, const vec s1, const vec s2, const vec s3)
{
    // s_i + s_i+8: eight of the first sum, eight of the second
    const vec a = _mm512_shuffle_f32x4(s0, s1, 0x44) + _mm512_shuffle_f32x4(s0, s1, 0xee);
    const vec b = _mm512_shuffle_f32x4(s2, s3, 0x44) + _mm512_shuffle_f32x4(s2, s3, 0xee);
    // + 4: four of each
    const vec c = _mm512_shuffle_f32x4(a, b, 0x88) + _mm512_shuffle_f32x4(a, b, 0xdd);
    const vec d = c + _mm512_permute_ps(c, 0x4e); // + 2
    const vec e = d + _mm512_permute_ps(d, 0xb1); // + 1
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, e));
}

// Up to four cells of a row.
ALWAYS_INLINE void finish_row(const struct finish *f, ptrdiff_t row, int column, const int columns,
                              vec sums[DOT_COLUMNS][SUM_VECS])
{
    const __mmask8 some = (__mmask8)((1U << columns) - 1);
    const ptrdiff_t at = row * f->c_row + column;
    const __m128 folded =
        fold_four(sums[0][0], columns > 1 ? sums[1][0] : splat(0),
                  columns > 2 ? sums[2][0] : splat(0), columns > 3 ? sums[3][0] : splat(0));
    __m128 base = _mm_setzero_ps();
    if (f->bias)
        base = _mm_maskz_loadu_ps(some, f->bias + column);
    else if (f->beta != 0)
        base = _mm_set1_ps(f->beta) * _mm_maskz_loadu_ps(some, f->c + at);
    __m128 out = _mm_set1_ps(f->alpha) * folded + base;
    if (f->is_relu)
        out = _mm_max_ps(out, _mm_setzero_ps());
    if (f->gate)
        out =
            _mm_and_ps(out, _mm_cmpgt_ps(_mm_maskz_loadu_ps(some, f->gate + at), _mm_setzero_ps()));
    _mm_mask_storeu_ps(f->c + at, some, out);
}

#else

ALWAYS_INLINE void finish_row(const struct finish *f, ptrdiff_t row, int column, const int columns,
                              vec sums[DOT_COLUMNS][SUM_VECS])
{
    UNROLLED for (int j = 0; j < columns; j++)
    {
        const ptrdiff_t at = row * f->c_row + column + j;
        float base = 0;
        if (f->bias)
            base = f->bias[column + j];
        else if (f->beta != 0)
            base = f->beta * f->c[at];
        float out = f->alpha * fold(sums[j]) + base;
        if (f->is_relu && !(out > 0))
            out = 0;
        if (f->gate && !(f->gate[at] > 0))
            out = 0;
        f->c[at] = out;
    }
}

#endif

// Some rows of c, over some of its columns and a span of the sum.
struct strip {
    const float *a, *b;
    ptrdiff_t a_row, b_row;
    int n, k;
    struct finish finish;
};

ALWAYS_INLINE void cells(const int rows, const int columns, const struct strip *s, int column)
{
    vec sums[DOT_ROWS][DOT_COLUMNS][SUM_VECS];
    struct step at = {
        .a = s->a, .b = s->b + column * s->b_row, .a_row = s->a_row, .b_row = s->b_row};
    int left = s->k;
    UNROLLED for (int i = 0; i < rows; i++)
    {
        UNROLLED for (int j = 0; j < columns; j++)
        {
            UNROLLED for (int v = 0; v < SUM_VECS; v++) sums[i][j][v] = splat(0);
        }
    }
    for (; left >= SUMS; left -= SUMS, at.a += SUMS, at.b += SUMS)
        add_step(rows, columns, &at, sums);
    if (left > 0)
        add_rest(rows, columns, &at, left, sums);
    UNROLLED for (int i = 0; i < rows; i++) finish_row(&s->finish, i, column, columns, sums[i]);
}

ALWAYS_INLINE void strip(const int rows, const struct strip *given)
{
    const struct strip s = *given; // a copy that no store to c can change
    int column = 0;
    for (; column + DOT_COLUMNS <= s.n; column += DOT_COLUMNS)
        cells(rows, DOT_COLUMNS, &s, column);
#if TRIB_LANES_KIND == TRIB_LANES_AVX512
    for (; column + 2 <= s.n; column += 2)
        cells(rows, 2, &s, column);
#endif
    for (; column < s.n; column++)
        cells(rows, 1, &s, column);
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
#if TRIB_LANES_KIND == TRIB_LANES_AVX512
STRIP(4)
STRIP(5)
STRIP(6)
static const strip_fn strips[] = {NULL, strip_1, strip_2, strip_3, strip_4, strip_5, strip_6};
#else
static const strip_fn strips[] = {NULL, strip_1, strip_2, strip_3};
#endif
_Static_assert(sizeof(strips) / sizeof(strips[0]) == DOT_ROWS + 1, "a function for each height");

// A span of the sums: from `first`, `k` of them.
struct span {
    const struct trib_product *p;
    int first, k;
    bool is_first, is_last;
};

// All rows of some columns, in strips of like height.
static void run_rows(const struct span *span, int column, int columns)
{
    const struct trib_product *p = span->p;
    int left = (p->m + DOT_ROWS - 1) / DOT_ROWS;
    for (int row = 0; left > 0; left--) {
        const int rows = (p->m - row + left - 1) / left;
        const ptrdiff_t at = row * p->c_row + column;
        const struct strip s = {
            .a = p->a + row * p->a_row + span->first,
            .b = p->b + column * p->b_row + span->first,
            .a_row = p->a_row,
            .b_row = p->b_row,
            .n = columns,
            .k = span->k,
            .finish = {.c = p->c + at,
                       .bias = p->bias && span->is_first ? p->bias + column : NULL,
                       .gate = p->gate && span->is_last ? p->gate + at : NULL,
                       .c_row = p->c_row,
                       .alpha = p->alpha,
                       .beta = span->is_first ? p->beta : 1,
                       .is_relu = p->is_relu && span->is_last}};
        strips[rows](&s);
        row += rows;
    }
}

void TRIB_LANES(trib_dots)(const struct trib_product *p)
{
    assert(p->m >= 0 && p->n >= 0 && p->k >= 0 && p->k2 == 1);
    const int spans = p->k > SPAN_MAX ? (p->k + SPAN - 1) / SPAN : 1;
    for (int i = 0, first = 0; i < spans; i++) {
        const struct span span = {.p = p,
                                  .first = first,
                                  .k = (p->k - first + spans - i - 1) / (spans - i),
                                  .is_first = i == 0,
                                  .is_last = i == spans - 1};
        int chunk = p->n;
        if (p->m > DOT_ROWS && (int64_t)span.k * p->n * (int64_t)sizeof(float) > CHUNK_SIZE) {
            chunk = CHUNK_SIZE / (span.k * (int)sizeof(float)) / DOT_COLUMNS * DOT_COLUMNS;
            chunk = chunk > DOT_COLUMNS ? chunk : DOT_COLUMNS;
        }
        for (int column = 0; column < p->n; column += chunk)
            run_rows(&span, column, p->n - column < chunk ? p->n - column : chunk);
        first += span.k;
    }
}

// ---- Rows that lie apart

enum {
    ROWS_AT_ONCE = 4, // to hide the latency of one sum
};

ALWAYS_INLINE void some_dots(const int rows, const struct trib_rows *all, int first, const float *w,
                             float *ret_dots)
{
    const float *const *x = all->x + first;
    const float *const *next = all->next ? all->next + first : NULL;
    const int width = all->width;
    vec sums[ROWS_AT_ONCE][SUM_VECS];
    int at = 0;
    UNROLLED for (int i = 0; i < rows; i++)
    {
        UNROLLED for (int v = 0; v < SUM_VECS; v++) sums[i][v] = splat(0);
    }
    for (; at + SUMS <= width; at += SUMS) {
        if (next) {
            UNROLLED for (int i = 0; i < rows; i++) __builtin_prefetch(next[i] + at, 0, 2);
        }
        UNROLLED for (int v = 0; v < SUM_VECS; v++)
        {
            const vec factor = load(w + at + v * LANES);
            UNROLLED for (int i = 0; i < rows; i++) sums[i][v] =
                fused(load(x[i] + at + v * LANES), factor, sums[i][v]);
        }
    }
    if (at < width) {
        UNROLLED for (int v = 0; v < SUM_VECS; v++)
        {
            const int here = width - at - v * LANES;
            const part some = part_of(here < 0 ? 0 : here > LANES ? LANES : here);
            const vec factor = load_part(w + at + v * LANES, some);
            UNROLLED for (int i = 0; i < rows; i++) sums[i][v] =
                fused(load_part(x[i] + at + v * LANES, some), factor, sums[i][v]);
        }
    }
#if TRIB_LANES_KIND == TRIB_LANES_AVX512
    if (rows == 4) {
        _mm_storeu_ps(ret_dots, fold_four(sums[0][0], sums[1][0], sums[2][0], sums[3][0]));
        return;
    }
#endif
    UNROLLED for (int i = 0; i < rows; i++) ret_dots[i] = fold(sums[i]);
}

void TRIB_LANES(trib_row_dots)(const struct trib_rows *rows, const float *w, float *ret_dots)
{
    int row = 0;
    for (; row + ROWS_AT_ONCE <= rows->count; row += ROWS_AT_ONCE)
        some_dots(ROWS_AT_ONCE, rows, row, w, ret_dots + row);
    for (; row < rows->count; row++)
        some_dots(1, rows, row, w, ret_dots + row);
}

// `vecs` vectors of w, the last of them perhaps a part
ALWAYS_INLINE void some_steps(const int vecs, const struct trib_rows *rows, const float *factors,
                              float beta, float *w, int at, part last)
{
    vec sums[4];
    UNROLLED for (int v = 0; v < vecs; v++)
    {
        sums[v] = splat(0);
        if (beta != 0)
            sums[v] = splat(beta) * (v + 1 < vecs ? load(w + at + v * LANES)
                                                  : load_part(w + at + v * LANES, last));
    }
    for (int r = 0; r < rows->count; r++) {
        const vec factor = splat(factors[r]);
        const float *x = rows->x[r] + at;
        UNROLLED for (int v = 0; v < vecs; v++) sums[v] = fused(
            factor, v + 1 < vecs ? load(x + v * LANES) : load_part(x + v * LANES, last), sums[v]);
    }
    UNROLLED for (int v = 0; v < vecs; v++)
    {
        if (v + 1 < vecs)
            store(w + at + v * LANES, sums[v]);
        else
            store_part(w + at + v * LANES, last, sums[v]);
    }
}

void TRIB_LANES(trib_row_steps)(const struct trib_rows *rows, const float *factors, float beta,
                                float *w)
{
    int at = 0;
    for (; at + 4 * LANES <= rows->width; at += 4 * LANES)
        some_steps(4, rows, factors, beta, w, at, part_of(LANES));
    for (; at < rows->width; at += LANES) {
        const int here = rows->width - at;
        some_steps(1, rows, factors, beta, w, at, part_of(here < LANES ? here : LANES));
    }
}
