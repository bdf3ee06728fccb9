/* Inside of similarity queries: each kind fills similarities of all movies to one; the selection is common. */
#ifndef MODEL_SIMILAR_H
#define MODEL_SIMILAR_H

#include "model/model.h"

/* What a movie has no similarity by: below every real one, and no score for a selection. */
#define SIMILAR_NONE (-INFINITY)

struct reel_similar_index {
    const struct reel_dataset *dataset;
    reel_similarity by;
    int32_t *popular; /* (n_movies,) movies by number of ratings descending, then index: the order of ties */
    int32_t *row_of;  /* (n_movies,) genre set, or row of `rows`, -1 = none */
    /* GENRE: the distinct genre sets */
    int32_t n_sets;
    uint64_t *sets;    /* (n_sets,) */
    double *set_norms; /* (n_sets,) L2 norm of the TF-IDF vector */
    double idf[65];    /* by genre; [64] = "(no genres listed)" */
    /* FACTORS, GENOME: rows to take cosines of */
    const float *rows; /* (n_rows, stride), borrowed */
    int64_t stride;
    int32_t n_rows;
    int k;
    float *row_norms; /* (n_rows,) */
    /* RATINGS */
    float *user_means; /* (n_users,) half stars */
};

/* Similarities (n_movies,) to `movie`, SIMILAR_NONE where there is none. */
reel_status similar_by_genre(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err);
reel_status similar_by_rows(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err);
reel_status similar_by_ratings(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err);

reel_status similar_prepare_genre(struct reel_similar_index *index, reel_error *err);
reel_status similar_prepare_factors(reel_context *ctx, struct reel_similar_index *index, const struct reel_model *model,
                                    reel_error *err);
reel_status similar_prepare_genome(reel_context *ctx, struct reel_similar_index *index, reel_error *err);
reel_status similar_prepare_ratings(reel_context *ctx, struct reel_similar_index *index, reel_error *err);

#endif
