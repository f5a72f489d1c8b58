// wipe.h - secrets end here: erasing and comparing without telling by time.
#ifndef TRIB_BASE_WIPE_H
#define TRIB_BASE_WIPE_H

#include <stdbool.h>
#include <stddef.h>

// Overwrite `size` bytes; the compiler cannot drop it.
void trib_wipe(void *data, size_t size);

// Are the `size` bytes equal? Takes the same time wherever they differ.
bool trib_equal_ct(const void *a, const void *b, size_t size);

// Call once before any other function of the crypto modules; safe to call again, from any thread.
// Aborts if the system has no working randomness: nothing could be safe after that.
void trib_crypto_init(void);

#endif // TRIB_BASE_WIPE_H
