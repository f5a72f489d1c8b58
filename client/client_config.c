// What a program hands to trib_client_create: its defaults, and what is refused.
#include <stddef.h>
#include <string.h>

#include "client/client_state.h"
#include "common/base/log.h"
#include "common/wire/link.h"

#define TRIB_LOG_MODULE "client"

const char *trib_version(void)
{
    return TRIB_VERSION_TEXT;
}

void trib_client_config_init(struct trib_client_config *config)
{
    *config =
        (struct trib_client_config){.struct_size = sizeof(*config), .log_level = TRIB_LOG_INFO};
}

static bool has_train(const struct trib_trainer *trainer)
{
    const size_t needed = offsetof(struct trib_trainer, train) + sizeof(trainer->train);
    return trainer && trainer->struct_size >= needed && trainer->train;
}

// Is it one at all? What is said about the rest goes to its log.
static bool is_whole(const struct trib_client_config *config)
{
    return config && config->struct_size == sizeof(*config) && config->state_dir &&
           has_train(config->trainer);
}

enum trib_err trib_client_config_check(const struct trib_client_config *config)
{
    if (!is_whole(config))
        return TRIB_ERR_INVAL;
    trib_log_set_level(config->log_level);
    if (config->log)
        trib_log_set_sink(config->log, config->log_user);
    const char *url = config->coordinator_url;
    if (url && !trib_link_url_is_good(url)) {
        TRIB_ERROR("coordinator_url: %s: want " TRIB_LINK_URL_FORM, url);
        return TRIB_ERR_INVAL;
    }
    if (url && strlen(url) > TRIB_URL_MAX) {
        TRIB_ERROR("coordinator_url: longer than %d bytes", TRIB_URL_MAX);
        return TRIB_ERR_INVAL;
    }
    return TRIB_OK;
}

void trib_client_config_take(struct trib_client *client, const struct trib_client_config *config)
{
    const size_t declared = config->trainer->struct_size;
    const size_t size = declared < sizeof(client->trainer) ? declared : sizeof(client->trainer);
    client->config = *config;
    client->config.state_dir = NULL;
    client->config.coordinator_url = NULL;
    // A program that was built before there were so many callbacks has a shorter struct.
    memset(&client->trainer, 0, sizeof(client->trainer));
    memcpy(&client->trainer, config->trainer, size);
    client->config.trainer = &client->trainer;
}
