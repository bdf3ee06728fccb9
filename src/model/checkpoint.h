/* Checkpoints of a running fit: two generations in a folder, checkpoint-0.reel and checkpoint-1.reel, written in
 * turn, atomically and durably. A file is a tensor set (metadata format = "reel-checkpoint") with the trainer's own
 * state; its metadata also names the run (algorithm, parameters, seed, dataset, sizes), so that no run goes on from
 * another's state. A fit that is killed and resumed ends with the same bits as one that was not. */
#ifndef MODEL_CHECKPOINT_H
#define MODEL_CHECKPOINT_H

#include "model/model.h"

/* 1 when a checkpoint is to be written after `step` finished steps of `total`. */
int checkpoint_due(const struct fit_input *input, int64_t step, int64_t total);
/* Writes `state` (the caller's; names the run in its metadata) as the checkpoint after `step` steps. */
reel_status checkpoint_write(reel_context *ctx, const struct fit_input *input, const char *algorithm, int64_t step,
                             struct tensor_set *state, reel_error *err);
/* With input->resume: *state = the newest good checkpoint (the caller's, to free) and *step its steps; NULL and 0 if
 * the folder has none. A damaged file is passed over with a notice; one of another run is MISMATCH. */
reel_status checkpoint_read(reel_context *ctx, const struct fit_input *input, const char *algorithm,
                            struct tensor_set **state, int64_t *step, reel_error *err);

#endif
