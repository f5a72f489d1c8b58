#include "common/math/optim.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

// Vectors have `count` elements and are NULL when the options do not need them.
struct trib_optim {
    struct trib_optim_options options;
    size_t count;
    float *first;                                  // velocity, or Adam's first moment
    float *second;                                 // Adam's second moment
    float *start;                                  // what proximal_mu pulls to
    struct trib_optim_span spans[TRIB_LAYERS_MAX]; // those with a factor above 0
    size_t span_count;
    // Powers of Adam's betas after the steps so far
    double beta1_power;
    double beta2_power;
};

static bool has_first(const struct trib_optim_options *options)
{
    return options->optimizer != TRIB_OPTIMIZER_SGD || options->momentum > 0;
}

static bool has_second(const struct trib_optim_options *options)
{
    return options->optimizer == TRIB_OPTIMIZER_ADAM;
}

static bool has_start(const struct trib_optim_options *options)
{
    return options->proximal_mu > 0;
}

bool trib_optim_is_plain(const struct trib_optim_options *options)
{
    return options->optimizer == TRIB_OPTIMIZER_SGD && options->momentum == 0 && options->l1 == 0 &&
           options->proximal_mu == 0 && options->clip_norm == 0;
}

size_t trib_optim_vectors(const struct trib_optim_options *options)
{
    return (size_t)has_first(options) + has_second(options) + has_start(options);
}

enum trib_err trib_optim_create(const struct trib_optim_options *options, size_t count,
                                struct trib_optim **ret_optim)
{
    struct trib_optim *optim = trib_alloc(sizeof(*optim));
    if (!optim)
        return TRIB_ERR_NOMEM;
    optim->options = *options;
    optim->count = count;
    optim->spans[0] = (struct trib_optim_span){.begin = 0, .end = count, .factor = 1};
    optim->span_count = 1;
    if (has_first(options))
        optim->first = trib_alloc_aligned(count, sizeof(float));
    if (has_second(options))
        optim->second = trib_alloc_aligned(count, sizeof(float));
    if (has_start(options))
        optim->start = trib_alloc_aligned(count, sizeof(float));
    if ((has_first(options) && !optim->first) || (has_second(options) && !optim->second) ||
        (has_start(options) && !optim->start)) {
        trib_optim_destroy(optim);
        return TRIB_ERR_NOMEM;
    }
    optim->beta1_power = optim->beta2_power = 1;
    *ret_optim = optim;
    return TRIB_OK;
}

void trib_optim_destroy(struct trib_optim *optim)
{
    if (!optim)
        return;
    free(optim->first);
    free(optim->second);
    free(optim->start);
    free(optim);
}

void trib_optim_set_spans(struct trib_optim *optim, const struct trib_optim_span *spans,
                          size_t count)
{
    assert(count <= TRIB_LAYERS_MAX);
    optim->span_count = 0;
    for (size_t i = 0; i < count; i++) {
        assert(spans[i].begin <= spans[i].end && spans[i].end <= optim->count);
        if (spans[i].factor > 0)
            optim->spans[optim->span_count++] = spans[i];
    }
}

void trib_optim_begin(struct trib_optim *optim, const float *params)
{
    const size_t size = optim->count * sizeof(float);
    if (optim->first)
        memset(optim->first, 0, size);
    if (optim->second)
        memset(optim->second, 0, size);
    if (optim->start)
        memcpy(optim->start, params, size);
    optim->beta1_power = optim->beta2_power = 1;
}

// ---- One step, in the order in which it happens

// g *= min(1, bound / |g|)  (Pascanu et al. 2013, algorithm 1)
static void clip(const struct trib_optim *optim, float *g)
{
    const double bound = optim->options.clip_norm;
    double sum = 0;
    for (size_t s = 0; s < optim->span_count; s++) {
        for (size_t i = optim->spans[s].begin; i < optim->spans[s].end; i++)
            sum += (double)g[i] * (double)g[i];
    }
    const double norm = sqrt(sum);
    if (!(norm > bound))
        return; // a norm that is not a number shows in the loss
    const float scale = (float)(bound / norm);
    for (size_t i = 0; i < optim->count; i++)
        g[i] *= scale;
}

// A span, and vectors from its first parameter on: `count` elements each, NULL where there is none.
struct stretch {
    size_t count;
    float rate;
    float *g, *w;
    float *first, *second;
    const float *start;
};

// g += mu * (w - start): the gradient of FedProx's term (Li et al. 2020, equation 2)
static void pull(const struct stretch *s, float mu)
{
    for (size_t i = 0; i < s->count; i++)
        s->g[i] += mu * (s->w[i] - s->start[i]);
}

static void sgd(const struct trib_optim_options *options, const struct stretch *s)
{
    const float decay = (float)options->weight_decay;
    const float momentum = (float)options->momentum;
    const float *g = s->g;
    float *v = s->first, *w = s->w;

    if (v) {
        for (size_t i = 0; i < s->count; i++) {
            v[i] = momentum * v[i] + (g[i] + decay * w[i]);
            w[i] -= s->rate * v[i];
        }
    } else {
        for (size_t i = 0; i < s->count; i++)
            w[i] -= s->rate * (g[i] + decay * w[i]);
    }
}

// The gradient is taken where the velocity leads to: there the parameters are kept, so that the
// step looks one velocity ahead (Sutskever et al. 2013, equations 3 and 4).
static void nesterov(const struct trib_optim_options *options, const struct stretch *s)
{
    const float decay = (float)options->weight_decay;
    const float momentum = (float)options->momentum;
    float *v = s->first, *w = s->w;

    for (size_t i = 0; i < s->count; i++) {
        const float slope = s->g[i] + decay * w[i];
        v[i] = momentum * v[i] + slope;
        w[i] -= s->rate * (slope + momentum * v[i]);
    }
}

// How far a unit of slope moves each parameter, with the corrections for the moments' start at 0.
struct adam_scale {
    float first;   // rate / (1 - beta1^t)
    float second;  // 1 / sqrt(1 - beta2^t)
    float epsilon; // of the denominator
};

static struct adam_scale adam_scale_of(const struct trib_optim *optim, double rate)
{
    return (struct adam_scale){
        .first = (float)(rate / (1 - optim->beta1_power)),
        .second = (float)(1 / sqrt(1 - optim->beta2_power)),
        .epsilon = (float)TRIB_ADAM_EPSILON,
    };
}

static void adam(const struct trib_optim_options *options, const struct stretch *s,
                 const struct adam_scale *scale)
{
    const float decay = (float)options->weight_decay;
    const float coupled = options->decoupled_decay ? 0 : decay;
    const float keep = options->decoupled_decay ? 1 - s->rate * decay : 1;
    const float beta1 = (float)TRIB_ADAM_BETA1, rest1 = (float)(1 - TRIB_ADAM_BETA1);
    const float beta2 = (float)TRIB_ADAM_BETA2, rest2 = (float)(1 - TRIB_ADAM_BETA2);
    float *m = s->first, *v = s->second, *w = s->w;

    for (size_t i = 0; i < s->count; i++) {
        const float slope = s->g[i] + coupled * w[i];
        m[i] = beta1 * m[i] + rest1 * slope;
        v[i] = beta2 * v[i] + rest2 * slope * slope;
        w[i] = keep * w[i] - scale->first * m[i] / (sqrtf(v[i]) * scale->second + scale->epsilon);
    }
}

float trib_soft_threshold(float value, float threshold)
{
    const float left = fabsf(value) - threshold;
    return left > 0 ? copysignf(left, value) : 0;
}

// Forward-backward splitting: after the step on the loss the proximal map of the penalty (Duchi &
// Singer 2009, section 5.1).
static void shrink(const struct stretch *s, float threshold)
{
    for (size_t i = 0; i < s->count; i++)
        s->w[i] = trib_soft_threshold(s->w[i], threshold);
}

// Adam steps in the metric of its denominators; the proximal map belongs to the same one, or the
// optimum would not be that of the penalised loss.
static void shrink_scaled(const struct stretch *s, float threshold, const struct adam_scale *scale)
{
    const float *v = s->second;
    for (size_t i = 0; i < s->count; i++)
        s->w[i] = trib_soft_threshold(s->w[i],
                                      threshold / (sqrtf(v[i]) * scale->second + scale->epsilon));
}

static void step_span(const struct trib_optim *optim, double rate, const struct stretch *s)
{
    const struct trib_optim_options *options = &optim->options;
    // A slope that stays moves a parameter by rate / (1 - momentum) a step; the penalty has to move
    // it by as much, or momentum would weaken it.
    const bool is_adam = options->optimizer == TRIB_OPTIMIZER_ADAM;
    const float threshold =
        (float)(is_adam ? rate * options->l1 : rate * options->l1 / (1 - options->momentum));

    if (s->start)
        pull(s, (float)options->proximal_mu);
    if (is_adam) {
        const struct adam_scale scale = adam_scale_of(optim, rate);
        adam(options, s, &scale);
        if (threshold > 0)
            shrink_scaled(s, threshold, &scale);
        return;
    }
    if (options->optimizer == TRIB_OPTIMIZER_NESTEROV)
        nesterov(options, s);
    else
        sgd(options, s);
    if (threshold > 0)
        shrink(s, threshold);
}

void trib_optim_step(struct trib_optim *optim, double rate, float *gradient, float *params)
{
    if (optim->options.clip_norm > 0)
        clip(optim, gradient);
    optim->beta1_power *= TRIB_ADAM_BETA1;
    optim->beta2_power *= TRIB_ADAM_BETA2;
    for (size_t i = 0; i < optim->span_count; i++) {
        const struct trib_optim_span *span = &optim->spans[i];
        const size_t at = span->begin;
        const struct stretch stretch = {
            .count = span->end - at,
            .rate = (float)(rate * span->factor),
            .g = gradient + at,
            .w = params + at,
            .first = optim->first ? optim->first + at : NULL,
            .second = optim->second ? optim->second + at : NULL,
            .start = optim->start ? optim->start + at : NULL,
        };
        step_span(optim, rate * span->factor, &stretch);
    }
}

// ---- Learning rates

void trib_plateau_observe(struct trib_plateau *plateau, const struct trib_schedule *schedule,
                          double value, bool higher_is_better)
{
    bool is_better = higher_is_better ? value > plateau->best : value < plateau->best;
    if (!plateau->has_best || is_better) {
        plateau->has_best = true;
        plateau->best = value;
        plateau->stale = 0;
        return;
    }
    if (++plateau->stale < schedule->every)
        return;
    plateau->stale = 0;
    plateau->cuts++;
}

double trib_schedule_rate(const struct trib_schedule *schedule, double rate, uint64_t position,
                          uint64_t count, const struct trib_plateau *plateau)
{
    const double pi = 3.14159265358979323846;
    const double min = schedule->min < rate ? schedule->min : rate;
    double now = rate;
    switch (schedule->kind) {
    case TRIB_SCHEDULE_CONSTANT: return rate;
    case TRIB_SCHEDULE_STEP:
        now *= pow(schedule->gamma, (double)(position / schedule->every));
        break;
    case TRIB_SCHEDULE_COSINE: // Loshchilov & Hutter 2017, equation 5, one wave
        now = min + (rate - min) / 2 * (1 + cos(pi * (double)position / (double)count));
        break;
    case TRIB_SCHEDULE_PLATEAU: now *= pow(schedule->gamma, (double)plateau->cuts); break;
    }
    return now > min ? now : min;
}
