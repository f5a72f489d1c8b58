// mode.h - who may see what: the four privacy modes (docs/privacy-math.md 7) and their names.
#ifndef TRIB_PRIVACY_MODE_H
#define TRIB_PRIVACY_MODE_H

#include <stdbool.h>

// The numbers travel and are stored: they never change their meaning.
enum trib_privacy_mode {
    TRIB_PRIVACY_OFF = 0,         // plain integers; no promise
    TRIB_PRIVACY_LOCAL = 1,       // every device adds all of the noise itself
    TRIB_PRIVACY_DISTRIBUTED = 2, // devices add shares of the noise under secure aggregation
    TRIB_PRIVACY_CENTRAL = 3,     // the coordinator adds the noise
};

// "off", "local", "distributed" or "central"; "unknown" for any other number.
const char *trib_privacy_mode_text(enum trib_privacy_mode mode);

// False if `text` names no mode.
bool trib_privacy_mode_parse(const char *text, enum trib_privacy_mode *ret_mode);

#endif // TRIB_PRIVACY_MODE_H
