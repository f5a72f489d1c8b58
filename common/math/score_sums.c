#include "common/math/score_sums.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/math/intervals.h"
#include "common/math/probabilities.h"

enum {
    BINS = TRIB_SCORE_BINS,
    // Offsets of cells
    ROWS = 0,
    LEFT_OUT,
    TOP_K,
    LOG_LOSS,
    LOG_LOSS_SQUARE,
    BRIER,
    BRIER_SQUARE,
    CONFUSION,
};

#define UNIT        0x1p30
#define SQUARE_UNIT 0x1p20

static size_t columns_of(uint32_t classes)
{
    return classes == 2 ? 1 : classes;
}

static size_t scores_at(uint32_t classes)
{
    return CONFUSION + (size_t)classes * classes;
}

static size_t calibration_at(uint32_t classes)
{
    return scores_at(classes) + columns_of(classes) * 2 * BINS;
}

size_t trib_score_sums_count(uint32_t classes)
{
    return calibration_at(classes) + (classes == 2 ? 1 : 3) * (size_t)BINS;
}

enum trib_err trib_score_sums_init(struct trib_score_sums *sums, uint32_t classes, uint32_t top_k)
{
    assert(classes >= 2);
    *sums = (struct trib_score_sums){.classes = classes,
                                     .top_k = top_k,
                                     .threshold = 0.5,
                                     .count = trib_score_sums_count(classes)};
    sums->cells = trib_alloc_array(sums->count, sizeof(*sums->cells));
    return sums->cells ? TRIB_OK : TRIB_ERR_NOMEM;
}

void trib_score_sums_fini(struct trib_score_sums *sums)
{
    free(sums->cells);
    *sums = (struct trib_score_sums){0};
}

// ---- Adding

static size_t bin_of(double score)
{
    const size_t bin = (size_t)(score * BINS);
    return bin < BINS ? bin : BINS - 1;
}

// A row's share of a sum, rounded to whole units: sums of whole numbers do not depend on the order.
static uint64_t units(double value, double unit)
{
    return (uint64_t)llround(value * unit);
}

static uint32_t predict(const struct trib_score_sums *sums, const double *p)
{
    uint32_t best = 0;
    if (sums->classes == 2)
        return p[1] >= sums->threshold;
    for (uint32_t c = 1; c < sums->classes; c++)
        best = p[c] > p[best] ? c : best;
    return best;
}

static void add_scores(struct trib_score_sums *sums, const double *p, uint32_t label)
{
    uint64_t *column = sums->cells + scores_at(sums->classes);
    uint64_t *calibration = sums->cells + calibration_at(sums->classes);
    if (sums->classes == 2) {
        const size_t bin = bin_of(p[1]);
        column[(label == 1 ? 0 : BINS) + bin]++;
        calibration[bin] += units(p[1], UNIT);
        return;
    }
    for (uint32_t c = 0; c < sums->classes; c++, column += (size_t)2 * BINS)
        column[(label == c ? 0 : BINS) + bin_of(p[c])]++;
    const uint32_t top = predict(sums, p);
    const size_t bin = bin_of(p[top]);
    calibration[(label == top ? 0 : BINS) + bin]++;
    calibration[(size_t)2 * BINS + bin] += units(p[top], UNIT);
}

void trib_score_sums_add(struct trib_score_sums *sums, const double *p, uint32_t label)
{
    uint64_t *cells = sums->cells;
    assert(label < sums->classes);
    for (uint32_t c = 0; c < sums->classes; c++) {
        if (!(p[c] >= 0 && p[c] <= 1)) {
            cells[LEFT_OUT]++;
            return;
        }
    }
    const double log_loss = trib_log_loss(p, sums->classes, label, TRIB_PROBABILITY_CLIP);
    const double brier = trib_brier(p, sums->classes, label);
    cells[ROWS]++;
    cells[TOP_K] += trib_is_in_top(p, sums->classes, label, sums->top_k);
    cells[LOG_LOSS] += units(log_loss, UNIT);
    cells[LOG_LOSS_SQUARE] += units(log_loss * log_loss, SQUARE_UNIT);
    cells[BRIER] += units(brier, UNIT);
    cells[BRIER_SQUARE] += units(brier * brier, SQUARE_UNIT);
    cells[CONFUSION + (size_t)label * sums->classes + predict(sums, p)]++;
    add_scores(sums, p, label);
}

enum trib_err trib_score_sums_merge(struct trib_score_sums *sums,
                                    const struct trib_score_sums *from)
{
    if (from->classes != sums->classes || from->top_k != sums->top_k)
        return TRIB_ERR_DATA;
    for (size_t i = 0; i < sums->count; i++) {
        if (from->cells[i] > UINT64_MAX - sums->cells[i])
            return TRIB_ERR_DATA;
    }
    for (size_t i = 0; i < sums->count; i++)
        sums->cells[i] += from->cells[i];
    return TRIB_OK;
}

struct trib_confusion trib_score_sums_confusion(const struct trib_score_sums *sums)
{
    return (struct trib_confusion){.classes = sums->classes, .counts = sums->cells + CONFUSION};
}

// ---- Values

struct ranked {
    double auc, auc_error, auc_bound;
    double precision, precision_low, precision_high;
};

// Rows in one bin, after those of all higher bins.
struct bin_rows {
    double hits, others;
    double hits_above, above; // hits, and all rows, of higher bins
};

// What the hits of a bin add to average precision: each adds the precision at the end of its group
// of tied scores.
static void add_precision(struct ranked *ranked, const struct bin_rows *bin)
{
    const double hits = bin->hits;
    const double behind = bin->above + bin->others;
    if (hits == 0)
        return;
    // All tied, as far as the bins tell.
    ranked->precision += hits * (bin->hits_above + hits) / (behind + hits);
    // At best all hits are tied and ahead of the others.
    ranked->precision_high += hits * (bin->hits_above + hits) / (bin->above + hits);
    // At worst they are behind and one by one: sum over j = 1 .. h of (A + j)/(C + j), that is
    // h - (C - A) sum 1/(C + j), and 1/x is convex: the sum is below the integral from C + 1/2 on.
    ranked->precision_low += hits - (behind - bin->hits_above) * log1p(hits / (behind + 0.5));
}

// Column: hits by bin, then the others.
static struct ranked rank_column(const uint64_t *column)
{
    struct ranked ranked = {0};
    double pairs = 0, lost = 0, hits_above = 0, others_above = 0;
    for (size_t b = BINS; b-- > 0;) {
        const struct bin_rows bin = {.hits = (double)column[b],
                                     .others = (double)column[BINS + b],
                                     .hits_above = hits_above,
                                     .above = hits_above + others_above};
        pairs += bin.others * (hits_above + 0.5 * bin.hits);
        lost += 0.5 * bin.hits * bin.others;
        add_precision(&ranked, &bin);
        hits_above += bin.hits;
        others_above += bin.others;
    }
    const double all = hits_above * others_above;
    const double hits = hits_above > 0 ? hits_above : 1; // without hits the sums are 0
    ranked.auc = all > 0 ? pairs / all : (double)NAN;
    ranked.auc_error = trib_auc_error(ranked.auc, hits_above, others_above);
    ranked.auc_bound = all > 0 ? lost / all : (double)NAN;
    ranked.precision /= hits;
    ranked.precision_low /= hits;
    ranked.precision_high /= hits;
    return ranked;
}

static void set_ranking(const struct trib_score_sums *sums, struct trib_score_values *values)
{
    const uint64_t *column = sums->cells + scores_at(sums->classes);
    const size_t columns = columns_of(sums->classes);
    double auc = 0, error = 0, bound = 0;
    struct ranked ranked = {0};
    for (size_t c = 0; c < columns; c++, column += (size_t)2 * BINS) {
        ranked = rank_column(column);
        auc += ranked.auc / (double)columns;
        error += ranked.auc_error / (double)columns;
        bound += ranked.auc_bound / (double)columns;
    }
    const bool is_binary = columns == 1;
    values->roc_auc = auc;
    values->roc_auc_error = error;
    values->roc_auc_bound = bound;
    values->average_precision = is_binary ? ranked.precision : (double)NAN;
    values->average_precision_low = is_binary ? ranked.precision_low : (double)NAN;
    values->average_precision_high = is_binary ? ranked.precision_high : (double)NAN;
}

void trib_score_sums_calibration(const struct trib_score_sums *sums,
                                 struct trib_calibration_bin bins[static TRIB_CALIBRATION_BINS])
{
    const size_t each = BINS / TRIB_CALIBRATION_BINS;
    const uint64_t *calibration = sums->cells + calibration_at(sums->classes);
    const bool is_binary = sums->classes == 2;
    const uint64_t *hits = is_binary ? sums->cells + scores_at(2) : calibration;
    const uint64_t *others = hits + BINS;
    const uint64_t *scores = is_binary ? calibration : calibration + (size_t)2 * BINS;
    for (size_t i = 0; i < TRIB_CALIBRATION_BINS; i++) {
        uint64_t hit = 0, rows = 0, sum = 0;
        for (size_t b = i * each; b < (i + 1) * each; b++) {
            hit += hits[b];
            rows += hits[b] + others[b];
            sum += scores[b];
        }
        bins[i] = (struct trib_calibration_bin){
            .rows = rows,
            .mean = rows ? (double)sum / UNIT / (double)rows : (double)NAN,
            .share = rows ? (double)hit / (double)rows : (double)NAN,
        };
    }
}

static double calibration_error(const struct trib_score_sums *sums, double rows)
{
    struct trib_calibration_bin bins[TRIB_CALIBRATION_BINS];
    double sum = 0;
    trib_score_sums_calibration(sums, bins);
    for (size_t i = 0; i < TRIB_CALIBRATION_BINS; i++) {
        if (bins[i].rows)
            sum += fabs(bins[i].share - bins[i].mean) * (double)bins[i].rows / rows;
    }
    return sum;
}

// Of a mean over `rows` rows of numbers with this mean square.
static double standard_error(double mean, double square, double rows)
{
    return rows > 1 ? sqrt(fmax(square - mean * mean, 0) / (rows - 1)) : (double)NAN;
}

enum trib_err trib_score_sums_values(const struct trib_score_sums *sums,
                                     struct trib_score_values *ret_values)
{
    const uint64_t *cells = sums->cells;
    const double rows = (double)cells[ROWS];
    if (cells[ROWS] == 0)
        return TRIB_ERR_DATA;
    struct trib_score_values values = {
        .rows = cells[ROWS],
        .left_out = cells[LEFT_OUT],
        .top_k = (double)cells[TOP_K] / rows,
        .log_loss = (double)cells[LOG_LOSS] / UNIT / rows,
        .brier = (double)cells[BRIER] / UNIT / rows,
        .ece = calibration_error(sums, rows),
    };
    values.log_loss_error =
        standard_error(values.log_loss, (double)cells[LOG_LOSS_SQUARE] / SQUARE_UNIT / rows, rows);
    values.brier_error =
        standard_error(values.brier, (double)cells[BRIER_SQUARE] / SQUARE_UNIT / rows, rows);
    set_ranking(sums, &values);
    *ret_values = values;
    return TRIB_OK;
}
