/* The list of all routes. */
#include "serve/routes.h"

const struct route *const service_routes[] = {
    &route_user,
    &route_suggested_movies,
    &route_recommendations,
    &route_rate,
    &route_unrate,
    &route_movies,
    &route_movie,
    &route_most_similar_movies,
    &route_recommend_many,
    &route_predictions,
    &route_clusters,
    &route_cluster,
    &route_models,
    &route_model_reload,
    &route_jobs,
    &route_job_submit,
    &route_job,
    &route_job_cancel,
    &route_user_recommendation,
    &route_user_rated,
    &route_user_list,
    &route_movie_metadata,
    &route_movie_list,
    NULL,
};
