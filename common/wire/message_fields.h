// message_fields.h - what the files behind message.h share: borrowing plain fields for packing, and
// taking unpacked ones with their checks.
#ifndef TRIB_WIRE_MESSAGE_FIELDS_H
#define TRIB_WIRE_MESSAGE_FIELDS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/message.h"
#include "tributary.pb-c.h"

static inline ProtobufCBinaryData trib_field_bytes(const uint8_t *data, size_t size)
{
    union { // protobuf-c declares borrowed bytes without const; packing only reads them
        const uint8_t *borrowed;
        uint8_t *plain;
    } pointer = {.borrowed = data};
    return (ProtobufCBinaryData){.len = size, .data = pointer.plain};
}

static inline float *trib_field_floats(const float *values)
{
    union {
        const float *borrowed;
        float *plain;
    } pointer = {.borrowed = values};
    return pointer.plain;
}

static inline char *trib_field_text(const char *text)
{
    union {
        const char *borrowed;
        char *plain;
    } pointer = {.borrowed = text};
    return pointer.plain;
}

static inline void trib_field_pack(struct trib_buf *buf, const ProtobufCMessage *message)
{
    uint8_t *room = trib_buf_extend(buf, protobuf_c_message_get_packed_size(message));
    if (room)
        (void)protobuf_c_message_pack(message, room);
}

// The last unpacking on this thread failed for want of memory, and not for what was sent.
static _Thread_local bool trib_field_no_memory;

static inline void *trib_field_alloc(void *user, size_t size)
{
    void *memory = malloc(size);
    (void)user;
    trib_field_no_memory = trib_field_no_memory || !memory;
    return memory;
}

static inline void trib_field_free(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static inline ProtobufCMessage *trib_field_unpack(const ProtobufCMessageDescriptor *descriptor,
                                                  const uint8_t *data, size_t size)
{
    ProtobufCAllocator memory = {.alloc = trib_field_alloc, .free = trib_field_free};
    trib_field_no_memory = false;
    if (size > TRIB_CONTROL_MAX) // before protobuf allocates anything for it
        return NULL;
    return protobuf_c_message_unpack(descriptor, &memory, size, data);
}

static inline bool trib_field_take_bytes(const ProtobufCBinaryData *field, uint8_t *out,
                                         size_t size)
{
    if (field->len != size)
        return false;
    memcpy(out, field->data, size);
    return true;
}

static inline bool trib_field_take_optional(const ProtobufCBinaryData *field, uint8_t *out,
                                            size_t size, bool *ret_present)
{
    *ret_present = field->len > 0;
    return field->len == 0 || trib_field_take_bytes(field, out, size);
}

// Printable ASCII of `min` to capacity - 1 bytes.
static inline bool trib_field_take_text(const char *field, char *out, size_t capacity, size_t min)
{
    size_t size = strlen(field);
    if (size < min || size >= capacity)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (field[i] < ' ' || field[i] > '~')
            return false;
    }
    memcpy(out, field, size + 1);
    return true;
}

static inline bool trib_field_take_code(uint32_t field, enum trib_code *out)
{
    // A code that we do not know yet keeps its number: code.h says what class it falls into.
    *out = (enum trib_code)field;
    return field < 1000;
}

static inline bool trib_field_is_amount(double value) // finite and not negative
{
    return isfinite(value) && value >= 0;
}

static inline bool trib_field_take_pace(const Tributary__V1__Pace *in, struct trib_msg_pace *out)
{
    if (!in) // absent: at once
        return true;
    out->retry_min_ms = in->retry_min_ms;
    out->retry_max_ms = in->retry_max_ms;
    return in->retry_min_ms <= in->retry_max_ms;
}

static inline void trib_field_fill_pace(Tributary__V1__Pace *out, const struct trib_msg_pace *msg)
{
    tributary__v1__pace__init(out);
    out->retry_min_ms = msg->retry_min_ms;
    out->retry_max_ms = msg->retry_max_ms;
}

// The tail of every unpack: free, and answer.
static inline enum trib_err trib_field_finish(ProtobufCMessage *message, bool is_good)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    if (!message && trib_field_no_memory)
        return TRIB_ERR_NOMEM;
    return message && is_good ? TRIB_OK : TRIB_ERR_PROTO;
}

// Unpack `data` as protobuf type `Type`, fill `out` from `in` by `checks`, copy out on success.
#define TRIB_DEFINE_UNPACK(noun, Type, type, checks)                              \
    enum trib_err trib_msg_##noun##_unpack(const uint8_t *data, size_t size,      \
                                           struct trib_msg_##noun *ret_msg)       \
    {                                                                             \
        struct trib_msg_##noun msg = {0};                                         \
        struct trib_msg_##noun *out = &msg;                                       \
        ProtobufCMessage *message =                                               \
            trib_field_unpack(&tributary__v1__##type##__descriptor, data, size);  \
        const Tributary__V1__##Type *in = (const Tributary__V1__##Type *)message; \
        enum trib_err err = trib_field_finish(message, in && (checks));           \
        if (!err)                                                                 \
            *ret_msg = *out;                                                      \
        return err;                                                               \
    }

#endif // TRIB_WIRE_MESSAGE_FIELDS_H
