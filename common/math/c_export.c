#include "common/math/c_export.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/math/layer.h"

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

// Pictures are (channels, height, width): `in` and `out` are their sides.
static const char conv_text[] =
    "/* y = w x + b; w (out, in, height, width); kernel: its height and width, then how far x begins\n"
    "   below and to the right of y */\n"
    "static void conv(const int *in, const int *out, const int *kernel, const float *w,\n"
    "                 const float *b, const float *x, float *y)\n"
    "{\n"
    "    int o, r, c, i, p, q;\n"
    "    for (o = 0; o < out[0]; o++)\n"
    "        for (r = 0; r < out[1]; r++)\n"
    "            for (c = 0; c < out[2]; c++) {\n"
    "                const float *v = w + (long)o * in[0] * kernel[0] * kernel[1];\n"
    "                float sum = b[o];\n"
    "                for (i = 0; i < in[0]; i++)\n"
    "                    for (p = r - kernel[2]; p < r - kernel[2] + kernel[0]; p++)\n"
    "                        for (q = c - kernel[3]; q < c - kernel[3] + kernel[1]; q++, v++)\n"
    "                            if (p >= 0 && p < in[1] && q >= 0 && q < in[2])\n"
    "                                sum += *v * x[((long)i * in[1] + p) * in[2] + q];\n"
    "                *y++ = sum;\n"
    "            }\n"
    "}\n\n";

static const char maxpool_text[] =
    "static void maxpool(const int *in, const int *out, int side, const float *x, float *y)\n"
    "{\n"
    "    int o, r, c, i;\n"
    "    for (o = 0; o < out[0]; o++)\n"
    "        for (r = 0; r < out[1]; r++)\n"
    "            for (c = 0; c < out[2]; c++) {\n"
    "                const float *v = x + ((long)o * in[1] + r * side) * in[2] + c * side;\n"
    "                float largest = *v;\n"
    "                for (i = 0; i < side * side; i++) {\n"
    "                    const float now = v[(long)(i / side) * in[2] + i % side];\n"
    "                    largest = now > largest ? now : largest;\n"
    "                }\n"
    "                *y++ = largest;\n"
    "            }\n"
    "}\n\n";

static const char bilinear_text[] =
    "/* y = u w v + b, where x is u and then v; w (users, items) row-major; b may be 0 */\n"
    "static void bilinear(int users, int items, const float *w, const float *b, const float *x,\n"
    "                     float *y)\n"
    "{\n"
    "    float sum = b ? b[0] : 0.0f;\n"
    "    int i, j;\n"
    "    for (j = 0; j < items; j++) {\n"
    "        float wanted = 0.0f;\n"
    "        for (i = 0; i < users; i++)\n"
    "            wanted += x[i] * w[(long)i * items + j];\n"
    "        sum += wanted * x[users + j];\n"
    "    }\n"
    "    y[0] = sum;\n"
    "}\n\n";

static const char ensemble_text[] =
    "static void ensemble(int count, int members, const float *w, const float *const *said,\n"
    "                     float *y)\n"
    "{\n"
    "    int i, k;\n"
    "    double whole = 0.0;\n"
    "    for (k = 0; k < members; k++)\n"
    "        whole += w[k];\n"
    "    for (i = 0; i < count; i++) {\n"
    "        double sum = 0.0;\n"
    "        for (k = 0; k < members; k++)\n"
    "            sum += w[k] / whole * said[k][i];\n"
    "        y[i] = (float)sum;\n"
    "    }\n"
    "}\n\n";

static const char *const kind_texts[] = {
    [TRIB_LAYER_BILINEAR] = bilinear_text, [TRIB_LAYER_DENSE] = dense_text,
    [TRIB_LAYER_CONV] = conv_text,         [TRIB_LAYER_MAXPOOL] = maxpool_text,
    [TRIB_LAYER_ENSEMBLE] = ensemble_text,
};

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
    for (size_t k = 0; k < sizeof(kind_texts) / sizeof(kind_texts[0]); k++) {
        bool is_used = false;
        for (uint32_t l = 0; l < model->layer_count; l++)
            is_used = is_used || model->layers[l].kind == k;
        if (is_used && kind_texts[k])
            trib_buf_text(buf, kind_texts[k]);
    }
    for (int a = TRIB_ACTIVATION_RELU; a <= TRIB_ACTIVATION_SOFTMAX; a++) {
        bool is_used = false;
        for (uint32_t l = 0; l < model->layer_count; l++)
            is_used = is_used || (int)model->layers[l].activation == a;
        if (is_used)
            trib_buf_text(buf, activation_texts[a]);
    }
}

static bool is_written(const struct trib_layer *layer)
{
    return !trib_layer_ops(layer->kind)->is_training_only; // nothing to do in evaluation
}

static void put_shape(struct trib_buf *buf, const struct trib_shape *shape)
{
    trib_buf_printf(buf, "(const int[]){%" PRIu32 ", %" PRIu32 ", %" PRIu32 "}, ", shape->channels,
                    shape->height, shape->width);
}

// The arguments before x and y.
static void put_arguments(struct trib_buf *buf, const char *name, uint32_t index,
                          const struct trib_layer *layer)
{
    const uint32_t high = layer->kernel_height, wide = layer->kernel_width;
    if (layer->kind == TRIB_LAYER_DENSE)
        trib_buf_printf(buf, "%" PRIu32 ", %" PRIu32 ", ", layer->outputs, layer->inputs);
    if (layer->kind == TRIB_LAYER_BILINEAR)
        trib_buf_printf(buf, "%" PRIu32 ", %" PRIu32 ", ", layer->users, layer->items);
    if (trib_layer_ops(layer->kind)->is_for_pictures) {
        put_shape(buf, &layer->in);
        put_shape(buf, &layer->out);
    }
    if (layer->kind == TRIB_LAYER_CONV)
        trib_buf_printf(buf, "(const int[]){%" PRIu32 ", %" PRIu32 ", %" PRIu32 ", %" PRIu32 "}, ",
                        high, wide, layer->is_same ? (high - 1) / 2 : 0,
                        layer->is_same ? (wide - 1) / 2 : 0);
    if (layer->kind == TRIB_LAYER_MAXPOOL)
        trib_buf_printf(buf, "%" PRIu32 ", ", high);
    for (uint32_t t = 0; t < layer->tensor_count; t++)
        trib_buf_printf(buf, "%s_%s_%" PRIu32 ", ", name, layer->tensors[t].name, index);
    if (layer->kind == TRIB_LAYER_BILINEAR && !layer->has_bias)
        trib_buf_text(buf, "0, ");
}

// The mean itself: its probabilities need no activation.
static void put_mean(struct trib_buf *buf, const struct trib_model *model, const char *name)
{
    const uint32_t last = model->layer_count - 1;
    trib_buf_printf(buf,
                    "    ensemble(%" PRIu32 ", %" PRIu32 ", %s_weight_%" PRIu32
                    ", (const float *const[]){",
                    model->outputs, model->member_count, name, last);
    const char *before = "";
    for (uint32_t l = 0; l < last; l++) {
        if (!trib_layer_ends_member(model, l))
            continue;
        trib_buf_printf(buf, "%sh%" PRIu32, before, l);
        before = ", ";
    }
    trib_buf_text(buf, "}, y);\n");
}

// Hidden layers h0, h1, ... are arrays of their own, in the order in which they are filled.
static void put_predict(struct trib_buf *buf, const struct trib_model *model, const char *name)
{
    char from[NAME_SIZE] = "x";
    trib_buf_printf(buf, "void %s_predict(const float *x, float *y)\n{\n", name);
    for (uint32_t l = 0; l + 1 < model->layer_count; l++) {
        if (is_written(&model->layers[l]))
            trib_buf_printf(buf, "    float h%" PRIu32 "[%" PRIu32 "];\n", l,
                            model->layers[l].outputs);
    }
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        char to[NAME_SIZE];
        if (layer->takes_rows)
            (void)snprintf(from, sizeof(from), "x");
        if (!is_written(layer))
            continue;
        if (layer->kind == TRIB_LAYER_ENSEMBLE) {
            put_mean(buf, model, name);
            continue;
        }
        (void)snprintf(to, sizeof(to), l + 1 == model->layer_count ? "y" : "h%" PRIu32, l);
        trib_buf_printf(buf, "    %s(", trib_layer_ops(layer->kind)->word);
        put_arguments(buf, name, l, layer);
        trib_buf_printf(buf, "%s, %s);\n", from, to);
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
        hidden += is_written(&model->layers[l]) ? model->layers[l].outputs : 0;
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

void trib_c_export_threshold(const char *name, double threshold, struct trib_buf *buf)
{
    char id[NAME_SIZE];
    make_identifier(name, id);
    trib_buf_printf(buf,
                    "\n/* From this probability on a row is of class 1. */\n"
                    "extern const double %s_threshold;\n"
                    "const double %s_threshold = %a;\n",
                    id, id, threshold);
}
