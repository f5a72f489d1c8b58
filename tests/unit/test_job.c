#include "coordinator/job.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/tally_round.h"
#include "tests/unit/job_rig.h"

static void a_model_and_a_mode_are_enough(void **state)
{
    (void)state;
    const struct trib_job job = good(MODEL OFF);
    assert_int_equal(job.model.param_count, 650);
    assert_int_equal(job.config.rounds, 10);
    assert_int_equal(job.goal, 20);
    assert_int_equal(job.offers, 20);
    assert_int_equal(job.accepted_min, 10);
    assert_int_equal(job.train.epochs, 1);
    assert_int_equal(job.train.batch, 32);
    assert_true(job.train.learning_rate == 0.1);
    assert_true(job.config.server_learning_rate == 1);
    assert_int_equal(job.privacy.encoding.mode, TRIB_PRIVACY_OFF);
    assert_int_equal(job.config.send_tick_ms, 0);
    assert_int_equal(trib_job_tail(&job), 0);
}

static void privacy_is_on_unless_switched_off(void **state)
{
    (void)state;
    const struct trib_job job = good(MODEL "[privacy]\ntarget_epsilon = 8\n");
    assert_int_equal(job.privacy.encoding.mode, TRIB_PRIVACY_DISTRIBUTED);
    assert_int_equal(job.config.send_tick_ms, 1000);
    assert_true(job.privacy.epsilon_total <= 8);
    assert_true(job.privacy.epsilon_total > 7.5); // and not much is given away
    assert_true(job.privacy.epsilon_pure_round > 0);
}

static void every_refusal_names_file_line_and_key(void **state)
{
    (void)state;
    static const struct refusal bad[] = {
        {OFF, "job.ini: model.spec: "},
        {"[model]\nspec = 64 - telepathy 10\n", "job.ini:2: model.spec: "},
        {MODEL OFF "[round]\nmin_accepted = 21\n", "job.ini:6: round.min_accepted: "},
        {"[model]\nspec = 1 - factors 9x2 linear\n" OFF "[round]\naugment = jitter:0.5\n",
         "job.ini:6: round.augment: would make up items"},
        {"[model]\nspec = 1 - factors 9x2 sigmoid\n" OFF "[round]\nsampling = smote\n",
         "job.ini:6: round.sampling: smote would make up items"},
        {"[model]\nspec = 4 - dense 3 relu - dense 2 softmax local\n" OFF
         "[round]\nmode = online\n",
         "job.ini:6: round.mode: cannot be online with a model that has a local part"},
        {MODEL OFF "[round]\ntarget_metric = mse\n", "job.ini:6: round.target_metric: "},
        {MODEL OFF "[round]\ntarget_metric = r2\n", "job.ini:6: round.target_metric: "},
        {"[model]\nspec = 4 - dense 1 linear\n" OFF "[round]\ntarget_metric = accuracy\n",
         "job.ini:6: round.target_metric: "},
        {"[model]\nspec = 4 - dense 1 linear\n" OFF "[round]\ntarget_metric = f1\n",
         "job.ini:6: round.target_metric: "},
        {MODEL OFF "[round]\ntarget_metric = loss\neval_every = 0\n",
         "job.ini:7: round.eval_every: "},
        {MODEL, "job.ini: privacy.target_epsilon: "},
        {MODEL "[privacy]\nmode = local\n", "job.ini: privacy.target_epsilon: "},
        {MODEL "[privacy]\ntarget_epsilon = 8\nnoise_multiplier = 1\n",
         "job.ini:5: privacy.noise_multiplier: "},
        {MODEL "[privacy]\ntarget_epsilon = 8\nrounds = 9\n", "job.ini:5: privacy.rounds: "},
        {MODEL "[privacy]\nmode = distributed\ntarget_epsilon = 8\n[round]\ncohort = 19\n",
         "job.ini:7: round.cohort: is 19, below secagg.min_cohort = 20"},
        {MODEL "[privacy]\nmode = distributed\ntarget_epsilon = 8\n" COHORT
               "[secagg]\nmin_cohort = 21\n",
         "job.ini:7: round.cohort: is 20, below secagg.min_cohort = 21"},
        {MODEL "[privacy]\nmode = distributed\ntarget_epsilon = 8\n" COHORT
               "over_selection = 1.2\n",
         "job.ini:8: round.over_selection: must be 1"},
        {MODEL "[privacy]\nmode = distributed\ntarget_epsilon = 8\n" COHORT
               "[secagg]\nthreshold_frac = 0.55\n",
         "job.ini:4: privacy.mode: of 20 members"},
        {MODEL OFF "[secagg]\nthreshold_frac = 0.4\n", "job.ini:6: secagg.threshold_frac"},
        {MODEL OFF "[secagg]\nmax_colluders_frac = 0.6\n", "job.ini:6: secagg.max_colluders"},
        {MODEL OFF "[secagg]\nmin_cohort = 1\n", "job.ini:6: secagg.min_cohort"},
        {MODEL OFF "[secagg]\nroster = me\n", "job.ini:6: secagg.roster"},
        {MODEL OFF "[secagg]\ngraph = star\n", "job.ini:6: secagg.graph"},
        {MODEL OFF "[secagg]\nword_bits = 8\n", "job.ini:6: secagg.word_bits"},
        {MODEL OFF "[round]\nrounds = 0\n", "job.ini:6: round.rounds"},
        {MODEL OFF "[round]\ncohort = 16385\n", "job.ini:6: round.cohort"},
        {MODEL OFF "[round]\nover_selection = 0.9\n", "job.ini:6: round.over_selection"},
        {MODEL OFF "[round]\nlocal_epochs = 0\n", "job.ini:6: round.local_epochs"},
        {MODEL OFF "[round]\nlearning_rate = nan\n", "job.ini:6: round.learning_rate"},
        {MODEL OFF "[round]\nlearning_rate = -1\n", "job.ini:6: round.learning_rate"},
        {MODEL OFF "[round]\nmomentum = 1\n", "job.ini:6: round.momentum"},
        {MODEL OFF "[round]\nselect_ms = 0\n", "job.ini:6: round.select_ms"},
        {MODEL OFF "[strategy]\nname = fedprox\n", "job.ini:6: strategy.name"},
        {MODEL OFF "[strategy]\nname = krum\n",
         "job.ini:6: strategy.name: is not in this version; it has fedavg, fedadam, fedavgm and newton"},
        {MODEL "[privacy]\ntarget_epsilon = 8\n[strategy]\nname = median\n",
         "job.ini:6: strategy.name: needs each device's update by itself"},
        {MODEL "[privacy]\ntarget_epsilon = 8\n[strategy]\nname = krum\n",
         "job.ini:6: strategy.name: needs each device's update by itself"},
        {MODEL OFF "[strategy]\nbeta1 = 1\n", "job.ini:6: strategy.beta1"},
        {MODEL OFF "[strategy]\nbeta2 = -1\n", "job.ini:6: strategy.beta2"},
        {MODEL OFF "[strategy]\ntau = 0\n", "job.ini:6: strategy.tau"},
        {MODEL OFF "[strategy]\ntail_average = 1.5\n", "job.ini:6: strategy.tail_average"},
        {MODEL "[privacy]\nmode = none\n", "job.ini:4: privacy.mode"},
        {MODEL OFF "word_bits = 12\n", "job.ini:5: privacy.word_bits"},
        {MODEL OFF "[round]\nlearning_rat = 1\n", "job.ini:6: round.learning_rat"},
        {MODEL OFF "[model]\nspec = 4 - dense 1 linear\n", "job.ini:6: model.spec"},
    };
    assert_refused(bad, sizeof(bad) / sizeof(bad[0]));
}

static void what_does_not_fit_together_in_training_is_refused(void **state)
{
    (void)state;
    static const struct refusal bad[] = {
        {MODEL OFF "[round]\noptimizer = newton\n", "job.ini:6: round.optimizer"},
        {MODEL OFF "[round]\noptimizer = adam\nmomentum = 0.9\n", "job.ini:7: round.momentum"},
        {MODEL OFF "[round]\noptimizer = nesterov\n", "job.ini: round.momentum"},
        {MODEL OFF "[round]\ndecoupled_decay = yes\n", "job.ini:6: round.decoupled_decay"},
        {MODEL OFF "[round]\nl1 = -1\n", "job.ini:6: round.l1"},
        {MODEL OFF "[round]\nproximal_mu = inf\n", "job.ini:6: round.proximal_mu"},
        {MODEL OFF "[round]\nclip_norm = -0.5\n", "job.ini:6: round.clip_norm"},
        {MODEL OFF "[round]\nlr_schedule = linear\n", "job.ini:6: round.lr_schedule"},
        {MODEL OFF "[round]\nlr_schedule = plateau\neval_every = 0\n",
         "job.ini:7: round.eval_every"},
        {MODEL OFF "[round]\nlr_schedule = plateau\nlr_over = steps\n", "job.ini:7: round.lr_over"},
        {MODEL OFF "[round]\nlr_step_rounds = 0\n", "job.ini:6: round.lr_step_rounds"},
        {MODEL OFF "[round]\nlr_gamma = 0\n", "job.ini:6: round.lr_gamma"},
        {MODEL OFF "[round]\nlr_gamma = 1.5\n", "job.ini:6: round.lr_gamma"},
        {MODEL OFF "[round]\nlr_min = 0.2\n", "job.ini:6: round.lr_min"},
        {MODEL OFF "[round]\nvalidation_fraction = 0.95\n", "job.ini:6: round.validation_fraction"},
        {MODEL OFF "[round]\npatience = 3\n", "job.ini:6: round.patience"},
        {MODEL OFF "[round]\nfold = 1\n", "job.ini:6: round.fold: wants"},
        {MODEL OFF "[round]\nfolds = 1\n", "job.ini:6: round.folds: must"},
        {MODEL OFF "[round]\nfolds = 101\n", "job.ini:6: round.folds"},
        {MODEL OFF "[round]\nfolds = 3\nfold = 3\n", "job.ini:7: round.fold: must"},
        {MODEL OFF "[round]\nfolds = 3\nvalidation_fraction = 0.1\n",
         "job.ini:6: round.folds: cannot"},
        {MODEL OFF "[round]\nfolds = 3\nmode = incremental\n", "job.ini:6: round.folds: wants"},
        {MODEL "fresh = yes\ninit_version = 2\n" OFF, "job.ini:3: model.fresh: and an init"},
        {MODEL OFF "[round]\npersonal_epochs = 2\n", "job.ini:6: round.personal_epochs: the model"},
        {MODEL OFF "[round]\nclass_weights = some\n", "job.ini:6: round.class_weights"},
        {"[model]\nspec = 4 - dense 1 linear\n" OFF "[round]\nclass_weights = balanced\n",
         "job.ini:6: round.class_weights"},
        {"[model]\nspec = 4 - dense 1 linear\n" OFF "[round]\nclass_weights = own\n",
         "job.ini:6: round.class_weights"},
        {"[model]\nspec = 4 - dense 257 softmax\n" OFF "[round]\nclass_weights = balanced\n",
         "job.ini:6: round.class_weights: balanced is for at most 256 classes"},
        {MODEL "init_map = 0:0\n" OFF, "job.ini:3: model.init_map: wants an init"},
        {MODEL OFF "[round]\nsampling = some\n", "job.ini:6: round.sampling"},
        {MODEL OFF "[round]\nsampling_ratio = 0.5\n", "job.ini:6: round.sampling_ratio"},
        {MODEL OFF "[round]\nsampling = over\nsampling_ratio = 0\n",
         "job.ini:7: round.sampling_ratio"},
        {MODEL OFF "[round]\nsampling = over\nsmote_neighbours = 3\n",
         "job.ini:7: round.smote_neighbours"},
        {MODEL OFF "[round]\nsampling = smote\nbatch = 0\n", "job.ini:7: round.batch"},
        {MODEL OFF "[round]\nsampling = smote\nclass_weights = balanced\n",
         "job.ini:6: round.sampling"},
        {"[model]\nspec = 4 - dense 1 linear\n" OFF "[round]\nsampling = under\n",
         "job.ini:6: round.sampling: a regression has no classes"},
        {MODEL OFF "[round]\naugment = blur:1\n", "job.ini:6: round.augment: 'blur'"},
        {MODEL OFF "[round]\naugment = shift:1\n",
         "job.ini:6: round.augment: shift, rotate and crop want pictures"},
        {MODEL OFF "[round]\nfreeze = 0\n", "job.ini:6: round.freeze: leaves nothing to learn"},
        {MODEL OFF "[round]\nfreeze = 1\n", "job.ini:6: round.freeze: names layer 1"},
        {MODEL OFF "[round]\ntrunk = x\n", "job.ini:6: round.trunk: wants numbers"},
        {MODEL OFF "[round]\ntrunk_rate = 0.5\n", "job.ini:6: round.trunk_rate: wants a trunk"},
        {DEEP OFF "[round]\nfreeze = 0\ntrunk = 0\n", "job.ini:7: round.trunk: names a layer"},
    };
    assert_refused(bad, sizeof(bad) / sizeof(bad[0]));
}

#define LINE   "[model]\nspec = 3 - dense 1 linear\n"
#define NEWTON "[strategy]\nname = newton\n"

static void newton_wants_a_model_that_it_fits_and_no_other_way_to_fit(void **state)
{
    (void)state;
    static const struct refusal bad[] = {
        {MODEL OFF NEWTON, "job.ini:6: strategy.name: newton wants a model"},
        {"[model]\nspec = 512 - dense 1 linear\n" OFF NEWTON, "job.ini:6: strategy.name: newton"},
        {LINE OFF NEWTON "[round]\nl1 = 0.1\n", "job.ini:8: round.l1"},
        {LINE OFF NEWTON "[round]\nproximal_mu = 0.1\n", "job.ini:8: round.proximal_mu"},
        {LINE OFF NEWTON "server_learning_rate = 0.5\n",
         "job.ini:7: strategy.server_learning_rate"},
        {"[model]\nspec = 3 - dense 1 sigmoid\n" OFF NEWTON "[round]\nclass_weights = balanced\n",
         "job.ini:8: round.class_weights"},
        {LINE OFF "tally_scale = 0\n", "job.ini:5: privacy.tally_scale"},
    };
    assert_refused(bad, sizeof(bad) / sizeof(bad[0]));
}

static void passes_have_their_share_of_the_target(void **state)
{
    (void)state;
    static const char text[] = LINE "[round]\nrounds = 10\ncohort = 20\n"
                                    "[privacy]\ntarget_epsilon = 8\n";
    struct trib_job plain, passes, longer;
    assert_int_equal(parse_with(text, 100, 0, &plain), TRIB_OK);
    assert_int_equal(parse_with(text, 100, 5, &passes), TRIB_OK);
    assert_int_equal(parse_with(LINE "[round]\nrounds = 15\ncohort = 20\n"
                                     "[privacy]\ntarget_epsilon = 8\n",
                                100, 0, &longer),
                     TRIB_OK);
    assert_true(passes.privacy.noise_multiplier > plain.privacy.noise_multiplier);
    assert_true(passes.privacy.noise_multiplier == longer.privacy.noise_multiplier);
    assert_int_equal(parse_with(LINE OFF "rounds = 12\n", 100, 5, &plain), TRIB_OK);
    assert_int_equal(
        parse_with(LINE "[privacy]\ntarget_epsilon = 8\nrounds = 12\n", 100, 5, &plain),
        TRIB_ERR_INVAL);
    assert_non_null(strstr(says, "is less than round.rounds and what is counted beside them, 15"));
    // To count labels is a round, too.
    static const char target[] = "cohort = 20\n[privacy]\ntarget_epsilon = 8\n";
    char labels[512], rounds[512];
    (void)snprintf(labels, sizeof(labels),
                   MODEL "[round]\nrounds = 14\nclass_weights = balanced\n%s", target);
    (void)snprintf(rounds, sizeof(rounds), MODEL "[round]\nrounds = 15\n%s", target);
    assert_int_equal(parse_with(labels, 100, 0, &plain), TRIB_OK);
    assert_int_equal(parse_with(rounds, 100, 0, &longer), TRIB_OK);
    assert_true(plain.privacy.noise_multiplier == longer.privacy.noise_multiplier);
    assert_true(plain.tallies[TRIB_TALLY_CLASSES].values == plain.model.classes);
}

static void a_tally_round_has_its_own_words_and_its_own_price(void **state)
{
    (void)state;
    const struct trib_job plain = good(LINE OFF);
    assert_int_equal(trib_job_kind(&plain, TRIB_PASS_MAIN, false), TRIB_TALLY_NONE);
    const struct trib_job off = good(LINE OFF NEWTON);
    assert_int_equal(trib_job_kind(&off, TRIB_PASS_MAIN, false), TRIB_TALLY_NEWTON);
    assert_int_equal(trib_job_kind(&off, TRIB_PASS_MAIN, true), TRIB_TALLY_NONE);
    const struct trib_round_shape exact = trib_job_shape(&off, TRIB_TALLY_NEWTON);
    assert_int_equal(exact.values, 4 * 5 / 2 + 4 + 2);
    assert_int_equal(exact.words, 16 * TRIB_TALLY_LIMBS);
    assert_int_equal(exact.layout, TRIB_TALLY_WHOLE);
    const struct trib_job aside =
        good("[model]\nspec = 4 - dense 10 softmax\n" OFF "[round]\nvalidation_fraction = 0.2\n"
             "evaluate_on_devices = 1\n");
    const struct trib_round_shape cells = trib_job_shape(&aside, TRIB_TALLY_EVALUATION);
    assert_int_equal(cells.layout, TRIB_TALLY_CELLS);
    assert_int_equal(cells.words, 3 * cells.values);
    assert_in_range(cells.words * 4, 71000, 73000); // bytes that ten classes take a device
    assert_int_equal(exact.weight_max, 1);
    assert_int_equal(exact.privacy->encoding.word_bits, 32);
    assert_true(exact.privacy->encoding.clip_l2 == 0); // sums are never clipped with privacy off
    const struct trib_round_shape train = trib_job_shape(&off, TRIB_TALLY_NONE);
    assert_int_equal(train.words, 4);
    assert_int_equal(train.weight_max, off.weight_max);
    // With privacy on a value is a coordinate, and each kind of round costs at most its share.
    const struct trib_job on =
        good(LINE NEWTON "[privacy]\nmode = central\ntarget_epsilon = 8\n[round]\nrounds = 10\n");
    const struct trib_round_shape noised = trib_job_shape(&on, TRIB_TALLY_NEWTON);
    assert_int_equal(noised.words, 16);
    assert_ptr_not_equal(noised.privacy, &on.privacy);
    assert_true(noised.privacy->epsilon_total <= 8 && noised.privacy->epsilon_total > 7);
    assert_true(on.privacy.epsilon_total <= 8);
}

static void the_number_of_a_round_in_the_store_holds_its_pass(void **state)
{
    (void)state;
    assert_int_equal(trib_round_key(TRIB_PASS_MAIN, 7), 7); // as before there were passes
    const uint64_t key = trib_round_key((enum trib_round_pass)3, 1000000);
    assert_int_equal(trib_round_key_pass(key), 3);
    assert_int_equal(trib_round_key_number(key), 1000000);
}

static void a_job_says_what_to_sample_change_and_leave(void **state)
{
    (void)state;
    struct trib_job job = good(DEEP OFF "[round]\nsampling = smote\nsampling_ratio = 0.5\n"
                                        "smote_neighbours = 3\naugment = jitter:0.5, mixup:0.25\n"
                                        "freeze = 0\ntrunk = 1\ntrunk_rate = 0.25\n");
    assert_int_equal(job.train.resample.kind, TRIB_SAMPLING_SMOTE);
    assert_true(job.train.resample.ratio == 0.5 && job.train.resample.neighbours == 3);
    assert_true(job.train.augment.jitter == 0.5 && job.train.augment.mixup == 0.25);
    assert_true(job.train.frozen == 1 && job.train.trunk == 2 && job.train.trunk_rate == 0.25);
    job = good("[model]\nspec = 1x8x8 - dense 10 softmax\n" OFF "[round]\naugment = shift:2\n");
    assert_int_equal(job.train.augment.shift, 2);
}

static void a_job_says_how_to_fit(void **state)
{
    (void)state;
    const struct trib_job job =
        good(MODEL OFF "[round]\noptimizer = adam\nlearning_rate = 0.01\nweight_decay = 0.1\n"
                       "decoupled_decay = yes\nl1 = 0.5\nproximal_mu = 2\nclip_norm = 3\n"
                       "validation_fraction = 0.25\npatience = 4\nclass_weights = balanced\n"
                       "lr_schedule = cosine\nlr_over = steps\nlr_min = 0.001\n");
    const struct trib_train_options *train = &job.train;
    assert_int_equal(train->optimizer, TRIB_OPTIMIZER_ADAM);
    assert_true(train->decoupled_decay && train->class_weights == TRIB_CLASS_WEIGHTS_GIVEN);
    assert_true(train->weight_decay == 0.1 && train->l1 == 0.5 && train->proximal_mu == 2);
    assert_true(train->clip_norm == 3 && train->kept.fraction == 0.25);
    assert_int_equal(train->patience, 4);
    assert_int_equal(train->schedule.kind, TRIB_SCHEDULE_COSINE);
    assert_true(train->schedule.min == 0.001);
    assert_true(trib_job_rate(&job, 9, NULL) == 0.01); // each task begins at the first
}

static void a_model_with_a_local_part_has_personal_epochs(void **state)
{
    (void)state;
    const struct trib_job job =
        good("[model]\nspec = 4 - dense 3 relu - dense 2 softmax local\n" OFF
             "[round]\npersonal_epochs = 2\n");
    assert_int_equal(job.train.personal_epochs, 2);
    assert_int_equal(job.model.local_count, 8);
}

static void a_rate_falls_from_round_to_round(void **state)
{
    (void)state;
    struct trib_plateau plateau = {0};
    struct trib_job job = good(MODEL OFF "[round]\nlearning_rate = 0.8\nrounds = 20\n"
                                         "lr_schedule = step\nlr_step_rounds = 5\n");
    assert_int_equal(job.train.schedule.kind, TRIB_SCHEDULE_CONSTANT); // within a round
    assert_true(trib_job_rate(&job, 1, &plateau) == 0.8);
    assert_true(trib_job_rate(&job, 5, &plateau) == 0.8);
    assert_true(trib_job_rate(&job, 6, &plateau) == 0.4);
    assert_true(trib_job_rate(&job, 20, &plateau) == 0.1);

    job = good(MODEL OFF "[round]\nlearning_rate = 0.8\nlr_schedule = plateau\n"
                         "lr_step_rounds = 2\nlr_gamma = 0.25\n");
    static const double accuracies[] = {0.5, 0.5, 0.4}; // higher is better
    for (int i = 0; i < 3; i++) {
        assert_true(trib_job_rate(&job, (uint64_t)i + 1, &plateau) == 0.8);
        trib_job_observe(&job, accuracies[i], &plateau);
    }
    assert_true(trib_job_rate(&job, 4, &plateau) == 0.2);

    job = good("[model]\nspec = 4 - dense 1 linear\n" OFF
               "[round]\nlearning_rate = 0.8\nlr_schedule = plateau\nlr_step_rounds = 1\n");
    plateau = (struct trib_plateau){0};
    trib_job_observe(&job, 0.5, &plateau); // mean squared errors: lower is better
    trib_job_observe(&job, 0.4, &plateau);
    assert_true(trib_job_rate(&job, 3, &plateau) == 0.8);
    trib_job_observe(&job, 0.6, &plateau);
    assert_true(trib_job_rate(&job, 4, &plateau) == 0.4);
}

static void a_test_seed_is_for_test_builds_only(void **state)
{
    (void)state;
    struct trib_job job;
    enum trib_err err = parse(MODEL OFF "test_seed = 1\n", 0, &job);
#ifdef TRIB_WITH_TEST_NOISE
    assert_int_equal(err, TRIB_OK);
#else
    assert_int_equal(err, TRIB_ERR_INVAL);
    assert_non_null(strstr(says, "job.ini:5: privacy.test_seed"));
#endif
}

// aggregate.h relies on it: the weights of a round add up to less than 2^32.
static void no_round_can_weigh_too_much(void **state)
{
    (void)state;
    const unsigned cohorts[] = {1, 2, 3, 4095, 4096, 4097, 10000, 16383, TRIB_COHORT_MAX};
    for (size_t i = 0; i < sizeof(cohorts) / sizeof(cohorts[0]); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), MODEL OFF "[round]\ncohort = %u\n", cohorts[i]);
        const struct trib_job job = good(text);
        assert_int_equal(job.goal, cohorts[i]);
        assert_in_range(job.weight_max, 1u << 17, 1u << 20); // useful, and bounded
        assert_true((uint64_t)job.goal * job.weight_max < 1ull << 32);
    }
}

static void more_devices_are_asked_than_counted_when_told_to(void **state)
{
    (void)state;
    struct trib_job job = good(MODEL OFF "[round]\ncohort = 7\nover_selection = 1.3\n");
    assert_int_equal(job.goal, 7);
    assert_int_equal(job.offers, 10); // 9.1 rounded up
    assert_int_equal(job.accepted_min, 4);
    job = good(MODEL OFF "[round]\ncohort = 1\n");
    assert_int_equal(job.accepted_min, 1);
    job = good(MODEL OFF "[round]\ncohort = 7\nmin_accepted = 7\n");
    assert_int_equal(job.accepted_min, 7);
}

static void the_tail_is_a_share_of_the_rounds_and_needs_privacy(void **state)
{
    (void)state;
    const struct {
        const char *text;
        uint64_t tail;
    } cases[] = {
        {MODEL "[privacy]\ntarget_epsilon = 8\n", 5},
        {MODEL "[privacy]\ntarget_epsilon = 8\n[strategy]\ntail_average = 0\n", 0},
        {MODEL "[privacy]\ntarget_epsilon = 8\n[strategy]\ntail_average = 1\n", 10},
        {MODEL "[privacy]\ntarget_epsilon = 8\n[strategy]\ntail_average = 0.11\n", 2},
        {MODEL "[privacy]\ntarget_epsilon = 8\n[strategy]\ntail_average = 0.1\n", 0}, // of one
        {MODEL OFF "[strategy]\ntail_average = 1\n", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct trib_job job = good(cases[i].text);
        assert_int_equal(trib_job_tail(&job), cases[i].tail);
    }
}

static void the_last_round_is_always_evaluated(void **state)
{
    (void)state;
    struct trib_job job = good(MODEL OFF "[round]\nrounds = 10\neval_every = 4\n");
    for (uint64_t number = 1; number <= 10; number++)
        assert_int_equal(trib_job_evaluates(&job, number),
                         number == 4 || number == 8 || number == 10);
    job = good(MODEL OFF "[round]\neval_every = 0\n");
    for (uint64_t number = 1; number <= 10; number++)
        assert_false(trib_job_evaluates(&job, number));
}

static void a_model_that_drowns_in_noise_is_warned_about(void **state)
{
    (void)state;
    char text[512];
    struct trib_job job = good(MODEL "[privacy]\ntarget_epsilon = 0.1\n");
    assert_true(job.privacy.snr < 0.05);
    assert_true(trib_job_warning(&job, text, sizeof(text)));
    assert_non_null(strstr(text, "below 0.05"));
    job = good(MODEL "[privacy]\ntarget_epsilon = 100000\n[round]\ncohort = 1000\n");
    assert_true(job.privacy.snr > 0.05);
    assert_false(trib_job_warning(&job, text, sizeof(text)));
    job = good(MODEL OFF);
    assert_false(trib_job_warning(&job, text, sizeof(text)));
}

static void the_promise_says_the_unit_and_the_adversary(void **state)
{
    (void)state;
    char text[512];
    const struct {
        const char *mode, *adversary;
    } modes[] = {
        {"local", "against everyone including the coordinator"},
        {"central", "everyone but the coordinator"},
        {"distributed", "honest about who its devices are with up to 2 of 20 devices"},
    };
    struct trib_job job;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        char file[256];
        (void)snprintf(file, sizeof(file), MODEL "[privacy]\nmode = %s\ntarget_epsilon = 8\n",
                       modes[i].mode);
        job = good(file);
        trib_job_promise(&job, TRIB_ROSTER_COORDINATOR, text, sizeof(text));
        assert_non_null(strstr(text, modes[i].mode));
        assert_non_null(strstr(text, "one device"));
        assert_non_null(strstr(text, modes[i].adversary));
        assert_non_null(strstr(text, "at delta 1e-06 over the job"));
    }
    job = good(MODEL OFF);
    trib_job_promise(&job, TRIB_ROSTER_COORDINATOR, text, sizeof(text));
    assert_non_null(strstr(text, "no formal privacy"));
}

static void the_promise_follows_who_vouches_for_the_devices(void **state)
{
    (void)state;
    char text[512];
    struct trib_job job = good(MODEL "[privacy]\nmode = distributed\ntarget_epsilon = 8\n"
                                     "[round]\ncohort = 60\n");
    trib_job_promise(&job, TRIB_ROSTER_COORDINATOR, text, sizeof(text));
    assert_non_null(strstr(text, "a coordinator that is honest about who its devices are"));
    trib_job_promise(&job, TRIB_ROSTER_OFFLINE, text, sizeof(text));
    assert_non_null(strstr(text, "a coordinator that may lie"));
}

static void the_default_delta_follows_the_population(void **state)
{
    (void)state;
    struct trib_job job;
    assert_int_equal(parse(MODEL "[privacy]\ntarget_epsilon = 8\n", 1000000, &job), TRIB_OK);
    assert_true(fabs(job.privacy.delta - 1e-7) < 1e-20);
    assert_int_equal(parse(MODEL "[privacy]\ntarget_epsilon = 8\n", 5, &job), TRIB_OK);
    assert_true(fabs(job.privacy.delta - 1e-6) < 1e-19);
}

static void only_active_and_paused_jobs_can_go_on(void **state)
{
    (void)state;
    for (int i = TRIB_JOB_ACTIVE; i <= TRIB_JOB_MISSED; i++) {
        enum trib_job_state job_state = (enum trib_job_state)i;
        assert_int_equal(trib_job_state_is_final(job_state), i > TRIB_JOB_PAUSED);
        assert_string_not_equal(trib_job_state_text(job_state), "unknown");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_and_a_mode_are_enough),
        cmocka_unit_test(privacy_is_on_unless_switched_off),
        cmocka_unit_test(every_refusal_names_file_line_and_key),
        cmocka_unit_test(what_does_not_fit_together_in_training_is_refused),
        cmocka_unit_test(newton_wants_a_model_that_it_fits_and_no_other_way_to_fit),
        cmocka_unit_test(passes_have_their_share_of_the_target),
        cmocka_unit_test(a_tally_round_has_its_own_words_and_its_own_price),
        cmocka_unit_test(the_number_of_a_round_in_the_store_holds_its_pass),
        cmocka_unit_test(a_job_says_how_to_fit),
        cmocka_unit_test(a_job_says_what_to_sample_change_and_leave),
        cmocka_unit_test(a_model_with_a_local_part_has_personal_epochs),
        cmocka_unit_test(a_rate_falls_from_round_to_round),
        cmocka_unit_test(a_test_seed_is_for_test_builds_only),
        cmocka_unit_test(no_round_can_weigh_too_much),
        cmocka_unit_test(more_devices_are_asked_than_counted_when_told_to),
        cmocka_unit_test(the_tail_is_a_share_of_the_rounds_and_needs_privacy),
        cmocka_unit_test(the_last_round_is_always_evaluated),
        cmocka_unit_test(a_model_that_drowns_in_noise_is_warned_about),
        cmocka_unit_test(the_promise_says_the_unit_and_the_adversary),
        cmocka_unit_test(the_promise_follows_who_vouches_for_the_devices),
        cmocka_unit_test(the_default_delta_follows_the_population),
        cmocka_unit_test(only_active_and_paused_jobs_can_go_on),
    };
    return RUN_TESTS(tests);
}
