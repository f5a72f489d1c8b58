#include "coordinator/stop.h"

void trib_stop_observe(struct trib_stop *stop, const struct trib_job *job, double value)
{
    const double gain = trib_job_higher_is_better(job) ? value - stop->best : stop->best - value;
    if (!stop->has_best || (gain > 0 && gain >= job->config.stop_min_delta)) {
        stop->has_best = true;
        stop->best = value;
        stop->stale = 0;
    } else {
        stop->stale++;
    }
}

enum trib_stop_rule trib_stop_rule(const struct trib_stop *stop, const struct trib_job *job,
                                   uint64_t rounds_done, uint64_t elapsed_ms)
{
    const struct trib_job_config *config = &job->config;
    if (stop->target_is_reached)
        return TRIB_STOP_TARGET;
    if (rounds_done >= config->rounds)
        return TRIB_STOP_ROUNDS;
    if (config->stop_patience > 0 && stop->stale >= config->stop_patience)
        return TRIB_STOP_PLATEAU;
    if (config->deadline_s > 0 && elapsed_ms >= config->deadline_s * 1000)
        return TRIB_STOP_DEADLINE;
    return TRIB_STOP_NOT;
}

const char *trib_stop_reason(enum trib_stop_rule rule)
{
    switch (rule) {
    case TRIB_STOP_NOT: break;
    case TRIB_STOP_TARGET: return "the target was reached";
    case TRIB_STOP_ROUNDS: return "all rounds are done";
    case TRIB_STOP_PLATEAU: return "the metric did not get better any more";
    case TRIB_STOP_DEADLINE: return "the deadline has passed";
    }
    return "";
}
