// Models: a new version is judged by its manifest, fetched in chunks, checked whole and installed.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_state.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/crash.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "client"

enum {
    AGAIN_FIRST_MS = 1000, // doubled with each failure
    AGAIN_MAX_MS = 600000,
};

static void report_install(struct trib_client *client, const struct trib_msg_manifest *manifest,
                           enum trib_code code)
{
    struct trib_msg_installed msg = {
        .generation = manifest->generation, .version = manifest->version, .code = code};
    struct trib_buf packed = {0};
    memcpy(msg.digest, manifest->digest, sizeof(msg.digest));
    trib_msg_installed_pack(&msg, &packed);
    trib_client_send(client, TRIB_RECORD_INSTALLED, 0, &packed);
    if (code != TRIB_CODE_MODEL_INSTALLED) {
        client->refused_models++;
        TRIB_WARN("id=model-refused generation=%" PRIu64 " version=%" PRIu64
                  " code=%s refused=%" PRIu64 " keeping_generation=%" PRIu64 " keeping=%" PRIu64,
                  manifest->generation, manifest->version, trib_code_text(code),
                  client->refused_models, client->slot.manifest.generation,
                  client->slot.manifest.version);
    }
}

// Nothing is learnt from such a version: whoever waits for us to begin should not.
static void refuse_pipeline(struct trib_client *client, const struct trib_msg_manifest *manifest)
{
    memcpy(client->other_pipeline, manifest->digest, TRIB_DIGEST_SIZE);
    if (!client->has_task ||
        memcmp(client->task.msg.base_digest, manifest->digest, TRIB_DIGEST_SIZE) != 0)
        return;
    client->has_task = false;
    trib_client_reply(client, client->task.msg.round_id, TRIB_CODE_DECLINED_MODEL);
}

// Our memory or disk refused it, and the coordinator announces it to this session no more.
static void fetch_failed(struct trib_client *client)
{
    struct trib_fetch *fetch = &client->fetch;
    uint64_t pause_ms = AGAIN_FIRST_MS;
    for (unsigned i = 0; i < fetch->failures && pause_ms < AGAIN_MAX_MS; i++)
        pause_ms *= 2;
    pause_ms = pause_ms < AGAIN_MAX_MS ? pause_ms : AGAIN_MAX_MS;
    trib_client_fetch_drop(client);
    fetch->failures++;
    fetch->again_at_ms = trib_clock_mono_ms() + pause_ms;
    TRIB_WARN("version=%" PRIu64 " could not be kept; fetched again_in_ms=%" PRIu64,
              fetch->manifest.version, pause_ms);
}

void trib_client_fetch_drop(struct trib_client *client)
{
    free(client->fetch.params);
    client->fetch.params = NULL;
    client->fetch.is_active = false;
    client->fetch.again_at_ms = 0;
}

// Ask for what was announced; fetch->announcement, manifest and model are set.
static void begin_fetch(struct trib_client *client)
{
    struct trib_fetch *fetch = &client->fetch;
    struct trib_msg_model_get get = {.takes_runs = !fetch->wants_own};
    struct trib_buf packed = {0};
    fetch->params = trib_alloc_unset(fetch->model.param_count, sizeof(float));
    if (!fetch->params) {
        fetch_failed(client);
        return;
    }
    fetch->is_active = true;
    fetch->stream = ++client->next_stream;
    fetch->received = 0;
    memcpy(get.digest, fetch->manifest.digest, sizeof(get.digest));
    trib_msg_model_get_pack(&get, &packed);
    trib_client_send(client, TRIB_RECORD_MODEL_GET, fetch->stream, &packed);
    TRIB_CRASH_POINT("fetch.begun");
}

void trib_client_fetch_again(struct trib_client *client, uint64_t now_ms)
{
    if (client->fetch.again_at_ms == 0 || now_ms < client->fetch.again_at_ms)
        return;
    client->fetch.again_at_ms = 0;
    begin_fetch(client);
}

uint64_t trib_client_fetch_wait_ms(const struct trib_client *client, uint64_t now_ms)
{
    const uint64_t at_ms = client->fetch.again_at_ms;
    if (at_ms == 0)
        return UINT64_MAX;
    return at_ms > now_ms ? at_ms - now_ms : 0;
}

bool trib_client_new_version(struct trib_client *client, const struct trib_record *record)
{
    struct trib_fetch *fetch = &client->fetch;
    struct trib_msg_new_version announcement;
    struct trib_msg_manifest manifest = {.version = 0};
    struct trib_model model;
    if (trib_msg_new_version_unpack(record->payload, record->payload_size, &announcement))
        return false;
    enum trib_code code =
        trib_slot_judge(&client->slot, &client->enrolment, &announcement, &manifest, &model);
    if (code == TRIB_CODE_RETRY_LATER) { // it is announced again to the next session
        trib_channel_close(client->channel, TRIB_CLOSE_NOMEM);
        return true;
    }
    if (code == TRIB_CODE_MODEL_INSTALLED && client->config.memory_max &&
        model.param_count * 5 * sizeof(float) > client->config.memory_max)
        code = TRIB_CODE_MODEL_ARCH;
    if (code != TRIB_CODE_MODEL_INSTALLED) {
        report_install(client, &manifest, code);
        if (code == TRIB_CODE_MODEL_PIPELINE)
            refuse_pipeline(client, &manifest);
        return true;
    }
    const bool is_same = memcmp(fetch->manifest.digest, manifest.digest, TRIB_DIGEST_SIZE) == 0;
    if (is_same && (fetch->is_active || fetch->again_at_ms > 0))
        return true; // on its way
    trib_client_fetch_drop(client);
    fetch->failures = 0;
    fetch->wants_own = false;
    fetch->announcement = announcement;
    fetch->manifest = manifest;
    fetch->model = model;
    begin_fetch(client);
    return true;
}

static void fetch_done(struct trib_client *client)
{
    struct trib_fetch *fetch = &client->fetch;
    const struct trib_trainer *trainer = client->config.trainer;
    enum trib_err err = trib_slot_install(&client->slot, client->dir, &fetch->announcement,
                                          &fetch->manifest, &fetch->model, fetch->params);
    if (err == TRIB_ERR_CORRUPT && !fetch->wants_own) {
        // Whoever holds our connection and was sent the same run can do that: not the version's fault.
        TRIB_WARN("version=%" PRIu64
                  " does not match its digest; fetched again, sealed for us alone",
                  fetch->manifest.version);
        trib_client_fetch_drop(client);
        fetch->wants_own = true;
        begin_fetch(client);
        return;
    }
    if (err == TRIB_ERR_CORRUPT) {
        report_install(client, &fetch->manifest, TRIB_CODE_MODEL_DIGEST);
    } else if (err) {
        fetch_failed(client);
        return;
    } else {
        fetch->params = NULL; // the slot's now
        trib_client_tell_version(client);
        report_install(client, &client->slot.manifest, TRIB_CODE_MODEL_INSTALLED);
        TRIB_CRASH_POINT("fetch.told");
        if (trainer->published)
            trainer->published(client->config.trainer_user, client->slot.manifest.version,
                               client->slot.params, client->slot.model.param_count);
        trib_client_renew(client);
    }
    trib_client_fetch_drop(client);
    trib_client_start_task(client);
}

bool trib_client_model_chunk(struct trib_client *client, const struct trib_record *record)
{
    struct trib_fetch *fetch = &client->fetch;
    if (!fetch->is_active || record->stream != fetch->stream)
        return true; // of a fetch that was dropped
    size_t size = fetch->model.param_count * sizeof(float);
    if (record->offset != fetch->received || record->payload_size > size - fetch->received)
        return false;
    memcpy((uint8_t *)fetch->params + fetch->received, record->payload, record->payload_size);
    fetch->received += record->payload_size;
    if (fetch->received == size) {
        TRIB_CRASH_POINT("fetch.whole");
        fetch_done(client);
    }
    return true;
}
