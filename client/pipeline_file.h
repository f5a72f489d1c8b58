// pipeline_file.h - the fitted pipeline of the last task, in the state directory.
//
// With data.pipeline = job a device has no pipeline of its own: whoever predicts later needs the one
// that came with the tasks of the installed version. The file is its text and nothing else; what it
// belongs to is said by the digest in the version's signed manifest.
#ifndef TRIB_CLIENT_PIPELINE_FILE_H
#define TRIB_CLIENT_PIPELINE_FILE_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "tributary/err.h"

// Make `text` the content of DIR/pipeline.ini, unless it is that already.
TRIB_CHECKED enum trib_err trib_pipeline_file_keep(const char *dir, const char *text);

// The text whose digest is `digest`. TRIB_ERR_STATE: there is none, or it is of another pipeline.
TRIB_CHECKED enum trib_err trib_pipeline_file_read(const char *dir,
                                                   const uint8_t digest[static TRIB_DIGEST_SIZE],
                                                   struct trib_buf *ret_text);

#endif // TRIB_CLIENT_PIPELINE_FILE_H
