// Which keys of [data] go with data.join: a key that nothing reads must not look as if it worked.
// By value and not by whether they are there: jobs and simulated devices write all keys.
#include "common/data/csv.h"
#include "common/data/source.h"

// Of the two keys for times, one that says something; NULL: none.
static const char *find_time_key(const struct trib_data_config *config)
{
    if (config->join_tolerance_s > 0)
        return "join_tolerance_s";
    return config->join_direction != 0 ? "join_direction" : NULL;
}

enum trib_err trib_data_check_join(struct trib_conf *conf, const struct trib_data_config *config)
{
    const char *key = find_time_key(config);
    if (config->join_time[0])
        key = config->join[0] ? NULL : "join_time";
    if (!config->join[0]) {
        if (config->join_on[0])
            key = "join_on";
        return key ? trib_conf_reject(conf, "data", key, "is for data.join") : TRIB_OK;
    }
    if (config->format != TRIB_DATA_CSV || config->header != TRIB_CSV_HEADER_YES)
        return trib_conf_reject(conf, "data", "join",
                                "wants format = csv and header = yes: columns are found by name");
    if (!config->schema[0])
        return trib_conf_reject(conf, "data", "join",
                                "wants a data.schema, which declares the columns of both files");
    if (!config->join_on[0])
        return trib_conf_reject(conf, "data", "join_on", "is missing: the column of the key");
    return key ? trib_conf_reject(conf, "data", key, "is for data.join_time") : TRIB_OK;
}
