#include "simulations/make_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"

enum {
    ENTITIES_MAX = 1000000, // users, items
    ROWS_MAX = 20000000,
};

bool trib_make_check(const char *command, const char *option, uint64_t value, uint64_t max)
{
    if (value >= 1 && value <= max)
        return true;
    (void)fprintf(stderr, "%s: --%s %" PRIu64 ": want 1 to %" PRIu64 "\n", command, option, value,
                  max);
    return false;
}

static bool check(const char *command, const struct trib_make *s)
{
    if (!s->out) {
        (void)fprintf(stderr, "%s: --out FILE is missing\n", command);
        return false;
    }
    if (!(s->noise >= 0 && s->noise <= 1000)) {
        (void)fprintf(stderr, "%s: --noise %g: want 0 to 1000\n", command, s->noise);
        return false;
    }
    return trib_make_check(command, "users", s->users, ENTITIES_MAX) &&
           trib_make_check(command, "items", s->items, ENTITIES_MAX) &&
           trib_make_check(command, "per-user", s->per_user,
                           s->items < ROWS_MAX / s->users ? s->items : ROWS_MAX / s->users);
}

bool trib_make_parse(const struct trib_command *command, const struct trib_option *extra,
                     size_t extra_count, struct trib_make *s, int argc, char **argv,
                     int *ret_status)
{
    struct trib_option options[16] = {
        {"users", TRIB_OPTION_INT, &s->users, "N", "people"},
        {"items", TRIB_OPTION_INT, &s->items, "N", "things"},
        {"per-user", TRIB_OPTION_INT, &s->per_user, "N", "ratings of each user"},
        {"seed", TRIB_OPTION_INT, &s->seed, "N", "of everything that is drawn (1)"},
        {"out", TRIB_OPTION_TEXT, &s->out, "FILE", "the CSV file to write"},
    };
    memcpy(options + 5, extra, extra_count * sizeof(*extra));
    const struct trib_usage usage = {
        .command = command, .options = options, .option_count = 5 + extra_count};
    int count;
    if (!trib_args_parse(&usage, argc, argv, &count, ret_status))
        return false;
    *ret_status = TRIB_EXIT_USAGE;
    return check(command->name, s);
}

int trib_make_write(const struct trib_make *s, struct trib_buf *text)
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
void trib_make_items(const struct trib_make *s, struct trib_rng *rng,
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

size_t trib_make_uniform(void *user, struct trib_rng *rng)
{
    const struct trib_make *s = user;
    return (size_t)trib_rng_below(rng, s->items);
}

// Standard normal numbers with three decimals: what stands in the file is what counts.
void trib_make_features(struct trib_rng *rng, size_t count, double *ret_values)
{
    for (size_t i = 0; i < count; i++)
        ret_values[i] = round(1000 * trib_rng_normal(rng)) / 1000;
}

void trib_make_put(struct trib_buf *text, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        trib_buf_printf(text, ",%.3f", values[i]);
}
