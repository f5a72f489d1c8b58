#include "common/math/onnx.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/math/layer.h"

enum {
    IR_VERSION = 7, // of ONNX 1.8, which brought opset 13
    OPSET = 13,
    TYPE_FLOAT = 1, // TensorProto.DataType
    TYPE_INT64 = 7,
    ATTRIBUTE_INT = 2, // AttributeProto.AttributeType
    ATTRIBUTE_INTS = 7,
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

// The same with several values: ints 8.
static void put_attributes(struct trib_buf *node, const char *name, const int64_t *values,
                           size_t count)
{
    struct trib_buf attribute = {0};
    put_text(&attribute, 1, name);
    for (size_t i = 0; i < count; i++)
        put_int(&attribute, 8, values[i]);
    put_int(&attribute, 20, ATTRIBUTE_INTS);
    put_message(node, 5, &attribute);
    trib_buf_fini(&attribute);
}

// TensorProto: dims 1, data_type 2, name 8, raw_data 9; in GraphProto field 5. Elements of `type`,
// which is one of `size` bytes.
struct constant {
    const char *name;
    const uint32_t *dims;
    uint32_t dim_count;
    int64_t type;
    size_t size;
    const void *data;
};

static void put_initializer(struct trib_buf *graph, const struct constant *constant)
{
    struct trib_buf tensor = {0};
    size_t count = 1;
    for (uint32_t i = 0; i < constant->dim_count; i++) {
        put_int(&tensor, 1, constant->dims[i]);
        count *= constant->dims[i];
    }
    put_int(&tensor, 2, constant->type);
    put_text(&tensor, 8, constant->name);
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little-endian");
    put_bytes(&tensor, 9, constant->data, count * constant->size);
    put_message(graph, 5, &tensor);
    trib_buf_fini(&tensor);
}

static const char *activation_type(enum trib_activation activation)
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

// What is being written, and the value that the last node gave.
struct graph {
    struct trib_buf *nodes;
    struct trib_buf constants; // GraphProto's initializers come behind all nodes
    char value[NAME_SIZE];
    bool is_picture; // the value is (N, C, H, W), else (N, columns)
};

// NodeProto: input 1, output 2, name 3, op_type 4, attribute 5; in GraphProto field 1.
struct node {
    const char *op_type;
    char name[NAME_SIZE];
    struct trib_buf inputs; // besides the graph's value, which is the first
    char second[NAME_SIZE]; // another thing that it gives, or ""
    struct trib_buf attributes;
};

// Name and input number `index` of the layer; a node is emptied when it is written.
static void begin_node(struct node *node, const char *op_type, uint32_t index, const char *word)
{
    node->op_type = op_type;
    (void)snprintf(node->name, sizeof(node->name), "%" PRIu32 ".%s", index, word);
}

static void add_input(struct node *node, uint32_t index, const char *part)
{
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".%s", index, part);
    put_text(&node->inputs, 1, name);
}

// What it gives is called `to`.
static void put_node(struct graph *graph, struct node *node, const char *to)
{
    struct trib_buf text = {0};
    put_text(&text, 1, graph->value);
    trib_buf_append(&text, node->inputs.data, node->inputs.size);
    put_text(&text, 2, to);
    if (node->second[0])
        put_text(&text, 2, node->second);
    node->second[0] = '\0';
    put_text(&text, 3, node->name);
    put_text(&text, 4, node->op_type);
    trib_buf_append(&text, node->attributes.data, node->attributes.size);
    text.failed = text.failed || node->inputs.failed || node->attributes.failed;
    put_message(graph->nodes, 1, &text);
    (void)snprintf(graph->value, sizeof(graph->value), "%s", to);
    trib_buf_fini(&text);
    trib_buf_clear(&node->inputs);
    trib_buf_clear(&node->attributes);
}

static void put_numbers(struct graph *graph, const char *name, const int64_t *values,
                        uint32_t count)
{
    put_initializer(&graph->constants, &(struct constant){.name = name,
                                                          .dims = &count,
                                                          .dim_count = 1,
                                                          .type = TYPE_INT64,
                                                          .size = sizeof(*values),
                                                          .data = values});
}

// Where a layer wants pictures and the value is flat, or the other way round.
static void put_reshape(struct graph *graph, struct node *node, uint32_t index,
                        const struct trib_layer *layer)
{
    char name[NAME_SIZE];
    const bool wants_picture = trib_layer_ops(layer->kind)->is_for_pictures;
    if (wants_picture == graph->is_picture)
        return;
    begin_node(node, wants_picture ? "Reshape" : "Flatten", index, "reshape");
    if (wants_picture) {
        const int64_t shape[4] = {-1, layer->in.channels, layer->in.height, layer->in.width};
        add_input(node, index, "shape");
        (void)snprintf(name, sizeof(name), "%" PRIu32 ".shape", index);
        put_numbers(graph, name, shape, 4);
    } else {
        put_attribute(&node->attributes, "axis", 1);
    }
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".input", index);
    put_node(graph, node, name);
    graph->is_picture = wants_picture;
}

static void begin_conv(struct node *node, const struct trib_layer *layer)
{
    const int64_t kernel[2] = {layer->kernel_height, layer->kernel_width};
    const int64_t high = (int64_t)layer->out.height + kernel[0] - 1 - layer->in.height;
    const int64_t wide = (int64_t)layer->out.width + kernel[1] - 1 - layer->in.width;
    const int64_t pads[4] = {high / 2, wide / 2, high - high / 2, wide - wide / 2};
    node->op_type = "Conv";
    put_attributes(&node->attributes, "kernel_shape", kernel, 2);
    put_attributes(&node->attributes, "pads", pads, 4); // above, left, below, right
}

static void begin_layer(struct node *node, uint32_t index, const struct trib_layer *layer)
{
    const int64_t side[2] = {layer->kernel_height, layer->kernel_width};
    begin_node(node, NULL, index, trib_layer_ops(layer->kind)->word);
    for (uint32_t t = 0; t < layer->tensor_count; t++)
        add_input(node, index, layer->tensors[t].name);
    switch (layer->kind) {
    case TRIB_LAYER_DENSE:
        node->op_type = "Gemm";
        put_attribute(&node->attributes, "transB", 1); // weights are (out, in)
        break;
    case TRIB_LAYER_CONV: begin_conv(node, layer); break;
    case TRIB_LAYER_MAXPOOL:
        node->op_type = "MaxPool";
        put_attributes(&node->attributes, "kernel_shape", side, 2);
        put_attributes(&node->attributes, "strides", side, 2);
        break;
    case TRIB_LAYER_DROPOUT:         // is not written
    case TRIB_LAYER_BILINEAR:        // put_bilinear
    case TRIB_LAYER_FACTORS:         // model_file.c refuses it
    case TRIB_LAYER_ENSEMBLE: break; // and this
    }
}

// The sum over each row of (u w) times v, where x is u and v side by side.
static void put_bilinear(struct graph *graph, struct node *node, uint32_t index,
                         const struct trib_layer *layer, const char *to)
{
    char name[NAME_SIZE];
    const int64_t sizes[2] = {layer->users, layer->items};
    const int64_t axis = 1;
    begin_node(node, "Split", index, "split");
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".sizes", index);
    put_numbers(graph, name, sizes, 2);
    add_input(node, index, "sizes");
    put_attribute(&node->attributes, "axis", 1);
    (void)snprintf(node->second, sizeof(node->second), "%" PRIu32 ".item", index);
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".user", index);
    put_node(graph, node, name);

    begin_node(node, "MatMul", index, "bilinear");
    add_input(node, index, "weight");
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".wanted", index);
    put_node(graph, node, name);
    begin_node(node, "Mul", index, "pairs");
    add_input(node, index, "item");
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".products", index);
    put_node(graph, node, name);

    begin_node(node, "ReduceSum", index, "reduce");
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".axis", index);
    put_numbers(graph, name, &axis, 1);
    add_input(node, index, "axis");
    put_attribute(&node->attributes, "keepdims", 1);
    (void)snprintf(name, sizeof(name), "%" PRIu32 ".without_bias", index);
    put_node(graph, node, layer->has_bias ? name : to);
    if (layer->has_bias) {
        begin_node(node, "Add", index, "add");
        add_input(node, index, "bias");
        put_node(graph, node, to);
    }
}

// The layer's last node gives `to`.
static void put_layer(struct graph *graph, uint32_t index, const struct trib_layer *layer,
                      const char *to)
{
    struct node node = {0};
    char sum[NAME_SIZE];
    const char *activation = activation_type(layer->activation);
    put_reshape(graph, &node, index, layer);
    (void)snprintf(sum, sizeof(sum), "%" PRIu32 ".sum", index);
    if (layer->kind == TRIB_LAYER_BILINEAR) {
        put_bilinear(graph, &node, index, layer, activation ? sum : to);
    } else {
        begin_layer(&node, index, layer);
        put_node(graph, &node, activation ? sum : to);
    }
    if (activation) {
        begin_node(&node, activation, index, "activation");
        if (layer->activation == TRIB_ACTIVATION_SOFTMAX)
            put_attribute(&node.attributes, "axis", -1);
        put_node(graph, &node, to);
    }
    trib_buf_fini(&node.inputs);
    trib_buf_fini(&node.attributes);
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

static void put_layers(struct graph *graph, const struct trib_model *model)
{
    for (uint32_t l = 0; l < model->layer_count; l++) {
        char to[NAME_SIZE];
        const struct trib_layer *layer = &model->layers[l];
        if (trib_layer_ops(layer->kind)->is_training_only)
            continue; // nothing to do in evaluation
        const bool is_last = l + 1 == model->layer_count;
        (void)snprintf(to, sizeof(to), is_last ? "y" : "%" PRIu32 ".output", l);
        put_layer(graph, l, layer, to);
    }
}

// GraphProto: node 1, name 2, initializer 5, input 11, output 12.
static void put_graph(struct trib_buf *graph, const struct trib_model *model, const float *params)
{
    char name[NAME_SIZE];
    struct graph g = {.nodes = graph, .value = "x"};
    put_layers(&g, model);
    put_text(graph, 2, "model");
    for (uint32_t l = 0; l < model->layer_count; l++) {
        for (uint32_t t = 0; t < model->layers[l].tensor_count; t++) {
            const struct trib_layer_tensor *tensor = &model->layers[l].tensors[t];
            (void)snprintf(name, sizeof(name), "%" PRIu32 ".%s", l, tensor->name);
            put_initializer(graph, &(struct constant){.name = name,
                                                      .dims = tensor->shape,
                                                      .dim_count = tensor->dimensions,
                                                      .type = TYPE_FLOAT,
                                                      .size = sizeof(*params),
                                                      .data = params + tensor->offset});
        }
    }
    trib_buf_append(graph, g.constants.data, g.constants.size);
    graph->failed = graph->failed || g.constants.failed;
    trib_buf_fini(&g.constants);
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
