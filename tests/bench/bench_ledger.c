// bench_ledger - how fast a charge is made durable, and how fast a ledger of years is opened.
//
//     bench_ledger DIR [ENTRIES]       DIR is empty and stays so; on tmpfs many entries are made soon
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/privacy/ledger.h"

static const uint8_t secret[TRIB_LEDGER_SECRET_SIZE] = {1};

// With and without a window, which must be kept in memory.
static enum trib_err open_it(const char *dir, uint64_t window_ms, struct trib_ledger **ret_ledger)
{
    const struct trib_ledger_options options = {
        .dir = dir, .secret = secret, .budget.window_ms = window_ms};
    return trib_ledger_open(&options, ret_ledger);
}

static int fill(const char *dir, unsigned long entries)
{
    const struct trib_encoding encoding = {
        .mode = TRIB_PRIVACY_LOCAL, .grid_bits = 12, .s1 = 2048, .s2 = 512};
    const uint8_t whom[TRIB_LEDGER_WHOM_SIZE] = {0};
    struct trib_ledger *ledger;
    struct trib_charge charge;
    uint64_t reservation;
    if (open_it(dir, 0, &ledger))
        return 1;
    const uint64_t start_us = trib_clock_mono_us();
    trib_ledger_charge(&encoding, 1, 1, whom, &charge);
    for (unsigned long i = 0; i < entries; i++) {
        if (trib_ledger_reserve(ledger, &charge, &reservation))
            return 1;
    }
    (void)printf("reserve  %.1f us each\n",
                 (double)(trib_clock_mono_us() - start_us) / (double)entries);
    trib_ledger_close(ledger);
    return 0;
}

static int open_timed(const char *dir, uint64_t window_ms, const char *what)
{
    struct trib_ledger_totals totals;
    struct trib_ledger *ledger;
    const uint64_t start_us = trib_clock_mono_us();
    if (open_it(dir, window_ms, &ledger))
        return 1;
    const double seconds = (double)(trib_clock_mono_us() - start_us) / 1e6;
    trib_ledger_totals(ledger, &totals);
    (void)printf("open     %.3f s for %lu entries, %s\n", seconds, (unsigned long)totals.entries,
                 what);
    trib_ledger_close(ledger);
    return 0;
}

int main(int argc, char **argv)
{
    char path[TRIB_PATH_MAX + 1];
    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench_ledger DIR [ENTRIES]\n");
        return 2;
    }
    const char *dir = argv[1];
    char *end = NULL;
    const unsigned long entries = argc > 2 ? strtoul(argv[2], &end, 10) : 1000000;
    if (entries == 0 || (end && *end)) {
        (void)fprintf(stderr, "bench_ledger: how many entries?\n");
        return 2;
    }
    int failed = fill(dir, entries) || open_timed(dir, 0, "lifetime budget") ||
                 open_timed(dir, UINT64_MAX / 4, "all of them in the window");
    if (!trib_path_join(path, dir, "privacy.ledger"))
        (void)unlink(path);
    if (!trib_path_join(path, dir, "privacy.head"))
        (void)unlink(path);
    return failed;
}
