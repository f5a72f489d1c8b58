// Any bytes are a safetensors or npz file, or are refused with a reason. What is taken goes through
// npz and comes out as the same npz.
#include <stdlib.h>
#include <string.h>

#include "common/math/model_file.h"
#include "tests/fuzz/memory_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_so)
{
    if (!is_so)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[256] = "";
    struct trib_buf file = {0};
    struct trib_buf npz = {0};
    struct trib_buf again = {0};
    trib_log_set_sink(drop_line, NULL);
    trib_buf_append(&file, data, size);
    enum trib_err err = trib_model_file_convert(&file, TRIB_MODEL_NPZ, "", &npz, why, sizeof(why));
    if (err)
        require(err == TRIB_ERR_DATA && why[0] && !npz.data);
    if (!err) {
        require(!trib_model_file_convert(&npz, TRIB_MODEL_NPZ, "", &again, why, sizeof(why)));
        require(npz.size == again.size && memcmp(npz.data, again.data, npz.size) == 0);
    }
    trib_buf_fini(&file);
    trib_buf_fini(&npz);
    trib_buf_fini(&again);
    return 0;
}
