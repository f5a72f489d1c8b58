// onnx.h - a model as an ONNX file (opset 13), for any ONNX runtime.
//
// One graph: input `x` (N, inputs), for each layer Gemm (transB = 1, so that the weights stay as
// they lie) and its activation, output `y` (N, outputs): what trib_net_forward gives. The texts of
// the model file are its metadata properties. Protocol Buffers are written by hand: the schema is
// onnx.proto3 of ONNX 1.8, field numbers stand beside each line.
#ifndef TRIB_MATH_ONNX_H
#define TRIB_MATH_ONNX_H

#include <stddef.h>

#include "common/base/buf.h"
#include "common/math/model.h"
#include "common/math/safetensors.h"

// Append a whole file. Out of memory is in buf->failed.
void trib_onnx_write(const struct trib_model *model, const float *params,
                     const struct trib_safetensors_text *texts, size_t text_count,
                     struct trib_buf *buf);

#endif // TRIB_MATH_ONNX_H
