#include "simulations/chaos/posix.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "simulations/chaos/disk.h"
#include "simulations/chaos/machine.h"

#define EPOCH_US 1767225600000000u // 2026-01-01: when a world begins

enum {
    UPTIME_US = 1000000000, // of the machine by then: 0 means never in many places
};

static void (*look)(void);

void trib_posix_on_unlock(void (*new_look)(void))
{
    look = new_look;
}

// ---- Threads

int __wrap_pthread_create(pthread_t *ret_id, const pthread_attr_t *attributes,
                          void *(*main)(void *user), void *user)
{
    (void)attributes;
    *ret_id = (pthread_t)(uintptr_t)trib_machine_thread(main, user);
    return 0;
}

int __wrap_pthread_join(pthread_t id, void **ret_value)
{
    trib_machine_join((struct trib_thread *)(uintptr_t)id);
    if (ret_value)
        *ret_value = NULL;
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    while (pthread_mutex_trylock(lock))
        (void)trib_machine_wait(lock, UINT64_MAX);
    trib_machine_keeps(1);
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock)
{
    const int failed = __real_pthread_mutex_unlock(lock);
    trib_machine_keeps(-1);
    trib_machine_wake(lock, true);
    if (look && trib_machine_current())
        look();
    trib_machine_pause();
    return failed;
}

static int wait_on(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t until_us)
{
    (void)__real_pthread_mutex_unlock(lock);
    trib_machine_keeps(-1);
    trib_machine_wake(lock, true);
    const bool was_woken = trib_machine_wait(condition, until_us);
    (void)__wrap_pthread_mutex_lock(lock);
    return was_woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    return wait_on(condition, lock, UINT64_MAX);
}

static uint64_t to_us(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * 1000000u + (uint64_t)time->tv_nsec / 1000u;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *lock,
                                  const struct timespec *until)
{
    const uint64_t until_us = to_us(until);
    return wait_on(condition, lock, until_us > UPTIME_US ? until_us - UPTIME_US : 0);
}

int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    trib_machine_wake(condition, false);
    trib_machine_wake(trib_machine_current(), true); // who polls: a queue with a descriptor filled
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition)
{
    trib_machine_wake(condition, true);
    return 0;
}

int __wrap_poll(struct pollfd *items, nfds_t count, int timeout_ms)
{
    const uint64_t until_us =
        timeout_ms < 0 ? UINT64_MAX : trib_machine_now_us() + (uint64_t)timeout_ms * 1000u;
    for (;;) {
        const int ready = __real_poll(items, count, 0);
        if (ready || trib_machine_now_us() >= until_us)
            return ready;
        (void)trib_machine_wait(trib_machine_current(), until_us);
    }
}

// ---- Time

int __wrap_clock_gettime(clockid_t id, struct timespec *ret_time)
{
    const uint64_t us =
        trib_machine_now_us() + (id == CLOCK_REALTIME ? EPOCH_US : (uint64_t)UPTIME_US);
    ret_time->tv_sec = (time_t)(us / 1000000u);
    ret_time->tv_nsec = (long)(us % 1000000u) * 1000;
    return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    (void)trib_machine_wait(time, trib_machine_now_us() + to_us(time));
    return 0;
}

// ---- The disk: the bytes are in memory, but whoever syncs them waits

int __wrap_fsync(int fd)
{
    (void)fd;
    trib_disk_wait();
    return 0;
}

int __wrap_fdatasync(int fd)
{
    return __wrap_fsync(fd);
}

// ---- Randomness: each process has its own, of each of its lives

static const char *random_name(void)
{
    return "chaos";
}

static void random_buf(void *const data, const size_t size)
{
    struct trib_process *process = trib_machine_current();
    uint8_t *bytes = data;
    uint8_t word[8];
    for (size_t at = 0; at < size; at += sizeof(word)) {
        trib_store_le64(word, process ? trib_rng_next(&process->entropy) : at);
        memcpy(bytes + at, word, size - at < sizeof(word) ? size - at : sizeof(word));
    }
}

static uint32_t random_word(void)
{
    uint32_t word;
    random_buf(&word, sizeof(word));
    return word;
}

void trib_posix_init(void)
{
    static struct randombytes_implementation randomness = {
        .implementation_name = random_name, .random = random_word, .buf = random_buf};
    if (randombytes_set_implementation(&randomness))
        abort();
}
