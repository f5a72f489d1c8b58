// The announcement of a version. The first byte: is it signed by the right key, what does the device
// have, and which pipeline; the rest is the manifest. Only one that is signed, for this population,
// whole and newer is ever taken.
#include <stdlib.h>
#include <string.h>

#include "client/slot.h"
#include "common/base/sign.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    SIGNED = 1,    // by the release key; else by another
    INSTALLED = 2, // the device has generation 2, version 7
    PIPELINE = 4,  // its rows go through one
};

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[TRIB_SIGN_SEED_SIZE] = {42}, other[TRIB_SIGN_SEED_SIZE] = {43};
    static const uint8_t pipeline[TRIB_DIGEST_SIZE] = {7};
    static struct trib_msg_new_version card;
    static struct trib_msg_manifest manifest;
    static struct trib_model model;
    struct trib_state_enrolment enrolment = {.population = "default"};
    struct trib_slot slot = {.params = NULL};
    if (size < 1 || size - 1 > sizeof(card.manifest))
        return 0;
    trib_log_set_sink(drop_line, NULL);
    trib_sign_public(seed, enrolment.release_key);
    memcpy(card.manifest, data + 1, size - 1);
    card.manifest_size = size - 1;
    trib_sign(data[0] & SIGNED ? seed : other, TRIB_MANIFEST_CONTEXT, card.manifest,
              card.manifest_size, card.signature);
    slot.prepare_digest = data[0] & PIPELINE ? pipeline : NULL;
    if (data[0] & INSTALLED) {
        slot.manifest.generation = 2;
        slot.manifest.version = 7;
    }

    const enum trib_code code = trib_slot_judge(&slot, &enrolment, &card, &manifest, &model);
    require((code == TRIB_CODE_MODEL_UNSIGNED) == !(data[0] & SIGNED));
    if (code != TRIB_CODE_MODEL_INSTALLED)
        return 0;
    const struct trib_msg_manifest *have = &slot.manifest;
    require(strcmp(manifest.population, enrolment.population) == 0);
    require(manifest.params == model.param_count && model.param_count > 0);
    require(memcmp(manifest.arch_digest, model.arch_digest, TRIB_DIGEST_SIZE) == 0);
    require(manifest.generation > have->generation ||
            (manifest.generation == have->generation && manifest.version > have->version));
    require(!slot.prepare_digest ||
            memcmp(manifest.prepare_digest, pipeline, TRIB_DIGEST_SIZE) == 0);
    return 0;
}
