#include "common/privacy/mode.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [TRIB_PRIVACY_OFF] = "off",
    [TRIB_PRIVACY_LOCAL] = "local",
    [TRIB_PRIVACY_DISTRIBUTED] = "distributed",
    [TRIB_PRIVACY_CENTRAL] = "central",
};

enum {
    NAME_COUNT = sizeof(names) / sizeof(names[0])
};

const char *trib_privacy_mode_text(enum trib_privacy_mode mode)
{
    return (size_t)mode < NAME_COUNT ? names[mode] : "unknown";
}

bool trib_privacy_mode_parse(const char *text, enum trib_privacy_mode *ret_mode)
{
    for (int mode = 0; mode < NAME_COUNT; mode++) {
        if (strcmp(text, names[mode]) == 0) {
            *ret_mode = (enum trib_privacy_mode)mode;
            return true;
        }
    }
    return false;
}

void trib_privacy_against(enum trib_privacy_mode mode, const struct trib_privacy_cohort *cohort,
                          char *text, size_t size)
{
    const char *coordinator;
    switch (mode) {
    case TRIB_PRIVACY_OFF: (void)snprintf(text, size, "nobody: no formal privacy"); return;
    case TRIB_PRIVACY_LOCAL:
        (void)snprintf(text, size, "everyone including the coordinator");
        return;
    case TRIB_PRIVACY_CENTRAL:
        (void)snprintf(text, size,
                       "everyone but the coordinator, who sees each update and adds the noise");
        return;
    case TRIB_PRIVACY_DISTRIBUTED:
        coordinator = cohort->is_vouched_apart
                          ? "a coordinator that may lie"
                          : "a coordinator that is honest about who its devices are";
        if (cohort->members)
            (void)snprintf(text, size,
                           "%s with up to %" PRIu32 " of %" PRIu32
                           " devices, under secure aggregation",
                           coordinator, cohort->colluders, cohort->members);
        else
            (void)snprintf(text, size,
                           "%s, under secure aggregation (with how many devices was not noted)",
                           coordinator);
        return;
    }
    (void)snprintf(text, size, "unknown");
}
