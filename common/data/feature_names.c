#include "common/data/feature_names.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"

#define TRIB_LOG_MODULE "features"

static const char *find_why_not(const struct trib_data_config *data,
                                const struct trib_schema *schema)
{
    if (!schema)
        return "the data have no data.schema, whose columns a pipeline names";
    if (data->prepare[0])
        return NULL;
    if (data->scale != 1)
        return "with data.scale there is no pipeline: let one scale";
    for (size_t i = 0; i < schema->count; i++) {
        const struct trib_column *c = &schema->columns[i];
        if (c->role == TRIB_ROLE_FEATURE && (c->offset != 0 || c->scale != 1))
            return "columns of the schema have an offset or scale, which a pipeline does not use: "
                   "let it scale";
    }
    return NULL;
}

// Without a pipeline features are what the schema makes of the columns: what a pipeline without
// steps would, in the same order.
static enum trib_err load_empty(struct trib_features *f)
{
    char why[256];
    enum trib_err err =
        trib_prepare_parse("", 0, "data.schema", f->schema, &f->prepare, why, sizeof(why));
    if (err)
        TRIB_ERROR("%s", why);
    return err;
}

enum trib_err trib_features_load(const struct trib_data_config *data, size_t count,
                                 struct trib_features *ret_features, char *why, size_t why_size)
{
    struct trib_features *f = ret_features;
    *f = (struct trib_features){.count = count};
    if (why_size > 0)
        why[0] = '\0';
    enum trib_err err = trib_data_load(data, &f->schema, &f->prepare);
    if (!err && f->schema && !f->prepare)
        err = load_empty(f);
    if (err)
        return err == TRIB_ERR_IO ? TRIB_ERR_INVAL : err;
    f->why_no_pipeline = find_why_not(data, f->schema);
    if (!f->prepare || trib_prepare_features(f->prepare) == f->count)
        return TRIB_OK;
    (void)snprintf(why, why_size, "takes %zu features, the data have %zu", f->count,
                   trib_prepare_features(f->prepare));
    return TRIB_ERR_INVAL;
}

void trib_features_fini(struct trib_features *features)
{
    trib_prepare_destroy(features->prepare);
    trib_schema_destroy(features->schema);
    *features = (struct trib_features){.count = 0};
}

const char *trib_features_name(const struct trib_features *features, size_t feature,
                               char text[static TRIB_FEATURE_TEXT_SIZE])
{
    assert(feature < features->count);
    if (features->prepare)
        return trib_prepare_feature_name(features->prepare, feature);
    (void)snprintf(text, TRIB_FEATURE_TEXT_SIZE, "f%zu", feature);
    return text;
}

// Does the text make exactly the features that stay?
static enum trib_err check(const struct trib_features *f, const bool *stays,
                           const struct trib_buf *text)
{
    char why[512] = "two of its features have one name";
    struct trib_prepare *parsed = NULL;
    size_t at = 0;
    enum trib_err err = trib_prepare_parse((const char *)text->data, text->size, "the pipeline",
                                           f->schema, &parsed, why, sizeof(why));
    for (size_t i = 0; !err && i < f->count; i++) {
        if (!stays[i])
            continue;
        if (at == trib_prepare_features(parsed) ||
            strcmp(trib_prepare_feature_name(parsed, at++),
                   trib_prepare_feature_name(f->prepare, i)) != 0)
            err = TRIB_ERR_INVAL;
    }
    if (!err && at != trib_prepare_features(parsed))
        err = TRIB_ERR_INVAL;
    trib_prepare_destroy(parsed);
    if (err)
        TRIB_ERROR("a pipeline that drops features cannot be written: %s", why);
    return err;
}

enum trib_err trib_features_pipeline(const struct trib_features *features, const bool *stays,
                                     struct trib_buf *text)
{
    const struct trib_features *f = features;
    bool drops = false;
    assert(!f->why_no_pipeline);
    trib_prepare_write(f->prepare, text); // with its last step: categories as numbers
    for (size_t i = 0; i < f->count; i++) {
        if (stays[i])
            continue;
        if (!drops)
            trib_buf_text(text, "\n[step drop]\n");
        drops = true;
        trib_buf_printf(text, "columns = %s\n", trib_prepare_feature_name(f->prepare, i));
    }
    return text->failed ? TRIB_ERR_NOMEM : check(f, stays, text);
}
