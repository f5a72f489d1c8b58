// queue.h - many threads put, one thread takes. The nodes are the caller's (intrusive).
#ifndef TRIB_BASE_QUEUE_H
#define TRIB_BASE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "tributary/err.h"

struct trib_node {
    struct trib_node *next; // the queue's while queued
};

struct trib_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct trib_node *head;
    struct trib_node **tail;
    int fd; // readable while the queue is not empty; -1 unless asked for
};

// `with_fd`: also have a descriptor that can be polled.
TRIB_CHECKED enum trib_err trib_queue_init(struct trib_queue *queue, bool with_fd);
void trib_queue_fini(struct trib_queue *queue); // the queue must be empty

void trib_queue_put(struct trib_queue *queue, struct trib_node *node);
// NULL if nothing came within `timeout_ms`; 0 does not wait, UINT64_MAX waits for ever.
struct trib_node *trib_queue_take(struct trib_queue *queue, uint64_t timeout_ms);

#endif // TRIB_BASE_QUEUE_H
