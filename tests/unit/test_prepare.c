#include "tests/unit/prepare_rig.h"

#include "common/base/rand.h"

// Fit a pipeline on rows of one column `a` and a label; what the rows become.
static size_t prepared(const char *columns, const char *text, const double *a, size_t rows,
                       float *x)
{
    struct trib_schema *schema = rig_schema(columns);
    struct trib_prepare *prepare = rig_parse(schema, text);
    double values[64][2];
    assert_true(rows <= 64 && schema->count == 2);
    for (size_t r = 0; r < rows; r++) {
        values[r][0] = a[r];
        values[r][1] = 0;
    }
    rig_fit(prepare, &values[0][0], rows, 2, 3);
    const size_t kept = rig_apply(prepare, &values[0][0], rows, 2, x);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
    return kept;
}

static void assert_near(float got, double wanted)
{
    if (!(fabs((double)got - wanted) <= 1e-6 * fmax(1, fabs(wanted))))
        fail_msg("got %.9g, wanted %.9g", (double)got, wanted);
}

// ---- Text

static void a_text_written_and_read_again_is_the_same(void **state)
{
    (void)state;
    static const double rows[4][4] = {
        {1, 5, 0, 0}, {RIG_NAN, 6, 1, 1}, {2.5, 0.1, RIG_NAN, 0}, {3, 7, 0, 1}};
    struct trib_schema *schema = rig_schema(RIG_THREE);
    struct trib_prepare *prepare = rig_parse(
        schema, "# a comment\n[step impute]\ncolumns = a\nwith = median\nindicator = yes\n"
                "[step standardise]\ncolumns = numbers\n"
                "[step bin]\ncolumns = b\nedges = -1 | 0\n");
    assert_int_equal(trib_prepare_passes_left(prepare), 5); // the median, then the moments
    for (;;) {
        struct trib_buf text = {0};
        struct trib_buf again = {0};
        uint8_t digest[2][TRIB_DIGEST_SIZE];
        trib_prepare_write(prepare, &text);
        struct trib_prepare *copy = rig_parse(schema, (const char *)text.data);
        trib_prepare_write(copy, &again);
        assert_string_equal((const char *)text.data, (const char *)again.data);
        assert_int_equal(trib_prepare_digest(prepare, digest[0]), TRIB_OK);
        assert_int_equal(trib_prepare_digest(copy, digest[1]), TRIB_OK);
        assert_memory_equal(digest[0], digest[1], TRIB_DIGEST_SIZE);
        assert_int_equal(trib_prepare_passes_left(copy), trib_prepare_passes_left(prepare));
        assert_int_equal(trib_prepare_sum_count(copy), trib_prepare_sum_count(prepare));
        trib_prepare_destroy(prepare);
        prepare = copy; // from here on the text has all of the state
        trib_buf_fini(&text);
        trib_buf_fini(&again);
        if (trib_prepare_is_fitted(prepare))
            break;
        struct trib_prepare_sums sums;
        struct trib_prepare_run *run;
        double *totals = calloc(trib_prepare_sum_count(prepare), sizeof(double));
        assert_int_equal(trib_prepare_sums_init(&sums, prepare), TRIB_OK);
        assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
        for (size_t r = 0; r < 4; r++)
            trib_prepare_gather(run, rows[r], &sums);
        trib_prepare_sums_total(&sums, totals);
        assert_int_equal(trib_prepare_advance(prepare, totals, 0), TRIB_OK);
        free(totals);
        trib_prepare_run_destroy(run);
        trib_prepare_sums_fini(&sums);
    }
    static const char *const names[] = {"a",   "a missing", "b=0",    "b=1",    "b=2",
                                        "b=3", "c=red",     "c=blue", "c=other"};
    assert_int_equal(trib_prepare_features(prepare), 9);
    for (size_t i = 0; i < 9; i++)
        assert_string_equal(trib_prepare_feature_name(prepare, i), names[i]);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void what_is_no_pipeline_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"with = mean\n", "p.ini:1: a key before the first section"},
        {"[step impute\n", "p.ini:1: a section ends with ']'"},
        {"[prepare]\n", "p.ini:1: section [prepare]: there are [schema] and [step KIND]"},
        {"[step paint]\n", "p.ini:1: there is no step 'paint'; there are impute, outlier"},
        {"\n[step impute]\nwith = mean\n", "p.ini:2: step impute wants columns"},
        {"[step impute]\ncolumns = z\n", "p.ini:2: there is no column 'z'"},
        {"[step impute]\ncolumns = y\n", "p.ini:2: column 'y' is the label"},
        {"[step impute]\ncolumns = a | a\n", "p.ini:2: column 'a' is there twice"},
        {"[step impute]\ncolumns = a\nwith = magic\n", "p.ini:3: with must be one of drop|mean"},
        {"[step impute]\ncolumns = a\nclip = 3\n", "p.ini:3: clip is not a key of step impute"},
        {"[step impute]\ncolumns = a\nindicator = 1\n", "p.ini:3: indicator must be yes or no"},
        {"[step impute]\ncolumns = a\nwith = constant\n", "p.ini:1: value wants a number"},
        {"[step impute]\ncolumns = a\nvalue = 3\n", "p.ini:1: value is for with = constant"},
        {"[step impute]\ncolumns = c\n", "p.ini:1: column 'c' is a category"},
        {"[step impute]\ncolumns = a\nwith = mode\n", "p.ini:1: column 'a' has no mode"},
        {"[step impute]\ncolumns = c\nwith = constant\nvalue = green\n",
         "p.ini:1: value 'green' is none of column 'c'"},
        {"[step standardise]\ncolumns = c\n", "p.ini:2: column 'c' is a category, which"},
        {"[step standardise]\ncolumns = a\nclip = -1\n", "p.ini:3: clip must be from 0 to"},
        {"[step standardise]\ncolumns = a\nclip = x\n", "p.ini:3: clip wants a number"},
        {"[step standardise]\ncolumns = a\nnonsense\n", "p.ini:3: neither a section nor"},
        {"[step onehot]\ncolumns = c\n[step impute]\ncolumns = c\n",
         "p.ini:4: column 'c' was taken by a step before this one"},
        {"[step minmax]\ncolumns = a\nfrom = declared\n", "p.ini:1: column 'a' has no declared"},
        {"[step minmax]\ncolumns = a\nlow = 2\n", "p.ini:1: low must be below high"},
        {"[step outlier]\ncolumns = a\nby = quantile\nlower = 0.9\nupper = 0.1\n",
         "p.ini:1: lower must be below upper"},
        {"[step bin]\ncolumns = a\n", "p.ini:1: by = edges wants edges"},
        {"[step bin]\ncolumns = a\nedges = 2 | 1\n", "p.ini:3: edges must not fall"},
        {"[step bin]\ncolumns = a\nedges = 1 | x\n", "p.ini:3: edges wants numbers"},
        {"[step bin]\ncolumns = a\nby = range\nbins = 4\n", "p.ini:1: column 'a' has no declared"},
        {"[step hash]\ncolumns = c\nbuckets = 1.5\n", "p.ini:3: buckets must be from"},
        {"[step hash]\ncolumns = c\nbuckets = 2.5\n", "p.ini:3: buckets wants a whole number"},
        {"[step interact]\ncolumns = a\n", "p.ini:1: interact wants two columns"},
        {"[step impute]\ncolumns = a\nindicator = yes\n[step impute]\ncolumns = a\nindicator = yes\n",
         "p.ini:4: step impute makes 'a missing', which is there already"},
        {"[step interact]\ncolumns = a | b\n[step interact]\ncolumns = a | b\n",
         "p.ini:3: step interact makes 'a * b', which is there already"},
        {"[schema]\ndigest = 00\n", "p.ini:2: the pipeline is for another schema"},
        {"[schema]\nname = s\n", "p.ini:2: name is not a key of [schema]"},
        {"[step log1p]\ncolumns = a\n[schema]\n", "p.ini:3: [schema] comes before the steps"},
        {"[step standardise]\ncolumns = a\npasses = 3\n", "p.ini:1: step standardise has 2 passes"},
        {"[step standardise]\ncolumns = a\npasses = 1\nfitted = 1 2\n",
         "p.ini:1: step standardise after 1 passes has found 3 numbers, not 2"},
        {"[step standardise]\ncolumns = a\nfitted = 1 inf 2\n", "p.ini:3: fitted wants numbers"},
        {"[step impute]\ncolumns = a\n[step standardise]\ncolumns = a\npasses = 1\nfitted = 1 2 3\n",
         "step 2 (standardise) has had a pass before one that it depends on"},
    };
    struct trib_schema *schema = rig_schema(RIG_THREE);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trib_prepare *prepare = NULL;
        rig_why[0] = '\0';
        assert_int_equal(trib_prepare_parse(cases[i].text, strlen(cases[i].text), "p.ini", schema,
                                            &prepare, rig_why, sizeof(rig_why)),
                         TRIB_ERR_INVAL);
        assert_null(prepare);
        if (!strstr(rig_why, cases[i].reason))
            fail_msg("case %zu says '%s', wanted '%s'", i, rig_why, cases[i].reason);
    }
    trib_schema_destroy(schema);
}

static void a_text_for_another_schema_is_refused(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(RIG_THREE);
    struct trib_schema *other = rig_schema(RIG_THREE "values = green\n");
    struct trib_prepare *prepare = rig_parse(schema, "[step log1p]\ncolumns = a\n");
    struct trib_prepare *none = NULL;
    struct trib_buf text = {0};
    trib_prepare_write(prepare, &text);
    assert_int_equal(trib_prepare_parse((const char *)text.data, text.size, "p", other, &none,
                                        rig_why, sizeof(rig_why)),
                     TRIB_ERR_INVAL);
    assert_non_null(strstr(rig_why, "the pipeline is for another schema"));
    trib_buf_fini(&text);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(other);
    trib_schema_destroy(schema);
}

// ---- Steps

static void missing_values_become_what_the_fleet_says(void **state)
{
    (void)state;
    static const double a[] = {RIG_NAN, 1, 2, RIG_NAN, 3, 10, 3};
    static const struct {
        const char *text;
        double wanted[2]; // of rows 0 and 3
    } cases[] = {
        {"with = mean", {3.8, 3.8}},  {"with = median", {3, 3}},
        {"with = mode", {3, 3}},      {"with = constant\nvalue = -2", {-2, -2}},
        {"with = forward", {3.8, 2}},
    };
    float x[32];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "[step impute]\ncolumns = a\nindicator = yes\n%s\n",
                       cases[i].text);
        assert_int_equal(prepared("[column a]\ntype = int\nmin = 0\nmax = 20\n", text, a, 7, x), 7);
        for (size_t r = 0; r < 7; r++) {
            const bool is_missing = r == 0 || r == 3;
            assert_near(x[2 * r], is_missing ? cases[i].wanted[r == 3] : a[r]);
            assert_near(x[2 * r + 1], is_missing);
        }
    }
    assert_int_equal(prepared(RIG_NUMBER, "[step impute]\ncolumns = a\nwith = drop\n", a, 7, x), 5);
    assert_near(x[0], 1);
    assert_near(x[4], 3);
    // A row that nobody completes is no row.
    assert_int_equal(prepared(RIG_NUMBER, "[step log1p]\ncolumns = a\n", a, 7, x), 5);
}

static void a_missing_category_becomes_the_most_frequent(void **state)
{
    (void)state;
    static const double a[] = {RIG_NAN, 1, 1, 0, 2};
    static const char columns[] = "[column a]\ntype = category\nvalues = red | blue\n";
    float x[15];
    assert_int_equal(prepared(columns, "[step impute]\ncolumns = a\nwith = mode\n", a, 5, x), 5);
    assert_true(x[0] == 0 && x[1] == 1 && x[2] == 0);
    assert_true(x[12] == 0 && x[13] == 0 && x[14] == 1); // unlisted: other
    assert_int_equal(prepared(columns, "", a, 5, x), 5);
    assert_true(x[0] == 0 && x[1] == 0 && x[2] == 1); // missing: other too
}

static void scales_are_those_of_the_fleet(void **state)
{
    (void)state;
    static const double a[] = {2, 4, 4, 4, 5, 5, 7, 9};
    float x[8];
    assert_int_equal(prepared(RIG_NUMBER, "[step standardise]\ncolumns = a\n", a, 8, x), 8);
    for (size_t i = 0; i < 8; i++)
        assert_near(x[i], (a[i] - 5) / 2); // mean 5, standard deviation 2
    (void)prepared(RIG_NUMBER, "[step standardise]\ncolumns = a\nclip = 1\n", a, 8, x);
    assert_near(x[0], -1);
    assert_near(x[7], 1);
    (void)prepared(RIG_NUMBER, "[step minmax]\ncolumns = a\nlow = -1\n", a, 8, x);
    for (size_t i = 0; i < 8; i++)
        assert_near(x[i], (a[i] - 2) / 7 * 2 - 1);
    (void)prepared(RIG_NUMBER "min = 0\nmax = 10\n",
                   "[step minmax]\ncolumns = a\nfrom = declared\n", a, 8, x);
    for (size_t i = 0; i < 8; i++)
        assert_near(x[i], a[i] / 10);
}

static void a_function_and_its_inverse_give_back_the_value(void **state)
{
    (void)state;
    static const double a[] = {0, 1e-9, -3.5, 12345.678, -1e6, 0.1};
    float x[6];
    (void)prepared(RIG_NUMBER, "[step log1p]\ncolumns = a\n", a, 6, x);
    assert_near(x[3], log1p(12345.678));
    assert_near(x[2], -log1p(3.5));
    (void)prepared(RIG_NUMBER, "[step log1p]\ncolumns = a\n[step expm1]\ncolumns = a\n", a, 6, x);
    for (size_t i = 0; i < 6; i++)
        assert_true(fabs((double)x[i] - a[i]) <= 1e-7 * fabs(a[i]));
    (void)prepared(RIG_NUMBER,
                   "[step power]\ncolumns = a\nexponent = 0.25\n"
                   "[step power]\ncolumns = a\nexponent = 4\n",
                   a, 6, x);
    for (size_t i = 0; i < 6; i++)
        assert_true(fabs((double)x[i] - a[i]) <= 1e-7 * fabs(a[i]));
}

static void bins_stand_where_they_are_whatever_the_edges(void **state)
{
    (void)state;
    static const double a[] = {-(double)INFINITY, -1, 0, 0.5, 1, 2, (double)INFINITY, RIG_NAN};
    static const size_t wanted[] = {0, 0, 2, 2, 4, 4, 4, 5}; // edges 0 | 0 | 1 | 1
    float x[8 * 6];
    assert_int_equal(
        prepared(RIG_NUMBER, "[step bin]\ncolumns = a\nedges = 0 | 0 | 1 | 1\n", a, 8, x), 8);
    for (size_t r = 0; r < 8; r++) {
        for (size_t k = 0; k < 6; k++)
            assert_true(x[r * 6 + k] == (k == wanted[r]));
    }
    static const double b[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8};
    assert_int_equal(
        prepared(RIG_NUMBER, "[step bin]\ncolumns = a\nby = quantiles\nbins = 4\n", b, 8, x), 8);
    for (size_t r = 0; r < 8; r++)
        assert_true(x[r * 5 + (r + 1) / 2 - (r == 7)] == 1 || r == 7);
    static const double same[] = {3, 3, 3, 3};
    assert_int_equal(
        prepared(RIG_NUMBER, "[step bin]\ncolumns = a\nby = quantiles\nbins = 4\n", same, 4, x), 4);
    for (size_t r = 0; r < 4; r++)
        assert_true(x[r * 5 + 3] == 1); // one value: all edges are equal, one bin has it
}

static void an_unseen_category_never_shifts_columns(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(RIG_THREE "[column id]\ntype = text\nrole = id\n");
    struct trib_prepare *prepare =
        rig_parse(schema, "[step hash]\ncolumns = id\nbuckets = 8\n[step log1p]\ncolumns = a\n");
    const size_t features = trib_prepare_features(prepare);
    assert_int_equal(features, 2 + 3 + 8);
    static const char *const names[] = {"ann", "bob", "never seen", "", "x"};
    for (size_t i = 0; i < 5; i++) {
        // an unlisted value has the index 2; missing is NaN
        const double row[] = {1, 7,
                              i < 2    ? (double)i
                              : i == 2 ? 2
                                       : RIG_NAN,
                              i == 3 ? RIG_NAN : trib_schema_text_number(names[i]), 0};
        float x[13];
        double flags = 0;
        assert_int_equal(rig_apply(prepare, row, 1, 5, x), 1);
        assert_true(x[1] == 7); // where it always is
        assert_true(x[2 + (i < 2 ? i : 2)] == 1);
        for (size_t k = 2; k < features; k++)
            flags += (double)x[k];
        assert_true(flags == 2); // one level and one bucket
    }
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void buckets_depend_on_text_and_seed_alone(void **state)
{
    (void)state;
    // The same values as a category and as a text: the same buckets, on every machine.
    static const char pipeline[] = "[step hash]\ncolumns = c | id\nbuckets = 1000\nseed = 7\n";
    struct trib_schema *schema = rig_schema(
        "[column c]\ntype = category\nvalues = red | blue\n[column id]\ntype = text\nrole = id\n");
    struct trib_prepare *prepare = rig_parse(schema, pipeline);
    float x[2000];
    size_t bucket[2] = {1000, 1000};
    for (size_t i = 0; i < 2; i++) {
        const double row[] = {(double)i, trib_schema_text_number(i ? "blue" : "red"), 0};
        assert_int_equal(rig_apply(prepare, row, 1, 3, x), 1);
        assert_memory_equal(x, x + 1000, 1000 * sizeof(*x));
        for (size_t k = 0; k < 1000; k++)
            bucket[i] = x[k] == 1 ? k : bucket[i];
    }
    assert_true(bucket[0] != bucket[1] && bucket[0] < 1000 && bucket[1] < 1000);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void products_stand_behind_all_features(void **state)
{
    (void)state;
    struct trib_schema *schema = rig_schema(RIG_THREE);
    struct trib_prepare *prepare =
        rig_parse(schema, "[step interact]\ncolumns = a | b\nsquares = yes\n");
    static const double row[] = {3, 5, 1, 0};
    static const float wanted[] = {3, 5, 0, 1, 0, 9, 15, 25};
    float x[8];
    assert_int_equal(trib_prepare_features(prepare), 8);
    assert_int_equal(rig_apply(prepare, row, 1, 4, x), 1);
    assert_memory_equal(x, wanted, sizeof(x));
    assert_string_equal(trib_prepare_feature_name(prepare, 6), "a * b");
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

// ---- Outliers

enum {
    SPIKES_ROWS = 10000
};

static void planted_spikes_are_found(void **state)
{
    (void)state;
    static const char *const ways[] = {"by = zscore", "by = iqr\nlimit = 2", "by = mad",
                                       "by = quantile\nlower = 0.007\nupper = 0.993"};
    static double rows[SPIKES_ROWS][2];
    static bool is_spike[SPIKES_ROWS];
    static float x[SPIKES_ROWS];
    struct trib_rng rng;
    trib_rng_init(&rng, 5, "spikes", 0, NULL);
    size_t spikes = 0;
    for (size_t r = 0; r < SPIKES_ROWS; r++) {
        is_spike[r] = trib_rng_real(&rng) < 0.01;
        spikes += is_spike[r];
        const double side = trib_rng_real(&rng) < 0.5 ? -10 : 10;
        rows[r][0] = 100 + 4 * (trib_rng_normal(&rng) + (is_spike[r] ? side : 0));
    }
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "[step outlier]\ncolumns = a\n%s\n", ways[w]);
        struct trib_schema *schema = rig_schema(RIG_NUMBER);
        struct trib_prepare *prepare = rig_parse(schema, text);
        rig_fit(prepare, &rows[0][0], SPIKES_ROWS, 2, 10);
        assert_int_equal(rig_apply(prepare, &rows[0][0], SPIKES_ROWS, 2, x), SPIKES_ROWS);
        size_t found = 0;
        size_t wrong = 0;
        for (size_t r = 0; r < SPIKES_ROWS; r++) {
            const bool is_touched = x[r] != (float)rows[r][0];
            found += is_touched && is_spike[r];
            wrong += is_touched && !is_spike[r];
        }
        if ((double)found < 0.95 * (double)spikes ||
            (double)wrong > 0.01 * (double)(SPIKES_ROWS - spikes))
            fail_msg("%s: %zu of %zu found, %zu wrongly", ways[w], found, spikes, wrong);
        trib_prepare_destroy(prepare);
        trib_schema_destroy(schema);
    }
}

static void outliers_are_clipped_dropped_or_forgotten(void **state)
{
    (void)state;
    static const double a[] = {1, 2, 3, 4, 5, 6, 7, 1000};
    static const char pipeline[] = "[step outlier]\ncolumns = a\nby = iqr\n";
    float x[8];
    char text[256];
    assert_int_equal(prepared(RIG_NUMBER, pipeline, a, 8, x), 8);
    assert_near(x[7], 6 + 1.5 * 4); // quartiles 2 and 6
    (void)snprintf(text, sizeof(text), "%sact = drop\n", pipeline);
    assert_int_equal(prepared(RIG_NUMBER, text, a, 8, x), 7);
    assert_near(x[6], 7);
    (void)snprintf(text, sizeof(text), "%sact = missing\n[step impute]\ncolumns = a\n", pipeline);
    assert_int_equal(prepared(RIG_NUMBER, text, a, 8, x), 8);
    assert_near(x[7], 4); // the mean of the others
}

static void a_run_tells_what_was_touched(void **state)
{
    (void)state;
    static const double rows[][2] = {{1, 0}, {2, 0}, {3, 0}, {RIG_NAN, 0}, {100, 0}};
    struct trib_schema *schema = rig_schema(RIG_NUMBER);
    struct trib_prepare *prepare = rig_parse(
        schema, "[step outlier]\ncolumns = a\nby = quantile\nlower = 0\nupper = 0.75\nact = drop\n"
                "[step impute]\ncolumns = a\n");
    struct trib_prepare_run *run;
    float x;
    float weight;
    rig_fit(prepare, &rows[0][0], 5, 2, 1);
    assert_int_equal(trib_prepare_run_create(prepare, 0, &run), TRIB_OK);
    for (size_t r = 0; r < 5; r++)
        assert_int_equal(trib_prepare_row(run, rows[r], &x, &weight),
                         r == 4 ? TRIB_PREPARE_DROPPED : TRIB_PREPARE_KEPT);
    struct trib_prepare_tally tally = trib_prepare_run_tally(run, 0);
    assert_string_equal(trib_prepare_step_kind(prepare, 0), "outlier");
    assert_true(tally.values == 5 && tally.touched == 1 && tally.dropped == 1);
    tally = trib_prepare_run_tally(run, 1);
    assert_string_equal(trib_prepare_step_kind(prepare, 1), "impute");
    assert_true(tally.values == 4 && tally.touched == 1 && tally.dropped == 0);
    trib_prepare_run_destroy(run);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

// ---- The special cases, by name

static void columns_without_spread_or_values_are_named(void **state)
{
    (void)state;
    static const double rows[][3] = {{5, RIG_NAN, 0}, {5, RIG_NAN, 1}};
    struct trib_schema *schema = rig_schema("[column same]\n[column gone]\n");
    struct trib_prepare *prepare = rig_parse(
        schema, "[step outlier]\ncolumns = same\n[step impute]\ncolumns = gone\n"
                "[step standardise]\ncolumns = same | gone\n[step minmax]\ncolumns = same\n");
    float x[4];
    rig_listen();
    rig_fit(prepare, &rows[0][0], 2, 3, 2);
    trib_log_set_sink(NULL, NULL);
    assert_non_null(strstr(rig_log, "id=prepare-constant step=outlier column=same"));
    assert_non_null(strstr(rig_log, "id=prepare-all-missing step=impute column=gone"));
    assert_non_null(strstr(rig_log, "id=prepare-constant step=standardise column=same"));
    assert_non_null(strstr(rig_log, "id=prepare-constant step=standardise column=gone"));
    assert_non_null(strstr(rig_log, "id=prepare-constant step=minmax column=same"));
    assert_int_equal(rig_apply(prepare, &rows[0][0], 2, 3, x), 2);
    assert_true(x[0] == 0 && x[1] == 0 && x[2] == 0 && x[3] == 0);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void a_fleet_without_rows_is_fitted_all_the_same(void **state)
{
    (void)state;
    static const double row[] = {3, 4, 1, 0};
    struct trib_schema *schema = rig_schema(RIG_THREE);
    struct trib_prepare *prepare = rig_parse(
        schema,
        "[step outlier]\ncolumns = a\nby = mad\n[step impute]\ncolumns = a | b\nwith = median\n"
        "[step impute]\ncolumns = c\nwith = mode\n[step minmax]\ncolumns = a\n"
        "[step standardise]\ncolumns = b\n");
    float x[5];
    rig_listen();
    rig_fit(prepare, row, 0, 4, 4);
    trib_log_set_sink(NULL, NULL);
    static const char *const steps[] = {"outlier", "impute", "minmax", "standardise"};
    for (size_t i = 0; i < 4; i++) {
        char wanted[80];
        (void)snprintf(wanted, sizeof(wanted), "id=prepare-all-missing step=%s", steps[i]);
        assert_non_null(strstr(rig_log, wanted));
    }
    assert_int_equal(rig_apply(prepare, row, 1, 4, x), 1);
    assert_true(x[0] == 1 && x[1] == 4 && x[2] == 0 && x[3] == 1 && x[4] == 0);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_written_and_read_again_is_the_same),
        cmocka_unit_test(what_is_no_pipeline_is_refused_with_its_line),
        cmocka_unit_test(a_text_for_another_schema_is_refused),
        cmocka_unit_test(missing_values_become_what_the_fleet_says),
        cmocka_unit_test(a_missing_category_becomes_the_most_frequent),
        cmocka_unit_test(scales_are_those_of_the_fleet),
        cmocka_unit_test(a_function_and_its_inverse_give_back_the_value),
        cmocka_unit_test(bins_stand_where_they_are_whatever_the_edges),
        cmocka_unit_test(an_unseen_category_never_shifts_columns),
        cmocka_unit_test(buckets_depend_on_text_and_seed_alone),
        cmocka_unit_test(products_stand_behind_all_features),
        cmocka_unit_test(planted_spikes_are_found),
        cmocka_unit_test(outliers_are_clipped_dropped_or_forgotten),
        cmocka_unit_test(a_run_tells_what_was_touched),
        cmocka_unit_test(columns_without_spread_or_values_are_named),
        cmocka_unit_test(a_fleet_without_rows_is_fitted_all_the_same),
    };
    return RUN_TESTS(tests);
}
