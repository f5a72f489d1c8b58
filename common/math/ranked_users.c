#include "common/math/ranked_users.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/math/recommend.h"

// What a user has to do with an item. NOTHING is 0: marks begin and end so.
enum mark {
    NOTHING,
    SEEN,
    LIKED
};

struct row {
    const float *x; // borrowed
    uint32_t user, item;
    float y;
    bool is_held;
};

// A vector of a row, to find those that are the same.
struct vector {
    const float *numbers;
    size_t size; // bytes
    uint32_t row;
};

struct trib_ranked_users {
    const struct trib_model *model; // borrowed
    struct trib_ranking_plan plan;
    size_t row_count, rows_max, item_count;
    struct row *rows; // (rows_max), owned, as are those below
    bool is_numbered;
    // Once numbered:
    const float **items;            // (item_count) of bilinear: an item's numbers, of some row
    uint8_t *marks;                 // (item_count) of the user at hand
    uint32_t *candidates;           // (item_count)
    struct trib_ranked_item *shown; // (item_count)
    float *x;                       // (batch, inputs)
};

bool trib_recommender_fits(const struct trib_model *model)
{
    return model->outputs == 1 &&
           (model->items > 0 || model->layers[0].kind == TRIB_LAYER_BILINEAR);
}

// Numbers of a user at the beginning of a row; none of factors.
static uint32_t user_numbers(const struct trib_model *model)
{
    return model->items > 0 ? 0 : model->layers[0].users;
}

// ---- Sums

void trib_ranked_sums_put(const struct trib_ranked_sums *sums,
                          double ret_values[static TRIB_RANKED_VALUES])
{
    ret_values[0] = sums->users;
    memcpy(ret_values + 1, sums->sums, sizeof(sums->sums));
    memcpy(ret_values + 1 + TRIB_RANKED_COUNT, sums->squares, sizeof(sums->squares));
}

void trib_ranked_sums_take(struct trib_ranked_sums *sums,
                           const double values[static TRIB_RANKED_VALUES])
{
    sums->users = values[0];
    memcpy(sums->sums, values + 1, sizeof(sums->sums));
    memcpy(sums->squares, values + 1 + TRIB_RANKED_COUNT, sizeof(sums->squares));
}

void trib_ranked_sums_fill(const struct trib_ranked_sums *sums, uint32_t k,
                           struct trib_evaluation *evaluation)
{
    double *values[] = {&evaluation->hit_rate_at_k, &evaluation->recall_at_k,
                        &evaluation->ndcg_at_k};
    struct trib_interval *intervals[] = {&evaluation->intervals.hit_rate_at_k,
                                         &evaluation->intervals.recall_at_k,
                                         &evaluation->intervals.ndcg_at_k};
    const double n = sums->users;
    evaluation->ranking_k = k;
    evaluation->ranking_users = fmax(n, 0);
    for (size_t i = 0; i < TRIB_RANKED_COUNT; i++) {
        const double mean = n > 0 ? sums->sums[i] / n : (double)NAN; // noise may leave nobody
        *values[i] = mean;
        *intervals[i] =
            trib_interval_mean(mean, sqrt(fmax(sums->squares[i] / n - mean * mean, 0) / n));
    }
}

static void add_user(struct trib_ranked_sums *sums, const struct trib_recommend_scores *scores)
{
    const double values[] = {scores->hit, scores->recall, scores->ndcg};
    sums->users++;
    for (size_t i = 0; i < TRIB_RANKED_COUNT; i++) {
        const double value = rint(values[i] * 0x1p30) * 0x1p-30;
        sums->sums[i] += value;
        sums->squares[i] += rint(value * value * 0x1p20) * 0x1p-20;
    }
}

// ---- Rows

enum trib_err trib_ranked_users_create(const struct trib_model *model,
                                       const struct trib_ranking_plan *plan, size_t rows_max,
                                       struct trib_ranked_users **ret_users)
{
    assert(trib_recommender_fits(model) && plan->k > 0);
    struct trib_ranked_users *users = trib_alloc(sizeof(*users));
    if (!users)
        return TRIB_ERR_NOMEM;
    *users = (struct trib_ranked_users){.model = model, .plan = *plan, .rows_max = rows_max};
    users->rows = trib_alloc_array(rows_max + 1, sizeof(*users->rows));
    if (!users->rows) {
        free(users);
        return TRIB_ERR_NOMEM;
    }
    *ret_users = users;
    return TRIB_OK;
}

static void forget_numbers(struct trib_ranked_users *users)
{
    free(users->items);
    free(users->marks);
    free(users->candidates);
    free(users->shown);
    free(users->x);
    users->items = NULL;
    users->marks = NULL;
    users->candidates = NULL;
    users->shown = NULL;
    users->x = NULL;
}

void trib_ranked_users_destroy(struct trib_ranked_users *users)
{
    if (!users)
        return;
    forget_numbers(users);
    free(users->rows);
    free(users);
}

void trib_ranked_users_add(struct trib_ranked_users *users, const float *x, float y, bool is_held)
{
    assert(users->row_count < users->rows_max && !users->is_numbered);
    users->rows[users->row_count++] = (struct row){.x = x, .y = y, .is_held = is_held};
}

void trib_ranked_users_add_all(struct trib_ranked_users *users, const struct trib_samples *samples,
                               bool is_held)
{
    for (size_t r = 0; r < samples->rows; r++)
        trib_ranked_users_add(users, samples->x + r * samples->inputs, samples->y[r], is_held);
}

// ---- Numbers of users and items

static int by_numbers(const void *a, const void *b)
{
    const struct vector *left = a, *right = b;
    return memcmp(left->numbers, right->numbers, left->size);
}

static int by_user(const void *a, const void *b)
{
    const uint32_t left = ((const struct row *)a)->user, right = ((const struct row *)b)->user;
    return (left > right) - (left < right);
}

// Sorts what is in `vectors`, and numbers users or items in that order; how many there are.
static uint32_t number_vectors(struct trib_ranked_users *users, struct vector *vectors,
                               bool are_items)
{
    uint32_t count = 0;
    qsort(vectors, users->row_count, sizeof(*vectors), by_numbers);
    for (size_t i = 0; i < users->row_count; i++) {
        if (i > 0 && by_numbers(&vectors[i - 1], &vectors[i]) != 0)
            count++;
        struct row *row = &users->rows[vectors[i].row];
        if (are_items) {
            row->item = count;
            users->items[count] = vectors[i].numbers;
        } else {
            row->user = count;
        }
    }
    return users->row_count > 0 ? count + 1 : 0;
}

static enum trib_err number_bilinear(struct trib_ranked_users *users)
{
    const struct trib_layer *layer = &users->model->layers[0];
    struct vector *vectors = trib_alloc_array(users->row_count + 1, sizeof(*vectors));
    users->items = trib_alloc_array(users->row_count + 1, sizeof(*users->items));
    if (!vectors || !users->items) {
        free(vectors);
        return TRIB_ERR_NOMEM;
    }
    for (uint32_t r = 0; r < users->row_count; r++)
        vectors[r] = (struct vector){users->rows[r].x, layer->users * sizeof(float), r};
    (void)number_vectors(users, vectors, false);
    for (uint32_t r = 0; r < users->row_count; r++)
        vectors[r] =
            (struct vector){users->rows[r].x + layer->users, layer->items * sizeof(float), r};
    users->item_count = number_vectors(users, vectors, true);
    free(vectors);
    return TRIB_OK;
}

static enum trib_err number(struct trib_ranked_users *users, size_t batch)
{
    enum trib_err err = TRIB_OK;
    forget_numbers(users); // of a try without memory
    users->item_count = users->model->items;
    if (users->item_count == 0)
        err = number_bilinear(users);
    for (size_t r = 0; users->model->items > 0 && r < users->row_count; r++)
        users->rows[r].item = (uint32_t)users->rows[r].x[0]; // checked when rows were read
    if (err)
        return err;
    qsort(users->rows, users->row_count, sizeof(*users->rows), by_user);
    users->marks = trib_alloc_array(users->item_count + 1, sizeof(*users->marks));
    users->candidates = trib_alloc_array(users->item_count + 1, sizeof(*users->candidates));
    users->shown = trib_alloc_array(users->item_count + 1, sizeof(*users->shown));
    users->x = trib_alloc_aligned(batch * users->model->inputs, sizeof(*users->x));
    if (!users->marks || !users->candidates || !users->shown || !users->x)
        return TRIB_ERR_NOMEM;
    users->is_numbered = true;
    return TRIB_OK;
}

// ---- One user

// Marks the items of the user's rows; how many are relevant candidates.
static size_t mark(struct trib_ranked_users *users, const struct row *rows, size_t count)
{
    size_t liked = 0;
    for (size_t r = 0; r < count; r++) {
        if (!rows[r].is_held)
            users->marks[rows[r].item] = SEEN;
    }
    for (size_t r = 0; r < count; r++) {
        const bool is_liked = rows[r].is_held && (double)rows[r].y >= users->plan.relevant;
        if (!is_liked || users->marks[rows[r].item] != NOTHING)
            continue;
        users->marks[rows[r].item] = LIKED;
        liked++;
    }
    return liked;
}

// The stream of the user's negatives: by what it likes, which no version of a model changes.
static void seed_negatives(const struct trib_ranked_users *users, size_t liked,
                           struct trib_rng *rng)
{
    struct trib_hash hash;
    uint8_t digest[sizeof(uint64_t)];
    trib_hash_init(&hash, NULL, 0, sizeof(digest));
    trib_hash_update(&hash, users->candidates, liked * sizeof(*users->candidates));
    trib_hash_final(&hash, digest, sizeof(digest));
    trib_rng_init(rng, users->plan.seed, "negatives", trib_load_le64(digest), NULL);
}

// Fills in the candidates, the relevant ones first; how many.
static size_t choose(struct trib_ranked_users *users, size_t liked)
{
    size_t at = 0, count = liked;
    for (uint32_t i = 0; i < users->item_count; i++) {
        if (users->marks[i] == LIKED)
            users->candidates[at++] = i;
        else if (users->marks[i] == NOTHING)
            users->candidates[count++] = i;
    }
    const size_t others = count - liked;
    if (users->plan.negatives == 0 || others <= users->plan.negatives)
        return count;
    struct trib_rng rng;
    seed_negatives(users, liked, &rng);
    uint32_t *list = users->candidates + liked;
    for (size_t i = 0; i < users->plan.negatives; i++) {
        const size_t other = i + (size_t)trib_rng_below(&rng, others - i);
        const uint32_t swap = list[i];
        list[i] = list[other];
        list[other] = swap;
    }
    return liked + users->plan.negatives;
}

static void put_x(const struct trib_ranked_users *users, const float *user, uint32_t item, float *x)
{
    const struct trib_model *model = users->model;
    const uint32_t numbers = user_numbers(model);
    if (model->items > 0) {
        x[0] = (float)item;
        return;
    }
    memcpy(x, user, numbers * sizeof(*x));
    memcpy(x + numbers, users->items[item], (model->inputs - numbers) * sizeof(*x));
}

static void score(struct trib_ranked_users *users, struct trib_net *net, const float *params,
                  const float *user, size_t count)
{
    const size_t batch = trib_net_batch_max(net), inputs = users->model->inputs;
    for (size_t first = 0; first < count; first += batch) {
        const size_t rows = count - first < batch ? count - first : batch;
        for (size_t r = 0; r < rows; r++)
            put_x(users, user, users->candidates[first + r], users->x + r * inputs);
        const float *outputs = trib_net_forward(net, params, users->x, rows);
        for (size_t r = 0; r < rows; r++) {
            const bool is_liked = users->marks[users->candidates[first + r]] == LIKED;
            users->shown[first + r] = (struct trib_ranked_item){(double)outputs[r], is_liked};
        }
    }
}

static enum trib_err measure_user(struct trib_ranked_users *users, struct trib_net *net,
                                  const float *params, const struct row *rows, size_t count,
                                  struct trib_ranked_sums *sums)
{
    struct trib_recommend_scores scores;
    enum trib_err err = TRIB_OK;
    const size_t liked = mark(users, rows, count);
    if (liked > 0) {
        const size_t candidates = choose(users, liked);
        score(users, net, params, rows[0].x, candidates);
        err = trib_recommend_scores(users->shown, candidates, users->plan.k, TRIB_GAIN_LINEAR,
                                    &scores);
        if (!err)
            add_user(sums, &scores);
    }
    for (size_t r = 0; r < count; r++)
        users->marks[rows[r].item] = NOTHING;
    return err;
}

enum trib_err trib_ranked_users_measure(struct trib_ranked_users *users, struct trib_net *net,
                                        const float *params, struct trib_ranked_sums *sums)
{
    enum trib_err err = TRIB_OK;
    if (!users->is_numbered)
        err = number(users, trib_net_batch_max(net));
    for (size_t first = 0, end; first < users->row_count && !err; first = end) {
        for (end = first + 1; end < users->row_count; end++) {
            if (users->rows[end].user != users->rows[first].user)
                break;
        }
        err = measure_user(users, net, params, users->rows + first, end - first, sums);
    }
    return err;
}
