#include "common/privacy/mechanism.h"

#include <math.h>
#include <stdio.h>

#include "common/base/limits.h"

enum trib_err trib_mechanism_check(const struct trib_mechanism *m, char *why, size_t why_size)
{
    const double scale_min = 1e-9; // beyond these the formulas leave the range of a double
    const double scale_max = 1e9;
    const double sampling_min = 1e-9;

    if (m->kind != TRIB_MECHANISM_LAPLACE && m->kind != TRIB_MECHANISM_GAUSSIAN)
        (void)snprintf(why, why_size, "mechanism: want laplace or gaussian");
    else if (!(m->scale >= scale_min && m->scale <= scale_max))
        (void)snprintf(why, why_size, "scale %g: want %g to %g sensitivities", m->scale, scale_min,
                       scale_max);
    else if (!(m->sampling >= sampling_min && m->sampling <= 1))
        (void)snprintf(why, why_size, "sampling %g: want a share of %g to 1", m->sampling,
                       sampling_min);
    else if (m->rounds < 1 || m->rounds > TRIB_ROUNDS_MAX)
        (void)snprintf(why, why_size, "rounds %llu: want 1 to %d", (unsigned long long)m->rounds,
                       TRIB_ROUNDS_MAX);
    else
        return TRIB_OK;
    return TRIB_ERR_INVAL;
}

enum trib_err trib_delta_check(double delta, char *why, size_t why_size)
{
    const double delta_min = 1e-100; // far below any use, and far from where doubles end
    if (delta >= delta_min && delta < 1)
        return TRIB_OK;
    (void)snprintf(why, why_size, "delta %g: want a probability of %g to below 1", delta,
                   delta_min);
    return TRIB_ERR_INVAL;
}

// Both forms keep the digits of the result near 0 and far from it: e^loss - 1 is -1 in a double
// from e^-37 on, while the losses go on.
double trib_loss_sampled(double q, double loss)
{
    if (loss > 1)
        return loss + log(q + (1 - q) * exp(-loss));
    double excess = q * expm1(loss);
    return excess > -0.5 ? log1p(excess) : log(1 - q + q * exp(loss));
}

double trib_loss_unsampled(double q, double sampled)
{
    if (sampled > 1)
        return sampled + log1p(-(1 - q) * exp(-sampled)) - log(q);
    double excess = expm1(sampled) / q;
    return excess > -0.5 ? log1p(excess) : log((exp(sampled) - (1 - q)) / q);
}
