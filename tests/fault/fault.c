#include "tests/fault/fault.h"

#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum {
    PATH_SIZE = 512,
    CALLERS = 16, // return addresses that are looked at, and shown
#ifdef FAULT_WITH_ASAN
    OWN_CALLERS = 4, // of them: the sanitizer's backtrace, and those below
#else
    OWN_CALLERS = 3, // of them: trips, memory_trips, malloc
#endif
};

static struct {
    atomic_int kind;
    atomic_bool lasts;
    int code;
    unsigned long nth;
    atomic_ulong passes[FAULT_KINDS];
    atomic_ulong fired;
    atomic_bool half; // the next write fails, after one that took half
} armed;

static char watched[PATH_SIZE];
static atomic_size_t watched_size;
static _Thread_local bool exempt, forgets_syncs;

static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER; // one file operation at a time
static fault_op_fn trace_op;
static void *trace_user;
static atomic_bool is_traced;

static const atomic_llong *clock_step_ms;

// ---- Whose memory

// Code of nng, of the C library, and our own.
static uintptr_t nng_begin, nng_end, libc_begin, libc_end, own_begin, own_end;

static int take_object(struct dl_phdr_info *info, size_t size, void *user)
{
    uintptr_t *begin = &own_begin, *end = &own_end;
    if (strstr(info->dlpi_name, "/libnng")) {
        begin = &nng_begin;
        end = &nng_end;
    } else if (strstr(info->dlpi_name, "/libc.so")) {
        begin = &libc_begin;
        end = &libc_end;
    }
    (void)size;
    (void)user;
    if (begin == &own_begin && info->dlpi_name[0])
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            *begin = info->dlpi_addr + part->p_vaddr;
            *end = *begin + part->p_memsz;
        }
    }
    return 0;
}

// Is nng nearer than we are? `callers` begins behind fault.c.
static bool is_of_nng(void *const *callers, int count)
{
    for (int i = 0; i < count; i++) {
        const uintptr_t at = (uintptr_t)callers[i];
        if (at >= nng_begin && at < nng_end)
            return true;
        if (at >= own_begin && at < own_end)
            return false;
    }
    return false;
}

// ---- Arming

void fault_watch(const char *folder)
{
    watched_size = 0;
    if (folder) {
        (void)snprintf(watched, sizeof(watched), "%s", folder);
        watched_size = strlen(watched);
    }
}

void fault_arm(const struct fault *fault)
{
    void *warm[1];
    (void)backtrace(warm, 1); // the first walk of a stack loads a library
    (void)dl_iterate_phdr(take_object, NULL);
    armed.kind = FAULT_NONE;
    for (int kind = 0; kind < FAULT_KINDS; kind++)
        armed.passes[kind] = 0;
    armed.fired = 0;
    armed.half = false;
    armed.nth = fault->nth;
    armed.code = fault->code;
    armed.lasts = fault->lasts;
    armed.kind = (int)fault->kind;
}

void fault_disarm(void)
{
    armed.kind = FAULT_NONE;
    armed.half = false;
}

unsigned long fault_passes(enum fault_kind kind)
{
    return armed.passes[kind];
}

unsigned long fault_fired(void)
{
    return armed.fired;
}

void fault_exempt(bool is_exempt)
{
    exempt = is_exempt;
}

void fault_forget_syncs(bool is_forgotten)
{
    forgets_syncs = is_forgotten;
}

const char *fault_name(enum fault_kind kind)
{
    static const char *const names[FAULT_KINDS] = {
        "none", "memory", "link", "write", "short", "sync", "rename", "open", "unlink", "read",
    };
    return names[kind];
}

// With a sanitizer the C library may be asked by it, which does not bear a failure.
static bool is_of_sanitizer(void *const *callers, int count)
{
#ifdef FAULT_WITH_ASAN
    const uintptr_t at = count > 0 ? (uintptr_t)callers[0] : 0;
    return at >= libc_begin && at < libc_end;
#else
    (void)callers;
    (void)count;
    return false;
#endif
}

// Does this call fail? Counts it.
static __attribute__((noinline)) bool trips(enum fault_kind kind)
{
    if (exempt)
        return false;
    const unsigned long pass = atomic_fetch_add(&armed.passes[kind], 1) + 1;
    if (armed.kind != (int)kind || pass < armed.nth || (pass > armed.nth && !armed.lasts))
        return false;
    void *callers[CALLERS];
    exempt = true;
    const int count = backtrace(callers, CALLERS);
    const bool is_link = is_of_nng(callers + OWN_CALLERS, count - OWN_CALLERS);
    bool fails = (kind != FAULT_MEMORY && kind != FAULT_LINK) || is_link == (kind == FAULT_LINK);
    if (fails && kind == FAULT_MEMORY &&
        is_of_sanitizer(callers + OWN_CALLERS, count - OWN_CALLERS))
        fails = false;
    if (fails && atomic_fetch_add(&armed.fired, 1) == 0)
        backtrace_symbols_fd(callers, count, STDERR_FILENO);
    exempt = false;
    errno = armed.code;
    return fails;
}

// ---- Memory

// With a sanitizer its allocator, otherwise the C library's.
#ifdef FAULT_WITH_ASAN
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif
// NOLINTBEGIN(bugprone-reserved-identifier): names of the C library and the sanitizer
void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *old, size_t size);
void *REAL(memalign)(size_t align, size_t size);
// NOLINTEND(bugprone-reserved-identifier)

static __attribute__((noinline)) bool memory_trips(void)
{
    const bool fails = trips(FAULT_MEMORY); // both are counted
    return trips(FAULT_LINK) || fails;
}

EXPORTED void *malloc(size_t size)
{
    return memory_trips() ? NULL : REAL(malloc)(size);
}

EXPORTED void *calloc(size_t count, size_t size)
{
    return memory_trips() ? NULL : REAL(calloc)(count, size);
}

EXPORTED void *realloc(void *old, size_t size)
{
    return memory_trips() ? NULL : REAL(realloc)(old, size);
}

EXPORTED void *aligned_alloc(size_t align, size_t size)
{
    return memory_trips() ? NULL : REAL(memalign)(align, size);
}

EXPORTED int posix_memalign(void **ret_memory, size_t align, size_t size)
{
    if (memory_trips())
        return ENOMEM;
    void *memory = REAL(memalign)(align, size);
    if (!memory)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}

// ---- Which file

// The part of `path` behind the watched folder, or NULL.
static const char *relative(const char *path)
{
    const size_t size = watched_size;
    if (size == 0 || strncmp(path, watched, size) != 0 || path[size] != '/')
        return NULL;
    return path + size + 1;
}

// What a descriptor is open on; false when it is no regular file or folder that is watched.
static bool is_watched(int fd, char path[static PATH_SIZE], bool *ret_is_folder)
{
    char name[64];
    struct stat info;
    if (watched_size == 0 || fd <= STDERR_FILENO || fstat(fd, &info) ||
        !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)))
        return false;
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    const ssize_t size = readlink(name, path, PATH_SIZE - 1);
    if (size <= 0)
        return false;
    path[size] = '\0';
    *ret_is_folder = S_ISDIR(info.st_mode);
    return relative(path) || strcmp(path, watched) == 0;
}

// Tell of an operation; trace_lock is held since before it was done.
static void tell(enum fault_op_kind kind, const char *path, struct fault_op op)
{
    const char *name = relative(path);
    op.kind = kind;
    op.path = name ? name : "";
    if (trace_op)
        trace_op(trace_user, &op);
}

void fault_trace(fault_op_fn op, void *user)
{
    (void)pthread_mutex_lock(&trace_lock);
    trace_op = op;
    trace_user = user;
    is_traced = op != NULL;
    (void)pthread_mutex_unlock(&trace_lock);
}

// Is it traced? Then until unlock_trace nobody else does anything to a file.
static bool lock_trace(void)
{
    const bool traces = is_traced;
    if (traces)
        (void)pthread_mutex_lock(&trace_lock);
    return traces;
}

static void unlock_trace(bool traces)
{
    if (traces)
        (void)pthread_mutex_unlock(&trace_lock);
}

// ---- Writing

static ssize_t raw_write(int fd, const void *data, size_t size, off_t at, bool has_place)
{
    return has_place ? syscall(SYS_pwrite64, fd, data, size, at)
                     : syscall(SYS_write, fd, data, size);
}

static ssize_t do_write(int fd, const void *data, size_t size, off_t at, bool has_place)
{
    char path[PATH_SIZE];
    bool is_folder;
    if (!is_watched(fd, path, &is_folder))
        return raw_write(fd, data, size, at, has_place);
    if (!exempt && armed.half && atomic_exchange(&armed.half, false)) {
        errno = armed.code;
        return -1;
    }
    if (trips(FAULT_WRITE))
        return -1;
    if (size > 1 && trips(FAULT_SHORT)) {
        armed.half = true;
        size /= 2;
    }
    const bool traces = lock_trace();
    const off_t begin = has_place ? at : lseek(fd, 0, SEEK_CUR);
    const ssize_t done = raw_write(fd, data, size, at, has_place);
    const int code = errno;
    if (traces && done > 0)
        tell(FAULT_OP_WRITE, path,
             (struct fault_op){
                 .offset = (uint64_t)(begin < 0 ? 0 : begin), .data = data, .size = (size_t)done});
    unlock_trace(traces);
    errno = code;
    return done;
}

EXPORTED ssize_t write(int fd, const void *data, size_t size)
{
    return do_write(fd, data, size, 0, false);
}

EXPORTED ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return do_write(fd, data, size, at, true);
}

EXPORTED ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    return do_write(fd, data, size, at, true);
}

static int do_truncate(int fd, off_t size)
{
    char path[PATH_SIZE];
    bool is_folder;
    if (!is_watched(fd, path, &is_folder))
        return (int)syscall(SYS_ftruncate, fd, size);
    if (trips(FAULT_WRITE))
        return -1;
    const bool traces = lock_trace();
    const int failed = (int)syscall(SYS_ftruncate, fd, size);
    if (traces && !failed)
        tell(FAULT_OP_SIZE, path, (struct fault_op){.offset = (uint64_t)size});
    unlock_trace(traces);
    return failed;
}

EXPORTED int ftruncate(int fd, off_t size)
{
    return do_truncate(fd, size);
}

EXPORTED int ftruncate64(int fd, off_t size)
{
    return do_truncate(fd, size);
}

static int do_fallocate(int fd, off_t offset, off_t size)
{
    char path[PATH_SIZE];
    bool is_folder;
    const bool counts = is_watched(fd, path, &is_folder);
    if (counts && trips(FAULT_WRITE))
        return errno;
    const bool traces = lock_trace();
    const int failed = syscall(SYS_fallocate, fd, 0, offset, size) ? errno : 0;
    if (counts && traces && !failed)
        tell(FAULT_OP_SIZE, path, (struct fault_op){.offset = (uint64_t)(offset + size)});
    unlock_trace(traces);
    return failed;
}

EXPORTED int posix_fallocate(int fd, off_t offset, off_t size)
{
    return do_fallocate(fd, offset, size);
}

EXPORTED int posix_fallocate64(int fd, off_t offset, off_t size)
{
    return do_fallocate(fd, offset, size);
}

// ---- Reading

static ssize_t do_read(int fd, void *data, size_t size, off_t at, bool has_place)
{
    char path[PATH_SIZE];
    bool is_folder;
    if (is_watched(fd, path, &is_folder) && trips(FAULT_READ))
        return -1;
    return has_place ? syscall(SYS_pread64, fd, data, size, at) : syscall(SYS_read, fd, data, size);
}

EXPORTED ssize_t read(int fd, void *data, size_t size)
{
    return do_read(fd, data, size, 0, false);
}

EXPORTED ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    return do_read(fd, data, size, at, true);
}

EXPORTED ssize_t pread64(int fd, void *data, size_t size, off_t at)
{
    return do_read(fd, data, size, at, true);
}

// What code that is looked at for overflows calls in their place.
// NOLINTBEGIN(bugprone-reserved-identifier)
ssize_t __read_chk(int fd, void *data, size_t size, size_t room);
EXPORTED ssize_t __read_chk(int fd, void *data, size_t size, size_t room)
{
    if (size > room)
        abort();
    return do_read(fd, data, size, 0, false);
}

ssize_t __pread_chk(int fd, void *data, size_t size, off_t at, size_t room);
EXPORTED ssize_t __pread_chk(int fd, void *data, size_t size, off_t at, size_t room)
{
    if (size > room)
        abort();
    return do_read(fd, data, size, at, true);
}

ssize_t __pread64_chk(int fd, void *data, size_t size, off_t at, size_t room);
EXPORTED ssize_t __pread64_chk(int fd, void *data, size_t size, off_t at, size_t room)
{
    if (size > room)
        abort();
    return do_read(fd, data, size, at, true);
}
// NOLINTEND(bugprone-reserved-identifier)

// ---- Syncing

static int do_sync(long call, int fd)
{
    char path[PATH_SIZE];
    bool is_folder;
    if (!is_watched(fd, path, &is_folder))
        return (int)syscall(call, fd);
    if (forgets_syncs)
        return 0;
    if (trips(FAULT_SYNC))
        return -1;
    const bool traces = lock_trace();
    const int failed = (int)syscall(call, fd);
    if (traces && !failed)
        tell(is_folder ? FAULT_OP_SYNC_FOLDER : FAULT_OP_SYNC, path, (struct fault_op){.size = 0});
    unlock_trace(traces);
    return failed;
}

EXPORTED int fsync(int fd)
{
    return do_sync(SYS_fsync, fd);
}

EXPORTED int fdatasync(int fd)
{
    return do_sync(SYS_fdatasync, fd);
}

// ---- Names

static int do_open(const char *path, int flags, mode_t mode)
{
    const bool counts = relative(path) && (flags & (O_CREAT | O_TRUNC)) != 0;
    if (counts && trips(FAULT_OPEN))
        return -1;
    const bool traces = lock_trace();
    const bool is_new = counts && ((flags & O_TRUNC) != 0 || access(path, F_OK) != 0);
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    const int code = errno;
    if (traces && is_new && fd >= 0)
        tell(FAULT_OP_CREATE, path, (struct fault_op){.size = 0});
    unlock_trace(traces);
    errno = code;
    return fd;
}

// open(2) has its third argument only with O_CREAT.
#define OPEN_BODY                    \
    mode_t mode = 0;                 \
    if (flags & O_CREAT) {           \
        va_list args;                \
        va_start(args, flags);       \
        mode = va_arg(args, mode_t); \
        va_end(args);                \
    }                                \
    return do_open(path, flags, mode)

EXPORTED int open(const char *path, int flags, ...)
{
    OPEN_BODY;
}

EXPORTED int open64(const char *path, int flags, ...)
{
    OPEN_BODY;
}

EXPORTED int rename(const char *from, const char *to)
{
    const char *target = relative(to);
    if (target && trips(FAULT_RENAME))
        return -1;
    const bool traces = lock_trace();
    const int failed = (int)syscall(SYS_rename, from, to);
    if (target && traces && !failed)
        tell(FAULT_OP_RENAME, from, (struct fault_op){.other = target});
    unlock_trace(traces);
    return failed;
}

EXPORTED int unlink(const char *path)
{
    const bool counts = relative(path) != NULL;
    if (counts && trips(FAULT_UNLINK))
        return -1;
    const bool traces = lock_trace();
    const int failed = (int)syscall(SYS_unlink, path);
    if (counts && traces && !failed)
        tell(FAULT_OP_UNLINK, path, (struct fault_op){.size = 0});
    unlock_trace(traces);
    return failed;
}

EXPORTED int mkdir(const char *path, mode_t mode)
{
    const bool counts = relative(path) != NULL;
    if (counts && trips(FAULT_OPEN))
        return -1;
    const bool traces = lock_trace();
    const int failed = (int)syscall(SYS_mkdir, path, mode);
    if (counts && traces && !failed)
        tell(FAULT_OP_MAKE_FOLDER, path, (struct fault_op){.size = 0});
    unlock_trace(traces);
    return failed;
}

// ---- The wall clock

void fault_clock(const atomic_llong *ms)
{
    clock_step_ms = ms;
}

EXPORTED int clock_gettime(clockid_t id, struct timespec *ret_time)
{
    const int failed = (int)syscall(SYS_clock_gettime, id, ret_time);
    const long long step_ms = clock_step_ms ? *clock_step_ms : 0;
    if (!failed && id == CLOCK_REALTIME && step_ms != 0) {
        const long long ns =
            (long long)ret_time->tv_sec * 1000000000 + ret_time->tv_nsec + step_ms * 1000000;
        ret_time->tv_sec = (time_t)(ns / 1000000000);
        ret_time->tv_nsec = (long)(ns % 1000000000);
    }
    return failed;
}

#ifdef FAULT_WITH_ASAN
// The loader keeps what it asks for, and seems to be us now.
const char *__lsan_default_suppressions(void); // NOLINT(bugprone-reserved-identifier)
EXPORTED const char *__lsan_default_suppressions(void)
{
    return "leak:dl_open_worker\nleak:_dl_";
}
#endif
