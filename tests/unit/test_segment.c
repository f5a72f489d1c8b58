#include "tests/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "coordinator/segment.h"

enum {
    HEADER_SIZE = 32,
    PAGE = 4096,
    SLOT_SIZE = 2 * TRIB_SEGMENT_BLOCK + 777, // not a multiple of anything
    SLOTS = 5,
    ROUND = 42,
};

struct place {
    char dir[TEST_FOLDER_SIZE];
    char path[96]; // of the segment of ROUND
};

static void drop_line(void *user, enum trib_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static int make_place(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    if (!place)
        return -1;
    if (!test_folder(place->dir)) {
        free(place);
        return -1;
    }
    (void)snprintf(place->path, sizeof(place->path), "%s/%d.seg", place->dir, ROUND);
    trib_log_set_sink(drop_line, NULL); // most of what is done here is meant to fail
    *state = place;
    return 0;
}

static int drop_place(void **state)
{
    struct place *place = *state;
    trib_log_set_sink(NULL, NULL);
    (void)unlink(place->path);
    int failed = rmdir(place->dir); // fails if a test left something behind
    free(place);
    return failed;
}

static struct trib_segment *create(const struct place *place)
{
    struct trib_segment *segment = NULL;
    assert_int_equal(trib_segment_create(place->dir, ROUND, SLOT_SIZE, SLOTS, &segment), TRIB_OK);
    assert_non_null(segment);
    return segment;
}

// A slot's bytes depend on slot and place, so that swapped or shifted writes show.
static void fill(uint8_t *data, uint32_t slot)
{
    uint64_t seed = 1000u + slot;
    for (size_t i = 0; i < SLOT_SIZE; i++)
        data[i] = (uint8_t)test_rand(&seed);
}

static void assert_slot(struct trib_segment *segment, uint32_t slot)
{
    uint8_t *wanted = trib_alloc_array(SLOT_SIZE, 1);
    uint8_t *got = trib_alloc_array(SLOT_SIZE, 1);
    assert_non_null(wanted);
    assert_non_null(got);
    fill(wanted, slot);
    assert_int_equal(trib_segment_read(segment, slot, 0, got, SLOT_SIZE), TRIB_OK);
    assert_memory_equal(got, wanted, SLOT_SIZE);
    free(wanted);
    free(got);
}

static void overwrite(const char *path, off_t at, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, size, at), (ssize_t)size);
    assert_int_equal(close(fd), 0);
}

static void slots_written_in_mixed_pieces_are_independent(void **state)
{
    const struct place *place = *state;
    enum {
        PIECE = 10007,
        PIECES = (SLOT_SIZE + PIECE - 1) / PIECE
    };
    uint8_t *data = trib_alloc_array(SLOTS, SLOT_SIZE);
    uint32_t order[SLOTS * PIECES];
    uint64_t seed = 5;
    struct stat info;
    assert_non_null(data);
    struct trib_segment *segment = create(place);
    assert_int_equal(trib_segment_slot_count(segment), SLOTS);
    assert_int_equal(trib_segment_slot_size(segment), SLOT_SIZE);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        fill(data + (size_t)slot * SLOT_SIZE, slot);
    for (uint32_t i = 0; i < SLOTS * PIECES; i++) {
        uint32_t j = (uint32_t)(test_rand(&seed) % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (uint32_t i = 0; i < SLOTS * PIECES; i++) {
        uint32_t slot = order[i] / PIECES;
        size_t offset = (size_t)(order[i] % PIECES) * PIECE;
        size_t size = SLOT_SIZE - offset < PIECE ? SLOT_SIZE - offset : PIECE;
        const uint8_t *piece = data + (size_t)slot * SLOT_SIZE + offset;
        assert_int_equal(trib_segment_write(segment, slot, offset, piece, size), TRIB_OK);
    }
    free(data);
    assert_int_equal(trib_segment_sync(segment), TRIB_OK);
    trib_segment_unref(segment);

    assert_int_equal(stat(place->path, &info), 0);
    assert_int_equal(info.st_size % PAGE, 0); // every slot begins on a page
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(trib_segment_open(place->dir, ROUND, SLOT_SIZE, &segment), TRIB_OK);
    assert_int_equal(trib_segment_slot_count(segment), SLOTS);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        assert_slot(segment, slot);
    trib_segment_unref(segment);
}

struct writer {
    struct trib_segment *segment; // a reference of its own
    uint32_t slot;
    enum trib_err err;
};

static void *writer_main(void *user)
{
    struct writer *writer = user;
    uint8_t *data = trib_alloc_array(SLOT_SIZE, 1);
    writer->err = data ? TRIB_OK : TRIB_ERR_NOMEM;
    if (data)
        fill(data, writer->slot);
    for (size_t at = 0; !writer->err && at < SLOT_SIZE; at += 512) {
        size_t size = SLOT_SIZE - at < 512 ? SLOT_SIZE - at : 512;
        writer->err = trib_segment_write(writer->segment, writer->slot, at, data + at, size);
    }
    trib_segment_unref(writer->segment);
    free(data);
    return NULL;
}

static void threads_may_write_different_slots_at_once(void **state)
{
    const struct place *place = *state;
    struct writer writers[SLOTS];
    pthread_t threads[SLOTS];
    struct trib_segment *segment = create(place);
    for (uint32_t i = 0; i < SLOTS; i++) {
        writers[i] = (struct writer){.segment = trib_segment_ref(segment), .slot = i};
        assert_int_equal(pthread_create(&threads[i], NULL, writer_main, &writers[i]), 0);
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(writers[i].err, TRIB_OK);
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        assert_slot(segment, i); // the last reference is still good
    trib_segment_unref(segment);
}

static void a_changed_header_is_refused_wherever_it_changed(void **state)
{
    const struct place *place = *state;
    uint8_t header[HEADER_SIZE];
    struct trib_segment *again = NULL;
    trib_segment_unref(create(place));
    assert_int_equal(trib_file_read_at(place->path, 0, header, sizeof(header)), TRIB_OK);
    for (int bit = 0; bit < HEADER_SIZE * 8; bit++) {
        uint8_t changed[HEADER_SIZE];
        memcpy(changed, header, sizeof(header));
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        overwrite(place->path, 0, changed, sizeof(changed));
        assert_int_equal(trib_segment_open(place->dir, ROUND, SLOT_SIZE, &again), TRIB_ERR_CORRUPT);
    }
    assert_null(again);
    overwrite(place->path, 0, header, sizeof(header));
    assert_int_equal(trib_segment_open(place->dir, ROUND, SLOT_SIZE, &again), TRIB_OK);
    trib_segment_unref(again);
}

static void a_file_cut_within_its_header_is_refused(void **state)
{
    const struct place *place = *state;
    struct trib_segment *again = NULL;
    trib_segment_unref(create(place));
    for (int size = HEADER_SIZE - 1; size >= 0; size--) {
        assert_int_equal(truncate(place->path, size), 0);
        assert_int_equal(trib_segment_open(place->dir, ROUND, SLOT_SIZE, &again), TRIB_ERR_CORRUPT);
    }
    assert_null(again);
}

static void a_slot_that_was_cut_off_is_never_read_as_data(void **state)
{
    const struct place *place = *state;
    struct stat info;
    struct trib_segment *segment = create(place);
    uint8_t *data = trib_alloc_array(SLOT_SIZE, 1);
    assert_non_null(data);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        fill(data, slot);
        assert_int_equal(trib_segment_write(segment, slot, 0, data, SLOT_SIZE), TRIB_OK);
    }
    assert_int_equal(stat(place->path, &info), 0);
    assert_int_equal(truncate(place->path, info.st_size - SLOT_SIZE), 0); // into the last slot
    assert_int_equal(trib_segment_read(segment, SLOTS - 1, 0, data, SLOT_SIZE), TRIB_ERR_CORRUPT);
    for (uint32_t slot = 0; slot < SLOTS - 1; slot++)
        assert_slot(segment, slot);
    trib_segment_unref(segment);
    free(data);
}

static void a_segment_of_another_round_or_shape_is_refused(void **state)
{
    const struct place *place = *state;
    char other[96];
    struct trib_segment *again = NULL;
    trib_segment_unref(create(place));
    assert_int_equal(trib_segment_open(place->dir, ROUND, SLOT_SIZE + 1, &again), TRIB_ERR_CORRUPT);
    assert_int_equal(trib_segment_open(place->dir, ROUND + 1, SLOT_SIZE, &again), TRIB_ERR_IO);
    (void)snprintf(other, sizeof(other), "%s/%d.seg", place->dir, ROUND + 1);
    assert_int_equal(rename(place->path, other), 0);
    assert_int_equal(trib_segment_open(place->dir, ROUND + 1, SLOT_SIZE, &again), TRIB_ERR_CORRUPT);
    assert_null(again);
    assert_int_equal(trib_segment_remove(place->dir, ROUND + 1), TRIB_OK);
}

static void checksums_cover_every_byte_of_a_slot(void **state)
{
    (void)state;
    assert_int_equal(trib_segment_checksum_count(1), 1);
    assert_int_equal(trib_segment_checksum_count(TRIB_SEGMENT_BLOCK - 1), 1);
    assert_int_equal(trib_segment_checksum_count(TRIB_SEGMENT_BLOCK), 1);
    assert_int_equal(trib_segment_checksum_count(TRIB_SEGMENT_BLOCK + 1), 2);
    assert_int_equal(trib_segment_checksum_count(SLOT_SIZE), 3);
}

static void a_removed_segment_is_gone_but_its_handles_stay_good(void **state)
{
    const struct place *place = *state;
    uint8_t *data = trib_alloc_array(SLOT_SIZE, 1);
    assert_non_null(data);
    fill(data, 3);
    struct trib_segment *segment = create(place);
    assert_int_equal(trib_segment_write(segment, 3, 0, data, SLOT_SIZE), TRIB_OK);
    free(data);
    assert_int_equal(trib_segment_remove(place->dir, ROUND), TRIB_OK);
    assert_false(trib_file_exists(place->path));
    assert_slot(segment, 3);
    trib_segment_unref(segment);
    trib_segment_unref(NULL);
    assert_int_equal(trib_segment_remove(place->dir, ROUND), TRIB_OK); // not there is fine
}

static void touch(const struct place *place, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", place->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

static bool take_away(const struct place *place, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", place->dir, name);
    return unlink(path) == 0;
}

static void cleaning_keeps_the_open_round_and_what_is_not_ours(void **state)
{
    const struct place *place = *state;
    trib_segment_unref(create(place));
    touch(place, "4.seg"); // the beginning and the end of the name that is kept
    touch(place, "2.seg");
    touch(place, "420.seg");
    touch(place, "model.tmp");
    touch(place, "notes");
    touch(place, "seg");
    assert_int_equal(trib_segment_clean(place->dir, ROUND), TRIB_OK);
    assert_true(trib_file_exists(place->path));
    assert_false(take_away(place, "4.seg"));
    assert_false(take_away(place, "2.seg"));
    assert_false(take_away(place, "420.seg"));
    assert_false(take_away(place, "model.tmp"));
    assert_true(take_away(place, "notes"));
    assert_true(take_away(place, "seg"));
    assert_int_equal(trib_segment_clean(place->dir, 0), TRIB_OK);
    assert_false(trib_file_exists(place->path));
}

// In a process of its own, which is the only one to live under the limit.
static void no_room_shows_at_the_start_and_leaves_nothing_behind(void **state)
{
    const struct place *place = *state;
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit limit = {.rlim_cur = SLOT_SIZE, .rlim_max = SLOT_SIZE};
        struct trib_segment *segment = NULL;
        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit))
            _exit(1);
        enum trib_err err = trib_segment_create(place->dir, ROUND, SLOT_SIZE, SLOTS, &segment);
        _exit(err && !segment ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(trib_file_exists(place->path));
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, drop_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(slots_written_in_mixed_pieces_are_independent),
        IN_PLACE(threads_may_write_different_slots_at_once),
        IN_PLACE(a_changed_header_is_refused_wherever_it_changed),
        IN_PLACE(a_file_cut_within_its_header_is_refused),
        IN_PLACE(a_slot_that_was_cut_off_is_never_read_as_data),
        IN_PLACE(a_segment_of_another_round_or_shape_is_refused),
        cmocka_unit_test(checksums_cover_every_byte_of_a_slot),
        IN_PLACE(a_removed_segment_is_gone_but_its_handles_stay_good),
        IN_PLACE(cleaning_keeps_the_open_round_and_what_is_not_ours),
        IN_PLACE(no_room_shows_at_the_start_and_leaves_nothing_behind),
    };
    return RUN_TESTS(tests);
}
