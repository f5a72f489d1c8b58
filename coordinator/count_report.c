#include "coordinator/count_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "common/base/json.h"
#include "common/math/counters.h"

enum {
    GROUPS_SHOWN = 16, // with all counters and versions they fit a report
    ARM_NAME_SIZE = TRIB_NAME_MAX + 16,
};

struct arm {
    char name[ARM_NAME_SIZE];
    double devices;
    struct trib_arm total;
};

static void put(const struct trib_counter *counter, const char *arm, const struct trib_arm *total,
                double devices, double value, struct trib_interval interval, struct trib_buf *json)
{
    char name[TRIB_COUNTER_NAME_SIZE + 2 * ARM_NAME_SIZE + 8];
    (void)snprintf(name, sizeof(name), "%s: %s", counter->name, arm);
    trib_json_open(json, NULL, '{');
    trib_json_text(json, "name", name);
    trib_json_real(json, "devices", devices);
    trib_json_real(json, "n", total->n);
    trib_json_real(json, "value", value);
    trib_json_real(json, "low", interval.low);
    trib_json_real(json, "high", interval.high);
    trib_json_close(json, '}');
}

static const struct trib_interval none = {(double)NAN, (double)NAN};

static void put_arm(const struct trib_counter *counter, const struct arm *arm, bool is_exact,
                    struct trib_buf *json)
{
    put(counter, arm->name, &arm->total, arm->devices, trib_arm_value(&arm->total),
        is_exact ? trib_arm_interval(counter, &arm->total) : none, json);
}

static void put_difference(const struct trib_counter *counter, const struct arm *arm,
                           const struct arm *from, bool is_exact, struct trib_buf *json)
{
    char name[2 * ARM_NAME_SIZE + 4];
    struct trib_arm both = arm->total;
    trib_arm_add(&both, &from->total);
    (void)snprintf(name, sizeof(name), "%s - %s", arm->name, from->name);
    put(counter, name, &both, arm->devices + from->devices,
        trib_arm_value(&arm->total) - trib_arm_value(&from->total),
        is_exact ? trib_arm_difference(counter, &arm->total, &from->total) : none, json);
}

static struct arm arm_of(const struct trib_counter_list *counters, const double *values,
                         size_t version, size_t counter)
{
    const double *at = values + trib_counters_place(counters, version, counter);
    return (struct arm){.devices = values[trib_counters_place(counters, version, 0) - 1],
                        .total = {at[0], at[1], at[2]}};
}

// The versions that anything was counted under, the newest first; how many.
static size_t versions_of(const struct trib_counter_list *counters, const double *values,
                          uint64_t newest, size_t counter, struct arm *arms)
{
    size_t count = 0;
    for (size_t v = 0; v < TRIB_COUNTER_VERSIONS && v < newest; v++) {
        arms[count] = arm_of(counters, values, v, counter);
        (void)snprintf(arms[count].name, sizeof(arms[count].name), "version %" PRIu64, newest - v);
        count += arms[count].total.n > 0;
    }
    return count;
}

// A device that counted under several versions is one of each of them.
static struct arm group_of(const struct trib_counter_list *counters,
                           const struct trib_tally_slice *slice, size_t counter)
{
    struct arm sum = {.devices = 0};
    (void)snprintf(sum.name, sizeof(sum.name), "group %s", slice->group);
    for (size_t v = 0; v < TRIB_COUNTER_VERSIONS; v++) {
        const struct arm arm = arm_of(counters, slice->values, v, counter);
        sum.devices = fmax(sum.devices, arm.devices);
        trib_arm_add(&sum.total, &arm.total);
    }
    return sum;
}

static void put_counter(const struct trib_job *job, const double *values,
                        const struct trib_tally_base *base, size_t c, struct trib_buf *json)
{
    const struct trib_counter_list *counters = &job->counters;
    const struct trib_counter *counter = &counters->list[c];
    const bool is_exact = job->config.privacy_mode == TRIB_PRIVACY_OFF;
    struct arm versions[TRIB_COUNTER_VERSIONS];
    struct arm groups[GROUPS_SHOWN];
    const size_t count = versions_of(counters, values, base->version, c, versions);
    size_t group_count = 0;
    for (size_t g = 0; g < base->slice_count && group_count < GROUPS_SHOWN; g++) {
        groups[group_count] = group_of(counters, &base->slices[g], c);
        group_count += groups[group_count].total.n > 0;
    }
    for (size_t v = 0; v < count; v++)
        put_arm(counter, &versions[v], is_exact, json);
    for (size_t g = 0; g < group_count; g++)
        put_arm(counter, &groups[g], is_exact, json);
    for (size_t v = 0; v + 1 < count; v++)
        put_difference(counter, &versions[v], &versions[v + 1], is_exact, json);
    for (size_t g = 1; g < group_count; g++)
        put_difference(counter, &groups[g], &groups[0], is_exact, json);
}

void trib_count_report(const struct trib_job *job, const double *values,
                       const struct trib_tally_base *base, struct trib_buf *json)
{
    trib_json_open(json, NULL, '{');
    trib_json_uint(json, "version", base->version);
    trib_json_open(json, "counters", '[');
    for (size_t c = 0; c < job->counters.count; c++)
        put_counter(job, values, base, c, json);
    trib_json_close(json, ']');
    trib_json_close(json, '}');
}
