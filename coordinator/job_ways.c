#include "coordinator/job_ways.h"

// Defaults of keys that must not be set without another: a resolved file holds them all.
enum {
    NEIGHBOURS = 5
};
static const double trunk_rate_default = 0.1;

static enum trib_err check_sampling(struct trib_conf *conf, const struct trib_job_config *config,
                                    const struct trib_model *model,
                                    struct trib_train_options *train)
{
    const enum trib_sampling kind = (enum trib_sampling)config->sampling;
    if (kind != TRIB_SAMPLING_SMOTE && config->smote_neighbours != NEIGHBOURS)
        return trib_conf_reject(conf, "round", "smote_neighbours", "is for sampling = smote");
    if (kind == TRIB_SAMPLING_NONE && config->sampling_ratio != 1)
        return trib_conf_reject(conf, "round", "sampling_ratio", "wants a sampling");
    if (kind == TRIB_SAMPLING_NONE)
        return TRIB_OK;
    if (model->classes == 0)
        return trib_conf_reject(conf, "round", "sampling", "a regression has no classes");
    if (kind == TRIB_SAMPLING_SMOTE && model->items > 0)
        return trib_conf_reject(conf, "round", "sampling",
                                "smote would make up items: there is nothing between two of them");
    if (config->class_weights)
        return trib_conf_reject(conf, "round", "sampling",
                                "cannot go with class_weights: both would count the classes");
    if (kind != TRIB_SAMPLING_UNDER && config->batch == 0)
        return trib_conf_reject(conf, "round", "batch",
                                "must not be 0 when sampling makes more of the rows");
    train->resample = (struct trib_resample_options){.kind = kind, .ratio = config->sampling_ratio};
    if (kind == TRIB_SAMPLING_SMOTE)
        train->resample.neighbours = (uint32_t)config->smote_neighbours;
    return TRIB_OK;
}

static enum trib_err check_augment(struct trib_conf *conf, const struct trib_job_config *config,
                                   const struct trib_model *model, struct trib_train_options *train)
{
    char why[256];
    if (trib_augment_parse(config->augment, &train->augment, why, sizeof(why)))
        return trib_conf_reject(conf, "round", "augment", "%s", why);
    if (trib_augment_is_on(&train->augment) && model->items > 0)
        return trib_conf_reject(conf, "round", "augment",
                                "would make up items: there is nothing between two of them");
    if (trib_augment_is_of_pictures(&train->augment) && !model->shape.is_picture)
        return trib_conf_reject(conf, "round", "augment",
                                "shift, rotate and crop want pictures: a model.spec that begins "
                                "with CxHxW");
    return TRIB_OK;
}

static enum trib_err check_layers(struct trib_conf *conf, const struct trib_job_config *config,
                                  const struct trib_model *model, struct trib_train_options *train)
{
    char why[TRIB_CONF_TEXT_MAX + 128];
    uint64_t learning = 0;
    if (trib_train_layers_parse(config->freeze, model, &train->frozen, why, sizeof(why)))
        return trib_conf_reject(conf, "round", "freeze", "%s", why);
    if (trib_train_layers_parse(config->trunk, model, &train->trunk, why, sizeof(why)))
        return trib_conf_reject(conf, "round", "trunk", "%s", why);
    for (uint32_t l = 0; l < model->layer_count && l < TRIB_LAYERS_MAX; l++)
        learning |= (uint64_t)(model->layers[l].tensor_count > 0) << l;
    if (learning == train->frozen)
        return trib_conf_reject(conf, "round", "freeze", "leaves nothing to learn");
    if (train->frozen & train->trunk)
        return trib_conf_reject(conf, "round", "trunk", "names a layer that is frozen");
    if (!train->trunk && config->trunk_rate != trunk_rate_default)
        return trib_conf_reject(conf, "round", "trunk_rate", "wants a trunk");
    if (train->trunk)
        train->trunk_rate = config->trunk_rate;
    return TRIB_OK;
}

enum trib_err trib_job_check_ways(struct trib_conf *conf, const struct trib_job_config *config,
                                  const struct trib_model *model, struct trib_train_options *train)
{
    if (config->learning_mode == TRIB_JOB_MODE_ONLINE && (config->sampling || config->augment[0]))
        return trib_conf_reject(conf, "round", config->sampling ? "sampling" : "augment",
                                "cannot go with mode = online: each row is learnt from once, as it "
                                "comes");
    enum trib_err err = check_sampling(conf, config, model, train);
    if (!err)
        err = check_augment(conf, config, model, train);
    if (!err)
        err = check_layers(conf, config, model, train);
    return err;
}
