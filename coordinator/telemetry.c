#include "coordinator/telemetry.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>

const char *trib_phase_text(enum trib_phase phase)
{
    switch (phase) {
    case TRIB_PHASE_SELECT: return "select";
    case TRIB_PHASE_KEYS: return "keys";
    case TRIB_PHASE_COLLECT: return "collect";
    case TRIB_PHASE_SEAL: return "seal";
    case TRIB_PHASE_UNMASK: return "unmask";
    case TRIB_PHASE_AGGREGATE: return "aggregate";
    case TRIB_PHASE_EVALUATE: return "evaluate";
    case TRIB_PHASE_COMMIT: return "commit";
    case TRIB_PHASES: break;
    }
    return "unknown";
}

enum trib_phase trib_phase_of(enum trib_round_state state)
{
    switch (state) {
    case TRIB_ROUND_PLANNED:
    case TRIB_ROUND_SELECTING: return TRIB_PHASE_SELECT;
    case TRIB_ROUND_KEYS:
    case TRIB_ROUND_SHARES: return TRIB_PHASE_KEYS;
    case TRIB_ROUND_COLLECTING: return TRIB_PHASE_COLLECT;
    case TRIB_ROUND_SEALED: return TRIB_PHASE_SEAL;
    case TRIB_ROUND_CONSISTENCY:
    case TRIB_ROUND_UNMASKING: return TRIB_PHASE_UNMASK;
    case TRIB_ROUND_AGGREGATING: return TRIB_PHASE_AGGREGATE;
    case TRIB_ROUND_COMMITTED:
    case TRIB_ROUND_ABANDONED: break;
    }
    return TRIB_PHASE_COMMIT;
}

// ---- The table

static const char *reason_text(int value)
{
    return trib_close_reason_text((enum trib_close_reason)value);
}

static const char *code_text(int value)
{
    return trib_code_text((enum trib_code)value);
}

static const char *abandon_text(int value)
{
    return trib_round_reason_name((enum trib_round_reason)value);
}

static const char *phase_text(int value)
{
    return trib_phase_text((enum trib_phase)value);
}

static const char *part_text(int value)
{
    return value == TRIB_COMMIT_FILES ? "files" : "ledger";
}

static const char *version_text(int value)
{
    (void)value;
    return TRIB_VERSION_TEXT;
}

enum form {
    FORM_COUNT,   // uint64_t
    FORM_REAL,    // double
    FORM_SECONDS, // uint64_t microseconds
    FORM_LATENCY, // struct trib_latency
    FORM_ONE,     // 1, whatever there is
};

static const size_t form_sizes[] = {[FORM_COUNT] = sizeof(uint64_t),
                                    [FORM_REAL] = sizeof(double),
                                    [FORM_SECONDS] = sizeof(uint64_t),
                                    [FORM_LATENCY] = sizeof(struct trib_latency),
                                    [FORM_ONE] = 0};

// With a label, an array of `form`: a sample for each index from `first` to before `end`.
struct metric {
    const char *name, *type, *help;
    enum form form;
    size_t at;
    const char *label; // NULL: one sample
    int first, end;
    const char *(*text)(int value); // of the label
};

#define AT(field) offsetof(struct trib_telemetry, field)

static const struct metric metrics[] = {
    {"tributary_build_info", "gauge", "Always 1; the label says which build this is.", FORM_ONE, 0,
     "version", 0, 1, version_text},
    {"tributary_start_time_seconds", "gauge", "When the process began, since 1970.", FORM_REAL,
     AT(started_s), NULL, 0, 0, NULL},
    {"tributary_connections_accepted_total", "counter", "Connections to the fleet port.",
     FORM_COUNT, AT(counters.accepted), NULL, 0, 0, NULL},
    {"tributary_connections_closed_total", "counter", "Connections that ended, by why.", FORM_COUNT,
     AT(counters.closed), "reason", 0, TRIB_CLOSE_REASONS, reason_text},
    {"tributary_open_connections", "gauge", "Connections that are open.", FORM_COUNT,
     AT(counters.open), NULL, 0, 0, NULL},
    {"tributary_received_bytes_total", "counter", "Bytes from devices.", FORM_COUNT,
     AT(received_bytes), NULL, 0, 0, NULL},
    {"tributary_sent_bytes_total", "counter", "Bytes to devices.", FORM_COUNT, AT(sent_bytes), NULL,
     0, 0, NULL},
    {"tributary_unknown_records_total", "counter", "Records of a type that is not known.",
     FORM_COUNT, AT(counters.unknown_records), NULL, 0, 0, NULL},
    {"tributary_keys_in_two_places_total", "counter",
     "Sessions that were alive when a newer one of their key began.", FORM_COUNT,
     AT(counters.twins), NULL, 0, 0, NULL},
    {"tributary_commands_refused_total", "counter",
     "Commands of tributaryctl by users who have not the role.", FORM_COUNT,
     AT(counters.commands_refused), NULL, 0, 0, NULL},
    {"tributary_known_devices", "gauge", "Devices that are enrolled, revoked ones included.",
     FORM_COUNT, AT(devices_known), NULL, 0, 0, NULL},
    {"tributary_connected_devices", "gauge", "Devices that are connected and ready.", FORM_COUNT,
     AT(devices_connected), NULL, 0, 0, NULL},
    {"tributary_current_devices", "gauge", "Of those, devices that have the newest version.",
     FORM_COUNT, AT(devices_current), NULL, 0, 0, NULL},
    {"tributary_uploads_begun_total", "counter", "Uploads that devices began.", FORM_COUNT,
     AT(counters.begins), NULL, 0, 0, NULL},
    {"tributary_upload_receipts_total", "counter", "Answers to uploads, by code.", FORM_COUNT,
     AT(counters.receipts), "code", TRIB_CODE_ACCEPTED, TRIB_CODE_RETRY_LATER + 1, code_text},
    {"tributary_uploads_cut_total", "counter", "Uploads that ended before their receipt.",
     FORM_COUNT, AT(counters.cut), NULL, 0, 0, NULL},
    {"tributary_inflight_uploads", "gauge", "Uploads that have no receipt yet.", FORM_COUNT,
     AT(uploads_in_flight), NULL, 0, 0, NULL},
    {"tributary_tasks_declined_total", "counter", "Tasks that devices did not take, by code.",
     FORM_COUNT, AT(counters.declined), "code", TRIB_CODE_DECLINED_NO_DATA,
     TRIB_CODE_DECLINED_PLAN + 1, code_text},
    {"tributary_installs_refused_total", "counter", "Versions that devices did not take, by code.",
     FORM_COUNT, AT(counters.install_refused), "code", TRIB_CODE_MODEL_OLDER,
     TRIB_CODE_MODEL_PIPELINE + 1, code_text},
    {"tributary_keys_refused_total", "counter",
     "Statements of other keys that devices did not follow, by code.", FORM_COUNT,
     AT(counters.keys_refused), "code", TRIB_CODE_KEYS_OLD, TRIB_CODE_KEYS_SIGNATURE + 1,
     code_text},
    {"tributary_rounds_committed_total", "counter", "Rounds that were committed.", FORM_COUNT,
     AT(counters.committed), NULL, 0, 0, NULL},
    {"tributary_rounds_abandoned_total", "counter", "Rounds that were abandoned, by why.",
     FORM_COUNT, AT(counters.abandoned), "reason", TRIB_ROUND_REASON_NONE + 1, TRIB_ROUND_REASONS,
     abandon_text},
    {"tributary_round_phase_seconds_total", "counter",
     "Time that rounds which have ended spent in a phase.", FORM_SECONDS, AT(counters.phase_us),
     "phase", 0, TRIB_PHASES, phase_text},
    {"tributary_round_asked_devices", "gauge", "Devices asked in the open round.", FORM_COUNT,
     AT(round_asked), NULL, 0, 0, NULL},
    {"tributary_round_counted_devices", "gauge", "Devices counted in the open round.", FORM_COUNT,
     AT(round_counted), NULL, 0, 0, NULL},
    {"tributary_active_jobs", "gauge", "Jobs that are being worked on, 0 or 1.", FORM_COUNT,
     AT(jobs_active), NULL, 0, 0, NULL},
    {"tributary_job_rounds", "gauge", "Rounds of the job that are over.", FORM_COUNT,
     AT(job_rounds), NULL, 0, 0, NULL},
    {"tributary_job_target_rounds", "gauge", "Rounds that the job asks for.", FORM_COUNT,
     AT(job_target_rounds), NULL, 0, 0, NULL},
    {"tributary_job_epsilon", "gauge", "Epsilon spent by the job, at its delta.", FORM_REAL,
     AT(epsilon), NULL, 0, 0, NULL},
    {"tributary_job_pure_epsilon", "gauge", "Pure epsilon spent by the job.", FORM_REAL,
     AT(epsilon_pure), NULL, 0, 0, NULL},
    {"tributary_job_target_epsilon", "gauge", "Epsilon that the job may spend; 0 without privacy.",
     FORM_REAL, AT(target_epsilon), NULL, 0, 0, NULL},
    {"tributary_job_delta_ratio", "gauge", "The delta of both.", FORM_REAL, AT(delta), NULL, 0, 0,
     NULL},
    {"tributary_model_version", "gauge", "Number of the newest version.", FORM_COUNT, AT(version),
     NULL, 0, 0, NULL},
    {"tributary_commit_seconds", "histogram",
     "How long a group commit waited: for files to be synced, for the ledger's transaction.",
     FORM_LATENCY, AT(commits), "part", 0, TRIB_COMMIT_PARTS, part_text},
    {"tributary_free_disk_bytes", "gauge", "Room on the disk of the coordinator's directory.",
     FORM_COUNT, AT(free_disk_bytes), NULL, 0, 0, NULL},
    {"tributary_full_disks", "gauge", "1: rounds wait for room on that disk.", FORM_COUNT,
     AT(disk_is_full), NULL, 0, 0, NULL},
    {"tributary_checked_audit_records", "gauge",
     "Records of the audit log that were read through last, each day and at the start.", FORM_COUNT,
     AT(audit_checked), NULL, 0, 0, NULL},
    {"tributary_broken_audit_logs", "gauge",
     "1: a record of the audit log was changed, or is gone.", FORM_COUNT, AT(audit_is_broken), NULL,
     0, 0, NULL},
};

// ---- Printing

static void print_labels(const struct metric *m, int value, struct trib_buf *out)
{
    if (m->label)
        trib_buf_printf(out, "{%s=\"%s\"}", m->label, m->text(value));
    trib_buf_text(out, " ");
}

static void print_latency(const struct metric *m, int value, const struct trib_latency *latency,
                          struct trib_buf *out)
{
    const char *text = m->text(value);
    uint64_t count = 0;
    for (size_t i = 0; i < TRIB_LATENCY_BOUNDS; i++) {
        count += latency->counts[i];
        trib_buf_printf(out, "%s_bucket{%s=\"%s\",le=\"%g\"} %" PRIu64 "\n", m->name, m->label,
                        text, trib_latency_bounds[i], count);
    }
    count += latency->counts[TRIB_LATENCY_BOUNDS];
    trib_buf_printf(out, "%s_bucket{%s=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", m->name, m->label, text,
                    count);
    trib_buf_printf(out, "%s_sum{%s=\"%s\"} %.6f\n", m->name, m->label, text,
                    (double)latency->sum_us / 1e6);
    trib_buf_printf(out, "%s_count{%s=\"%s\"} %" PRIu64 "\n", m->name, m->label, text, count);
}

static void print_sample(const struct metric *m, int value, const void *data, struct trib_buf *out)
{
    if (m->form == FORM_LATENCY) {
        print_latency(m, value, data, out);
        return;
    }
    trib_buf_text(out, m->name);
    print_labels(m, value, out);
    switch (m->form) {
    case FORM_COUNT: trib_buf_printf(out, "%" PRIu64 "\n", *(const uint64_t *)data); return;
    case FORM_REAL: trib_buf_printf(out, "%.15g\n", *(const double *)data); return;
    case FORM_SECONDS:
        trib_buf_printf(out, "%.6f\n", (double)*(const uint64_t *)data / 1e6);
        return;
    case FORM_ONE: trib_buf_text(out, "1\n"); return;
    case FORM_LATENCY: break;
    }
    assert(false);
}

void trib_telemetry_print(const struct trib_telemetry *telemetry, struct trib_buf *out)
{
    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        const struct metric *m = &metrics[i];
        const char *data = (const char *)telemetry + m->at;
        trib_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, m->type);
        for (int value = m->first; value < (m->label ? m->end : m->first + 1); value++)
            print_sample(m, value, data + (size_t)value * form_sizes[m->form], out);
    }
}
