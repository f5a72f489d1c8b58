// Every set of kernels that this processor can run, against sums in double, and against each other;
// products are in test_kernels_products.c.
#include "tests/unit/kernels_rig.h"

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "tests/unit/allocations.h"

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
        cmocka_unit_test(rows_apart_are_summed_like_rows_together),
        cmocka_unit_test(exponentials_are_within_their_bounds),
        cmocka_unit_test(exponentials_have_the_right_ends),
        cmocka_unit_test(losses_and_their_gradients_are_those_of_the_definition),
        cmocka_unit_test(a_logit_that_is_no_number_shows_in_the_loss),
        cmocka_unit_test(fused_sets_come_to_the_recorded_digest),
        cmocka_unit_test(one_set_is_chosen_and_nothing_else_is_found),
        cmocka_unit_test(no_kernel_allocates),
    };
    rig_find_sets();
    return RUN_TESTS(tests);
}
