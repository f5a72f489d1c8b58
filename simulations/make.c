#include "simulations/make.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/rand.h"
#include "simulations/make_parts.h"

enum {
    PER_USER = 50,         // unless said otherwise
    RATINGS_PER_USER = 60, // of ratings
};

// ---- bilinear

struct planted {
    double *w;     // (user_dim, item_dim); u^T W i has the variance 1
    double *items; // (items, item_dim)
    double *user;  // (user_dim)
    bool *is_taken;
    uint32_t *list; // (per_user)
};

static void put_bilinear_user(const struct trib_make *s, const struct planted *p, uint64_t number,
                              struct trib_buf *text)
{
    struct trib_rng rng;
    struct trib_make copy = *s;
    trib_rng_init(&rng, s->seed, "make user", number, NULL);
    trib_make_features(&rng, s->user_dim, p->user);
    trib_make_items(s, &rng, trib_make_uniform, &copy, p->is_taken, p->list);
    for (size_t r = 0; r < s->per_user; r++) {
        const double *item = p->items + p->list[r] * s->item_dim;
        double sum = 0;
        for (size_t a = 0; a < s->user_dim; a++) {
            for (size_t b = 0; b < s->item_dim; b++)
                sum += p->user[a] * p->w[a * s->item_dim + b] * item[b];
        }
        trib_buf_printf(text, "%" PRIu64, number);
        trib_make_put(text, p->user, s->user_dim);
        trib_make_put(text, item, s->item_dim);
        trib_buf_printf(text, ",%.4f\n", sum + s->noise * trib_rng_normal(&rng));
    }
}

static void put_bilinear(const struct trib_make *s, const struct planted *p, struct trib_buf *text)
{
    struct trib_rng rng;
    const size_t weights = s->user_dim * s->item_dim;
    trib_rng_init(&rng, s->seed, "make items", 0, NULL);
    for (size_t i = 0; i < weights; i++)
        p->w[i] = trib_rng_normal(&rng) / sqrt((double)weights);
    trib_make_features(&rng, s->items * s->item_dim, p->items);
    trib_buf_text(text, "user");
    for (size_t i = 1; i <= s->user_dim; i++)
        trib_buf_printf(text, ",u%zu", i);
    for (size_t i = 1; i <= s->item_dim; i++)
        trib_buf_printf(text, ",i%zu", i);
    trib_buf_text(text, ",rating\n");
    for (uint64_t user = 0; user < s->users && !text->failed; user++)
        put_bilinear_user(s, p, user, text);
}

int trib_make_bilinear(const struct trib_command *command, int argc, char **argv)
{
    struct trib_make s = {.users = 1000,
                          .items = 10000,
                          .per_user = PER_USER,
                          .user_dim = 20,
                          .item_dim = 30,
                          .noise = 0.1,
                          .seed = 1};
    const struct trib_option extra[] = {
        {"user-dim", TRIB_OPTION_INT, &s.user_dim, "N", "numbers that describe a user (20)"},
        {"item-dim", TRIB_OPTION_INT, &s.item_dim, "N", "numbers that describe an item (30)"},
        {"noise", TRIB_OPTION_REAL, &s.noise, "SD", "standard deviation of the noise"},
    };
    int status;
    if (!trib_make_parse(command, extra, 3, &s, argc, argv, &status))
        return status;
    if (!trib_make_check(command->name, "user-dim", s.user_dim, TRIB_MAKE_DIMENSIONS_MAX) ||
        !trib_make_check(command->name, "item-dim", s.item_dim, TRIB_MAKE_DIMENSIONS_MAX))
        return TRIB_EXIT_USAGE;
    struct planted p = {
        .w = trib_alloc_array(s.user_dim * s.item_dim, sizeof(*p.w)),
        .items = trib_alloc_array(s.items * s.item_dim, sizeof(*p.items)),
        .user = trib_alloc_array(s.user_dim, sizeof(*p.user)),
        .is_taken = trib_alloc_array(s.items, sizeof(*p.is_taken)),
        .list = trib_alloc_array(s.per_user, sizeof(*p.list)),
    };
    struct trib_buf text = {.failed = !p.w || !p.items || !p.user || !p.is_taken || !p.list};
    if (!text.failed)
        put_bilinear(&s, &p, &text);
    free(p.w);
    free(p.items);
    free(p.user);
    free(p.is_taken);
    free(p.list);
    return trib_make_write(&s, &text);
}

// ---- ratings

// Standard deviations of what a rating of mean 3.5 is made of. The factors' part is theirs.
static const double user_bias = 0.4, item_bias = 0.5, taste = 0.7;

struct catalogue {
    size_t items;
    double *running; // (items) sums of the popularity, the last is 1
    double *biases;  // (items)
    double *factors; // (items, rank)
    bool *is_taken;
    uint32_t *list; // (per_user)
};

// Zipf's law with a flat head: the item of rank n has the weight 1 / (n + 10). Which item has which
// rank is drawn.
static void draw_catalogue(const struct trib_make *s, struct catalogue *c, uint32_t *order)
{
    struct trib_rng rng;
    double sum = 0;
    trib_rng_init(&rng, s->seed, "make items", 0, NULL);
    for (size_t i = 0; i < s->items; i++)
        order[i] = (uint32_t)i;
    trib_rng_shuffle(&rng, order, s->items);
    for (size_t i = 0; i < s->items; i++)
        c->running[i] = sum += 1.0 / (order[i] + 10.0);
    for (size_t i = 0; i < s->items; i++) {
        c->running[i] /= sum;
        c->biases[i] = item_bias * trib_rng_normal(&rng);
    }
    for (size_t i = 0; i < s->items * s->rank; i++)
        c->factors[i] = trib_rng_normal(&rng);
}

static size_t next_popular(void *user, struct trib_rng *rng)
{
    const struct catalogue *c = user;
    const double place = trib_rng_real(rng);
    size_t low = 0, high = c->items - 1;
    while (low < high) { // the first whose sum is above the place
        const size_t middle = (low + high) / 2;
        if (c->running[middle] > place)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void put_ratings_user(const struct trib_make *s, struct catalogue *c, double *user,
                             uint64_t number, struct trib_buf *text)
{
    struct trib_rng rng;
    trib_rng_init(&rng, s->seed, "make user", number, NULL);
    const double bias = user_bias * trib_rng_normal(&rng);
    for (size_t k = 0; k < s->rank; k++)
        user[k] = taste * trib_rng_normal(&rng) / sqrt((double)s->rank);
    trib_make_items(s, &rng, next_popular, c, c->is_taken, c->list);
    for (size_t r = 0; r < s->per_user; r++) {
        const uint32_t item = c->list[r];
        double rating = 3.5 + bias + c->biases[item] + s->noise * trib_rng_normal(&rng);
        for (size_t k = 0; k < s->rank; k++)
            rating += user[k] * c->factors[item * s->rank + k];
        rating = fmin(fmax(round(rating), 1), 5);
        trib_buf_printf(text, "%" PRIu64 ",%" PRIu32 ",%.0f\n", number, item, rating);
    }
}

static void put_ratings(const struct trib_make *s, struct catalogue *c, uint32_t *order,
                        double *user, struct trib_buf *text)
{
    draw_catalogue(s, c, order);
    trib_buf_text(text, "user,item,rating\n");
    for (uint64_t number = 0; number < s->users && !text->failed; number++)
        put_ratings_user(s, c, user, number, text);
}

int trib_make_ratings(const struct trib_command *command, int argc, char **argv)
{
    struct trib_make s = {.users = 1000,
                          .items = 500,
                          .per_user = RATINGS_PER_USER,
                          .rank = 4,
                          .noise = 0.4,
                          .seed = 1};
    const struct trib_option extra[] = {
        {"rank", TRIB_OPTION_INT, &s.rank, "N", "factors of a user and of an item (4)"},
        {"noise", TRIB_OPTION_REAL, &s.noise, "SD", "standard deviation of the noise"},
    };
    int status;
    if (!trib_make_parse(command, extra, 2, &s, argc, argv, &status))
        return status;
    if (!trib_make_check(command->name, "rank", s.rank, TRIB_MAKE_DIMENSIONS_MAX))
        return TRIB_EXIT_USAGE;
    struct catalogue c = {
        .items = s.items,
        .running = trib_alloc_array(s.items, sizeof(*c.running)),
        .biases = trib_alloc_array(s.items, sizeof(*c.biases)),
        .factors = trib_alloc_array(s.items * s.rank, sizeof(*c.factors)),
        .is_taken = trib_alloc_array(s.items, sizeof(*c.is_taken)),
        .list = trib_alloc_array(s.per_user, sizeof(*c.list)),
    };
    uint32_t *order = trib_alloc_array(s.items, sizeof(*order));
    double *user = trib_alloc_array(s.rank, sizeof(*user));
    struct trib_buf text = {.failed = !c.running || !c.biases || !c.factors || !c.is_taken ||
                                      !c.list || !order || !user};
    if (!text.failed)
        put_ratings(&s, &c, order, user, &text);
    free(c.running);
    free(c.biases);
    free(c.factors);
    free(c.is_taken);
    free(c.list);
    free(order);
    free(user);
    return trib_make_write(&s, &text);
}
