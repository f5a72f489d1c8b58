// What the disk of a round costs: milliseconds of CPU time for an update of a million parameters of 24
// bits that is written, synced in groups of four, read back for the sum, and removed; the median of
// several rounds of a hundred. With two threads the syncs are among the writes. Ways that the coordinator does not go are there to be compared.
//
//     ninja -C build tests/bench/bench_segment && build/tests/bench/bench_segment DIR
//
// Not a test: figures of a shared machine decide nothing. docs/benchmarks.md quotes it.
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

enum {
    UPDATE = 3000000, // bytes
    PAGE = 4096,
    STRIDE = (UPDATE + PAGE - 1) / PAGE * PAGE,
    UPDATES = 100,
    GROUP = 4,
    CHUNK = 61440,     // bytes that come in a record
    BLOCK = 3 * 65536, // that are read at once
    ROUNDS = 5,
    THREADS_MAX = 2,
    PATH_SIZE = 4096,
};

struct way {
    const char *name;
    size_t chunk;   // of a write
    int flags;      // of the file beside the usual
    int threads;    // that write at once
    bool has_files; // each thread one of its own
    bool keeps;     // the file of the round before
};

static const struct way ways[] = {
    {"as the coordinator does", CHUNK, 0, 1, false, false},
    {"the same with two threads", CHUNK, 0, 2, false, false},
    {"two threads, a file for each", CHUNK, 0, 2, true, false},
    {"into pages that are there", CHUNK, 0, 1, false, true},
    {"past the page cache, 256 KiB", 256 << 10, O_DIRECT, 1, false, false},
    {"past the page cache, 1 MiB", 1 << 20, O_DIRECT, 1, false, false},
};
enum {
    WAYS = sizeof(ways) / sizeof(ways[0]),
    STEPS = 5, // write, sync, read, remove, all
};

struct writer {
    const struct way *way;
    int fd, index;
    uint8_t *bytes;
    uint64_t sync_us;
};

static void check(bool is_good, const char *what)
{
    if (is_good)
        return;
    perror(what);
    exit(1);
}

// Past the page cache only whole pages go; what is behind the update is nobody's.
static off_t place(int update, size_t at)
{
    return (off_t)update * STRIDE + (off_t)at;
}

static void *write_main(void *user)
{
    struct writer *w = user;
    const struct way *way = w->way;
    const size_t size = way->flags ? STRIDE : UPDATE;
    int written = 0;
    for (int u = w->index; u < UPDATES; u += way->threads) {
        for (size_t at = 0; at < size; at += way->chunk) {
            const size_t part = size - at < way->chunk ? size - at : way->chunk;
            check(pwrite(w->fd, w->bytes, part, place(u, at)) == (ssize_t)part, "pwrite");
        }
        if (++written % GROUP != 0)
            continue;
        const uint64_t before = trib_clock_cpu_us();
        check(fdatasync(w->fd) == 0, "fdatasync");
        w->sync_us += trib_clock_cpu_us() - before;
    }
    return NULL;
}

static void read_all(const struct way *way, const int *fds, uint8_t *bytes)
{
    for (size_t at = 0; at < STRIDE; at += BLOCK) {
        const size_t part = STRIDE - at < BLOCK ? STRIDE - at : BLOCK;
        for (int u = 0; u < UPDATES; u++) {
            const int fd = fds[way->has_files ? u % way->threads : 0];
            check(pread(fd, bytes, part, place(u, at)) > 0, "pread");
        }
    }
}

static void path_of(const struct way *way, const char *dir, int file, char path[static PATH_SIZE])
{
    check(snprintf(path, PATH_SIZE, "%s/bench-%d-%d.seg", dir, (int)(way - ways), file) < PATH_SIZE,
          dir);
}

// A round; what each step took, in CPU time of all threads.
static void run(const struct way *way, const char *dir, uint8_t *bytes, double ret_ms[STEPS])
{
    struct writer writers[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    int fds[THREADS_MAX];
    char paths[THREADS_MAX][PATH_SIZE];
    const int files = way->has_files ? way->threads : 1;
    for (int i = 0; i < files; i++) {
        path_of(way, dir, i, paths[i]);
        fds[i] = open(paths[i], O_RDWR | O_CREAT | O_CLOEXEC | way->flags, 0600);
        check(fds[i] >= 0, paths[i]);
        check(posix_fallocate(fds[i], 0, (off_t)UPDATES * STRIDE) == 0, "posix_fallocate");
        check(fdatasync(fds[i]) == 0, "fdatasync");
    }
    const uint64_t begun = trib_clock_cpu_us();
    uint64_t sync_us = 0;
    for (int i = 0; i < way->threads; i++) {
        writers[i] = (struct writer){
            .way = way, .fd = fds[way->has_files ? i : 0], .index = i, .bytes = bytes};
        check(pthread_create(&threads[i], NULL, write_main, &writers[i]) == 0, "pthread_create");
    }
    for (int i = 0; i < way->threads; i++) {
        (void)pthread_join(threads[i], NULL);
        sync_us += way->threads == 1 ? writers[i].sync_us : 0; // else a clock of all shows both
    }
    const uint64_t written = trib_clock_cpu_us();
    read_all(way, fds, bytes);
    const uint64_t read = trib_clock_cpu_us();
    for (int i = 0; i < files; i++) {
        check(close(fds[i]) == 0, "close");
        check(way->keeps || unlink(paths[i]) == 0, "unlink");
    }
    const uint64_t ended = trib_clock_cpu_us();
    ret_ms[0] = (double)(written - begun - sync_us) / 1e3 / UPDATES;
    ret_ms[1] = (double)sync_us / 1e3 / UPDATES;
    ret_ms[2] = (double)(read - written) / 1e3 / UPDATES;
    ret_ms[3] = (double)(ended - read) / 1e3 / UPDATES;
    ret_ms[4] = (double)(ended - begun) / 1e3 / UPDATES;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    uint8_t *bytes = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: bench_segment DIR\n");
        return 2;
    }
    check(posix_memalign((void **)&bytes, PAGE, 1 << 20) == 0, "posix_memalign");
    memset(bytes, 7, 1 << 20);
    printf("%-30s %7s %7s %7s %7s %7s\n", "ms of CPU an update", "write", "sync", "read", "remove",
           "all");
    static double ms[WAYS][STEPS][ROUNDS];
    for (int r = -1; r < ROUNDS; r++) { // by turns, the first of each is not counted
        for (int w = 0; w < WAYS; w++) {
            double steps[STEPS];
            run(&ways[w], argv[1], bytes, steps);
            for (int s = 0; s < STEPS && r >= 0; s++)
                ms[w][s][r] = steps[s];
            if (ways[w].keeps && r == ROUNDS - 1) {
                char path[PATH_SIZE];
                path_of(&ways[w], argv[1], 0, path);
                (void)unlink(path);
            }
        }
    }
    for (int w = 0; w < WAYS; w++) {
        printf("%-30s", ways[w].name);
        for (int s = 0; s < STEPS; s++) {
            qsort(ms[w][s], ROUNDS, sizeof(double), by_size);
            printf(" %7.3f", ms[w][s][ROUNDS / 2]);
        }
        printf("\n");
    }
    free(bytes);
    return 0;
}
