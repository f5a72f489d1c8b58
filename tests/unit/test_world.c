#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/wipe.h"
#include "simulations/device.h"
#include "simulations/world.h"

enum {
    ROWS = 300,
    CLIENTS = 12,
};

static char dir[TEST_FOLDER_SIZE];
static char ini[96];

static int make_files(void **state)
{
    (void)state;
    char path[96];
    uint64_t seed = 5;
    trib_crypto_init();
    trib_log_set_level(TRIB_LOG_ERROR);
    if (!test_folder(dir))
        return -1;
    (void)snprintf(path, sizeof(path), "%s/rows.csv", dir);
    FILE *file = fopen(path, "w");
    if (!file)
        return -1;
    for (int i = 0; i < ROWS; i++) { // three clouds in the plane
        int label = i % 3;
        double x = (double)(test_rand(&seed) % 1000) / 1000 + (label == 1);
        double y = (double)(test_rand(&seed) % 1000) / 1000 + (label == 2);
        (void)fprintf(file, "%.4f,%.4f,%d\n", x, y, label);
    }
    (void)fclose(file);
    (void)snprintf(ini, sizeof(ini), "%s/s.ini", dir);
    file = fopen(ini, "w");
    if (!file)
        return -1;
    (void)fputs("[model]\nspec = 2 - dense 8 tanh - dense 3 softmax\n"
                "[data]\ntrain = rows.csv\ntest_fraction = 0.2\n"
                "[partition]\nclients = 12\nmin_rows = 0\n"
                "[round]\nrounds = 6\ncohort = 6\nlocal_epochs = 3\nbatch = 8\n"
                "learning_rate = 0.5\n[privacy]\nmode = off\n",
                file);
    return fclose(file);
}

static int remove_files(void **state)
{
    (void)state;
    char path[96];
    (void)snprintf(path, sizeof(path), "%s/rows.csv", dir);
    (void)unlink(path);
    (void)unlink(ini);
    return rmdir(dir);
}

struct played {
    struct trib_world_state state; // but for params
    uint64_t committed, abandoned, accepted, asked;
    struct trib_round_result last;
};

static struct played play(unsigned threads, const char *const *sets, size_t count)
{
    struct trib_scenario *scenario;
    struct trib_world *world;
    struct played played = {0};
    assert_int_equal(trib_scenario_create(&scenario), TRIB_OK);
    assert_int_equal(trib_scenario_load(scenario, ini, sets, count), TRIB_OK);
    assert_int_equal(trib_scenario_open(scenario, true), TRIB_OK);
    assert_int_equal(trib_world_create(scenario, threads, &world), TRIB_OK);
    while (!trib_world_is_over(world)) {
        assert_int_equal(trib_world_play(world, NULL, NULL, &played.last), TRIB_OK);
        bool is_committed = strcmp(played.last.state, "committed") == 0;
        played.committed += is_committed;
        played.abandoned += !is_committed;
        played.accepted += played.last.accepted;
        played.asked += played.last.asked;
    }
    assert_int_equal(trib_world_keep(world), TRIB_OK);
    played.state = *trib_world_state(world);
    trib_world_destroy(world);
    trib_scenario_destroy(scenario);
    return played;
}

static void assert_same_model(const struct played *a, const struct played *b)
{
    assert_memory_equal(a->state.digest, b->state.digest, TRIB_DIGEST_SIZE);
}

static void the_model_is_the_same_for_any_number_of_threads(void **state)
{
    (void)state;
    // With half of the devices silent and more asked than counted, who is counted must not depend
    // on who is faster either.
    const char *sets[] = {"faults.dropout=0.3", "round.over_selection=1.5", "round.min_accepted=1"};
    for (size_t count = 0; count <= 3; count += 3) {
        struct played one = play(1, sets, count);
        struct played two = play(2, sets, count);
        struct played five = play(5, sets, count);
        assert_same_model(&one, &two);
        assert_same_model(&one, &five);
        assert_int_equal(one.accepted, five.accepted);
        assert_true(one.committed >= 5);
    }
}

static void a_federation_learns(void **state)
{
    (void)state;
    struct played played = play(2, NULL, 0);
    assert_int_equal(played.committed, 6);
    assert_int_equal(played.state.version, 7);
    assert_int_equal(played.state.averaged, 0);
    assert_true(played.state.is_evaluated);
    assert_true(played.state.held_out.validation.accuracy > 0.8);
    assert_true(isnan(played.last.epsilon));
    assert_int_equal(played.last.bytes_up, 6 * 3 * (2 * 8 + 8 + 8 * 3 + 3)); // 24-bit words
    assert_int_equal(played.last.bytes_down, 6 * 4 * (2 * 8 + 8 + 8 * 3 + 3));
}

static void a_round_with_one_device_is_its_own_training(void **state)
{
    (void)state;
    const char *sets[] = {"partition.clients=1", "round.cohort=1", "round.rounds=1"};
    struct trib_scenario *s;
    struct trib_world *world;
    struct trib_round_result result;
    struct trib_trainer_space *space;
    struct trib_rng rng;
    double loss;
    float params[64];

    assert_int_equal(trib_scenario_create(&s), TRIB_OK);
    assert_int_equal(trib_scenario_load(s, ini, sets, 3), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_OK);
    assert_int_equal(trib_world_create(s, 1, &world), TRIB_OK);
    assert_int_equal(trib_world_play(world, NULL, NULL, &result), TRIB_OK);

    const struct trib_samples samples = trib_scenario_samples(s, 0);
    trib_model_init(&s->job.model, s->job.config.model_seed, params);
    trib_rng_init(&rng, s->job.config.round_seed, "train", 1, "d0000");
    assert_int_equal(trib_train_space_create(&s->job.model, &s->job.train, samples.rows, &space),
                     TRIB_OK);
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    for (size_t i = 0; i < s->job.model.param_count; i++) // half a grid step of 2^-20
        assert_true(fabsf(trib_world_state(world)->params[i] - params[i]) <= 6e-7f);
    trib_train_space_destroy(space);
    trib_world_destroy(world);
    trib_scenario_destroy(s);
}

static void silent_devices_end_rounds_early_or_not_at_all(void **state)
{
    (void)state;
    const char *all[] = {"faults.dropout=1"};
    struct played played = play(2, all, 1);
    assert_int_equal(played.abandoned, 6);
    assert_int_equal(played.state.version, 1);
    assert_string_equal(played.last.reason, "few_reported");
    assert_true(isnan(played.last.value));

    const char *some[] = {"faults.dropout=0.3", "round.min_accepted=1"};
    played = play(2, some, 2);
    assert_int_equal(played.committed, 6);
    assert_true(played.accepted < played.asked && played.accepted > played.asked / 3);
}

static void devices_without_rows_decline_and_others_are_asked(void **state)
{
    (void)state;
    const char *sets[] = {"partition.clients=400", "round.cohort=200"}; // some 240 have a row
    struct played played = play(2, sets, 2);
    assert_int_equal(played.committed, 6);
    assert_int_equal(played.last.accepted, 200);
    assert_true(played.last.asked > 200);
}

static void training_that_diverges_abandons_the_round(void **state)
{
    (void)state;
    const char *sets[] = {"round.learning_rate=1e6", "round.rounds=2"};
    struct played played = play(2, sets, 2);
    assert_int_equal(played.abandoned, 2);
    assert_int_equal(played.state.version, 1);
}

static void a_target_ends_the_run(void **state)
{
    (void)state;
    const char *sets[] = {"round.rounds=50", "round.target_metric=accuracy",
                          "round.target_value=0.75"};
    struct played played = play(1, sets, 3);
    assert_true(played.state.target_reached);
    assert_true(played.last.round < 50);
    assert_true(played.last.value >= 0.75);
}

static void noise_is_spent_and_the_last_versions_are_averaged(void **state)
{
    (void)state;
    const char *sets[] = {"privacy.mode=local", "privacy.target_epsilon=50"};
    struct played played = play(2, sets, 2);
    assert_int_equal(played.state.averaged, 3); // half of six
    assert_int_equal(played.state.version, 8);  // 1, six rounds, and the mean
    assert_true(played.last.epsilon > 40 && played.last.epsilon <= 50);
    assert_true(played.last.epsilon_pure >= played.last.epsilon);
    struct played again = play(2, sets, 2);
    assert_memory_not_equal(played.state.digest, again.state.digest, TRIB_DIGEST_SIZE);
}

static void seeded_noise_is_for_test_builds_and_repeats(void **state)
{
    (void)state;
    const char *sets[] = {"privacy.mode=local", "privacy.target_epsilon=50", "privacy.test_seed=4"};
#ifdef TRIB_WITH_TEST_NOISE
    struct played one = play(1, sets, 3);
    struct played other = play(2, sets, 3);
    assert_same_model(&one, &other);
#else
    struct trib_scenario *s;
    assert_int_equal(trib_scenario_create(&s), TRIB_OK);
    assert_int_equal(trib_scenario_load(s, ini, sets, 3), TRIB_ERR_INVAL);
    trib_scenario_destroy(s);
#endif
}

static bool stop_now(void *user)
{
    ++*(int *)user;
    return true;
}

static void a_run_stops_within_a_batch(void **state)
{
    (void)state;
    struct trib_scenario *s;
    struct trib_world *world;
    struct trib_round_result result;
    int asked = 0;
    assert_int_equal(trib_scenario_create(&s), TRIB_OK);
    assert_int_equal(trib_scenario_load(s, ini, NULL, 0), TRIB_OK);
    assert_int_equal(trib_scenario_open(s, true), TRIB_OK);
    assert_int_equal(trib_world_create(s, 1, &world), TRIB_OK);
    assert_int_equal(trib_world_play(world, stop_now, &asked, &result), TRIB_ERR_STOPPED);
    assert_int_equal(asked, 1);
    assert_int_equal(trib_world_state(world)->version, 1);
    trib_world_destroy(world);
    trib_scenario_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_is_the_same_for_any_number_of_threads),
        cmocka_unit_test(a_federation_learns),
        cmocka_unit_test(a_round_with_one_device_is_its_own_training),
        cmocka_unit_test(silent_devices_end_rounds_early_or_not_at_all),
        cmocka_unit_test(devices_without_rows_decline_and_others_are_asked),
        cmocka_unit_test(training_that_diverges_abandons_the_round),
        cmocka_unit_test(a_target_ends_the_run),
        cmocka_unit_test(noise_is_spent_and_the_last_versions_are_averaged),
        cmocka_unit_test(seeded_noise_is_for_test_builds_and_repeats),
        cmocka_unit_test(a_run_stops_within_a_batch),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
