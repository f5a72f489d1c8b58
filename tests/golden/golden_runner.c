// golden_runner KIND FILE - run the product against a file of reference values.
//
// Prints every value that differs, and ends with "N passed, M failed". Exit: 0 none failed, 1 some
// did, 2 unknown kind or unreadable file.
#include "tests/golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/wipe.h"

static const struct {
    const char *name;
    golden_row_fn run;
} kinds[] = {
    {"accounting", golden_accounting},
    {"metrics", golden_metrics},
    {"privacy", golden_privacy},
    {"rdp", golden_rdp},
};

static bool is_close(double expected, double got, double rtol)
{
    if (isnan(expected) || isnan(got))
        return isnan(expected) && isnan(got);
    if (isinf(expected) || isinf(got))
        return expected == got;
    return fabs(got - expected) <= rtol * (expected == 0 ? 1 : fabs(expected));
}

void golden_check(struct golden_tally *tally, const struct golden_row *row, const char *what,
                  double expected, double got, double rtol)
{
    if (is_close(expected, got, rtol)) {
        tally->passed++;
        return;
    }
    tally->failed++;
    printf("line %zu: %s: expected %.17g, got %.17g (tolerance %g)\n", row->line, what, expected,
           got, rtol);
}

void golden_check_text(struct golden_tally *tally, const struct golden_row *row, const char *what,
                       const char *expected, const char *got)
{
    if (strcmp(expected, got) == 0) {
        tally->passed++;
        return;
    }
    tally->failed++;
    printf("line %zu: %s: expected %s, got %s\n", row->line, what, expected, got);
}

void golden_fail(struct golden_tally *tally, const struct golden_row *row, const char *why)
{
    tally->failed++;
    printf("line %zu: %s\n", row->line, why);
}

int main(int argc, char **argv)
{
    struct golden_tally tally = {0};
    golden_row_fn run = NULL;

    if (argc != 3) {
        fprintf(stderr, "usage: golden_runner KIND FILE\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(argv[1], kinds[i].name) == 0)
            run = kinds[i].run;
    }
    if (!run) {
        fprintf(stderr, "golden_runner: no kind '%s'; there are", argv[1]);
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            fprintf(stderr, " %s", kinds[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    trib_crypto_init();
    trib_log_set_level(TRIB_LOG_ERROR);
    if (golden_read(argv[2], run, &tally))
        return 2;
    printf("%zu passed, %zu failed\n", tally.passed, tally.failed);
    return tally.failed ? 1 : 0;
}
