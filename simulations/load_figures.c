#include "simulations/load_figures.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/json.h"

double trib_load_rss_per_device(const struct trib_load_figures *figures)
{
    const double more = (double)figures->rss_connected - (double)figures->rss_alone;
    return more / (double)figures->devices;
}

static double idle_of_all(const struct trib_load_figures *f)
{
    return f->idle_percent / f->cores;
}

static void put_round(struct trib_buf *json, const struct trib_load_round *round)
{
    trib_json_open(json, NULL, '{');
    trib_json_text(json, "name", round->name);
    trib_json_uint(json, "goal", round->goal);
    trib_json_uint(json, "asked", round->asked);
    trib_json_uint(json, "accepted", round->accepted);
    trib_json_uint(json, "expired", round->expired);
    trib_json_uint(json, "dropped", round->dropped);
    trib_json_uint(json, "straggled", round->straggled);
    trib_json_uint(json, "too_late", round->closed);
    trib_json_text(json, "state", round->state);
    trib_json_text(json, "reason", round->reason[0] ? round->reason : NULL);
    trib_json_real(json, "seconds", round->seconds);
    trib_json_real(json, "accepts_per_second", round->accepts_per_second);
    trib_json_bool(json, "as_configured", round->is_as_configured);
    trib_json_close(json, '}');
}

static void show_json(const struct trib_load_figures *f, const bool met[static 4])
{
    static const char *const names[4] = {"storm", "memory", "idle", "rounds"};
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    trib_json_uint(&json, "devices", f->devices);
    trib_json_real(&json, "storm_seconds", f->storm_seconds);
    trib_json_real(&json, "storm_server_cpu_seconds", f->storm_cpu_seconds);
    trib_json_uint(&json, "dials", f->dials);
    trib_json_uint(&json, "failed_dials", f->failures);
    trib_json_uint(&json, "server_rss_bytes_alone", f->rss_alone);
    trib_json_uint(&json, "server_rss_bytes_connected", f->rss_connected);
    trib_json_uint(&json, "server_peak_rss_bytes", f->rss_peak);
    trib_json_real(&json, "rss_bytes_per_device", trib_load_rss_per_device(f));
    trib_json_real(&json, "idle_seconds", f->idle_seconds);
    trib_json_uint(&json, "cores", f->cores);
    trib_json_real(&json, "idle_core_percent", f->idle_percent);
    trib_json_real(&json, "idle_cpu_percent", idle_of_all(f));
    trib_json_open(&json, "rounds", '[');
    for (size_t i = 0; i < f->round_count; i++)
        put_round(&json, &f->rounds[i]);
    trib_json_close(&json, ']');
    trib_json_open(&json, "missed", '[');
    for (int i = 0; i < 4; i++) {
        if (!met[i])
            trib_json_text(&json, NULL, names[i]);
    }
    trib_json_close(&json, ']');
    trib_json_close(&json, '}');
    if (!json.failed)
        (void)printf("%s\n", (const char *)json.data);
    trib_buf_fini(&json);
}

static const char *verdict(bool is_met)
{
    return is_met ? "" : "  MISSED";
}

static void show_lines(const struct trib_load_figures *f, const bool met[static 4])
{
    (void)printf("storm     %" PRIu64 " devices connected in %.2f s (at most %.0f), %.2f s of the "
                 "coordinator's CPU time; %" PRIu64 " attempts, %" PRIu64 " in vain%s\n",
                 f->devices, f->storm_seconds, TRIB_LOAD_STORM_SECONDS, f->storm_cpu_seconds,
                 f->dials, f->failures, verdict(met[0]));
    (void)printf("memory    %.0f bytes for each (at most %d): %.1f MB alone, %.1f connected, %.1f "
                 "at most%s\n",
                 trib_load_rss_per_device(f), TRIB_LOAD_RSS_PER_DEVICE, (double)f->rss_alone / 1e6,
                 (double)f->rss_connected / 1e6, (double)f->rss_peak / 1e6, verdict(met[1]));
    (void)printf(
        "idle      %.2f %% of the CPU time of %u cores in %.0f s (less than %.0f): %.2f %% "
        "of one%s\n",
        idle_of_all(f), f->cores, f->idle_seconds, TRIB_LOAD_IDLE_PERCENT, f->idle_percent,
        verdict(met[2]));
    for (size_t i = 0; i < f->round_count; i++) {
        const struct trib_load_round *r = &f->rounds[i];
        (void)printf("round     %s: %s%s%s, %" PRIu64 " of %" PRIu64 " counted, %" PRIu64
                     " asked; %" PRIu64 " fell silent, %" PRIu64 " late, %" PRIu64
                     " expired; %.2f s, %.0f receipts/s%s\n",
                     r->name, r->state, r->reason[0] ? " " : "", r->reason, r->accepted, r->goal,
                     r->asked, r->dropped, r->straggled, r->expired, r->seconds,
                     r->accepts_per_second, verdict(r->is_as_configured));
    }
}

bool trib_load_show(const struct trib_load_figures *f, bool as_json)
{
    bool met[4] = {
        f->storm_seconds <= TRIB_LOAD_STORM_SECONDS,
        trib_load_rss_per_device(f) <= TRIB_LOAD_RSS_PER_DEVICE,
        idle_of_all(f) < TRIB_LOAD_IDLE_PERCENT,
        true,
    };
    for (size_t i = 0; i < f->round_count; i++)
        met[3] = met[3] && f->rounds[i].is_as_configured;
    if (as_json)
        show_json(f, met);
    else
        show_lines(f, met);
    return met[0] && met[1] && met[2] && met[3];
}
