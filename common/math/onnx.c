#include "common/math/onnx.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    IR_VERSION = 7, // of ONNX 1.8, which brought opset 13
    OPSET = 13,
    TYPE_FLOAT = 1, // TensorProto.DataType
    ATTRIBUTE_INT = 2,
    WIRE_VARINT = 0, // Protocol Buffers, encoding
    WIRE_BYTES = 2,
    NAME_SIZE = 32,
};

// ---- Protocol Buffers

static void put_varint(struct trib_buf *buf, uint64_t value)
{
    uint8_t bytes[10];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[count++] = (uint8_t)(value | 0x80);
    bytes[count++] = (uint8_t)value;
    trib_buf_append(buf, bytes, count);
}

static void put_int(struct trib_buf *buf, uint32_t field, int64_t value)
{
    put_varint(buf, field << 3 | WIRE_VARINT);
    put_varint(buf, (uint64_t)value);
}

static void put_bytes(struct trib_buf *buf, uint32_t field, const void *data, size_t size)
{
    put_varint(buf, field << 3 | WIRE_BYTES);
    put_varint(buf, size);
    trib_buf_append(buf, data, size);
}

static void put_text(struct trib_buf *buf, uint32_t field, const char *text)
{
    put_bytes(buf, field, text, strlen(text));
}

// A message inside another; `inner` is emptied for the next one.
static void put_message(struct trib_buf *buf, uint32_t field, struct trib_buf *inner)
{
    put_bytes(buf, field, inner->data, inner->size);
    buf->failed = buf->failed || inner->failed;
    trib_buf_clear(inner);
}

// ---- The graph

// AttributeProto: name 1, i 3, type 20; in NodeProto field 5.
static void put_attribute(struct trib_buf *node, const char *name, int64_t value)
{
    struct trib_buf attribute = {0};
    put_text(&attribute, 1, name);
    put_int(&attribute, 3, value);
    put_int(&attribute, 20, ATTRIBUTE_INT);
    put_message(node, 5, &attribute);
    trib_buf_fini(&attribute);
}

// TensorProto: dims 1, data_type 2, name 8, raw_data 9; in GraphProto field 5.
static void put_initializer(struct trib_buf *graph, const char *name, const uint32_t *dims,
                            size_t dim_count, const float *data)
{
    struct trib_buf tensor = {0};
    size_t count = 1;
    for (size_t i = 0; i < dim_count; i++) {
        put_int(&tensor, 1, dims[i]);
        count *= dims[i];
    }
    put_int(&tensor, 2, TYPE_FLOAT);
    put_text(&tensor, 8, name);
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little-endian");
    put_bytes(&tensor, 9, data, count * sizeof(*data));
    put_message(graph, 5, &tensor);
    trib_buf_fini(&tensor);
}

static const char *operator_of(enum trib_activation activation)
{
    switch (activation) {
    case TRIB_ACTIVATION_LINEAR: return NULL;
    case TRIB_ACTIVATION_RELU: return "Relu";
    case TRIB_ACTIVATION_TANH: return "Tanh";
    case TRIB_ACTIVATION_SIGMOID: return "Sigmoid";
    case TRIB_ACTIVATION_SOFTMAX: return "Softmax";
    }
    return NULL;
}

// NodeProto: input 1, output 2, name 3, op_type 4, attribute 5; in GraphProto field 1. `from` names
// the layer's input, `to` its output.
static void put_layer(struct trib_buf *graph, uint32_t index, const struct trib_layer *layer,
                      const char *from, const char *to)
{
    struct trib_buf node = {0};
    char name[NAME_SIZE];
    char sum[NAME_SIZE];
    const char *activation = operator_of(layer->activation);
    (void)snprintf(sum, sizeof(sum), "%" PRIu32 ".sum", index);
    put_text(&node, 1, from);
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".weight", index);
    put_text(&node, 1, name);
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".bias", index);
    put_text(&node, 1, name);
    put_text(&node, 2, activation ? sum : to);
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".dense", index);
    put_text(&node, 3, name);
    put_text(&node, 4, "Gemm");
    put_attribute(&node, "transB", 1); // weights are (out, in)
    put_message(graph, 1, &node);
    if (activation) {
        put_text(&node, 1, sum);
        put_text(&node, 2, to);
        (void)snprintf(name, sizeof(name), "%" PRIu32 ".activation", index);
        put_text(&node, 3, name);
        put_text(&node, 4, activation);
        if (layer->activation == TRIB_ACTIVATION_SOFTMAX)
            put_attribute(&node, "axis", -1);
        put_message(graph, 1, &node);
    }
    trib_buf_fini(&node);
}

// ValueInfoProto: name 1, type 2; TypeProto: tensor_type 1; Tensor: elem_type 1, shape 2; shape:
// dim 1; Dimension: dim_value 1, dim_param 2.
static void put_value(struct trib_buf *graph, uint32_t field, const char *name, uint32_t columns)
{
    struct trib_buf dim = {0};
    struct trib_buf shape = {0};
    struct trib_buf tensor = {0};
    struct trib_buf type = {0};
    struct trib_buf value = {0};
    put_text(&dim, 2, "N");
    put_message(&shape, 1, &dim);
    put_int(&dim, 1, columns);
    put_message(&shape, 1, &dim);
    put_int(&tensor, 1, TYPE_FLOAT);
    put_message(&tensor, 2, &shape);
    put_message(&type, 1, &tensor);
    put_text(&value, 1, name);
    put_message(&value, 2, &type);
    put_message(graph, field, &value);
    trib_buf_fini(&dim);
    trib_buf_fini(&shape);
    trib_buf_fini(&tensor);
    trib_buf_fini(&type);
    trib_buf_fini(&value);
}

static void put_layers(struct trib_buf *graph, const struct trib_model *model)
{
    char from[NAME_SIZE] = "x";
    for (uint32_t l = 0; l < model->layer_count; l++) {
        if (model->layers[l].kind == TRIB_LAYER_DROPOUT)
            continue; // nothing to do in evaluation
        const bool is_last = l + 1 == model->layer_count;
        char to[NAME_SIZE];
        (void)snprintf(to, sizeof(to), is_last ? "y" : "%" PRIu32 ".output", l);
        put_layer(graph, l, &model->layers[l], from, to);
        memcpy(from, to, sizeof(from));
    }
}

// GraphProto: node 1, name 2, initializer 5, input 11, output 12.
static void put_graph(struct trib_buf *graph, const struct trib_model *model, const float *params)
{
    char name[NAME_SIZE];
    put_layers(graph, model);
    put_text(graph, 2, "model");
    for (uint32_t l = 0; l < model->layer_count; l++) {
        const struct trib_layer *layer = &model->layers[l];
        for (uint32_t t = 0; t < layer->tensor_count; t++) {
            const struct trib_layer_tensor *tensor = &layer->tensors[t];
            (void)snprintf(name, sizeof(name), "%" PRIu32 ".%s", l, tensor->name);
            put_initializer(graph, name, tensor->shape, tensor->dimensions,
                            params + tensor->offset);
        }
    }
    put_value(graph, 11, "x", model->inputs);
    put_value(graph, 12, "y", model->outputs);
}

// ModelProto: ir_version 1, producer_name 2, graph 7, opset_import 8, metadata_props 14.
void trib_onnx_write(const struct trib_model *model, const float *params,
                     const struct trib_safetensors_text *texts, size_t text_count,
                     struct trib_buf *buf)
{
    struct trib_buf inner = {0};
    put_int(buf, 1, IR_VERSION);
    put_text(buf, 2, "tributary");
    put_text(&inner, 1, ""); // OperatorSetIdProto: domain 1, version 2
    put_int(&inner, 2, OPSET);
    put_message(buf, 8, &inner);
    for (size_t i = 0; i < text_count; i++) {
        put_text(&inner, 1, texts[i].name); // StringStringEntryProto: key 1, value 2
        put_text(&inner, 2, texts[i].value);
        put_message(buf, 14, &inner);
    }
    put_graph(&inner, model, params);
    put_message(buf, 7, &inner);
    trib_buf_fini(&inner);
}
