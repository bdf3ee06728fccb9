/* Writing a dataset file. */
#ifndef DATA_DATASET_WRITE_H
#define DATA_DATASET_WRITE_H

#include <stdint.h>
#include "core/context.h"
#include "core/tensor_file.h"

/* Writes the tensors of a dataset atomically and durably; before the file gets its name it is read back as a stranger
 * would (structure, then every hash). *bytes = its size. */
reel_status dataset_write(reel_context *ctx, const struct tensor_set *set, const char *path, int64_t *bytes,
                          reel_error *err);

#endif
