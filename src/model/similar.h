/* Inside of similarity queries: each kind fills similarities of all movies to one; the selection is common. */
#ifndef MODEL_SIMILAR_H
#define MODEL_SIMILAR_H

#include "backend/job_memory.h"
#include "backend/topk_ops.h"
#include "model/model.h"

/* What a movie has no similarity by: below every real one, and no score for a selection. */
#define SIMILAR_NONE (-INFINITY)

/* What lists in bulk by rows read, on the device that makes them. */
struct similar_bulk {
    struct job_memory job; /* its backend is NULL until there is something */
    struct factor_panels panels;
    const float *vectors, *zeros;
    const int64_t *own_offsets;
    const int32_t *own;
};

struct reel_similar_index {
    reel_context *ctx;
    const struct reel_dataset *dataset;
    reel_similarity by;
    int32_t *popular; /* (n_movies,) movies by number of ratings descending, then index: the order of ties */
    int32_t *row_of;  /* (n_movies,) genre set, or place in `known`, -1 = none */
    /* GENRE: the distinct genre sets */
    int32_t n_sets;
    uint64_t *sets;    /* (n_sets,) */
    double *set_norms; /* (n_sets,) L2 norm of the TF-IDF vector */
    double idf[65];    /* by genre; [64] = "(no genres listed)" */
    /* FACTORS, GENOME: the movies that have a row, in the order of ties. A similarity is the operators' score of two
     * rows of length 1 (a zero row stays one): a chain of multiply-adds over k, the same for one movie and for all. */
    struct backend *host;
    int32_t *known;              /* (panels.n_movies,) movies */
    struct factor_panels panels; /* of rows; a movie's number there is its place in `known` */
    float *vectors;              /* (panels.n_movies, k) the same rows, made for lists in bulk */
    float *zeros;                /* (panels.n_movies,) biases, likewise */
    int64_t *own_offsets;        /* (panels.n_movies + 1,) every row has seen itself, likewise */
    struct similar_bulk bulk;
    /* RATINGS */
    float *user_means; /* (n_users,) half stars */
};

/* As they are handed out: rounding may lead beyond 1. */
static inline float similar_clip(float score) {
    return score > 1 ? 1 : score < -1 ? -1 : score;
}

/* Similarities (n_movies,) to `movie`, SIMILAR_NONE where there is none. */
reel_status similar_by_genre(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err);
reel_status similar_by_rows(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err);
reel_status similar_by_ratings(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err);

/* The n best of similar (n_movies,), at most n_movies of them, into items (n,); returns how many there are. keys:
 * (top_n_capacity(n),) scratch. */
int similar_select(const struct reel_similar_index *index, const float *similar, int n, uint64_t *keys,
                   reel_similar_movie *items);
/* Similarities (n_movies,) to the movies of a genre set; by_set (n_sets,) is scratch. */
void similar_to_set(const struct reel_similar_index *index, int32_t set, float *by_set, float *out);

reel_status similar_prepare_genre(struct reel_similar_index *index, reel_error *err);
reel_status similar_prepare_factors(struct reel_similar_index *index, const struct reel_model *model, reel_error *err);
reel_status similar_prepare_genome(struct reel_similar_index *index, reel_error *err);
void similar_rows_free(struct reel_similar_index *index);
/* Lists of movies (n_movies,) by rows, as reel_similar_index_query_many. */
reel_status similar_many_by_rows(struct reel_similar_index *index, int64_t n_movies, const int32_t *movies, int n,
                                 int32_t *similar, float *similarities, reel_error *err);
reel_status similar_prepare_ratings(reel_context *ctx, struct reel_similar_index *index, reel_error *err);

#endif
