#include "client/rotate.h"

#include <string.h>
#include <unistd.h>

#include "client/enrol.h"
#include "client/state.h"
#include "common/base/crash.h"
#include "common/base/log.h"
#include "common/base/wipe.h"
#include "common/wire/noise_ik.h"

#define TRIB_LOG_MODULE "rotate"

// Under the lock of `dir`.
static enum trib_err rotate(const char *dir, const struct trib_state_enrolment *enrolment,
                            const struct trib_state_keys *keys, const struct trib_state_keys *next)
{
    const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    struct trib_msg_enrol_reply reply;
    uint8_t next_key[TRIB_STATE_KEY_SIZE];
    struct trib_enrol_call call = {.url = enrolment->url,
                                   .coordinator = enrolment->coordinator_key,
                                   .hello = &hello,
                                   .keys = keys,
                                   .next = next};
    enum trib_err err = trib_enrol_ask(&call, &reply);
    if (err)
        return err;
    trib_noise_public(next->secret, next_key);
    if (!reply.has_next || memcmp(reply.next_key, next_key, sizeof(next_key)) != 0) {
        TRIB_ERROR("%s: the coordinator does not take other keys: is it of an older version?",
                   enrolment->url);
        return TRIB_ERR_AUTH;
    }
    TRIB_CRASH_POINT("rotate.known");
    err = trib_state_keys_swap(dir);
    TRIB_CRASH_POINT("rotate.swapped");
    call.keys = next;
    call.next = NULL;
    if (!err)
        err = trib_enrol_ask(&call, &reply);
    if (!err)
        TRIB_INFO("device=%s has other keys", enrolment->name);
    return err;
}

enum trib_err trib_device_rotate(const char *dir)
{
    struct trib_state_enrolment enrolment;
    struct trib_state_keys keys;
    struct trib_state_keys next;
    int lock;
    trib_crypto_init();
    enum trib_err err = trib_state_enrolment_load(dir, &enrolment);
    if (!err)
        err = trib_state_lock(dir, &lock);
    if (err)
        return err;
    err = trib_state_keys_load(dir, &keys);
    if (err)
        goto out;
    err = trib_state_keys_next(dir, &keys, &next);
    TRIB_CRASH_POINT("rotate.made");
    if (!err)
        err = rotate(dir, &enrolment, &keys, &next);
    trib_state_keys_wipe(&next);
    trib_state_keys_wipe(&keys);

out:
    (void)close(lock);
    return err;
}
