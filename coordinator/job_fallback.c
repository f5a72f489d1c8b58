#include "coordinator/job_fallback.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/data/fallback.h"
#include "common/data/schema.h"

static enum trib_err check(const struct trib_data_config *config, const struct trib_model *model,
                           const struct trib_buf *file, char *why, size_t why_size)
{
    struct trib_schema *schema = NULL;
    struct trib_fallback *fallback = NULL;
    enum trib_err err = TRIB_OK;
    if (config->schema[0])
        err = trib_schema_load(config->schema, &schema, why, why_size);
    if (!err)
        err = trib_fallback_parse((const char *)file->data, file->size, config->fallback, schema,
                                  &fallback, why, why_size);
    if (!err)
        err = trib_fallback_check(fallback, model, model->inputs, why, why_size);
    trib_fallback_destroy(fallback);
    trib_schema_destroy(schema);
    return err;
}

enum trib_err trib_job_fallback(const struct trib_data_config *config,
                                const struct trib_model *model, char **ret_text, char *why,
                                size_t why_size)
{
    struct trib_buf file = {0};
    *ret_text = NULL;
    if (!config->fallback[0])
        return TRIB_OK;
    enum trib_err err = trib_file_read(config->fallback, TRIB_CONF_FILE_MAX, &file);
    if (err)
        (void)snprintf(why, why_size, "%s: cannot be read", config->fallback);
    if (!err)
        err = check(config, model, &file, why, why_size);
    if (!err && file.size > TRIB_FALLBACK_TEXT_MAX) {
        (void)snprintf(why, why_size, "%s: has %zu bytes; a version takes %d along",
                       config->fallback, file.size, TRIB_FALLBACK_TEXT_MAX);
        err = TRIB_ERR_INVAL;
    }
    if (!err) {
        *ret_text = trib_alloc_text((const char *)file.data);
        err = *ret_text ? TRIB_OK : TRIB_ERR_NOMEM;
    }
    trib_buf_fini(&file);
    return err == TRIB_ERR_IO ? TRIB_ERR_INVAL : err;
}
