// err.h - the one way functions report failure, inside the project and to its users.
//
// Every function that can fail returns enum trib_err; TRIB_OK is 0, so `if (err)` reads as it
// should. Results come back through trailing `ret_` parameters, written only on success.
#ifndef TRIB_ERR_H
#define TRIB_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TRIB_API     __attribute__((visibility("default")))
#define TRIB_CHECKED __attribute__((warn_unused_result))
#else
#define TRIB_API
#define TRIB_CHECKED
#endif

// Numbers never change their meaning; new ones may be added.
enum trib_err {
    TRIB_OK = 0,
    TRIB_ERR_NOMEM = 1,   // allocation refused
    TRIB_ERR_INVAL = 2,   // the caller's argument or configuration is wrong
    TRIB_ERR_PROTO = 3,   // the peer broke the protocol: drop the session
    TRIB_ERR_LIMIT = 4,   // a bound in limits.h was reached
    TRIB_ERR_STATE = 5,   // right call, wrong moment
    TRIB_ERR_AUTH = 6,    // handshake, signature or tag check failed, or the peer did not accept us
    TRIB_ERR_TIMEOUT = 7, // deadline passed
    TRIB_ERR_IO = 8,      // the operating system said no; errno was logged where it happened
    TRIB_ERR_STOPPED = 9, // asked to stop, and stopped
    TRIB_ERR_REFUSED = 10, // the trainer declined the task
    TRIB_ERR_CONNECT = 11, // the peer cannot be reached
    TRIB_ERR_DATA = 12,    // local data are absent, malformed or unusable
    TRIB_ERR_PRIVACY = 13, // refused by the privacy policy
    TRIB_ERR_CORRUPT = 14, // bytes at rest do not match their digest or checksum
};

// A short constant English text, never NULL.
TRIB_API const char *trib_err_text(enum trib_err err);

#ifdef __cplusplus
}
#endif

#endif // TRIB_ERR_H
