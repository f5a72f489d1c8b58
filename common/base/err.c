#include "tributary/err.h"

const char *trib_err_text(enum trib_err err)
{
    switch (err) {
    case TRIB_OK: return "ok";
    case TRIB_ERR_NOMEM: return "out of memory";
    case TRIB_ERR_INVAL: return "invalid argument";
    case TRIB_ERR_PROTO: return "protocol violation by peer";
    case TRIB_ERR_LIMIT: return "limit reached";
    case TRIB_ERR_STATE: return "not possible in this state";
    case TRIB_ERR_AUTH: return "authentication failed";
    case TRIB_ERR_TIMEOUT: return "timed out";
    case TRIB_ERR_IO: return "input/output error";
    case TRIB_ERR_STOPPED: return "stopped";
    case TRIB_ERR_REFUSED: return "refused by trainer";
    case TRIB_ERR_CONNECT: return "cannot reach the peer";
    case TRIB_ERR_DATA: return "data unusable";
    case TRIB_ERR_PRIVACY: return "refused by privacy policy";
    case TRIB_ERR_CORRUPT: return "stored bytes do not match their checksum";
    }
    return "unknown error";
}
