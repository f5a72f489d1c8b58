#include "common/privacy/pure.h"

#include <math.h>

#include "common/privacy/mechanism.h"

double trib_pure_sampled(double epsilon, double q)
{
    return trib_loss_sampled(q, epsilon);
}

double trib_pure_advanced(double epsilon, uint64_t rounds, double delta)
{
    const double t = (double)rounds;
    return sqrt(2 * t * -log(delta)) * epsilon + t * epsilon * expm1(epsilon);
}

// Randomised response is the worst epsilon-DP mechanism: each release shifts the loss up by epsilon
// with probability e^epsilon / (1 + e^epsilon), else down. Theorem 3.3:
// delta(total) = sum over l of P(l of `rounds` down) (1 - e^(total - (rounds - 2 l) epsilon))+
static double delta_optimal(double epsilon, uint64_t rounds, double total)
{
    const double t = (double)rounds;
    const double log_up = -log1p(exp(-epsilon));
    const double log_down = -epsilon + log_up;
    double sum = 0;
    for (uint64_t down = 0; down <= rounds; down++) {
        const double l = (double)down;
        const double loss = (t - 2 * l) * epsilon;
        if (loss <= total)
            break;
        const double log_p =
            lgamma(t + 1) - lgamma(l + 1) - lgamma(t - l + 1) + (t - l) * log_up + l * log_down;
        sum += exp(log_p) * -expm1(total - loss);
    }
    return sum;
}

double trib_pure_optimal(double epsilon, uint64_t rounds, double delta)
{
    double low = 0;
    double high = (double)rounds * epsilon; // there delta is 0
    if (delta_optimal(epsilon, rounds, 0) <= delta)
        return 0;
    for (int step = 0; step < 100 && high - low > 1e-14 * high; step++) {
        double middle = (low + high) / 2;
        if (delta_optimal(epsilon, rounds, middle) <= delta)
            high = middle;
        else
            low = middle;
    }
    return high;
}
