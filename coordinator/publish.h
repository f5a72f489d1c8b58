// publish.h - a version: its parameters, its signed manifest, its file, its message to devices.
#ifndef TRIB_COORDINATOR_PUBLISH_H
#define TRIB_COORDINATOR_PUBLISH_H

#include <stddef.h>
#include <stdint.h>

#include "common/math/metrics.h"
#include "common/math/model.h"
#include "common/wire/channel.h"
#include "common/wire/message.h"
#include "coordinator/identity.h"
#include "tributary/err.h"

// Kind of a version that has the parameters of one before it, and came from no round.
#define TRIB_VERSION_RESTORED "restored"

// A version in memory. Serialised once, shared by reference with every channel that sends it.
struct trib_version {
    struct trib_model model;
    struct trib_msg_manifest manifest;
    struct trib_msg_new_version announcement; // the packed manifest and its signature
    struct trib_blob *params;                 // little-endian float32, (4 x params bytes)
    struct trib_sealed *sealed; // the same for many devices, while they fetch it; or NULL
    uint64_t sealed_ms;         // monotonic: when one last asked for it
};

static inline const float *trib_version_params(const struct trib_version *version)
{
    return (const float *)(const void *)version->params->data;
}

// Make a version of `params` (copied): digest, manifest packed and signed. `manifest` has
// everything but digests, spec and params, which are filled in here.
TRIB_CHECKED enum trib_err trib_version_make(const struct trib_identity *identity,
                                             const struct trib_model *model, const float *params,
                                             const struct trib_msg_manifest *manifest,
                                             struct trib_version **ret_version);
// The same of parameters from trib_alloc_aligned that become the version's own, also when it fails.
TRIB_CHECKED enum trib_err trib_version_take(const struct trib_identity *identity,
                                             const struct trib_model *model, float *params,
                                             const struct trib_msg_manifest *manifest,
                                             struct trib_version **ret_version);
void trib_version_destroy(struct trib_version *version); // NULL is fine

// The parameters, sealed once for all who are sent them; borrowed.
TRIB_CHECKED enum trib_err trib_version_seal(struct trib_version *version, uint64_t now_ms,
                                             struct trib_sealed **ret_sealed);
// Call now and then: what nobody has fetched for a while is not kept sealed.
void trib_version_rest(struct trib_version *version, uint64_t now_ms);

// Write DIR/models/<digest>.safetensors durably, with the signed manifest in its metadata.
TRIB_CHECKED enum trib_err trib_version_write(const char *dir, const struct trib_version *version);

// What comes before the parameters in the file of a version. The file itself may be that of another
// version with the same parameters, which wrote it later. TRIB_ERR_CORRUPT: it is no manifest of
// ours.
TRIB_CHECKED enum trib_err trib_version_header(const uint8_t *manifest, size_t manifest_size,
                                               const uint8_t signature[static TRIB_SIGNATURE_SIZE],
                                               struct trib_buf *ret_header);

// Read a version back and check it against its own digest and our signature, or that of a release
// key we had before. It is signed anew, by the key we have.
TRIB_CHECKED enum trib_err trib_version_read(const char *dir, const struct trib_identity *identity,
                                             const uint8_t *manifest, size_t manifest_size,
                                             const uint8_t signature[static TRIB_SIGNATURE_SIZE],
                                             struct trib_version **ret_version);

// "DIR/models/<digest>.safetensors"
TRIB_CHECKED enum trib_err trib_version_path(const char *dir,
                                             const uint8_t digest[static TRIB_DIGEST_SIZE],
                                             char path[static TRIB_PATH_MAX + 1]);

void trib_manifest_set_evaluation(struct trib_msg_manifest *manifest,
                                  const struct trib_evaluation *evaluation);
// What a manifest says, for a model of so many classes; the rest is NaN.
void trib_manifest_get_evaluation(const struct trib_msg_manifest *manifest, uint32_t classes,
                                  struct trib_evaluation *ret_evaluation);

#endif // TRIB_COORDINATOR_PUBLISH_H
