// frames.h - large frame buffers, shared by all channels of an owner.
//
// An idle channel has none: it takes one for a frame that does not fit its own small buffer.
#ifndef TRIB_WIRE_FRAMES_H
#define TRIB_WIRE_FRAMES_H

#include <stddef.h>

#include "tributary/err.h"

struct trib_frames;

// `count` buffers at most, and at least one, with room for as many of the largest records as
// `records` says: what is moved at once wakes threads once.
TRIB_CHECKED enum trib_err trib_frames_create(size_t count, size_t records,
                                              struct trib_frames **ret_frames);
void trib_frames_destroy(struct trib_frames *frames); // after the last channel

#endif // TRIB_WIRE_FRAMES_H
