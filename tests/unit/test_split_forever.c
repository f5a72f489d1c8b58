// A million rows and a hundred restarts: no row ever changes its side, and the shares are met.
// A restart looks at a tenth of the rows, each in turn, so that all of them are met ten times; where
// TRIB_SWEEPS is set (./check --sweeps) at all of them.
#include "tests/test.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/data/split.h"

enum {
    ROWS = 1000000,
    RESTARTS = 100,
};

static const struct trib_split split = {.seed = 11, .test = 0.2, .validation = 0.1};

// From the text of its id, as a program that has just been started finds it.
static uint8_t side_of(uint32_t row)
{
    char id[16];
    const int size = snprintf(id, sizeof(id), "row-%" PRIu32, row);
    return (uint8_t)trib_split_side(&split, trib_split_identity(id, (size_t)size));
}

// Another process, which meets the rows in another order; 0: it finds all of them where they were.
static int restart(const uint8_t *sides, uint32_t number)
{
    const uint32_t count = getenv("TRIB_SWEEPS") ? ROWS : ROWS / 10;
    const uint32_t stride = 999983 - 2 * number; // odd and not a multiple of 5: every row once
    uint32_t row = number;
    for (uint32_t i = 0; i < count; i++) {
        row = (row + (stride % 5 ? stride : stride + 2)) % ROWS;
        if (side_of(row) != sides[row])
            return 1;
    }
    return 0;
}

static void no_row_changes_its_side_in_a_hundred_restarts(void **state)
{
    (void)state;
    uint8_t *sides = trib_alloc(ROWS);
    size_t counts[3] = {0};
    assert_non_null(sides);
    for (uint32_t row = 0; row < ROWS; row++)
        counts[sides[row] = side_of(row)]++;
    assert_true(fabs((double)counts[TRIB_SIDE_TEST] / ROWS - 0.2) < 0.003);
    assert_true(fabs((double)counts[TRIB_SIDE_VALIDATION] / ROWS - 0.1) < 0.003);
    assert_true(fabs((double)counts[TRIB_SIDE_TRAIN] / ROWS - 0.7) < 0.003);
    for (uint32_t number = 0; number < RESTARTS; number++) {
        int status;
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(restart(sides, number));
        assert_true(waitpid(child, &status, 0) == child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    free(sides);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_row_changes_its_side_in_a_hundred_restarts),
    };
    return RUN_TESTS(tests);
}
