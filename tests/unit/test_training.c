#include "common/wire/training.h"
#include "tests/test.h"

static void the_digest_covers_what_training_depends_on_and_nothing_that_changes_between_devices(
    void **state)
{
    (void)state;
    const struct trib_msg_task task = {.population = "edge",
                                       .spec = "3 - dense 2 softmax",
                                       .hyper_count = 1,
                                       .hyper = {{.name = "depth", .value = 2}}};
    struct trib_msg_task other = task;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint8_t again[TRIB_DIGEST_SIZE];
    trib_training_digest(&task, digest);
    other.report_ms = 99; // the time that is left is another for each
    trib_training_digest(&other, again);
    assert_memory_equal(digest, again, sizeof(digest));
#define CHANGE(field)                                           \
    do {                                                        \
        other = task;                                           \
        other.field += 1;                                       \
        trib_training_digest(&other, again);                    \
        assert_memory_not_equal(digest, again, sizeof(digest)); \
    } while (0)
    CHANGE(population[0]);
    CHANGE(spec[0]);
    CHANGE(seed);
    CHANGE(epochs);
    CHANGE(batch);
    CHANGE(learning_rate);
    CHANGE(momentum);
    CHANGE(weight_decay);
    CHANGE(hyper_count);
    CHANGE(hyper[0].name[0]);
    CHANGE(hyper[0].value);
    CHANGE(fit.optimizer);
    CHANGE(fit.decoupled_decay);
    CHANGE(fit.l1);
    CHANGE(fit.proximal_mu);
    CHANGE(fit.clip_norm);
    CHANGE(fit.lr_schedule);
    CHANGE(fit.lr_step);
    CHANGE(fit.lr_gamma);
    CHANGE(fit.lr_min);
    CHANGE(fit.validation_fraction);
    CHANGE(fit.patience);
    CHANGE(fit.class_weights);
    CHANGE(fit.personal_epochs);
    CHANGE(fit.mode);
    CHANGE(fit.sampling);
    CHANGE(fit.sampling_ratio);
    CHANGE(fit.smote_neighbours);
    CHANGE(fit.jitter);
    CHANGE(fit.mixup);
    CHANGE(fit.rotate);
    CHANGE(fit.crop);
    CHANGE(fit.shift);
    CHANGE(fit.frozen_layers);
    CHANGE(fit.trunk_layers);
    CHANGE(fit.trunk_rate);
    CHANGE(fit.folds);
    CHANGE(fit.tally.kind);
    CHANGE(fit.counters[0]);
    CHANGE(fit.prepare[0]);
#undef CHANGE
}

static void the_digest_covers_what_classes_weigh(void **state)
{
    (void)state;
    struct trib_msg_task task = {.fit = {.class_weights = 2, .class_count = 2}};
    uint8_t digest[TRIB_DIGEST_SIZE], again[TRIB_DIGEST_SIZE];
    trib_training_digest(&task, digest);
    task.fit.class_weight[1] = 1;
    trib_training_digest(&task, again);
    assert_memory_not_equal(digest, again, sizeof(digest));
    task.fit.class_count = 1;
    trib_training_digest(&task, again);
    task.fit.class_weight[1] = 0;
    trib_training_digest(&task, digest);
    assert_memory_equal(digest, again, sizeof(digest)); // there is no second one
}

static void the_digest_covers_what_is_counted(void **state)
{
    (void)state;
    static const struct trib_msg_task task = {
        .population = "edge",
        .spec = "3 - dense 1 linear",
        .fit = {.tally = {.kind = 1, .values = 7, .request_size = 1, .request = {9}}}};
    struct trib_msg_task other;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint8_t again[TRIB_DIGEST_SIZE];
    trib_training_digest(&task, digest);
#define CHANGE(field)                                           \
    do {                                                        \
        other = task;                                           \
        other.fit.tally.field += 1;                             \
        trib_training_digest(&other, again);                    \
        assert_memory_not_equal(digest, again, sizeof(digest)); \
    } while (0)
    CHANGE(kind);
    CHANGE(values);
    CHANGE(scale);
    CHANGE(request_size);
    CHANGE(request[0]);
    CHANGE(ranking_k);
    CHANGE(layout);
    CHANGE(is_decided);
#undef CHANGE
}

static void the_digest_covers_how_users_are_ranked(void **state)
{
    (void)state;
    static const struct trib_msg_task task = {
        .spec = "1 - factors 3x1 linear",
        .fit = {.tally = {.kind = 2, .values = 18, .ranking_k = 5, .ranking_relevant = 4}}};
    struct trib_msg_task other = task;
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint8_t again[TRIB_DIGEST_SIZE];
    trib_training_digest(&task, digest);
    other.fit.tally.ranking_relevant = 3;
    trib_training_digest(&other, again);
    assert_memory_not_equal(digest, again, sizeof(digest));
    other = task;
    other.fit.tally.ranking_negatives = 100;
    trib_training_digest(&other, again);
    assert_memory_not_equal(digest, again, sizeof(digest));
}

static void the_digest_covers_the_threshold_that_is_measured_at(void **state)
{
    (void)state;
    struct trib_msg_task task = {
        .spec = "3 - dense 1 sigmoid",
        .fit = {.tally = {.kind = 2, .values = 18, .is_decided = true, .threshold = 0.25}}};
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint8_t again[TRIB_DIGEST_SIZE];
    trib_training_digest(&task, digest);
    task.fit.tally.threshold = 0.75;
    trib_training_digest(&task, again);
    assert_memory_not_equal(digest, again, sizeof(digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_digest_covers_what_training_depends_on_and_nothing_that_changes_between_devices),
        cmocka_unit_test(the_digest_covers_what_classes_weigh),
        cmocka_unit_test(the_digest_covers_what_is_counted),
        cmocka_unit_test(the_digest_covers_how_users_are_ranked),
        cmocka_unit_test(the_digest_covers_the_threshold_that_is_measured_at),
    };
    return RUN_TESTS(tests);
}
