// A fleet that comes back after an outage, on a virtual clock: the pauses of the devices, the window
// that the coordinator gave them, and what it judges in a second are the real ones.
#include "common/base/bytes.h"
#include "common/wire/presence.h"
#include "coordinator/peers.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEVICES = 10000,
    BUDGET = 1000,  // handshakes a second: fleet.handshakes_per_second as it comes
    CAP_MS = 60000, // client.reconnect_max_ms as it comes
    SECONDS_MAX = 8000,
    HOUR = 3600,
    STEP_MS = 100,
};

struct device {
    uint64_t next_ms; // its next attempt
    unsigned failures;
    bool is_back;
};

struct outage {
    struct trib_peers *peers;
    struct trib_rng rng;
    struct device devices[DEVICES];
    uint64_t attempts[SECONDS_MAX]; // in each second of the clock
    uint64_t refused;               // by the budget
    uint32_t window_ms;
};

static void enrol_all(struct trib_peers *peers)
{
    for (uint64_t i = 0; i < DEVICES; i++) {
        struct trib_store_device row = {.id = i + 1};
        struct trib_peer *peer;
        (void)snprintf(row.name, sizeof(row.name), "d%06u", (unsigned)i);
        trib_store_le64(row.key, i + 1);
        assert_int_equal(trib_peers_add(peers, &row, NULL, &peer), TRIB_OK);
    }
}

static void pause_device(struct outage *outage, struct device *device, uint64_t now_ms)
{
    const struct trib_pace pace = {
        .retry_max_ms = outage->window_ms, .failures = device->failures, .cap_ms = CAP_MS};
    device->next_ms = now_ms + trib_pace_pause_ms(&pace, &outage->rng);
}

static bool is_let_in(struct outage *outage, size_t index, uint64_t now_ms)
{
    static uint64_t handshakes;
    struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    struct trib_peer *peer;
    char source[32];
    trib_store_le64(hello.static_key, index + 1);
    trib_store_le64(hello.ephemeral, ++handshakes);
    (void)snprintf(source, sizeof(source), "10.0.%u.%u", (unsigned)(index / 256),
                   (unsigned)(index % 256)); // each from an address of its own
    return trib_peers_knock(outage->peers, hello.ephemeral, source, now_ms) != TRIB_VERDICT_BUSY &&
           trib_peers_judge(outage->peers, &hello, 1, &peer) == TRIB_VERDICT_DEVICE;
}

// Everybody is cut off at 0 and the coordinator is there again after `down_s`. Returns the most
// attempts in any second from then on.
static uint64_t run_outage(struct outage *outage, uint64_t down_s)
{
    size_t back = 0;
    for (size_t i = 0; i < DEVICES; i++)
        pause_device(outage, &outage->devices[i], 0);
    // In steps: who is judged first in one of them does not matter.
    for (uint64_t now_ms = 0; back < DEVICES; now_ms += STEP_MS) {
        assert_true(now_ms / 1000 < SECONDS_MAX);
        for (size_t i = 0; i < DEVICES; i++) {
            struct device *device = &outage->devices[i];
            if (device->is_back || device->next_ms > now_ms)
                continue;
            outage->attempts[now_ms / 1000]++;
            device->is_back = now_ms >= down_s * 1000 && is_let_in(outage, i, now_ms);
            back += device->is_back;
            outage->refused += !device->is_back && now_ms >= down_s * 1000;
            device->failures++;
            if (!device->is_back)
                pause_device(outage, device, now_ms);
        }
    }
    uint64_t most = 0;
    for (uint64_t s = down_s; s < SECONDS_MAX; s++)
        most = outage->attempts[s] > most ? outage->attempts[s] : most;
    return most;
}

static struct outage *outage_create(uint32_t window_ms)
{
    struct outage *outage = calloc(1, sizeof(*outage));
    assert_non_null(outage);
    outage->window_ms = window_ms;
    trib_rng_init(&outage->rng, 11, "outage", window_ms, NULL);
    assert_int_equal(trib_peers_create(BUDGET, BUDGET, &outage->peers), TRIB_OK);
    enrol_all(outage->peers);
    return outage;
}

static void outage_destroy(struct outage *outage)
{
    trib_peers_destroy(outage->peers);
    free(outage);
}

static void after_an_hour_at_most_a_twentieth_comes_back_in_a_second(void **state)
{
    (void)state;
    struct outage *outage = outage_create(trib_pace_window_ms(DEVICES, BUDGET));
    assert_true(outage->window_ms > 0);
    assert_in_range(run_outage(outage, HOUR), DEVICES / 100, DEVICES / 20);
    assert_int_equal(outage->refused, 0); // nobody dials in vain because the others do
    outage_destroy(outage);
}

// A coordinator that is restarted: without the window all would be there within a second or two.
static void after_a_moment_the_window_spreads_them(void **state)
{
    (void)state;
    struct outage *outage = outage_create(trib_pace_window_ms(DEVICES, BUDGET));
    assert_in_range(run_outage(outage, 2), DEVICES / 100, DEVICES / 20);
    assert_int_equal(outage->refused, 0);
    outage_destroy(outage);

    outage = outage_create(0);
    assert_true(run_outage(outage, 2) > DEVICES / 20);
    assert_true(outage->refused > 0);
    outage_destroy(outage);
}

static void the_window_grows_with_the_fleet(void **state)
{
    (void)state;
    assert_int_equal(trib_pace_window_ms(0, 1000), 0);
    assert_int_equal(trib_pace_window_ms(400, 1000), 0); // two seconds: as without it
    assert_int_equal(trib_pace_window_ms(401, 1000), 2005);
    assert_int_equal(trib_pace_window_ms(10000, 1000), 50000);
    assert_int_equal(trib_pace_window_ms(10000, 100000), 0);
    assert_int_equal(trib_pace_window_ms(UINT64_C(1) << 40, 1000), TRIB_PACE_WINDOW_MAX_MS);
    assert_int_equal(trib_pace_window_ms(10000, 0), 0); // the budget is never 0
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_an_hour_at_most_a_twentieth_comes_back_in_a_second),
        cmocka_unit_test(after_a_moment_the_window_spreads_them),
        cmocka_unit_test(the_window_grows_with_the_fleet),
    };
    return RUN_TESTS(tests);
}
