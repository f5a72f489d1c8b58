#include "common/wire/frames.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/wire/channel_parts.h"

struct trib_frames {
    pthread_mutex_t lock;
    struct trib_frame *free;
    size_t left;                  // how many may still be allocated
    size_t capacity;              // bytes of each
    bool keeps;                   // those that nobody uses: one alone is soon made again
    struct trib_channel *waiting; // channels that want one, linked by `waiting_next`
};

enum trib_err trib_frames_create(size_t count, size_t records, struct trib_frames **ret_frames)
{
    assert(count > 0 && records > 0);
    struct trib_frames *frames = trib_alloc(sizeof(*frames));
    if (!frames)
        return TRIB_ERR_NOMEM;
    (void)pthread_mutex_init(&frames->lock, NULL);
    frames->left = count;
    frames->capacity = records * TRIB_FRAME_SIZE;
    frames->keeps = count > 1;
    *ret_frames = frames;
    return TRIB_OK;
}

void trib_frames_destroy(struct trib_frames *frames)
{
    if (!frames)
        return;
    while (frames->free) {
        struct trib_frame *frame = frames->free;
        frames->free = frame->next;
        free(frame);
    }
    (void)pthread_mutex_destroy(&frames->lock);
    free(frames);
}

size_t trib_frames_capacity(const struct trib_frames *frames)
{
    return frames->capacity;
}

// The link of a channel in the list of those who wait for one of `frames`.
static struct trib_frame_waiter *waiter_of(struct trib_channel *channel,
                                           const struct trib_frames *frames)
{
    return frames == channel->options.receive_frames ? &channel->wait_in : &channel->wait_out;
}

struct trib_frame *trib_frame_take(struct trib_frames *frames, struct trib_channel *channel)
{
    struct trib_frame *frame = NULL;
    bool has_failed = false;
    (void)pthread_mutex_lock(&frames->lock);
    if (frames->free) {
        frame = frames->free;
        frames->free = frame->next;
    } else if (frames->left > 0) {
        frame = trib_alloc(sizeof(*frame) + frames->capacity);
        frames->left -= frame != NULL;
        has_failed = !frame;
    }
    struct trib_frame_waiter *waiter = waiter_of(channel, frames);
    if (!frame && !has_failed && !waiter->is_waiting) {
        waiter->is_waiting = true;
        waiter->next = frames->waiting;
        frames->waiting = trib_channel_ref(channel);
    }
    (void)pthread_mutex_unlock(&frames->lock);
    if (has_failed) // there may be nobody who will ever give one back
        trib_channel_close(channel, TRIB_CLOSE_NOMEM);
    return frame;
}

bool trib_frames_are_wanted(struct trib_frames *frames)
{
    (void)pthread_mutex_lock(&frames->lock);
    bool are_wanted = frames->waiting != NULL;
    (void)pthread_mutex_unlock(&frames->lock);
    return are_wanted;
}

void trib_frame_give(struct trib_frames *frames, struct trib_frame *frame)
{
    (void)pthread_mutex_lock(&frames->lock);
    if (frames->keeps) {
        frame->next = frames->free;
        frames->free = frame;
    } else {
        free(frame);
        frames->left++;
    }
    struct trib_channel *waiting = frames->waiting; // all of them: who comes too late waits again
    frames->waiting = NULL;
    (void)pthread_mutex_unlock(&frames->lock);
    while (waiting) {
        struct trib_channel *channel = waiting;
        (void)pthread_mutex_lock(&frames->lock);
        waiting = waiter_of(channel, frames)->next;
        waiter_of(channel, frames)->is_waiting = false;
        (void)pthread_mutex_unlock(&frames->lock);
        trib_channel_wake(channel);
        trib_channel_unref(channel);
    }
}
