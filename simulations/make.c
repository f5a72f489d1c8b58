#include "simulations/make.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/rand.h"

struct settings {
    uint64_t users, items, per_user, seed;
    uint64_t user_dim, item_dim; // bilinear: numbers of a user and of an item
    uint64_t rank;               // ratings: factors of a user and of an item
    double noise;                // standard deviation
    const char *out;
};

enum {
    ENTITIES_MAX = 1000000, // users, items
    ROWS_MAX = 20000000,
    DIMENSIONS_MAX = 4096,
    PER_USER = 50,         // unless said otherwise
    RATINGS_PER_USER = 60, // of ratings
};

// ---- What both have

static bool check_range(const char *command, const char *option, uint64_t value, uint64_t max)
{
    if (value >= 1 && value <= max)
        return true;
    (void)fprintf(stderr, "%s: --%s %" PRIu64 ": want 1 to %" PRIu64 "\n", command, option, value,
                  max);
    return false;
}

static bool check(const char *command, const struct settings *s)
{
    if (!s->out) {
        (void)fprintf(stderr, "%s: --out FILE is missing\n", command);
        return false;
    }
    if (!(s->noise >= 0 && s->noise <= 1000)) {
        (void)fprintf(stderr, "%s: --noise %g: want 0 to 1000\n", command, s->noise);
        return false;
    }
    return check_range(command, "users", s->users, ENTITIES_MAX) &&
           check_range(command, "items", s->items, ENTITIES_MAX) &&
           check_range(command, "per-user", s->per_user,
                       s->items < ROWS_MAX / s->users ? s->items : ROWS_MAX / s->users);
}

static bool parse(const struct trib_command *command, const struct trib_option *extra,
                  size_t extra_count, struct settings *s, int argc, char **argv, int *ret_status)
{
    struct trib_option options[16] = {
        {"users", TRIB_OPTION_INT, &s->users, "N", "people"},
        {"items", TRIB_OPTION_INT, &s->items, "N", "things"},
        {"per-user", TRIB_OPTION_INT, &s->per_user, "N", "ratings of each user"},
        {"noise", TRIB_OPTION_REAL, &s->noise, "SD", "standard deviation of the noise"},
        {"seed", TRIB_OPTION_INT, &s->seed, "N", "of everything that is drawn (1)"},
        {"out", TRIB_OPTION_TEXT, &s->out, "FILE", "the CSV file to write"},
    };
    memcpy(options + 6, extra, extra_count * sizeof(*extra));
    const struct trib_usage usage = {
        .command = command, .options = options, .option_count = 6 + extra_count};
    int count;
    if (!trib_args_parse(&usage, argc, argv, &count, ret_status))
        return false;
    *ret_status = TRIB_EXIT_USAGE;
    return check(command->name, s);
}

static int write_file(const struct settings *s, struct trib_buf *text)
{
    enum trib_err err =
        text->failed ? TRIB_ERR_NOMEM : trib_file_write(s->out, text->data, text->size, 0644);
    trib_buf_fini(text);
    if (!err)
        (void)printf("%s\n", s->out);
    return (int)trib_exit_of(err);
}

// `per_user` different items of the `items` there are. `next` draws one; `is_taken` (items) is
// all false before and after.
static void draw_items(const struct settings *s, struct trib_rng *rng,
                       size_t (*next)(void *user, struct trib_rng *rng), void *user, bool *is_taken,
                       uint32_t *ret_items)
{
    for (size_t i = 0; i < s->per_user;) {
        const size_t item = next(user, rng);
        if (is_taken[item])
            continue;
        is_taken[item] = true;
        ret_items[i++] = (uint32_t)item;
    }
    for (size_t i = 0; i < s->per_user; i++)
        is_taken[ret_items[i]] = false;
}

// ---- bilinear

static size_t next_uniform(void *user, struct trib_rng *rng)
{
    const struct settings *s = user;
    return (size_t)trib_rng_below(rng, s->items);
}

// Standard normal numbers with three decimals: what stands in the file is what counts.
static void draw_features(struct trib_rng *rng, size_t count, double *ret_values)
{
    for (size_t i = 0; i < count; i++)
        ret_values[i] = round(1000 * trib_rng_normal(rng)) / 1000;
}

static void put_features(struct trib_buf *text, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        trib_buf_printf(text, ",%.3f", values[i]);
}

struct planted {
    double *w;     // (user_dim, item_dim); u^T W i has the variance 1
    double *items; // (items, item_dim)
    double *user;  // (user_dim)
    bool *is_taken;
    uint32_t *list; // (per_user)
};

static void put_bilinear_user(const struct settings *s, const struct planted *p, uint64_t number,
                              struct trib_buf *text)
{
    struct trib_rng rng;
    struct settings copy = *s;
    trib_rng_init(&rng, s->seed, "make user", number, NULL);
    draw_features(&rng, s->user_dim, p->user);
    draw_items(s, &rng, next_uniform, &copy, p->is_taken, p->list);
    for (size_t r = 0; r < s->per_user; r++) {
        const double *item = p->items + p->list[r] * s->item_dim;
        double sum = 0;
        for (size_t a = 0; a < s->user_dim; a++) {
            for (size_t b = 0; b < s->item_dim; b++)
                sum += p->user[a] * p->w[a * s->item_dim + b] * item[b];
        }
        trib_buf_printf(text, "%" PRIu64, number);
        put_features(text, p->user, s->user_dim);
        put_features(text, item, s->item_dim);
        trib_buf_printf(text, ",%.4f\n", sum + s->noise * trib_rng_normal(&rng));
    }
}

static void put_bilinear(const struct settings *s, const struct planted *p, struct trib_buf *text)
{
    struct trib_rng rng;
    const size_t weights = s->user_dim * s->item_dim;
    trib_rng_init(&rng, s->seed, "make items", 0, NULL);
    for (size_t i = 0; i < weights; i++)
        p->w[i] = trib_rng_normal(&rng) / sqrt((double)weights);
    draw_features(&rng, s->items * s->item_dim, p->items);
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
    struct settings s = {.users = 1000,
                         .items = 10000,
                         .per_user = PER_USER,
                         .user_dim = 20,
                         .item_dim = 30,
                         .noise = 0.1,
                         .seed = 1};
    const struct trib_option extra[] = {
        {"user-dim", TRIB_OPTION_INT, &s.user_dim, "N", "numbers that describe a user (20)"},
        {"item-dim", TRIB_OPTION_INT, &s.item_dim, "N", "numbers that describe an item (30)"},
    };
    int status;
    if (!parse(command, extra, 2, &s, argc, argv, &status))
        return status;
    if (!check_range(command->name, "user-dim", s.user_dim, DIMENSIONS_MAX) ||
        !check_range(command->name, "item-dim", s.item_dim, DIMENSIONS_MAX))
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
    return write_file(&s, &text);
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
static void draw_catalogue(const struct settings *s, struct catalogue *c, uint32_t *order)
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

static void put_ratings_user(const struct settings *s, struct catalogue *c, double *user,
                             uint64_t number, struct trib_buf *text)
{
    struct trib_rng rng;
    trib_rng_init(&rng, s->seed, "make user", number, NULL);
    const double bias = user_bias * trib_rng_normal(&rng);
    for (size_t k = 0; k < s->rank; k++)
        user[k] = taste * trib_rng_normal(&rng) / sqrt((double)s->rank);
    draw_items(s, &rng, next_popular, c, c->is_taken, c->list);
    for (size_t r = 0; r < s->per_user; r++) {
        const uint32_t item = c->list[r];
        double rating = 3.5 + bias + c->biases[item] + s->noise * trib_rng_normal(&rng);
        for (size_t k = 0; k < s->rank; k++)
            rating += user[k] * c->factors[item * s->rank + k];
        rating = fmin(fmax(round(rating), 1), 5);
        trib_buf_printf(text, "%" PRIu64 ",%" PRIu32 ",%.0f\n", number, item, rating);
    }
}

static void put_ratings(const struct settings *s, struct catalogue *c, uint32_t *order,
                        double *user, struct trib_buf *text)
{
    draw_catalogue(s, c, order);
    trib_buf_text(text, "user,item,rating\n");
    for (uint64_t number = 0; number < s->users && !text->failed; number++)
        put_ratings_user(s, c, user, number, text);
}

int trib_make_ratings(const struct trib_command *command, int argc, char **argv)
{
    struct settings s = {.users = 1000,
                         .items = 500,
                         .per_user = RATINGS_PER_USER,
                         .rank = 4,
                         .noise = 0.4,
                         .seed = 1};
    const struct trib_option extra[] = {
        {"rank", TRIB_OPTION_INT, &s.rank, "N", "factors of a user and of an item (4)"},
    };
    int status;
    if (!parse(command, extra, 1, &s, argc, argv, &status))
        return status;
    if (!check_range(command->name, "rank", s.rank, DIMENSIONS_MAX))
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
    return write_file(&s, &text);
}
