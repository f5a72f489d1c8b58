// secagg_hub.h - what the coordinator remembers of a round; for secagg_hub.c and secagg_pack.c.
#ifndef TRIB_PRIVACY_SECAGG_HUB_H
#define TRIB_PRIVACY_SECAGG_HUB_H

#include "common/privacy/secagg_core.h"

enum trib_secagg_phase {
    TRIB_SECAGG_PHASE_KEYS,
    TRIB_SECAGG_PHASE_SHARES,
    TRIB_SECAGG_PHASE_MASKED,
    TRIB_SECAGG_PHASE_UNMASK, // U3 is fixed: consents and shares come
    TRIB_SECAGG_PHASE_OPEN,   // the masks are known
    TRIB_SECAGG_PHASE_FAILED, // some share was wrong
};

// A member: what the others see, and what came from it.
struct trib_secagg_seat {
    struct trib_secagg_entry entry;
    uint32_t tag;
    uint32_t have;   // of members' shares of its secret, from PHASE_UNMASK on
    uint8_t *sealed; // for its neighbours, ascending; NULL: did not come
    uint8_t *reply;  // its shares of its neighbours' secrets and its own; NULL: did not come
    uint8_t consent[TRIB_SIGNATURE_SIZE];
};

struct trib_secagg_hub {
    struct trib_secagg_header header;
    char population[TRIB_NAME_MAX + 1];
    uint8_t round_hash[TRIB_DIGEST_SIZE];

    enum trib_secagg_phase phase;
    uint32_t count;                 // advertised; from PHASE_SHARES on |U1|
    struct trib_secagg_seat *seats; // room for n; from PHASE_SHARES on in order of names
    uint8_t cohort_hash[TRIB_DIGEST_SIZE];
    uint8_t seal_digest[TRIB_DIGEST_SIZE];
    struct trib_secagg_graph graph;
    uint8_t *sets; // room for those below, one after another
    uint8_t *shared_set, *survivor_set, *signer_set;
    uint32_t short_count; // secrets with fewer shares than they need

    struct trib_mask *masks; // to take out of the sum, once open
    size_t mask_count, mask_capacity;
};

// From U1 in `seats` and `count`: the cohort's hash, neighbours and room for the sets.
TRIB_CHECKED enum trib_err trib_secagg_hub_settle(struct trib_secagg_hub *hub);
// From U3: what is signed, and how many shares are missing.
void trib_secagg_hub_seal(struct trib_secagg_hub *hub);
// Bytes of a member's shares in R4.
size_t trib_secagg_hub_reply_size(const struct trib_secagg_hub *hub, uint32_t member);

#endif // TRIB_PRIVACY_SECAGG_HUB_H
