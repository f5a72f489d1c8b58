// What the state thread knows, as numbers to be seen from outside.
#include "coordinator/server_state.h"

uint64_t trib_server_uploads_in_flight(const struct trib_server *server)
{
    // Those that are being made durable may outlive their round.
    uint64_t count = server->accepts_in_flight + server->asks_in_flight;
    for (uint32_t i = 0; server->run && i < server->run->round.member_count; i++) {
        switch (server->run->uploads[i].state) {
        case TRIB_UPLOAD_WAITING:
        case TRIB_UPLOAD_ACTIVE:
        case TRIB_UPLOAD_OVER:
        case TRIB_UPLOAD_HELD: count++; break;
        case TRIB_UPLOAD_NONE:
        case TRIB_UPLOAD_BROKEN:
        case TRIB_UPLOAD_PENDING: break;
        }
    }
    return count;
}

static void take_devices(const struct trib_server *server, struct trib_telemetry *t)
{
    t->devices_known = trib_peers_count(server->peers);
    for (const struct trib_session_link *s = server->sessions; s; s = s->next) {
        if (!s->is_ready || s->peer->live != s)
            continue;
        t->devices_connected++;
        t->devices_current += server->head && s->peer->version == server->head->manifest.version;
    }
}

static void take_job(const struct trib_active_job *active, struct trib_telemetry *t)
{
    const struct trib_job *job = &active->job;
    t->jobs_active = active->row.state == TRIB_JOB_ACTIVE;
    t->job_rounds = active->row.rounds_done;
    t->job_target_rounds = job->config.rounds;
    if (job->config.privacy_mode == TRIB_PRIVACY_OFF)
        return;
    t->epsilon = trib_privacy_epsilon(&active->spent, job->privacy.delta);
    t->epsilon_pure = active->spent.epsilon_pure;
    t->delta = job->privacy.delta;
    t->target_epsilon =
        job->config.target_epsilon > 0 ? job->config.target_epsilon : job->privacy.epsilon_total;
}

void trib_server_telemetry(const struct trib_server *server, struct trib_telemetry *ret_telemetry)
{
    struct trib_telemetry t = {
        .counters = server->counters,
        .uploads_in_flight = trib_server_uploads_in_flight(server),
        .received_bytes = __atomic_load_n(&server->received_bytes, __ATOMIC_RELAXED),
        .sent_bytes = __atomic_load_n(&server->sent_bytes, __ATOMIC_RELAXED),
        .version = server->head ? server->head->manifest.version : 0,
        .audit_checked = server->audit_checked,
        .audit_is_broken = server->audit_is_broken,
        .disk_is_full = server->disk_is_full,
        .started_s = (double)server->started_wall_ms / 1000,
    };
    trib_commit_latencies(server->commit, t.commits);
    take_devices(server, &t);
    if (server->job)
        take_job(server->job, &t);
    if (server->run) {
        t.round_asked = server->run->round.member_count;
        t.round_counted = server->run->round.leases[TRIB_LEASE_COUNTED];
    }
    *ret_telemetry = t;
}

enum trib_err trib_server_watch_start(struct trib_server *server)
{
    const struct trib_http_config *config = &server->config.http;
    if (!config->listen[0])
        return TRIB_OK;
    enum trib_err err = trib_watch_create(server->dir, &server->watch);
    return err ? err : trib_http_start(config, trib_watch_answer, server->watch, &server->http);
}

void trib_server_watch_stop(struct trib_server *server)
{
    trib_http_stop(server->http);
    trib_watch_destroy(server->watch);
    server->http = NULL;
    server->watch = NULL;
}

void trib_watch_tick(struct trib_server *server, uint64_t now_ms)
{
    struct trib_telemetry telemetry;
    if (!server->watch)
        return;
    trib_server_telemetry(server, &telemetry);
    trib_watch_see(server->watch, &telemetry, now_ms);
    trib_http_tick(server->http, now_ms);
}
