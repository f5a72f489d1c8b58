#include "coordinator/selection.h"
#include "tests/test.h"

#include <math.h>

enum {
    COUNT = 6
};

static const double values[COUNT] = {0.5, 0.75, 0.25, 0.75, 0.875, 0.25};

static void assert_choices(bool higher_is_better, const enum trib_choice choices[static COUNT],
                           const uint64_t bests[static COUNT])
{
    struct trib_selection selection;
    trib_selection_init(&selection, higher_is_better);
    assert_false(selection.has_best);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(trib_selection_take(&selection, 10 + i, values[i]), choices[i]);
        assert_int_equal(selection.version, bests[i]);
        assert_true(selection.value == values[bests[i] - 10]);
    }
}

static void the_best_follows_the_direction_and_of_equal_ones_the_first_stays(void **state)
{
    (void)state;
    assert_choices(true,
                   (const enum trib_choice[]){TRIB_CHOICE_FIRST, TRIB_CHOICE_BETTER,
                                              TRIB_CHOICE_WORSE, TRIB_CHOICE_EQUAL,
                                              TRIB_CHOICE_BETTER, TRIB_CHOICE_WORSE},
                   (const uint64_t[]){10, 11, 11, 11, 14, 14});
    assert_choices(false,
                   (const enum trib_choice[]){TRIB_CHOICE_FIRST, TRIB_CHOICE_WORSE,
                                              TRIB_CHOICE_BETTER, TRIB_CHOICE_WORSE,
                                              TRIB_CHOICE_WORSE, TRIB_CHOICE_EQUAL},
                   (const uint64_t[]){10, 10, 12, 12, 12, 12});
}

static void what_diverged_is_never_better_than_what_did_not(void **state)
{
    (void)state;
    struct trib_selection selection;
    trib_selection_init(&selection, false);
    assert_int_equal(trib_selection_take(&selection, 1, (double)INFINITY), TRIB_CHOICE_FIRST);
    assert_int_equal(trib_selection_take(&selection, 2, 1e300), TRIB_CHOICE_BETTER);
    assert_int_equal(trib_selection_take(&selection, 3, (double)INFINITY), TRIB_CHOICE_WORSE);
    assert_int_equal(selection.version, 2);
}

static void every_choice_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (int a = TRIB_CHOICE_FIRST; a <= TRIB_CHOICE_WORSE; a++) {
        for (int b = a + 1; b <= TRIB_CHOICE_WORSE; b++)
            assert_string_not_equal(trib_choice_text((enum trib_choice)a),
                                    trib_choice_text((enum trib_choice)b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_follows_the_direction_and_of_equal_ones_the_first_stays),
        cmocka_unit_test(what_diverged_is_never_better_than_what_did_not),
        cmocka_unit_test(every_choice_has_a_word_of_its_own),
    };
    return RUN_TESTS(tests);
}
