#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "simulations/report.h"
#include "simulations/svg.h"

static char dir[TEST_FOLDER_SIZE];

static int make_dir(void **state)
{
    (void)state;
    return test_folder(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"rounds.csv", "rounds.jsonl", "report.svg", "stdout"};
    char path[128];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

// A file of the folder; the caller frees it with trib_buf_fini.
static struct trib_buf read_back(const char *name)
{
    char path[128];
    struct trib_buf buf;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(trib_file_read(path, 1 << 24, &buf), TRIB_OK);
    return buf;
}

static struct trib_report *open_report(bool json, bool quiet)
{
    struct trib_report *report;
    const struct trib_report_options options = {
        .name = "a <scenario> & more",
        .dir = dir,
        .model = "2 - dense 1 sigmoid",
        .mode = "local",
        .clients = 4,
        .rounds = 3,
        .higher_is_better = true,
        .epsilon_total = 8,
        .json = json,
        .quiet = quiet,
    };
    assert_int_equal(trib_report_create(&options, &report), TRIB_OK);
    return report;
}

static struct trib_round_result committed(void)
{
    return (struct trib_round_result){.id = 1,
                                      .round = 1,
                                      .version = 2,
                                      .state = "committed",
                                      .asked = 10,
                                      .accepted = 9,
                                      .refused = 1,
                                      .loss = 0.5,
                                      .metric = "accuracy",
                                      .value = 0.75,
                                      .metrics = "{\"loss\":0.5,\"accuracy\":0.75}",
                                      .epsilon_pure = 3.5,
                                      .epsilon = 2.25,
                                      .delta = 1e-5,
                                      .bytes_up = 1234,
                                      .bytes_down = 5678,
                                      .seconds = 0.125};
}

static struct trib_round_result abandoned(void)
{
    struct trib_round_result result;
    trib_result_init(&result);
    result.round = 2;
    result.version = 2;
    result.asked = 10;
    (void)snprintf(result.state, sizeof(result.state), "abandoned");
    (void)snprintf(result.reason, sizeof(result.reason), "few_reported");
    return result;
}

static struct trib_report_end end_of(double value)
{
    return (struct trib_report_end){.version = 2,
                                    .metric = "accuracy",
                                    .value = value,
                                    .model = "x/model.safetensors",
                                    .digest = "ab",
                                    .seconds = 1.5};
}

// What play() writes to stdout.
static struct trib_buf capture(bool json, bool quiet)
{
    char path[128];
    const struct trib_round_result first = committed();
    const struct trib_round_result second = abandoned();
    const struct trib_report_end end = end_of(0.5);

    (void)snprintf(path, sizeof(path), "%s/stdout", dir);
    (void)fflush(stdout);
    int old = dup(STDOUT_FILENO);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    struct trib_report *report = open_report(json, quiet);
    enum trib_err err = trib_report_round(report, &first);
    if (!err)
        err = trib_report_round(report, &second);
    if (!err)
        err = trib_report_finish(report, &end);
    trib_report_destroy(report);
    (void)fflush(stdout);
    assert_true(dup2(old, STDOUT_FILENO) >= 0);
    (void)close(old);
    (void)fclose(file);
    assert_int_equal(err, TRIB_OK);
    return read_back("stdout");
}

static const char round_line[] =
    "{\"event\":\"round\",\"round\":1,\"version\":2,\"asked\":10,\"accepted\":9,\"refused\":1,"
    "\"loss\":0.5,\"metric\":\"accuracy\",\"value\":0.75,"
    "\"metrics\":{\"loss\":0.5,\"accuracy\":0.75},\"epsilon_pure\":3.5,\"epsilon\":2.25,"
    "\"delta\":1e-05,\"bytes_up\":1234,\"bytes_down\":5678,\"seconds\":0.125,"
    "\"state\":\"committed\"}\n";
static const char abandoned_line[] =
    "{\"event\":\"round\",\"round\":2,\"version\":2,\"asked\":10,\"accepted\":0,\"refused\":0,"
    "\"loss\":null,\"metric\":null,\"value\":null,\"metrics\":null,\"epsilon_pure\":null,"
    "\"epsilon\":null,\"delta\":null,\"bytes_up\":0,\"bytes_down\":0,\"seconds\":0,"
    "\"state\":\"abandoned\",\"reason\":\"few_reported\"}\n";
static const char done_line[] =
    "{\"event\":\"done\",\"rounds\":2,\"version\":2,\"metric\":\"accuracy\",\"value\":0.5,"
    "\"best\":0.75,\"best_round\":1,\"model\":\"x/model.safetensors\",\"model_digest\":\"ab\","
    "\"seconds\":1.5,\"averaged\":0,\"baseline\":null,\"refused\":false,"
    "\"diagnosis\":\"too_short\"}\n";

static void json_events_have_the_fixed_fields_in_order(void **state)
{
    (void)state;
    char want[2048];
    struct trib_buf out = capture(true, true);
    (void)snprintf(want, sizeof(want), "%s%s%s", round_line, abandoned_line, done_line);
    assert_string_equal((const char *)out.data, want);
    trib_buf_fini(&out);

    struct trib_buf jsonl = read_back("rounds.jsonl");
    (void)snprintf(want, sizeof(want), "%s%s", round_line, abandoned_line);
    assert_string_equal((const char *)jsonl.data, want);
    trib_buf_fini(&jsonl);
}

static void csv_holds_the_scalars_and_leaves_absent_ones_empty(void **state)
{
    (void)state;
    struct trib_buf out = capture(false, true);
    assert_int_equal(out.size, 0); // quiet is quiet
    trib_buf_fini(&out);
    struct trib_buf csv = read_back("rounds.csv");
    assert_string_equal(
        (const char *)csv.data,
        "round,version,asked,accepted,refused,loss,metric,value,epsilon_pure,epsilon,delta,"
        "bytes_up,bytes_down,seconds,state,reason\n"
        "1,2,10,9,1,0.5,accuracy,0.75,3.5,2.25,1e-05,1234,5678,0.125,committed,\n"
        "2,2,10,0,0,,,,,,,0,0,0,abandoned,few_reported\n");
    trib_buf_fini(&csv);
}

// Columns a terminal shows: bytes that do not continue a UTF-8 letter.
static size_t width_of(const char *line)
{
    size_t width = 0;
    for (; *line && *line != '\n'; line++)
        width += ((unsigned char)*line & 0xc0) != 0x80;
    return width;
}

static void the_table_is_aligned_and_plain_when_not_on_a_terminal(void **state)
{
    (void)state;
    struct trib_buf out = capture(false, false);
    const char *header = (const char *)out.data;
    const char *line = strchr(header, '\n') + 1;
    assert_int_equal(width_of(header), width_of(line));
    assert_null(strchr(header, '\033'));
    assert_null(strchr(header, '\r'));
    assert_non_null(strstr(line, " 10/9/1 "));
    assert_non_null(strstr(line, "1.2 KiB"));
    assert_non_null(strstr(line, " 2.25     5.75 ")); // spent and left
    assert_non_null(strstr(line, "abandoned: few_reported"));
    trib_buf_fini(&out);
}

static void best_follows_the_direction_of_the_metric(void **state)
{
    (void)state;
    for (int higher = 0; higher < 2; higher++) {
        static const double values[] = {0.5, 0.75, 0.25, (double)NAN};
        struct trib_report *report;
        double best;
        uint64_t round;
        const struct trib_report_options options = {.name = "s",
                                                    .dir = dir,
                                                    .model = "m",
                                                    .mode = "off",
                                                    .rounds = 4,
                                                    .quiet = true,
                                                    .higher_is_better = higher == 1,
                                                    .epsilon_total = (double)NAN};
        assert_int_equal(trib_report_create(&options, &report), TRIB_OK);
        assert_false(trib_report_best(report, &best, &round));
        for (uint64_t r = 0; r < 4; r++) {
            struct trib_round_result result = committed();
            result.round = r + 1;
            result.value = values[r];
            assert_int_equal(trib_report_round(report, &result), TRIB_OK);
        }
        assert_true(trib_report_best(report, &best, &round));
        assert_true(best == (higher ? 0.75 : 0.25));
        assert_int_equal(round, higher ? 2 : 3);
        trib_report_destroy(report);
    }
}

// Every tag is closed in order, and no number is NaN or infinite.
static void assert_well_formed(const struct trib_buf *svg)
{
    const char *open[16];
    size_t depth = 0;
    const char *text = (const char *)svg->data;
    assert_false(svg->failed);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    while ((text = strchr(text, '<'))) {
        const char *end = strchr(text, '>');
        assert_non_null(end);
        if (text[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_memory_equal(open[depth] + 1, text + 2, (size_t)(end - text - 2));
        } else if (end[-1] != '/') {
            assert_true(depth < 16);
            open[depth++] = text;
        }
        text = end;
    }
    assert_int_equal(depth, 0);
}

static struct trib_buf draw(size_t count, bool has_epsilon)
{
    struct trib_svg_point *points = calloc(count + 1, sizeof(*points));
    struct trib_buf svg = {0};
    assert_non_null(points);
    for (size_t i = 0; i < count; i++)
        points[i] = (struct trib_svg_point){
            .round = (double)i + 1,
            .value = i % 7 == 3 ? (double)NAN : 1 - 1 / (double)(i + 2),
            .loss = i % 5 == 2 ? (double)INFINITY : 2 / (double)(i + 1),
            .epsilon = has_epsilon ? sqrt((double)i + 1) : (double)NAN,
            .is_abandoned = i % 7 == 3,
        };
    const struct trib_svg_chart chart = {.title = "<a> & \"b\"",
                                         .facts = "facts",
                                         .model = "m",
                                         .metric = "accuracy",
                                         .final = 0.5,
                                         .best = 0.6,
                                         .best_round = 1,
                                         .points = points,
                                         .count = count};
    trib_svg_draw(&chart, &svg);
    free(points);
    return svg;
}

static void the_picture_is_well_formed_for_any_number_of_rounds(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 10, 1000, 100000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct trib_buf svg = draw(counts[i], i % 2 == 0);
        assert_well_formed(&svg);
        assert_non_null(strstr((const char *)svg.data, "&lt;a&gt; &amp; &quot;b&quot;"));
        assert_int_equal(strstr((const char *)svg.data, "ε spent") != NULL,
                         i % 2 == 0 && counts[i] > 0);
        assert_true(svg.size < 600000); // lines are thinned out
        trib_buf_fini(&svg);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(json_events_have_the_fixed_fields_in_order),
        TEST(csv_holds_the_scalars_and_leaves_absent_ones_empty),
        TEST(the_table_is_aligned_and_plain_when_not_on_a_terminal),
        TEST(best_follows_the_direction_of_the_metric),
        TEST(the_picture_is_well_formed_for_any_number_of_rounds),
    };
    return RUN_TESTS(tests);
}
