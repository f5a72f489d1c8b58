// mode.h - who may see what: the four privacy modes (docs/privacy-math.md 7) and their names.
#ifndef TRIB_PRIVACY_MODE_H
#define TRIB_PRIVACY_MODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

// What a promise of mode distributed hangs on, besides its noise.
struct trib_privacy_cohort {
    uint32_t members;   // n; 0: not known
    uint32_t colluders; // c: as many of them may side with the coordinator
    // A key that the coordinator does not hold vouches for the members. Without, it could fill a cohort
    // with members that it made up, and the promise holds only while it does not.
    bool is_vouched_apart;
};

// Against whom a mode protects, in words, the same on the device as in the job. `cohort` is of mode
// distributed only.
void trib_privacy_against(enum trib_privacy_mode mode, const struct trib_privacy_cohort *cohort,
                          char *text, size_t size);

#endif // TRIB_PRIVACY_MODE_H
