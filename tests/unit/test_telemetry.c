#include "coordinator/telemetry.h"
#include "tests/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *print(const struct trib_telemetry *telemetry)
{
    static struct trib_buf out;
    trib_buf_fini(&out);
    out = (struct trib_buf){0};
    trib_telemetry_print(telemetry, &out);
    assert_false(out.failed);
    return (const char *)out.data;
}

// The value of a sample by its name and labels, which stand at the beginning of a line.
static double sample(const char *text, const char *name)
{
    const size_t size = strlen(name);
    const char *found = NULL;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, size) == 0 && line[size] == ' ') {
            assert_null(found); // each sample is there once
            found = line + size;
        }
    }
    if (!found)
        fail_msg("no sample %s", name);
    char *end;
    const double value = strtod(found, &end);
    assert_int_equal(*end, '\n');
    return value;
}

static void each_field_goes_to_its_sample(void **state)
{
    (void)state;
    struct trib_telemetry t = {.uploads_in_flight = 3, .epsilon = 0.1, .free_disk_bytes = 1u << 30};
    t.counters.accepted = 7;
    t.counters.closed[TRIB_CLOSE_BAD_MAC] = 5;
    t.counters.receipts[TRIB_CODE_NORM] = 11;
    t.counters.receipts[TRIB_CODE_RETRY_LATER] = 12;
    t.counters.declined[TRIB_CODE_DECLINED_PLAN] = 13;
    t.counters.install_refused[TRIB_CODE_MODEL_PIPELINE] = 14;
    t.counters.keys_refused[TRIB_CODE_KEYS_GAP] = 15;
    t.counters.abandoned[TRIB_ROUND_REASON_STORAGE] = 15;
    t.counters.phase_us[TRIB_PHASE_COMMIT] = 1500000;
    const char *text = print(&t);
    char name[128];
    assert_true(sample(text, "tributary_connections_accepted_total") == 7);
    (void)snprintf(name, sizeof(name), "tributary_connections_closed_total{reason=\"%s\"}",
                   trib_close_reason_text(TRIB_CLOSE_BAD_MAC));
    assert_true(sample(text, name) == 5);
    assert_true(sample(text, "tributary_upload_receipts_total{code=\"NORM\"}") == 11);
    assert_true(sample(text, "tributary_upload_receipts_total{code=\"RETRY_LATER\"}") == 12);
    assert_true(sample(text, "tributary_upload_receipts_total{code=\"ACCEPTED\"}") == 0);
    assert_true(sample(text, "tributary_tasks_declined_total{code=\"DECLINED_PLAN\"}") == 13);
    assert_true(sample(text, "tributary_installs_refused_total{code=\"MODEL_PIPELINE\"}") == 14);
    assert_true(sample(text, "tributary_keys_refused_total{code=\"KEYS_GAP\"}") == 15);
    assert_true(sample(text, "tributary_rounds_abandoned_total{reason=\"storage\"}") == 15);
    assert_true(sample(text, "tributary_round_phase_seconds_total{phase=\"commit\"}") == 1.5);
    assert_true(sample(text, "tributary_inflight_uploads") == 3);
    assert_true(sample(text, "tributary_job_epsilon") == 0.1);
    assert_true(sample(text, "tributary_free_disk_bytes") == 1073741824.0);
    assert_true(sample(text, "tributary_build_info{version=\"" TRIB_VERSION_TEXT "\"}") == 1);
}

// Whatever is counted by a code or reason can be seen: nothing falls out of a label's list.
static void labels_cover_their_lists(void **state)
{
    (void)state;
    const char *text = print(&(const struct trib_telemetry){.version = 1});
    char name[128];
    assert_null(strstr(text, "phase=\"unknown\"")); // of lists that end too late
    assert_null(strstr(text, "abandoned_total{reason=\"unknown\""));
    assert_null(strstr(text, "\"UNKNOWN\""));
    for (int i = 0; i < TRIB_CLOSE_REASONS; i++) {
        (void)snprintf(name, sizeof(name), "tributary_connections_closed_total{reason=\"%s\"}",
                       trib_close_reason_text((enum trib_close_reason)i));
        assert_true(sample(text, name) == 0);
    }
    for (int i = 1; i < TRIB_CODE_MAX; i++) {
        if (!trib_code_is_known((uint32_t)i) || i == TRIB_CODE_MODEL_INSTALLED)
            continue;
        const char *metric = i < TRIB_CODE_DECLINED_NO_DATA  ? "upload_receipts"
                             : i < TRIB_CODE_MODEL_INSTALLED ? "tasks_declined"
                             : i < TRIB_CODE_KEYS_OLD        ? "installs_refused"
                                                             : "keys_refused";
        (void)snprintf(name, sizeof(name), "tributary_%s_total{code=\"%s\"}", metric,
                       trib_code_text((enum trib_code)i));
        assert_true(sample(text, name) == 0);
    }
}

static void latencies_add_up(void **state)
{
    (void)state;
    struct trib_telemetry t = {.version = 1};
    struct trib_latency *l = &t.commits[TRIB_COMMIT_LEDGER];
    trib_latency_add(l, 1000);     // on the first bound
    trib_latency_add(l, 1001);     // behind it
    trib_latency_add(l, 240000);   //
    trib_latency_add(l, 60000000); // longer than the last one
    const char *text = print(&t);
    assert_true(sample(text, "tributary_commit_seconds_bucket{part=\"ledger\",le=\"0.001\"}") == 1);
    assert_true(sample(text, "tributary_commit_seconds_bucket{part=\"ledger\",le=\"0.0025\"}") ==
                2);
    assert_true(sample(text, "tributary_commit_seconds_bucket{part=\"ledger\",le=\"0.1\"}") == 2);
    assert_true(sample(text, "tributary_commit_seconds_bucket{part=\"ledger\",le=\"0.25\"}") == 3);
    assert_true(sample(text, "tributary_commit_seconds_bucket{part=\"ledger\",le=\"5\"}") == 3);
    assert_true(sample(text, "tributary_commit_seconds_bucket{part=\"ledger\",le=\"+Inf\"}") == 4);
    assert_true(sample(text, "tributary_commit_seconds_count{part=\"ledger\"}") == 4);
    assert_true(sample(text, "tributary_commit_seconds_sum{part=\"ledger\"}") == 60.242001);
    assert_true(sample(text, "tributary_commit_seconds_count{part=\"files\"}") == 0);
}

static void every_state_of_a_round_is_a_phase_with_a_name(void **state)
{
    (void)state;
    bool seen[TRIB_PHASES] = {false};
    for (int i = TRIB_ROUND_PLANNED; i <= TRIB_ROUND_UNMASKING; i++)
        seen[trib_phase_of((enum trib_round_state)i)] = true;
    for (int i = 0; i < TRIB_PHASES; i++) {
        assert_true(seen[i] || i == TRIB_PHASE_EVALUATE); // which is a part of aggregating
        for (int j = 0; j < i; j++)
            assert_string_not_equal(trib_phase_text((enum trib_phase)i),
                                    trib_phase_text((enum trib_phase)j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_goes_to_its_sample),
        cmocka_unit_test(labels_cover_their_lists),
        cmocka_unit_test(latencies_add_up),
        cmocka_unit_test(every_state_of_a_round_is_a_phase_with_a_name),
    };
    return RUN_TESTS(tests);
}
