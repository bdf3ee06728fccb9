/* One Markov chain of `bmf`: the current sample and the steps that draw the next one. Users and movies are two
 * sides of the same code. */
#ifndef MODEL_BMF_CHAIN_H
#define MODEL_BMF_CHAIN_H

#include "backend/gibbs_ops.h"
#include "backend/job_memory.h"
#include "model/bmf_time.h"
#include "model/gibbs_prior.h"
#include "model/model.h"

struct bmf_options {
    int k, biases, time, implicit_sets, flipped;
    double init_std;
    uint64_t seed;
};

/* Users, or movies with the arguments swapped. Device arrays unless said otherwise. */
struct bmf_side {
    int32_t n;
    const int64_t *offsets;
    const int32_t *columns;
    const uint8_t *ratings;
    float *own;      /* (n, stride) sampled by factor_solve */
    float *set_sums; /* (n, stride) weighted sum of the set's features, NULL without a set */
    float *vectors;  /* (n, stride) own + set_sums: what the other side sees; `own` itself without a set */
    float *features; /* (n of the other side, stride) set features, NULL without a set */
    float *effects;  /* (n_ratings,) time effects in this side's order, NULL without time */
    struct normal_prior prior;
    float feature_mean[FACTOR_K_MAX + 1], feature_precision[FACTOR_K_MAX + 1]; /* host */
};

struct bmf_chain {
    struct bmf_options options;
    int d, stride;
    struct job_memory job;
    struct bmf_side users, movies;
    struct bmf_time time;
    const int32_t *movie_order; /* (n_ratings,) by-user position of the by-movie ratings; with time only */
    float *residual;            /* (n_ratings,) NULL when nothing needs it */
    float value[FACTOR_VALUES]; /* stars minus mean */
    double mean, alpha, train_rmse;
    double *sum, *scatter; /* (d,), (d, d) host scratch */
    int32_t *movie_order_host;
    int64_t n_ratings;
};

reel_status bmf_chain_new(struct backend *backend, const struct ratings *ratings, const struct bmf_options *options,
                          struct bmf_chain *out, reel_error *err);
void bmf_chain_free(struct bmf_chain *chain); /* takes a zeroed struct */
/* Draws sample number `sample` (0, 1, ...). */
reel_status bmf_chain_step(struct bmf_chain *chain, uint32_t sample, reel_error *err);
/* Adds all that later samples depend on to a checkpoint, and takes it from there. CORRUPT if parts are missing. */
reel_status bmf_chain_save(struct bmf_chain *chain, struct tensor_set *state, reel_error *err);
reel_status bmf_chain_load(struct bmf_chain *chain, struct tensor_set *state, reel_error *err);

#endif
