// Which models come to the same bits whatever kernels trained them, in this process and on other
// machines: all kinds of layer and end. A process for each set, since a set is chosen once.
#include "tests/test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/math/kernels.h"
#include "common/math/train.h"
#include "tests/unit/models.h"

enum {
    ROWS = 75,
    INPUTS_MAX = 288,
    PARAMS_MAX = 8192,
};

enum reach {
    EVERYWHERE, // the plain kernels too
    FUSED,
    THIS_LIBRARY, // fused kernels with one C library on one kind of processor
};

static const struct {
    const char *spec;
    enum reach reach;
    bool is_adam;
    // Of the parameters after training, printed by the set for AVX2. THIS_LIBRARY has none.
    const char *digest;
} cases[] = {
    {"20 - dense 33 relu - dense 5 softmax", FUSED, false,
     "a17982a974d444e7a2a1f8a1051442a5091120819e71ec0d44847daf6125c765"},
    {"1x12x12 - conv 5 5x5 same relu - maxpool 2 - conv 19 3x3 relu - maxpool 2 - dense 10 softmax",
     FUSED, false, "f771fb343a7a0135ffa135f02af91c1044f8c218bf545f41196686ebf97d3e00"},
    {"2x12x12 - maxpool 3 - conv 3 2x3 valid sigmoid - dense 1 sigmoid", FUSED, false,
     "0c059bff64df9165da238a47475169bdc02b42a5c7f8c3f311a3f0707ffa4784"},
    {"20 - dropout 0.1 - dense 33 relu - dropout 0.5 - dense 5 softmax", FUSED, false,
     "f986dd9240901d372f8784c6c89fcc5275a3cc73bb7f14d5023648a31a919e1c"},
    {"1x12x12 - conv 5 3x3 same relu - dropout 0.3 - maxpool 2 - dense 1 linear", FUSED, true,
     "ec8b2b3889ae0547edc1739c71c1c215511cf275bb28a007061411ed8c4be655"},
    {"20 - dense 17 sigmoid - dense 9 linear - dense 3 softmax", FUSED, false,
     "ecddccfaec4cb8eff7817331095394140021cd9dcf9c343f79728262f3bdbb41"},
    {"20 - dense 17 relu - dense 1 sigmoid", FUSED, true,
     "02b48d97cad9bd6baadc9ff184d1f4e5314d9cc2f2fffc49b99c71b502e43d90"},
    {"20 - dense 17 relu - dense 1 linear", FUSED, false,
     "42e7a1c13a56c4b140414a600571ad582c20b08aa26847cd43c0ad08db072aa9"},
    // Steps of their own (linear.h).
    {"37 - dense 1 linear", FUSED, false,
     "96d22be2f3abb467bf1fa7a56e3480239aa81849eba48ee957d5d87f8034a0ab"},
    {"37 - dense 1 sigmoid", FUSED, false,
     "a0fc4530577baebb94de33abd9402ddf972ccf1f16774fa80f500fecf817c6e6"},
    // Steps as others have them.
    {"37 - dense 1 sigmoid", FUSED, true,
     "0af74197deefd7a5ae14a4691712f9cb2424a9d2b18b74e81b8819206c07ef93"},
    {"29 - bilinear 12x17 linear", FUSED, false,
     "66e6a7cc9f4e19857c5719100d0dc8a750cccf5b0f471ca655d69483f3a6368d"},
    {"20 - dense 29 relu - bilinear 17x12 bias sigmoid", FUSED, false,
     "74cc57dda9e3acf7d94ea6a29cf2be2b173f70becf98fd37cc3aa10cdada4bff"},
    {"1 - factors 40x6 linear", EVERYWHERE, false,
     "5d147818027e054f1276f2accef739c0ffc5748d6df3b1e90120fe8a34476841"},
    {"1 - factors 40x6 linear", EVERYWHERE, true,
     "52c6cf0fc0ded25c79300fc96d05815cb9da99f9c8ca5903ef7a59470aceb603"},
    {"1 - factors 40x6 sigmoid", FUSED, false,
     "b4b4821b41fbb081ad0e3b093c7f5956dab4e6431e5cf26e561cb925a2d66c56"},
    {"20 - dense 17 relu local - dense 5 softmax", FUSED, false,
     "b6424bb23df8a2a1245ec379bbc5e5935382211b9d0ed5c31d6b346231d642d2"},
    {"20 - dense 17 tanh - dense 5 softmax", THIS_LIBRARY, false, NULL},
    {"1x12x12 - conv 5 3x3 tanh - maxpool 2 - dense 5 softmax", THIS_LIBRARY, true, NULL},
};

enum {
    CASES = sizeof(cases) / sizeof(cases[0])
};

struct digests {
    uint8_t of[CASES][TRIB_DIGEST_SIZE];
};

static const char *const names[] = {"avx512", "avx2", "neon", "plain"};

// ---- In the process of one set

static void train(size_t c, uint8_t ret_digest[static TRIB_DIGEST_SIZE])
{
    static float x[ROWS * INPUTS_MAX], y[ROWS], weights[ROWS], params[PARAMS_MAX];
    const struct trib_model model = parsed(cases[c].spec);
    const struct trib_train_options options = {
        .epochs = 3,
        .personal_epochs = 1,
        .batch = 16,
        .learning_rate = cases[c].is_adam ? 0.01 : 0.05,
        .optimizer = cases[c].is_adam ? TRIB_OPTIMIZER_ADAM : TRIB_OPTIMIZER_SGD,
        .weight_decay = 0.01,
        .schedule = {.kind = TRIB_SCHEDULE_STEP, .every = 5, .gamma = 0.9}};
    const size_t total = trib_model_total(&model);
    struct trib_samples samples = {
        .x = x, .y = y, .rows = ROWS, .inputs = model.inputs, .weights = c % 2 ? weights : NULL};
    struct trib_trainer_space *space;
    struct trib_rng rng;
    uint64_t seed = 100 + c;
    double loss;
    assert_true(model.inputs <= INPUTS_MAX && total <= PARAMS_MAX);
    for (size_t i = 0; i < ROWS * model.inputs; i++)
        x[i] = model.items ? (float)(test_rand(&seed) % model.items) : small(&seed);
    for (size_t r = 0; r < ROWS; r++) {
        y[r] = model.classes ? (float)(test_rand(&seed) % model.classes) : small(&seed);
        weights[r] = 1 + small(&seed) / 2;
    }
    trib_model_init(&model, seed, params);
    trib_model_init_local(&model, seed, "d", params + model.param_count);
    trib_rng_init(&rng, seed, "train", 0, NULL);
    assert_int_equal(trib_train_space_create(&model, &options, ROWS, &space), TRIB_OK);
    assert_int_equal(trib_train(space, &samples, &rng, params, NULL, NULL, &loss), TRIB_OK);
    trib_train_space_destroy(space);
    trib_digest(params, total * sizeof(*params), ret_digest);
}

static void silence(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

// Train all of them and write the digests to `to`: nothing, if this machine has no such set.
static _Noreturn void train_all(const char *name, int to)
{
    struct digests digests;
    trib_log_set_sink(silence, NULL);
    if (setenv("TRIB_KERNEL", name, 1) != 0)
        _exit(1);
    if (strcmp(trib_kernels()->name, name) != 0)
        _exit(0);
    for (size_t c = 0; c < CASES; c++)
        train(c, digests.of[c]);
    _exit(write(to, &digests, sizeof(digests)) == (ssize_t)sizeof(digests) ? 0 : 1);
}

// ---- And here

// False: this machine has no such set.
static bool digests_with(const char *name, struct digests *ret_digests)
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        train_all(name, ends[1]);
    (void)close(ends[1]);
    const ssize_t size = read(ends[0], ret_digests, sizeof(*ret_digests));
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(size == 0 || size == (ssize_t)sizeof(*ret_digests));
    return size > 0;
}

// The first fused set's digests are `first`'s; of plain kernels those that hold for them too.
static void assert_alike(const char *name, const struct digests *digests,
                         const struct digests *first)
{
    const bool is_plain = strcmp(name, "plain") == 0;
    for (size_t c = 0; c < CASES; c++) {
        char text[TRIB_DIGEST_TEXT_SIZE];
        trib_hex_encode(digests->of[c], TRIB_DIGEST_SIZE, text);
        if (is_plain && cases[c].reach != EVERYWHERE)
            continue;
        if (first && memcmp(digests->of[c], first->of[c], TRIB_DIGEST_SIZE) != 0)
            fail_msg("%s: with %s other bits than with other kernels", cases[c].spec, name);
        if (cases[c].digest && strcmp(text, cases[c].digest) != 0)
            fail_msg("case %zu, %s: with %s %s, not %s", c, cases[c].spec, name, text,
                     cases[c].digest);
    }
}

static void models_are_the_same_bits_whichever_kernels_trained_them(void **state)
{
    (void)state;
    struct digests first, digests;
    const struct digests *known = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct digests again;
        if (!digests_with(names[i], &digests))
            continue;
        print_message("kernels: %s\n", names[i]);
        assert_alike(names[i], &digests, known);
        assert_true(digests_with(names[i], &again)); // repeatable with each
        assert_memory_equal(&digests, &again, sizeof(digests));
        if (known)
            continue;
        first = digests;
        known = &first;
    }
    assert_non_null(known);
}

// What the page says of plain kernels is no more than what is so.
static void plain_kernels_round_otherwise(void **state)
{
    (void)state;
    struct digests plain, best;
    size_t set = 0;
    assert_true(digests_with("plain", &plain));
    while (!digests_with(names[set], &best))
        set++;
    if (strcmp(names[set], "plain") == 0)
        skip(); // there is nothing fused here
    for (size_t c = 0; c < CASES; c++) {
        const bool is_same = memcmp(plain.of[c], best.of[c], TRIB_DIGEST_SIZE) == 0;
        // One sigmoid of 200 ends in another last bit, which a step may round away: where nothing
        // else is in the way it often does.
        if (parsed(cases[c].spec).items > 0 && cases[c].reach != EVERYWHERE)
            continue;
        if (is_same != (cases[c].reach == EVERYWHERE))
            fail_msg("%s: %s bits with plain kernels", cases[c].spec, is_same ? "same" : "other");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_the_same_bits_whichever_kernels_trained_them),
        cmocka_unit_test(plain_kernels_round_otherwise),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
