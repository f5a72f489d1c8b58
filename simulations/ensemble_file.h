// ensemble_file.h - the members of an ensemble: read from model files, or from the file of an
// ensemble (ensemble.h), and written as one.
#ifndef TRIB_SIMULATIONS_ENSEMBLE_FILE_H
#define TRIB_SIMULATIONS_ENSEMBLE_FILE_H

#include "common/base/limits.h"
#include "common/math/ensemble.h"
#include "common/math/model.h"
#include "tributary/err.h"

struct trib_member {
    char path[TRIB_PATH_MAX + 1];
    struct trib_model model;
    float *params; // (param_count), owned
    char digest[TRIB_DIGEST_TEXT_SIZE];
};

struct trib_members {
    struct trib_member *items; // owned
    size_t count;
    double weights[TRIB_ENSEMBLE_MAX];
    // Which held-out rows chose the weights (ensemble.c): 0 of them when nothing is said.
    uint64_t seed;
    double share;
};

// Read a model and make it the last member. TRIB_ERR_DATA, logged: it cannot be used alone, or with
// those that are there: other inputs, outputs or classes. TRIB_ERR_LIMIT, logged: too many.
TRIB_CHECKED enum trib_err trib_members_add(struct trib_members *members, const char *path);

// All that the file of an ensemble names, with their weights. TRIB_ERR_DATA, logged with file and
// line: not such a file, or a member that is not the one it was.
TRIB_CHECKED enum trib_err trib_members_read(struct trib_members *members, const char *path);

// Paths of members in the folder of `path`, or below it, are written from there, others whole.
TRIB_CHECKED enum trib_err trib_members_write(const struct trib_members *members, const char *path);

void trib_members_fini(struct trib_members *members);

#endif // TRIB_SIMULATIONS_ENSEMBLE_FILE_H
