// selection.h - which version of a job is the best: the rule, played over what is stored.
//
// The versions of a job come in their order with the primary metric on the validation rows. The
// best is the first one that no other is better than: an equal one that comes later changes
// nothing. Rows that only report (round.test_share) have no say, and neither has a version that was
// not evaluated.
#ifndef TRIB_COORDINATOR_SELECTION_H
#define TRIB_COORDINATOR_SELECTION_H

#include <stdbool.h>
#include <stdint.h>

enum trib_choice {
    TRIB_CHOICE_FIRST,  // nothing to compare it with: chosen
    TRIB_CHOICE_BETTER, // than the best before: chosen
    TRIB_CHOICE_EQUAL,  // to the best before, which stays
    TRIB_CHOICE_WORSE,
};

struct trib_selection {
    bool higher_is_better;
    bool has_best; // the rest is of the best
    uint64_t version;
    double value;
};

// Nothing chosen yet.
void trib_selection_init(struct trib_selection *selection, bool higher_is_better);

// The next version and its value, which is a number. What became of it.
enum trib_choice trib_selection_take(struct trib_selection *selection, uint64_t version,
                                     double value);

// "first", "better", "equal", "worse".
const char *trib_choice_text(enum trib_choice choice);

#endif // TRIB_COORDINATOR_SELECTION_H
