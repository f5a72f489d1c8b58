// plain.h - the hostile side of the wire's tests: sockets without the link, hellos by hand.
#ifndef TRIB_TESTS_PLAIN_H
#define TRIB_TESTS_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/wire/session.h"
#include "tests/integration/echo.h"

enum {
    PLAIN_HELLO_SIZE = 117, // of a whole frame with a hello of kind 0
};

// Aborts if the server does not accept: the very thing that must not happen. Receiving gives up
// after ECHO_WAIT_MS.
int plain_connect(const struct echo_server *server);
// All of it, unless the other side has gone.
void plain_send(int fd, const void *data, size_t size);
// Close with a reset instead of a farewell.
void plain_reset(int fd);
// Bytes that came before the end; -1 if the end did not come.
ssize_t plain_drain(int fd);
// Exactly `size` bytes.
bool plain_receive(int fd, uint8_t *data, size_t size);

// A hello of `secret`, as a frame of PLAIN_HELLO_SIZE. `session` is what its sender keeps.
void plain_hello(const struct echo_server *server, const uint8_t secret[static 32],
                 struct trib_session *session, uint8_t frame[static TRIB_HANDSHAKE_MAX]);
// mac1 for a body that was changed: everyone who has the coordinator's public key can do that.
void plain_mac(const struct echo_server *server, uint8_t *body, size_t size);

#endif // TRIB_TESTS_PLAIN_H
