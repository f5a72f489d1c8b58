#include "client/local.h"
#include "client/pipeline_file.h"
#include "client/predict.h"
#include "tests/unit/files.h"
#include "tributary/predict.h"

#include <math.h>

#include "common/base/wipe.h"
#include "common/data/prepare.h"
#include "tests/unit/models.h"

#define INSTALLED "model.safetensors", "local.part", "pipeline.ini"
#define SPEC      "2 - dense 2 softmax"
#define SCHEMA                                                             \
    "[column size]\ntype = real\nmin = -10\n[column since]\ntype = real\n" \
    "[column kind]\ntype = category\nvalues = cat | dog\nrole = label\n"
#define PIPELINE "[step log1p]\ncolumns = size\n"

enum {
    ROWS_MAX = 256
};

// p(class 1) = sigmoid(a - b + 0.5)
static const float params[] = {0, 0, 1, -1, 0, 0.5f};
static const uint8_t seed[TRIB_SIGN_SEED_SIZE] = {42};
static struct trib_msg_manifest manifest;

// What was answered last.
static struct {
    size_t count;
    struct {
        uint64_t line;
        char by[80], label[32], error[256];
        double probability, value;
        float outputs[2];
    } rows[ROWS_MAX];
} got;

static double sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

static void keep(void *user, const struct trib_prediction *p)
{
    assert_ptr_equal(user, &got);
    assert_int_equal(p->row, got.count); // each in its turn
    assert_in_range(got.count, 0, ROWS_MAX - 1);
    got.rows[got.count].line = p->line;
    got.rows[got.count].probability = p->probability;
    got.rows[got.count].value = p->value;
    (void)snprintf(got.rows[got.count].by, 80, "%s", p->by ? p->by : "");
    (void)snprintf(got.rows[got.count].label, 32, "%s", p->label ? p->label : "");
    (void)snprintf(got.rows[got.count].error, 256, "%s", p->error ? p->error : "");
    if (!p->error && p->output_count <= 2)
        memcpy(got.rows[got.count].outputs, p->outputs, p->output_count * sizeof(float));
    got.count++;
}

static enum trib_err ask(struct trib_predictor *predictor, const char *text)
{
    got.count = 0;
    return trib_predictor_rows(predictor, "asked", text, strlen(text), keep, &got);
}

static void config(const char *text)
{
    (void)files_put(0, "client.ini", text, strlen(text));
}

// Install a version of `spec` with these parameters and `manifest`'s metrics and pipeline.
static void install(const char *spec, const float *values)
{
    static struct trib_msg_new_version announced;
    struct trib_state_enrolment enrolment;
    struct trib_msg_manifest judged;
    struct trib_model model = parsed(spec);
    struct trib_slot slot = {.params = NULL};
    struct trib_buf packed = {0};
    manifest.params = model.param_count;
    (void)snprintf(manifest.spec, sizeof(manifest.spec), "%s", model.spec);
    memcpy(manifest.arch_digest, model.arch_digest, sizeof(manifest.arch_digest));
    trib_model_digest(&model, values, manifest.digest);
    trib_msg_manifest_pack(&manifest, &packed);
    assert_false(packed.failed);
    memcpy(announced.manifest, packed.data, packed.size);
    announced.manifest_size = packed.size;
    trib_sign(seed, TRIB_MANIFEST_CONTEXT, packed.data, packed.size, announced.signature);
    trib_buf_fini(&packed);
    assert_int_equal(trib_state_enrolment_load(files_dir, &enrolment), TRIB_OK);
    assert_int_equal(trib_slot_judge(&slot, &enrolment, &announced, &judged, &model),
                     TRIB_CODE_MODEL_INSTALLED);
    float *copy = calloc(manifest.params, sizeof(*copy));
    assert_non_null(copy);
    memcpy(copy, values, manifest.params * sizeof(*copy));
    assert_int_equal(trib_slot_install(&slot, files_dir, &announced, &judged, &model, copy),
                     TRIB_OK);
    trib_slot_fini(&slot);
}

static struct trib_predictor *opened(void)
{
    struct trib_predictor *predictor;
    if (trib_predictor_open(files_dir, &predictor))
        fail_msg("%s", files_logged);
    return predictor;
}

static void assert_closed(enum trib_err err, const char *text)
{
    struct trib_predictor *predictor;
    assert_int_equal(trib_predictor_open(files_dir, &predictor), err);
    files_assert_logged(text);
}

static int set_up(void **state)
{
    (void)state;
    static const char *const names[] = {INSTALLED};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlink(files_put(0, names[i], NULL, 0));
    manifest = (struct trib_msg_manifest){
        .generation = 2, .version = 7, .kind = "round", .population = "default"};
    config("[data]\ntrain = rows.csv\n");
    return 0;
}

static void without_a_model_there_is_no_predictor(void **state)
{
    (void)state;
    assert_closed(TRIB_ERR_STATE, "no model is installed yet");
    trib_predictor_close(NULL);
}

static void features_give_what_the_model_says(void **state)
{
    (void)state;
    float x[ROWS_MAX][2];
    float outputs[ROWS_MAX][2];
    uint64_t random = 5;
    install(SPEC, params);
    struct trib_predictor *p = opened();
    assert_int_equal(trib_predictor_version(p), 7);
    assert_int_equal(trib_predictor_inputs(p), 2);
    assert_int_equal(trib_predictor_outputs(p), 2);
    for (size_t i = 0; i < ROWS_MAX; i++) {
        x[i][0] = 3 * small(&random);
        x[i][1] = 3 * small(&random);
    }
    assert_int_equal(trib_predictor_run(p, x[0], ROWS_MAX - 1, outputs[0]), TRIB_OK);
    for (size_t i = 0; i < ROWS_MAX - 1; i++) {
        const double wanted = sigmoid((double)x[i][0] - (double)x[i][1] + 0.5);
        assert_true(fabs((double)outputs[i][1] - wanted) < 1e-6);
        assert_true(fabs((double)outputs[i][0] + wanted - 1) < 1e-6);
    }
    x[70][1] = NAN;
    assert_int_equal(trib_predictor_run(p, x[0], ROWS_MAX, outputs[0]), TRIB_ERR_DATA);
    files_assert_logged("row 70: a feature is not finite");
    trib_predictor_close(p);
}

static void the_table_of_a_version_answers_if_it_knows_the_columns(void **state)
{
    (void)state;
    static const char table[] = "[fallback]\nmin_probability = 1\n[rule low]\nwhen = size < 0\n"
                                "outputs = 1 | 0\n[default]\noutputs = 0.5 | 0.5\n";
    static const char other[] = "[default]\noutputs = 0.5 | 0.5\n[rule old]\nwhen = age > 3\n"
                                "outputs = 1 | 0\n";
    (void)files_put(0, "s.ini", SCHEMA, strlen(SCHEMA));
    (void)files_put(0, "f.ini", other, strlen("[default]\noutputs = 0.5 | 0.5\n"));
    config("[data]\ntrain = rows.csv\nschema = s.ini\n");
    (void)snprintf(manifest.fallback, sizeof(manifest.fallback), "%s", table);
    install(SPEC, params);
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "-1,0\n1,0\n"), TRIB_OK);
    assert_string_equal(got.rows[0].by, "rule low");
    assert_string_equal(got.rows[1].by, "default");
    trib_predictor_close(p);
    (void)snprintf(manifest.fallback, sizeof(manifest.fallback), "%s", other);
    install(SPEC, params);
    p = opened();
    files_assert_logged("id=fallback-unfit");
    assert_int_equal(ask(p, "-1,0\n"), TRIB_OK);
    assert_string_equal(got.rows[0].by, "model");
    trib_predictor_close(p);
    config("[data]\ntrain = rows.csv\nschema = s.ini\npipeline = job\n");
    assert_closed(TRIB_ERR_STATE, "there is no column 'age'"); // nor a pipeline for the model
    (void)snprintf(manifest.fallback, sizeof(manifest.fallback), "%s", table);
    install(SPEC, params);
    p = opened();
    assert_int_equal(trib_predictor_version(p), 0);
    assert_int_equal(ask(p, "-1,0\n1,0\n"), TRIB_OK);
    assert_string_equal(got.rows[0].by, "rule low");
    trib_predictor_close(p);
    config("[data]\ntrain = rows.csv\nschema = s.ini\nfallback = f.ini\n");
    p = opened(); // its own file comes first
    assert_int_equal(ask(p, "-1,0\n"), TRIB_OK);
    assert_string_equal(got.rows[0].by, "model");
    trib_predictor_close(p);
}

static void an_item_must_be_one_of_the_models(void **state)
{
    (void)state;
    static const float factors[] = {0.5f, 1, 2, 3, 1, 1, 1, 1, 1}; // room for any layout
    const struct trib_model model = parsed("1 - factors 2x1 linear");
    struct trib_local local;
    float trained[4] = {1, 1, 1, 1};
    float said;
    assert_in_range(model.param_count, 1, 9);
    assert_in_range(model.local_count, 1, 4);
    install("1 - factors 2x1 linear", factors);
    assert_int_equal(trib_local_load(files_dir, &model, 1, "d", &local), TRIB_OK);
    assert_int_equal(trib_local_save(&local, files_dir, &model, 3, trained), TRIB_OK);
    trib_local_fini(&local);
    struct trib_predictor *p = opened();
    assert_int_equal(trib_predictor_run(p, (const float[]){1}, 1, &said), TRIB_OK);
    assert_int_equal(trib_predictor_run(p, (const float[]){2}, 1, &said), TRIB_ERR_DATA);
    assert_int_equal(ask(p, "0\n2\n1,4\n0.5\n"), TRIB_ERR_DATA);
    assert_string_equal(got.rows[0].error, "");
    assert_non_null(strstr(got.rows[1].error, "not one of the model's items"));
    assert_string_equal(got.rows[2].error, "");
    assert_non_null(strstr(got.rows[3].error, "not one of the model's items"));
    trib_predictor_close(p);
}

static void the_label_may_be_there_or_not(void **state)
{
    (void)state;
    static const char *const texts[] = {"1,0\n0,2\n", "1,0,0\n0,2,1\n", "1,0,\n0,2,?\n"};
    install(SPEC, params);
    struct trib_predictor *p = opened();
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ask(p, texts[i]), TRIB_OK);
        assert_int_equal(got.count, 2);
        assert_string_equal(got.rows[0].label, "1");
        assert_true(fabs(got.rows[0].probability - sigmoid(1.5)) < 1e-6);
        assert_string_equal(got.rows[1].label, "0");
        assert_true(fabs(got.rows[1].probability - sigmoid(1.5)) < 1e-6);
        assert_string_equal(got.rows[1].by, "model");
    }
    trib_predictor_close(p);
    config("[data]\ntrain = rows.csv\nlabel = y\nheader = yes\nscale = 2\n");
    p = opened();
    assert_int_equal(ask(p, "y,a,b\n9,2,0\n"), TRIB_OK);
    assert_true(fabs((double)got.rows[0].outputs[1] - sigmoid(1.5)) < 1e-6);
    assert_int_equal(ask(p, "a,b\n2,0\n"), TRIB_OK);
    assert_true(fabs((double)got.rows[0].outputs[1] - sigmoid(1.5)) < 1e-6);
    assert_int_equal(got.rows[0].line, 2);
    trib_predictor_close(p);
}

static void bad_rows_are_named_and_the_others_answered(void **state)
{
    (void)state;
    install(SPEC, params);
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "1,0\n1,x\n1,nan,0\n1\n\n1,0,2,3\n\"1\",0\n1,\"0\n0,2\n"),
                     TRIB_ERR_DATA);
    assert_int_equal(got.count, 8);
    assert_string_equal(got.rows[0].label, "1");
    assert_non_null(strstr(got.rows[1].error, "column 2: not a finite number"));
    assert_int_equal(got.rows[1].line, 2);
    assert_non_null(strstr(got.rows[2].error, "column 2: not a finite number"));
    assert_non_null(strstr(got.rows[3].error, "1 fields, and the model takes 2 features"));
    assert_int_equal(got.rows[4].line, 6);
    assert_non_null(strstr(got.rows[4].error, "4 fields"));
    assert_non_null(strstr(got.rows[5].error, "column 1: not a finite number"));
    assert_string_equal(got.rows[6].error, "it is not CSV");
    assert_string_equal(got.rows[7].label, "0");
    files_assert_logged("8 rows, version=7: answered by model 2, not answered 6");
    assert_int_equal(ask(p, ""), TRIB_OK);
    assert_int_equal(got.count, 0);
    trib_predictor_close(p);
}

static void the_threshold_of_the_version_decides(void **state)
{
    (void)state;
    manifest.metric_count = 1;
    (void)snprintf(manifest.metrics[0].name, sizeof(manifest.metrics[0].name), "threshold");
    manifest.metrics[0].value = 0.9;
    install(SPEC, params);
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "1,0\n3,0\n"), TRIB_OK); // 0.82, 0.97
    assert_string_equal(got.rows[0].label, "0");
    assert_true(fabs(got.rows[0].probability - sigmoid(-1.5)) < 1e-6);
    assert_string_equal(got.rows[1].label, "1");
    trib_predictor_close(p);
}

static void a_schema_gives_columns_and_labels_their_names(void **state)
{
    (void)state;
    (void)files_put(0, "s.ini", SCHEMA, strlen(SCHEMA));
    config("[data]\ntrain = rows.csv\nschema = s.ini\nheader = yes\n");
    install(SPEC, params);
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "since,size\n0,1\n2,0\n0,-11\n0,\n"), TRIB_ERR_DATA);
    assert_string_equal(got.rows[0].label, "dog");
    assert_string_equal(got.rows[1].label, "cat");
    assert_string_equal(got.rows[2].error, "column 'size' breaks the rule range");
    assert_string_equal(got.rows[3].error, "column 'size' breaks the rule missing");
    assert_int_equal(ask(p, "kind,since,size\nfish,0,1\n"), TRIB_OK); // nobody looks at it
    assert_string_equal(got.rows[0].label, "dog");
    assert_int_equal(ask(p, "since\n1\n"), TRIB_ERR_DATA);
    files_assert_logged("no column is named 'size'");
    trib_predictor_close(p);
    config("[data]\ntrain = rows.csv\nschema = s.ini\n");
    p = opened();
    assert_int_equal(ask(p, "1,0\n1,0,cat\n1\n"), TRIB_ERR_DATA);
    assert_string_equal(got.rows[0].label, "dog");
    assert_string_equal(got.rows[1].label, "dog");
    assert_non_null(strstr(got.rows[2].error, "1 fields where there are 3 columns"));
    trib_predictor_close(p);
    config("[data]\nformat = jsonl\ntrain = rows.jsonl\nschema = s.ini\n");
    p = opened();
    assert_int_equal(ask(p, "{\"size\":1,\"since\":0}\n\n{\"size\":\n{\"size\":0,\"since\":\"2\"}"),
                     TRIB_ERR_DATA);
    assert_string_equal(got.rows[0].label, "dog");
    assert_non_null(strstr(got.rows[1].error, "not a JSON object"));
    assert_int_equal(got.rows[1].line, 3);
    assert_string_equal(got.rows[2].label, "cat");
    trib_predictor_close(p);
}

static void a_value_is_in_the_unit_of_its_column(void **state)
{
    (void)state;
    static const char schema[] = "[column a]\ntype = real\n"
                                 "[column y]\ntype = real\nrole = label\noffset = 10\nscale = 2\n";
    (void)files_put(0, "s.ini", schema, strlen(schema));
    config("[data]\ntrain = rows.csv\nschema = s.ini\n");
    install("1 - dense 1 linear", (const float[]){3, 1});
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "2\n"), TRIB_OK);
    assert_true(got.rows[0].outputs[0] == 7);
    assert_true(got.rows[0].value == 24);
    assert_string_equal(got.rows[0].label, "");
    trib_predictor_close(p);
}

static void a_local_part_must_be_there(void **state)
{
    (void)state;
    const struct trib_model model = parsed("2 - dense 1 linear - dense 2 softmax local");
    static const float common[] = {1, -1, 0};   // a - b
    static const float own[] = {0, 1, 0, 0.5f}; // of the last layer
    struct trib_local local;
    install("2 - dense 1 linear - dense 2 softmax local", common);
    assert_closed(TRIB_ERR_STATE, "local.part is missing");
    assert_int_equal(trib_local_load(files_dir, &model, 1, "d", &local), TRIB_OK);
    assert_int_equal(trib_local_save(&local, files_dir, &model, 3, own), TRIB_OK);
    trib_local_fini(&local);
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "1,0\n"), TRIB_OK);
    assert_true(fabs((double)got.rows[0].outputs[1] - sigmoid(1.5)) < 1e-6);
    trib_predictor_close(p);
    install("2 - dense 1 tanh - dense 2 softmax local", common); // the part is of another model
    assert_closed(TRIB_ERR_STATE, "local.part is missing");
}

// The canonical text of PIPELINE, and its digest.
static void write_pipeline(struct trib_buf *text, uint8_t digest[static TRIB_DIGEST_SIZE])
{
    char why[256];
    struct trib_schema *schema;
    struct trib_prepare *prepare;
    assert_int_equal(trib_schema_parse(SCHEMA, strlen(SCHEMA), "s.ini", &schema, why, sizeof(why)),
                     TRIB_OK);
    if (trib_prepare_parse(PIPELINE, strlen(PIPELINE), "p.ini", schema, &prepare, why, sizeof(why)))
        fail_msg("%s", why);
    assert_true(trib_prepare_is_fitted(prepare));
    trib_prepare_write(prepare, text);
    assert_int_equal(trib_prepare_digest(prepare, digest), TRIB_OK);
    trib_prepare_destroy(prepare);
    trib_schema_destroy(schema);
}

static void assert_prepared(void)
{
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "9,2\n0,0\n,1\n"), TRIB_ERR_DATA);
    assert_true(fabs((double)got.rows[0].outputs[1] - sigmoid(log(10) - 2 + 0.5)) < 1e-6);
    assert_true(fabs((double)got.rows[1].outputs[1] - sigmoid(0.5)) < 1e-6);
    assert_string_equal(got.rows[2].error,
                        "the pipeline has no value for one of its features"); // not a broken rule
    trib_predictor_close(p);
}

static void rows_go_through_the_pipeline_of_the_version(void **state)
{
    (void)state;
    struct trib_buf text = {0};
    (void)files_put(0, "s.ini", SCHEMA, strlen(SCHEMA));
    (void)files_put(1, "p.ini", PIPELINE, strlen(PIPELINE));
    write_pipeline(&text, manifest.prepare_digest);
    install(SPEC, params);
    config("[data]\ntrain = rows.csv\nschema = s.ini\nprepare = p.ini\n");
    assert_prepared();
    config("[data]\ntrain = rows.csv\nschema = s.ini\n");
    assert_closed(TRIB_ERR_STATE, "no model is installed yet"); // none for such rows
    config("[data]\ntrain = rows.csv\nschema = s.ini\npipeline = job\n");
    assert_closed(TRIB_ERR_STATE, "pipeline.ini is not there, or not the pipeline of version 7");
    assert_int_equal(trib_pipeline_file_keep(files_dir, "[step log1p]\ncolumns = since\n"),
                     TRIB_OK);
    assert_closed(TRIB_ERR_STATE, "pipeline.ini is not there, or not the pipeline of version 7");
    assert_int_equal(trib_pipeline_file_keep(files_dir, (const char *)text.data), TRIB_OK);
    assert_prepared();
    memset(manifest.prepare_digest, 0, sizeof(manifest.prepare_digest));
    install(SPEC, params);
    assert_closed(TRIB_ERR_STATE, "version 7 was made before its job had a pipeline");
    trib_buf_fini(&text);
}

static void the_fallback_answers_where_the_model_does_not(void **state)
{
    (void)state;
    static const char fallback[] =
        "[fallback]\nmin_probability = 0.8\n"
        "[cluster near]\ncentre = 0 | 0\nradius = 1\noutputs = 0.9 | 0.1\n"
        "[rule long]\nwhen = 2 > 3\noutputs = 0 | 1\n"
        "[default]\noutputs = 0.25 | 0.75\n";
    static const char rows[] = "9,0\n0.5,0.5\n-5,-5\n4,5\nx,1\n";
    (void)files_put(0, "f.ini", fallback, strlen(fallback));
    config("[data]\ntrain = rows.csv\nfallback = f.ini\n");
    struct trib_predictor *p = opened(); // a new device
    float said[2];
    assert_int_equal(trib_predictor_version(p), 0);
    assert_int_equal(trib_predictor_inputs(p), 0);
    assert_int_equal(trib_predictor_run(p, said, 1, said), TRIB_ERR_STATE);
    assert_int_equal(ask(p, rows), TRIB_ERR_DATA);
    static const char *const before[] = {"default", "cluster near", "default", "rule long", ""};
    static const char *const after[] = {"model", "cluster near", "default", "rule long", ""};
    static const char *const labels[] = {"1", "0", "1", "1", ""};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(got.rows[i].by, before[i]);
        assert_string_equal(got.rows[i].label, labels[i]);
    }
    assert_true(got.rows[0].probability == 0.75);
    files_assert_logged("5 rows, version=0: answered by model 0, cluster near 1, rule long 1, "
                        "default 2, not answered 1");
    trib_predictor_close(p);
    install(SPEC, params);
    p = opened();
    assert_int_equal(ask(p, rows), TRIB_ERR_DATA);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(got.rows[i].by, after[i]);
    files_assert_logged(
        "answered by model 1, cluster near 1, rule long 1, default 1, not answered 1");
    trib_predictor_close(p);
    manifest.version++;
    install("3 - dense 2 softmax", (const float[8]){0});
    assert_closed(TRIB_ERR_INVAL, "f.ini:3: cluster near: centre has 2 numbers, and a row has 3");
}

// Rows that the pipeline leaves out, a pipeline or a local part that is not there.
static void the_fallback_answers_where_the_model_cannot_be_asked(void **state)
{
    (void)state;
    static const char fallback[] = "[cluster near]\ncentre = 0 | 0\nradius = 1\noutputs = 1 | 0\n"
                                   "[rule old]\nwhen = since > 3\noutputs = 0 | 1\n"
                                   "[default]\noutputs = 0.25 | 0.75\n";
    static const char rows[] = "9,0\n,4\n,1\n0,0\n-11,4\n";
    struct trib_buf text = {0};
    (void)files_put(0, "f.ini", fallback, strlen(fallback));
    (void)files_put(0, "s.ini", SCHEMA, strlen(SCHEMA));
    write_pipeline(&text, manifest.prepare_digest);
    install(SPEC, params);
    config("[data]\ntrain = rows.csv\nschema = s.ini\npipeline = job\nfallback = f.ini\n");
    static const char *const without[] = {"default", "rule old", "default", "default", ""};
    static const char *const with[] = {"model", "rule old", "default", "model", ""};
    for (int has_pipeline = 0; has_pipeline < 2; has_pipeline++) {
        struct trib_predictor *p = opened();
        assert_int_equal(trib_predictor_version(p), has_pipeline ? 7 : 0);
        assert_int_equal(ask(p, rows), TRIB_ERR_DATA); // the last row breaks the schema
        for (size_t i = 0; i < 5; i++)
            assert_string_equal(got.rows[i].by, has_pipeline ? with[i] : without[i]);
        assert_string_equal(got.rows[1].label, "dog");
        trib_predictor_close(p);
        assert_int_equal(trib_pipeline_file_keep(files_dir, (const char *)text.data), TRIB_OK);
    }
    trib_buf_fini(&text);
    memset(manifest.prepare_digest, 0, sizeof(manifest.prepare_digest));
    config("[data]\ntrain = rows.csv\nschema = s.ini\nfallback = f.ini\n");
    install("2 - dense 1 linear - dense 2 softmax local", (const float[]){1, -1, 0});
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "0,0\n9,4\n"), TRIB_OK);
    assert_string_equal(got.rows[0].by, "cluster near"); // without a pipeline rows have features
    assert_string_equal(got.rows[1].by, "rule old");
    trib_predictor_close(p);
}

static void what_rows_cannot_be_is_said(void **state)
{
    (void)state;
    static const char fallback[] = "[rule a]\nwhen = b > 3\noutputs = 0 | 1\n"
                                   "[default]\noutputs = 0.25 | 0.75\n";
    install(SPEC, params);
    config("[data]\nformat = idx\ntrain = a\ntrain_labels = b\n");
    struct trib_predictor *p = opened();
    assert_int_equal(ask(p, "1,0\n"), TRIB_ERR_INVAL);
    files_assert_logged("rows to predict are csv or jsonl");
    trib_predictor_close(p);
    (void)files_put(0, "f.ini", fallback, strlen(fallback));
    config("[data]\ntrain = rows.csv\nheader = yes\nfallback = f.ini\n");
    p = opened();
    assert_int_equal(ask(p, "a,c\n1,0\n"), TRIB_ERR_DATA);
    files_assert_logged("no column is named 'b'");
    assert_int_equal(ask(p, "a,b\n1,0\n"), TRIB_OK);
    trib_predictor_close(p);
    (void)files_put(0, "s.ini", SCHEMA, strlen(SCHEMA));
    config("[data]\ntrain = rows.csv\nschema = s.ini\n");
    manifest.version++;
    install("3 - dense 2 softmax", (const float[8]){0});
    assert_closed(TRIB_ERR_INVAL, "rows have 2 features, the model takes 3");
}

static void a_line_is_json_or_the_answer_alone(void **state)
{
    (void)state;
    static const float outputs[] = {0.25f, 0.75f};
    struct trib_prediction p = {.row = 3,
                                .line = 5,
                                .version = 7,
                                .by = "model",
                                .outputs = outputs,
                                .output_count = 2,
                                .is_class = 1,
                                .class_index = 1,
                                .label = "1",
                                .probability = 0.75};
    const struct trib_prediction bad = {.row = 4, .line = 6, .error = "no"};
    struct trib_buf line = {0};
    trib_prediction_write(&p, false, &line);
    trib_prediction_write(&p, true, &line);
    p.is_name = 1;
    trib_prediction_write(&p, true, &line);
    p.is_class = 0;
    p.label = NULL;
    p.value = 1.5;
    trib_prediction_write(&p, false, &line);
    trib_prediction_write(&p, true, &line);
    trib_prediction_write(&bad, false, &line);
    trib_prediction_write(&bad, true, &line);
    static const char head[] = "{\"row\":3,\"line\":5,\"version\":7,\"by\":\"model\","
                               "\"outputs\":[0.25,0.75],";
    char wanted[1024];
    (void)snprintf(wanted, sizeof(wanted),
                   "1\n%s\"label\":1,\"probability\":0.75}\n%s\"label\":\"1\","
                   "\"probability\":0.75}\n1.5\n%s\"value\":1.5}\n\n"
                   "{\"row\":4,\"line\":6,\"version\":0,\"error\":\"no\"}\n",
                   head, head, head);
    assert_string_equal((const char *)line.data, wanted);
    trib_buf_fini(&line);
}

static int group_setup(void **state)
{
    struct trib_state_enrolment enrolment = {
        .url = "tcp://127.0.0.1:1", .name = "d", .population = "default"};
    trib_crypto_init();
    trib_sign_public(seed, enrolment.release_key);
    return files_setup(state) || trib_state_enrolment_save(files_dir, &enrolment) ? -1 : 0;
}

static int group_teardown(void **state)
{
    (void)state;
    static const char *const names[] = {INSTALLED, "client.ini", "enrolment.ini", "s.ini", "p.ini",
                                        "f.ini",   NULL};
    return files_teardown(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_table_of_a_version_answers_if_it_knows_the_columns, set_up),
        cmocka_unit_test_setup(without_a_model_there_is_no_predictor, set_up),
        cmocka_unit_test_setup(features_give_what_the_model_says, set_up),
        cmocka_unit_test_setup(an_item_must_be_one_of_the_models, set_up),
        cmocka_unit_test_setup(the_label_may_be_there_or_not, set_up),
        cmocka_unit_test_setup(bad_rows_are_named_and_the_others_answered, set_up),
        cmocka_unit_test_setup(the_threshold_of_the_version_decides, set_up),
        cmocka_unit_test_setup(a_schema_gives_columns_and_labels_their_names, set_up),
        cmocka_unit_test_setup(a_value_is_in_the_unit_of_its_column, set_up),
        cmocka_unit_test_setup(a_local_part_must_be_there, set_up),
        cmocka_unit_test_setup(rows_go_through_the_pipeline_of_the_version, set_up),
        cmocka_unit_test_setup(the_fallback_answers_where_the_model_does_not, set_up),
        cmocka_unit_test_setup(the_fallback_answers_where_the_model_cannot_be_asked, set_up),
        cmocka_unit_test_setup(what_rows_cannot_be_is_said, set_up),
        cmocka_unit_test(a_line_is_json_or_the_answer_alone),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
