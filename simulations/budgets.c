#include "simulations/budgets.h"

#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/privacy/ledger.h"

struct trib_budgets {
    const struct trib_policy *policy;
    size_t devices;
    struct trib_ledger **ledgers; // (devices); NULL: not asked yet
};

enum trib_err trib_budgets_create(const struct trib_policy *policy, size_t devices,
                                  struct trib_budgets **ret_budgets)
{
    struct trib_budgets *budgets = trib_alloc(sizeof(*budgets));
    if (!budgets)
        return TRIB_ERR_NOMEM;
    *budgets = (struct trib_budgets){.policy = policy, .devices = devices};
    budgets->ledgers = trib_alloc_array(devices, sizeof(struct trib_ledger *));
    if (!budgets->ledgers) {
        free(budgets);
        return TRIB_ERR_NOMEM;
    }
    *ret_budgets = budgets;
    return TRIB_OK;
}

void trib_budgets_destroy(struct trib_budgets *budgets)
{
    if (!budgets)
        return;
    for (size_t i = 0; i < budgets->devices; i++)
        trib_ledger_close(budgets->ledgers[i]);
    free(budgets->ledgers);
    free(budgets);
}

enum trib_err trib_budgets_allow(struct trib_budgets *budgets, const struct trib_encoding *encoding,
                                 size_t device, bool *ret_allowed)
{
    const struct trib_ledger_options options = {.budget = trib_policy_budget(budgets->policy)};
    struct trib_ledger **ledger = &budgets->ledgers[device];
    enum trib_err err = *ledger ? TRIB_OK : trib_ledger_open(&options, ledger);
    *ret_allowed = !err && trib_ledger_allows(*ledger, encoding);
    return err;
}

enum trib_err trib_budgets_charge(struct trib_budgets *budgets,
                                  const struct trib_encoding *encoding, uint64_t round_number,
                                  size_t device)
{
    static const uint8_t whom[TRIB_LEDGER_WHOM_SIZE];
    struct trib_charge cost;
    uint64_t reservation;
    trib_ledger_charge(encoding, 1, round_number, whom, &cost);
    return trib_ledger_reserve(budgets->ledgers[device], &cost, &reservation);
}
