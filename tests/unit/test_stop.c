#include "coordinator/stop.h"
#include "tests/test.h"

static struct trib_job job;

static int begin(void **state)
{
    (void)state;
    job = (struct trib_job){.config = {.rounds = 10}, .model = {.classes = 2}};
    return 0;
}

// Rounds with these values are played one after the other; after which one does the job end?
static size_t played(const double *values, size_t count, enum trib_stop_rule rule)
{
    struct trib_stop stop = {.has_best = false};
    for (size_t i = 0; i < count; i++) {
        trib_stop_observe(&stop, &job, values[i]);
        const enum trib_stop_rule got = trib_stop_rule(&stop, &job, i + 1, 0);
        if (got == TRIB_STOP_NOT)
            continue;
        assert_int_equal(got, rule);
        return i + 1;
    }
    return 0;
}

static void a_plateau_ends_after_its_patience(void **state)
{
    (void)state;
    static const double values[] = {0.5, 0.6, 0.55, 0.6, 0.61, 0.6, 0.6, 0.61, 0.7};
    assert_int_equal(played(values, 9, TRIB_STOP_NOT), 0); // no patience: no plateau
    job.config.stop_patience = 2;
    assert_int_equal(played(values, 9, TRIB_STOP_PLATEAU), 4);
    job.config.stop_patience = 3; // 0.61 is better than 0.6, and then three that are not
    assert_int_equal(played(values, 9, TRIB_STOP_PLATEAU), 8);
    job.config.stop_min_delta = 0.05; // 0.61 is not better by enough
    assert_int_equal(played(values, 9, TRIB_STOP_PLATEAU), 5);
    job.config.stop_patience = 1;
    job.config.stop_min_delta = 0;
    job.model.classes = 0; // an error: lower is better
    static const double errors[] = {5, 4, 3, 3.5};
    assert_int_equal(played(errors, 4, TRIB_STOP_PLATEAU), 4);
}

static void rounds_and_deadline_end_exactly_where_they_say(void **state)
{
    (void)state;
    struct trib_stop stop = {.has_best = false};
    assert_int_equal(trib_stop_rule(&stop, &job, 9, UINT64_MAX), TRIB_STOP_NOT);
    assert_int_equal(trib_stop_rule(&stop, &job, 10, 0), TRIB_STOP_ROUNDS);
    job.config.deadline_s = 60;
    assert_int_equal(trib_stop_rule(&stop, &job, 0, 59999), TRIB_STOP_NOT);
    assert_int_equal(trib_stop_rule(&stop, &job, 0, 60000), TRIB_STOP_DEADLINE);
    assert_int_equal(trib_stop_rule(&stop, &job, 10, 60000), TRIB_STOP_ROUNDS);
    stop.target_is_reached = true;
    assert_int_equal(trib_stop_rule(&stop, &job, 10, 60000), TRIB_STOP_TARGET);
    for (int rule = TRIB_STOP_TARGET; rule <= TRIB_STOP_DEADLINE; rule++)
        assert_true(trib_stop_reason((enum trib_stop_rule)rule)[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_plateau_ends_after_its_patience, begin),
        cmocka_unit_test_setup(rounds_and_deadline_end_exactly_where_they_say, begin),
    };
    return RUN_TESTS(tests);
}
