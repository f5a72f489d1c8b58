// The passes of a scenario's pipeline, as a coordinator has them counted: exactly, or with privacy on
// through the devices' clip and noise, at the price of a round.
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "client/task.h"
#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/data/prepare_dataset.h"
#include "common/math/tally.h"
#include "common/privacy/accountant.h"
#include "common/wire/codec.h"
#include "coordinator/aggregate.h"
#include "coordinator/finish.h"
#include "coordinator/sampler.h"
#include "coordinator/tally_round.h"
#include "simulations/prepare.h"

#define TRIB_LOG_MODULE "scenario"

enum {
    PASSES_LOST_MAX = 8 // as the server's
};

// One pass.
struct fitting {
    struct trib_scenario *s;
    struct trib_round_shape shape;
    uint64_t number;
    double today;
    double *values;          // (shape.values): of a device; then of all
    struct trib_tally tally; // a device's; with privacy off all of them
    struct trib_sums sums;   // of the words; not with privacy off
    float *scaled;           // (shape.values)
    int32_t *words;          // (shape.words)
    uint32_t taken, counted;
};

static bool is_private(const struct fitting *f)
{
    return f->shape.privacy->encoding.mode != TRIB_PRIVACY_OFF;
}

static enum trib_err begin_pass(struct fitting *f)
{
    const size_t count = f->shape.values;
    enum trib_err err = trib_tally_init(&f->tally, count);
    f->values = trib_alloc_array(count, sizeof(*f->values));
    if (!err && is_private(f)) {
        err = trib_sums_init(&f->sums, count);
        f->scaled = trib_alloc_aligned(count, sizeof(*f->scaled));
        f->words = trib_alloc_aligned(count, sizeof(*f->words));
        if (!err && (!f->scaled || !f->words))
            err = TRIB_ERR_NOMEM;
    }
    return !err && !f->values ? TRIB_ERR_NOMEM : err;
}

static void end_pass(struct fitting *f)
{
    trib_tally_fini(&f->tally);
    trib_sums_fini(&f->sums);
    free(f->values);
    free(f->scaled);
    free(f->words);
}

static enum trib_err add_values(struct fitting *f)
{
    enum trib_err err = TRIB_OK;
    for (size_t i = 0; !err && i < f->shape.values; i++)
        err = trib_tally_add(&f->tally, i, f->values[i]);
    return err;
}

// What leaves the device, with its noise.
static enum trib_err add_noised(struct fitting *f, uint32_t device)
{
    const struct trib_job *job = &f->s->job;
    const struct trib_encoding *encoding = &f->shape.privacy->encoding;
    char name[TRIB_PARTITION_NAME_SIZE];
    struct trib_encode_report report;
    struct trib_noise noise;
    trib_tally_reset(&f->tally);
    enum trib_err err = add_values(f);
    if (err)
        return err;
    trib_tally_floats(&f->tally, job->config.tally_scale, f->scaled);
    trib_partition_name(device, name);
    trib_task_noise(&noise, job->config.test_seed, f->number, name);
    err = trib_encode(encoding, &noise, f->scaled, f->shape.words, f->words, &report);
    trib_noise_fini(&noise);
    if (err)
        return err;
    for (size_t i = 0; encoding->mode == TRIB_PRIVACY_DISTRIBUTED && i < f->shape.words; i++)
        f->words[i] = trib_word_lift((uint32_t)f->words[i], encoding->word_bits);
    trib_sums_add(&f->sums, f->words, 1);
    return TRIB_OK;
}

static enum trib_err add_device(struct fitting *f, uint32_t device)
{
    const struct trib_dataset rows = trib_scenario_device_rows(f->s, device);
    char why[512];
    if (!is_private(f)) {
        enum trib_err err = trib_prepare_totals(f->s->prepare, &rows, f->today, f->values);
        return err ? err : add_values(f);
    }
    enum trib_err err =
        trib_prepare_shares(f->s->prepare, &rows, f->today, f->values, why, sizeof(why));
    if (err == TRIB_ERR_INVAL)
        TRIB_ERROR("data.prepare: %s", why);
    if (!err)
        err = add_noised(f, device);
    return err ? err
               : trib_budgets_charge(f->s->budgets, &f->shape.privacy->encoding, f->number, device);
}

// Who has no rows declines, or no budget left, and another takes its place. Who falls silent does so
// after it took.
static enum trib_err take_devices(struct fitting *f, const uint32_t *order, uint32_t *ret_taken)
{
    const struct trib_scenario *s = f->s;
    enum trib_err err = TRIB_OK;
    uint32_t taken = 0;
    for (size_t d = 0; !err && d < s->partition.clients && taken < s->job.offers; d++) {
        bool is_allowed = trib_partition_size(&s->partition, order[d]) > 0;
        if (is_allowed && s->budgets)
            err =
                trib_budgets_allow(s->budgets, &f->shape.privacy->encoding, order[d], &is_allowed);
        if (!err && is_allowed)
            ret_taken[taken++] = order[d];
    }
    f->taken = taken;
    return err;
}

static enum trib_err add_devices(struct fitting *f, const uint32_t *order)
{
    const struct trib_scenario *s = f->s;
    uint32_t *taken = trib_alloc_array(s->job.offers, sizeof(*taken));
    enum trib_err err = taken ? take_devices(f, order, taken) : TRIB_ERR_NOMEM;
    for (uint32_t i = 0; !err && i < f->taken && f->counted < s->job.goal; i++) {
        char name[TRIB_PARTITION_NAME_SIZE];
        trib_partition_name(taken[i], name);
        if (trib_scenario_drops(s, f->number, name))
            continue;
        err = add_device(f, taken[i]);
        f->counted++;
    }
    free(taken);
    return err;
}

// From the sum of words to values, as the server does it.
static enum trib_err open_sums(struct fitting *f)
{
    const struct trib_job *job = &f->s->job;
    const struct trib_encoding *encoding = &f->shape.privacy->encoding;
    struct trib_central central;
    enum trib_err err = TRIB_OK;
    if (encoding->mode == TRIB_PRIVACY_DISTRIBUTED) {
        struct trib_unmask unmask = {.hub = NULL, .word_bits = encoding->word_bits};
        trib_sums_finish(&f->sums, encoding->word_bits, trib_unmask_finish, &unmask);
    }
    if (encoding->mode == TRIB_PRIVACY_CENTRAL) {
        err =
            trib_central_init(&central, encoding, f->shape.words, job->config.test_seed, f->number);
        if (!err)
            trib_sums_finish(&f->sums, encoding->word_bits, trib_central_finish, &central);
        trib_central_fini(&central);
    }
    return err ? err : trib_tally_round_values(job, &f->shape, f->sums.sums, f->values);
}

// The devices in the order drawn for a pass.
static uint32_t *draw(const struct trib_scenario *s, uint64_t pass)
{
    const size_t clients = s->partition.clients;
    uint32_t *by_name = trib_alloc_array(clients, sizeof(*by_name));
    uint32_t *order = trib_alloc_array(clients, sizeof(*order));
    if (by_name && order) {
        trib_partition_by_name(by_name, clients);
        trib_sampler_draw(s->job_config.round_seed, pass, order, clients);
        for (size_t i = 0; i < clients; i++)
            order[i] = by_name[order[i]];
    } else {
        free(order);
        order = NULL;
    }
    free(by_name);
    return order;
}

// What was counted takes the pipeline one pass further.
static enum trib_err use_pass(struct fitting *f)
{
    struct trib_scenario *s = f->s;
    double noise = 0;
    enum trib_err err = is_private(f) ? open_sums(f) : TRIB_OK;
    for (size_t i = 0; !err && !is_private(f) && i < f->shape.values; i++)
        f->values[i] = trib_tally_value(&f->tally, i);
    if (!err)
        err = trib_job_pass_totals(&s->job, s->prepare, f->counted, f->values, &noise);
    return err ? err : trib_prepare_advance(s->prepare, f->values, noise);
}

// A pass that too few took part in is lost, and costs what was sent all the same: with privacy on
// that is a round less.
static enum trib_err lose_pass(const struct fitting *f)
{
    struct trib_job *job = &f->s->job;
    TRIB_WARN("pass %" PRIu64 " of the pipeline is lost: %u of %u devices were counted, and "
              "round.min_accepted is %u",
              f->number, f->counted, f->taken, job->accepted_min);
    if (!is_private(f) || --job->config.rounds > 0)
        return TRIB_OK;
    TRIB_ERROR("the pipeline's statistics could not be gathered: lost passes took all rounds");
    return TRIB_ERR_DATA;
}

static enum trib_err fit_pass(struct trib_scenario *s, uint64_t number, double today)
{
    struct fitting f = {.s = s, .number = number, .today = today};
    uint32_t *order = draw(s, number);
    enum trib_err err = order ? trib_job_set_prepare(&s->job, s->prepare) : TRIB_ERR_NOMEM;
    if (!err) {
        f.shape = trib_job_shape(&s->job, TRIB_TALLY_PREPARE);
        err = begin_pass(&f);
    }
    if (!err)
        err = add_devices(&f, order);
    if (!err && is_private(&f) && f.counted > 0)
        trib_privacy_spend(&s->spent, &f.shape.privacy->encoding, 1);
    if (!err)
        err = f.counted >= s->job.accepted_min ? use_pass(&f) : lose_pass(&f);
    end_pass(&f);
    free(order);
    return err;
}

enum trib_err trib_scenario_fit(struct trib_scenario *s)
{
    const size_t passes = trib_prepare_passes_left(s->prepare);
    char why[512];
    const double today = trib_prepare_today();
    char text[TRIB_DIGEST_TEXT_SIZE];
    uint8_t digest[TRIB_DIGEST_SIZE];
    enum trib_err err = trib_job_check_prepare(&s->job, s->prepare, why, sizeof(why));
    if (err)
        return trib_conf_reject(&s->conf, "data", "prepare", "%s", why);
    for (uint64_t pass = 1; !err && !trib_prepare_is_fitted(s->prepare); pass++) {
        if (pass > passes + PASSES_LOST_MAX) {
            TRIB_ERROR("the pipeline's statistics could not be gathered");
            return TRIB_ERR_DATA;
        }
        err = fit_pass(s, pass, today);
    }
    if (!err)
        err = trib_job_set_prepare(&s->job, s->prepare); // there is none any more
    if (!err)
        err = trib_prepare_digest(s->prepare, digest);
    if (err)
        return err;
    trib_hex_encode(digest, sizeof(digest), text);
    TRIB_INFO("pipeline %.16s... fitted in %zu passes over %zu devices: %zu features", text, passes,
              s->partition.clients, trib_prepare_features(s->prepare));
    return TRIB_OK;
}
