/* Every route by name; routes.c lists them. */
#ifndef SERVE_ROUTES_H
#define SERVE_ROUTES_H

#include "serve/http.h"

/* routes_page.c, routes_users.c */
extern const struct route route_page, route_asset, route_users;
/* routes_b.c: source system B */
extern const struct route route_user, route_suggested_movies, route_movie, route_most_similar_movies;
/* routes_a.c: source system A */
extern const struct route route_user_recommendation, route_user_rated, route_user_list, route_movie_metadata,
    route_movie_list;
/* routes_recommend.c, routes_predict.c */
extern const struct route route_recommendations, route_recommend_many, route_predictions;
/* routes_ratings.c */
extern const struct route route_rate, route_unrate;
/* routes_movies.c, routes_clusters.c, routes_models.c, routes_jobs.c */
extern const struct route route_movies, route_clusters, route_cluster, route_models, route_model_reload, route_jobs,
    route_job_submit, route_job, route_job_cancel;

#endif
