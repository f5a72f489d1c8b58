#include "common/base/queue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define TRIB_LOG_MODULE "queue"

enum trib_err trib_queue_init(struct trib_queue *queue, bool with_fd)
{
    pthread_condattr_t attributes;

    *queue = (struct trib_queue){.fd = -1};
    queue->tail = &queue->head;
    if (with_fd) {
        queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->fd < 0) {
            TRIB_ERROR("eventfd: %s", strerror(errno));
            return TRIB_ERR_IO;
        }
    }
    (void)pthread_mutex_init(&queue->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&queue->filled, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return TRIB_OK;
}

void trib_queue_fini(struct trib_queue *queue)
{
    if (!queue->tail)
        return; // never initialised
    assert(!queue->head);
    (void)pthread_cond_destroy(&queue->filled);
    (void)pthread_mutex_destroy(&queue->lock);
    if (queue->fd >= 0)
        (void)close(queue->fd);
    *queue = (struct trib_queue){.fd = -1};
}

void trib_queue_put(struct trib_queue *queue, struct trib_node *node)
{
    node->next = NULL;
    (void)pthread_mutex_lock(&queue->lock);
    bool was_empty = !queue->head;
    *queue->tail = node;
    queue->tail = &node->next;
    if (was_empty && queue->fd >= 0) {
        uint64_t one = 1;
        ssize_t done = write(queue->fd, &one, sizeof(one));
        (void)done; // cannot fail: the counter is 0 or 1
    }
    (void)pthread_cond_signal(&queue->filled);
    (void)pthread_mutex_unlock(&queue->lock);
}

static void wait_until_filled(struct trib_queue *queue, uint64_t timeout_ms)
{
    if (timeout_ms == UINT64_MAX) {
        while (!queue->head)
            (void)pthread_cond_wait(&queue->filled, &queue->lock);
        return;
    }
    uint64_t until_ms = trib_clock_mono_ms() + timeout_ms;
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};
    while (!queue->head) {
        if (pthread_cond_timedwait(&queue->filled, &queue->lock, &until) == ETIMEDOUT)
            return;
    }
}

struct trib_node *trib_queue_take(struct trib_queue *queue, uint64_t timeout_ms)
{
    (void)pthread_mutex_lock(&queue->lock);
    if (!queue->head && timeout_ms > 0)
        wait_until_filled(queue, timeout_ms);
    struct trib_node *node = queue->head;
    if (node) {
        queue->head = node->next;
        if (!queue->head) {
            queue->tail = &queue->head;
            if (queue->fd >= 0) {
                uint64_t count;
                ssize_t done = read(queue->fd, &count, sizeof(count));
                (void)done;
            }
        }
        node->next = NULL;
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return node;
}
