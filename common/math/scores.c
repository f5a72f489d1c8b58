#include "common/math/scores.h"

#include <math.h>

enum trib_err trib_confusion_merge(struct trib_confusion *confusion,
                                   const struct trib_confusion *from)
{
    const size_t cells = (size_t)confusion->classes * confusion->classes;
    if (from->classes != confusion->classes)
        return TRIB_ERR_DATA;
    for (size_t i = 0; i < cells; i++) {
        if (from->counts[i] > UINT64_MAX - confusion->counts[i])
            return TRIB_ERR_DATA;
    }
    for (size_t i = 0; i < cells; i++)
        confusion->counts[i] += from->counts[i];
    return TRIB_OK;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static enum trib_err count_rows(const struct trib_confusion *confusion, uint64_t *ret_rows)
{
    const size_t cells = (size_t)confusion->classes * confusion->classes;
    uint64_t rows = 0;
    for (size_t i = 0; i < cells; i++) {
        if (confusion->counts[i] > UINT64_MAX - rows)
            return TRIB_ERR_DATA;
        rows += confusion->counts[i];
    }
    if (rows == 0)
        return TRIB_ERR_DATA;
    *ret_rows = rows;
    return TRIB_OK;
}

struct class_counts {
    double hit, truth, predicted; // rows
};

static struct class_counts count_class(const struct trib_confusion *confusion, uint32_t class)
{
    const size_t classes = confusion->classes;
    uint64_t truth = 0;
    uint64_t predicted = 0;
    for (size_t i = 0; i < classes; i++) {
        truth += confusion->counts[class * classes + i];
        predicted += confusion->counts[i * classes + class];
    }
    return (struct class_counts){(double)confusion->counts[class * classes + class], (double)truth,
                                 (double)predicted};
}

static void add_scores(struct trib_mean_scores *sum, const struct class_counts *counts,
                       double weight)
{
    sum->precision += weight * ratio(counts->hit, counts->predicted);
    sum->recall += weight * ratio(counts->hit, counts->truth);
    sum->f1 += weight * ratio(2 * counts->hit, counts->truth + counts->predicted);
}

enum trib_err trib_class_scores(const struct trib_confusion *confusion,
                                struct trib_class_scores *ret_scores)
{
    const double classes = confusion->classes;
    const double none = confusion->classes == 2 ? 0 : (double)NAN;
    struct trib_class_scores scores = {.binary = {none, none, none}};
    double right = 0, agree = 0, truth_pairs = 0, predicted_pairs = 0; // shares of all rows
    double recalls = 0, present = 0;
    uint64_t total;

    enum trib_err err = count_rows(confusion, &total);
    if (err)
        return err;
    const double rows = (double)total;
    for (uint32_t c = 0; c < confusion->classes; c++) {
        const struct class_counts counts = count_class(confusion, c);
        const double truth = counts.truth / rows;
        const double predicted = counts.predicted / rows;
        add_scores(&scores.macro, &counts, 1 / classes);
        add_scores(&scores.weighted, &counts, truth);
        if (c == 1 && confusion->classes == 2)
            add_scores(&scores.binary, &counts, 1);
        recalls += ratio(counts.hit, counts.truth);
        present += counts.truth > 0;
        right += counts.hit;
        agree += truth * predicted;
        truth_pairs += truth * (1 - truth);
        predicted_pairs += predicted * (1 - predicted);
    }
    scores.accuracy = right / rows;
    scores.micro = (struct trib_mean_scores){scores.accuracy, scores.accuracy, scores.accuracy};
    scores.balanced_accuracy = recalls / present;
    // Gorodkin 2004, eq. 8: the correlation of the two assignments.
    scores.mcc = ratio(scores.accuracy - agree, sqrt(truth_pairs * predicted_pairs));
    // Cohen 1960: agreement beyond what the margins alone give.
    scores.kappa = agree < 1 ? (scores.accuracy - agree) / (1 - agree) : (double)NAN;
    *ret_scores = scores;
    return TRIB_OK;
}
