// masked.h - a device's part in a round under secure aggregation, from its noised words to the end.
//
// Between client.c, which sends and receives, and privacy/secagg.h, which decides: here a step of
// the coordinator becomes the step that answers it. Everything is in memory only: a restart ends
// the part (docs/privacy.md). A step that is repeated, because a connection was lost, is answered
// with the same bytes again.
#ifndef TRIB_CLIENT_MASKED_H
#define TRIB_CLIENT_MASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/task.h"
#include "common/privacy/secagg.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"

struct trib_masked;

struct trib_masked_options {
    const struct trib_task *task;  // copied; its base is the model that was installed
    const uint8_t *roster_key;     // pinned; NULL: the device has none
    const uint8_t *sign_seed;      // the device's Ed25519
    const char *population, *name; // copied
    const uint8_t *invited;        // from the coordinator's SECAGG_OPEN
    const uint8_t *roster_open;    // likewise: whose signatures the others will come with
    uint32_t cohort_min;           // the device's own
    struct trib_vouched *vouched;  // borrowed for the part's life, or NULL
};

// What is to be sent now.
struct trib_masked_answer {
    uint32_t kind;          // of a step, or 0: nothing
    struct trib_blob *blob; // a reference of the caller's; NULL: nothing
};

// Takes `words` (params noised integers), also when it fails; they are wiped with the rest.
// TRIB_CODE_ACCEPTED: *ret_masked and the advert. Otherwise why the device leaves.
enum trib_code trib_masked_create(const struct trib_masked_options *options, int32_t *words,
                                  struct trib_masked **ret_masked,
                                  struct trib_masked_answer *ret_answer);
void trib_masked_destroy(struct trib_masked *masked); // wipes; NULL is fine

uint64_t trib_masked_round(const struct trib_masked *masked);

// The most bytes a step of the coordinator may have; 0: no such step.
size_t trib_masked_size_max(const struct trib_task *task, uint32_t kind);

// A whole step came. TRIB_CODE_ACCEPTED and the answer, or why the device leaves for good.
enum trib_code trib_masked_take(struct trib_masked *masked, uint32_t kind, const uint8_t *data,
                                size_t size, struct trib_masked_answer *ret_answer);
// What was answered last, again: the connection was lost, or nobody asked yet.
void trib_masked_again(const struct trib_masked *masked, struct trib_masked_answer *ret_answer);

// After SEALED: the masked words, packed, to be uploaded. Owned by the caller; once.
enum trib_code trib_masked_upload(struct trib_masked *masked,
                                  struct trib_msg_upload_begin *ret_begin, uint8_t **ret_packed);
bool trib_masked_wants_upload(const struct trib_masked *masked);

#endif // TRIB_CLIENT_MASKED_H
