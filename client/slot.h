// slot.h - the model a device has installed: one file, swapped whole, verified when it is read.
//
// A new version is taken only if its manifest is signed by the pinned release key, is of our
// population, has a specification that matches its digest and size, and is newer by (generation,
// version), and makes its features as this device does. The file is written beside the old one and
// renamed over it: a kill at any moment leaves the old model or the new one, never half of one.
#ifndef TRIB_CLIENT_SLOT_H
#define TRIB_CLIENT_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/state.h"
#include "common/math/model.h"
#include "common/wire/code.h"
#include "common/wire/message.h"
#include "tributary/err.h"

struct trib_slot {
    struct trib_msg_manifest manifest; // version 0: nothing is installed
    struct trib_model model;
    float *params; // (model.param_count), owned
    // Somebody reads the parameters on another thread: they are left to him by the installation of
    // another version, which frees them otherwise.
    bool is_lent;
    bool is_former; // its manifest is signed by enrolment.model_key, and not by the pinned key
    // Digest of the pipeline that the device's rows go through (all 0: none), borrowed; a version
    // whose manifest has another is refused. NULL: any will do.
    const uint8_t *prepare_digest;
};

// Read DIR/model.safetensors. No file: an empty slot. A damaged or foreign one is named on the log
// and treated as absent: it is never used; so is one for another pipeline than `prepare_digest`.
TRIB_CHECKED enum trib_err trib_slot_load(const char *dir,
                                          const struct trib_state_enrolment *enrolment,
                                          const uint8_t *prepare_digest,
                                          struct trib_slot *ret_slot);
// Afterwards it is empty and accepts the same pipeline.
void trib_slot_fini(struct trib_slot *slot);

// Would this announcement be installed? TRIB_CODE_MODEL_INSTALLED: yes, then the model is filled;
// otherwise the reason why not; RETRY_LATER: there was no memory to tell. The manifest is filled
// whenever it is signed and can be read.
enum trib_code trib_slot_judge(const struct trib_slot *slot,
                               const struct trib_state_enrolment *enrolment,
                               const struct trib_msg_new_version *announcement,
                               struct trib_msg_manifest *ret_manifest,
                               struct trib_model *ret_model);

// Check the parameters against the manifest's digest, write the file, swap. Takes `params` when it
// returns TRIB_OK. TRIB_ERR_CORRUPT: they are not what was signed.
TRIB_CHECKED enum trib_err trib_slot_install(struct trib_slot *slot, const char *dir,
                                             const struct trib_msg_new_version *announcement,
                                             const struct trib_msg_manifest *manifest,
                                             const struct trib_model *model, float *params);

#endif // TRIB_CLIENT_SLOT_H
