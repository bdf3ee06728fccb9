/* A model that is part of another: how it is fitted anew on whatever is trained on, and how it lies in the other's
 * file, its tensors as "<prefix><name>" (its ids are the other's) and its metadata as "<prefix><key>". */
#ifndef MODEL_MEMBER_H
#define MODEL_MEMBER_H

#include "model/model.h"

struct member {
    const struct algorithm *algorithm;
    struct tensor_set *saved; /* owns the parameters' texts; NULL for a bare algorithm name */
    struct param_values params;
    uint64_t seed;
};

/* `name` is that of an algorithm, with its defaults and `seed`, or the path of a saved model, whose algorithm,
 * parameters and seed are taken. Freed with member_free, whatever the result. */
reel_status member_open(struct member *member, const char *name, uint64_t seed, reel_error *err);
void member_free(struct member *member);
/* Fits it on `ratings`, which has what its algorithm needs; `test` as in fit_input, for those that predict it. The
 * output is freed with member_output_free. */
reel_status member_fit(reel_context *ctx, const struct member *member, const struct reel_dataset *dataset,
                       const struct ratings *ratings, const struct rating_pairs *test, const char *stage,
                       struct reel_model **model, struct fit_output *output, reel_error *err);
void member_output_free(struct fit_output *output);
/* predictions (ratings->n_ratings,) in by-user order: clipped, each made without the rating itself, by fits on all of
 * `folds` random parts but one. `visited` and `fit_seconds` of `total` grow. */
reel_status member_predict_out_of_fold(reel_context *ctx, const struct member *member,
                                       const struct reel_dataset *dataset, const struct ratings *ratings, int folds,
                                       uint64_t seed, const char *stage, float *predictions, struct fit_output *total,
                                       reel_error *err);

reel_status member_put(const char *prefix, const struct reel_model *model, struct tensor_set *set, reel_error *err);
/* A model over the tensors of `model`, which must outlive it. */
reel_status member_bind(const struct reel_model *model, const char *prefix, struct reel_model **out, reel_error *err);

#endif
