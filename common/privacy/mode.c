#include "common/privacy/mode.h"

#include <stddef.h>
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
