// Every set of kernels that this processor can run, against sums in double, and against each other.
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/wipe.h"
#include "common/math/kernels.h"
#include "tests/unit/allocations.h"
#include "tests/unit/models.h"

static const char *const names[] = {"plain", "openblas", "neon", "avx2", "avx512"};
enum {
    NAMES = 5,
    SIDE = 40,      // edges up to this are all tried
    ROW = SIDE + 5, // of a matrix in memory: more than its columns
};

static const struct trib_kernels *sets[NAMES];
static int set_count;

static bool is_fused(const struct trib_kernels *set)
{
    return strcmp(set->name, "plain") != 0 && strcmp(set->name, "openblas") != 0;
}

static void fill(float *values, size_t count, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++)
        values[i] = small(seed);
}

static float *some(size_t count, uint64_t *seed)
{
    float *values = trib_alloc_aligned(count, sizeof(*values));
    assert_non_null(values);
    fill(values, count, seed);
    return values;
}

// ---- Products

enum way {
    AS_IT_LIES,   // products, a (m,k)
    A_TRANSPOSED, // products, a (k,m)
    DOTS,         // a (m,k), b (n,k)
    WAYS,
};

struct matrices {
    float a[ROW * ROW], b[ROW * ROW], before[ROW * ROW], gate[ROW * ROW], bias[ROW];
    double sums[SIDE][SIDE]; // of the first k products, for the k at hand
};

static struct trib_product product_of(const struct matrices *x, enum way way, int variant)
{
    return (struct trib_product){
        .k2 = 1,
        .a = x->a,
        .a_row = way == A_TRANSPOSED ? 1 : ROW,
        .a_step = way == A_TRANSPOSED ? ROW : 1,
        .b = x->b,
        .b_row = ROW,
        .c_row = ROW,
        .alpha = variant % 3 ? 1 : -0.5f,
        .beta = variant % 4 == 0   ? 0
                : variant % 4 == 1 ? 1
                                   : 0.75f,
        .bias = variant % 4 == 0 && variant % 5 < 3 ? x->bias : NULL,
        .gate = variant % 7 == 0 ? x->gate : NULL,
        .is_relu = variant % 5 == 0,
    };
}

static double expected_cell(const struct matrices *x, const struct trib_product *p, int i, int j)
{
    double base = (double)p->beta * (double)x->before[i * ROW + j];
    if (p->bias)
        base = (double)p->bias[j];
    else if (p->beta == 0)
        base = 0;
    const double value = (double)p->alpha * x->sums[i][j] + base;
    if (p->is_relu && value < 0)
        return 0;
    return p->gate && p->gate[i * ROW + j] <= 0 ? 0 : value;
}

// Nothing is written beside the product.
static void check_outside(const struct matrices *x, const struct trib_product *p, const char *name,
                          const float *c)
{
    for (int i = 0; i < ROW; i++) {
        const int first = i < p->m ? p->n : 0;
        if (memcmp(c + i * ROW + first, x->before + i * ROW + first,
                   sizeof(*c) * (size_t)(ROW - first)) != 0)
            fail_msg("%s: %d x %d x %d wrote to row %d at %d or behind", name, p->m, p->n, p->k, i,
                     first);
    }
}

static void check_cells(const struct matrices *x, const struct trib_product *p, const char *name,
                        const float *c)
{
    check_outside(x, p, name, c);
    for (int i = 0; i < p->m; i++) {
        for (int j = 0; j < p->n; j++) {
            const float now = c[i * ROW + j];
            if (!(fabs((double)now - expected_cell(x, p, i, j)) < 4e-6))
                fail_msg("%s: %d x %d x %d at %d, %d: %.9g, not %.9g", name, p->m, p->n, p->k, i, j,
                         (double)now, expected_cell(x, p, i, j));
        }
    }
}

// All sets do the same product: right, and with the same bits where they fuse.
static void check_product(const struct matrices *x, enum way way, struct trib_product p)
{
    static float c[NAMES][ROW * ROW];
    int first_fused = -1;
    for (int s = 0; s < set_count; s++) {
        memcpy(c[s], x->before, sizeof(c[s]));
        p.c = c[s];
        if (way == DOTS)
            sets[s]->dots(&p);
        else
            sets[s]->products(&p);
        if (s == 0 || !is_fused(sets[s])) {
            check_cells(x, &p, sets[s]->name, c[s]);
        } else if (first_fused < 0) {
            check_cells(x, &p, sets[s]->name, c[s]);
            first_fused = s;
        } else if (memcmp(c[s], c[first_fused], sizeof(c[s])) != 0) {
            fail_msg("%s and %s differ in way %d: %d x %d x %d", sets[s]->name,
                     sets[first_fused]->name, (int)way, p.m, p.n, p.k);
        }
    }
}

static void add_products(struct matrices *x, enum way way, int p)
{
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            const float a = way == A_TRANSPOSED ? x->a[p * ROW + i] : x->a[i * ROW + p];
            const float b = way == DOTS ? x->b[j * ROW + p] : x->b[p * ROW + j];
            x->sums[i][j] += (double)a * (double)b;
        }
    }
}

static void products_of_all_small_sizes_are_right_and_of_the_same_bits(void **state)
{
    (void)state;
    static struct matrices x;
    uint64_t seed = 1;
    fill(x.a, ROW * ROW, &seed);
    fill(x.b, ROW * ROW, &seed);
    fill(x.before, ROW * ROW, &seed);
    fill(x.gate, ROW * ROW, &seed);
    fill(x.bias, ROW, &seed);
    for (int way = 0; way < WAYS; way++) {
        int variant = 0;
        memset(x.sums, 0, sizeof(x.sums));
        for (int k = 0; k <= SIDE; k++) {
            for (int m = 1; m <= SIDE; m++) {
                for (int n = 1; n <= SIDE; n++) {
                    struct trib_product p = product_of(&x, (enum way)way, variant++);
                    p.m = m;
                    p.n = n;
                    p.k = k;
                    check_product(&x, (enum way)way, p);
                }
            }
            if (k < SIDE)
                add_products(&x, (enum way)way, k);
        }
    }
}

static void nothing_is_read_where_beta_is_zero(void **state)
{
    (void)state;
    const float a[3] = {1, 2, 3}, b[3] = {4, 5, 6};
    for (int s = 0; s < set_count; s++) {
        float c[2] = {NAN, NAN};
        struct trib_product p = {.m = 1,
                                 .n = 1,
                                 .k = 3,
                                 .k2 = 1,
                                 .a = a,
                                 .b = b,
                                 .c = c,
                                 .a_row = 3,
                                 .a_step = 1,
                                 .b_row = 1,
                                 .c_row = 1,
                                 .alpha = 1};
        sets[s]->products(&p);
        p.c = c + 1;
        p.b_row = 3;
        sets[s]->dots(&p);
        assert_true(c[0] == 32 && c[1] == 32);
    }
}

// Sums long enough to be made in spans; only some cells are checked.
static void large_products_are_right_and_of_the_same_bits(void **state)
{
    (void)state;
    static const int sizes[][3] = {{1, 70, 2000},    {15, 33, 513}, {14, 33, 513}, {61, 257, 784},
                                   {200, 150, 1024}, {7, 9, 3200},  {300, 17, 1}};
    uint64_t seed = 2;
    for (size_t t = 0; t < sizeof(sizes) / sizeof(sizes[0]); t++) {
        const int m = sizes[t][0], n = sizes[t][1], k = sizes[t][2];
        float *a = some((size_t)m * k, &seed), *b = some((size_t)n * k, &seed);
        float *c[2] = {some((size_t)m * n, &seed), some((size_t)m * n, &seed)};
        for (int way = 0; way < WAYS; way++) {
            bool has_fused = false;
            for (int s = 0; s < set_count; s++) {
                struct trib_product p = {.m = m,
                                         .n = n,
                                         .k = k,
                                         .k2 = 1,
                                         .a = a,
                                         .a_row = way == A_TRANSPOSED ? 1 : k,
                                         .a_step = way == A_TRANSPOSED ? m : 1,
                                         .b = b,
                                         .b_row = way == DOTS ? k : n,
                                         .c = c[is_fused(sets[s]) && has_fused],
                                         .c_row = n,
                                         .alpha = 0.5f};
                if (way == DOTS)
                    sets[s]->dots(&p);
                else
                    sets[s]->products(&p);
                for (int i = 0; i < m; i += 7) {
                    const int j = (int)(test_rand(&seed) % (uint64_t)n);
                    double sum = 0, size = 0;
                    for (int q = 0; q < k; q++) {
                        const double one = (double)a[i * p.a_row + q * p.a_step] *
                                           (double)(way == DOTS ? b[j * k + q] : b[q * n + j]);
                        sum += one;
                        size += fabs(one);
                    }
                    assert_true(fabs((double)p.c[i * n + j] - sum / 2) <
                                size * sqrt(k) * 0x1p-24 + 1e-7);
                }
                if (is_fused(sets[s]) && has_fused)
                    assert_memory_equal(c[0], c[1], (size_t)m * n * sizeof(float));
                has_fused = has_fused || is_fused(sets[s]);
            }
        }
        free(a);
        free(b);
        free(c[0]);
        free(c[1]);
    }
}

// A 3 x 3 window over an image of 9 x 11 with 5 channels, without a copy of its parts: a row of the
// window is 15 numbers side by side.
static void a_second_sum_goes_over_the_rows_of_a_window(void **state)
{
    (void)state;
    enum {
        HEIGHT = 9,
        WIDTH = 11,
        CHANNELS = 5,
        OUT = 37,
        ACROSS = WIDTH - 2,
    };
    float image[HEIGHT * WIDTH * CHANNELS], window[9 * CHANNELS * OUT];
    float out[2][ACROSS * OUT];
    uint64_t seed = 3;
    bool has_fused = false;
    fill(image, HEIGHT * WIDTH * CHANNELS, &seed);
    fill(window, 9 * CHANNELS * OUT, &seed);
    for (int s = 0; s < set_count; s++) {
        const bool is_second = is_fused(sets[s]) && has_fused;
        const struct trib_product p = {.m = ACROSS,
                                       .n = OUT,
                                       .k = 3 * CHANNELS,
                                       .k2 = 3,
                                       .a =
                                           image + 4 * WIDTH * CHANNELS, // the fifth row of outputs
                                       .a_row = CHANNELS,
                                       .a_step = 1,
                                       .a_step2 = WIDTH * CHANNELS,
                                       .b = window,
                                       .b_row = OUT,
                                       .b_row2 = 3 * CHANNELS * OUT,
                                       .c = out[is_second],
                                       .c_row = OUT,
                                       .alpha = 1};
        sets[s]->products(&p);
        for (int x = 0; x < ACROSS; x++) {
            for (int o = 0; o < OUT; o++) {
                double sum = 0;
                for (int y = 0; y < 3; y++) {
                    for (int i = 0; i < 3 * CHANNELS; i++)
                        sum += (double)image[((4 + y) * WIDTH + x) * CHANNELS + i] *
                               (double)window[(y * 3 * CHANNELS + i) * OUT + o];
                }
                assert_true(fabs((double)p.c[x * OUT + o] - sum) < 4e-6);
            }
        }
        if (is_second)
            assert_memory_equal(out[0], out[1], sizeof(out[0]));
        has_fused = has_fused || is_fused(sets[s]);
    }
}

// ---- Rows that lie apart

static void rows_apart_are_summed_like_rows_together(void **state)
{
    (void)state;
    enum {
        ROWS = 11,
        WIDTH_MAX = 150,
    };
    float x[ROWS * WIDTH_MAX], w[WIDTH_MAX], factors[ROWS], dots[2][ROWS], stepped[2][WIDTH_MAX];
    const float *pointers[ROWS];
    uint64_t seed = 4;
    fill(x, ROWS * WIDTH_MAX, &seed);
    fill(w, WIDTH_MAX, &seed);
    fill(factors, ROWS, &seed);
    for (int r = 0; r < ROWS; r++)
        pointers[r] = x + (r * 7 % ROWS) * WIDTH_MAX;
    for (int width = 1; width <= WIDTH_MAX; width++) {
        const struct trib_rows rows = {.count = 1 + width % ROWS, .width = width, .x = pointers};
        bool has_fused = false;
        for (int s = 0; s < set_count; s++) {
            const int at = is_fused(sets[s]) && has_fused;
            memcpy(stepped[at], w, sizeof(w));
            sets[s]->row_dots(&rows, w, dots[at]);
            sets[s]->row_steps(&rows, factors, 0.5f, stepped[at]);
            for (int r = 0; r < rows.count; r++) {
                float alone;
                const struct trib_product p = {.m = 1,
                                               .n = 1,
                                               .k = width,
                                               .k2 = 1,
                                               .a = pointers[r],
                                               .a_row = 1,
                                               .a_step = 1,
                                               .b = w,
                                               .b_row = 1,
                                               .c = &alone,
                                               .c_row = 1,
                                               .alpha = 1};
                sets[s]->dots(&p);
                assert_memory_equal(&alone, &dots[at][r], sizeof(alone));
            }
            for (int i = 0; i < width; i++) {
                double sum = (double)w[i] / 2;
                for (int r = 0; r < rows.count; r++)
                    sum += (double)factors[r] * (double)pointers[r][i];
                assert_true(fabs((double)stepped[at][i] - sum) < 2e-6);
            }
            if (width < WIDTH_MAX)
                assert_true(stepped[at][width] == w[width]);
            if (at) {
                assert_memory_equal(dots[0], dots[1], (size_t)rows.count * sizeof(float));
                assert_memory_equal(stepped[0], stepped[1], sizeof(stepped[0]));
            }
            has_fused = has_fused || is_fused(sets[s]);
        }
    }
}

// ---- Exponentials

static void exponentials_are_within_their_bounds(void **state)
{
    (void)state;
    enum {
        COUNT = 100003, // not a multiple of any vector
    };
    uint64_t seed = 5;
    float *z = some(COUNT, &seed), *e = some(COUNT, &seed);
    for (int i = 0; i < COUNT; i++)
        z[i] = i < 1000 ? -ldexpf(1, -i % 150) : -87.0f * fabsf(z[i]);
    for (int s = 0; s < set_count; s++) {
        double worst = 0;
        memcpy(e, z, COUNT * sizeof(*z));
        sets[s]->exps(e, COUNT);
        for (int i = 0; i < COUNT; i++)
            worst = fmax(worst, fabs((double)e[i] / exp((double)z[i]) - 1));
        if (worst >= 0x1p-22)
            fail_msg("%s: e^z is off by %g", sets[s]->name, worst);
        worst = 0;
        for (int i = 0; i < COUNT; i++)
            e[i] = i % 2 ? z[i] : -z[i];
        sets[s]->sigmoids(e, COUNT);
        for (int i = 0; i < COUNT; i++)
            worst = fmax(worst,
                         fabs((double)e[i] * (1 + exp(i % 2 ? -(double)z[i] : (double)z[i])) - 1));
        if (worst >= 0x1p-21)
            fail_msg("%s: 1 / (1 + e^-z) is off by %g", sets[s]->name, worst);
    }
    free(z);
    free(e);
}

static void exponentials_have_the_right_ends(void **state)
{
    (void)state;
    for (int s = 0; s < set_count; s++) {
        float e[4] = {0, -INFINITY, -1000, NAN};
        float g[5] = {0, INFINITY, -INFINITY, 300, NAN};
        sets[s]->exps(e, 4);
        sets[s]->sigmoids(g, 5);
        assert_true(e[0] == 1 && e[1] > 0 && e[1] < 2e-38f && e[2] == e[1] && isnan(e[3]));
        assert_true(g[0] == 0.5f && g[1] == 1 && g[2] > 0 && g[2] < 2e-38f && g[3] == 1 &&
                    isnan(g[4]));
    }
}

// ---- The end of a classifier

static double reference_softmax(const struct trib_softmax *s, const float *z, double *ret_delta)
{
    double loss = 0;
    for (int r = 0; r < s->rows; r++, z += s->width, ret_delta += s->width) {
        const double weight = s->weights ? (double)s->weights[r] : 1;
        const int label = (int)s->labels[r];
        double max = (double)z[0], sum = 0;
        for (int i = 1; i < s->width; i++)
            max = fmax(max, (double)z[i]);
        for (int i = 0; i < s->width; i++)
            sum += exp((double)z[i] - max);
        for (int i = 0; i < s->width; i++)
            ret_delta[i] =
                weight * (double)s->scale * (exp((double)z[i] - max) / sum - (i == label ? 1 : 0));
        loss += weight * (log(sum) + max - (double)z[label]);
    }
    return loss;
}

static void losses_and_their_gradients_are_those_of_the_definition(void **state)
{
    (void)state;
    enum {
        ROWS = 9,
        WIDTH_MAX = 70,
    };
    float z[ROWS * WIDTH_MAX], delta[2][ROWS * WIDTH_MAX], labels[ROWS], weights[ROWS];
    double exact[ROWS * WIDTH_MAX];
    uint64_t seed = 6;
    for (int width = 2; width <= WIDTH_MAX; width++) {
        bool has_fused = false;
        fill(z, ROWS * WIDTH_MAX, &seed);
        for (int i = 0; i < ROWS * WIDTH_MAX; i++)
            z[i] *= (float)(1 + width % 30);
        for (int r = 0; r < ROWS; r++) {
            labels[r] = (float)(test_rand(&seed) % (uint64_t)width);
            weights[r] = (float)(r % 4) / 2;
        }
        struct trib_softmax softmax = {.rows = ROWS,
                                       .width = width,
                                       .labels = labels,
                                       .weights = width % 2 ? weights : NULL,
                                       .scale = 1.0f / ROWS};
        const double loss = reference_softmax(&softmax, z, exact);
        for (int s = 0; s < set_count; s++) {
            const int at = is_fused(sets[s]) && has_fused;
            softmax.z = delta[at];
            memcpy(softmax.z, z, sizeof(z));
            const double got = sets[s]->softmax_loss(&softmax);
            if (!(fabs(got - loss) < 1e-6 * ROWS + loss * 0x1p-22))
                fail_msg("%s: %d classes: loss %.9g, not %.9g", sets[s]->name, width, got, loss);
            for (int i = 0; i < ROWS * width; i++)
                assert_true(fabs((double)softmax.z[i] - exact[i]) < 1e-7);
            if (at)
                assert_memory_equal(delta[0], delta[1], (size_t)ROWS * width * sizeof(float));
            has_fused = has_fused || is_fused(sets[s]);
        }
    }
}

static void a_logit_that_is_no_number_shows_in_the_loss(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int s = 0; s < set_count; s++) {
        for (int b = 0; b < 3; b++) {
            for (int at = 0; at < 3; at++) {
                float z[3] = {1, 2, 3};
                const float label = (float)at;
                z[at] = bad[b];
                const struct trib_softmax softmax = {
                    .rows = 1, .width = 3, .z = z, .labels = &label, .scale = 1};
                assert_false(isfinite(sets[s]->softmax_loss(&softmax)));
            }
        }
        float z[3] = {1e30f, -1e30f, 0};
        const float label = 0;
        const struct trib_softmax huge = {
            .rows = 1, .width = 3, .z = z, .labels = &label, .scale = 1};
        const double loss = sets[s]->softmax_loss(&huge);
        assert_true(loss >= 0 && loss < 1e-6);
    }
}

// ---- All of them

// What each fused set makes of the same numbers. The digest was printed by the set for AVX2; the
// one for AVX-512 and, on another machine or in an emulator, that for NEON have to come to it too.
static void fused_sets_come_to_the_recorded_digest(void **state)
{
    (void)state;
    enum {
        M = 37,
        N = 45,
        K = 530,
    };
    static const char expected[] =
        "fe535ae8826ac25a2023373cb56451152209edc12c4912216a96ff898f736a4f";
    uint64_t seed = 7;
    float *a = some(M * K, &seed), *b = some(N * K, &seed), *bias = some(N, &seed);
    float *c = some(2 * M * N, &seed);
    float labels[M];
    for (int i = 0; i < M; i++)
        labels[i] = (float)(test_rand(&seed) % N);
    for (int s = 0; s < set_count; s++) {
        uint8_t digest[TRIB_DIGEST_SIZE];
        char text[TRIB_DIGEST_TEXT_SIZE];
        if (!is_fused(sets[s]))
            continue;
        struct trib_product p = {.m = M,
                                 .n = N,
                                 .k = K,
                                 .k2 = 1,
                                 .a = a,
                                 .a_row = K,
                                 .a_step = 1,
                                 .b = b,
                                 .b_row = N,
                                 .c = c,
                                 .c_row = N,
                                 .alpha = 0.25f,
                                 .bias = bias};
        sets[s]->products(&p);
        p.b_row = K;
        p.c = c + M * N;
        sets[s]->dots(&p);
        const struct trib_softmax softmax = {
            .rows = M, .width = N, .z = c, .labels = labels, .scale = 1.0f / M};
        (void)sets[s]->softmax_loss(&softmax);
        sets[s]->sigmoids(c + M * N, M * N);
        trib_digest(c, 2 * M * N * sizeof(*c), digest);
        trib_hex_encode(digest, sizeof(digest), text);
        if (strcmp(text, expected) != 0)
            fail_msg("%s: %s", sets[s]->name, text);
    }
    free(a);
    free(b);
    free(bias);
    free(c);
}

static void one_set_is_chosen_and_nothing_else_is_found(void **state)
{
    (void)state;
    assert_ptr_equal(trib_kernels_find(trib_kernels()->name), trib_kernels());
    assert_non_null(trib_kernels_find("plain"));
    assert_null(trib_kernels_find("avx"));
    assert_null(trib_kernels_find(""));
}

// The last test: nothing above allocated, but what the tests themselves asked for.
static void no_kernel_allocates(void **state)
{
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 6}, b[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, c[6], label[2] = {0, 2};
    const float *rows_of_a[2] = {a, a + 3};
    const struct trib_rows rows = {.count = 2, .width = 3, .x = rows_of_a};
    const size_t before = allocations;
    for (int s = 0; s < set_count; s++) {
        const struct trib_product p = {.m = 2,
                                       .n = 3,
                                       .k = 3,
                                       .k2 = 1,
                                       .a = a,
                                       .a_row = 3,
                                       .a_step = 1,
                                       .b = b,
                                       .b_row = 3,
                                       .c = c,
                                       .c_row = 3,
                                       .alpha = 1};
        const struct trib_softmax softmax = {
            .rows = 2, .width = 3, .z = c, .labels = label, .scale = 1};
        sets[s]->products(&p);
        sets[s]->dots(&p);
        sets[s]->exps(c, 6);
        sets[s]->sigmoids(c, 6);
        (void)sets[s]->softmax_loss(&softmax);
        sets[s]->row_dots(&rows, b, c);
        sets[s]->row_steps(&rows, b, 1, c);
    }
    assert_true(allocations == before);
    free(trib_alloc(1));
    assert_true(allocations > before); // they are counted at all
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_all_small_sizes_are_right_and_of_the_same_bits),
        cmocka_unit_test(nothing_is_read_where_beta_is_zero),
        cmocka_unit_test(large_products_are_right_and_of_the_same_bits),
        cmocka_unit_test(a_second_sum_goes_over_the_rows_of_a_window),
        cmocka_unit_test(rows_apart_are_summed_like_rows_together),
        cmocka_unit_test(exponentials_are_within_their_bounds),
        cmocka_unit_test(exponentials_have_the_right_ends),
        cmocka_unit_test(losses_and_their_gradients_are_those_of_the_definition),
        cmocka_unit_test(a_logit_that_is_no_number_shows_in_the_loss),
        cmocka_unit_test(fused_sets_come_to_the_recorded_digest),
        cmocka_unit_test(one_set_is_chosen_and_nothing_else_is_found),
        cmocka_unit_test(no_kernel_allocates),
    };
    trib_crypto_init();
    for (int i = 0; i < NAMES; i++) {
        sets[set_count] = trib_kernels_find(names[i]);
        if (sets[set_count])
            print_message("kernels: %s\n", sets[set_count++]->name);
    }
    return RUN_TESTS(tests);
}
