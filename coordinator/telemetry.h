// telemetry.h - what is seen of a coordinator from outside: its counters, and how they are printed
// for Prometheus (text exposition format 0.0.4).
//
// Everything starts at 0 with the process. Two identities hold in every snapshot, since only the
// state thread counts and only it takes snapshots:
//
//     connections accepted = connections closed, over all reasons + connections open
//     UPLOAD_BEGINs        = receipts, over all codes + uploads cut before theirs + in flight
//
// There is one table of all metrics (telemetry.c); docs/operating.md has the same, and a test
// compares them. Labels come from closed lists, never from a device.
#ifndef TRIB_COORDINATOR_TELEMETRY_H
#define TRIB_COORDINATOR_TELEMETRY_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/wire/channel.h"
#include "common/wire/code.h"
#include "coordinator/commit.h"
#include "coordinator/round.h"

// What a round spends its time with; every moment of it belongs to one of them.
enum trib_phase {
    TRIB_PHASE_SELECT,    // until enough devices have taken the task; its opening included
    TRIB_PHASE_KEYS,      // masked: keys and shares
    TRIB_PHASE_COLLECT,   // updates come in
    TRIB_PHASE_SEAL,      // the set of updates is made durable
    TRIB_PHASE_UNMASK,    // masked: the survivors agree, their shares come in
    TRIB_PHASE_AGGREGATE, // from updates to a version
    TRIB_PHASE_EVALUATE,  // of that, measuring it on held-out rows
    TRIB_PHASE_COMMIT,    // its end is made durable
    TRIB_PHASES,
};
const char *trib_phase_text(enum trib_phase phase);
enum trib_phase trib_phase_of(enum trib_round_state state);

struct trib_counters {
    uint64_t accepted; // connections
    uint64_t open;
    uint64_t closed[TRIB_CLOSE_REASONS];
    uint64_t begins; // UPLOAD_BEGINs
    uint64_t receipts[TRIB_CODE_MAX];
    uint64_t cut; // uploads that ended without a receipt
    uint64_t declined[TRIB_CODE_MAX];
    uint64_t install_refused[TRIB_CODE_MAX];
    uint64_t keys_refused[TRIB_CODE_MAX];
    uint64_t unknown_records;
    uint64_t twins;            // sessions that were alive when a newer one of their key began
    uint64_t commands_refused; // who gave them has not the role
    uint64_t committed;        // rounds
    uint64_t abandoned[TRIB_ROUND_REASONS];
    uint64_t phase_us[TRIB_PHASES]; // of the rounds that have ended
};

// A moment of a coordinator.
struct trib_telemetry {
    struct trib_counters counters;
    struct trib_latency commits[TRIB_COMMIT_PARTS];
    uint64_t uploads_in_flight;
    uint64_t received_bytes, sent_bytes;
    uint64_t devices_known, devices_connected, devices_current; // current: have the newest version
    uint64_t version;
    uint64_t jobs_active; // 0 or 1; the fields of the job are 0 without one
    uint64_t job_rounds, job_target_rounds;
    uint64_t round_asked, round_counted; // devices of the open round
    double epsilon, epsilon_pure, target_epsilon, delta;
    uint64_t free_disk_bytes; // filled in when it is asked for (watch.c)
    uint64_t disk_is_full;    // 0 or 1
    uint64_t audit_checked;   // records that the last pass read
    uint64_t audit_is_broken; // 0 or 1: what it found
    double started_s;         // since 1970
};

void trib_telemetry_print(const struct trib_telemetry *telemetry, struct trib_buf *out);

#endif // TRIB_COORDINATOR_TELEMETRY_H
