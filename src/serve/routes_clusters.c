/* Clusters: how large they are, what their members like, and where users lie on a map of tastes. */
#include <math.h>
#include <string.h>

#include "core/error.h"
#include "model/clusters.h"
#include "serve/deferred.h"
#include "serve/routes.h"
#include "serve/schemas.h"

enum { POINTS_MAX = 5000 };

struct cluster_work {
    struct deferred deferred;
    int64_t subject; /* cluster, -1 = all of them */
    int64_t points;
};

/* Every so many-th user at the second and third column of the embedding (the first is nearly constant). */
static json_t *map_points(const reel_clusters *clusters, int64_t wanted) {
    json_t *points = json_array();
    int up = clusters->k > 2 ? 2 : 0;
    int64_t n = wanted < clusters->n ? wanted : clusters->n;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i * clusters->n / n;
        const double *row = clusters->eigenvectors + at * clusters->k;
        if (clusters->labels[at] < 0) continue;
        json_array_append_new(points, json_pack("{s:i,s:i,s:f,s:f}", "userId", clusters->user_ids[at], "cluster",
                                                clusters->labels[at], "x", row[1] * clusters->row_scale[at], "y",
                                                row[up] * clusters->row_scale[at]));
    }
    return points;
}

static reel_status make_clusters(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    const struct cluster_work *work = (const struct cluster_work *)deferred;
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    char *text = reel_clusters_json(snapshot->clusters, snapshot->dataset, NULL);
    json_t *facts = text ? json_loads(text, 0, NULL) : NULL;
    reel_string_free(text);
    if (!facts) return error_no_memory(err, 0);
    json_t *profiles = json_incref(json_object_get(facts, "profile"));
    if (work->subject >= 0) {
        json_t *one = json_incref(json_array_get(profiles, (size_t)work->subject));
        json_decref(profiles);
        json_decref(facts);
        return json_into(out, one, err);
    }
    json_object_del(facts, "profile");
    json_object_del(facts, "sizes");
    json_object_set_new(facts, "clusters", profiles);
    if (work->points > 0) json_object_set_new(facts, "points", map_points(snapshot->clusters, work->points));
    return json_into(out, facts, err);
}

static enum request_outcome submit(struct request *request, const struct route *route, int64_t cluster,
                                   int64_t points) {
    struct answer_key key = {
        .route = route, .snapshot = request_snapshot(request)->generation, .subject = cluster, .numbers = {points}};
    if (answer_from_cache(request, &key)) return REQUEST_DONE;
    struct cluster_work *work = deferred_new(request, sizeof *work, &key, make_clusters);
    if (!work) return REQUEST_DONE;
    work->subject = cluster;
    work->points = points;
    return deferred_submit(work);
}

static enum request_outcome get_clusters(struct request *request) {
    int64_t points = 0;
    if (request_query_int(request, "points", 0, POINTS_MAX, &points) < 0) return REQUEST_DONE;
    if (!request_snapshot(request)->clusters) {
        request_problem(request, 404, "no clusters are loaded");
        return REQUEST_DONE;
    }
    return submit(request, &route_clusters, -1, points);
}

static enum request_outcome get_cluster(struct request *request) {
    int64_t cluster;
    const reel_clusters *clusters = request_snapshot(request)->clusters;
    if (request_path_int(request, "id", &cluster) < 1) return REQUEST_DONE;
    if (clusters && cluster < reel_clusters_count(clusters)) return submit(request, &route_cluster, cluster, 0);
    if (clusters)
        request_problem(request, 404, "there is no cluster %lld; there are %d", (long long)cluster,
                        reel_clusters_count(clusters));
    else
        request_problem(request, 404, "no clusters are loaded");
    return REQUEST_DONE;
}

/* clang-format off */
#define CLUSTER_SCHEMA                                                                                          \
    SCHEMA_OBJECT(JSON("cluster","n_users","mean_rating","ratings_per_user","genres","top_movies"),             \
        JSON("cluster":) SCHEMA_COUNT JSON(,"n_users":) SCHEMA_COUNT JSON(,"mean_rating":{"type":"number"},     \
        "ratings_per_user":{"type":"number"},"genres":{"type":"object","additionalProperties":)                 \
        SCHEMA_OBJECT(JSON("share","lift"), JSON("share":{"type":"number"},"lift":{"type":"number"}))           \
        JSON(},"top_movies":) SCHEMA_LIST(SCHEMA_OBJECT(JSON("id","title","n_ratings"),                         \
            JSON("id":) SCHEMA_ID JSON(,"title":) SCHEMA_TEXT JSON(,"n_ratings":) SCHEMA_COUNT)))

const struct route route_clusters = {
    .method = HTTP_GET,
    .pattern = "/api/v1/clusters",
    .handle = get_clusters,
    .summary = "Every cluster of users: size, how much of each genre against the average (lift), most rated movies",
    .parameters = (const struct parameter[]){
        {"points", "query", JSON({"type":"integer","minimum":0,"maximum":5000,"default":0}),
            "how many users to place on a map of the embedding"},
        {0}},
    .answer = JSON({"type":"object","additionalProperties":false,"required":["k","affinity","n_isolated","clusters"],
        "properties":{"k":) SCHEMA_COUNT JSON(,"affinity":) SCHEMA_TEXT JSON(,"n_isolated":) SCHEMA_COUNT
        JSON(,"clusters":) SCHEMA_LIST(CLUSTER_SCHEMA) JSON(,"points":)
        SCHEMA_LIST(SCHEMA_OBJECT(JSON("userId","cluster","x","y"), JSON("userId":) SCHEMA_ID JSON(,"cluster":) SCHEMA_COUNT
            JSON(,"x":{"type":"number"},"y":{"type":"number"}))) JSON(}}),
    .problems = "400 404",
};

const struct route route_cluster = {
    .method = HTTP_GET,
    .pattern = "/api/v1/clusters/{id}",
    .handle = get_cluster,
    .summary = "One cluster of users",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "number of the cluster, from 0"}, {0}},
    .answer = CLUSTER_SCHEMA,
    .problems = "400 404",
};
/* clang-format on */
