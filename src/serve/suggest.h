/* Suggestions as source system B gives them: the best unseen movies by the score as it is shown (clipped to the scale,
 * 3 decimals), score descending, then movie id. */
#ifndef SERVE_SUGGEST_H
#define SERVE_SUGGEST_H

#include "serve/user_ratings.h"

enum { SUGGEST_MAX = 150, SUGGEST_DECIMALS = 3 };

struct suggestion {
    int32_t movie;
    int32_t thousandths; /* the shown score times 1000 */
};
struct suggestions {
    int n;
    struct suggestion items[SUGGEST_MAX];
};

/* The lists of n_users known users without live ratings (dataset indices), in one pass over the movies where the model
 * is made of factors. May be called from several threads at the same time. */
reel_status suggest_many(const struct snapshot_model *model, const struct reel_dataset *dataset, int64_t n_users,
                         const int32_t *users, struct suggestions *out, reel_error *err);
/* The list of one user: a known one's by the model, with live ratings by folding them in. Of a user without live
 * ratings only ratings->user counts. */
reel_status suggest_one(const struct snapshot_model *model, const struct reel_dataset *dataset,
                        const struct user_ratings *ratings, struct suggestions *out, reel_error *err);
/* The n best (n_users, n) of known users, as reel_scorer_recommend_many, but on the calling thread alone: may be called
 * from several threads at the same time. */
reel_status recommend_on_this_thread(const struct snapshot_model *model, int64_t n_users, const int32_t *users, int n,
                                     int32_t *movies, float *scores, reel_error *err);

#endif
