#include "coordinator/result.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/json_read.h"

void trib_result_init(struct trib_round_result *result)
{
    const double none = (double)NAN;
    *result = (struct trib_round_result){.loss = none,
                                         .value = none,
                                         .epsilon_pure = none,
                                         .epsilon = none,
                                         .delta = none,
                                         .kind = "train"};
}

void trib_result_set_evaluation(struct trib_round_result *result,
                                const struct trib_held_out *held_out)
{
    const struct trib_evaluation *evaluation = &held_out->validation;
    bool higher_is_better;
    struct trib_buf json = {0};
    const char *metric = trib_evaluation_primary(evaluation, &result->value, &higher_is_better);
    (void)snprintf(result->metric, sizeof(result->metric), "%s", metric);
    result->loss = evaluation->loss;
    trib_held_out_json(held_out, &json);
    if (!json.failed && json.size < sizeof(result->metrics))
        memcpy(result->metrics, json.data, json.size + 1);
    trib_buf_fini(&json);
}

void trib_result_set_privacy(struct trib_round_result *result, const struct trib_buf *json)
{
    if (json->size > 0 && !json->failed && json->size < sizeof(result->privacy))
        memcpy(result->privacy, json->data, json->size + 1);
}

void trib_result_set_phases(struct trib_round_result *result, const struct trib_buf *json)
{
    if (json->size > 0 && !json->failed && json->size < sizeof(result->phases))
        memcpy(result->phases, json->data, json->size + 1);
}

void trib_result_set_tally(struct trib_round_result *result, const struct trib_buf *json)
{
    if (json->size > 0 && !json->failed && json->size < sizeof(result->tally))
        memcpy(result->tally, json->data, json->size + 1);
}

// Read up to the member; false: there is none of that kind.
static bool find_member(struct trib_json_reader *reader, const char *json, const char *object,
                        const char *name, enum trib_json_event kind)
{
    const unsigned depth = object ? 2 : 1;
    enum trib_json_event event;
    trib_json_reader_init(reader, json, strlen(json));
    while ((event = trib_json_next(reader)) != TRIB_JSON_END && event != TRIB_JSON_WRONG) {
        const char *key = reader->key.data ? (const char *)reader->key.data : "";
        const bool is_open = event == TRIB_JSON_OPEN_OBJECT || event == TRIB_JSON_OPEN_ARRAY;
        const bool is_wanted = object && event == TRIB_JSON_OPEN_OBJECT && reader->depth == 2 &&
                               strcmp(key, object) == 0;
        if (event == kind && reader->depth == depth && strcmp(key, name) == 0)
            return true;
        if (is_open && reader->depth > 1 && !is_wanted && !trib_json_skip(reader))
            return false;
    }
    return false;
}

double trib_result_member(const char *json, const char *object, const char *name)
{
    struct trib_json_reader reader;
    double value = (double)NAN;
    if (!find_member(&reader, json, object, name, TRIB_JSON_NUMBER) ||
        !trib_json_number(&reader, &value))
        value = (double)NAN;
    trib_json_reader_fini(&reader);
    return value;
}

void trib_result_text(const char *json, const char *object, const char *name, char *ret_text,
                      size_t size)
{
    struct trib_json_reader reader;
    const bool is_found = find_member(&reader, json, object, name, TRIB_JSON_TEXT);
    (void)snprintf(ret_text, size, "%s", is_found ? (const char *)reader.text.data : "");
    trib_json_reader_fini(&reader);
}

void trib_result_to_row(const struct trib_round_result *result, struct trib_admin_reply *reply)
{
    (void)trib_admin_row_add(reply);
    trib_admin_text(reply, "event", "round");
    trib_admin_number(reply, "round", result->round);
    trib_admin_number(reply, "version", result->version);
    trib_admin_number(reply, "asked", result->asked);
    trib_admin_number(reply, "accepted", result->accepted);
    trib_admin_number(reply, "refused", result->refused);
    trib_admin_real(reply, "loss", result->loss);
    trib_admin_text(reply, "metric", result->metric[0] ? result->metric : NULL);
    trib_admin_real(reply, "value", result->value);
    trib_admin_json(reply, "metrics", result->metrics[0] ? result->metrics : NULL);
    trib_admin_real(reply, "epsilon_pure", result->epsilon_pure);
    trib_admin_real(reply, "epsilon", result->epsilon);
    trib_admin_real(reply, "delta", result->delta);
    trib_admin_number(reply, "bytes_up", result->bytes_up);
    trib_admin_number(reply, "bytes_down", result->bytes_down);
    trib_admin_real(reply, "seconds", result->seconds);
    trib_admin_text(reply, "state", result->state);
    trib_admin_text(reply, "reason", result->reason[0] ? result->reason : NULL);
    trib_admin_number(reply, "id", result->id);
    trib_admin_json(reply, "privacy", result->privacy[0] ? result->privacy : NULL);
    trib_admin_text(reply, "kind", result->kind);
    const bool is_measured = strcmp(result->kind, TRIB_RESULT_EVALUATION) == 0;
    trib_admin_json(reply, "tally", result->tally[0] && !is_measured ? result->tally : NULL);
    trib_admin_json(reply, "device_metrics",
                    result->tally[0] && is_measured ? result->tally : NULL);
    trib_admin_json(reply, "phases", result->phases[0] ? result->phases : NULL);
}

static void take_text(const struct trib_admin_row *row, const char *name, char *out, size_t size)
{
    (void)snprintf(out, size, "%s", trib_admin_find_text(row, name));
}

void trib_result_from_row(const struct trib_admin_row *row, struct trib_round_result *ret_result)
{
    struct trib_round_result result = {
        .id = trib_admin_find_number(row, "id"),
        .round = trib_admin_find_number(row, "round"),
        .version = trib_admin_find_number(row, "version"),
        .asked = trib_admin_find_number(row, "asked"),
        .accepted = trib_admin_find_number(row, "accepted"),
        .refused = trib_admin_find_number(row, "refused"),
        .loss = trib_admin_find_real(row, "loss"),
        .value = trib_admin_find_real(row, "value"),
        .epsilon_pure = trib_admin_find_real(row, "epsilon_pure"),
        .epsilon = trib_admin_find_real(row, "epsilon"),
        .delta = trib_admin_find_real(row, "delta"),
        .bytes_up = trib_admin_find_number(row, "bytes_up"),
        .bytes_down = trib_admin_find_number(row, "bytes_down"),
        .seconds = trib_admin_find_real(row, "seconds"),
    };
    take_text(row, "state", result.state, sizeof(result.state));
    take_text(row, "reason", result.reason, sizeof(result.reason));
    take_text(row, "metric", result.metric, sizeof(result.metric));
    take_text(row, "metrics", result.metrics, sizeof(result.metrics));
    take_text(row, "phases", result.phases, sizeof(result.phases));
    take_text(row, "privacy", result.privacy, sizeof(result.privacy));
    take_text(row, "kind", result.kind, sizeof(result.kind));
    take_text(row, strcmp(result.kind, TRIB_RESULT_EVALUATION) == 0 ? "device_metrics" : "tally",
              result.tally, sizeof(result.tally));
    *ret_result = result;
}
