#include "common/math/augment.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/math/train.h"
#include "common/math/visits.h"
#include "tests/unit/models.h"

static void texts_become_options_or_a_reason(void **state)
{
    (void)state;
    struct trib_augment_options o;
    char why[256];
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"blur:1", "'blur' is not jitter, mixup, shift, rotate or crop"},
        {"jitter", "'jitter' is not name:amount"},
        {"jitter:-1", "jitter wants a number above 0"},
        {"jitter:0", "jitter wants a number above 0"},
        {"jitter:nan", "not 'nan'"},
        {"jitter:1x", "not '1x'"},
        {"mixup:1.5", "up to 1"},
        {"shift:0.5", "shift wants whole pixels"},
        {"shift:2, shift:2", "says shift twice"},
        {"rotate:200", "up to 180"},
        {"crop:", "crop wants a number"},
    };
    assert_int_equal(trib_augment_parse("jitter:0.1, mixup:0.2,shift:2  rotate:10, crop:0.75", &o,
                                        why, sizeof(why)),
                     TRIB_OK);
    assert_true(o.jitter == 0.1 && o.mixup == 0.2 && o.shift == 2 && o.rotate == 10 &&
                o.crop == 0.75);
    assert_true(trib_augment_is_on(&o) && trib_augment_is_of_pictures(&o));
    assert_int_equal(trib_augment_parse(" ", &o, why, sizeof(why)), TRIB_OK);
    assert_false(trib_augment_is_on(&o));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(trib_augment_parse(bad[i].text, &o, why, sizeof(why)), TRIB_ERR_INVAL);
        if (!strstr(why, bad[i].says))
            fail_msg("%s: '%s' is not in '%s'", bad[i].text, bad[i].says, why);
    }
}

enum {
    SIDE = 7,
    SIZE = SIDE * SIDE,
};

// A picture of two channels whose pixels are all different.
static void make_picture(float *x)
{
    for (int i = 0; i < 2 * SIZE; i++)
        x[i] = (float)(i + 1);
}

static void change(const struct trib_augment_options *options, uint64_t seed, float *x)
{
    const struct trib_model model = parsed("2x7x7 - dense 2 softmax");
    struct trib_augment *augment;
    struct trib_rng rng;
    static const uint32_t rows[1] = {0};
    const struct trib_samples samples = {.x = x, .rows = 1, .inputs = 2 * SIZE};
    trib_rng_init(&rng, seed, "test", 0, NULL);
    assert_int_equal(trib_augment_create(options, &model, &augment), TRIB_OK);
    trib_augment_begin(augment, &samples, rows, 1);
    trib_augment_row(augment, &rng, x);
    trib_augment_destroy(augment);
}

static void a_shift_moves_whole_pixels_and_nothing_else(void **state)
{
    (void)state;
    const struct trib_augment_options options = {.shift = 2};
    float before[2 * SIZE], after[2 * SIZE];
    bool seen[5][5] = {{false}};
    make_picture(before);
    for (uint64_t seed = 1; seed <= 200; seed++) {
        memcpy(after, before, sizeof(before));
        change(&options, seed, after);
        int found = 0;
        for (int dy = -2; dy <= 2; dy++) {
            for (int dx = -2; dx <= 2; dx++) {
                bool is_it = true;
                for (int i = 0; i < 2 * SIZE; i++) {
                    const int row = i % SIZE / SIDE + dy, column = i % SIDE + dx;
                    const bool is_in = row >= 0 && column >= 0 && row < SIDE && column < SIDE;
                    const float want = is_in ? before[i / SIZE * SIZE + row * SIDE + column] : 0;
                    is_it = is_it && after[i] == want;
                }
                found += is_it;
                seen[dy + 2][dx + 2] = seen[dy + 2][dx + 2] || is_it;
            }
        }
        assert_int_equal(found, 1); // exactly one shift explains every pixel of both channels
    }
    for (int i = 0; i < 25; i++)
        assert_true(seen[i / 5][i % 5]); // and all of them happen
}

static void a_turn_keeps_the_middle_and_a_blob_turns_with_it(void **state)
{
    (void)state;
    const struct trib_augment_options options = {.rotate = 90};
    float x[2 * SIZE];
    int moved = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        memset(x, 0, sizeof(x));
        x[3 * SIDE + 3] = 5;        // the middle of channel 0
        x[SIZE + 3 * SIDE + 6] = 1; // the right edge of channel 1
        change(&options, seed, x);
        assert_true(fabsf(x[3 * SIDE + 3] - 5) < 1e-4f);
        double sum = 0, radius = 0;
        for (int i = 0; i < SIZE; i++) {
            const double value = (double)x[SIZE + i];
            sum += value;
            radius += value * hypot(i / SIDE - 3, i % SIDE - 3);
        }
        moved += x[SIZE + 3 * SIDE + 6] < 0.5f;
        if (sum > 0.2) // as far from the middle as before, give or take the interpolation
            assert_true(radius / sum > 2 && radius / sum < 4);
    }
    assert_true(moved > 25);
}

static void a_crop_shows_a_window_of_the_picture(void **state)
{
    (void)state;
    const struct trib_augment_options options = {.crop = 0.5};
    float x[2 * SIZE];
    for (uint64_t seed = 1; seed <= 50; seed++) {
        for (int i = 0; i < 2 * SIZE; i++)
            x[i] = (float)(i % SIDE); // a slope from left to right
        change(&options, seed, x);
        const float step = x[1] - x[0];
        assert_true(step > 0.499f && step < 1.001f); // looked at from nearer
        for (int i = 0; i < 2 * SIZE; i++) {
            assert_true(x[i] >= -1e-4f && x[i] <= 6 + 1e-4f); // and never beyond the edge
            assert_true(fabsf(x[i] - (x[0] + step * (float)(i % SIDE))) < 1e-3f);
        }
    }
}

static void jitter_has_its_deviation_and_spares_flags(void **state)
{
    (void)state;
    enum {
        ROWS = 2000,
        INPUTS = 3
    };
    static float x[ROWS * INPUTS], y[ROWS];
    static uint32_t rows[ROWS];
    const struct trib_augment_options options = {.jitter = 0.25};
    const struct trib_model model = parsed("3 - dense 2 softmax");
    const struct trib_samples samples = {.x = x, .y = y, .rows = ROWS, .inputs = INPUTS};
    struct trib_augment *augment;
    struct trib_rng rng;
    double sum = 0, square = 0;
    for (uint32_t r = 0; r < ROWS; r++) {
        x[r * INPUTS] = (float)(r % 2); // a flag, or one of a one-hot block
        x[r * INPUTS + 1] = 2;
        x[r * INPUTS + 2] = r == 7 ? 0.5f : 1; // one value is enough to be a number
        rows[r] = r;
    }
    trib_rng_init(&rng, 3, "test", 0, NULL);
    assert_int_equal(trib_augment_create(&options, &model, &augment), TRIB_OK);
    trib_augment_begin(augment, &samples, rows, ROWS);
    for (uint32_t r = 0; r < ROWS; r++) {
        float row[INPUTS];
        memcpy(row, x + r * INPUTS, sizeof(row));
        trib_augment_row(augment, &rng, row);
        assert_true(row[0] == (float)(r % 2));
        assert_true(row[2] != x[r * INPUTS + 2]);
        sum += (double)row[1] - 2;
        square += ((double)row[1] - 2) * ((double)row[1] - 2);
    }
    // Four standard errors over 2,000 draws
    assert_true(fabs(sum / ROWS) < 4 * 0.25 / sqrt(ROWS));
    assert_true(fabs(sqrt(square / ROWS) - 0.25) < 4 * 0.25 / sqrt(2.0 * ROWS));
    trib_augment_destroy(augment);
}

static void shares_of_mixup_have_the_law_of_beta(void **state)
{
    (void)state;
    enum {
        DRAWS = 20000
    };
    static const double alphas[] = {1e-12, 0.2, 0.5, 1};
    const struct trib_model model = parsed("2 - dense 2 softmax");
    for (size_t a = 0; a < sizeof(alphas) / sizeof(alphas[0]); a++) {
        const struct trib_augment_options options = {.mixup = alphas[a]};
        struct trib_augment *augment;
        struct trib_rng rng;
        double sum = 0, square = 0;
        trib_rng_init(&rng, 4, "test", a, NULL);
        assert_int_equal(trib_augment_create(&options, &model, &augment), TRIB_OK);
        for (int i = 0; i < DRAWS; i++) {
            static const float other[2] = {10, -4};
            float x[2] = {2, 0};
            const double share = (double)trib_augment_mix(augment, &rng, other, x);
            assert_true(share >= 0 && share <= 1);
            assert_true(fabs((double)x[0] - (10 - 8 * share)) < 1e-5);
            assert_true(fabs((double)x[1] - (-4 + 4 * share)) < 1e-5);
            sum += share;
            square += (share - 0.5) * (share - 0.5);
        }
        const double variance = 1 / (4 * (2 * alphas[a] + 1)); // of Beta(alpha, alpha)
        assert_true(fabs(sum / DRAWS - 0.5) < 4 * sqrt(variance / DRAWS));
        assert_true(fabs(square / DRAWS - variance) < 4 * 0.25 / sqrt(DRAWS));
        trib_augment_destroy(augment);
    }
}

// ---- In training

enum {
    ROWS = 120,
};

static float rows_x[ROWS * SIZE], rows_y[ROWS];
static const struct trib_samples samples = {.x = rows_x, .y = rows_y, .rows = ROWS, .inputs = SIZE};

static void make_rows(void)
{
    uint64_t seed = 8;
    for (int i = 0; i < ROWS * SIZE; i++)
        rows_x[i] = (float)((double)(int64_t)test_rand(&seed) * 0x1p-63);
    for (int r = 0; r < ROWS; r++)
        rows_y[r] = rows_x[r * SIZE] > 0;
}

static void digest_rows(uint8_t digest[TRIB_DIGEST_SIZE])
{
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_DIGEST_SIZE);
    trib_hash_update(&hash, rows_x, sizeof(rows_x));
    trib_hash_update(&hash, rows_y, sizeof(rows_y));
    trib_hash_final(&hash, digest, TRIB_DIGEST_SIZE);
}

static struct trib_train_report fit(const struct trib_train_options *options, uint64_t seed,
                                    float *params, double *ret_loss)
{
    const struct trib_model model = parsed("1x7x7 - dense 2 softmax");
    struct trib_trainer_space *space;
    struct trib_rng rng;
    trib_rng_init(&rng, seed, "train", 0, NULL);
    trib_model_init(&model, 5, params);
    assert_int_equal(trib_train_space_create(&model, options, ROWS, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, ret_loss), TRIB_OK);
    const struct trib_train_report report = trib_train_report(space);
    trib_train_space_destroy(space);
    return report;
}

static void rows_kept_aside_are_measured_as_they_are(void **state)
{
    (void)state;
    static const char *const ways[] = {"", "jitter:0.5", "mixup:0.4", "shift:2",
                                       "rotate:30, crop:0.7, jitter:0.1, mixup:0.2"};
    const struct trib_model model = parsed("1x7x7 - dense 2 softmax");
    uint8_t before[TRIB_DIGEST_SIZE], after[TRIB_DIGEST_SIZE];
    float params[5][2 * SIZE + 2], again[2 * SIZE + 2], kept_x[ROWS * SIZE], kept_y[ROWS];
    struct trib_net *net;
    size_t kept = 0;
    double loss;
    make_rows();
    digest_rows(before);
    for (size_t r = 0; r < ROWS; r++) {
        if (!trib_train_validates(r, 0.3))
            continue;
        memcpy(kept_x + kept * SIZE, rows_x + r * SIZE, SIZE * sizeof(float));
        kept_y[kept++] = rows_y[r];
    }
    assert_int_equal(trib_net_create(&model, ROWS, &net), TRIB_OK);
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
        struct trib_train_options options = {
            .epochs = 4, .batch = 10, .learning_rate = 0.05, .kept.fraction = 0.3};
        char why[128];
        assert_int_equal(trib_augment_parse(ways[w], &options.augment, why, sizeof(why)), TRIB_OK);
        const struct trib_train_report report = fit(&options, 1, params[w], &loss);
        const struct trib_batch batch = {.x = kept_x, .y = kept_y, .rows = kept};
        const double measured = trib_net_loss_weighted(net, params[w], &batch) / (double)kept;
        // Another order of the same sum of float losses
        assert_true(fabs(report.validation_loss - measured) < 1e-6);
        assert_int_equal(report.rows, ROWS - kept);
        digest_rows(after);
        assert_memory_equal(before, after, sizeof(before));
        (void)fit(&options, 1, again, &loss);
        assert_memory_equal(params[w], again, sizeof(again)); // the same seed, the same changes
        for (size_t other = 0; other < w; other++)
            assert_memory_not_equal(params[w], params[other], sizeof(again));
    }
    trib_net_destroy(net);
}

static void mixing_a_row_with_itself_changes_nothing(void **state)
{
    (void)state;
    static const float x[4] = {0.5f, -1, 2, 0.25f}, y[1] = {1};
    static const uint32_t rows[1] = {0};
    const struct trib_samples one = {.x = x, .y = y, .rows = 1, .inputs = 4};
    const struct trib_model model = parsed("4 - dense 3 softmax");
    const struct trib_visits_options options = {.augment = {.mixup = 0.5}, .batch = 1};
    struct trib_visits *visits;
    struct trib_net *net;
    struct trib_rng rng;
    float params[15], mixed[15], plain[15];
    trib_model_init(&model, 2, params);
    trib_rng_init(&rng, 1, "test", 0, NULL);
    assert_int_equal(trib_visits_create(&options, &model, 1, &visits), TRIB_OK);
    assert_int_equal(trib_visits_batch_max(visits), 2);
    assert_int_equal(trib_net_create(&model, 2, &net), TRIB_OK);
    assert_int_equal(trib_visits_begin(visits, &one, rows, 1, NULL, &rng), 1);
    trib_visits_epoch(visits, &rng);
    const struct trib_batch batch = trib_visits_batch(visits, 0);
    assert_int_equal(batch.rows, 2);
    const double loss = trib_net_gradient_weighted(net, params, &batch, NULL, mixed);
    assert_true(fabs(loss - trib_net_gradient(net, params, x, y, 1, plain)) < 1e-6);
    for (int i = 0; i < 15; i++)
        assert_true(fabsf(mixed[i] - plain[i]) < 1e-6f);
    trib_net_destroy(net);
    trib_visits_destroy(visits);
    trib_visits_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_options_or_a_reason),
        cmocka_unit_test(a_shift_moves_whole_pixels_and_nothing_else),
        cmocka_unit_test(a_turn_keeps_the_middle_and_a_blob_turns_with_it),
        cmocka_unit_test(a_crop_shows_a_window_of_the_picture),
        cmocka_unit_test(jitter_has_its_deviation_and_spares_flags),
        cmocka_unit_test(shares_of_mixup_have_the_law_of_beta),
        cmocka_unit_test(rows_kept_aside_are_measured_as_they_are),
        cmocka_unit_test(mixing_a_row_with_itself_changes_nothing),
    };
    return RUN_TESTS(tests);
}
