/* Any bytes as an XGBoost JSON model. */
#include "fuzz_foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_as(xgboost_read, data, size);
    return 0;
}
