/* Source system A: recommendations inside a user's cluster by the trees, what a user rated, and the three collections
 * by cluster and movie. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "core/error.h"
#include "serve/deferred.h"
#include "serve/json_write.h"
#include "serve/recommend_json.h"
#include "serve/routes.h"
#include "serve/schemas.h"

/* ---- GET /user/{id}/recommendation ---- */

enum { A_RECOMMENDATIONS = 10 };

struct a_work {
    struct deferred deferred;
    int64_t subject; /* user id or cluster */
    uint32_t now;
};

/* The candidates of a user's cluster; a user without one is placed; *out = NULL where that cannot be done: all movies.
 */
static reel_status user_candidates(const struct snapshot *snapshot, int32_t user, const uint8_t **out,
                                   reel_error *err) {
    int cluster = user < 0 ? -1 : (int)snapshot->user_clusters[user];
    *out = NULL;
    if (user >= 0 && cluster < 0)
        TRY_RETURN(reel_clusters_place(snapshot->clusters, snapshot->dataset, user, &cluster, err));
    if (cluster >= 0) *out = snapshot->cluster_candidates[cluster];
    return REEL_OK;
}

static reel_status make_a_recommendation(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    reel_status status = REEL_OK;
    const struct a_work *work = (const struct a_work *)deferred;
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    struct user_ratings ratings = {0};
    reel_recommendation items[A_RECOMMENDATIONS];
    reel_recommend_query query;
    int n;
    reel_recommend_query_default(&query);
    query.n = A_RECOMMENDATIONS;
    query.time = work->now;
    TRY(user_ratings_load(request_service(deferred->work.request), snapshot, work->subject, &ratings, err));
    TRY(user_candidates(snapshot, ratings.user, &query.candidates, err));
    TRY(recommend_user(snapshot->tree_model, &ratings, &query, items, &n, err));
    strbuf_puts(out, "{\"userId\":");
    json_write_int(out, work->subject);
    strbuf_puts(out, ",\"predictions\":[");
    for (int i = 0; i < n; i++) {
        strbuf_puts(out, i ? ",{\"id\":" : "{\"id\":");
        json_write_int(out, snapshot->dataset->movie_ids[items[i].movie]);
        strbuf_puts(out, ",\"name\":");
        json_write_string(out, text_at(&snapshot->dataset->titles, items[i].movie));
        strbuf_puts(out, ",\"predicted rating\":");
        json_write_decimal(out, (double)items[i].score, 1);
        strbuf_add(out, "}", 1);
    }
    strbuf_puts(out, "]}");
cleanup:
    user_ratings_free(&ratings);
    return status;
}

/* 1 if clusters are loaded; else a problem has been set. */
static int need_clusters(struct request *request) {
    if (request_snapshot(request)->clusters) return 1;
    request_problem(request, 404, "no clusters are loaded");
    return 0;
}

static enum request_outcome get_user_recommendation(struct request *request) {
    int64_t id;
    const struct snapshot *snapshot = request_snapshot(request);
    if (request_path_int(request, "id", &id) < 1 || !need_clusters(request)) return REQUEST_DONE;
    if (!snapshot->tree_model) {
        request_problem(request, 404, "no model is loaded");
        return REQUEST_DONE;
    }
    uint32_t now = (uint32_t)time(NULL);
    struct answer_key key = {.route = &route_user_recommendation,
                             .snapshot = snapshot->generation,
                             .model = model_tag(snapshot->tree_model),
                             .subject = id,
                             .store_version = request_store_version(request, id),
                             .numbers = {now / 3600}};
    if (answer_from_cache(request, &key)) return REQUEST_DONE;
    struct a_work *work = deferred_new(request, sizeof *work, &key, make_a_recommendation);
    if (!work) return REQUEST_DONE;
    work->subject = id;
    work->now = now;
    return deferred_submit(work);
}

/* clang-format off */
const struct route route_user_recommendation = {
    .method = HTTP_GET,
    .pattern = "/user/{id}/recommendation",
    .handle = get_user_recommendation,
    .summary = "The 10 best unseen movies among those that the user's cluster rated, by the trees, for today's weekday",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "the data set's user id"}, {0}},
    .answer = SCHEMA_OBJECT(JSON("userId","predictions"), JSON("userId":) SCHEMA_PATH_ID JSON(,"predictions":)
        SCHEMA_LIST(SCHEMA_OBJECT(JSON("id","name","predicted rating"),
            JSON("id":) SCHEMA_ID JSON(,"name":) SCHEMA_TEXT JSON(,"predicted rating":) SCHEMA_SCORE))),
    .problems = "400 404",
};
/* clang-format on */

/* ---- GET /user/{id}/rated ---- */

static enum request_outcome get_user_rated(struct request *request) {
    int64_t id;
    reel_error err;
    struct user_ratings ratings;
    const struct snapshot *snapshot = request_snapshot(request);
    if (request_path_int(request, "id", &id) < 1) return REQUEST_DONE;
    if (user_ratings_load(request_service(request), snapshot, id, &ratings, &err) != REEL_OK) {
        request_fail(request, &err);
        return REQUEST_DONE;
    }
    struct strbuf out = {0};
    strbuf_puts(&out, "{\"");
    json_write_int(&out, id);
    strbuf_puts(&out, "\":[");
    for (int64_t i = 0; i < ratings.n; i++) {
        strbuf_puts(&out, i ? ",{\"movieId\":" : "{\"movieId\":");
        json_write_int(&out, snapshot->dataset->movie_ids[ratings.movies[i]]);
        strbuf_puts(&out, ",\"rating\":");
        json_write_stars(&out, ratings.half_stars[i]);
        strbuf_add(&out, "}", 1);
    }
    strbuf_puts(&out, "]}");
    user_ratings_free(&ratings);
    return answer_text(request, &out);
}

/* clang-format off */
const struct route route_user_rated = {
    .method = HTTP_GET,
    .pattern = "/user/{id}/rated",
    .handle = get_user_rated,
    .summary = "What a user rated, by movie id, under the user's id; live ratings included",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "the data set's user id"}, {0}},
    .answer = JSON({"type":"object","minProperties":1,"maxProperties":1,"additionalProperties":false,
        "patternProperties":{"^[0-9]+$":)
        SCHEMA_LIST(SCHEMA_OBJECT(JSON("movieId","rating"), JSON("movieId":) SCHEMA_ID JSON(,"rating":) SCHEMA_STARS))
        JSON(}}),
    .problems = "400 404",
};
/* clang-format on */

/* ---- GET /user/list/{cluster} ---- */

static reel_status make_user_list(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    (void)err;
    const struct a_work *work = (const struct a_work *)deferred;
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    const char *before = "{\"userId\":";
    strbuf_add(out, "[", 1);
    for (int32_t u = 0; u < snapshot->dataset->n_users; u++) {
        if (snapshot->user_clusters[u] != work->subject) continue;
        strbuf_puts(out, before);
        json_write_int(out, snapshot->dataset->user_ids[u]);
        strbuf_puts(out, ",\"user_rt_mean\":");
        json_write_real(out, snapshot->user_means[u]);
        strbuf_puts(out, ",\"cluster\":");
        json_write_int(out, work->subject);
        strbuf_add(out, "}", 1);
        before = ",{\"userId\":";
    }
    strbuf_add(out, "]", 1);
    return REEL_OK;
}

/* Both lists: cached for as long as the snapshot. */
static enum request_outcome get_list(struct request *request, const struct route *route,
                                     reel_status (*make)(struct deferred *, struct strbuf *, reel_error *)) {
    int64_t cluster;
    const struct snapshot *snapshot = request_snapshot(request);
    if (request_path_int(request, "cluster", &cluster) < 1 || !need_clusters(request)) return REQUEST_DONE;
    if (cluster >= reel_clusters_count(snapshot->clusters)) {
        request_problem(request, 404, "there is no cluster %lld; there are %d", (long long)cluster,
                        reel_clusters_count(snapshot->clusters));
        return REQUEST_DONE;
    }
    struct answer_key key = {.route = route, .snapshot = snapshot->generation, .subject = cluster};
    if (answer_from_cache(request, &key)) return REQUEST_DONE;
    struct a_work *work = deferred_new(request, sizeof *work, &key, make);
    if (!work) return REQUEST_DONE;
    work->subject = cluster;
    return deferred_submit(work);
}

static enum request_outcome get_user_list(struct request *request) {
    return get_list(request, &route_user_list, make_user_list);
}

/* clang-format off */
const struct route route_user_list = {
    .method = HTTP_GET,
    .pattern = "/user/list/{cluster}",
    .handle = get_user_list,
    .summary = "The users of a cluster with the mean of their ratings",
    .parameters = (const struct parameter[]){{"cluster", "path", SCHEMA_PATH_ID, "number of the cluster, from 0"}, {0}},
    .answer = SCHEMA_LIST(SCHEMA_OBJECT(JSON("userId","user_rt_mean","cluster"),
        JSON("userId":) SCHEMA_ID JSON(,"user_rt_mean":) SCHEMA_NUMBER_OR_NULL JSON(,"cluster":) SCHEMA_COUNT)),
    .problems = "400 404",
};
/* clang-format on */

/* ---- GET /movie/{id}/metadata ---- */

/* Row of a movie in The Movies Dataset's part, -1 = none. */
static int32_t metadata_row(const struct metadata *metadata, int32_t movie) {
    int32_t low = 0, high = metadata->n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (metadata->movies[middle] < movie)
            low = middle + 1;
        else
            high = middle;
    }
    return low < metadata->n && metadata->movies[low] == movie ? low : -1;
}

/* The genres of The Movies Dataset where it has the movie, else the data set's own. */
static void write_metadata_genres(struct strbuf *out, const struct reel_dataset *dataset, int32_t movie, int32_t row) {
    uint64_t bits = row < 0 ? dataset->movie_genres[movie] : dataset->metadata.genres[row];
    strbuf_add(out, "[", 1);
    for (const char *comma = ""; bits; bits &= bits - 1, comma = ",") {
        int genre = __builtin_ctzll(bits);
        strbuf_puts(out, comma);
        json_write_string(out, row < 0 ? reel_dataset_genre(dataset, genre) : metadata_genre_name(genre));
    }
    strbuf_add(out, "]", 1);
}

static void write_known_int(struct strbuf *out, const char *key, int known, int64_t value) {
    strbuf_puts(out, key);
    if (known)
        json_write_int(out, value);
    else
        strbuf_puts(out, "null");
}

static enum request_outcome get_movie_metadata(struct request *request) {
    int64_t id;
    const struct reel_dataset *dataset = request_snapshot(request)->dataset;
    const struct metadata *metadata = &dataset->metadata;
    if (request_path_int(request, "id", &id) < 1) return REQUEST_DONE;
    int32_t movie = reel_dataset_movie_index(dataset, id);
    if (movie < 0) {
        request_problem(request, 404, "there is no movie %lld", (long long)id);
        return REQUEST_DONE;
    }
    struct strbuf out = {0};
    int32_t row = metadata_row(metadata, movie);
    int32_t imdb_id =
        row >= 0 && metadata->imdb_ids[row] >= 0 ? metadata->imdb_ids[row] : dataset->movie_imdb_ids[movie];
    strbuf_puts(&out, "[{\"id\":");
    json_write_int(&out, id);
    strbuf_puts(&out, ",\"genres\":");
    write_metadata_genres(&out, dataset, movie, row);
    write_known_int(&out, ",\"imdb_id\":", imdb_id >= 0, imdb_id);
    write_known_int(&out, ",\"revenue\":", row >= 0 && metadata->revenue[row] > 0,
                    row >= 0 ? metadata->revenue[row] : 0);
    strbuf_puts(&out, ",\"runtime\":");
    json_write_real(&out, row >= 0 && metadata->runtime[row] > 0 ? (double)metadata->runtime[row] : NAN);
    strbuf_puts(&out, "}]");
    return answer_text(request, &out);
}

/* clang-format off */
const struct route route_movie_metadata = {
    .method = HTTP_GET,
    .pattern = "/movie/{id}/metadata",
    .handle = get_movie_metadata,
    .summary = "What The Movies Dataset says about a movie, joined through links.csv; null where nothing is known",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "the data set's movie id"}, {0}},
    .answer = JSON({"type":"array","minItems":1,"maxItems":1,"items":)
        SCHEMA_OBJECT(JSON("id","genres","imdb_id","revenue","runtime"),
            JSON("id":) SCHEMA_ID JSON(,"genres":) SCHEMA_TEXTS JSON(,"imdb_id":) SCHEMA_INT_OR_NULL
            JSON(,"revenue":) SCHEMA_INT_OR_NULL JSON(,"runtime":) SCHEMA_NUMBER_OR_NULL) JSON(}),
    .problems = "400 404",
};
/* clang-format on */

/* ---- GET /movie/list/{cluster} ---- */

static void write_movie_entry(struct strbuf *out, const struct snapshot *snapshot, int32_t movie) {
    const struct reel_dataset *dataset = snapshot->dataset;
    const int64_t *offsets = dataset->ratings.movie_offsets;
    strbuf_puts(out, "{\"movieId\":");
    json_write_int(out, dataset->movie_ids[movie]);
    strbuf_puts(out, ",\"movie_rt_mean\":");
    json_write_real(out, snapshot->movie_means[movie]);
    strbuf_puts(out, ",\"popularity\":");
    json_write_int(out, offsets[movie + 1] - offsets[movie]);
    strbuf_puts(out, ",\"clusters\":[");
    const char *comma = "";
    for (int c = 0; c < reel_clusters_count(snapshot->clusters); c++) {
        if (!snapshot->cluster_candidates[c][movie]) continue;
        strbuf_puts(out, comma);
        json_write_int(out, c);
        comma = ",";
    }
    strbuf_puts(out, "],\"genres\":{");
    for (int g = 0; g < dataset->n_genres; g++) {
        if (g) strbuf_add(out, ",", 1);
        json_write_string(out, reel_dataset_genre(dataset, g));
        strbuf_puts(out, dataset->movie_genres[movie] >> g & 1 ? ":1" : ":0");
    }
    strbuf_puts(out, "}}");
}

static reel_status make_movie_list(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    (void)err;
    const struct a_work *work = (const struct a_work *)deferred;
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    const char *comma = "";
    strbuf_add(out, "[", 1);
    for (int32_t m = 0; m < snapshot->dataset->n_movies; m++) {
        if (!snapshot->cluster_candidates[work->subject][m]) continue;
        strbuf_puts(out, comma);
        write_movie_entry(out, snapshot, m);
        comma = ",";
    }
    strbuf_add(out, "]", 1);
    return REEL_OK;
}

static enum request_outcome get_movie_list(struct request *request) {
    return get_list(request, &route_movie_list, make_movie_list);
}

/* clang-format off */
const struct route route_movie_list = {
    .method = HTTP_GET,
    .pattern = "/movie/list/{cluster}",
    .handle = get_movie_list,
    .summary = "The movies that any user of a cluster rated",
    .parameters = (const struct parameter[]){{"cluster", "path", SCHEMA_PATH_ID, "number of the cluster, from 0"}, {0}},
    .answer = SCHEMA_LIST(SCHEMA_OBJECT(JSON("movieId","movie_rt_mean","popularity","clusters","genres"),
        JSON("movieId":) SCHEMA_ID JSON(,"movie_rt_mean":) SCHEMA_NUMBER_OR_NULL JSON(,"popularity":) SCHEMA_COUNT
        JSON(,"clusters":) SCHEMA_LIST(SCHEMA_COUNT)
        JSON(,"genres":{"type":"object","additionalProperties":{"type":"integer","enum":[0,1]}}))),
    .problems = "400 404",
};
/* clang-format on */
