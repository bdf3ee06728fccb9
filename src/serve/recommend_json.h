/* Recommendations of any user or visitor, and their JSON. */
#ifndef SERVE_RECOMMEND_JSON_H
#define SERVE_RECOMMEND_JSON_H

#include "serve/user_ratings.h"

/* The best movies of a user by `query`, whose user and ratings are filled in here: a known user by the model, one with
 * live ratings by folding them all in. `items` has room for query->n. Where the model cannot explain its scores,
 * query->explain becomes 0. */
reel_status recommend_user(const struct snapshot_model *model, const struct user_ratings *ratings,
                           reel_recommend_query *query, reel_recommendation *items, int *n_items, reel_error *err);
/* [{"id","title","genres","score"[,"sd"][,"because":[{"movieId","title","rating","share"}]]}]; `sd` where the model has
 * one, `because` when `explain`. */
void write_recommendations(struct strbuf *out, const struct snapshot *snapshot, const struct user_ratings *ratings,
                           const reel_recommendation *items, int n, int explain);
/* Bit of a genre by name, ASCII letters of either case alike; -1 = there is none. */
int genre_find(const struct reel_dataset *dataset, const char *name);

#endif
