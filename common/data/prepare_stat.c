#include "common/data/prepare_stat.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is not above `least` is nothing: noise can make a count negative.
static double count_of(double total, double least)
{
    return total > least ? total : 0;
}

double trib_noisy_rows(double total, double noise)
{
    return count_of(total, 3 * noise);
}

// ---- Moments

size_t trib_moments_sums(size_t pass)
{
    return pass == 0 ? 2 : 3;
}

void trib_moments_gather(const double *fitted, size_t pass, double x,
                         struct trib_prepare_sums *sums, size_t first)
{
    if (isnan(x))
        return;
    trib_prepare_sums_add(sums, first, 1);
    if (pass == 0) {
        trib_prepare_sums_add(sums, first + 1, x);
        return;
    }
    const double d = x - fitted[1];
    trib_prepare_sums_add(sums, first + 1, d);
    trib_prepare_sums_add(sums, first + 2, d * d);
}

void trib_moments_advance(double *fitted, size_t pass, const double *totals, double noise)
{
    const double n = trib_noisy_rows(totals[0], noise);
    fitted[0] = n;
    if (pass == 0) {
        fitted[1] = n > 0 ? totals[1] / n : 0;
        return;
    }
    const double shift = n > 0 ? totals[1] / n : 0; // what the mean of pass 0 was off by
    const double variance = n > 0 ? totals[2] / n - shift * shift : 0;
    fitted[1] += shift;
    fitted[2] = variance > 0 ? sqrt(variance) : 0;
}

void trib_moments_confine(double *fitted, size_t pass, double min, double max, double noise)
{
    const double span = max - min;
    if (noise > 0 && fitted[0] == 0) { // nothing is known but the range
        fitted[1] = min + span / 2;
        fitted[2] = pass > 0 ? span / 4 : 0;
        return;
    }
    fitted[1] = fmin(fmax(fitted[1], min), max);
    fitted[2] = fmin(fitted[2], span / 2); // Popoviciu 1935
    if (noise > 0 && pass > 0) // a variance that the noise hides is as large as that may be
        fitted[2] = fmax(fitted[2], fmin(span * sqrt(noise / fitted[0]), span / 2));
}

void trib_moments_bounds(size_t pass, double size, double span, double *ret_bounds)
{
    ret_bounds[0] = 1;
    ret_bounds[1] = pass == 0 ? size : span;
    if (pass > 0)
        ret_bounds[2] = span * span;
}

// ---- Quantiles

static unsigned bits_of(size_t pass)
{
    return pass < 2 ? 11 : 10;
}

// Bits that sort as the values do: negative ones turned over, the others behind them.
static uint32_t key_of(double x)
{
    const float value = (float)x + 0.0F; // -0 is 0
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static double value_of(uint32_t key)
{
    const uint32_t bits = key & 0x80000000u ? key ^ 0x80000000u : ~key;
    char text[32];
    float value;
    memcpy(&value, &bits, sizeof(value));
    for (int digits = 6; digits <= 9; digits++) {
        char *end;
        (void)snprintf(text, sizeof(text), "%.*g", digits, (double)value);
        const double number = strtod(text, &end);
        if ((float)number == value)
            return number;
    }
    return (double)value;
}

size_t trib_quantiles_fitted(size_t asks)
{
    return 1 + asks * TRIB_QUANTILE_FITTED;
}

// In the first pass nothing tells the quantiles apart yet.
static size_t histograms(size_t asks, size_t pass)
{
    return pass == 0 ? 1 : asks;
}

size_t trib_quantiles_sums(size_t asks, size_t pass)
{
    return histograms(asks, pass) << bits_of(pass);
}

void trib_quantiles_gather(const double *fitted, size_t asks, size_t pass, double x,
                           struct trib_prepare_sums *sums, size_t first)
{
    if (isnan(x))
        return;
    const uint32_t key = key_of(x);
    const unsigned bits = bits_of(pass);
    const unsigned below = pass == 0 ? 21 : pass == 1 ? 10 : 0;
    for (size_t i = 0; i < histograms(asks, pass); i++) {
        const uint64_t prefix = (uint64_t)fitted[1 + i * TRIB_QUANTILE_FITTED];
        if (pass > 0 && (key >> (below + bits)) != prefix)
            continue;
        const size_t bin = key >> below & ((1u << bits) - 1);
        trib_prepare_sums_add(sums, first + (i << bits) + bin, 1);
    }
}

// The bin that holds the value of this rank, and its rank among the values of the bin.
static size_t find_bin(const double *histogram, size_t bins, double *rank)
{
    double before = 0;
    size_t last = bins / 2;
    for (size_t b = 0; b < bins; b++) {
        const double count = count_of(histogram[b], 0);
        if (count == 0)
            continue;
        last = b;
        if (before + count >= *rank) {
            *rank -= before;
            return b;
        }
        before += count;
    }
    *rank = 1;
    return last;
}

// The same of a histogram with noise; the rank is a share, below 1, and becomes one of the bin.
static size_t find_noisy_bin(const double *histogram, size_t bins, double least, double *share)
{
    static const double share_max = 1 - 0x1p-30; // 1 and more are ranks
    double all = 0, stands_out = 0, before = 0;
    for (size_t b = 0; b < bins; b++) {
        all += histogram[b];
        stands_out += count_of(histogram[b], least);
    }
    if (*share >= 1) // a pass before this one was exact
        *share = all > 0 ? fmin((*share - 0.5) / all, share_max) : 0.5;
    const double rank = *share * stands_out;
    const double place = *share * (double)bins;
    size_t found = place < (double)bins ? (size_t)place : bins - 1;
    double in_bin = place - (double)found;
    for (size_t b = 0; b < bins && stands_out > 0 && stands_out >= all / 2; b++) {
        const double count = count_of(histogram[b], least);
        if (count == 0)
            continue;
        found = b;
        in_bin = fmax((rank - before) / count, 0);
        if (before + count >= rank)
            break;
        before += count;
    }
    *share = fmin(in_bin, share_max);
    return found;
}

// What is counted of a histogram; 0 where most of it is in bins that do not stand out.
static double total_of(const double *histogram, size_t bins, double least)
{
    double all = 0, stands_out = 0;
    for (size_t b = 0; b < bins; b++) {
        all += histogram[b];
        stands_out += count_of(histogram[b], least);
    }
    return stands_out < all / 2 ? 0 : stands_out;
}

static double sum_of(const double *histogram, size_t bins)
{
    double sum = 0;
    for (size_t b = 0; b < bins; b++)
        sum += count_of(histogram[b], 0);
    return sum;
}

void trib_quantiles_advance(double *fitted, const double *quantiles, size_t asks, size_t pass,
                            const double *totals, double noise)
{
    const unsigned bits = bits_of(pass);
    const size_t bins = (size_t)1 << bits;
    const double least = noise * log(20 * (double)bins) / sqrt(2);
    if (pass == 0)
        fitted[0] = total_of(totals, bins, least);
    for (size_t i = 0; i < asks; i++) {
        double *value = &fitted[1 + i * TRIB_QUANTILE_FITTED];
        double *rank = value + 1;
        const double *histogram = totals + (pass == 0 ? 0 : i << bits);
        if (pass == 0 && noise > 0)
            *rank = fmin(quantiles[i], 1 - 0x1p-30);
        else if (pass > 0 && noise == 0 && *rank < 1) // a pass before this one had noise
            *rank = fmax(1, ceil(*rank * sum_of(histogram, bins)));
        else if (pass == 0)
            *rank = fmax(1, ceil(quantiles[i] * fitted[0] - 1e-9)); // 0.95 * 20 is not above 19
        const uint64_t prefix = pass == 0 ? 0 : (uint64_t)*value;
        const size_t bin = noise > 0 ? find_noisy_bin(histogram, bins, least, rank)
                                     : find_bin(histogram, bins, rank);
        const uint64_t key = prefix << bits | bin;
        *value = pass + 1 < TRIB_QUANTILE_PASSES ? (double)key : value_of((uint32_t)key);
        if (pass + 1 == TRIB_QUANTILE_PASSES && (fitted[0] == 0 || !isfinite(*value)))
            *value = 0;
    }
}

double trib_quantiles_value(const double *fitted, size_t ask)
{
    return fitted[1 + ask * TRIB_QUANTILE_FITTED];
}

// ---- Counts

size_t trib_counts_mode(const double *totals, size_t count)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        if (totals[i] > 0 && (best == count || totals[i] > totals[best]))
            best = i;
    }
    return best;
}
