/* Any bytes as a LightGBM text model. */
#include "fuzz_foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_as(lightgbm_read, data, size);
    return 0;
}
