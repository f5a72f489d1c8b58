// messages.h - every control message of the protocol as a row of one table, for tests that want to
// treat them all alike: a sample in which no field has its default, functions of one type, and the
// places of the fields.
#ifndef TRIB_TESTS_MESSAGES_H
#define TRIB_TESTS_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/message.h"

struct field {
    const char *name;
    size_t offset, size;
};

struct message {
    const char *name;
    size_t size;        // of the struct
    const void *sample; // every field has a value other than its default
    void (*pack)(const void *msg, struct trib_buf *buf);
    enum trib_err (*unpack)(const uint8_t *data, size_t size, void *ret_msg);
    const struct field *fields;
    size_t field_count;
};

#define NAMES "a population"
#define BYTES16                                               \
    {                                                         \
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 \
    }
#define BYTES32(first)            \
    {                             \
        first, 2, 3, 4, [31] = 32 \
    }

static const struct trib_msg_pace sample_pace = {.retry_min_ms = 1, .retry_max_ms = UINT32_MAX};
static const struct trib_msg_enrol sample_enrol = {.sign_key = BYTES32(1), .software = "client 1"};
static const struct trib_msg_enrol_reply sample_enrol_reply = {.code = TRIB_CODE_ACCEPTED,
                                                               .name = "dev-0",
                                                               .population = NAMES,
                                                               .release_key = BYTES32(2),
                                                               .has_roster_key = true,
                                                               .roster_key = BYTES32(12),
                                                               .key_sequence = 3};
static const struct trib_msg_key_statement sample_key_statement = {.sequence = 1,
                                                                   .old_release_key = BYTES32(15),
                                                                   .old_coordinator_key =
                                                                       BYTES32(16),
                                                                   .release_key = BYTES32(17),
                                                                   .coordinator_key = BYTES32(18),
                                                                   .made_ms = 2,
                                                                   .keep_until_ms = UINT64_MAX};
static const struct trib_msg_keys sample_keys = {
    .count = 2,
    .links = {{.statement = {5, 6, 7}, .statement_size = 3, .signature = {9, [63] = 1}},
              {.statement = {8}, .statement_size = 1, .signature = {[63] = 2}}}};
static const struct trib_msg_keys_reply sample_keys_reply = {.sequence = UINT64_MAX,
                                                             .code = TRIB_CODE_KEYS_SIGNATURE};
static const struct trib_msg_ready sample_ready = {.population = NAMES,
                                                   .software = "client 1",
                                                   .generation = 2,
                                                   .version = UINT64_MAX,
                                                   .digest = BYTES32(3),
                                                   .has_spooled = true,
                                                   .spooled_update_id = BYTES16,
                                                   .spooled_round = 5,
                                                   .is_busy = true,
                                                   .secagg_round = 6,
                                                   .key_sequence = 7};
static const struct trib_msg_task sample_task = {
    .round_id = 1,
    .round_number = 2,
    .job = 3,
    .population = NAMES,
    .spec = "784 - dense 10 softmax",
    .base_generation = 4,
    .base_version = 5,
    .base_digest = BYTES32(6),
    .seed = UINT64_MAX,
    .epochs = 10000,
    .batch = TRIB_ROWS_MAX,
    .learning_rate = 0.1,
    .momentum = 0.9,
    .weight_decay = 1e-4,
    .encoding = {.mode = 2,
                 .grid = 0x1p-20,
                 .grid_bits = 24,
                 .s1 = 1u << 30,
                 .s2 = 77,
                 .sinf = 78,
                 .word_bits = 24,
                 .clip_l1 = 1.5,
                 .clip_l2 = 2.5,
                 .shares = 60},
    .secagg = {.members = TRIB_COHORT_MAX,
               .threshold = 75,
               .drop_max = 25,
               .colluders = 10,
               .shares = 65,
               .neighbours = 96,
               .neighbour_threshold = 67},
    .fit = {.optimizer = 2,
            .decoupled_decay = true,
            .l1 = 0.01,
            .proximal_mu = 0.5,
            .clip_norm = 5,
            .lr_schedule = 1,
            .lr_step = 100,
            .lr_gamma = 0.75,
            .lr_min = 1e-3,
            .validation_fraction = 0.125,
            .patience = 4,
            .class_weights = 2,
            .class_count = 2,
            .class_weight = {0.75f, 1.5f},
            .personal_epochs = 7,
            .mode = 2,
            .sampling = 3,
            .sampling_ratio = 0.5,
            .smote_neighbours = 7,
            .jitter = 0.25,
            .mixup = 0.2,
            .rotate = 15,
            .crop = 0.75,
            .shift = 2,
            .frozen_layers = 5,
            .trunk_layers = UINT64_C(1) << 31,
            .trunk_rate = 0.125,
            .tally = {.kind = 1, .values = 12, .scale = 3, .request_size = 2, .request = {5, 6}},
            .prepare = "[step log1p]\ncolumns = a\n"},
    .weight_max = 1000,
    .epsilon_pure = 0.5,
    .rho = 0.125,
    .report_ms = 60000,
    .send_tick_ms = 60000,
    .test_seed = 9,
    .hyper_count = 2,
    .hyper = {{.name = "mu", .value = -0.5}, {.name = "tau", .value = 3}}};
static const struct trib_msg_task_reply sample_task_reply = {.round_id = 7,
                                                             .code = TRIB_CODE_DECLINED_RANGE};
static const struct trib_msg_round_end sample_round_end = {
    .round_id = 8, .pace = {.retry_min_ms = 10, .retry_max_ms = 20}};
static const struct trib_msg_manifest sample_manifest = {
    .generation = 1,
    .version = 2,
    .parent = 3,
    .digest = BYTES32(4),
    .arch_digest = BYTES32(5),
    .spec = "784 - dense 10 softmax",
    .params = TRIB_PARAMS_MAX,
    .job = 6,
    .round_id = 7,
    .round_number = 8,
    .kind = "tail_average",
    .accepted = 9,
    .created_ms = 10,
    .metric_count = 2,
    .metrics = {{.name = "loss", .value = 0.25}, {.name = "accuracy", .value = -1}},
    .mode = 3,
    .epsilon_pure = 0.5,
    .epsilon = 0.25,
    .delta = 1e-6,
    .population = NAMES,
    .prepare_digest = BYTES32(6)};
static const struct trib_msg_new_version sample_new_version = {
    .manifest = {5, 6, 7}, .manifest_size = 3, .signature = {9, [63] = 1}};
static const struct trib_msg_model_get sample_model_get = {.digest = BYTES32(7),
                                                           .offset = UINT64_MAX};
static const struct trib_msg_installed sample_installed = {
    .generation = 1, .version = 2, .digest = BYTES32(8), .code = TRIB_CODE_MODEL_TRUNCATED};
static const struct trib_msg_upload_begin sample_upload_begin = {.update_id = BYTES16,
                                                                 .round_id = 1,
                                                                 .size = 1u << 28,
                                                                 .digest = BYTES32(9),
                                                                 .base_digest = BYTES32(10),
                                                                 .arch_digest = BYTES32(11),
                                                                 .has_weight = true,
                                                                 .weight = 600};
static const struct trib_msg_credit sample_credit = {
    .update_id = BYTES16, .offset = UINT64_MAX, .limit = UINT64_MAX};
static const struct trib_msg_upload_end sample_upload_end = {.update_id = BYTES16};
static const struct trib_msg_receipt sample_receipt = {
    .update_id = BYTES16,
    .code = TRIB_CODE_RETRY_LATER,
    .pace = {.retry_min_ms = 30, .retry_max_ms = 40}};

static const struct trib_msg_secagg_open sample_secagg_open = {
    .round_id = 1, .invited = BYTES32(13), .roster_key = BYTES32(14)};
static const struct trib_msg_secagg_step sample_secagg_step = {
    .round_id = 2, .kind = TRIB_SECAGG_STEP_UNMASK, .size = TRIB_SECAGG_STEP_MAX};

#define F(noun, member)                                            \
    {                                                              \
#member, offsetof(struct trib_msg_##noun, member),         \
            sizeof(((const struct trib_msg_##noun *)NULL)->member) \
    }

// Adapters of one type to the functions of a message, and the list of its fields.
#define MESSAGE(noun, ...)                                                              \
    static void pack_##noun(const void *msg, struct trib_buf *buf)                      \
    {                                                                                   \
        trib_msg_##noun##_pack(msg, buf);                                               \
    }                                                                                   \
    static enum trib_err unpack_##noun(const uint8_t *data, size_t size, void *ret_msg) \
    {                                                                                   \
        return trib_msg_##noun##_unpack(data, size, ret_msg);                           \
    }                                                                                   \
    static const struct field fields_##noun[] = {__VA_ARGS__};

MESSAGE(pace, F(pace, retry_min_ms), F(pace, retry_max_ms))
MESSAGE(enrol, F(enrol, sign_key), F(enrol, software))
MESSAGE(enrol_reply, F(enrol_reply, code), F(enrol_reply, name), F(enrol_reply, population),
        F(enrol_reply, release_key), F(enrol_reply, has_roster_key), F(enrol_reply, roster_key),
        F(enrol_reply, key_sequence))
MESSAGE(key_statement, F(key_statement, sequence), F(key_statement, old_release_key),
        F(key_statement, old_coordinator_key), F(key_statement, release_key),
        F(key_statement, coordinator_key), F(key_statement, made_ms),
        F(key_statement, keep_until_ms))
MESSAGE(keys, F(keys, count), F(keys, links[0].statement), F(keys, links[0].statement_size),
        F(keys, links[0].signature), F(keys, links[1].statement), F(keys, links[1].statement_size),
        F(keys, links[1].signature))
MESSAGE(keys_reply, F(keys_reply, sequence), F(keys_reply, code))
MESSAGE(ready, F(ready, population), F(ready, software), F(ready, generation), F(ready, version),
        F(ready, digest), F(ready, has_spooled), F(ready, spooled_update_id),
        F(ready, spooled_round), F(ready, is_busy), F(ready, secagg_round), F(ready, key_sequence))
MESSAGE(task, F(task, round_id), F(task, round_number), F(task, job), F(task, population),
        F(task, spec), F(task, base_generation), F(task, base_version), F(task, base_digest),
        F(task, seed), F(task, epochs), F(task, batch), F(task, learning_rate), F(task, momentum),
        F(task, weight_decay), F(task, encoding.mode), F(task, encoding.grid),
        F(task, encoding.grid_bits), F(task, encoding.s1), F(task, encoding.s2),
        F(task, encoding.sinf), F(task, encoding.word_bits), F(task, encoding.clip_l1),
        F(task, encoding.clip_l2), F(task, encoding.shares), F(task, secagg.members),
        F(task, secagg.threshold), F(task, secagg.drop_max), F(task, secagg.colluders),
        F(task, secagg.shares), F(task, secagg.neighbours), F(task, secagg.neighbour_threshold),
        F(task, fit.optimizer), F(task, fit.decoupled_decay), F(task, fit.l1),
        F(task, fit.proximal_mu), F(task, fit.clip_norm), F(task, fit.lr_schedule),
        F(task, fit.lr_step), F(task, fit.lr_gamma), F(task, fit.lr_min),
        F(task, fit.validation_fraction), F(task, fit.patience), F(task, fit.class_weights),
        F(task, fit.class_count), F(task, fit.class_weight), F(task, fit.personal_epochs),
        F(task, fit.mode), F(task, fit.sampling), F(task, fit.sampling_ratio),
        F(task, fit.smote_neighbours), F(task, fit.jitter), F(task, fit.mixup), F(task, fit.rotate),
        F(task, fit.crop), F(task, fit.shift), F(task, fit.frozen_layers),
        F(task, fit.trunk_layers), F(task, fit.trunk_rate), F(task, fit.tally.kind),
        F(task, fit.tally.values), F(task, fit.tally.scale), F(task, fit.tally.request_size),
        F(task, fit.tally.request), F(task, fit.prepare), F(task, weight_max),
        F(task, epsilon_pure), F(task, rho), F(task, report_ms), F(task, send_tick_ms),
        F(task, test_seed), F(task, hyper_count), F(task, hyper[0].name), F(task, hyper[0].value),
        F(task, hyper[1].name), F(task, hyper[1].value))
MESSAGE(task_reply, F(task_reply, round_id), F(task_reply, code))
MESSAGE(round_end, F(round_end, round_id), F(round_end, pace.retry_min_ms),
        F(round_end, pace.retry_max_ms))
MESSAGE(manifest, F(manifest, generation), F(manifest, version), F(manifest, parent),
        F(manifest, digest), F(manifest, arch_digest), F(manifest, spec), F(manifest, params),
        F(manifest, job), F(manifest, round_id), F(manifest, round_number), F(manifest, kind),
        F(manifest, accepted), F(manifest, created_ms), F(manifest, metric_count),
        F(manifest, metrics[0].name), F(manifest, metrics[0].value), F(manifest, metrics[1].name),
        F(manifest, metrics[1].value), F(manifest, mode), F(manifest, epsilon_pure),
        F(manifest, epsilon), F(manifest, delta), F(manifest, population),
        F(manifest, prepare_digest))
MESSAGE(new_version, F(new_version, manifest), F(new_version, manifest_size),
        F(new_version, signature))
MESSAGE(model_get, F(model_get, digest), F(model_get, offset))
MESSAGE(installed, F(installed, generation), F(installed, version), F(installed, digest),
        F(installed, code))
MESSAGE(upload_begin, F(upload_begin, update_id), F(upload_begin, round_id), F(upload_begin, size),
        F(upload_begin, digest), F(upload_begin, base_digest), F(upload_begin, arch_digest),
        F(upload_begin, has_weight), F(upload_begin, weight))
MESSAGE(credit, F(credit, update_id), F(credit, offset), F(credit, limit))
MESSAGE(upload_end, F(upload_end, update_id))
MESSAGE(receipt, F(receipt, update_id), F(receipt, code), F(receipt, pace.retry_min_ms),
        F(receipt, pace.retry_max_ms))
MESSAGE(secagg_open, F(secagg_open, round_id), F(secagg_open, invited), F(secagg_open, roster_key))
MESSAGE(secagg_step, F(secagg_step, round_id), F(secagg_step, kind), F(secagg_step, size))

#define ROW(noun)                                                                          \
    {                                                                                      \
#noun, sizeof(struct trib_msg_##noun), &sample_##noun, pack_##noun, unpack_##noun, \
            fields_##noun, sizeof(fields_##noun) / sizeof(fields_##noun[0])                \
    }

static const struct message messages[] = {
    ROW(pace),        ROW(enrol),        ROW(enrol_reply),   ROW(ready),       ROW(task),
    ROW(task_reply),  ROW(round_end),    ROW(manifest),      ROW(new_version), ROW(model_get),
    ROW(installed),   ROW(upload_begin), ROW(credit),        ROW(upload_end),  ROW(receipt),
    ROW(secagg_open), ROW(secagg_step),  ROW(key_statement), ROW(keys),        ROW(keys_reply),
};

enum {
    MESSAGE_COUNT = sizeof(messages) / sizeof(messages[0])
};

#endif // TRIB_TESTS_MESSAGES_H
