// intervals.h - how far a metric of held-out rows may be from that of the population they come
// from.
//
// Two-sided intervals of confidence 0.95 for rows that are drawn independently; rows of one device,
// or near copies of each other, make them too narrow.
#ifndef TRIB_MATH_INTERVALS_H
#define TRIB_MATH_INTERVALS_H

#define TRIB_CONFIDENCE 0.95
// The normal law has 0.975 of its mass below so many standard deviations.
#define TRIB_CONFIDENCE_ERRORS 1.959963984540054

struct trib_interval {
    double low, high; // both NaN: there is none
};

// A share of rows, e.g. accuracy: Wilson 1927 (the score interval). No rows: none.
struct trib_interval trib_interval_share(double share, double rows);

// A mean of numbers that are not negative, and its standard error: mean -+ 1.96 errors, cut at 0
// (the normal law: for a hundred rows or more).
struct trib_interval trib_interval_mean(double mean, double error);

// A number below 1, and its standard error, by the normal law, cut at `lowest` and 1.
struct trib_interval trib_interval_below_one(double value, double error, double lowest);

// Standard error of a ROC-AUC of so many positive and negative rows: Hanley & McNeil 1982, eq. 2.
// NaN where one of them is 0.
double trib_auc_error(double auc, double positives, double negatives);
// The AUC with that error, cut to [0, 1]. A mean of AUCs has at most the mean of their errors,
// however they depend on each other.
struct trib_interval trib_interval_auc(double auc, double positives, double negatives);

// Average precision of so many positive rows: the normal law around its logit, with the standard
// error 1 / sqrt(positives p (1 - p)) (Boyd, Eng & Page 2013, section 3.2).
struct trib_interval trib_interval_precision(double average, double positives);

#endif // TRIB_MATH_INTERVALS_H
