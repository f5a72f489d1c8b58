#include "coordinator/job_held_out.h"

#include "common/math/metrics.h"

// The metric exists for this kind of model.
static bool metric_fits(enum trib_job_metric metric, const struct trib_model *model)
{
    if (metric == TRIB_JOB_METRIC_TOP5_ACCURACY && model->classes <= 5)
        return false; // every row is among all classes
    if (trib_metric_is_ranking(trib_job_metric_name(metric)) && !trib_recommender_fits(model))
        return false;
    return metric == TRIB_JOB_METRIC_NONE ||
           trib_metric_fits(trib_job_metric_name(metric), trib_problem_of(model->classes));
}

static enum trib_err check_metric(struct trib_conf *conf, const char *key, int metric,
                                  const struct trib_job *job)
{
    const struct trib_model *model = &job->model;
    const bool is_ranking =
        trib_metric_is_ranking(trib_job_metric_name((enum trib_job_metric)metric));
    if (is_ranking && job->held_out.ranking.k == 0 && trib_recommender_fits(model))
        return trib_conf_reject(conf, "round", key, "%s wants a round.ranking_k",
                                trib_job_metric_name(metric));
    if (metric_fits((enum trib_job_metric)metric, model))
        return TRIB_OK;
    return trib_conf_reject(conf, "round", key, "%s does not exist for this model, which is for %s",
                            trib_job_metric_name(metric),
                            trib_problem_text(trib_problem_of(model->classes)));
}

static enum trib_err check_ranking(struct trib_conf *conf, const struct trib_job_config *config,
                                   struct trib_job *job)
{
    job->held_out.ranking = (struct trib_ranking_plan){
        .k = (uint32_t)config->ranking_k,
        .negatives = (uint32_t)config->ranking_negatives,
        .relevant = config->ranking_relevant,
        .seed = config->round_seed,
    };
    // A resolved file has all keys: 1 is the default.
    if (config->ranking_k == 0 && (config->ranking_relevant < 1 || config->ranking_relevant > 1))
        return trib_conf_reject(conf, "round", "ranking_relevant", "wants a ranking_k");
    if (config->ranking_k == 0 && config->ranking_negatives > 0)
        return trib_conf_reject(conf, "round", "ranking_negatives", "wants a ranking_k");
    if (config->ranking_k > 0 && !trib_recommender_fits(&job->model))
        return trib_conf_reject(conf, "round", "ranking_k",
                                "is for a recommender, a model of one output that begins with "
                                "factors or bilinear, not for this model, which is for %s",
                                trib_problem_text(trib_problem_of(job->model.classes)));
    return TRIB_OK;
}

static enum trib_err check_threshold(struct trib_conf *conf, const struct trib_job_config *config,
                                     struct trib_job *job)
{
    struct trib_threshold_goal *goal = &job->held_out.goal;
    job->held_out.test_share = config->test_share;
    job->held_out.test_last = config->test_last;
    if (config->test_share > 0 && config->test_last > 0)
        return trib_conf_reject(conf, "round", "test_last", "cannot go with test_share");
    if (config->primary_metric != TRIB_JOB_METRIC_NONE)
        job->held_out.primary = trib_job_metric_name(config->primary_metric);
    if (trib_threshold_goal_parse(config->threshold_goal, goal))
        return trib_conf_reject(conf, "round", "threshold_goal",
                                "is none, f1, accuracy, youden, recall:R or precision:P with R or "
                                "P above 0 and at most 1");
    if (goal->goal == TRIB_GOAL_NONE)
        return TRIB_OK;
    if (job->model.classes != 2)
        return trib_conf_reject(conf, "round", "threshold_goal",
                                "is for a model of two classes, not for %s",
                                trib_problem_text(trib_problem_of(job->model.classes)));
    if (config->eval_every == 0)
        return trib_conf_reject(conf, "round", "eval_every",
                                "must not be 0 when there is a threshold_goal");
    return TRIB_OK;
}

static enum trib_err check_counters(struct trib_conf *conf, const struct trib_job_config *config,
                                    struct trib_job *job)
{
    char why[256];
    if (trib_counters_parse(config->counters, &job->counters, why, sizeof(why)))
        return trib_conf_reject(conf, "round", "counters", "%s", why);
    if (job->counters.count > 0 && config->count_every == 0)
        return trib_conf_reject(conf, "round", "counters",
                                "wants a count_every: nobody would collect them");
    if (job->counters.count == 0 && config->count_every > 0)
        return trib_conf_reject(conf, "round", "count_every", "wants counters");
    return TRIB_OK;
}

enum trib_err trib_job_check_held_out(struct trib_conf *conf, const struct trib_job_config *config,
                                      struct trib_job *job)
{
    enum trib_err err = check_counters(conf, config, job);
    if (!err)
        err = check_ranking(conf, config, job);
    if (!err)
        err = check_metric(conf, "target_metric", config->target_metric, job);
    if (!err)
        err = check_metric(conf, "primary_metric", config->primary_metric, job);
    return err ? err : check_threshold(conf, config, job);
}
