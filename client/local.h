// local.h - the part of a model that stays on the device (common/math/model.h), on disk.
//
// One file beside the installed model, swapped whole, readable by its owner alone:
//
//     offset  size  field (little-endian)
//     0       8     "TRIBLOC1"
//     8       32    BLAKE2b-256 of everything behind it
//     40      32    architecture digest
//     72      8     round id: of the training that made `after`; 0: none has
//     80      8     count: parameters of the local part
//     88      4n    before: where that training began
//     88+4n   4n    after: where it ended
//
// A round whose update was lost before it was durable is trained a second time, and then begins
// where it began the first time: so a kill changes nothing of what is sent. No message and no spool
// holds anything of this file.
#ifndef TRIB_CLIENT_LOCAL_H
#define TRIB_CLIENT_LOCAL_H

#include <stdint.h>

#include "common/math/model.h"
#include "tributary/err.h"

struct trib_local {
    uint64_t round_id;
    size_t count;
    float *before; // (count), owned
    float *after;  // (count), owned
};

// Read DIR/local.part, or begin anew (trib_model_init_local) when there is none, it is damaged
// (named on the log) or of another architecture. `model` has a local part.
TRIB_CHECKED enum trib_err trib_local_load(const char *dir, const struct trib_model *model,
                                           uint64_t seed, const char *device,
                                           struct trib_local *ret_local);
void trib_local_fini(struct trib_local *local); // wipes; an empty one is fine

// Where the training of this round begins (count), borrowed.
const float *trib_local_start(const struct trib_local *local, uint64_t round_id);

// Make `trained` (count), what came of this round's training, durable in DIR and the newest.
TRIB_CHECKED enum trib_err trib_local_save(struct trib_local *local, const char *dir,
                                           const struct trib_model *model, uint64_t round_id,
                                           const float *trained);

#endif // TRIB_CLIENT_LOCAL_H
