// What a device has spent, and what its budget allows.
#include "tests/unit/ledger_rig.h"

#include <string.h>
#include <sys/stat.h>

static const uint64_t DAY_MS = 86400000;

static struct trib_ledger *in_memory(const struct trib_budget *budget)
{
    const struct trib_ledger_options options = {
        .budget = *budget, .wall_ms = wall_ms, .mono_ms = mono_ms};
    struct trib_ledger *ledger;
    assert_int_equal(trib_ledger_open(&options, &ledger), TRIB_OK);
    return ledger;
}

// ---- Accounts

static void what_was_spent_is_there_after_a_restart(void **state)
{
    (void)state;
    struct stat info;
    write_some();
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 4 * RECORD);
    assert_int_equal(info.st_mode & 0777, 0600);
    struct trib_ledger *ledger = opened(NULL);
    const struct trib_ledger_totals totals = totals_of(ledger);
    assert_int_equal(totals.entries, 4);
    assert_int_equal(totals.all.rounds, 2);
    assert_true(totals.all.epsilon_pure == 1.0);
    assert_true(totals.all.rho > 1.999 * trib_rho_of(&encoding));
    assert_true(totals.all.rho < 2.001 * trib_rho_of(&encoding));
    trib_ledger_close(ledger);
}

static void the_cap_is_met_exactly_and_never_passed(void **state)
{
    (void)state;
    const double rho = trib_rho_of(&encoding);
    const struct trib_privacy_spent ten = {.rounds = 10, .epsilon_pure = 5, .rho = 10 * rho};
    const struct trib_budget budgets[] = {
        {.epsilon_pure = 5},
        {.epsilon_pure = 5.49},
        {.rho = 10 * rho},
        {.epsilon = trib_privacy_epsilon(&ten, 1e-6), .delta = 1e-6},
        {.epsilon_pure = 5, .rho = 100, .epsilon = 100, .delta = 1e-6},
    };
    for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
        struct trib_ledger *ledger = in_memory(&budgets[i]);
        uint64_t reservation;
        for (int round = 0; round < 10; round++) {
            assert_true(trib_ledger_allows(ledger, &encoding));
            assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
        }
        assert_false(trib_ledger_allows(ledger, &encoding));
        assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
        assert_int_equal(totals_of(ledger).all.rounds, 10);
        trib_ledger_close(ledger);
    }
}

static void jobs_and_populations_share_one_budget(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 1};
    uint64_t reservation;
    struct trib_ledger *ledger = opened(&budget);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
    ledger = opened(&budget);
    assert_int_equal(reserve(ledger, 2, &reservation), TRIB_OK);
    assert_int_equal(reserve(ledger, 3, &reservation), TRIB_ERR_PRIVACY);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    trib_ledger_close(ledger);
}

static void mode_off_costs_nothing_and_writes_nothing(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 1e-9, .rho = 1e-9};
    const uint8_t whom[TRIB_LEDGER_WHOM_SIZE] = {0};
    struct trib_encoding off = encoding;
    struct trib_charge charge;
    uint64_t reservation = 77;
    struct trib_ledger *ledger = opened(&budget);
    off.mode = TRIB_PRIVACY_OFF;
    trib_ledger_charge(&off, 1, 2, whom, &charge);
    assert_true(trib_ledger_allows(ledger, &off));
    assert_int_equal(trib_ledger_reserve(ledger, &charge, &reservation), TRIB_OK);
    assert_int_equal(reservation, 0);
    assert_int_equal(trib_ledger_refund(ledger, reservation), TRIB_OK);
    assert_int_equal(totals_of(ledger).entries, 0);
    trib_ledger_close(ledger);
}

static void a_refund_gives_back_what_was_reserved_once(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 0.5};
    uint64_t reservation, again;
    struct trib_ledger *ledger = opened(&budget);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    assert_int_equal(trib_ledger_refund(ledger, reservation + 1), TRIB_ERR_STATE);
    assert_int_equal(reserve(ledger, 1, &again), TRIB_ERR_PRIVACY);
    assert_int_equal(trib_ledger_refund(ledger, reservation), TRIB_OK);
    assert_int_equal(trib_ledger_refund(ledger, reservation), TRIB_ERR_STATE);
    assert_true(totals_of(ledger).all.epsilon_pure == 0);
    assert_int_equal(reserve(ledger, 1, &again), TRIB_OK);
    trib_ledger_close(ledger);

    ledger = opened(&budget); // unknown after a restart: spent
    assert_int_equal(trib_ledger_refund(ledger, again), TRIB_ERR_STATE);
    assert_true(totals_of(ledger).all.epsilon_pure == 0.5);
    trib_ledger_close(ledger);
}

static void kept(void *user, const struct trib_ledger_entry *entry)
{
    *(struct trib_ledger_entry *)user = *entry;
}

static void what_was_promised_is_read_back(void **state)
{
    (void)state;
    const uint8_t whom[TRIB_LEDGER_WHOM_SIZE] = {7};
    struct trib_charge charge;
    struct trib_ledger_entry entry = {.sequence = 0};
    struct trib_ledger *ledger = opened(NULL);
    uint64_t reservation;
    trib_ledger_charge(&encoding, 1, 2, whom, &charge);
    charge.cohort = (struct trib_privacy_cohort){60, 6, true};
    assert_int_equal(trib_ledger_reserve(ledger, &charge, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
    const struct trib_ledger_options options = {
        .dir = dir, .secret = secret, .is_reader = true, .visit = kept, .user = &entry};
    assert_int_equal(trib_ledger_open(&options, &ledger), TRIB_OK);
    trib_ledger_close(ledger);
    assert_int_equal(entry.sequence, 1);
    assert_int_equal(entry.charge.cohort.members, 60);
    assert_int_equal(entry.charge.cohort.colluders, 6);
    assert_true(entry.charge.cohort.is_vouched_apart);
}

static void a_promise_that_was_not_noted_is_the_weaker_one(void **state)
{
    (void)state;
    char text[160];
    struct trib_privacy_cohort cohort = {.members = 0};
    trib_privacy_against(TRIB_PRIVACY_DISTRIBUTED, &cohort, text, sizeof(text));
    assert_string_equal(text,
                        "a coordinator that is honest about who its devices are, under secure "
                        "aggregation (with how many devices was not noted)");
    cohort = (struct trib_privacy_cohort){UINT32_MAX, UINT32_MAX, false}; // it fits all the same
    trib_privacy_against(TRIB_PRIVACY_DISTRIBUTED, &cohort, text, sizeof(text));
    assert_non_null(strstr(text, "under secure aggregation"));
    cohort = (struct trib_privacy_cohort){60, 6, true};
    trib_privacy_against(TRIB_PRIVACY_DISTRIBUTED, &cohort, text, sizeof(text));
    assert_string_equal(text, "a coordinator that may lie with up to 6 of 60 devices, under secure "
                              "aggregation");
}

// ---- Clocks

static const struct trib_budget daily = {.epsilon_pure = 0.5, .window_ms = 86400000};

static void a_window_frees_what_is_older(void **state)
{
    (void)state;
    uint64_t reservation;
    struct trib_ledger *ledger = opened(&daily);
    must_reserve(ledger, 1);
    mono += DAY_MS - 1;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    mono += 1;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    assert_int_equal(totals_of(ledger).all.rounds, 2);
    assert_int_equal(totals_of(ledger).window.rounds, 1);
    trib_ledger_close(ledger);
    wall = START_MS + 3 * DAY_MS; // it was off for a while
    ledger = opened(&daily);
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
}

static void a_clock_that_jumps_frees_nothing(void **state)
{
    (void)state;
    uint64_t reservation;
    struct trib_ledger *ledger = opened(&daily);
    must_reserve(ledger, 1);
    wall += 400 * DAY_MS; // forward, while it runs
    mono += 1000;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    wall = 0; // and back to 1970
    mono += 1000;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    trib_ledger_close(ledger);
    ledger = opened(&daily); // started without a clock
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    wall = START_MS + 9 * DAY_MS; // which is then set
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    mono += DAY_MS;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
}

static void a_window_of_many_rounds_keeps_its_sum(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 50, .window_ms = DAY_MS};
    struct trib_ledger *ledger = in_memory(&budget);
    for (int i = 0; i < 1000; i++) { // 100 fit; one leaves as one comes
        mono += DAY_MS / 100;
        must_reserve(ledger, 1);
    }
    assert_int_equal(totals_of(ledger).window.rounds, 100);
    assert_true(totals_of(ledger).window.epsilon_pure == 50);
    assert_int_equal(totals_of(ledger).all.rounds, 1000);
    trib_ledger_close(ledger);
}

static void lifetime_totals_do_not_look_at_the_clock(void **state)
{
    (void)state;
    const struct trib_budget budget = {.epsilon_pure = 1};
    uint64_t reservation;
    struct trib_ledger *ledger = opened(&budget);
    must_reserve(ledger, 2);
    wall += 40000 * DAY_MS;
    mono += 40000 * DAY_MS;
    assert_int_equal(reserve(ledger, 1, &reservation), TRIB_ERR_PRIVACY);
    trib_ledger_close(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(what_was_spent_is_there_after_a_restart),
        LEDGER_TEST(the_cap_is_met_exactly_and_never_passed),
        LEDGER_TEST(jobs_and_populations_share_one_budget),
        LEDGER_TEST(mode_off_costs_nothing_and_writes_nothing),
        LEDGER_TEST(a_refund_gives_back_what_was_reserved_once),
        LEDGER_TEST(what_was_promised_is_read_back),
        LEDGER_TEST(a_promise_that_was_not_noted_is_the_weaker_one),
        LEDGER_TEST(a_window_frees_what_is_older),
        LEDGER_TEST(a_clock_that_jumps_frees_nothing),
        LEDGER_TEST(a_window_of_many_rounds_keeps_its_sum),
        LEDGER_TEST(lifetime_totals_do_not_look_at_the_clock),
    };
    return RUN_TESTS(tests);
}
