// models.h - models of a line of text, and numbers to try them on.
#ifndef TRIB_TESTS_UNIT_MODELS_H
#define TRIB_TESTS_UNIT_MODELS_H

#include "common/math/model.h"
#include "tests/test.h"

static inline struct trib_model parsed(const char *spec)
{
    struct trib_model model;
    char why[256] = "";
    if (trib_model_parse(spec, &model, why, sizeof(why)))
        fail_msg("%s: %s", spec, why);
    return model;
}

static inline float small(uint64_t *seed) // uniform in [-1, 1)
{
    return (float)((double)(int64_t)test_rand(seed) * 0x1p-63);
}

static inline double draw(uint64_t *seed) // uniform in [-1, 1)
{
    return (double)(test_rand(seed) >> 11) * 0x1p-52 - 1;
}

#endif // TRIB_TESTS_UNIT_MODELS_H
