// crash.h - named places where a test can kill the process, to prove what is durable when.
//
// TRIB_CRASH_POINT("seal.durable") does nothing in a normal build. With -Dcrash_points=true the
// environment TRIB_CRASH=name:n kills the process (SIGKILL) at its n-th pass, and every point of
// the program is in one linker section, so that a sweep can list them and forgets none.
#ifndef TRIB_BASE_CRASH_H
#define TRIB_BASE_CRASH_H

#include <stdbool.h>

#ifdef TRIB_WITH_CRASH_POINTS

struct trib_crash_point {
    const char *name;
    unsigned long passes;
};

#define TRIB_CRASH_POINT(text)                                                     \
    do {                                                                           \
        static struct trib_crash_point trib_crash_here                             \
            __attribute__((section("trib_crash"), used, aligned(16))) = {text, 0}; \
        trib_crash_pass(&trib_crash_here);                                         \
    } while (0)

void trib_crash_pass(struct trib_crash_point *point);

// A bug that a test plants with TRIB_PLANT=name, to prove that a sweep of the points finds it.
#define TRIB_PLANT(text) trib_crash_plants(text)

bool trib_crash_plants(const char *name);

#else

#define TRIB_CRASH_POINT(text) ((void)0)
#define TRIB_PLANT(text)       (false)

#endif

// Print the name of every point of this program, one a line; nothing in a normal build.
void trib_crash_list(void);

#endif // TRIB_BASE_CRASH_H
