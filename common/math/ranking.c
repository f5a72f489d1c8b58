#include "common/math/ranking.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/math/intervals.h"

enum {
    BYTES = 8,     // of a score, each sorted by on its own
    VALUES = 256,  // of a byte
    SORT_MIN = 256 // rows, below which comparing them takes less
};

static int by_falling_score(const void *a, const void *b)
{
    double left = ((const struct trib_scored *)a)->score;
    double right = ((const struct trib_scored *)b)->score;
    return (left < right) - (left > right);
}

// Unsigned numbers that grow where scores fall.
static uint64_t falling_key(double score)
{
    uint64_t bits;
    memcpy(&bits, &score, sizeof(bits));
    return bits >> 63 ? bits : ~bits & INT64_MAX;
}

// By falling score, byte by byte from the last: every evaluation of many classes sorts all its rows for
// each of them. Scores of floats have bytes that are always zero, which cost nothing.
static enum trib_err sort_rows(struct trib_scored *rows, size_t count)
{
    size_t counts[BYTES][VALUES] = {{0}};
    if (count < SORT_MIN) {
        qsort(rows, count, sizeof(*rows), by_falling_score);
        return TRIB_OK;
    }
    struct trib_scored *room = trib_alloc_array(count, sizeof(*room));
    if (!room)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const uint64_t key = falling_key(rows[i].score);
        for (int b = 0; b < BYTES; b++)
            counts[b][key >> 8 * b & 0xff]++;
    }
    struct trib_scored *from = rows, *to = room;
    for (int b = 0; b < BYTES; b++) {
        size_t places[VALUES];
        if (counts[b][falling_key(rows[0].score) >> 8 * b & 0xff] == count)
            continue; // all have the same
        for (size_t v = 0, place = 0; v < VALUES; v++) {
            places[v] = place;
            place += counts[b][v];
        }
        for (size_t i = 0; i < count; i++)
            to[places[falling_key(from[i].score) >> 8 * b & 0xff]++] = from[i];
        struct trib_scored *other = from;
        from = to;
        to = other;
    }
    if (from == room)
        memcpy(rows, room, count * sizeof(*rows));
    free(room);
    return TRIB_OK;
}

enum trib_err trib_ranking_scores(struct trib_scored *rows, size_t count,
                                  struct trib_ranking_scores *ret_scores)
{
    size_t positives = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(rows[i].score))
            return TRIB_ERR_DATA;
        positives += rows[i].positive;
    }
    if (count == 0)
        return TRIB_ERR_DATA;
    enum trib_err err = sort_rows(rows, count);
    if (err)
        return err;

    double pairs = 0, precision = 0; // both summed over the groups of tied scores
    size_t above = 0;                // positives scored higher than the group
    for (size_t first = 0, end; first < count; first = end) {
        size_t tied = 0;
        for (end = first; end < count && !(rows[end].score < rows[first].score); end++)
            tied += rows[end].positive;
        double negatives = (double)(end - first - tied);
        pairs += negatives * ((double)above + 0.5 * (double)tied);
        above += tied;
        precision += (double)tied * ((double)above / (double)end);
    }
    const double all_pairs = (double)positives * (double)(count - positives);
    *ret_scores = (struct trib_ranking_scores){
        .roc_auc = all_pairs > 0 ? pairs / all_pairs : (double)NAN,
        .average_precision = positives ? precision / (double)positives : 0,
    };
    return TRIB_OK;
}

// ---- More than two classes

// The area of column `class` over the rows of class `class` against those of class `other`, or
// against all others.
static enum trib_err column_auc(const struct trib_multi_scored *scored, size_t class,
                                const uint32_t *other, struct trib_scored *room, double *ret_auc)
{
    struct trib_ranking_scores scores;
    size_t count = 0;
    for (size_t r = 0; r < scored->rows; r++) {
        bool positive = scored->labels[r] == class;
        if (positive || !other || scored->labels[r] == *other)
            room[count++] =
                (struct trib_scored){scored->scores[r * scored->classes + class], positive};
    }
    enum trib_err err = trib_ranking_scores(room, count, &scores);
    if (!err)
        *ret_auc = scores.roc_auc;
    return err;
}

static enum trib_err prepare_multi(const struct trib_multi_scored *scored,
                                   struct trib_scored **ret_room, size_t **ret_counts)
{
    if (scored->rows == 0)
        return TRIB_ERR_DATA;
    struct trib_scored *room = trib_alloc_array(scored->rows, sizeof(*room));
    size_t *counts = trib_alloc_array(scored->classes, sizeof(*counts));
    if (!room || !counts) {
        free(room);
        free(counts);
        return TRIB_ERR_NOMEM;
    }
    for (size_t r = 0; r < scored->rows; r++)
        counts[scored->labels[r]]++;
    *ret_room = room;
    *ret_counts = counts;
    return TRIB_OK;
}

static bool has_every_class(const size_t *counts, size_t classes)
{
    bool has = true;
    for (size_t c = 0; c < classes; c++)
        has = has && counts[c] > 0;
    return has;
}

enum trib_err trib_multi_auc_ovr(const struct trib_multi_scored *scored,
                                 struct trib_multi_auc *ret_auc)
{
    struct trib_scored *room;
    size_t *counts;
    double macro = 0, weighted = 0, error = 0;
    enum trib_err err = prepare_multi(scored, &room, &counts);
    if (err)
        return err;
    for (size_t c = 0; c < scored->classes && !err; c++) {
        double auc = (double)NAN; // also of an empty class, so that the means are NaN
        err = column_auc(scored, c, NULL, room, &auc);
        macro += auc / (double)scored->classes;
        error += trib_auc_error(auc, (double)counts[c], (double)(scored->rows - counts[c])) /
                 (double)scored->classes;
        weighted += counts[c] ? auc * (double)counts[c] / (double)scored->rows : (double)NAN;
    }
    if (!err) {
        ret_auc->ovr_macro = macro;
        ret_auc->ovr_weighted = weighted;
        ret_auc->ovr_error = error;
    }
    free(room);
    free(counts);
    return err;
}

enum trib_err trib_multi_auc_ovo(const struct trib_multi_scored *scored,
                                 struct trib_multi_auc *ret_auc)
{
    struct trib_scored *room;
    size_t *counts;
    double macro = 0, weighted = 0, shares = 0, pairs = 0;
    enum trib_err err = prepare_multi(scored, &room, &counts);
    if (err)
        return err;
    const bool exists = has_every_class(counts, scored->classes);
    for (uint32_t a = 0; exists && a < scored->classes && !err; a++) {
        for (uint32_t b = a + 1; b < scored->classes && !err; b++) {
            double one = (double)NAN, other = (double)NAN;
            const double share = (double)(counts[a] + counts[b]) / (double)scored->rows;
            err = column_auc(scored, a, &b, room, &one);
            if (!err)
                err = column_auc(scored, b, &a, room, &other);
            macro += (one + other) / 2;
            weighted += share * (one + other) / 2;
            shares += share;
            pairs++;
        }
    }
    if (!err) {
        ret_auc->ovo_macro = exists ? macro / pairs : (double)NAN;
        ret_auc->ovo_weighted = exists ? weighted / shares : (double)NAN;
    }
    free(room);
    free(counts);
    return err;
}
