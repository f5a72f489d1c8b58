// chi_square.h - Pearson's test of counted cells against their exact probabilities.
#ifndef TRIB_TESTS_UNIT_CHI_SQUARE_H
#define TRIB_TESTS_UNIT_CHI_SQUARE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

// Cells that expect fewer than 20 are pooled with their neighbours: below that the statistic does
// not follow its law.
struct chi_square {
    double statistic;
    double expected; // of the cell being pooled
    double counted;
    int cells;
};

static inline void chi_square_add(struct chi_square *chi, double expected, uint64_t counted)
{
    chi->expected += expected;
    chi->counted += (double)counted;
    if (chi->expected < 20)
        return;
    double miss = chi->counted - chi->expected;
    chi->statistic += miss * miss / chi->expected;
    chi->cells++;
    chi->expected = 0;
    chi->counted = 0;
}

// The standard normal deviate of the statistic (Wilson & Hilferty 1931); above 4.75 with p < 1e-6.
static inline double chi_square_deviate(const struct chi_square *chi)
{
    double freedom = chi->cells - 1;
    double spread = 2 / (9 * freedom);
    return (cbrt(chi->statistic / freedom) - (1 - spread)) / sqrt(spread);
}

#define CHI_SQUARE_MAX 4.75

#endif // TRIB_TESTS_UNIT_CHI_SQUARE_H
