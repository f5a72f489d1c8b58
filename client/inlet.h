// inlet.h - where rows come into a device: the store of its [data], open to write, and the Unix
// socket of a running client.
//
// A thread of its own serves the socket, so that nobody who writes slowly holds up training, and
// syncs what was written within a second. A program connects, writes lines as [data] push_format
// and the schema say, shuts its writing side down and gets one line of JSON when its rows are on
// the disk:
//
//     {"rows":3,"accepted":2,"malformed":1,"findings":[{"column":"age","rule":"range","count":1,
//      "line":2,"place":1}]}
//
// with "error" when the rest was not taken. Each connection is a stream of its own (row_stream.h);
// lines are numbered from 1 in each.
#ifndef TRIB_CLIENT_INLET_H
#define TRIB_CLIENT_INLET_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/data/row_stream.h"
#include "common/data/source.h"
#include "tributary/err.h"

struct trib_inlet;

struct trib_inlet_options {
    const struct trib_data_config *config; // format store; copied
    // Called, with nothing locked, after rows came that can be read; from the inlet's thread or
    // that of trib_inlet_push. NULL: nobody wants to know.
    void (*arrived)(void *user);
    void *user;
};

// Open the store and, if one is named, the socket. TRIB_ERR_STATE: another process writes to the
// store; TRIB_ERR_INVAL: the path of the socket is too long, or the schema is wrong. Logged.
TRIB_CHECKED enum trib_err trib_inlet_create(const struct trib_inlet_options *options,
                                             struct trib_inlet **ret_inlet);
// Syncs what was taken, and removes the socket. NULL is fine.
void trib_inlet_destroy(struct trib_inlet *inlet);

// Take whole lines, from any thread. Afterwards they can be read; they are synced within a second.
// What was found is added up in the result.
TRIB_CHECKED enum trib_err trib_inlet_push(struct trib_inlet *inlet, const char *text, size_t size,
                                           uint64_t *ret_rows, uint64_t *ret_malformed);

// What came of a stream, as the line of JSON above without its end.
void trib_inlet_summary(const struct trib_row_stream *stream, const char *error,
                        struct trib_buf *json);

// Push what can be read from `fd` up to its end: through the socket of a running client, or else
// into the store. `ret_summary` is that line of JSON. TRIB_ERR_DATA: the stream was not taken
// whole, and the summary says why.
TRIB_CHECKED enum trib_err trib_inlet_push_file(const struct trib_data_config *config, int fd,
                                                struct trib_buf *ret_summary);

#endif // TRIB_CLIENT_INLET_H
