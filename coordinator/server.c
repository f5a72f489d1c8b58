#include "coordinator/server.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/wipe.h"
#include "coordinator/keys.h"
#include "coordinator/lost.h"
#include "coordinator/reserve.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "server"

enum {
    TICK_MS = 250,
    RECEIVE_FRAMES = 64, // large buffers for each direction
    SEND_FRAMES = 32,
    RECORDS = 4, // of 64 KiB, that each of them holds
    ADMIN_MODE = 0660,
    DESCRIPTORS_WANTED = 65536, // or as many as fleet.connections_max makes of it
    DESCRIPTORS_KEPT = 128,     // for files, commands, metrics, the library's threads
    DESCRIPTORS_LEAST = 8,      // for devices
};

// Set by signal handlers, looked at every tick.
static volatile int stop_wanted;
static volatile int reload_wanted;

// ---- Events

void trib_server_post(struct trib_server *server, struct trib_server_event *event)
{
    trib_queue_put(&server->events, &event->node);
}

static void op_is_back(struct trib_server *server, struct trib_server_event *event)
{
    struct trib_server_op *op =
        (struct trib_server_op *)(void *)((char *)event - offsetof(struct trib_server_op, event));
    server->ops_in_flight--;
    if (op->op.result == TRIB_ERR_IO)
        trib_server_stop_failed(server);
    op->finish(server, op);
}

static void op_done(struct trib_commit_op *commit_op)
{
    struct trib_server_op *op = (struct trib_server_op *)commit_op;
    trib_server_post(op->server, &op->event);
}

void trib_server_submit(struct trib_server *server, struct trib_server_op *op)
{
    op->server = server;
    op->op.done = op_done;
    op->event.handle = op_is_back;
    server->ops_in_flight++;
    trib_commit_submit(server->commit, &op->op);
}

static void on_fatal(void *user)
{
    struct trib_server *server = user;
    (void)trib_reserve_use(server->dir, server->config.reserve); // for the next start
    __atomic_store_n(&server->failed, true,
                     __ATOMIC_RELEASE); // seen by the next tick at the latest
}

void trib_server_stop_failed(struct trib_server *server)
{
    __atomic_store_n(&server->failed, true, __ATOMIC_RELEASE); // the commit thread may do so, too
}

// ---- Time

static void reload(struct trib_server *server)
{
    struct trib_coordinator_config config;
    if (server->config.allow_list[0] &&
        trib_peers_allow(server->peers, server->config.allow_list, trib_clock_wall_ms()))
        TRIB_WARN("the allow-list could not be read; the old one stays in force");
    if (trib_coordinator_config_load(server->dir, &config)) {
        TRIB_WARN("tributary.ini could not be read; the old roles stay in force");
        return;
    }
    server->config.roles = config.roles;
    TRIB_INFO("roles=%zu users and groups", config.roles.count);
}

static void tick(struct trib_server *server)
{
    uint64_t now_ms = trib_clock_mono_ms();
    trib_sessions_tick(server, now_ms);
    trib_admins_tick(server, now_ms);
    trib_upload_tick(server, now_ms);
    trib_rounds_tick(server, now_ms);
    trib_seen_tick(server, now_ms);
    trib_server_keys_tick(server, now_ms);
    trib_old_tick(server);
    trib_audit_tick(server, now_ms);
    trib_disk_tick(server, now_ms);
    trib_watch_tick(server, now_ms);
    if (reload_wanted) {
        reload_wanted = 0;
        reload(server);
    }
}

// ---- Life

// One process serves thousands of devices: use the descriptors that the system allows. Whatever
// comes in, enough of them are left for the files and for those who are inside already: a store that
// cannot be written would be the end.
static void share_descriptors(struct trib_server *server)
{
    const uint64_t configured = server->config.connections_max;
    uint64_t wanted = configured + TRIB_SERVER_HALF_OPEN_MAX + DESCRIPTORS_KEPT;
    struct rlimit limit = {.rlim_cur = 0};
    wanted = wanted < DESCRIPTORS_WANTED ? DESCRIPTORS_WANTED : wanted;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : (rlim_t)wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    const uint64_t spare = limit.rlim_cur >= DESCRIPTORS_KEPT + DESCRIPTORS_LEAST
                               ? limit.rlim_cur - DESCRIPTORS_KEPT
                               : DESCRIPTORS_LEAST; // it does not start
    // Connections that were accepted and are not sessions yet are among the half-open ones.
    server->half_open_max =
        spare / 4 < TRIB_SERVER_HALF_OPEN_MAX ? (unsigned)(spare / 4) : TRIB_SERVER_HALF_OPEN_MAX;
    const uint64_t most = spare - server->half_open_max;
    server->files_max = limit.rlim_cur;
    server->connections_max = configured < most ? configured : most;
}

// Who configured a number is told that it is not reached, and whoever has more devices than that.
static void tell_of_descriptors(const struct trib_server *server)
{
    const uint64_t configured = server->config.connections_max;
    const uint64_t most = server->connections_max;
    if (most == configured ||
        (configured == TRIB_COORDINATOR_CONNECTIONS && trib_peers_count(server->peers) <= most))
        return;
    TRIB_WARN("id=few-descriptors %" PRIu64
              " files may be open (ulimit -Hn), which is enough for %" PRIu64
              " connections: fleet.connections_max = %" PRIu64 " is not reached",
              server->files_max, most, configured);
}

static enum trib_err check_descriptors(const struct trib_server *server)
{
    if (server->files_max >= DESCRIPTORS_KEPT + DESCRIPTORS_LEAST)
        return TRIB_OK;
    TRIB_ERROR("id=few-descriptors %" PRIu64 " files may be open (ulimit -Hn): want %d or more",
               server->files_max, DESCRIPTORS_KEPT + DESCRIPTORS_LEAST);
    return TRIB_ERR_INVAL;
}

static enum trib_err open_files(struct trib_server *server, const char *dir)
{
    char path[TRIB_PATH_MAX + 1];
    (void)snprintf(server->dir, sizeof(server->dir), "%s", dir);
    enum trib_err err = trib_lost_store(dir);
    if (!err)
        err = trib_identity_load(dir, &server->identity);
    if (!err)
        err = trib_coordinator_config_load(dir, &server->config);
    if (!err)
        share_descriptors(server);
    if (!err)
        err = check_descriptors(server);
    if (!err)
        err = trib_path_join(server->updates_dir, dir, "updates");
    if (!err)
        (void)trib_reserve_use(dir, server->config.reserve); // to start at all
    if (!err)
        err = trib_path_join(path, dir, "store.db");
    if (!err)
        err = trib_store_open(path, &server->store);
    if (!err)
        err = trib_keys_check(server->store, &server->identity);
    if (!err) {
        trib_server_keys_open(server);
        trib_keys_audit_signer(&server->identity, &server->signer);
        trib_store_audit_signer(server->store, &server->signer);
    }
    if (!err)
        err = trib_store_meta_get(server->store, "generation", 1, &server->generation);
    return err;
}

static enum trib_err make_parts(struct trib_server *server)
{
    enum trib_err err = trib_queue_init(&server->events, false);
    if (!err)
        err = trib_pool_create((unsigned)server->config.threads, &server->pool);
    if (!err)
        err = trib_frames_create(RECEIVE_FRAMES, RECORDS, &server->receive_frames);
    if (!err)
        err = trib_frames_create(SEND_FRAMES, RECORDS, &server->send_frames);
    if (!err)
        err = trib_map_create(&server->known);
    if (!err)
        err = trib_peers_create(server->config.handshakes_per_second,
                                server->config.handshakes_per_source, &server->peers);
    if (!err)
        trib_peers_pending_allow(server->peers, server->config.pending);
    if (!err)
        err = trib_peers_load(server->peers, server->store, server->started_ms);
    if (!err)
        tell_of_descriptors(server);
    if (!err)
        trib_sessions_pace(server);
    if (!err)
        trib_secagg_check_roster(server);
    if (!err && server->config.allow_list[0])
        err = trib_peers_allow(server->peers, server->config.allow_list, server->started_wall_ms);
    return err;
}

// The URL that tokens carry: as configured, or the listen URL with the port that was bound.
static void settle_url(struct trib_server *server)
{
    const char *listen = server->config.listen;
    const char *colon = strrchr(listen, ':');
    uint16_t port = trib_listener_port(server->fleet);
    if (server->config.url[0])
        (void)snprintf(server->url, sizeof(server->url), "%.*s", TRIB_URL_MAX, server->config.url);
    else if (port && colon)
        (void)snprintf(server->url, sizeof(server->url), "%.*s:%u", (int)(colon - listen), listen,
                       port);
    else
        (void)snprintf(server->url, sizeof(server->url), "%.*s", TRIB_URL_MAX, listen);
}

static void share_with_listeners(struct trib_server *server)
{
    const int most = server->files_max < INT_MAX ? (int)server->files_max : INT_MAX;
    trib_listener_descriptors(server->admin, most - DESCRIPTORS_KEPT / 2);
    trib_listener_descriptors(server->fleet, most - DESCRIPTORS_KEPT);
}

static enum trib_err listen_both(struct trib_server *server)
{
    char admin_url[TRIB_PATH_MAX + 16];
    enum trib_err err = trib_admin_url(server->dir, admin_url, sizeof(admin_url));
    if (!err) {
        (void)remove(admin_url + strlen("ipc://")); // left by a process that was killed
        err = trib_link_listen(admin_url, ADMIN_MODE, trib_server_admin_accepted, server,
                               &server->admin);
    }
    if (!err)
        err = trib_link_listen(server->config.listen, 0, trib_sessions_accepted, server,
                               &server->fleet);
    if (err)
        return err;
    trib_listener_limit(server->admin, TRIB_SERVER_ADMINS_MAX);
    trib_listener_limit(server->fleet, server->half_open_max);
    share_with_listeners(server);
    settle_url(server);
    if (trib_coordinator_url_is_any(server->url))
        TRIB_WARN("id=url-of-any-address tokens carry %s, which other machines cannot dial: set "
                  "fleet.url in tributary.ini",
                  server->url);
    TRIB_INFO("listening url=%s devices=%zu version=%" PRIu64, server->url,
              trib_peers_count(server->peers),
              server->head ? server->head->manifest.version : (uint64_t)0);
    return TRIB_OK;
}

enum trib_err trib_server_create(const char *dir, struct trib_server **ret_server)
{
    trib_crypto_init();
    stop_wanted = 0;
    struct trib_server *server = trib_alloc(sizeof(*server));
    if (!server)
        return TRIB_ERR_NOMEM;
    server->started_ms = trib_clock_mono_ms();
    server->started_wall_ms = trib_clock_wall_ms();

    enum trib_err err = open_files(server, dir);
    if (!err)
        err = make_parts(server);
    if (!err)
        err = trib_server_watch_start(server);
    if (!err)
        err = trib_jobs_recover(server);
    if (!err)
        err = trib_rounds_recover(server);
    if (!err)
        err = trib_keys_record(server->store, &server->identity, "coordinator", "coordinator");
    if (!err)
        err = trib_audit_life(server, "start");
    server->is_recording = !err;
    if (!err)
        err = trib_commit_create(server->store, on_fatal, server, &server->commit);
    if (!err)
        trib_disk_begin(server);
    if (!err)
        err = listen_both(server);
    if (!err && server->watch)
        trib_watch_serves(server->watch);
    if (err) {
        trib_server_destroy(server);
        return err;
    }
    *ret_server = server;
    return TRIB_OK;
}

static void close_all(struct trib_server *server)
{
    trib_server_watch_stop(server);
    trib_listener_close(server->fleet);
    trib_listener_close(server->admin);
    server->fleet = NULL;
    server->admin = NULL;
    trib_admins_stop(server);
    for (struct trib_session_link *s = server->sessions; s; s = s->next)
        trib_server_close(s, TRIB_CLOSE_SHUTDOWN);
}

enum trib_err trib_server_run(struct trib_server *server)
{
    uint64_t next_tick_ms = 0;
    for (;;) {
        struct trib_server_event *event =
            (struct trib_server_event *)trib_queue_take(&server->events, TICK_MS);
        if (event)
            event->handle(server, event);
        if (__atomic_load_n(&server->failed, __ATOMIC_ACQUIRE))
            return TRIB_ERR_IO; // nothing in memory can be trusted to be on disk
        if (stop_wanted && !server->stops) {
            TRIB_INFO("stopping");
            server->stops = true;
            close_all(server);
        }
        if (server->stops) {
            trib_admins_tick(server, trib_clock_mono_ms());
            if (!server->sessions && server->ops_in_flight == 0 && server->admins_open == 0 &&
                !event)
                return TRIB_OK;
            continue;
        }
        if (trib_clock_mono_ms() >= next_tick_ms) {
            tick(server);
            next_tick_ms = trib_clock_mono_ms() + TICK_MS;
        }
        trib_rounds_pump(server);
    }
}

void trib_server_stop(struct trib_server *server)
{
    (void)server;
    stop_wanted = 1;
}

void trib_server_reload(struct trib_server *server)
{
    (void)server;
    reload_wanted = 1;
}

void trib_server_destroy(struct trib_server *server)
{
    if (!server)
        return;
    trib_server_watch_stop(server);
    trib_listener_close(server->fleet);
    trib_listener_close(server->admin);
    trib_commit_destroy(server->commit);
    if (server->is_recording && trib_audit_life(server, "stop"))
        TRIB_WARN("the stop could not be recorded");
    trib_pool_destroy(server->pool);
    trib_queue_fini(&server->events);
    trib_rounds_free(server);
    trib_jobs_free(server->job);
    trib_version_destroy(server->head);
    trib_map_destroy(server->known);
    trib_peers_destroy(server->peers);
    trib_frames_destroy(server->receive_frames);
    trib_frames_destroy(server->send_frames);
    trib_store_close(server->store);
    trib_identity_wipe(&server->identity);
    trib_wipe(&server->former, sizeof(server->former));
    trib_wipe(&server->signer, sizeof(server->signer));
    free(server);
}
