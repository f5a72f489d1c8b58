// Products of matrices by every set of kernels, against sums in double, and against each other.
#include "tests/unit/kernels_rig.h"

enum {
    SIDE = 40,      // edges up to this are all tried
    ROW = SIDE + 5, // of a matrix in memory: more than its columns
};

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
    static float c[SETS_MAX][ROW * ROW];
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_all_small_sizes_are_right_and_of_the_same_bits),
        cmocka_unit_test(nothing_is_read_where_beta_is_zero),
        cmocka_unit_test(large_products_are_right_and_of_the_same_bits),
        cmocka_unit_test(a_second_sum_goes_over_the_rows_of_a_window),
    };
    rig_find_sets();
    return RUN_TESTS(tests);
}
