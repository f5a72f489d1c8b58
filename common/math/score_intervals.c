#include "common/math/score_intervals.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/alloc.h"

enum score {
    PRECISION,
    RECALL,
    F1,
    BALANCED,
    MCC,
    KAPPA,
    POSITIVE_F1,
    SCORES
};

struct margin {
    double truth, predicted;      // shares of all rows
    double precision, recall, f1; // of the class
};

struct derivation {
    uint32_t classes;
    const uint64_t *counts;
    const struct trib_class_scores *scores;
    double rows;
    double present;         // classes that have rows
    double agree;           // sum of truth x predicted
    double truth_pairs;     // 1 - sum of truth^2
    double predicted_pairs; // the same of predicted
    struct margin *margins; // (classes), owned
};

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static enum trib_err derivation_init(struct derivation *d)
{
    d->margins = trib_alloc_array(d->classes, sizeof(*d->margins));
    if (!d->margins)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < d->classes; i++) {
        for (size_t j = 0; j < d->classes; j++) {
            const double count = (double)d->counts[i * d->classes + j];
            d->rows += count;
            d->margins[i].truth += count;
            d->margins[j].predicted += count;
        }
    }
    for (size_t c = 0; c < d->classes; c++) {
        struct margin *m = &d->margins[c];
        m->truth /= d->rows;
        m->predicted /= d->rows;
        const double hit = (double)d->counts[c * d->classes + c] / d->rows;
        m->precision = ratio(hit, m->predicted);
        m->recall = ratio(hit, m->truth);
        m->f1 = ratio(2 * hit, m->truth + m->predicted);
        d->present += m->truth > 0;
        d->agree += m->truth * m->predicted;
        d->truth_pairs += m->truth * (1 - m->truth);
        d->predicted_pairs += m->predicted * (1 - m->predicted);
    }
    return TRIB_OK;
}

// By the share of a cell that has rows: true class i, predicted class j.
static void gradient_of(const struct derivation *d, uint32_t i, uint32_t j,
                        double ret_gradient[static SCORES])
{
    const struct margin *truth = &d->margins[i];
    const struct margin *predicted = &d->margins[j];
    const double hit = i == j;
    const double recall = (hit - truth->recall) / truth->truth;
    const double truths = truth->truth + truth->predicted;
    const double predictions = predicted->truth + predicted->predicted;
    const double both = truth->predicted + predicted->truth; // of `agree`
    const double scale = sqrt(d->truth_pairs * d->predicted_pairs);
    const double beyond = 1 - d->agree;
    ret_gradient[PRECISION] = (hit - predicted->precision) / predicted->predicted / d->classes;
    ret_gradient[RECALL] = recall / d->classes;
    ret_gradient[F1] =
        (2 * hit / truths - truth->f1 / truths - predicted->f1 / predictions) / d->classes;
    ret_gradient[BALANCED] = recall / d->present;
    ret_gradient[MCC] = scale > 0 ? (hit - both) / scale +
                                        d->scores->mcc * (truth->truth / d->truth_pairs +
                                                          predicted->predicted / d->predicted_pairs)
                                  : 0;
    ret_gradient[KAPPA] =
        beyond > 0 ? (hit - both * (1 - d->scores->accuracy) / beyond) / beyond : 0;
    // f = 2 p_11 / (truth_1 + predicted_1)
    const struct margin *positive = &d->margins[1];
    const double whole = positive->truth + positive->predicted;
    const double touched = (i == 1) + (j == 1);
    ret_gradient[POSITIVE_F1] =
        whole > 0 ? ((i == 1 && j == 1) * 2 - positive->f1 * touched) / whole : 0;
}

static struct trib_interval around(double value, double variance, double lowest)
{
    // No variance is no knowledge.
    return trib_interval_below_one(value, variance > 0 ? sqrt(variance) : (double)NAN, lowest);
}

static void variances_of(const struct derivation *d, double ret_variances[static SCORES])
{
    // A variance that is not more than what rounding leaves of its two parts is 0.
    static const double rounding = 1e-12;
    double means[SCORES] = {0}, squares[SCORES] = {0}, gradient[SCORES];
    for (uint32_t i = 0; i < d->classes; i++) {
        for (uint32_t j = 0; j < d->classes; j++) {
            const double share = (double)d->counts[(size_t)i * d->classes + j] / d->rows;
            if (!(share > 0))
                continue;
            gradient_of(d, i, j, gradient);
            for (size_t s = 0; s < SCORES; s++) {
                means[s] += share * gradient[s];
                squares[s] += share * gradient[s] * gradient[s];
            }
        }
    }
    for (size_t s = 0; s < SCORES; s++) {
        const double spread = squares[s] - means[s] * means[s];
        ret_variances[s] = spread > rounding * squares[s] ? spread / d->rows : 0;
    }
}

enum trib_err trib_score_intervals(const struct trib_confusion *confusion,
                                   const struct trib_class_scores *scores,
                                   struct trib_score_intervals *ret_intervals)
{
    struct derivation d = {
        .classes = confusion->classes, .counts = confusion->counts, .scores = scores};
    const struct trib_interval none = {(double)NAN, (double)NAN};
    double variances[SCORES];
    enum trib_err err = derivation_init(&d);
    if (err)
        return err;
    variances_of(&d, variances);
    *ret_intervals = (struct trib_score_intervals){
        .precision = around(scores->macro.precision, variances[PRECISION], 0),
        .recall = around(scores->macro.recall, variances[RECALL], 0),
        .f1 = around(scores->macro.f1, variances[F1], 0),
        .balanced_accuracy = around(scores->balanced_accuracy, variances[BALANCED], 0),
        .mcc = around(scores->mcc, variances[MCC], -1),
        .kappa = around(scores->kappa, variances[KAPPA], -1),
        .positive_precision = none,
        .positive_recall = none,
        .positive_f1 = none,
    };
    if (d.classes == 2) {
        const struct margin *positive = &d.margins[1];
        ret_intervals->positive_precision =
            trib_interval_share(scores->binary.precision, positive->predicted * d.rows);
        ret_intervals->positive_recall =
            trib_interval_share(scores->binary.recall, positive->truth * d.rows);
        ret_intervals->positive_f1 = around(scores->binary.f1, variances[POSITIVE_F1], 0);
    }
    free(d.margins);
    return TRIB_OK;
}
