// Steps from covariances: projection and selection, and the eigenvectors behind them.
#include "tests/unit/prepare_rig.h"

#include "common/base/rand.h"
#include "common/math/eigen.h"

static void eigenvectors_give_back_their_matrix(void **state)
{
    (void)state;
    enum {
        N = 12
    };
    static double a[N * N];
    static double copy[N * N];
    static double vectors[N * N];
    double values[N];
    struct trib_rng rng;
    trib_rng_init(&rng, 1, "eigen", 0, NULL);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = i; k < N; k++)
            a[i * N + k] = a[k * N + i] = trib_rng_normal(&rng) * exp((double)(i % 4));
    }
    memcpy(copy, a, sizeof(a));
    trib_eigen_symmetric(copy, N, values, vectors);
    for (size_t i = 0; i < N; i++) {
        assert_true(i == 0 || values[i] <= values[i - 1]);
        for (size_t k = 0; k < N; k++) {
            double inner = 0;
            double product = 0; // of row i of a with vector k
            double back = 0;    // sum of value v v^T
            for (size_t j = 0; j < N; j++) {
                inner += vectors[i * N + j] * vectors[k * N + j];
                product += a[i * N + j] * vectors[k * N + j];
                back += values[j] * vectors[j * N + i] * vectors[j * N + k];
            }
            assert_true(fabs(inner - (i == k)) < 1e-12);
            assert_true(fabs(product - values[k] * vectors[k * N + i]) < 1e-10);
            assert_true(fabs(back - a[i * N + k]) < 1e-10);
        }
    }
}

static void eigenvectors_have_one_sign(void **state)
{
    (void)state;
    double a[] = {2, -1, -1, 2}; // values 3 and 1, vectors (1, -1) and (1, 1)
    double values[2];
    double vectors[4];
    trib_eigen_symmetric(a, 2, values, vectors);
    assert_true(fabs(values[0] - 3) < 1e-15 && fabs(values[1] - 1) < 1e-15);
    assert_true(vectors[0] > 0 && vectors[1] < 0 && vectors[2] > 0 && vectors[3] > 0);
}

enum {
    ROWS = 5000,
    WIDE = 5,
    COLUMNS = WIDE + 1,
    COMPONENTS = 2,
};

static const char five[] = "[column a]\n[column b]\n[column c]\n[column d]\n[column e]\n";

// Two directions with much variance, noise in all, far from 0; a label that follows the first.
static void make_rows(double rows[ROWS][COLUMNS])
{
    static const double directions[COMPONENTS][WIDE] = {{1, 2, 0, -1, 0.5}, {0, 1, -3, 0, 1}};
    struct trib_rng rng;
    trib_rng_init(&rng, 8, "pca", 0, NULL);
    for (size_t r = 0; r < ROWS; r++) {
        const double t[COMPONENTS] = {3 * trib_rng_normal(&rng), 2 * trib_rng_normal(&rng)};
        for (size_t i = 0; i < WIDE; i++)
            rows[r][i] = 1000 + directions[0][i] * t[0] + directions[1][i] * t[1] +
                         0.3 * trib_rng_normal(&rng);
        rows[r][WIDE] = t[0] > 0;
    }
}

// The leading eigenvectors of the pooled covariance by orthogonal iteration, in long double:
// another way than the library's.
static void pooled_subspace(double rows[ROWS][COLUMNS], long double q[COMPONENTS][WIDE])
{
    long double mean[WIDE] = {0};
    long double c[WIDE][WIDE] = {{0}};
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < WIDE; i++)
            mean[i] += (long double)rows[r][i] / ROWS;
    }
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = 0; i < WIDE; i++) {
            for (size_t k = 0; k < WIDE; k++)
                c[i][k] +=
                    ((long double)rows[r][i] - mean[i]) * ((long double)rows[r][k] - mean[k]);
        }
    }
    for (size_t v = 0; v < COMPONENTS; v++) {
        for (size_t i = 0; i < WIDE; i++)
            q[v][i] = i == v;
    }
    for (int round = 0; round < 200; round++) {
        for (size_t v = 0; v < COMPONENTS; v++) {
            long double next[WIDE] = {0};
            long double norm = 0;
            for (size_t i = 0; i < WIDE; i++) {
                for (size_t k = 0; k < WIDE; k++)
                    next[i] += c[i][k] * q[v][k];
            }
            for (size_t w = 0; w < v; w++) {
                long double inner = 0;
                for (size_t i = 0; i < WIDE; i++)
                    inner += next[i] * q[w][i];
                for (size_t i = 0; i < WIDE; i++)
                    next[i] -= inner * q[w][i];
            }
            for (size_t i = 0; i < WIDE; i++)
                norm += next[i] * next[i];
            for (size_t i = 0; i < WIDE; i++)
                q[v][i] = next[i] / sqrtl(norm);
        }
    }
}

static void a_projection_over_shards_is_that_of_the_pooled_rows(void **state)
{
    (void)state;
    static double rows[ROWS][COLUMNS];
    static float x[ROWS * COMPONENTS];
    long double q[COMPONENTS][WIDE];
    make_rows(rows);
    pooled_subspace(rows, q);
    struct trib_schema *schema = rig_schema(five);
    struct trib_prepare *prepare = rig_parse(schema, "[step pca]\ncolumns = numbers\n");
    assert_int_equal(trib_prepare_features(prepare), COMPONENTS);
    assert_string_equal(trib_prepare_feature_name(prepare, 1), "pca 2");
    rig_fit(prepare, &rows[0][0], ROWS, COLUMNS, 1000);
    struct trib_buf text = {0};
    double fitted[1 + WIDE + COMPONENTS * WIDE + COMPONENTS];
    size_t count = 0;
    trib_prepare_write(prepare, &text);
    for (char *at = (char *)text.data; (at = strstr(at, "\nfitted = "));) {
        const char *end = strchr(at + 1, '\n');
        for (at += strlen("\nfitted = "); at < end;)
            fitted[count++] = strtod(at, &at);
    }
    trib_buf_fini(&text);
    assert_int_equal(count, sizeof(fitted) / sizeof(fitted[0]));
    // sin of the largest angle between the subspaces is at most the norm of what sticks out.
    long double out = 0;
    for (size_t v = 0; v < COMPONENTS; v++) {
        long double rest[WIDE];
        for (size_t i = 0; i < WIDE; i++)
            rest[i] = (long double)fitted[1 + WIDE + v * WIDE + i];
        for (size_t w = 0; w < COMPONENTS; w++) {
            long double inner = 0;
            for (size_t i = 0; i < WIDE; i++)
                inner += (long double)fitted[1 + WIDE + v * WIDE + i] * q[w][i];
            for (size_t i = 0; i < WIDE; i++)
                rest[i] -= inner * q[w][i];
        }
        for (size_t i = 0; i < WIDE; i++)
            out += rest[i] * rest[i];
    }
    if (sqrtl(out) > 1e-6L)
        fail_msg("the subspaces are %Lg apart", sqrtl(out));
    // The features are centred, and vary as the fitted variances say.
    assert_int_equal(rig_apply(prepare, &rows[0][0], ROWS, COLUMNS, x), ROWS);
    for (size_t v = 0; v < COMPONENTS; v++) {
        double sum = 0;
        double square = 0;
        for (size_t r = 0; r < ROWS; r++) {
            sum += (double)x[r * COMPONENTS + v];
            square += (double)x[r * COMPONENTS + v] * (double)x[r * COMPONENTS + v];
        }
        const double variance = fitted[1 + WIDE + COMPONENTS * WIDE + v];
        assert_true(fabs(sum / ROWS) < 1e-5);
        assert_true(fabs(square / ROWS - variance) < 1e-5 * variance);
    }
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void planted_noise_columns_are_removed(void **state)
{
    (void)state;
    // a: says something; b: noise; c: the same as a; d: hardly varies; e: says something else
    static double rows[ROWS][COLUMNS];
    struct trib_rng rng;
    float x[WIDE];
    trib_rng_init(&rng, 6, "select", 0, NULL);
    for (size_t r = 0; r < ROWS; r++) {
        const double a = trib_rng_normal(&rng);
        const double e = trib_rng_normal(&rng);
        const double row[COLUMNS] = {
            a, trib_rng_normal(&rng), 2 * a + 1e-3 * trib_rng_normal(&rng), 5, e, a + e > 0};
        memcpy(rows[r], row, sizeof(row));
        rows[r][3] += 1e-4 * trib_rng_normal(&rng);
    }
    struct trib_schema *schema = rig_schema(five);
    struct trib_prepare *prepare =
        rig_parse(schema, "[step select]\ncolumns = numbers\nmin_variance = 1e-6\n"
                          "max_correlation = 0.99\nmin_label_correlation = 0.1\n");
    rig_listen();
    rig_fit(prepare, &rows[0][0], ROWS, COLUMNS, 100);
    trib_log_set_sink(NULL, NULL);
    static const char *const removed[] = {"b is 0 from now on: its correlation with the label",
                                          "c is 0 from now on: its correlation with a column",
                                          "d is 0 from now on: its variance"};
    for (size_t i = 0; i < sizeof(removed) / sizeof(removed[0]); i++) {
        char wanted[128];
        (void)snprintf(wanted, sizeof(wanted), "id=prepare-removed step=select column=%s",
                       removed[i]);
        assert_non_null(strstr(rig_log, wanted));
    }
    assert_null(strstr(rig_log, "column=a"));
    assert_null(strstr(rig_log, "column=e"));
    assert_int_equal(trib_prepare_features(prepare), WIDE); // the columns stay where they are
    assert_int_equal(rig_apply(prepare, &rows[0][0], 1, COLUMNS, x), 1);
    assert_true(x[0] == (float)rows[0][0] && x[4] == (float)rows[0][4]);
    assert_true(x[1] == 0 && x[2] == 0 && x[3] == 0);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void rows_without_all_columns_do_not_count(void **state)
{
    (void)state;
    static const double rows[][COLUMNS] = {
        {1, 0, 0, 0, 0, 0}, {-1, 0, 0, 0, 0, 1}, {1000, RIG_NAN, 0, 0, 0, 0}};
    struct trib_schema *schema = rig_schema(five);
    struct trib_prepare *prepare =
        rig_parse(schema, "[step pca]\ncolumns = numbers\ncomponents = 1\n");
    float x[3];
    rig_fit(prepare, &rows[0][0], 3, COLUMNS, 2);
    assert_int_equal(rig_apply(prepare, &rows[0][0], 3, COLUMNS, x), 2);
    assert_true(x[0] == 1 && x[1] == -1);
    trib_prepare_destroy(prepare);
    prepare = rig_parse(schema, "[step pca]\ncolumns = numbers\ncomponents = 1\n");
    rig_listen();
    rig_fit(prepare, &rows[0][0], 0, COLUMNS, 1);
    trib_log_set_sink(NULL, NULL);
    assert_non_null(strstr(rig_log, "id=prepare-all-missing step=pca"));
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void what_is_dropped_is_no_feature_and_may_be_missing(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema("[column a]\n[column colour]\ntype = category\n"
                                            "values = red | blue\nother = no\n[column b]\n");
    struct trib_prepare *prepare = rig_parse(
        schema, "[step onehot]\ncolumns = colour\n[step drop]\ncolumns = colour=red | a\n");
    const double row[] = {(double)NAN, 1, 7, 0}; // a, blue, b, the label
    struct trib_prepare_run *run;
    float x[2], weight;
    char why[256];
    assert_int_equal(trib_prepare_features(prepare), 2);
    assert_string_equal(trib_prepare_feature_name(prepare, 0), "colour=blue");
    assert_string_equal(trib_prepare_feature_name(prepare, 1), "b");
    assert_true(trib_prepare_is_fitted(prepare));
    assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
    assert_int_equal(trib_prepare_row(run, row, x, &weight), TRIB_PREPARE_KEPT);
    assert_true(x[0] == 1 && x[1] == 7 && weight == 1);
    trib_prepare_run_destroy(run);
    trib_prepare_destroy(prepare);
    static const char *const wrong[] = {
        "[step drop]\ncolumns = all\n", "[step drop]\n", "[step drop]\ncolumns = y\n",
        "[step drop]\ncolumns = a\n[step standardise]\ncolumns = a\n"};
    static const char *const said[] = {"makes 0 features", "wants columns", "is the label",
                                       "was taken by a step before"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(trib_prepare_parse(wrong[i], strlen(wrong[i]), "p.ini", schema, &prepare,
                                            why, sizeof(why)),
                         TRIB_ERR_INVAL);
        assert_non_null(strstr(why, said[i]));
    }
    trib_schema_destroy(schema);
}

static void covariances_have_bounds(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema("[column a]\nmin = 0\nmax = 2\n[column b]\nmin = -1\n"
                                            "max = 3\n");
    struct trib_prepare *prepare =
        rig_parse(schema, "[step select]\ncolumns = a | b\nmin_variance = 1\n");
    static const double first[] = {1, 2, 3, 1};                     // n, a, b, the label
    static const double second[] = {1, 2, 4, 1, 4, 8, 2, 16, 4, 1}; // spans and their products
    const double zero[10] = {0};
    double bounds[10];
    assert_int_equal(trib_prepare_sum_count(prepare), 4);
    assert_int_equal(trib_prepare_bounds(prepare, bounds, rig_why, sizeof(rig_why)), TRIB_OK);
    assert_memory_equal(bounds, first, sizeof(first));
    rig_listen();
    assert_int_equal(trib_prepare_advance(prepare, zero, 0), TRIB_OK);
    trib_log_set_sink(NULL, NULL);
    assert_int_equal(trib_prepare_sum_count(prepare), 10);
    assert_int_equal(trib_prepare_bounds(prepare, bounds, rig_why, sizeof(rig_why)), TRIB_OK);
    assert_memory_equal(bounds, second, sizeof(second));
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigenvectors_give_back_their_matrix),
        cmocka_unit_test(eigenvectors_have_one_sign),
        cmocka_unit_test(a_projection_over_shards_is_that_of_the_pooled_rows),
        cmocka_unit_test(planted_noise_columns_are_removed),
        cmocka_unit_test(rows_without_all_columns_do_not_count),
        cmocka_unit_test(what_is_dropped_is_no_feature_and_may_be_missing),
        cmocka_unit_test(covariances_have_bounds),
    };
    return RUN_TESTS(tests);
}
