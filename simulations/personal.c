#include "simulations/personal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/math/evaluation.h"
#include "common/math/ranked_users.h"

enum {
    BATCH = 256
};

struct trib_personal {
    const struct trib_scenario *scenario; // borrowed
    const struct trib_model *model;       // the scenario's
    size_t devices;
    float *locals;             // (devices, local_count), owned; NULL: the model has no such part
    struct trib_dataset *test; // owned; the rows of d0000, then those of d0001, ...
    struct trib_dataset *seen; // the same of the rows learnt from, scaled; owned; NULL: as they are
    struct trib_net *net;
    float *params;  // of both parts, for one device at a time
    double *losses; // (devices) when last measured; NaN: not, or no rows
};

static enum trib_err create_vectors(struct trib_personal *p)
{
    const size_t local_count = p->model->local_count;
    p->params = trib_alloc_aligned(trib_model_total(p->model), sizeof(*p->params));
    p->losses = trib_alloc_array(p->devices, sizeof(*p->losses));
    if (!p->params || !p->losses)
        return TRIB_ERR_NOMEM;
    for (size_t d = 0; d < p->devices; d++)
        p->losses[d] = (double)NAN;
    if (local_count == 0)
        return TRIB_OK;
    p->locals = trib_alloc_array(p->devices, local_count * sizeof(*p->locals));
    if (!p->locals)
        return TRIB_ERR_NOMEM;
    for (size_t d = 0; d < p->devices; d++) {
        char name[TRIB_PARTITION_NAME_SIZE];
        trib_partition_name(d, name);
        trib_model_init_local(p->model, p->scenario->job.config.round_seed, name,
                              trib_personal_local(p, d));
    }
    return TRIB_OK;
}

static enum trib_err copy_all(const struct trib_dataset *dataset, double scale,
                              struct trib_dataset **ret_copy)
{
    uint32_t *rows = trib_alloc_array(dataset->rows, sizeof(*rows));
    if (!rows)
        return TRIB_ERR_NOMEM;
    for (size_t r = 0; r < dataset->rows; r++)
        rows[r] = (uint32_t)r;
    enum trib_err err = trib_dataset_select(dataset, rows, dataset->rows, scale, ret_copy);
    free(rows);
    return err;
}

static enum trib_err copy_rows(struct trib_personal *p, double scale)
{
    enum trib_err err = copy_all(p->scenario->test, scale, &p->test);
    if (!err && p->scenario->job.held_out.ranking.k > 0 && (scale < 1 || scale > 1))
        err = copy_all(p->scenario->train, scale, &p->seen);
    return err;
}

enum trib_err trib_personal_create(const struct trib_scenario *scenario, double scale,
                                   struct trib_personal **ret_personal)
{
    struct trib_personal *p = trib_alloc(sizeof(*p));
    if (!p)
        return TRIB_ERR_NOMEM;
    p->scenario = scenario;
    p->model = &scenario->job.model;
    p->devices = scenario->partition.clients;
    enum trib_err err = create_vectors(p);
    if (!err && scenario->held_out.clients > 0)
        err = copy_rows(p, scale);
    if (!err)
        err = trib_net_create(p->model, BATCH, &p->net);
    if (err) {
        trib_personal_destroy(p);
        return err;
    }
    *ret_personal = p;
    return TRIB_OK;
}

void trib_personal_destroy(struct trib_personal *p)
{
    if (!p)
        return;
    free(p->locals);
    trib_dataset_free(p->test);
    trib_dataset_free(p->seen);
    trib_net_destroy(p->net);
    free(p->params);
    free(p->losses);
    free(p);
}

float *trib_personal_local(struct trib_personal *p, size_t device)
{
    return p->locals ? p->locals + device * p->model->local_count : NULL;
}

static const float *part(void *user, size_t device, struct trib_samples *ret_samples)
{
    struct trib_personal *p = user;
    const struct trib_partition *held_out = &p->scenario->held_out;
    const size_t first = held_out->starts[device];
    *ret_samples = (struct trib_samples){.x = p->test->x + first * p->test->inputs,
                                         .y = p->test->y + first,
                                         .rows = trib_partition_size(held_out, device),
                                         .inputs = p->test->inputs};
    if (p->locals)
        memcpy(p->params + p->model->param_count, trib_personal_local(p, device),
               p->model->local_count * sizeof(*p->params));
    return p->params;
}

// A device's users, by its own rows.
static enum trib_err rank_device(struct trib_personal *p, size_t device,
                                 struct trib_ranked_sums *sums)
{
    struct trib_ranked_users *users;
    struct trib_samples held, seen = trib_scenario_samples(p->scenario, device);
    const float *params = part(p, device, &held);
    if (p->seen)
        seen.x = p->seen->x + p->scenario->partition.starts[device] * seen.inputs;
    enum trib_err err = trib_ranked_users_create(p->model, &p->scenario->job.held_out.ranking,
                                                 held.rows + seen.rows, &users);
    if (err)
        return err;
    trib_ranked_users_add_all(users, &held, true);
    trib_ranked_users_add_all(users, &seen, false);
    err = trib_ranked_users_measure(users, p->net, params, sums);
    trib_ranked_users_destroy(users);
    return err;
}

enum trib_err trib_personal_measure(struct trib_personal *p, const float *params,
                                    struct trib_evaluation *ret_evaluation)
{
    memcpy(p->params, params, p->model->param_count * sizeof(*params));
    const uint32_t k = p->scenario->job.held_out.ranking.k;
    struct trib_ranked_sums sums = {.users = 0};
    enum trib_err err =
        trib_evaluate_parts(p->net, part, p, p->devices, NULL, p->losses, ret_evaluation);
    for (size_t d = 0; d < p->devices && k > 0 && !err; d++)
        err = rank_device(p, d, &sums);
    if (!err)
        ret_evaluation->primary = p->scenario->job.held_out.primary;
    if (!err && k > 0)
        trib_ranked_sums_fill(&sums, k, ret_evaluation);
    return err;
}

enum trib_err trib_personal_write(const struct trib_personal *p, const char *dir)
{
    char path[TRIB_PATH_MAX + 1];
    struct trib_buf text = {0};
    enum trib_err err = trib_path_join(path, dir, "devices.csv");
    if (err)
        return err;
    trib_buf_text(&text, "device,rows,held_out,loss\n");
    for (size_t d = 0; d < p->devices; d++) {
        char name[TRIB_PARTITION_NAME_SIZE], loss[TRIB_REAL_TEXT_SIZE] = "";
        trib_partition_name(d, name);
        if (isfinite(p->losses[d]))
            trib_real_text(p->losses[d], loss);
        trib_buf_printf(&text, "%s,%zu,%zu,%s\n", name,
                        trib_partition_size(&p->scenario->partition, d),
                        trib_partition_size(&p->scenario->held_out, d), loss);
    }
    err = text.failed ? TRIB_ERR_NOMEM : trib_file_write(path, text.data, text.size, 0644);
    trib_buf_fini(&text);
    return err;
}
