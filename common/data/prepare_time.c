// Steps for times, which are days since 1970-01-01 UTC: time and recency.
#include <math.h>

#include "common/data/prepare_step.h"

static enum trib_err check_times(const struct trib_prepare_parser *p,
                                 const struct trib_prepare_step *step)
{
    for (size_t i = 0; i < step->input_count; i++) {
        const size_t column = step->was[i].column;
        if (column == SIZE_MAX || p->prepare->schema->columns[column].type != TRIB_COLUMN_TIME)
            return trib_prepare_wrong(p, "column '%s' is no time", step->was[i].name);
    }
    return TRIB_OK;
}

// ---- time: where in the day, the week and the year, each as a point on a circle

enum {
    PARTS = 4
};

static const struct trib_prepare_key time_keys[] = {
    TRIB_PREPARE_KEY("hour", TRIB_PREPARE_BOOL, hour, "no", 0, 0, NULL),
    TRIB_PREPARE_KEY("weekday", TRIB_PREPARE_BOOL, weekday, "no", 0, 0, NULL),
    TRIB_PREPARE_KEY("month", TRIB_PREPARE_BOOL, month, "no", 0, 0, NULL),
    TRIB_PREPARE_KEY("yearday", TRIB_PREPARE_BOOL, yearday, "no", 0, 0, NULL),
};

// The parts that are wanted, in their order.
static size_t list_parts(const struct trib_prepare_options *o, size_t ret_parts[static PARTS])
{
    const bool wanted[PARTS] = {o->hour, o->weekday, o->month, o->yearday};
    size_t count = 0;
    for (size_t i = 0; i < PARTS; i++) {
        if (wanted[i])
            ret_parts[count++] = i;
    }
    return count;
}

static enum trib_err settle_time(const struct trib_prepare_parser *p,
                                 struct trib_prepare_step *step)
{
    static const char *const names[PARTS] = {"hour", "weekday", "month", "yearday"};
    const struct trib_variable v = {.column = SIZE_MAX, .min = -1, .max = 1};
    size_t parts[PARTS];
    const size_t count = list_parts(&step->options, parts);
    enum trib_err err = check_times(p, step);
    if (!err && count == 0)
        return trib_prepare_wrong(p, "time wants hour, weekday, month or yearday = yes");
    for (size_t i = 0; !err && i < step->input_count; i++) {
        size_t after = step->inputs[i];
        for (size_t k = 0; !err && k < 2 * count; k++) {
            err = trib_prepare_add(p->prepare, &v, after, "%s %s %s", step->was[i].name,
                                   names[parts[k / 2]], k % 2 ? "cos" : "sin");
            after = p->prepare->variable_count - 1;
        }
        trib_prepare_remove(p->prepare, step->inputs[i]);
    }
    return err;
}

// Days from 1970-01-01 to the first of March of a year, in the proleptic Gregorian calendar.
static double march(double year)
{
    return 365 * year + floor(year / 4) - floor(year / 100) + floor(year / 400) - 719468;
}

// The month (0: January), the day of the year (0: the first) and the year's length.
static void find_date(double days, double *ret_month, double *ret_yearday, double *ret_length)
{
    const double day = floor(days);
    double year = floor((day + 719468) / 365.2425); // years begin in March: off by one at most
    year += day >= march(year + 1);
    year -= day < march(year);
    const double since = day - march(year); // 0: the first of March
    const double month = floor((5 * since + 2) / 153);
    const bool is_late = month >= 10; // January and February of the next year
    const double civil = year + is_late;
    const bool is_leap = (fmod(civil, 4) == 0 && fmod(civil, 100) != 0) || fmod(civil, 400) == 0;
    *ret_month = is_late ? month - 10 : month + 2;
    *ret_yearday = is_late ? since - 306 : since + 59 + is_leap;
    *ret_length = 365 + is_leap;
}

// How far round its circle a time is, in [0, 1).
static double turn(double days, size_t part)
{
    double month, yearday, length;
    const double day = floor(days);
    if (part == 0)
        return days - day;
    if (part == 1)
        return (day + 3 - 7 * floor((day + 3) / 7)) / 7; // 1970-01-01 was a Thursday; 0: Monday
    find_date(days, &month, &yearday, &length);
    return part == 2 ? month / 12 : yearday / length;
}

static bool apply_time(const struct trib_prepare_step *step, void *state,
                       struct trib_prepare_row *row)
{
    (void)state;
    double *output = row->values + step->first_output;
    size_t parts[PARTS];
    const size_t count = list_parts(&step->options, parts);
    for (size_t i = 0; i < step->input_count; i++) {
        const double days = row->values[step->inputs[i]];
        for (size_t k = 0; k < count; k++) {
            const double angle = 2 * M_PI * turn(days, parts[k]);
            *output++ = sin(angle);
            *output++ = cos(angle);
        }
    }
    row->tally->values += step->input_count;
    return true;
}

const struct trib_prepare_kind trib_prepare_time = {
    .name = "time",
    .keys = time_keys,
    .key_count = sizeof(time_keys) / sizeof(time_keys[0]),
    .wants_columns = true,
    .may_use_any_role = true,
    .may_use_number = true,
    .settle = settle_time,
    .apply = apply_time,
};

// ---- recency: old rows count less, and from an age on not at all

static const struct trib_prepare_key recency_keys[] = {
    TRIB_PREPARE_KEY("half_life", TRIB_PREPARE_REAL, half_life, "0", 0, 1e6, NULL),
    TRIB_PREPARE_KEY("ttl", TRIB_PREPARE_REAL, ttl, "0", 0, 1e6, NULL),
    TRIB_PREPARE_KEY("now", TRIB_PREPARE_TEXT, text, "", 0, 0, NULL),
};

static enum trib_err settle_recency(const struct trib_prepare_parser *p,
                                    struct trib_prepare_step *step)
{
    const struct trib_prepare_options *o = &step->options;
    double days;
    if (step->input_count != 1)
        return trib_prepare_wrong(p, "recency wants one column");
    if (o->half_life == 0 && o->ttl == 0)
        return trib_prepare_wrong(p, "recency wants half_life or ttl, in days");
    if (o->text[0] && !trib_schema_time(o->text, &days))
        return trib_prepare_wrong(p, "now wants a date or a time (ISO 8601), not '%s'", o->text);
    step->drops_rows = true;
    return check_times(p, step);
}

// A row whose age is not known may be too old: it goes.
static bool apply_recency(const struct trib_prepare_step *step, void *state,
                          struct trib_prepare_row *row)
{
    (void)state;
    const struct trib_prepare_options *o = &step->options;
    const double at = row->values[step->inputs[0]];
    double now = row->today;
    if (o->text[0])
        (void)trib_schema_time(o->text, &now);
    const double age = at < now ? now - at : 0;
    row->tally->values++;
    if (isnan(at) || (o->ttl > 0 && age > o->ttl))
        return false;
    if (o->half_life > 0)
        row->weight *= exp2(-age / o->half_life);
    return true;
}

const struct trib_prepare_kind trib_prepare_recency = {
    .name = "recency",
    .keys = recency_keys,
    .key_count = sizeof(recency_keys) / sizeof(recency_keys[0]),
    .wants_columns = true,
    .may_use_any_role = true,
    .may_use_local = true,
    .may_use_number = true,
    .settle = settle_recency,
    .apply = apply_recency,
};
