#include "simulations/ensemble_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/bytes.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/math/model_file.h"

#define TRIB_LOG_MODULE "ensemble"
#define SUM_SLACK       1e-6
#define CHOSEN_ON       "chosen-on "

enum {
    FILE_MAX = 1 << 20
};

static enum trib_err check_member(const struct trib_members *members,
                                  const struct trib_member *member)
{
    const struct trib_model *model = &member->model;
    const struct trib_model *first = members->count ? &members->items[0].model : model;
    if (model->local_count > 0 || model->items > 0) {
        TRIB_ERROR("%s: its model '%s' is not whole without a device", member->path, model->spec);
        return TRIB_ERR_DATA;
    }
    if (model->inputs != first->inputs || model->outputs != first->outputs ||
        model->classes != first->classes) {
        TRIB_ERROR("%s: its model '%s' has not the inputs and outputs of '%s' in %s", member->path,
                   model->spec, first->spec, members->items[0].path);
        return TRIB_ERR_DATA;
    }
    return TRIB_OK;
}

enum trib_err trib_members_add(struct trib_members *members, const char *path)
{
    char why[TRIB_PATH_MAX + 512];
    uint8_t digest[TRIB_DIGEST_SIZE];
    if (members->count == TRIB_ENSEMBLE_MAX || strlen(path) > TRIB_PATH_MAX) {
        TRIB_ERROR("%s: %s", path,
                   members->count == TRIB_ENSEMBLE_MAX ? "one member too many"
                                                       : "the path is too long");
        return TRIB_ERR_LIMIT;
    }
    if (!members->items)
        members->items = trib_alloc_array(TRIB_ENSEMBLE_MAX, sizeof(*members->items));
    if (!members->items)
        return TRIB_ERR_NOMEM;
    struct trib_member *member = &members->items[members->count];
    (void)snprintf(member->path, sizeof(member->path), "%s", path);
    enum trib_err err =
        trib_model_file_open(path, &member->model, &member->params, why, sizeof(why));
    if (err) {
        TRIB_ERROR("%s", why);
        return err == TRIB_ERR_IO ? TRIB_ERR_DATA : err;
    }
    err = check_member(members, member);
    if (err) {
        free(member->params);
        member->params = NULL;
        return err;
    }
    trib_model_digest(&member->model, member->params, digest);
    trib_hex_encode(digest, sizeof(digest), member->digest);
    members->count++;
    return TRIB_OK;
}

void trib_members_fini(struct trib_members *members)
{
    for (size_t k = 0; k < members->count; k++)
        free(members->items[k].params);
    free(members->items);
    *members = (struct trib_members){0};
}

// ---- Reading

static enum trib_err spoilt(const char *path, size_t line, const char *what)
{
    TRIB_ERROR("%s:%zu: %s", path, line, what);
    return TRIB_ERR_DATA;
}

// WEIGHT DIGEST PATH
static enum trib_err read_line(struct trib_members *members, const char *path, size_t number,
                               char *line)
{
    char whole[TRIB_PATH_MAX + 1];
    char folder[TRIB_PATH_MAX + 1];
    char *end = line;
    errno = 0;
    const double weight = strtod(line, &end);
    if (end == line || *end != ' ' || !(weight >= 0 && weight <= 1))
        return spoilt(path, number, "want WEIGHT DIGEST PATH, a weight of 0 to 1");
    char *digest = end + 1;
    char *file = strchr(digest, ' ');
    if (!file || file[1] == '\0' || file - digest != TRIB_DIGEST_TEXT_SIZE - 1)
        return spoilt(path, number, "want WEIGHT DIGEST PATH, a digest of 64 digits");
    *file++ = '\0';
    enum trib_err err = trib_path_dir(folder, path);
    if (!err && file[0] != '/')
        err = trib_path_join(whole, folder, file);
    else if (!err)
        (void)snprintf(whole, sizeof(whole), "%s", file);
    if (!err)
        err = trib_members_add(members, whole);
    if (err)
        return spoilt(path, number, "the member cannot be used");
    if (strcmp(members->items[members->count - 1].digest, digest) != 0)
        return spoilt(path, number, "the member is not the model that it was: another digest");
    members->weights[members->count - 1] = weight;
    return TRIB_OK;
}

static enum trib_err read_choice(struct trib_members *members, const char *path, size_t number,
                                 const char *text)
{
    char *end = NULL;
    errno = 0;
    members->seed = strtoull(text, &end, 10);
    const bool has_seed = text[0] >= '0' && text[0] <= '9' && *end == ' ' && errno == 0;
    if (has_seed)
        members->share = strtod(end + 1, &end);
    return has_seed && *end == '\0' && members->share >= 0 && members->share < 1
               ? TRIB_OK
               : spoilt(path, number, "want chosen-on SEED SHARE, a share of 0 to less than 1");
}

enum trib_err trib_members_read(struct trib_members *members, const char *path)
{
    struct trib_buf text = {0};
    double sum = 0;
    size_t number = 0;
    enum trib_err err = trib_file_read(path, FILE_MAX, &text);
    trib_buf_append(&text, "", 1);
    if (!err && text.failed)
        err = TRIB_ERR_NOMEM;
    char *next = err ? NULL : (char *)text.data;
    while (next && *next && !err) {
        char *line = next;
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        if (strncmp(line, CHOSEN_ON, sizeof(CHOSEN_ON) - 1) == 0)
            err = read_choice(members, path, number, line + sizeof(CHOSEN_ON) - 1);
        else if (line[0] != '#' && line[0] != '\0')
            err = read_line(members, path, number, line);
    }
    for (size_t k = 0; k < members->count; k++)
        sum += members->weights[k];
    if (!err && !(fabs(sum - 1) <= SUM_SLACK))
        err = spoilt(path, number, "the weights do not add up to 1");
    trib_buf_fini(&text);
    return err;
}

// ---- Writing

// `path` as it is seen from the folder `from`, both resolved.
static const char *seen_from(const char *from, const char *path)
{
    const size_t size = strlen(from);
    return strncmp(path, from, size) == 0 && path[size] == '/' ? path + size + 1 : path;
}

enum trib_err trib_members_write(const struct trib_members *members, const char *path)
{
    char folder[TRIB_PATH_MAX + 1];
    struct trib_buf text = {0};
    enum trib_err err = trib_path_dir(folder, path);
    char *from = err ? NULL : realpath(folder, NULL);
    if (!err && !from) {
        TRIB_ERROR("%s: %s", folder, strerror(errno));
        err = TRIB_ERR_IO;
    }
    trib_buf_printf(&text,
                    "# Tributary ensemble: WEIGHT DIGEST PATH\n" CHOSEN_ON "%" PRIu64 " %.17g\n",
                    members->seed, members->share);
    for (size_t k = 0; k < members->count && !err; k++) {
        char *whole = realpath(members->items[k].path, NULL);
        if (!whole) {
            TRIB_ERROR("%s: %s", members->items[k].path, strerror(errno));
            err = TRIB_ERR_IO;
            break;
        }
        trib_buf_printf(&text, "%.17g %s %s\n", members->weights[k], members->items[k].digest,
                        seen_from(from, whole));
        free(whole);
    }
    free(from);
    if (!err)
        err = text.failed ? TRIB_ERR_NOMEM : trib_file_write(path, text.data, text.size, 0644);
    trib_buf_fini(&text);
    return err;
}
