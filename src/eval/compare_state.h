/* What a comparison has finished, kept in a folder so that it can go on after it was stopped: compare.json, replaced
 * atomically after each fit and test.
 *
 *   {"format":"reel-compare","version":1,"identity":{...},"cells":[{"model":0,"fold":2,"n":...,"rmse":...,"mae":...,
 *    "r2":...,"fit_seconds":...,"test_seconds":...} or {"model":0,"fold":2,"code":"numeric","error":"..."},...]}
 *
 * "identity" has the dataset's fingerprint, the protocol, the seed and the models: a state is used for the same
 * comparison only. */
#ifndef EVAL_COMPARE_STATE_H
#define EVAL_COMPARE_STATE_H

#include <jansson.h>
#include <reel/eval.h>

struct compare_state {
    char *path;      /* of compare.json; NULL = nothing is kept */
    json_t *content; /* the object above */
};

/* Opens the state in `folder` (made if missing), or begins one; `identity` is taken over, also on failure. `folder`
 * NULL makes a state that keeps nothing. MISMATCH names what differs; CORRUPT. Freed with compare_state_close. */
reel_status compare_state_open(const char *folder, json_t *identity, int n_models, int n_folds,
                               struct compare_state *state, reel_error *err);
void compare_state_close(struct compare_state *state);
/* 1 if the cell is finished; then out's fold, or its status and message, are set. */
int compare_state_find(const struct compare_state *state, int model, int fold, reel_compared *out);
/* Keeps a finished cell of `out`. */
reel_status compare_state_keep(struct compare_state *state, int model, int fold, const reel_compared *out,
                               reel_error *err);

#endif
