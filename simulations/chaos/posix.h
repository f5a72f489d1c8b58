// posix.h - what processes take for the operating system: threads, locks, clocks, randomness.
//
// The linker puts these functions in the place of those of the C library (meson.build: --wrap), so
// that the programs' own code runs as it is. Each of them lets the machine decide what happens next.
#ifndef TRIB_CHAOS_POSIX_H
#define TRIB_CHAOS_POSIX_H

#include <poll.h>
#include <pthread.h>
#include <time.h>

// Randomness, too; before the first use of it.
void trib_posix_init(void);
// Called whenever a lock was let go, before anybody else runs.
void trib_posix_on_unlock(void (*look)(void));

int __wrap_pthread_create(pthread_t *ret_id, const pthread_attr_t *attributes,
                          void *(*main)(void *user), void *user);
int __wrap_pthread_join(pthread_t id, void **ret_value);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);
int __real_pthread_mutex_unlock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *lock,
                                  const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *condition);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret_time);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __real_poll(struct pollfd *items, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *items, nfds_t count, int timeout_ms);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

#endif // TRIB_CHAOS_POSIX_H
