#include "simulations/privacy.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/limits.h"
#include "common/privacy/ledgers.h"
#include "common/privacy/plan.h"

// ---- The question

struct question {
    const char *mechanism;
    const char *mode; // of a fleet; NULL: one number
    double scale;     // NaN: not given, like the target
    double target;
    double sampling;
    double delta;
    double clip_l1, clip_l2;
    double threshold_frac, colluders_frac;
    uint64_t rounds, params, cohort;
    bool json;
};

// What comes out; infinity is "does not apply" and shows as null or "-".
struct answer {
    struct trib_ledgers ledgers;
    double scale;
    double epsilon_outsiders;
    struct trib_privacy_plan plan; // of a fleet
};

__attribute__((format(printf, 1, 2))) static int mistake(const char *format, ...)
{
    char text[640];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "privacy: %s\n", text);
    return TRIB_EXIT_USAGE;
}

// Everything that an option can be wrong in by itself. 0: nothing is.
static int check_question(const struct question *q)
{
    const double scale_min = 1e-9;
    const double scale_max = 1e9;
    const bool has_scale = !isnan(q->scale);
    const bool has_target = !isnan(q->target);
    if (strcmp(q->mechanism, "laplace") != 0 && strcmp(q->mechanism, "gaussian") != 0)
        return mistake("--mechanism %s: want laplace or gaussian", q->mechanism);
    if (has_scale == has_target)
        return mistake("--scale or --target-epsilon is wanted, and not both");
    if (has_scale && !(q->scale >= scale_min && q->scale <= scale_max))
        return mistake("--scale %g: want %g to %g sensitivities", q->scale, scale_min, scale_max);
    if (has_target && !(q->target >= 1e-6 && q->target <= 1e6))
        return mistake("--target-epsilon %g: want 1e-6 to 1e6", q->target);
    if (!(q->sampling >= 1e-9 && q->sampling <= 1))
        return mistake("--sampling %g: want a share above 0, at most 1", q->sampling);
    if (q->rounds < 1 || q->rounds > TRIB_ROUNDS_MAX)
        return mistake("--rounds %llu: want 1 to %d", (unsigned long long)q->rounds,
                       TRIB_ROUNDS_MAX);
    if (!(q->delta >= 1e-100 && q->delta <= 0.5))
        return mistake("--delta %g: want a probability of 1e-100 to 0.5", q->delta);
    return 0;
}

static int check_fleet(const struct question *q, enum trib_privacy_mode *ret_mode)
{
    if (!q->mode) {
        if (q->params || q->cohort || q->clip_l1 != 0 || !isnan(q->clip_l2))
            return mistake("--params, --cohort and --clip-* describe a fleet: --mode is wanted");
        return 0;
    }
    if (!trib_privacy_mode_parse(q->mode, ret_mode) || *ret_mode == TRIB_PRIVACY_OFF)
        return mistake("--mode %s: want local, distributed or central", q->mode);
    if (strcmp(q->mechanism, "laplace") != 0)
        return mistake("--mechanism %s: the noise of a fleet is laplace", q->mechanism);
    if (q->params < 1 || q->params > TRIB_PARAMS_MAX)
        return mistake("--params %llu: want 1 to %d, the parameters of the model",
                       (unsigned long long)q->params, TRIB_PARAMS_MAX);
    if (q->cohort < 1 || q->cohort > TRIB_COHORT_MAX)
        return mistake("--cohort %llu: want 1 to %d devices a round", (unsigned long long)q->cohort,
                       TRIB_COHORT_MAX);
    if (!(q->clip_l1 >= 0 && q->clip_l1 <= 1e9))
        return mistake("--clip-l1 %g: want 0 (none) to 1e9", q->clip_l1);
    if (!isnan(q->clip_l2) && !(q->clip_l2 > 0 && q->clip_l2 <= 1e9))
        return mistake("--clip-l2 %g: want above 0, at most 1e9", q->clip_l2);
    return 0;
}

// ---- The answer

static int answer_number(const struct question *q, struct answer *answer)
{
    struct trib_mechanism m = {.kind = strcmp(q->mechanism, "laplace") == 0
                                           ? TRIB_MECHANISM_LAPLACE
                                           : TRIB_MECHANISM_GAUSSIAN,
                               .scale = q->scale,
                               .sampling = q->sampling,
                               .rounds = q->rounds};
    char why[256];
    enum trib_err err = TRIB_OK;
    if (isnan(q->scale))
        err = trib_ledgers_solve(&m, q->target, q->delta, &m.scale, why, sizeof(why));
    if (!err)
        err = trib_ledgers_of(&m, q->delta, &answer->ledgers, why, sizeof(why));
    if (err) {
        (void)mistake("%s%s", isnan(q->scale) ? "--target-epsilon: " : "", why);
        return (int)trib_exit_of(err);
    }
    answer->scale = m.scale;
    return 0;
}

static int answer_fleet(const struct question *q, enum trib_privacy_mode mode,
                        struct answer *answer)
{
    const struct trib_privacy_config config = {
        .mode = mode,
        .clip_l1 = q->clip_l1,
        .clip_l2 = isnan(q->clip_l2) ? 1 : q->clip_l2,
        .noise_multiplier = isnan(q->scale) ? 0 : q->scale,
        .target_epsilon = isnan(q->scale) ? q->target : 0,
        .target_delta = q->delta,
        .params = q->params,
        .cohort = q->cohort,
        .rounds = q->rounds,
        .threshold_frac = q->threshold_frac,
        .max_colluders_frac = q->colluders_frac,
    };
    struct trib_privacy_plan *plan = &answer->plan;
    char why[512];
    enum trib_err err = trib_privacy_plan_make(&config, plan, why, sizeof(why));
    if (err) {
        (void)mistake("--mode %s: %s", q->mode, why);
        return (int)trib_exit_of(err);
    }
    answer->scale = plan->noise_multiplier;
    answer->ledgers = (struct trib_ledgers){
        .pure = plan->epsilon_pure_total,
        .zcdp = trib_zcdp_epsilon(plan->rho_round * (double)q->rounds, q->delta),
        .rdp = HUGE_VAL, // not proven for vectors
        .pld = HUGE_VAL,
        .epsilon = plan->epsilon_total,
        .ledger = plan->ledger,
    };
    answer->epsilon_outsiders =
        trib_epsilon_outsiders(&plan->encoding, q->sampling, q->rounds, q->delta);
    return 0;
}

static bool print_json(const struct question *q, const struct answer *answer)
{
    struct trib_buf buf = {0};
    const struct trib_ledgers *l = &answer->ledgers;
    trib_json_open(&buf, NULL, '{');
    trib_json_real(&buf, "scale", answer->scale);
    trib_json_real(&buf, "epsilon_pure", l->pure);
    trib_json_real(&buf, "epsilon_zcdp", l->zcdp);
    trib_json_real(&buf, "epsilon_rdp", l->rdp);
    trib_json_real(&buf, "epsilon_pld", l->pld);
    trib_json_real(&buf, "epsilon", l->epsilon);
    trib_json_text(&buf, "ledger", l->ledger);
    if (q->mode) {
        trib_json_real(&buf, "noise_multiplier", answer->plan.noise_multiplier);
        trib_json_real(&buf, "snr", answer->plan.snr);
        if (q->sampling < 1)
            trib_json_real(&buf, "epsilon_outsiders", answer->epsilon_outsiders);
        if (answer->plan.secagg.members > 0) {
            trib_json_uint(&buf, "threshold", answer->plan.secagg.threshold);
            trib_json_uint(&buf, "colluders", answer->plan.secagg.colluders);
            trib_json_uint(&buf, "noise_shares", answer->plan.secagg.shares);
        }
    }
    trib_json_close(&buf, '}');
    trib_buf_text(&buf, "\n");
    bool is_written = buf.data && fwrite(buf.data, 1, buf.size, stdout) == buf.size;
    trib_buf_fini(&buf);
    return is_written;
}

static void print_row(const char *name, double value, const char *note)
{
    if (isfinite(value))
        (void)fprintf(stdout, "%-18s %-12.6g %s\n", name, value, note);
    else
        (void)fprintf(stdout, "%-18s %-12s %s\n", name, "-", note);
}

static void print_fleet(const struct question *q, const struct answer *answer)
{
    const struct trib_privacy_plan *plan = &answer->plan;
    print_row("noise multiplier", plan->noise_multiplier, "Laplace scale over clip_l2");
    print_row("SNR", plan->snr,
              plan->snr < 0.05 ? "per coordinate and round: the noise will drown the model"
                               : "per coordinate and round");
    if (plan->secagg.members > 0)
        (void)fprintf(stdout, "%-18s %u of %u must stay, %u may collude, %u make up the noise\n",
                      "secure aggregation", plan->secagg.threshold, plan->secagg.members,
                      plan->secagg.colluders, plan->secagg.shares);
    print_row("epsilon, pure", answer->ledgers.pure, "at delta 0");
    print_row("epsilon, zCDP", answer->ledgers.zcdp, "");
    if (q->sampling < 1)
        print_row("against outsiders", answer->epsilon_outsiders,
                  "who see published models only; never against the coordinator");
}

static void print_table(const struct question *q, const struct answer *answer)
{
    const struct trib_ledgers *l = &answer->ledgers;
    (void)fprintf(stdout, "%s noise, %llu rounds, sampling %g, delta %g; unit one device\n",
                  q->mechanism, (unsigned long long)q->rounds, q->sampling, q->delta);
    if (q->mode) {
        print_fleet(q, answer);
    } else {
        print_row("scale", answer->scale, "sensitivities");
        print_row("epsilon, pure", l->pure, "at delta 0");
        print_row("epsilon, zCDP", l->zcdp, "");
        print_row("epsilon, RDP", l->rdp, "");
        print_row("epsilon, PLD", l->pld, "numerical");
    }
    char note[64];
    (void)snprintf(note, sizeof(note), "by the %s ledger", l->ledger);
    print_row("epsilon", l->epsilon, note);
}

int trib_privacy_calculate(const struct trib_command *command, int argc, char **argv)
{
    struct question q = {.mechanism = "laplace",
                         .scale = (double)NAN,
                         .target = (double)NAN,
                         .sampling = 1,
                         .delta = 1e-6,
                         .clip_l2 = (double)NAN,
                         .threshold_frac = 0.75,
                         .colluders_frac = 0.10,
                         .rounds = 1};
    const struct trib_option options[] = {
        {"mechanism", TRIB_OPTION_TEXT, &q.mechanism, "NAME", "laplace or gaussian (laplace)"},
        {"scale", TRIB_OPTION_REAL, &q.scale, "B",
         "noise over sensitivity; with --mode over clip_l2"},
        {"target-epsilon", TRIB_OPTION_REAL, &q.target, "E", "find the smallest scale instead"},
        {"sampling", TRIB_OPTION_REAL, &q.sampling, "Q",
         "each device takes part in a round with this probability, by its own coin (1)"},
        {"rounds", TRIB_OPTION_INT, &q.rounds, "T", "(1)"},
        {"delta", TRIB_OPTION_REAL, &q.delta, "D", "(1e-6)"},
        {"mode", TRIB_OPTION_TEXT, &q.mode, "MODE", "of a fleet: local, distributed or central"},
        {"params", TRIB_OPTION_INT, &q.params, "P", "parameters of the fleet's model"},
        {"cohort", TRIB_OPTION_INT, &q.cohort, "N", "devices in a round of the fleet"},
        {"clip-l1", TRIB_OPTION_REAL, &q.clip_l1, "C", "bound on the L1 norm of a delta (none)"},
        {"clip-l2", TRIB_OPTION_REAL, &q.clip_l2, "C", "bound on the L2 norm of a delta (1)"},
        {"threshold-frac", TRIB_OPTION_REAL, &q.threshold_frac, "F",
         "distributed: share of the cohort that must stay (0.75)"},
        {"max-colluders-frac", TRIB_OPTION_REAL, &q.colluders_frac, "F",
         "distributed: share of the cohort that may collude (0.10)"},
        {"json", TRIB_OPTION_FLAG, &q.json, NULL, "one JSON object on stdout"},
    };
    enum trib_privacy_mode mode = TRIB_PRIVACY_OFF;
    struct answer answer = {.epsilon_outsiders = HUGE_VAL};
    int count;
    int status;
    const struct trib_usage usage = {.command = command,
                                     .options = options,
                                     .option_count = sizeof(options) / sizeof(options[0])};
    if (!trib_args_parse(&usage, argc, argv, &count, &status))
        return status;
    status = check_question(&q);
    if (!status)
        status = check_fleet(&q, &mode);
    if (!status)
        status = q.mode ? answer_fleet(&q, mode, &answer) : answer_number(&q, &answer);
    if (status)
        return status;
    if (q.json)
        return print_json(&q, &answer) ? TRIB_EXIT_OK : TRIB_EXIT_INTERNAL;
    print_table(&q, &answer);
    return TRIB_EXIT_OK;
}
