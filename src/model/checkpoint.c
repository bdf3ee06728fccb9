#include "model/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/file.h"

enum { GENERATIONS = 2, PATH_SIZE = 4096 };

int checkpoint_due(const struct fit_input *input, int64_t step, int64_t total) {
    return input->checkpoint && input->checkpoint_every > 0 && step < total && step % input->checkpoint_every == 0;
}

static reel_status path_of(const struct fit_input *input, int64_t generation, char path[PATH_SIZE], reel_error *err) {
    int length = snprintf(path, PATH_SIZE, "%s/checkpoint-%d.reel", input->checkpoint, (int)(generation % GENERATIONS));
    if (length < 0 || length >= PATH_SIZE)
        return error_set(err, REEL_INVALID_ARGUMENT, "%.60s...: the path is too long", input->checkpoint);
    return REEL_OK;
}

/* What must agree for a checkpoint to belong to this run. */
static reel_status put_identity(const struct fit_input *input, const char *algorithm, struct tensor_set *set,
                                reel_error *err) {
    TRY_RETURN(tensor_set_put(set, "format", "reel-checkpoint", err));
    TRY_RETURN(tensor_set_put(set, "version", "1", err));
    TRY_RETURN(tensor_set_put(set, "algorithm", algorithm, err));
    TRY_RETURN(params_put(input->params, set, err));
    TRY_RETURN(tensor_set_putf(set, "seed", err, "%llu", (unsigned long long)input->seed));
    TRY_RETURN(tensor_set_put(set, "dataset.fingerprint", input->dataset->fingerprint, err));
    TRY_RETURN(tensor_set_putf(set, "n_ratings", err, "%lld", (long long)input->ratings->n_ratings));
    return tensor_set_putf(set, "n_test", err, "%lld", (long long)(input->test ? input->test->n : 0));
}

reel_status checkpoint_write(reel_context *ctx, const struct fit_input *input, const char *algorithm, int64_t step,
                             struct tensor_set *state, reel_error *err) {
    char path[PATH_SIZE];
    TRY_RETURN(path_of(input, step / input->checkpoint_every, path, err));
    TRY_RETURN(file_make_dir(input->checkpoint, err));
    TRY_RETURN(put_identity(input, algorithm, state, err));
    TRY_RETURN(tensor_set_putf(state, "step", err, "%lld", (long long)step));
    return tensor_file_write(path, state, ctx->pool, err);
}

/* MISMATCH names the first key on which the file and this run differ. */
static reel_status check_identity(const struct fit_input *input, const char *algorithm, const struct tensor_set *state,
                                  reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *expected = NULL;
    const char *key, *value;
    TRY(tensor_set_new(&expected, err));
    TRY(put_identity(input, algorithm, expected, err));
    for (size_t i = 0; tensor_set_metadata_at(expected, i, &key, &value); i++) {
        const char *found = tensor_set_get(state, key);
        if (found && strcmp(found, value) == 0) continue;
        status = error_set(err, REEL_MISMATCH,
                           "%s: the checkpoint is of another run: %s is %.60s there and %.60s here (take another "
                           "--checkpoint folder, or leave out --resume)",
                           tensor_set_path(state), key, found ? found : "missing", value);
        break;
    }
cleanup:
    tensor_set_free(expected);
    return status;
}

/* Opens one generation: *state stays NULL when there is no good file. */
static reel_status read_generation(reel_context *ctx, const char *path, struct tensor_set **state, int64_t *step,
                                   reel_error *err) {
    reel_error why;
    *state = NULL;
    *step = 0;
    reel_status status = tensor_file_open(path, "reel-checkpoint", state, &why);
    if (status == REEL_NOT_FOUND) return REEL_OK;
    if (status == REEL_OK) status = tensor_file_verify(*state, ctx->pool, &why);
    if (status == REEL_OK) {
        const char *text = tensor_set_get(*state, "step");
        *step = text ? strtoll(text, NULL, 10) : 0;
        if (*step > 0) return REEL_OK;
        status = error_set(&why, REEL_CORRUPT, "%s: the step is missing", path);
    }
    tensor_set_free(*state);
    *state = NULL;
    if (status == REEL_NO_MEMORY) return error_set(err, status, "%s", why.message);
    context_log(ctx, REEL_LOG_WARNING, "damaged checkpoint passed over: %s", why.message);
    return REEL_OK;
}

reel_status checkpoint_read(reel_context *ctx, const struct fit_input *input, const char *algorithm,
                            struct tensor_set **state, int64_t *step, reel_error *err) {
    *state = NULL;
    *step = 0;
    if (!input->checkpoint || !input->resume) return REEL_OK;
    for (int generation = 0; generation < GENERATIONS; generation++) {
        char path[PATH_SIZE];
        struct tensor_set *found = NULL;
        int64_t found_step;
        reel_status status = path_of(input, generation, path, err);
        if (status == REEL_OK) status = read_generation(ctx, path, &found, &found_step, err);
        if (status == REEL_OK && found) status = check_identity(input, algorithm, found, err);
        if (status != REEL_OK) {
            tensor_set_free(found);
            tensor_set_free(*state);
            *state = NULL;
            return status;
        }
        if (!found || found_step <= *step) {
            tensor_set_free(found);
            continue;
        }
        tensor_set_free(*state);
        *state = found;
        *step = found_step;
    }
    if (*state)
        context_log(ctx, REEL_LOG_INFO, "going on after step %lld of %s", (long long)*step, tensor_set_path(*state));
    return REEL_OK;
}
