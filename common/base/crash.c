#include "common/base/crash.h"

#ifdef TRIB_WITH_CRASH_POINTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Bounds of the section, made by the linker because the section's name is a C identifier. Weak,
// so that a program without any point still links.
extern struct trib_crash_point trib_section_begin[] __asm__("__start_trib_crash")
    __attribute__((weak));
extern struct trib_crash_point trib_section_end[] __asm__("__stop_trib_crash")
    __attribute__((weak));

void trib_crash_pass(struct trib_crash_point *point)
{
    const char *wanted = getenv("TRIB_CRASH");
    size_t length = strlen(point->name);
    if (!wanted || strncmp(wanted, point->name, length) != 0 || wanted[length] != ':')
        return;
    unsigned long pass = __atomic_add_fetch(&point->passes, 1, __ATOMIC_RELAXED);
    if (pass == strtoul(wanted + length + 1, NULL, 10))
        (void)kill(getpid(), SIGKILL);
}

bool trib_crash_plants(const char *name)
{
    const char *planted = getenv("TRIB_PLANT");
    return planted && strcmp(planted, name) == 0;
}

void trib_crash_list(void)
{
    for (struct trib_crash_point *p = trib_section_begin; p < trib_section_end; p++)
        (void)fprintf(stdout, "%s\n", p->name);
}

#else

void trib_crash_list(void)
{
}

#endif
