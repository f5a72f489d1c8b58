#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/rand.h"
#include "common/math/ranking.h"
#include "simulations/make.h"
#include "simulations/make_parts.h"

// Standard deviations of what a click's log odds are made of, in units of `sharpness`. The part
// that is linear in the features is the smaller one.
static const double click_linear = 0.5, click_crossed = 1, click_sharpness = 3, click_offset = -0.4;
static const double click_shared =
    0.6; // of a user's numbers: what the device's users have in common

enum {
    CLICK_RANK = 2
}; // tastes of a user that meet properties of an item

struct click_world {
    double *line;   // (user_dim + item_dim)
    double *tastes; // (CLICK_RANK, user_dim)
    double *traits; // (CLICK_RANK, item_dim)
    double *items;  // (items, item_dim)
    double *centre; // (user_dim) of the device
    double *user;   // (user_dim)
    bool *is_taken;
    uint32_t *list;           // (per_user)
    struct trib_scored *rows; // (users * per_user) the chance that was drawn from, and what came
    double right;             // sum of max(p, 1 - p): what nobody who knows the chances can pass
};

static double dot(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static void draw_direction(struct trib_rng *rng, size_t count, double *ret_values)
{
    for (size_t i = 0; i < count; i++)
        ret_values[i] = trib_rng_normal(rng);
    const double length = sqrt(dot(ret_values, ret_values, count));
    for (size_t i = 0; i < count; i++)
        ret_values[i] /= length;
}

// log odds = sharpness (linear part + sum over k of (taste_k . u) (trait_k . v) / sqrt(rank)) +
// offset
static double click_chance(const struct trib_make *s, const struct click_world *w,
                           const double *item)
{
    double crossed = 0;
    const double linear =
        (dot(w->line, w->user, s->user_dim) + dot(w->line + s->user_dim, item, s->item_dim)) /
        sqrt(2);
    for (size_t k = 0; k < CLICK_RANK; k++)
        crossed += dot(w->tastes + k * s->user_dim, w->user, s->user_dim) *
                   dot(w->traits + k * s->item_dim, item, s->item_dim) / sqrt(CLICK_RANK);
    return 1 / (1 + exp(-click_sharpness * (click_linear * linear + click_crossed * crossed) -
                        click_offset));
}

static void put_clicks_user(const struct trib_make *s, struct click_world *w, uint64_t number,
                            struct trib_buf *text)
{
    struct trib_rng rng;
    struct trib_make copy = *s;
    const uint64_t device = number * s->devices / s->users;
    trib_rng_init(&rng, s->seed, "make device", device, NULL);
    draw_direction(&rng, s->user_dim, w->centre);
    trib_rng_init(&rng, s->seed, "make user", number, NULL);
    trib_make_features(&rng, s->user_dim, w->user);
    for (size_t k = 0; k < s->user_dim; k++)
        w->user[k] = round(1000 * (w->user[k] * sqrt(1 - click_shared * click_shared) +
                                   w->centre[k] * click_shared * sqrt((double)s->user_dim))) /
                     1000;
    trib_make_items(s, &rng, trib_make_uniform, &copy, w->is_taken, w->list);
    for (size_t r = 0; r < s->per_user; r++) {
        const double *item = w->items + w->list[r] * s->item_dim;
        const double chance = click_chance(s, w, item);
        const bool clicked = trib_rng_real(&rng) < chance;
        w->rows[number * s->per_user + r] = (struct trib_scored){chance, clicked};
        w->right += fmax(chance, 1 - chance);
        trib_buf_printf(text, "%" PRIu64, device);
        trib_make_put(text, w->user, s->user_dim);
        trib_make_put(text, item, s->item_dim);
        trib_buf_printf(text, ",%d\n", clicked);
    }
}

static void put_clicks(const struct trib_make *s, struct click_world *w, struct trib_buf *text)
{
    struct trib_rng rng;
    trib_rng_init(&rng, s->seed, "make items", 0, NULL);
    draw_direction(&rng, s->user_dim, w->line);
    draw_direction(&rng, s->item_dim, w->line + s->user_dim);
    for (size_t k = 0; k < CLICK_RANK; k++) {
        draw_direction(&rng, s->user_dim, w->tastes + k * s->user_dim);
        draw_direction(&rng, s->item_dim, w->traits + k * s->item_dim);
    }
    trib_make_features(&rng, s->items * s->item_dim, w->items);
    trib_buf_text(text, "device");
    for (size_t i = 1; i <= s->user_dim; i++)
        trib_buf_printf(text, ",u%zu", i);
    for (size_t i = 1; i <= s->item_dim; i++)
        trib_buf_printf(text, ",i%zu", i);
    trib_buf_text(text, ",click\n");
    for (uint64_t user = 0; user < s->users && !text->failed; user++)
        put_clicks_user(s, w, user, text);
}

static int tell_truth(const struct trib_make *s, struct click_world *w)
{
    struct trib_ranking_scores scores;
    const size_t rows = s->users * s->per_user;
    enum trib_err err = trib_ranking_scores(w->rows, rows, &scores);
    if (!err)
        (void)printf("bayes_accuracy=%.4f bayes_auc=%.4f\n", w->right / (double)rows,
                     scores.roc_auc);
    return (int)trib_exit_of(err);
}

static int make_clicks(const struct trib_make *s)
{
    struct click_world w = {
        .line = trib_alloc_array(s->user_dim + s->item_dim, sizeof(*w.line)),
        .tastes = trib_alloc_array(CLICK_RANK * s->user_dim, sizeof(*w.tastes)),
        .traits = trib_alloc_array(CLICK_RANK * s->item_dim, sizeof(*w.traits)),
        .items = trib_alloc_array(s->items * s->item_dim, sizeof(*w.items)),
        .centre = trib_alloc_array(s->user_dim, sizeof(*w.centre)),
        .user = trib_alloc_array(s->user_dim, sizeof(*w.user)),
        .is_taken = trib_alloc_array(s->items, sizeof(*w.is_taken)),
        .list = trib_alloc_array(s->per_user, sizeof(*w.list)),
        .rows = trib_alloc_array(s->users * s->per_user, sizeof(*w.rows)),
    };
    struct trib_buf text = {.failed = !w.line || !w.tastes || !w.traits || !w.items || !w.centre ||
                                      !w.user || !w.is_taken || !w.list || !w.rows};
    if (!text.failed)
        put_clicks(s, &w, &text);
    int status = trib_make_write(s, &text);
    if (!status)
        status = tell_truth(s, &w);
    free(w.line);
    free(w.tastes);
    free(w.traits);
    free(w.items);
    free(w.centre);
    free(w.user);
    free(w.is_taken);
    free(w.list);
    free(w.rows);
    return status;
}

int trib_make_clicks(const struct trib_command *command, int argc, char **argv)
{
    struct trib_make s = {.users = 1000,
                          .items = 500,
                          .per_user = 50,
                          .user_dim = 8,
                          .item_dim = 8,
                          .devices = 10,
                          .seed = 1};
    const struct trib_option extra[] = {
        {"user-dim", TRIB_OPTION_INT, &s.user_dim, "N", "numbers that describe a user (8)"},
        {"item-dim", TRIB_OPTION_INT, &s.item_dim, "N", "numbers that describe an item (8)"},
        {"devices", TRIB_OPTION_INT, &s.devices, "N", "that the users are dealt out to (10)"},
    };
    int status;
    if (!trib_make_parse(command, extra, 3, &s, argc, argv, &status))
        return status;
    if (!trib_make_check(command->name, "user-dim", s.user_dim, TRIB_MAKE_DIMENSIONS_MAX) ||
        !trib_make_check(command->name, "item-dim", s.item_dim, TRIB_MAKE_DIMENSIONS_MAX) ||
        !trib_make_check(command->name, "devices", s.devices, s.users))
        return TRIB_EXIT_USAGE;
    return make_clicks(&s);
}
