// Two live devices with one key. A newer session takes the place of an older one, because a device
// that lost its network dials again while we still think that it is there. So the older one is asked
// for a sign of life before it is closed: who answers is another than who has just come.
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "coordinator/server_state.h"

#define TRIB_LOG_MODULE "server"

enum {
    ANSWER_MS = 3000,          // so long the older one has for its answer
    RECORD_EVERY_MS = 3600000, // two that take turns cannot fill the log
};

void trib_twin_replace(struct trib_session_link *old)
{
    const uint64_t now_ms = trib_clock_mono_ms();
    // It gives back what it holds: from now on nothing that it says is heard but the answer.
    trib_upload_session_gone(old);
    trib_secagg_session_gone(old);
    old->is_ready = false;
    // A PONG may be on its way for a PING from before.
    const bool was_asked =
        old->pinged_ms != 0 && trib_channel_heard_ms(old->channel) < old->pinged_ms;
    __atomic_store_n(&old->pongs_wanted, was_asked ? 2 : 1, __ATOMIC_RELAXED);
    old->replaced_ms = now_ms;
    if (trib_channel_send(old->channel, TRIB_RECORD_PING, 0, NULL, 0))
        trib_server_close(old, TRIB_CLOSE_REPLACED);
}

bool trib_twin_is_pong(struct trib_session_link *session)
{
    return __atomic_load_n(&session->pongs_wanted, __ATOMIC_RELAXED) > 0 &&
           __atomic_sub_fetch(&session->pongs_wanted, 1, __ATOMIC_RELAXED) == 0;
}

void trib_twin_found(struct trib_session_link *session)
{
    struct trib_server *server = session->server;
    struct trib_peer *peer = session->peer;
    const uint64_t now_ms = trib_clock_mono_ms();
    char subject[2 * TRIB_PEER_TEXT_SIZE + 8];
    trib_server_close(session, TRIB_CLOSE_REPLACED);
    server->counters.twins++;
    peer->twins++;
    if (peer->twin_ms != 0 && now_ms < peer->twin_ms + RECORD_EVERY_MS)
        return;
    peer->twin_ms = now_ms;
    (void)snprintf(subject, sizeof(subject), "%s and %s", session->source,
                   peer->live ? peer->live->source : "another");
    TRIB_WARN("id=key-in-two-places device=%s is alive in two sessions, from %s: if no copy of it "
              "is yours, its key was stolen: devices revoke",
              peer->row.name, subject);
    trib_audit_device(server, peer, "session", subject, "KEY IN TWO PLACES");
}

void trib_twin_tick(struct trib_session_link *session, uint64_t now_ms)
{
    if (session->replaced_ms != 0 && now_ms > session->replaced_ms + ANSWER_MS)
        trib_server_close(session, TRIB_CLOSE_REPLACED);
}
