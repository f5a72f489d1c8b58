// Max-pooling, forward and backward. Compiled once for each instruction set.
#include "common/math/kernels_sets.h"

#include "common/math/lanes.h"

ALWAYS_INLINE vec load_some(const float *from, part edge, bool is_edge)
{
    return is_edge ? load_part(from, edge) : load(from);
}

ALWAYS_INLINE void store_some(float *to, part edge, bool is_edge, vec x)
{
    if (is_edge)
        store_part(to, edge, x);
    else
        store(to, x);
}

// The largest of one square, in some channels.
ALWAYS_INLINE void pool_square(const struct trib_pool *p, const float *x, float *largest, part edge,
                               bool is_edge)
{
    vec best = load_some(x, edge, is_edge);
    for (int row = 0; row < p->side; row++) {
        for (int column = 0; column < p->side; column++)
            best = larger(
                load_some(x + row * p->x_row + (ptrdiff_t)column * p->channels, edge, is_edge),
                best);
    }
    store_some(largest, edge, is_edge, best);
}

void TRIB_LANES(trib_pool)(const struct trib_pool *p, float *largest)
{
    const part edge = part_of(p->channels % LANES);
    for (int s = 0; s < p->count; s++) {
        const float *x = p->x + (ptrdiff_t)s * p->side * p->channels;
        int c = 0;
        for (; c + LANES <= p->channels; c += LANES)
            pool_square(p, x + c, largest + c, edge, false);
        if (c < p->channels)
            pool_square(p, x + c, largest + c, edge, true);
        largest += p->channels;
    }
}

// To the first of the square that is the largest goes what comes from above, to the others 0.
ALWAYS_INLINE void unpool_square(const struct trib_unpool *u, ptrdiff_t square, ptrdiff_t pixel,
                                 part edge, bool is_edge)
{
    const struct trib_pool *p = &u->pool;
    const vec largest = load_some(u->largest + pixel, edge, is_edge);
    vec left = load_some(u->delta + pixel, edge, is_edge);
    if (u->is_gated)
        left = where_positive(largest, left);
    for (int row = 0; row < p->side; row++) {
        for (int column = 0; column < p->side; column++) {
            const ptrdiff_t at = square + row * p->x_row + (ptrdiff_t)column * p->channels;
            const bits is_it = (bits)(load_some(p->x + at, edge, is_edge) == largest);
            store_some(u->below + at, edge, is_edge, (vec)((bits)left & is_it));
            left = (vec)((bits)left & ~is_it);
        }
    }
}

void TRIB_LANES(trib_unpool)(const struct trib_unpool *u)
{
    const struct trib_pool *p = &u->pool;
    const part edge = part_of(p->channels % LANES);
    for (int s = 0; s < p->count; s++) {
        const ptrdiff_t square = (ptrdiff_t)s * p->side * p->channels;
        const ptrdiff_t pixel = (ptrdiff_t)s * p->channels;
        int c = 0;
        for (; c + LANES <= p->channels; c += LANES)
            unpool_square(u, square + c, pixel + c, edge, false);
        if (c < p->channels)
            unpool_square(u, square + c, pixel + c, edge, true);
    }
}
