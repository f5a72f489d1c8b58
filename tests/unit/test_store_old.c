#include "tests/test.h"

#include "coordinator/reserve.h"
#include "coordinator/store_old.h"
#include "tests/unit/store_rig.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void add(struct trib_store *store, uint64_t version, uint8_t digest, const double *value)
{
    static const uint8_t manifest[1] = {9};
    struct trib_store_version row = {.version = version,
                                     .generation = 1,
                                     .job = 1 + (version > 6),
                                     .round_number = version - 1,
                                     .kind = version == 1 ? "initial" : "round",
                                     .spec = "4 - dense 2 softmax",
                                     .manifest = manifest,
                                     .manifest_size = sizeof(manifest),
                                     .has_value = value != NULL,
                                     .value = value ? *value : 0};
    memset(row.digest, digest, sizeof(row.digest));
    assert_int_equal(trib_store_version_insert(store, &row), TRIB_OK);
}

// Versions 1 to 9; the last three are of job 2.
static struct trib_store *store_of_nine(const struct place *place)
{
    struct trib_store *store = open_store(place);
    for (uint64_t v = 1; v <= 9; v++)
        add(store, v, (uint8_t)v, NULL);
    return store;
}

static void note_kept(void *user, const struct trib_store_version *row)
{
    if (!row->is_dropped)
        *(unsigned *)user |= 1u << row->version;
}

static unsigned kept(struct trib_store *store)
{
    unsigned bits = 0;
    assert_int_equal(trib_store_versions(store, 0, 100, note_kept, &bits), TRIB_OK);
    return bits;
}

static unsigned bits_of(const char *digits)
{
    unsigned bits = 0;
    for (; *digits; digits++)
        bits |= 1u << (*digits - '0');
    return bits;
}

static void the_newest_stay_and_each_goes_once(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = store_of_nine(place);
    struct trib_store_pins pins = {.keep = 9, .tail_from = INT64_MAX};
    struct trib_store_old old;
    assert_int_equal(trib_store_old_drop(store, &pins, 5, &old), TRIB_OK);
    assert_int_equal(old.count, 0);
    pins.keep = 3;
    assert_int_equal(trib_store_old_drop(store, &pins, 5, &old), TRIB_OK);
    assert_int_equal(old.count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(old.digests[i][0], i + 1);
    assert_int_equal(trib_store_old_drop(store, &pins, 5, &old), TRIB_OK);
    assert_int_equal(old.count, 0);
    store = reopen(place, store);
    assert_int_equal(kept(store), bits_of("789"));
    pins.keep = 1; // the head stays whatever is asked for
    assert_int_equal(trib_store_old_drop(store, &pins, 5, &old), TRIB_OK);
    assert_int_equal(kept(store), bits_of("9"));
    trib_store_close(store);
}

static void what_is_pinned_stays(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = store_of_nine(place);
    const struct trib_store_pins pins = {
        .keep = 1, .versions = {2, 0, 4, 77}, .job = 1, .tail_from = 5}; // rounds 5, 6 of job 1
    struct trib_store_old old;
    assert_int_equal(trib_store_old_drop(store, &pins, 5, &old), TRIB_OK);
    assert_int_equal(kept(store), bits_of("2469"));
    trib_store_close(store);
}

static void the_best_of_the_job_stays(void **state)
{
    const struct place *place = *state;
    const double values[] = {0.5, 0.9, 0.9, 0.1, 0.3};
    for (int higher = 0; higher < 2; higher++) {
        struct trib_store *store = open_store(place);
        struct trib_store_pins pins = {.keep = 1, .job = 1, .tail_from = INT64_MAX};
        struct trib_store_old old;
        for (uint64_t v = 1; v <= 5; v++)
            add(store, v, (uint8_t)v, &values[v - 1]);
        add(store, 6, 6, NULL);
        pins.higher_is_better = higher;
        assert_int_equal(trib_store_old_drop(store, &pins, 5, &old), TRIB_OK);
        assert_int_equal(kept(store), bits_of(higher ? "26" : "46"));
        trib_store_close(store);
        assert_int_equal(unlink(place->path), 0);
    }
}

static void versions_that_share_a_file_keep_it(void **state)
{
    const struct place *place = *state;
    struct trib_store *store = store_of_nine(place);
    const struct trib_store_pins pins = {.keep = 1, .tail_from = INT64_MAX};
    struct trib_store_old old;
    uint8_t digest[TRIB_DIGEST_SIZE];
    bool is_kept;
    memset(digest, 3, sizeof(digest));
    assert_int_equal(trib_store_digest_is_kept(store, digest, &is_kept), TRIB_OK);
    assert_true(is_kept);
    assert_int_equal(trib_store_old_drop(store, &pins, 5, &old), TRIB_OK);
    assert_int_equal(trib_store_digest_is_kept(store, digest, &is_kept), TRIB_OK);
    assert_false(is_kept);
    add(store, 10, 3, NULL); // the same parameters once more
    assert_int_equal(trib_store_digest_is_kept(store, digest, &is_kept), TRIB_OK);
    assert_true(is_kept);
    trib_store_close(store);
}

// ---- The reserve

enum {
    SIZE = 3 << 20
};

static void reserve_path(const struct place *place, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/reserve", place->dir);
}

static void a_reserve_holds_its_bytes(void **state)
{
    const struct place *place = *state;
    char path[128];
    struct stat info;
    reserve_path(place, path, sizeof(path));
    assert_int_equal(trib_reserve_make(place->dir, SIZE), TRIB_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, SIZE);
    assert_true(info.st_blocks * 512 >= SIZE); // no hole
    assert_int_equal(truncate(path, SIZE / 2), 0);
    assert_int_equal(truncate(path, SIZE), 0); // its second half is one
    assert_int_equal(trib_reserve_make(place->dir, SIZE), TRIB_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_blocks * 512 >= SIZE);
    assert_int_equal(trib_reserve_make(place->dir, SIZE / 3), TRIB_OK);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, SIZE / 3);
    assert_int_equal(trib_reserve_make(place->dir, 0), TRIB_OK);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_reserve_that_finds_no_room_takes_none(void **state)
{
    const struct place *place = *state;
    char path[128];
    struct rlimit was;
    struct rlimit low = {.rlim_cur = SIZE / 2};
    reserve_path(place, path, sizeof(path));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    low.rlim_max = was.rlim_max;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_int_equal(trib_reserve_make(place->dir, SIZE), TRIB_ERR_LIMIT);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_non_null(strstr(logged, "id=disk-full"));
}

static void a_reserve_is_given_up_only_when_room_is_short(void **state)
{
    const struct place *place = *state;
    char path[128];
    reserve_path(place, path, sizeof(path));
    assert_int_equal(trib_reserve_make(place->dir, 4096), TRIB_OK);
    assert_true(trib_reserve_room(place->dir) > 4096);
    assert_false(trib_reserve_use(place->dir, 4096));
    assert_int_equal(access(path, F_OK), 0);
    assert_true(trib_reserve_use(place->dir, UINT64_MAX)); // as much as no disk has
    assert_int_equal(access(path, F_OK), -1);
    assert_non_null(strstr(logged, "id=reserve-used"));
    assert_false(trib_reserve_use(place->dir, UINT64_MAX)); // there is none any more
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(the_newest_stay_and_each_goes_once),
        IN_PLACE(what_is_pinned_stays),
        IN_PLACE(the_best_of_the_job_stays),
        IN_PLACE(versions_that_share_a_file_keep_it),
        IN_PLACE(a_reserve_holds_its_bytes),
        IN_PLACE(a_reserve_that_finds_no_room_takes_none),
        IN_PLACE(a_reserve_is_given_up_only_when_room_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
