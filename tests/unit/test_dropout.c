#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/wipe.h"
#include "common/math/train.h"
#include "tests/unit/reference_net.h"

static void a_dropped_value_is_zero_and_the_others_are_raised(void **state)
{
    (void)state;
    enum {
        WIDTH = 20000
    };
    const struct trib_model model = parsed("20000 - dropout 0.3 - dense 1 linear");
    struct trib_net *net;
    float *memory = calloc(4 * (WIDTH + 1), sizeof(*memory));
    assert_non_null(memory);
    float *x = memory, *params = x + WIDTH + 1, *g = params + WIDTH + 1, *again = g + WIDTH + 1;
    const float y = 1; // outputs are 0, so the bias has the slope -1 and x the slope -mask
    const struct trib_batch batch = {x, &y, NULL, 1};
    assert_int_equal(model.param_count, WIDTH + 1);
    for (int i = 0; i < WIDTH; i++)
        x[i] = 1;
    assert_int_equal(trib_net_create(&model, 1, &net), TRIB_OK);
    struct trib_rng rng, other;
    trib_rng_init(&rng, 1, "train", 0, NULL);
    other = rng;
    (void)trib_net_gradient_weighted(net, params, &batch, &rng, g);
    (void)trib_net_gradient_weighted(net, params, &batch, &other, again);
    assert_memory_equal(g, again, (WIDTH + 1) * sizeof(*g)); // the same stream, the same values
    int dropped = 0;
    for (int i = 0; i < WIDTH; i++) {
        dropped += g[i] == 0;
        if (g[i] != 0)
            assert_float_equal(g[i], -1 / 0.7f, 1e-6);
    }
    assert_true(abs(dropped - 6000) < 5 * 65); // the standard deviation is 64.8
    (void)trib_net_gradient_weighted(net, params, &batch, &rng, again);
    assert_memory_not_equal(g, again, (WIDTH + 1) * sizeof(*g)); // drawn anew for each batch
    (void)trib_net_gradient(net, params, x, &y, 1, g);
    for (int i = 0; i <= WIDTH; i++)
        assert_true(g[i] == -1); // off: nothing is dropped
    trib_net_destroy(net);
    free(memory);
}

static void evaluation_is_that_of_the_model_without_dropout(void **state)
{
    (void)state;
    const struct trib_model with = parsed("6 - dropout 0.2 - dense 9 tanh - dropout 0.5 - "
                                          "dense 5 relu - dropout 0.9 - dense 3 softmax");
    const struct trib_model without = parsed("6 - dense 9 tanh - dense 5 relu - dense 3 softmax");
    float params[256], x[4 * 6], gradients[2][256];
    const float y[4] = {0, 1, 2, 1};
    uint64_t seed = 3;
    struct trib_net *nets[2];
    assert_int_equal(with.param_count, without.param_count);
    assert_true(with.param_count <= 256);
    for (size_t i = 0; i < with.param_count; i++)
        params[i] = small(&seed);
    for (int i = 0; i < 24; i++)
        x[i] = small(&seed);
    assert_int_equal(trib_net_create(&with, 4, &nets[0]), TRIB_OK);
    assert_int_equal(trib_net_create(&without, 4, &nets[1]), TRIB_OK);
    const float *a = trib_net_forward(nets[0], params, x, 4);
    const float *b = trib_net_forward(nets[1], params, x, 4);
    assert_memory_equal(a, b, 4 * 3 * sizeof(float));
    for (int i = 0; i < 2; i++)
        (void)trib_net_gradient(nets[i], params, x, y, 4, gradients[i]);
    assert_memory_equal(gradients[0], gradients[1], with.param_count * sizeof(float));
    trib_net_destroy(nets[0]);
    trib_net_destroy(nets[1]);
}

static void check_dropout_gradient(const char *spec, uint64_t seed)
{
    enum {
        ROWS = 5
    };
    float weights[ROWS];
    struct reference reference;
    struct trib_rng drops;
    trib_rng_init(&drops, seed, "train", 0, NULL);
    reference_begin(&reference, spec, ROWS, seed);
    for (int r = 0; r < ROWS; r++)
        weights[r] = 1 + small(&seed);
    reference.weights = weights;
    assert_gradients(&reference, &drops);
    reference_end(&reference);
}

static void gradients_through_dropout_agree_with_differences(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "6 - dropout 0.25 - dense 3 softmax",
        "6 - dense 7 tanh - dropout 0.5 - dense 3 softmax",
        "6 - dropout 0.1 - dense 7 sigmoid - dropout 0.3 - dense 1 sigmoid",
        "5 - dense 6 tanh - dropout 0.4 - dropout 0.2 - dense 4 tanh - dropout 0.5 - dense 1",
    };
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
        for (uint64_t seed = 1; seed <= 5; seed++)
            check_dropout_gradient(specs[i], seed);
}

static void a_share_has_one_canonical_text(void **state)
{
    (void)state;
    const struct trib_model model = parsed("4 -dropout 0.5000 - dense 2 softmax");
    assert_string_equal(model.spec, "4 - dropout 0.5 - dense 2 softmax");
    assert_string_equal(parsed("4 - dropout .25 - dense 2 softmax").spec,
                        "4 - dropout 0.25 - dense 2 softmax");
    assert_string_equal(parsed("4 - dropout 0.0001 - dense 2 softmax").spec,
                        "4 - dropout 0.0001 - dense 2 softmax");
    assert_int_equal(model.param_count, 10);
    const struct trib_model other = parsed("4 - dropout 0.4 - dense 2 softmax");
    assert_memory_not_equal(model.arch_digest, other.arch_digest, TRIB_DIGEST_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dropped_value_is_zero_and_the_others_are_raised),
        cmocka_unit_test(evaluation_is_that_of_the_model_without_dropout),
        cmocka_unit_test(gradients_through_dropout_agree_with_differences),
        cmocka_unit_test(a_share_has_one_canonical_text),
    };
    trib_crypto_init();
    return RUN_TESTS(tests);
}
