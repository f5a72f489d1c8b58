#include "common/math/c_export.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_SIZE = 64,
    PER_LINE = 6,
};

static const char dense_text[] =
    "/* y = w x + b; w (rows, columns) row-major */\n"
    "static void dense(int rows, int columns, const float *w, const float *b, const float *x, float "
    "*y)\n"
    "{\n"
    "    int i, j;\n"
    "    for (i = 0; i < rows; i++) {\n"
    "        const float *row = w + (long)i * columns;\n"
    "        float sum = b[i];\n"
    "        for (j = 0; j < columns; j++)\n"
    "            sum += row[j] * x[j];\n"
    "        y[i] = sum;\n"
    "    }\n"
    "}\n\n";

static const char *const activation_texts[] = {
    [TRIB_ACTIVATION_RELU] = "static void relu(int count, float *y)\n"
                             "{\n"
                             "    int i;\n"
                             "    for (i = 0; i < count; i++)\n"
                             "        y[i] = y[i] > 0.0f ? y[i] : 0.0f;\n"
                             "}\n\n",
    [TRIB_ACTIVATION_TANH] = "static void hyperbolic_tangent(int count, float *y)\n"
                             "{\n"
                             "    int i;\n"
                             "    for (i = 0; i < count; i++)\n"
                             "        y[i] = tanhf(y[i]);\n"
                             "}\n\n",
    [TRIB_ACTIVATION_SIGMOID] = "static void sigmoid(int count, float *y)\n"
                                "{\n"
                                "    int i;\n"
                                "    for (i = 0; i < count; i++)\n"
                                "        y[i] = 1.0f / (1.0f + expf(-y[i]));\n"
                                "}\n\n",
    [TRIB_ACTIVATION_SOFTMAX] = "static void softmax(int count, float *y)\n"
                                "{\n"
                                "    float largest = y[0], sum = 0.0f;\n"
                                "    int i;\n"
                                "    for (i = 1; i < count; i++)\n"
                                "        largest = y[i] > largest ? y[i] : largest;\n"
                                "    for (i = 0; i < count; i++) {\n"
                                "        y[i] = expf(y[i] - largest);\n"
                                "        sum += y[i];\n"
                                "    }\n"
                                "    for (i = 0; i < count; i++)\n"
                                "        y[i] /= sum;\n"
                                "}\n\n",
};

static const char *const activation_calls[] = {
    [TRIB_ACTIVATION_RELU] = "relu",
    [TRIB_ACTIVATION_TANH] = "hyperbolic_tangent",
    [TRIB_ACTIVATION_SIGMOID] = "sigmoid",
    [TRIB_ACTIVATION_SOFTMAX] = "softmax",
};

static void make_identifier(const char *from, char name[static NAME_SIZE])
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const bool begins_with_digit = from[0] >= '0' && from[0] <= '9';
    (void)snprintf(name, NAME_SIZE, "%s%s", begins_with_digit || !from[0] ? "m" : "", from);
    for (char *c = name; *c; c++) {
        if (!strchr(plain, *c))
            *c = '_';
    }
}

static void put_floats(struct trib_buf *buf, const char *name, const char *kind, uint32_t index,
                       const float *values, size_t count)
{
    trib_buf_printf(buf, "static const float %s_%s_%" PRIu32 "[%zu] = {", name, kind, index, count);
    for (size_t i = 0; i < count; i++)
        trib_buf_printf(buf, "%s%af,", i % PER_LINE == 0 ? "\n    " : " ", (double)values[i]);
    trib_buf_text(buf, "\n};\n\n");
}

// Only the functions that are called: an unused one would be a warning.
static void put_functions(struct trib_buf *buf, const struct trib_model *model)
{
    trib_buf_text(buf, dense_text);
    for (int a = TRIB_ACTIVATION_RELU; a <= TRIB_ACTIVATION_SOFTMAX; a++) {
        bool is_used = false;
        for (uint32_t l = 0; l < model->layer_count; l++)
            is_used = is_used || (int)model->layers[l].activation == a;
        if (is_used)
            trib_buf_text(buf, activation_texts[a]);
    }
}

// Hidden layers h0, h1, ... are arrays of their own, in the order in which they are filled.
static void put_predict(struct trib_buf *buf, const struct trib_model *model, const char *name)
{
    char from[NAME_SIZE] = "x";
    trib_buf_printf(buf, "void %s_predict(const float *x, float *y)\n{\n", name);
    for (uint32_t l = 0; l + 1 < model->layer_count; l++) {
        if (model->layers[l].kind == TRIB_LAYER_DENSE)
            trib_buf_printf(buf, "    float h%" PRIu32 "[%" PRIu32 "];\n", l,
                            model->layers[l].outputs);
    }
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        char to[NAME_SIZE];
        if (layer->kind == TRIB_LAYER_DROPOUT)
            continue; // nothing to do in evaluation
        (void)snprintf(to, sizeof(to), l + 1 == model->layer_count ? "y" : "h%" PRIu32, l);
        trib_buf_printf(buf,
                        "    dense(%" PRIu32 ", %" PRIu32 ", %s_weight_%" PRIu32
                        ", %s_bias_%" PRIu32 ", %s, %s);\n",
                        layer->outputs, layer->inputs, name, l, name, l, from, to);
        if (layer->activation != TRIB_ACTIVATION_LINEAR)
            trib_buf_printf(buf, "    %s(%" PRIu32 ", %s);\n", activation_calls[layer->activation],
                            layer->outputs, to);
        memcpy(from, to, sizeof(from));
    }
    trib_buf_text(buf, "}\n");
}

void trib_c_export_write(const struct trib_model *model, const float *params, const char *name,
                         struct trib_buf *buf)
{
    char id[NAME_SIZE];
    size_t hidden = 0;
    make_identifier(name, id);
    for (uint32_t l = 0; l + 1 < model->layer_count; l++)
        hidden += model->layers[l].kind == TRIB_LAYER_DENSE ? model->layers[l].outputs : 0;
    trib_buf_printf(buf,
                    "/* The model %s, written by Tributary.\n"
                    "   %s_predict needs %zu bytes of stack for its hidden layers, and libm. */\n"
                    "#include <math.h>\n\n"
                    "enum { %s_inputs = %" PRIu32 ", %s_outputs = %" PRIu32 " };\n\n"
                    "void %s_predict(const float *x, float *y);\n\n",
                    model->spec, id, hidden * sizeof(float), id, model->inputs, id, model->outputs,
                    id);
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        for (uint32_t t = 0; t < layer->tensor_count; t++)
            put_floats(buf, id, layer->tensors[t].name, l, params + layer->tensors[t].offset,
                       layer->tensors[t].count);
    }
    put_functions(buf, model);
    put_predict(buf, model, id);
}
