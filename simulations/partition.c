#include "simulations/partition.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/limits.h"
#include "common/base/rand.h"

enum {
    DIRICHLET_DRAWS_MAX = 1000, // then min_rows is out of reach for all practical purposes
};

// Every kind puts the rows in some order and names an owner for each; cut() does the rest.
struct deal {
    const struct trib_partition_config *config;
    const struct trib_partition_rows *from;
    struct trib_rng rng;
    size_t clients;
    size_t dealt;     // rows that have an owner: the first of the order
    uint32_t *order;  // (count) row numbers
    uint32_t *owners; // (count) device of order[i]
    size_t *sizes;    // (clients) rows of each device
    char *why;
    size_t why_size;
};

struct keyed_row {
    float key;
    uint32_t row;
};

static int compare_keyed_rows(const void *a, const void *b)
{
    const struct keyed_row *x = a;
    const struct keyed_row *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

// Fill the order with the rows sorted by key, rows of one key as they stand in the data set.
static enum trib_err sort_by(struct deal *deal, const float *keys)
{
    const size_t count = deal->from->count;
    struct keyed_row *sorted = trib_alloc_array(count, sizeof(*sorted));
    if (!sorted)
        return TRIB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct keyed_row){keys[deal->from->rows[i]], deal->from->rows[i]};
    qsort(sorted, count, sizeof(*sorted), compare_keyed_rows);
    for (size_t i = 0; i < count; i++)
        deal->order[i] = sorted[i].row;
    free(sorted);
    return TRIB_OK;
}

// The end of the run of equal keys that begins at `first`.
static size_t run_end(const struct deal *deal, const float *keys, size_t first)
{
    size_t end = first + 1;
    while (end < deal->from->count && keys[deal->order[end]] == keys[deal->order[first]])
        end++;
    return end;
}

static void count_sizes(struct deal *deal)
{
    memset(deal->sizes, 0, deal->clients * sizeof(*deal->sizes));
    for (size_t i = 0; i < deal->from->count; i++)
        deal->sizes[deal->owners[i]]++;
}

// The device with the fewest rows.
static size_t poorest(const struct deal *deal)
{
    size_t least = 0;
    for (size_t d = 1; d < deal->clients; d++)
        least = deal->sizes[d] < deal->sizes[least] ? d : least;
    return least;
}

static enum trib_err deal_iid(struct deal *deal)
{
    const size_t count = deal->from->count;
    memcpy(deal->order, deal->from->rows, count * sizeof(*deal->order));
    trib_rng_shuffle(&deal->rng, deal->order, count);
    for (size_t i = 0; i < count; i++)
        deal->owners[i] = (uint32_t)(i % deal->clients);
    return TRIB_OK;
}

// McMahan et al. 2017, section 3: with two shards a device sees about two labels.
static enum trib_err deal_shards(struct deal *deal)
{
    const size_t count = deal->from->count;
    const size_t each = deal->config->shards_per_client;
    size_t shards;
    if (each == 0 || __builtin_mul_overflow(deal->clients, each, &shards) || shards > count) {
        (void)snprintf(deal->why, deal->why_size,
                       "%zu devices with %zu shards each cannot be cut from %zu rows",
                       deal->clients, each, count);
        return TRIB_ERR_INVAL;
    }
    uint32_t *hands = trib_alloc_array(shards, sizeof(*hands));
    if (!hands)
        return TRIB_ERR_NOMEM;
    enum trib_err err = sort_by(deal, deal->from->labels);
    if (err)
        goto out;
    for (size_t s = 0; s < shards; s++)
        hands[s] = (uint32_t)s;
    trib_rng_shuffle(&deal->rng, hands, shards);
    for (size_t i = 0, s = 0; i < count; i++) {
        while (i >= (s + 1) * count / shards)
            s++;
        deal->owners[i] = (uint32_t)(hands[s] / each);
    }

out:
    free(hands);
    return err;
}

// The logarithm of a Gamma(alpha, 1) variate (Marsaglia & Tsang 2000, section 3; below alpha 1 by
// section 8). The logarithm, because with a small alpha most variates are too small for a double.
static double log_gamma_variate(struct trib_rng *rng, double alpha)
{
    if (alpha < 1) {
        double u = 1 - trib_rng_real(rng); // (0, 1]
        return log_gamma_variate(rng, alpha + 1) + log(u) / alpha;
    }
    const double d = alpha - 1.0 / 3.0;
    const double c = 1 / sqrt(9 * d);
    for (;;) {
        double x = trib_rng_normal(rng);
        double v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        double u = 1 - trib_rng_real(rng);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return log(d * v);
    }
}

// Dirichlet(alpha, ..., alpha) as running sums; the last is 1 but for rounding.
static void draw_proportions(struct deal *deal, double *running)
{
    double top = -(double)INFINITY;
    double total = 0;
    for (size_t d = 0; d < deal->clients; d++) {
        running[d] = log_gamma_variate(&deal->rng, deal->config->alpha);
        top = fmax(top, running[d]);
    }
    for (size_t d = 0; d < deal->clients; d++) {
        total += exp(running[d] - top);
        running[d] = total;
    }
    for (size_t d = 0; d < deal->clients; d++)
        running[d] /= total;
}

// One draw for all labels: Dirichlet proportions for each (Yurochkin et al. 2019, section 4).
static void draw_dirichlet(struct deal *deal, double *running)
{
    const size_t count = deal->from->count;
    size_t end;
    for (size_t first = 0; first < count; first = end) {
        end = run_end(deal, deal->from->labels, first);
        trib_rng_shuffle(&deal->rng, deal->order + first, end - first);
        draw_proportions(deal, running);
        size_t d = 0;
        for (size_t i = first; i < end; i++) {
            double place = ((double)(i - first) + 0.5) / (double)(end - first);
            while (d + 1 < deal->clients && place > running[d])
                d++;
            deal->owners[i] = (uint32_t)d;
        }
    }
}

static enum trib_err deal_dirichlet(struct deal *deal)
{
    const size_t count = deal->from->count;
    size_t classes = 0;
    double *running = trib_alloc_array(deal->clients, sizeof(*running));
    if (!running)
        return TRIB_ERR_NOMEM;
    enum trib_err err = sort_by(deal, deal->from->labels);
    if (err)
        goto out;
    for (size_t first = 0; first < count; first = run_end(deal, deal->from->labels, first))
        classes++;
    err = TRIB_ERR_INVAL;
    if (classes > TRIB_CLASSES_MAX) {
        (void)snprintf(deal->why, deal->why_size, "%zu different labels are too many for dirichlet",
                       classes);
        goto out;
    }
    for (int draw = 0; draw < DIRICHLET_DRAWS_MAX; draw++) {
        draw_dirichlet(deal, running);
        count_sizes(deal);
        if (deal->sizes[poorest(deal)] >= deal->config->min_rows) {
            err = TRIB_OK;
            goto out;
        }
    }
    (void)snprintf(deal->why, deal->why_size,
                   "in %d draws there was always a device with fewer than min_rows (%llu) rows; "
                   "fewer clients, a larger alpha or a smaller min_rows would help",
                   DIRICHLET_DRAWS_MAX, (unsigned long long)deal->config->min_rows);

out:
    free(running);
    return err;
}

// One device for each group of at least min_rows rows, in order of the groups' values.
static enum trib_err deal_groups(struct deal *deal)
{
    const float *groups = deal->from->groups;
    const size_t count = deal->from->count;
    size_t end;

    enum trib_err err = sort_by(deal, groups);
    if (err)
        return err;
    deal->clients = 0;
    deal->dealt = 0;
    for (size_t first = 0; first < count; first = end) {
        end = run_end(deal, groups, first);
        if (end - first < deal->config->min_rows)
            continue;
        if (deal->clients == TRIB_DEVICES_MAX) {
            (void)snprintf(deal->why, deal->why_size, "more than %d devices", TRIB_DEVICES_MAX);
            return TRIB_ERR_LIMIT;
        }
        for (size_t i = first; i < end; i++) {
            deal->order[deal->dealt] = deal->order[i]; // closes the gap of a group left out
            deal->owners[deal->dealt++] = (uint32_t)deal->clients;
        }
        deal->clients++;
    }
    if (deal->clients == 0) {
        (void)snprintf(deal->why, deal->why_size, "no device has min_rows (%llu) rows",
                       (unsigned long long)deal->config->min_rows);
        return TRIB_ERR_INVAL;
    }
    return TRIB_OK;
}

// From owners to slices, the rows of a device in the order in which they were dealt.
static enum trib_err cut(const struct deal *deal, struct trib_partition *ret_partition)
{
    struct trib_partition partition = {.clients = deal->clients};
    partition.rows = trib_alloc_array(deal->dealt, sizeof(*partition.rows));
    partition.starts = trib_alloc_array(deal->clients + 1, sizeof(*partition.starts));
    if (!partition.rows || !partition.starts) {
        trib_partition_fini(&partition);
        return TRIB_ERR_NOMEM;
    }
    size_t *starts = partition.starts;
    for (size_t i = 0; i < deal->dealt; i++)
        starts[deal->owners[i] + 1]++;
    for (size_t d = 0; d < deal->clients; d++)
        starts[d + 1] += starts[d];
    for (size_t i = 0; i < deal->dealt; i++) // starts[d] walks to the end of d's slice ...
        partition.rows[starts[deal->owners[i]]++] = deal->order[i];
    for (size_t d = deal->clients; d > 0; d--) // ... which is the start of the next one's
        starts[d] = starts[d - 1];
    starts[0] = 0;
    *ret_partition = partition;
    return TRIB_OK;
}

static enum trib_err deal_out(struct deal *deal)
{
    enum trib_err err = TRIB_OK;

    switch (deal->config->kind) {
    case TRIB_PARTITION_IID: err = deal_iid(deal); break;
    case TRIB_PARTITION_SHARDS: err = deal_shards(deal); break;
    case TRIB_PARTITION_DIRICHLET: err = deal_dirichlet(deal); break;
    case TRIB_PARTITION_COLUMN:
    case TRIB_PARTITION_FILES: err = deal_groups(deal); break;
    }
    if (err || trib_partition_finds_devices(deal->config->kind))
        return err;
    count_sizes(deal);
    size_t least = poorest(deal);
    if (deal->sizes[least] < deal->config->min_rows) {
        (void)snprintf(deal->why, deal->why_size,
                       "device d%04zu would have %zu rows, fewer than min_rows (%llu)", least,
                       deal->sizes[least], (unsigned long long)deal->config->min_rows);
        return TRIB_ERR_INVAL;
    }
    return TRIB_OK;
}

enum trib_err trib_partition_make(const struct trib_partition_config *config,
                                  const struct trib_partition_rows *rows,
                                  struct trib_partition *ret_partition, char *why, size_t why_size)
{
    struct deal deal = {
        .config = config,
        .from = rows,
        .clients = config->clients,
        .dealt = rows->count,
        .why = why,
        .why_size = why_size,
    };
    enum trib_err err = TRIB_ERR_NOMEM;
    const bool finds_devices = trib_partition_finds_devices(config->kind);

    assert(rows->count <= TRIB_ROWS_MAX);
    assert(finds_devices || (config->clients >= 1 && config->clients <= TRIB_DEVICES_MAX));
    if (rows->count == 0) {
        (void)snprintf(why, why_size, "there are no rows to train on");
        return TRIB_ERR_INVAL;
    }
    trib_rng_init(&deal.rng, config->seed, "partition", 0, NULL);
    deal.order = trib_alloc_array(rows->count, sizeof(*deal.order));
    deal.owners = trib_alloc_array(rows->count, sizeof(*deal.owners));
    deal.sizes = trib_alloc_array(finds_devices ? 1 : config->clients, sizeof(*deal.sizes));
    if (!deal.order || !deal.owners || !deal.sizes)
        goto out;
    err = deal_out(&deal);
    if (!err)
        err = cut(&deal, ret_partition);

out:
    free(deal.order);
    free(deal.owners);
    free(deal.sizes);
    return err;
}

bool trib_partition_finds_devices(enum trib_partition_kind kind)
{
    return kind == TRIB_PARTITION_COLUMN || kind == TRIB_PARTITION_FILES;
}

void trib_partition_fini(struct trib_partition *partition)
{
    free(partition->rows);
    free(partition->starts);
    *partition = (struct trib_partition){0};
}

size_t trib_partition_size(const struct trib_partition *partition, size_t device)
{
    assert(device < partition->clients);
    return partition->starts[device + 1] - partition->starts[device];
}

size_t trib_partition_size_max(const struct trib_partition *partition)
{
    size_t most = 0;
    for (size_t d = 0; d < partition->clients; d++) {
        size_t size = trib_partition_size(partition, d);
        most = size > most ? size : most;
    }
    return most;
}

static int compare_names(const void *a, const void *b)
{
    char x[TRIB_PARTITION_NAME_SIZE];
    char y[TRIB_PARTITION_NAME_SIZE];
    trib_partition_name(*(const uint32_t *)a, x);
    trib_partition_name(*(const uint32_t *)b, y);
    return strcmp(x, y);
}

void trib_partition_by_name(uint32_t *ret_devices, size_t clients)
{
    for (size_t d = 0; d < clients; d++)
        ret_devices[d] = (uint32_t)d;
    qsort(ret_devices, clients, sizeof(*ret_devices), compare_names);
}

void trib_partition_name(size_t device, char name[static TRIB_PARTITION_NAME_SIZE])
{
    (void)snprintf(name, TRIB_PARTITION_NAME_SIZE, "d%04zu", device);
}
