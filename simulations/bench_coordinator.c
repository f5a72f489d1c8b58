#include "simulations/bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/wire/message.h"
#include "common/wire/session.h"
#include "simulations/bench_fleet.h"
#include "simulations/own_client.h"

#define TRIB_LOG_MODULE "bench"

static const char off_config[] = "[client.policy]\nallowed_modes = off\n"
                                 "[client]\nreconnect_max_ms = 1000\n";

// ---- One client: no training, the same small change of every parameter

static enum trib_err add_constant(void *user, struct trib_task *task, float *params, size_t count,
                                  uint64_t *ret_examples)
{
    (void)user;
    (void)task;
    for (size_t i = 0; i < count; i++)
        params[i] += 1e-3f;
    *ret_examples = 1;
    return TRIB_OK;
}

int trib_bench_client(const struct trib_command *command, int argc, char **argv)
{
    static const struct trib_trainer trainer = {.struct_size = sizeof(trainer),
                                                .train = add_constant};
    const struct trib_usage usage = {.command = command, .operand_min = 1, .operand_max = 1};
    int count;
    int code;
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    return trib_own_client_run(argv[0], TRIB_LOG_WARN, &trainer, NULL);
}

// ---- The coordinator under load

struct load {
    uint64_t clients, params, rounds, word_bits;
    double seconds;
    uint64_t cpu_us, clients_cpu_us, bytes, server_rss, client_rss, accepted;
    double decrypt_ms; // CPU time to decipher the bytes of one update here, before and after
};

// Client and server with an open session, in memory.
static bool open_pair(struct trib_session *client, struct trib_session *server)
{
    static const uint8_t server_secret[32] = {1};
    static const uint8_t device_secret[32] = {2};
    const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    const struct trib_welcome welcome = {.version = TRIB_SESSION_VERSION};
    uint8_t public[32];
    uint8_t frame[TRIB_HANDSHAKE_MAX];
    struct trib_hello heard;
    struct trib_welcome answered;
    size_t size = 0;
    trib_noise_public(server_secret, public);
    trib_session_init_client(client, device_secret, public);
    trib_session_init_server(server, server_secret, public);
    return !trib_session_write_hello(client, &hello, frame, &size) &&
           !trib_session_read_hello(server, frame + TRIB_FRAME_PREFIX_SIZE,
                                    size - TRIB_FRAME_PREFIX_SIZE, &heard) &&
           !trib_session_write_welcome(server, &welcome, frame, &size) &&
           !trib_session_read_welcome(client, frame + TRIB_FRAME_PREFIX_SIZE,
                                      size - TRIB_FRAME_PREFIX_SIZE, &answered);
}

// What no coordinator can do without: to decipher `bytes` in chunks, milliseconds of CPU time.
static double decrypt_ms(uint64_t bytes)
{
    enum {
        REPEATS = 4
    };
    static uint8_t plain[TRIB_CHUNK_SIZE];
    static uint8_t frame[TRIB_CHUNK_SIZE + TRIB_SEALED_OVERHEAD];
    struct trib_session client;
    struct trib_session server;
    uint64_t spent_us = 0;
    if (!open_pair(&client, &server))
        return 0;
    for (uint64_t left = REPEATS * bytes; left > 0;) {
        struct trib_record record = {.type = TRIB_RECORD_UPLOAD_CHUNK, .payload = plain};
        size_t size = 0;
        record.payload_size = left < sizeof(plain) ? (size_t)left : sizeof(plain);
        left -= record.payload_size;
        if (trib_session_seal(&client, &record, frame, &size))
            break;
        const uint64_t begin_us = trib_clock_thread_us();
        if (trib_session_open(&server, frame + TRIB_FRAME_PREFIX_SIZE,
                              size - TRIB_FRAME_PREFIX_SIZE, &record))
            break;
        spent_us += trib_clock_thread_us() - begin_us;
    }
    trib_session_fini(&client);
    trib_session_fini(&server);
    return (double)spent_us / 1e3 / REPEATS;
}

static enum trib_err start_clients(struct trib_bench_fleet *fleet, const struct load *load)
{
    char self[TRIB_PATH_MAX + 1];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
    enum trib_err err = size > 0 ? TRIB_OK : TRIB_ERR_IO;
    self[size > 0 ? size : 0] = '\0';
    for (uint64_t i = 0; i < load->clients && !err; i++) {
        char dir[TRIB_PATH_MAX + 1];
        const char *const argv[] = {self, "bench", "client", dir, NULL};
        err = trib_bench_fleet_enrol(fleet, i, off_config, dir);
        if (!err)
            err = trib_bench_fleet_start(fleet, argv);
    }
    return err ? err : trib_bench_fleet_wait(fleet, "connected", load->clients, 20);
}

static uint64_t clients_cpu_us(const struct trib_bench_fleet *fleet)
{
    uint64_t sum_us = 0;
    for (size_t i = 1; i < fleet->child_count; i++)
        sum_us += trib_bench_cpu_us(&fleet->children[i]);
    return sum_us;
}

static enum trib_err measure(struct trib_bench_fleet *fleet, struct load *load)
{
    char job[1024];
    const uint64_t update_bytes = load->params * load->word_bits / 8;
    const double decrypt_before_ms = decrypt_ms(update_bytes);
    uint64_t cpu_us = 0;
    uint64_t received = 0;
    uint64_t sent = 0;
    (void)snprintf(job, sizeof(job),
                   "[model]\nspec = %" PRIu64 " - dense 1 linear\n"
                   "[round]\nrounds = %" PRIu64 "\ncohort = %" PRIu64 "\neval_every = 0\n"
                   "[privacy]\nmode = off\nword_bits = %" PRIu64 "\n",
                   load->params - 1, load->rounds, load->clients, load->word_bits);
    enum trib_err err = trib_bench_fleet_status(fleet, "cpu_us", &cpu_us);
    if (!err)
        err = trib_bench_fleet_status(fleet, "bytes_received", &received);
    if (!err)
        err = trib_bench_fleet_status(fleet, "bytes_sent", &sent);
    load->clients_cpu_us = clients_cpu_us(fleet);
    const uint64_t begin_us = trib_clock_mono_us();
    if (!err)
        err = trib_bench_fleet_run_job(fleet, job, 20);
    load->seconds = (double)(trib_clock_mono_us() - begin_us) / 1e6;
    load->clients_cpu_us = clients_cpu_us(fleet) - load->clients_cpu_us;
    if (!err)
        err = trib_bench_fleet_status(fleet, "cpu_us", &load->cpu_us);
    load->cpu_us -= cpu_us;
    uint64_t more = 0;
    if (!err)
        err = trib_bench_fleet_status(fleet, "bytes_received", &load->bytes);
    if (!err)
        err = trib_bench_fleet_status(fleet, "bytes_sent", &more);
    load->bytes = load->bytes - received + more - sent;
    if (!err)
        err = trib_bench_fleet_status(fleet, "uploads_begun", &load->accepted);
    load->decrypt_ms = (decrypt_before_ms + decrypt_ms(update_bytes)) / 2;
    load->server_rss = trib_bench_peak_rss(&fleet->children[0]);
    for (size_t i = 1; i < fleet->child_count; i++) {
        uint64_t rss = trib_bench_peak_rss(&fleet->children[i]);
        load->client_rss = rss > load->client_rss ? rss : load->client_rss;
    }
    return err;
}

static void show_load(const struct load *load, const struct trib_bench_fleet *fleet, bool as_json)
{
    const double updates = (double)(load->clients * load->rounds);
    struct trib_buf json = {0};
    trib_json_open(&json, NULL, '{');
    trib_json_uint(&json, "clients", load->clients);
    trib_json_uint(&json, "params", load->params);
    trib_json_uint(&json, "rounds", load->rounds);
    trib_json_uint(&json, "word_bits", load->word_bits);
    trib_json_real(&json, "seconds_per_round", load->seconds / (double)load->rounds);
    trib_json_real(&json, "updates_per_second", updates / load->seconds);
    trib_json_real(&json, "server_cpu_ms_per_update", (double)load->cpu_us / 1e3 / updates);
    trib_json_real(&json, "client_cpu_ms_per_update", (double)load->clients_cpu_us / 1e3 / updates);
    trib_json_real(&json, "decrypt_ms_per_update", load->decrypt_ms);
    trib_json_real(&json, "cpu_to_decrypt_ratio",
                   (double)load->cpu_us / 1e3 / updates / load->decrypt_ms);
    trib_json_uint(&json, "server_peak_rss_bytes", load->server_rss);
    trib_json_uint(&json, "client_peak_rss_bytes", load->client_rss);
    trib_json_real(&json, "bytes_per_update", (double)load->bytes / updates);
    trib_json_close(&json, '}');
    if (as_json && json.data)
        (void)printf("%s\n", (const char *)json.data);
    else
        (void)printf(
            "%" PRIu64 " clients x %" PRIu64 " parameters, %" PRIu64
            " bits: %.3f s a round, %.1f updates/s, server %.2f ms CPU an update "
            "(%.1f times deciphering it) and %.1f MB at most, client %.2f ms and %.1f MB; state in "
            "%s and %s\n",
            load->clients, load->params, load->word_bits, load->seconds / (double)load->rounds,
            updates / load->seconds, (double)load->cpu_us / 1e3 / updates,
            (double)load->cpu_us / 1e3 / updates / load->decrypt_ms, (double)load->server_rss / 1e6,
            (double)load->clients_cpu_us / 1e3 / updates, (double)load->client_rss / 1e6,
            fleet->disk, fleet->memory);
    trib_buf_fini(&json);
}

int trib_bench_coordinator(const struct trib_command *command, int argc, char **argv)
{
    struct load load = {.clients = 10, .params = 100000, .rounds = 5, .word_bits = 24};
    bool as_json = false;
    const struct trib_option options[] = {
        {"clients", TRIB_OPTION_INT, &load.clients, "N", "client processes (10)"},
        {"params", TRIB_OPTION_INT, &load.params, "P", "parameters of the model (100000)"},
        {"rounds", TRIB_OPTION_INT, &load.rounds, "R", "rounds (5)"},
        {"word-bits", TRIB_OPTION_INT, &load.word_bits, "W", "24 (default) or 32"},
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object"},
    };
    struct trib_bench_fleet fleet;
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 5};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    if (load.clients < 1 || load.clients > 10000 || load.params < 2 || load.rounds < 1 ||
        load.params > TRIB_LAYER_UNITS_MAX || (load.word_bits != 24 && load.word_bits != 32)) {
        (void)fprintf(stderr,
                      "bench coordinator: 1 to 10000 clients, 2 to %d parameters, 24 or "
                      "32 bits\n",
                      TRIB_LAYER_UNITS_MAX);
        return TRIB_EXIT_USAGE;
    }
    trib_log_set_level(TRIB_LOG_WARN);
    enum trib_err err = trib_bench_fleet_create(&fleet, load.clients);
    if (!err)
        err = start_clients(&fleet, &load);
    if (!err)
        err = measure(&fleet, &load);
    if (!err && load.accepted < load.clients * load.rounds) {
        TRIB_ERROR("only %" PRIu64 " uploads began", load.accepted);
        err = TRIB_ERR_IO;
    }
    if (!err)
        show_load(&load, &fleet, as_json);
    trib_bench_fleet_destroy(&fleet);
    return (int)trib_exit_of(err);
}

// ---- Starting

// Handshakes a second that one core answers: the coordinator's half, measured alone.
static double handshakes_per_second(void)
{
    enum {
        ROUNDS = 400
    };
    static const uint8_t server_secret[32] = {1};
    static const uint8_t device_secret[32] = {2};
    const struct trib_hello hello = {.kind = TRIB_HELLO_KNOWN};
    const struct trib_welcome welcome = {.version = TRIB_SESSION_VERSION};
    uint8_t public[32];
    uint64_t spent_us = 0;
    trib_noise_public(server_secret, public);
    for (int i = 0; i < ROUNDS; i++) {
        struct trib_session client;
        struct trib_session server;
        struct trib_hello heard;
        uint8_t frame[TRIB_HANDSHAKE_MAX];
        size_t size = 0;
        trib_session_init_client(&client, device_secret, public);
        if (trib_session_write_hello(&client, &hello, frame, &size))
            return 0;
        uint64_t begin_us = trib_clock_thread_us();
        trib_session_init_server(&server, server_secret, public);
        if (trib_session_read_hello(&server, frame + TRIB_FRAME_PREFIX_SIZE,
                                    size - TRIB_FRAME_PREFIX_SIZE, &heard) ||
            trib_session_write_welcome(&server, &welcome, frame, &size))
            return 0;
        spent_us += trib_clock_thread_us() - begin_us;
        trib_session_fini(&client);
        trib_session_fini(&server);
    }
    return ROUNDS * 1e6 / (double)(spent_us ? spent_us : 1);
}

int trib_bench_start(const struct trib_command *command, int argc, char **argv)
{
    static const char job[] = "[model]\nspec = 64 - dense 10 softmax\n"
                              "[round]\nrounds = 3\ncohort = 1\neval_every = 0\n"
                              "[privacy]\nmode = off\n";
    bool as_json = false;
    const struct trib_option options[] = {
        {"json", TRIB_OPTION_FLAG, &as_json, NULL, "one JSON object"}};
    struct trib_bench_fleet fleet;
    struct trib_buf config = {0};
    struct trib_buf rows = {0};
    char dir[TRIB_PATH_MAX + 1];
    char program[TRIB_PATH_MAX + 1];
    char data[TRIB_PATH_MAX + 1];
    const char *const client[] = {program, "run", dir, NULL};
    double start_ms = 0;
    int count;
    int code;
    const struct trib_usage usage = {.command = command, .options = options, .option_count = 1};
    if (!trib_args_parse(&usage, argc, argv, &count, &code))
        return code;
    trib_log_set_level(TRIB_LOG_WARN);
    trib_buf_printf(&config, "[data]\ntrain = rows.csv\n%s", off_config);
    for (int r = 0; r < 100; r++) { // as many as a device of the digits scenario has, about
        for (int i = 0; i < 64; i++)
            trib_buf_printf(&rows, "%d,", (r * 7 + i * 3) % 17);
        trib_buf_printf(&rows, "%d\n", r % 10);
    }
    enum trib_err err = trib_bench_fleet_create(&fleet, 1);
    if (!err && (config.failed || rows.failed))
        err = TRIB_ERR_NOMEM;
    if (!err)
        err = trib_bench_fleet_enrol(&fleet, 0, (const char *)config.data, dir);
    if (!err)
        err = trib_path_join(data, dir, "rows.csv");
    if (!err)
        err = trib_file_write(data, rows.data, rows.size, 0600);
    if (!err)
        err = trib_child_find("client", "tributary-client", program);
    const uint64_t begin_us = trib_clock_mono_us();
    if (!err)
        err = trib_bench_fleet_start(&fleet, client);
    if (!err)
        err = trib_bench_fleet_wait(&fleet, "connected", 1, 1);
    start_ms = (double)(trib_clock_mono_us() - begin_us) / 1e3;
    if (!err)
        err = trib_bench_fleet_run_job(&fleet, job, 5);
    uint64_t rss = err ? 0 : trib_bench_peak_rss(&fleet.children[1]);
    double handshakes = handshakes_per_second();
    if (!err && as_json)
        (void)printf("{\"client_start_ms\":%.3f,\"client_rss_bytes\":%" PRIu64
                     ",\"handshakes_per_second\":%.1f}\n",
                     start_ms, rss, handshakes);
    else if (!err)
        (void)printf(
            "client: %.1f ms from its start to an open session, %.1f MB after three rounds "
            "of the digits model; %.0f handshakes/s a core\n",
            start_ms, (double)rss / 1e6, handshakes);
    trib_bench_fleet_destroy(&fleet);
    trib_buf_fini(&config);
    trib_buf_fini(&rows);
    return (int)trib_exit_of(err);
}
