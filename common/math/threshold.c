#include "common/math/threshold.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum trib_goal goal;
    bool has_level;
} goals[] = {
    {"none", TRIB_GOAL_NONE, false},         {"f1", TRIB_GOAL_F1, false},
    {"accuracy", TRIB_GOAL_ACCURACY, false}, {"youden", TRIB_GOAL_YOUDEN, false},
    {"recall", TRIB_GOAL_RECALL, true},      {"precision", TRIB_GOAL_PRECISION, true},
};

enum trib_err trib_threshold_goal_parse(const char *text, struct trib_threshold_goal *ret_goal)
{
    const size_t size = strcspn(text, ":");
    for (size_t i = 0; i < sizeof(goals) / sizeof(goals[0]); i++) {
        double level = 0;
        if (strlen(goals[i].name) != size || strncmp(goals[i].name, text, size) != 0 ||
            goals[i].has_level != (text[size] == ':'))
            continue;
        if (goals[i].has_level) {
            char *end;
            level = strtod(text + size + 1, &end);
            if (end == text + size + 1 || *end || !(level > 0 && level <= 1))
                return TRIB_ERR_INVAL;
        }
        *ret_goal = (struct trib_threshold_goal){goals[i].goal, level};
        return TRIB_OK;
    }
    return TRIB_ERR_INVAL;
}

// Rows in all, and those that a threshold takes for class 1.
struct taken {
    double positives, negatives;
    double hits, misses; // taken: of class 1, of class 0
};

static double precision_of(const struct taken *taken)
{
    return taken->hits / (taken->hits + taken->misses);
}

// How well a threshold serves a goal. Thresholds come falling, so that of equal ones the first, the
// highest, is kept.
static double worth(const struct trib_threshold_goal *goal, const struct taken *taken)
{
    const double recall = taken->hits / taken->positives;
    switch (goal->goal) {
    case TRIB_GOAL_NONE: break;
    case TRIB_GOAL_F1: return taken->hits / (taken->positives + taken->hits + taken->misses);
    case TRIB_GOAL_ACCURACY: return taken->hits - taken->misses;
    case TRIB_GOAL_YOUDEN: // times both, so that equal ones are equal without rounding
        return taken->hits * taken->negatives - taken->misses * taken->positives;
    case TRIB_GOAL_RECALL: return recall >= goal->level ? 1 : 0;
    case TRIB_GOAL_PRECISION: // any that reaches the level is worth more than one that does not
        return precision_of(taken) >= goal->level ? 1 + taken->hits + taken->misses
                                                  : precision_of(taken);
    }
    return 0;
}

enum trib_err trib_threshold_choose(struct trib_scored *rows, size_t count,
                                    const struct trib_threshold_goal *goal, double *ret_threshold)
{
    struct trib_ranking_scores scores;
    struct taken taken = {0};
    double best = 0, threshold = 0.5;
    bool has_best = false;

    for (size_t i = 0; i < count; i++) {
        taken.positives += rows[i].positive;
        taken.negatives += !rows[i].positive;
        if (!(rows[i].score >= 0 && rows[i].score <= 1))
            return TRIB_ERR_DATA;
    }
    if (taken.positives == 0 || taken.negatives == 0)
        return TRIB_ERR_DATA;
    enum trib_err err = trib_ranking_scores(rows, count, &scores); // sorts
    for (size_t first = 0, end; first < count && !err; first = end) {
        for (end = first; end < count && !(rows[end].score < rows[first].score); end++) {
            taken.hits += rows[end].positive;
            taken.misses += !rows[end].positive;
        }
        const double value = worth(goal, &taken);
        if (goal->goal == TRIB_GOAL_NONE || (has_best && value <= best))
            continue;
        has_best = true;
        best = value;
        threshold = (rows[first].score + (end < count ? rows[end].score : 0)) / 2;
    }
    if (!err)
        *ret_threshold = threshold;
    return err;
}
