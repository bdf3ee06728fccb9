/* Rating similarity of movies a, b: the adjusted cosine (Sarwar, Karypis, Konstan, Riedl 2001) over the users U who
 * rated both,
 *   sum_U (r_ua - mean_u)(r_ub - mean_u) / sqrt(sum_U (r_ua - mean_u)^2 * sum_U (r_ub - mean_u)^2),
 * times |U| / (|U| + SHRINKAGE), since few common users prove little (Koren 2008). Walks the lists of the users who
 * rated a, so it costs as many steps as they have ratings. */
#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/similar.h"

enum { SHRINKAGE = 100, MEAN_USERS = 4096 };

struct mean_job {
    const struct ratings *ratings;
    float *means;
};

static void mean_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct mean_job *job = arg;
    const struct ratings *ratings = job->ratings;
    int64_t end = (task + 1) * MEAN_USERS < ratings->n_users ? (task + 1) * MEAN_USERS : ratings->n_users;
    for (int64_t u = task * MEAN_USERS; u < end; u++) {
        int64_t first = ratings->user_offsets[u], n = ratings->user_offsets[u + 1] - first, sum = 0;
        for (int64_t i = 0; i < n; i++) sum += ratings->user_ratings[first + i];
        job->means[u] = n ? (float)((double)sum / (double)n) : 0;
    }
}

reel_status similar_prepare_ratings(reel_context *ctx, struct reel_similar_index *index, reel_error *err) {
    const struct ratings *ratings = &index->dataset->ratings;
    TRY_RETURN(MEM_RAW(&index->user_means, ratings->n_users, err));
    struct mean_job job = {ratings, index->user_means};
    thread_pool_run(ctx->pool, (ratings->n_users + (int64_t)MEAN_USERS - 1) / MEAN_USERS, mean_task, &job);
    return REEL_OK;
}

struct pair_sums {
    double ab, aa, bb;
    int64_t n;
};

static void add_user(const struct reel_similar_index *index, int32_t user, int own_rating, struct pair_sums *sums) {
    const struct ratings *ratings = &index->dataset->ratings;
    double mean = (double)index->user_means[user], own = own_rating - mean;
    for (int64_t at = ratings->user_offsets[user]; at < ratings->user_offsets[user + 1]; at++) {
        double other = ratings->user_ratings[at] - mean;
        struct pair_sums *pair = &sums[ratings->user_movies[at]];
        pair->ab += own * other;
        pair->aa += own * own;
        pair->bb += other * other;
        pair->n++;
    }
}

reel_status similar_by_ratings(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err) {
    const struct ratings *ratings = &index->dataset->ratings;
    struct pair_sums *sums = NULL;
    TRY_RETURN(MEM_NEW(&sums, ratings->n_movies, err));
    for (int64_t at = ratings->movie_offsets[movie]; at < ratings->movie_offsets[movie + 1]; at++)
        add_user(index, ratings->movie_users[at], ratings->movie_ratings[at], sums);
    for (int32_t m = 0; m < ratings->n_movies; m++) {
        const struct pair_sums *pair = &sums[m];
        double norm = sqrt(pair->aa * pair->bb), n = (double)pair->n;
        double cosine = norm > 0 ? pair->ab / norm : 0;
        out[m] = pair->n ? (float)(cosine * n / (n + SHRINKAGE)) : SIMILAR_NONE;
    }
    mem_free(sums);
    return REEL_OK;
}
