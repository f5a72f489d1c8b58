// server.h - the running coordinator: one state thread, one commit thread, a pool of workers.
//
//     nng threads      only hand connections and bytes on
//     worker pool      handshakes, deciphering, chunks into slots, checks, aggregation, evaluation
//     commit thread    the store, every fsync
//     state thread     everything else: who is there, what may they, what is next (trib_server_run)
#ifndef TRIB_COORDINATOR_SERVER_H
#define TRIB_COORDINATOR_SERVER_H

#include "tributary/err.h"

struct trib_server;

// Open the directory, recover what a crash left, listen. Logs one line when it listens.
TRIB_CHECKED enum trib_err trib_server_create(const char *dir, struct trib_server **ret_server);
// The state thread: until stopped. TRIB_ERR_IO when the store failed and the process must end.
TRIB_CHECKED enum trib_err trib_server_run(struct trib_server *server);
// From a signal handler or any thread: finish the group commit and return from run.
void trib_server_stop(struct trib_server *server);
// From a signal handler: read the allow-list again.
void trib_server_reload(struct trib_server *server);
void trib_server_destroy(struct trib_server *server);

#endif // TRIB_COORDINATOR_SERVER_H
