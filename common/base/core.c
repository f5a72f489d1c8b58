#include "common/base/core.h"

#include <sys/prctl.h>

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

void trib_core_forbid(void)
{
#ifndef IS_SANITIZED
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0,
                0); // RLIMIT_CORE does not hold for cores sent to a program
#endif
}
