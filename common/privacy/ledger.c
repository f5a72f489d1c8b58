#include "common/privacy/ledger.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/privacy/ledger_file.h"

#define TRIB_LOG_MODULE "ledger"

enum {
    RECENT = 16,    // reservations that may still be taken back
    ITEMS_MIN = 64, // of the window, allocated at first
};

// Sums of doubles are rounded: a cap that the rounds add up to exactly is still met. 10^7 charges
// cannot be off by more.
static const double rounding = 1e-9;

struct item {
    uint64_t sequence, time_ms;
    double epsilon_pure, rho; // 0 when taken back
};

struct trib_ledger {
    pthread_mutex_t lock;
    struct trib_ledger_options options; // its dir and secret are not kept
    bool is_durable;                    // has files
    bool has_failed;                    // could not be written: nothing is promised any more
    bool is_full;                       // no memory for the window while reading
    struct trib_ledger_file file;
    uint64_t count; // entries
    struct trib_privacy_spent spent;
    uint64_t base_ms, base_mono_ms; // ledger time = base_ms + (monotonic clock - base_mono_ms)
    struct trib_ledger_entry recent[RECENT]; // by sequence; sequence 0: free
    struct item *items;                      // what may lie in the window, oldest first
    size_t item_start, item_count, item_capacity;
};

void trib_ledger_charge(const struct trib_encoding *encoding, uint64_t job, uint64_t round_id,
                        const uint8_t whom[static TRIB_LEDGER_WHOM_SIZE],
                        struct trib_charge *ret_charge)
{
    *ret_charge = (struct trib_charge){
        .mode = encoding->mode,
        .grid_bits = encoding->grid_bits,
        .s1 = encoding->s1,
        .s2 = encoding->s2,
        .shares = encoding->shares,
        .job = job,
        .round_id = round_id,
        .epsilon_pure = trib_epsilon_pure(encoding),
        .rho = trib_rho_of(encoding),
    };
    memcpy(ret_charge->whom, whom, TRIB_LEDGER_WHOM_SIZE);
}

void trib_ledger_whom(const uint8_t coordinator_key[static 32], const char *population,
                      uint8_t ret_whom[static TRIB_LEDGER_WHOM_SIZE])
{
    static const char label[] = "tributary ledger whom 1";
    struct trib_hash hash;
    trib_hash_init(&hash, NULL, 0, TRIB_LEDGER_WHOM_SIZE);
    trib_hash_update(&hash, label, sizeof(label));
    trib_hash_update(&hash, coordinator_key, 32);
    trib_hash_update(&hash, population, strlen(population));
    trib_hash_final(&hash, ret_whom, TRIB_LEDGER_WHOM_SIZE);
}

// ---- Time

static uint64_t now_ms(const struct trib_ledger *ledger)
{
    return ledger->base_ms + (ledger->options.mono_ms() - ledger->base_mono_ms);
}

// ---- The window

// Room for one more, so that nothing can fail once a charge is durable.
static bool make_room(struct trib_ledger *ledger)
{
    if (ledger->options.budget.window_ms == 0 || ledger->item_count < ledger->item_capacity)
        return true;
    if (ledger->item_start > ledger->item_capacity / 2) { // old ones left: move up
        ledger->item_count -= ledger->item_start;
        memmove(ledger->items, ledger->items + ledger->item_start,
                ledger->item_count * sizeof(*ledger->items));
        ledger->item_start = 0;
        return true;
    }
    const size_t capacity = ledger->item_capacity ? 2 * ledger->item_capacity : ITEMS_MIN;
    struct item *items = trib_alloc_array(capacity, sizeof(*items));
    if (!items)
        return false;
    if (ledger->items)
        memcpy(items, ledger->items, ledger->item_count * sizeof(*items));
    free(ledger->items);
    ledger->items = items;
    ledger->item_capacity = capacity;
    return true;
}

// Forget what left the window. An entry counts for the whole of `window_ms` after it.
static void expire(struct trib_ledger *ledger, uint64_t now)
{
    const uint64_t window_ms = ledger->options.budget.window_ms;
    while (ledger->item_start < ledger->item_count &&
           ledger->items[ledger->item_start].time_ms + window_ms <= now)
        ledger->item_start++;
}

static struct trib_privacy_spent counted(struct trib_ledger *ledger)
{
    if (ledger->options.budget.window_ms == 0)
        return ledger->spent;
    struct trib_privacy_spent sum = {.rounds = 0};
    expire(ledger, now_ms(ledger));
    for (size_t i = ledger->item_start; i < ledger->item_count; i++) {
        const struct item *item = &ledger->items[i];
        sum.rounds += item->epsilon_pure > 0;
        sum.epsilon_pure += item->epsilon_pure;
        sum.rho += item->rho;
    }
    return sum;
}

// ---- Entries

static void take_back(struct trib_ledger *ledger, const struct trib_ledger_entry *entry)
{
    struct trib_privacy_spent *spent = &ledger->spent;
    spent->rounds--;
    spent->epsilon_pure = spent->epsilon_pure > entry->charge.epsilon_pure
                              ? spent->epsilon_pure - entry->charge.epsilon_pure
                              : 0;
    spent->rho = spent->rho > entry->charge.rho ? spent->rho - entry->charge.rho : 0;
    for (size_t i = ledger->item_count; i-- > ledger->item_start;) {
        if (ledger->items[i].sequence == entry->refunds)
            ledger->items[i].epsilon_pure = ledger->items[i].rho = 0;
    }
}

// Count an entry; make_room was called.
static void apply(struct trib_ledger *ledger, const struct trib_ledger_entry *entry)
{
    ledger->count = entry->sequence;
    if (entry->refunds) {
        take_back(ledger, entry);
        return;
    }
    ledger->spent.rounds++;
    ledger->spent.epsilon_pure += entry->charge.epsilon_pure;
    ledger->spent.rho += entry->charge.rho;
    if (ledger->options.budget.window_ms)
        ledger->items[ledger->item_count++] = (struct item){
            .sequence = entry->sequence,
            .time_ms = entry->time_ms,
            .epsilon_pure = entry->charge.epsilon_pure,
            .rho = entry->charge.rho,
        };
}

// An entry that is read back.
static void take_entry(void *user, const struct trib_ledger_entry *entry)
{
    struct trib_ledger *ledger = user;
    ledger->base_ms = entry->time_ms; // never falls
    if (ledger->options.budget.window_ms)
        expire(ledger, entry->time_ms);
    if (!make_room(ledger)) {
        ledger->is_full = true;
        return;
    }
    apply(ledger, entry);
    if (ledger->options.visit)
        ledger->options.visit(ledger->options.user, entry);
}

// ---- Opening

static enum trib_err open_file(struct trib_ledger *ledger,
                               const struct trib_ledger_options *options)
{
    if (!options->dir)
        return TRIB_OK;
    assert(options->secret);
    ledger->is_durable = true;
    enum trib_err err = trib_ledger_file_open(&ledger->file, options, take_entry, ledger);
    return !err && ledger->is_full ? TRIB_ERR_NOMEM : err;
}

enum trib_err trib_ledger_open(const struct trib_ledger_options *options,
                               struct trib_ledger **ret_ledger)
{
    struct trib_ledger *ledger = trib_alloc(sizeof(*ledger));
    if (!ledger)
        return TRIB_ERR_NOMEM;
    (void)pthread_mutex_init(&ledger->lock, NULL);
    ledger->options = *options;
    ledger->options.dir = NULL;
    ledger->options.secret = NULL;
    if (!options->wall_ms)
        ledger->options.wall_ms = trib_clock_wall_ms;
    if (!options->mono_ms)
        ledger->options.mono_ms = trib_clock_mono_ms;
    ledger->file.fd = -1;
    enum trib_err err = open_file(ledger, options);
    if (err) {
        trib_ledger_close(ledger);
        return err;
    }
    const uint64_t wall_ms = ledger->options.wall_ms();
    if (wall_ms > ledger->base_ms)
        ledger->base_ms = wall_ms;
    ledger->base_mono_ms = ledger->options.mono_ms();
    *ret_ledger = ledger;
    return TRIB_OK;
}

void trib_ledger_close(struct trib_ledger *ledger)
{
    if (!ledger)
        return;
    trib_ledger_file_close(&ledger->file);
    free(ledger->items);
    (void)pthread_mutex_destroy(&ledger->lock);
    free(ledger);
}

// ---- Spending

static bool is_within(double value, double limit)
{
    return limit <= 0 || value <= limit * (1 + rounding);
}

static bool fits(struct trib_ledger *ledger, double epsilon_pure, double rho)
{
    const struct trib_budget *budget = &ledger->options.budget;
    struct trib_privacy_spent after = counted(ledger);
    after.rounds++;
    after.epsilon_pure += epsilon_pure;
    after.rho += rho;
    return is_within(after.epsilon_pure, budget->epsilon_pure) &&
           is_within(after.rho, budget->rho) &&
           (budget->epsilon <= 0 ||
            is_within(trib_privacy_epsilon(&after, budget->delta), budget->epsilon));
}

bool trib_ledger_allows(struct trib_ledger *ledger, const struct trib_encoding *encoding)
{
    if (encoding->mode == TRIB_PRIVACY_OFF)
        return true;
    (void)pthread_mutex_lock(&ledger->lock);
    const bool allows = fits(ledger, trib_epsilon_pure(encoding), trib_rho_of(encoding));
    (void)pthread_mutex_unlock(&ledger->lock);
    return allows;
}

// Give the entry its place, and write it. It counts whether or not that succeeds.
static enum trib_err append(struct trib_ledger *ledger, struct trib_ledger_entry *entry)
{
    entry->sequence = ledger->count + 1;
    entry->wall_ms = ledger->options.wall_ms();
    entry->time_ms = now_ms(ledger);
    enum trib_err err =
        ledger->is_durable ? trib_ledger_file_append(&ledger->file, entry) : TRIB_OK;
    if (!err || !entry->refunds)
        apply(ledger, entry);
    if (err) {
        ledger->has_failed = true;
        TRIB_ERROR("id=ledger-failed the privacy ledger cannot be written: this device takes no "
                   "part until %s",
                   ledger->file.is_unsynced ? "it is started again" : "it can be");
    }
    return err;
}

static enum trib_err reserve(struct trib_ledger *ledger, const struct trib_charge *charge,
                             uint64_t *ret_reservation)
{
    struct trib_ledger_entry entry = {.charge = *charge};
    if (ledger->has_failed || ledger->options.is_reader)
        return TRIB_ERR_IO;
    if (!fits(ledger, charge->epsilon_pure, charge->rho))
        return TRIB_ERR_PRIVACY;
    if (!make_room(ledger))
        return TRIB_ERR_NOMEM;
    enum trib_err err = append(ledger, &entry);
    if (err)
        return err;
    ledger->recent[entry.sequence % RECENT] = entry;
    *ret_reservation = entry.sequence;
    return TRIB_OK;
}

enum trib_err trib_ledger_reserve(struct trib_ledger *ledger, const struct trib_charge *charge,
                                  uint64_t *ret_reservation)
{
    if (charge->mode == TRIB_PRIVACY_OFF) {
        *ret_reservation = 0;
        return TRIB_OK;
    }
    (void)pthread_mutex_lock(&ledger->lock);
    enum trib_err err = reserve(ledger, charge, ret_reservation);
    (void)pthread_mutex_unlock(&ledger->lock);
    return err;
}

static enum trib_err refund(struct trib_ledger *ledger, uint64_t reservation)
{
    struct trib_ledger_entry *reserved = &ledger->recent[reservation % RECENT];
    if (reserved->sequence != reservation)
        return TRIB_ERR_STATE;
    if (ledger->has_failed)
        return TRIB_ERR_IO;
    struct trib_ledger_entry entry = {.refunds = reservation, .charge = reserved->charge};
    reserved->sequence = 0; // once
    return append(ledger, &entry);
}

enum trib_err trib_ledger_refund(struct trib_ledger *ledger, uint64_t reservation)
{
    if (reservation == 0)
        return TRIB_OK;
    (void)pthread_mutex_lock(&ledger->lock);
    enum trib_err err = refund(ledger, reservation);
    (void)pthread_mutex_unlock(&ledger->lock);
    return err;
}

bool trib_ledger_may_reopen(struct trib_ledger *ledger)
{
    (void)pthread_mutex_lock(&ledger->lock);
    const bool may = ledger->has_failed && !ledger->file.is_unsynced;
    (void)pthread_mutex_unlock(&ledger->lock);
    return may;
}

void trib_ledger_totals(struct trib_ledger *ledger, struct trib_ledger_totals *ret_totals)
{
    (void)pthread_mutex_lock(&ledger->lock);
    *ret_totals = (struct trib_ledger_totals){
        .entries = ledger->count, .all = ledger->spent, .window = counted(ledger)};
    (void)pthread_mutex_unlock(&ledger->lock);
}
