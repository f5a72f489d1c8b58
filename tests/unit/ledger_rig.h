// ledger_rig.h - a device's privacy ledger in a folder of its own, with the test's clocks.
#ifndef TRIB_TESTS_UNIT_LEDGER_RIG_H
#define TRIB_TESTS_UNIT_LEDGER_RIG_H

#include "common/privacy/ledger.h"
#include "tests/test.h"

#include <unistd.h>

#include "common/base/file.h"
#include "common/privacy/ledger_file.h"

enum {
    RECORD = TRIB_LEDGER_RECORD_SIZE,
};

static const uint64_t START_MS = 1790000000000;

static char dir[TEST_FOLDER_SIZE];
static char path[TRIB_PATH_MAX + 1], head_path[TRIB_PATH_MAX + 1];
static const uint8_t secret[TRIB_LEDGER_SECRET_SIZE] = {1, 2, 3};
static uint64_t wall, mono; // the test's clocks, ms

static inline uint64_t wall_ms(void)
{
    return wall;
}

static inline uint64_t mono_ms(void)
{
    return mono;
}

// Pure epsilon of a round: s1 / 2^grid_bits = 0.5
static const struct trib_encoding encoding = {.mode = TRIB_PRIVACY_LOCAL,
                                              .grid = 1e-4,
                                              .grid_bits = 12,
                                              .s1 = 2048,
                                              .s2 = 512,
                                              .sinf = 512,
                                              .word_bits = 24};

static inline int set_up(void **state)
{
    (void)state;
    wall = START_MS;
    mono = 5000;
    return test_folder(dir) && !trib_path_join(path, dir, "privacy.ledger") &&
                   !trib_path_join(head_path, dir, "privacy.head")
               ? 0
               : -1;
}

static inline int tear_down(void **state)
{
    (void)state;
    char tmp[TRIB_PATH_MAX + 1];
    (void)unlink(path);
    (void)unlink(head_path);
    if (trib_path_join(tmp, dir, "privacy.head.tmp"))
        return -1;
    (void)unlink(tmp);
    (void)rmdir(tmp);
    return rmdir(dir);
}

static inline enum trib_err try_open(const struct trib_budget *budget,
                                     struct trib_ledger **ret_ledger)
{
    const struct trib_ledger_options options = {
        .dir = dir,
        .secret = secret,
        .budget = budget ? *budget : (struct trib_budget){.rho = 0},
        .wall_ms = wall_ms,
        .mono_ms = mono_ms,
    };
    return trib_ledger_open(&options, ret_ledger);
}

static inline struct trib_ledger *opened(const struct trib_budget *budget)
{
    struct trib_ledger *ledger;
    assert_int_equal(try_open(budget, &ledger), TRIB_OK);
    return ledger;
}

static inline enum trib_err reserve(struct trib_ledger *ledger, uint64_t job,
                                    uint64_t *ret_reservation)
{
    const uint8_t whom[TRIB_LEDGER_WHOM_SIZE] = {(uint8_t)job};
    struct trib_charge charge;
    trib_ledger_charge(&encoding, job, 100 + job, whom, &charge);
    return trib_ledger_reserve(ledger, &charge, ret_reservation);
}

static inline void must_reserve(struct trib_ledger *ledger, uint64_t times)
{
    uint64_t reservation;
    for (uint64_t i = 0; i < times; i++)
        assert_int_equal(reserve(ledger, 1, &reservation), TRIB_OK);
}

static inline struct trib_ledger_totals totals_of(struct trib_ledger *ledger)
{
    struct trib_ledger_totals totals;
    trib_ledger_totals(ledger, &totals);
    return totals;
}

// Three reservations, the second taken back: four records.
static inline void write_some(void)
{
    struct trib_ledger *ledger = opened(NULL);
    uint64_t reservation;
    must_reserve(ledger, 1);
    assert_int_equal(reserve(ledger, 2, &reservation), TRIB_OK);
    assert_int_equal(trib_ledger_refund(ledger, reservation), TRIB_OK);
    must_reserve(ledger, 1);
    trib_ledger_close(ledger);
}

#define LEDGER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif // TRIB_TESTS_UNIT_LEDGER_RIG_H
