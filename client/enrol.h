// enrol.h - enrolment by the allow-list; by a token it is trib_client_enrol of the public header.
#ifndef TRIB_CLIENT_ENROL_H
#define TRIB_CLIENT_ENROL_H

#include "tributary/err.h"

// `key_text` is the coordinator's public key in base64url; ours must be on its allow-list. Errors
// as for trib_client_enrol.
TRIB_CHECKED enum trib_err trib_enrol_listed(const char *url, const char *key_text,
                                             const char *state_dir);

#endif // TRIB_CLIENT_ENROL_H
