// A privacy ledger whose disk is full: nothing is forgotten, and it goes on when there is room.
#include "tests/unit/files.h"

#include <errno.h>

#include "common/base/wipe.h"
#include "common/privacy/ledger.h"
#include "tests/fault/fault.h"

static const uint8_t secret[TRIB_LEDGER_SECRET_SIZE] = {5};
static const struct trib_charge charge = {
    .mode = TRIB_PRIVACY_LOCAL, .shares = 1, .round_id = 7, .epsilon_pure = 1, .rho = 0.5};

static enum trib_err open_ledger(struct trib_ledger **ret_ledger)
{
    return trib_ledger_open(&(struct trib_ledger_options){.dir = files_dir, .secret = secret},
                            ret_ledger);
}

// Charges that the ledger has after it was opened again.
static double spent_on_disk(void)
{
    struct trib_ledger *ledger;
    struct trib_ledger_totals totals;
    assert_int_equal(open_ledger(&ledger), TRIB_OK);
    trib_ledger_totals(ledger, &totals);
    trib_ledger_close(ledger);
    return totals.all.epsilon_pure;
}

static void arm(enum fault_kind kind, unsigned long nth, int code)
{
    fault_watch(files_dir);
    fault_arm(&(struct fault){.kind = kind, .nth = nth, .lasts = true, .code = code});
}

// A charge, while the n-th call of a kind and all that follow fail; opened again when that may be.
static void charge_when(enum fault_kind kind, unsigned long nth, int code, bool may_reopen)
{
    struct trib_ledger *ledger;
    uint64_t reservation;
    assert_int_equal(open_ledger(&ledger), TRIB_OK);
    assert_int_equal(trib_ledger_reserve(ledger, &charge, &reservation), TRIB_OK);
    assert_false(trib_ledger_may_reopen(ledger));
    const double before = spent_on_disk();
    arm(kind, nth, code);
    assert_int_equal(trib_ledger_reserve(ledger, &charge, &reservation), TRIB_ERR_IO);
    assert_true(fault_fired() > 0);
    fault_disarm();
    assert_int_equal(trib_ledger_may_reopen(ledger), may_reopen);
    assert_int_equal(trib_ledger_reserve(ledger, &charge, &reservation), TRIB_ERR_IO);
    files_assert_logged("id=ledger-failed");
    trib_ledger_close(ledger);
    assert_int_equal(open_ledger(&ledger), TRIB_OK);
    assert_int_equal(trib_ledger_reserve(ledger, &charge, &reservation), TRIB_OK);
    trib_ledger_close(ledger);
    assert_true(spent_on_disk() >= before + charge.epsilon_pure);
}

static void a_full_disk_is_left_behind(void **state)
{
    (void)state;
    charge_when(FAULT_WRITE, 1, ENOSPC, true); // the record
    charge_when(FAULT_SHORT, 1, ENOSPC, true); // half of it
    charge_when(FAULT_WRITE, 2, ENOSPC, true); // the head
    charge_when(FAULT_OPEN, 1, ENOSPC, true);
    charge_when(FAULT_RENAME, 1, EIO, true);
}

static void what_could_not_be_synced_is_not_tried_again(void **state)
{
    (void)state;
    charge_when(FAULT_SYNC, 1, EIO, false);
}

static int tear_down(void **state)
{
    static const char *const names[] = {"privacy.ledger", "privacy.head", NULL};
    (void)state;
    fault_watch(NULL);
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_left_behind),
        cmocka_unit_test(what_could_not_be_synced_is_not_tried_again),
    };
    trib_crypto_init();
    return cmocka_run_group_tests(tests, files_setup, tear_down);
}
