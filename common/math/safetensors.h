// safetensors.h - the model file: u64 little-endian header length, JSON header, raw tensors.
//
// Our files hold `<layer>.weight` (out, in) and `<layer>.bias` (out), F32, in the order of the flat
// parameter vector, so that the data section is that vector (docs/models.md). The header is padded
// with blanks to a multiple of 8.
#ifndef TRIB_MATH_SAFETENSORS_H
#define TRIB_MATH_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/math/model.h"
#include "tributary/err.h"

struct trib_safetensors_text {
    const char *name;
    const char *value; // printable ASCII
};

enum {
    TRIB_SAFETENSORS_LENGTH_SIZE = 8,
    TRIB_SAFETENSORS_HEADER_MAX = 1 << 20,
};

// Append length and header; the parameters follow them in the file.
void trib_safetensors_header(const struct trib_model *model,
                             const struct trib_safetensors_text *metadata, size_t metadata_count,
                             struct trib_buf *buf);

// What our model files say of themselves, besides the specification. Manifest and signature are
// bytes whose meaning is not known here; they are kept in base64.
struct trib_model_card {
    uint64_t version;
    const char *kind;
    const uint8_t *digest;   // TRIB_DIGEST_SIZE
    const uint8_t *manifest; // packed
    size_t manifest_size;
    const uint8_t *signature;      // 64 bytes
    const uint8_t *prepare_digest; // TRIB_DIGEST_SIZE, of the pipeline behind its features; 0: none
    double threshold;              // class 1 is meant from this probability on; NaN: not said
};
// Length and header of a model file with its card.
TRIB_CHECKED enum trib_err trib_model_file_header(const struct trib_model *model,
                                                  const struct trib_model_card *card,
                                                  struct trib_buf *buf);
// The manifest and the signature out of a header. TRIB_ERR_CORRUPT if they are not there.
TRIB_CHECKED enum trib_err trib_model_file_card(const char *header, uint8_t *ret_manifest,
                                                size_t capacity, size_t *ret_manifest_size,
                                                uint8_t ret_signature[static 64]);

// Where the parameters begin, from the first bytes of a file. TRIB_ERR_CORRUPT if that cannot be.
TRIB_CHECKED enum trib_err trib_safetensors_data_offset(
    const uint8_t first[static TRIB_SAFETENSORS_LENGTH_SIZE], uint64_t *ret_offset);

// A metadata text of a header that trib_safetensors_header made and that has no escapes in it.
// TRIB_ERR_CORRUPT if it is not there or longer than the room.
TRIB_CHECKED enum trib_err trib_safetensors_find(const char *header, const char *name,
                                                 char *ret_value, size_t capacity);

// The arrays and texts of any safetensors file of float32, borrowed from `data`. `ret_tensors` is
// to be empty; the caller ends it with trib_tensors_fini, also after an error. TRIB_ERR_DATA with a
// text in `why`.
struct trib_tensors;
TRIB_CHECKED enum trib_err trib_safetensors_read(const uint8_t *data, size_t size,
                                                 struct trib_tensors *ret_tensors, char *why,
                                                 size_t why_size);

#endif // TRIB_MATH_SAFETENSORS_H
