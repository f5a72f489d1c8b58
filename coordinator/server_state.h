// server_state.h - what the files of the server share: server*.c only.
//
// Everything here belongs to the state thread unless a comment says otherwise. Other threads hand
// it events; an event carries the function that the state thread calls with it.
#ifndef TRIB_COORDINATOR_SERVER_STATE_H
#define TRIB_COORDINATOR_SERVER_STATE_H

#include <pthread.h>

#include "common/base/log.h"
#include "common/base/pool.h"
#include "common/base/queue.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "common/wire/step.h"
#include "coordinator/commit.h"
#include "coordinator/identity.h"
#include "coordinator/peers.h"
#include "coordinator/roles.h"
#include "coordinator/server_run.h"
#include "coordinator/store.h"
#include "coordinator/store_audit.h"
#include "coordinator/store_old.h"
#include "coordinator/telemetry.h"
#include "coordinator/watch.h"

enum {
    TRIB_SERVER_PASSES_LOST_MAX = 8,  // rounds of a pipeline, or a baseline, that may be abandoned
    TRIB_SERVER_HALF_OPEN_MAX = 1024, // connections without a finished handshake
    TRIB_SERVER_ADMINS_MAX = 32,      // commands at once; further ones wait
    TRIB_SERVER_UPLOADS_MAX = 64,     // uploads that have credit at once
    TRIB_SERVER_CREDIT = 1 << 20,     // bytes a device may be ahead of us
    TRIB_SERVER_SETTLE_MS = 10000,    // a device that left is waited for this long
    TRIB_SERVER_UPLOAD_IDLE_MS = 60000, // an upload that stands still is cut: SLOW
    TRIB_SERVER_LEDGER_ROUNDS = 1000,   // rounds whose update ids are remembered
};

struct trib_server;

struct trib_server_event {
    struct trib_node node; // first
    void (*handle)(struct trib_server *server, struct trib_server_event *event);
};

// An operation for the commit thread that comes back as an event.
struct trib_server_op {
    struct trib_commit_op op; // first
    struct trib_server *server;
    struct trib_server_event event;
    void (*finish)(struct trib_server *server, struct trib_server_op *op); // frees it
};

// The bytes of one upload on their way into a slot. Worker threads write chunks under the lock;
// the state thread opens and closes it under the lock, so that after closing no byte is written.
struct trib_upload_sink {
    pthread_mutex_t lock;
    bool is_open;
    uint16_t stream;
    struct trib_segment *segment; // a reference while open
    struct trib_arrival *arrival; // the same
    uint32_t slot;
    size_t size;
    size_t received; // bytes in the slot, in order from 0
    size_t limit;    // bytes we gave credit for
    uint64_t moved_ms;
    uint8_t update_id[TRIB_MSG_ID_SIZE];
    bool has_failed; // the slot cannot be written
};

// A connection on the fleet port. The channel's user.
struct trib_session_link {
    struct trib_server *server;
    struct trib_channel *channel; // our reference
    struct trib_peer *peer;       // who it is; set by the worker that judges the handshake
    const struct trib_key_pins
        *pins; // what it pins at least, by the key it called us by; as `peer`
    struct trib_enrolment enrolment;
    bool may_only_enrol;
    bool is_half_open;                // counted by the listener
    char source[TRIB_PEER_TEXT_SIZE]; // the address, without a port; set with `peer`
    uint64_t replaced_ms;             // when a newer session of its device began; 0: none has
    int pongs_wanted;                 // atomic: from a replaced one, until it is found alive
    bool is_ready;
    uint64_t pinged_ms;
    struct trib_upload_sink sink;
    struct trib_step_in secagg_in;
    uint16_t secagg_stream;                 // of the last step we sent
    struct trib_session_link *next, **link; // the server's list
};

// An update of the open round that is durable, by its id.
struct trib_known_update {
    uint8_t id[TRIB_MSG_ID_SIZE];
    uint8_t digest[TRIB_DIGEST_SIZE];
    uint64_t device;
    uint32_t slot, weight;
    uint32_t *checksums; // owned
    struct trib_known_update *next;
};

// What is durable under an id, in whichever round.
struct trib_known_row {
    bool is_found;
    uint64_t device;
    uint8_t digest[TRIB_DIGEST_SIZE];
};

// An update that is being made durable, in server_accept.c; it may outlive its round.
struct trib_accepting {
    uint8_t id[TRIB_MSG_ID_SIZE];
    struct trib_accepting *next, **link;
};

struct trib_server {
    char dir[TRIB_PATH_MAX + 1];
    char updates_dir[TRIB_PATH_MAX + 1];
    char url[TRIB_URL_MAX + 1]; // what tokens carry
    struct trib_identity identity;
    struct trib_audit_signer signer; // the identity's release key, and the one the log began with
    struct trib_session_keys former; // as the identity's: those that are not void are answered
    bool keys_in_flight;             // one is being retired because its days are over
    uint64_t keys_next_ms;
    bool is_recording; // its start is in the audit log
    struct trib_coordinator_config config;
    uint64_t files_max;       // that may be open
    bool few_is_told;         // that they are too few for those who come
    uint64_t connections_max; // as configured, or fewer where few files may be open
    unsigned half_open_max;   // TRIB_SERVER_HALF_OPEN_MAX, or fewer where few files may be open
    uint64_t generation;
    uint64_t started_ms, started_wall_ms;
    uint64_t look_next_ms; // when to look at the sessions
    uint64_t let_in;  // half-open connections that became sessions since the last look for room
    uint64_t room_ms; // when there were many of them last, or room for more
    uint32_t retry_max_ms; // atomic: what devices are told of when to come back (presence.h)
    uint64_t ping_next_ms; // and to ask those that are silent
    uint64_t seen_next_ms; // when to look next for what server_seen.c writes; 0: it starts

    struct trib_queue events;
    struct trib_pool *pool;
    struct trib_store *store; // the commit thread's
    struct trib_commit *commit;
    struct trib_listener *fleet;
    struct trib_listener *admin;
    struct trib_watch *watch; // both NULL without [http] listen
    struct trib_http *http;
    struct trib_frames *receive_frames, *send_frames;
    uint64_t received_bytes, sent_bytes; // atomic
    bool stops;                          // asked to
    bool failed;                         // the store is gone

    struct trib_peers *peers;
    struct trib_session_link *sessions;
    size_t session_count;
    struct trib_counters counters;

    struct trib_active_job *job;
    struct trib_version *head;
    bool is_combining; // an ensemble is being made, which becomes the next version
    struct trib_round_run *run;
    struct trib_map *known; // update id: struct trib_known_update, of the open round
    struct trib_known_update *known_list;
    uint64_t last_round_id;
    struct trib_log_limit ahead_limit; // of id=device-ahead: a whole fleet may be
    size_t ops_in_flight;              // operations and worker jobs that will still come back
    uint64_t accepts_in_flight;        // of those, updates that are being made durable
    struct trib_accepting *accepting;  // which they are
    uint64_t asks_in_flight;           // devices whose update of before the store is asked about
    size_t backups;                    // that copy files now
    struct trib_store_old old; // versions that are dropped, and whose files are not removed yet
    bool old_in_flight;
    uint64_t old_seen;     // the newest version when all that may go had gone; 0: look again
    bool disk_is_full;     // the last round could not be opened for want of room
    uint64_t disk_next_ms; // when it is tried again without a job
    struct trib_audit_check audit_check; // the pass through the log that is under way
    bool audit_has_begun, audit_in_flight;
    bool audit_is_broken;   // what the last whole pass found,
    uint64_t audit_checked; // and how many records it read
    uint64_t audit_next_ms;
    size_t admins_open;
    struct trib_admin_call *admins;
    uint64_t refusals_ms; // when the time began in which `refusals` commands were refused
    unsigned refusals;
};

// ---- server.c
void trib_server_post(struct trib_server *server, struct trib_server_event *event); // any thread
void trib_server_submit(struct trib_server *server, struct trib_server_op *op);
void trib_server_stop_failed(struct trib_server *server);

// ---- server_twin.c: two live devices with one key

// A newer session of its device has begun: nothing it says counts any more, and it is closed.
void trib_twin_replace(struct trib_session_link *old);
// Any thread: is this PONG the sign that a replaced session is alive?
bool trib_twin_is_pong(struct trib_session_link *session);
void trib_twin_found(struct trib_session_link *session);
void trib_twin_tick(struct trib_session_link *session, uint64_t now_ms);

// ---- server_session.c
bool trib_sessions_accepted(void *server, struct trib_conn *conn); // any thread
void trib_sessions_tick(struct trib_server *server, uint64_t now_ms);
void trib_sessions_pace(struct trib_server *server); // as many devices as are enrolled now
void trib_server_close(struct trib_session_link *session, enum trib_close_reason reason);
// Pack and send a control message; a failure closes the session.
void trib_server_send(struct trib_session_link *session, enum trib_record_type type,
                      struct trib_buf *packed);
void trib_server_send_receipt(struct trib_session_link *session,
                              const uint8_t update_id[static TRIB_MSG_ID_SIZE],
                              enum trib_code code);
void trib_server_announce(struct trib_session_link *session); // the head, if it is news to it
bool trib_server_is_present(const struct trib_server *server, const struct trib_peer *peer,
                            uint64_t now_ms);

// ---- server_enrol.c
void trib_enrol_handle(struct trib_session_link *session, const uint8_t *data, size_t size);
struct trib_enrol_answer {
    enum trib_code code;
    const char *name;                 // with ACCEPTED
    const uint8_t *next_key;          // that is durable now; NULL: none
    const struct trib_key_pins *pins; // of ours that it has; NULL: those of now
};
void trib_enrol_answer(struct trib_server *server, struct trib_channel *channel,
                       const struct trib_enrol_answer *answer); // and hang up

// ---- server_rotate.c
// A device that is enrolled says which keys it will have.
void trib_rotate_next(struct trib_session_link *session, const struct trib_msg_enrol *msg);
// A session of a device is there: of keys that it was to have?
void trib_rotate_opened(struct trib_session_link *session);
// It asks whether it is enrolled while its new keys are being made durable: answered behind that.
bool trib_rotate_confirm(struct trib_session_link *session);

// ---- server_keys.c
void trib_server_keys_open(struct trib_server *server);
// A device is there and pins the keys of this statement: tell it of those after it.
void trib_server_keys_push(struct trib_session_link *session, uint64_t sequence);
void trib_server_keys_reply(struct trib_session_link *session, const uint8_t *data, size_t size);
// Did it call us by a key that is retired by now?
bool trib_server_keys_is_retired(const struct trib_session_link *session);
// Two halves of a retirement of identity.former[former]: on the commit thread, and after it.
TRIB_CHECKED enum trib_err trib_server_keys_remove(const struct trib_server *server,
                                                   uint32_t former);
void trib_server_keys_void(struct trib_server *server, uint32_t former);
void trib_server_keys_tick(struct trib_server *server, uint64_t now_ms);

// ---- server_seen.c
void trib_seen_note(struct trib_peer *peer); // it is there, or was until now
// When it was last there; the time now if it is connected.
uint64_t trib_seen_ms(const struct trib_peer *peer, uint64_t wall_ms);
// Was it away for longer than devices.stale_days? Never one that is revoked.
bool trib_peer_is_stale(const struct trib_server *server, const struct trib_peer *peer,
                        uint64_t wall_ms);
void trib_seen_tick(struct trib_server *server, uint64_t now_ms);

// ---- server_upload.c
void trib_upload_begin(struct trib_session_link *session, uint16_t stream, const uint8_t *data,
                       size_t size);
void trib_upload_end(struct trib_session_link *session, const uint8_t *data, size_t size);
// A chunk, on a worker thread. False: it makes no sense.
bool trib_upload_chunk(struct trib_session_link *session, const struct trib_record *record);
void trib_upload_session_gone(struct trib_session_link *session);
void trib_upload_tick(struct trib_server *server, uint64_t now_ms);
void trib_upload_pump(struct trib_server *server);       // credit and turns
void trib_upload_finish_all(struct trib_server *server); // the round is over for uploads
void trib_upload_release(struct trib_server *server, uint32_t member);
// Answer a member's upload for good; the device may be away, then it asks again.
void trib_upload_answer(struct trib_server *server, uint32_t member, enum trib_code code);
// Its lease and slot are over; it is answered when that is durable.
void trib_upload_refuse(struct trib_server *server, uint32_t member, enum trib_code code);
// server_accept.c: one that is HELD is made durable, and then answered.
void trib_upload_accept(struct trib_server *server, uint32_t member);
// What the store says of an update that is not of the open round: its answer.
void trib_upload_answer_old(struct trib_server *server, struct trib_peer *peer,
                            const struct trib_msg_upload_begin *begin,
                            const struct trib_known_row *known);

// ---- server_slot.c
// The free one that failed least, or that of an upload which broke off; UINT32_MAX: none.
uint32_t trib_slots_take(struct trib_server *server);
// A write of it failed. When it is not to be used any more, and too few are, the round is given up.
void trib_slots_fail(struct trib_server *server, uint32_t slot);
uint32_t trib_slots_usable(const struct trib_round_run *run); // used or not

// ---- server_lease.c
bool trib_leases_is_over(enum trib_lease_state lease); // without being counted
// Make those durable that are over; nothing when there are none, or others are on their way.
void trib_leases_save(struct trib_server *server);
// Is it over without the store knowing yet?
bool trib_leases_is_unsaved(const struct trib_round_run *run, uint32_t member);
// Then, or when its round has ended and the store does not know that, its device is not to be told.
bool trib_leases_must_wait(const struct trib_round_run *run, uint32_t member);
// The round's seal or end is durable, with all its leases: answer what waited for that.
void trib_leases_tell(struct trib_server *server);

// ---- server_known.c
// One more of the open round; NULL: no memory.
struct trib_known_update *trib_known_add(struct trib_server *server,
                                         const struct trib_store_update *update);
void trib_known_forget(struct trib_server *server); // the round is over
// On the thread of the store: whatever round it is of.
TRIB_CHECKED enum trib_err trib_known_find(struct trib_store *store,
                                           const uint8_t id[static TRIB_MSG_ID_SIZE],
                                           struct trib_known_row *ret_row);
// Have the store asked; the device gets its answer when it is known. False: it is to ask again.
bool trib_known_ask(struct trib_server *server, struct trib_peer *peer,
                    const struct trib_msg_upload_begin *begin);

// ---- server_round.c
// Do whatever can be done now: open a round, offer, seal, aggregate, end. After every event.
void trib_rounds_pump(struct trib_server *server);
void trib_rounds_tick(struct trib_server *server, uint64_t now_ms);
// A round that is not open yet; `id` is the store's, `key` the job's (trib_round_key).
TRIB_CHECKED enum trib_err trib_run_create(struct trib_server *server, uint64_t id, uint64_t key,
                                           struct trib_round_run **ret_run);
void trib_run_free(struct trib_round_run *run); // NULL is fine
// Feed the state machine; errors are those of trib_round_step.
enum trib_err trib_rounds_step(struct trib_server *server, const struct trib_round_input *input);
enum trib_err trib_rounds_event(struct trib_server *server, enum trib_round_event event);
void trib_rounds_task_reply(struct trib_session_link *session, const uint8_t *data, size_t size);
void trib_rounds_ready(struct trib_session_link *session, const struct trib_msg_ready *ready);
uint32_t trib_rounds_member(const struct trib_server *server, const struct trib_peer *peer);
// From now on its time is spent with `phase`.
void trib_run_enter(struct trib_round_run *run, enum trib_phase phase);
TRIB_CHECKED enum trib_err trib_rounds_recover(struct trib_server *server);
void trib_rounds_free(struct trib_server *server);

// ---- server_open.c
// Is the newest version to be measured, or counters collected, on devices before the job goes on or
// ends?
bool trib_rounds_measures(const struct trib_server *server);
void trib_rounds_open(struct trib_server *server);  // when there are devices enough
void trib_rounds_offer(struct trib_server *server); // to as many as the round wants
void trib_rounds_send_task(struct trib_server *server, uint32_t member); // if it is there

struct trib_lease_list {
    uint32_t count;
    struct trib_store_lease leases[];
};
struct trib_lease_list *trib_rounds_leases(const struct trib_round_run *run); // NULL: no memory
TRIB_CHECKED enum trib_err trib_lease_list_put(const struct trib_lease_list *list,
                                               struct trib_store *store);

// ---- server_secagg.c
struct trib_job;
void trib_secagg_free(struct trib_round_secagg *secagg); // NULL is fine
// Does somebody vouch for this device, so that it may be a member?
bool trib_secagg_is_rostered(const struct trib_server *server, const struct trib_peer *peer);
struct trib_roster_count {
    size_t rostered, unrostered; // of the devices that are not revoked
};
void trib_secagg_count_roster(const struct trib_server *server,
                              struct trib_roster_count *ret_count);
// At the start: a signature by another key than secagg.roster_pk does not count.
void trib_secagg_check_roster(struct trib_server *server);
// Are too few devices rostered for a round of the job? One line for people if so.
bool trib_secagg_roster_is_short(const struct trib_server *server, const struct trib_job *job,
                                 char *text, size_t size);
void trib_secagg_fill_header(struct trib_server *server, struct trib_secagg_header *header);
void trib_secagg_tell(struct trib_server *server, uint32_t member); // what it is to do now
void trib_secagg_pump(struct trib_server *server); // begin a phase and tell its members
// The set of survivors is fixed: what is made durable with it.
TRIB_CHECKED enum trib_err trib_secagg_seal(struct trib_server *server,
                                            struct trib_buf *ret_packed);
TRIB_CHECKED enum trib_err trib_secagg_resume(struct trib_server *server); // of a sealed round
bool trib_secagg_ready(struct trib_server *server, uint32_t member,
                       const struct trib_msg_ready *ready);

// For server_secagg*.c: the device of a member, its entry for the others (false: nobody vouches for
// it), a piece for the hub, and whether the phase has what it needs.
struct trib_peer *trib_secagg_peer(struct trib_server *server, uint32_t member);
bool trib_secagg_fill_entry(struct trib_server *server, uint32_t member,
                            struct trib_secagg_entry *entry);
TRIB_CHECKED enum trib_err trib_secagg_hub_take(struct trib_secagg_hub *hub,
                                                const struct trib_store_secagg *piece);
void trib_secagg_settle(struct trib_server *server);
// To a member that is there.
void trib_secagg_send(struct trib_server *server, uint32_t member, enum trib_secagg_step_kind kind,
                      struct trib_blob *blob);

// ---- server_secagg_in.c: what devices send
void trib_secagg_step(struct trib_session_link *session, uint16_t stream, const uint8_t *data,
                      size_t size);
void trib_secagg_chunk(struct trib_session_link *session, const struct trib_record *record);
void trib_secagg_session_gone(struct trib_session_link *session);

// ---- server_aggregate.c
void trib_rounds_aggregate(struct trib_server *server); // a sealed round becomes a version

// ---- server_end.c
// What came of a round: a version, measured or not; sums that make none; or nothing.
struct trib_round_outcome {
    bool is_committed;
    struct trib_version *version;         // NULL: none; taken
    const struct trib_held_out *held_out; // NULL: not measured
    char *metrics;                        // of it, as JSON; taken
    double rms;                           // of the mean, NaN when abandoned
};
void trib_rounds_conclude(struct trib_server *server, const struct trib_round_outcome *outcome);
void trib_rounds_end(struct trib_server *server); // an abandoned one ends
// The moments of a version are of no more use: gone from the disk.
void trib_rounds_sweep_moments(struct trib_server *server, uint64_t version);

// ---- server_job_text.c
// Parse and check a job file; the error text goes to text->why.
struct trib_job_text {
    const char *text;
    size_t size;
    const char *name;        // for messages
    const char *dir;         // for relative paths
    const char *const *sets; // "section.key=value" in the place of what the file says
    size_t set_count;
    uint64_t series;       // of how many jobs this is one; 0: it is by itself
    const size_t *devices; // how many are enrolled; NULL: as many as now, on the state thread only
    char why[2048];        // what was wrong
};
TRIB_CHECKED enum trib_err trib_jobs_parse(struct trib_server *server, struct trib_job_text *text,
                                           struct trib_active_job **ret_job, char **ret_config);
// Passes of the pipeline are to come; false: it is fitted, or there is none.
bool trib_jobs_waits_for_pipeline(const struct trib_active_job *job);
// Take the pipeline of a job one pass further; when it is fitted the job can evaluate.
// TRIB_ERR_DATA: it cannot, logged.
TRIB_CHECKED enum trib_err trib_jobs_take_step(struct trib_active_job *job,
                                               struct trib_pipeline_step *step);
// A pass was abandoned. With privacy on it cost what a round costs, and takes one away from those
// that are to come, or the target would be overspent.
void trib_jobs_lose_pass(struct trib_active_job *job);

// ---- server_job.c
void trib_jobs_activate(struct trib_server *server, struct trib_active_job *job);
// A version of the job takes its fall-back table along.
void trib_jobs_put_fallback(const struct trib_active_job *active,
                            struct trib_msg_manifest *manifest);
// A row that has become durable. The state stays: the operator may have paused it meanwhile.
void trib_jobs_take_row(struct trib_active_job *active, const struct trib_store_job *row);
// The weights of classes that the report of their round says.
void trib_jobs_take_classes(struct trib_active_job *active, const char *report);
void trib_jobs_end(struct trib_server *server, enum trib_job_state state, const char *reason);
void trib_jobs_free(struct trib_active_job *job);
// The job's first version, when the head does not fit it.
void trib_jobs_start(struct trib_server *server);
// Is it time for the job to end (stop.h)?
#define TRIB_JOB_NO_STATISTICS       "the pipeline's statistics could not be gathered"
#define TRIB_JOB_LEARNT_NOTHING      "no round made a version: rounds ls and devices ls say why"
#define TRIB_JOB_NOTHING_TO_EVALUATE "the pipeline leaves no rows to evaluate on; see the log"
enum trib_stop_rule trib_jobs_stop_rule(const struct trib_server *server);
// Does the job end by this rule now, or is its newest version measured on devices first?
bool trib_jobs_is_over(const struct trib_server *server, enum trib_stop_rule rule);
void trib_jobs_finish(struct trib_server *server); // it is
void trib_jobs_set_head(struct trib_server *server, struct trib_version *version);

// ---- server_disk.c
void trib_disk_tick(struct trib_server *server, uint64_t now_ms);
// Of a start: the reserve, unless it was given up for the round that is open, which still needs the
// room.
void trib_disk_begin(struct trib_server *server);
// Bytes that a version of the job takes while it is made.
uint64_t trib_disk_room_of_version(const struct trib_active_job *active);

// ---- server_audit_check.c
void trib_audit_tick(struct trib_server *server, uint64_t now_ms);

// ---- server_old.c
void trib_old_tick(struct trib_server *server);

// ---- server_recover.c
TRIB_CHECKED enum trib_err trib_jobs_recover(struct trib_server *server);
// What the stored rounds of a job settled: its pipeline, its baseline, ... On the thread of the store.
TRIB_CHECKED enum trib_err trib_jobs_recall(struct trib_store *store,
                                            struct trib_active_job *active);

// ---- server_admin.c
// Created by server_admin.c for each connection of the admin socket.
struct trib_admin_call;
bool trib_server_admin_accepted(void *server, struct trib_conn *conn);
// We stop: who is connected and has asked nothing is not waited for.
void trib_admins_stop(struct trib_server *server);
// Who connects and asks nothing, or takes no answer away, loses the place.
void trib_admins_tick(struct trib_server *server, uint64_t now_ms);
// Send the reply (emptied) and end the call.
void trib_admin_answer(struct trib_admin_call *call, struct trib_admin_reply *reply);
struct trib_server *trib_admin_server(const struct trib_admin_call *call);
const struct trib_admin_request *trib_admin_request_of(const struct trib_admin_call *call);
const struct trib_role_peer *trib_admin_peer(const struct trib_admin_call *call);
enum trib_role trib_admin_role(const struct trib_admin_call *call);
struct trib_command_entry;
// Which command it is; with `is_refused` one that the peer has no role for.
void trib_admin_begin(struct trib_admin_call *call, const struct trib_command_entry *entry,
                      bool is_refused);
// Put a command that changes something in the audit log, in the transaction of its change; does
// nothing for others. What is not recorded this way is before it is answered.
TRIB_CHECKED enum trib_err trib_admin_record(struct trib_admin_call *call, struct trib_store *store,
                                             const char *outcome);

// ---- server_telemetry.c
uint64_t trib_server_uploads_in_flight(const struct trib_server *server);
void trib_server_telemetry(const struct trib_server *server, struct trib_telemetry *ret_telemetry);
TRIB_CHECKED enum trib_err trib_server_watch_start(struct trib_server *server);
void trib_server_watch_stop(struct trib_server *server);
void trib_watch_tick(struct trib_server *server, uint64_t now_ms);

// ---- server_audit.c: what the coordinator itself records, in the transaction of what happens
TRIB_CHECKED enum trib_err trib_audit_version(struct trib_store *store,
                                              const struct trib_store_version *row);
TRIB_CHECKED enum trib_err trib_audit_abandoned(struct trib_store *store,
                                                const struct trib_round_result *result);
TRIB_CHECKED enum trib_err trib_audit_enrolment(struct trib_store *store,
                                                const struct trib_store_device *row,
                                                const char *how);
// A device sends other bytes under an old update id: once for each device and round.
void trib_audit_conflict(struct trib_server *server, struct trib_peer *peer, uint64_t round_id);
// What a device did, and what is wrong with it; constant texts but for the subject. False: no memory.
bool trib_audit_device(struct trib_server *server, const struct trib_peer *peer, const char *action,
                       const char *subject, const char *outcome);
// Start or stop, in a transaction of its own that is signed; when no commit thread runs.
TRIB_CHECKED enum trib_err trib_audit_life(struct trib_server *server, const char *action);

// ---- server_command_table.c: what tributaryctl can ask for, and who may
void trib_command_run(struct trib_admin_call *call);

#endif // TRIB_COORDINATOR_SERVER_STATE_H
