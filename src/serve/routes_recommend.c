/* Recommendations by any model, with filters and reasons: for one user, for many, and for visitors. */
#include <math.h>
#include <stdlib.h>

#include "core/error.h"
#include "serve/deferred.h"
#include "serve/json_schema.h"
#include "serve/json_write.h"
#include "serve/recommend_json.h"
#include "serve/routes.h"
#include "serve/schemas.h"
#include "serve/suggest.h"

enum { LIMIT_MAX = 1000, LIMIT_DEFAULT = 10, OFFSET_MAX = 1000000, MANY_USERS_MAX = 200, MANY_LIMIT_MAX = 200 };

/* clang-format off */
#define RECOMMENDATION_SCHEMA                                                                            \
    JSON({"type":"object","additionalProperties":false,"required":["id","title","genres","score"],"properties":{) \
    MOVIE_PROPERTIES JSON(,"score":) SCHEMA_SCORE JSON(,"sd":{"type":"number","minimum":0},"because":)   \
    SCHEMA_LIST(SCHEMA_OBJECT(JSON("movieId","title","rating","share"),                                  \
        JSON("movieId":) SCHEMA_ID JSON(,"title":) SCHEMA_TEXT JSON(,"rating":) SCHEMA_STARS             \
        JSON(,"share":{"type":"number"})))                                                               \
    JSON(}})
/* clang-format on */

/* ---- GET /api/v1/users/{id}/recommendations ---- */

struct recommend_work {
    struct deferred deferred;
    const struct snapshot_model *model;
    int64_t user_id;
    reel_recommend_query query;
};

static reel_status make_recommendations(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct recommend_work *work = (struct recommend_work *)deferred;
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    struct user_ratings ratings = {0};
    reel_recommendation *items = NULL;
    int n, explain = work->query.explain > 0;
    TRY(user_ratings_load(request_service(deferred->work.request), snapshot, work->user_id, &ratings, err));
    TRY(MEM_RAW(&items, work->query.n, err));
    TRY(recommend_user(work->model, &ratings, &work->query, items, &n, err));
    strbuf_puts(out, "{\"userId\":");
    json_write_int(out, work->user_id);
    strbuf_puts(out, ",\"model\":");
    json_write_string(out, work->model->name);
    strbuf_puts(out, ",\"recommendations\":");
    write_recommendations(out, snapshot, &ratings, items, n, explain);
    strbuf_add(out, "}", 1);
cleanup:
    mem_free(items);
    user_ratings_free(&ratings);
    return status;
}

/* An integer of the query, else `otherwise`; 0 = a problem has been set. */
static int query_int(struct request *request, const char *name, int64_t min, int64_t max, int64_t otherwise,
                     int64_t *value) {
    int given = request_query_int(request, name, min, max, value);
    if (given == 0) *value = otherwise;
    return given >= 0;
}

/* Fills limit, offset, filters and explain; 0 = a problem has been set. */
static int query_filters(struct request *request, reel_recommend_query *query) {
    int64_t limit, offset, year_from, year_to, min_ratings, explain;
    const struct reel_dataset *dataset = request_snapshot(request)->dataset;
    const char *genre = request_query_text(request, "genre");
    if (!query_int(request, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT, &limit) ||
        !query_int(request, "offset", 0, OFFSET_MAX, 0, &offset) ||
        !query_int(request, "year_from", 0, 9999, 0, &year_from) ||
        !query_int(request, "year_to", 0, 9999, 0, &year_to) ||
        !query_int(request, "min_ratings", 0, INT32_MAX, 0, &min_ratings) ||
        !query_int(request, "explain", 0, 1, 0, &explain))
        return 0;
    reel_recommend_query_default(query);
    query->n = (int)limit;
    query->offset = (int)offset;
    query->year_from = (int)year_from;
    query->year_to = (int)year_to;
    query->min_ratings = min_ratings;
    query->explain = explain ? REEL_EXPLAIN_MAX : 0;
    if (!genre || !genre[0]) return 1;
    int g = genre_find(dataset, genre);
    if (g < 0) {
        request_problem(request, 404, "the data set has no such genre");
        return 0;
    }
    query->genre_any = UINT64_C(1) << g;
    return 1;
}

static enum request_outcome get_recommendations(struct request *request) {
    int64_t id;
    reel_recommend_query query;
    if (request_path_int(request, "id", &id) < 1 || !query_filters(request, &query)) return REQUEST_DONE;
    const struct snapshot_model *model = request_model(request, NULL);
    if (!model) return REQUEST_DONE;
    struct answer_key key = {.route = &route_recommendations,
                             .snapshot = request_snapshot(request)->generation,
                             .model = model_tag(model),
                             .subject = id,
                             .store_version = request_store_version(request, id),
                             .numbers = {query.n, query.offset, (int64_t)query.genre_any, query.year_from,
                                         query.year_to, query.min_ratings, query.explain}};
    if (answer_from_cache(request, &key)) return REQUEST_DONE;
    struct recommend_work *work = deferred_new(request, sizeof *work, &key, make_recommendations);
    if (!work) return REQUEST_DONE;
    work->model = model;
    work->user_id = id;
    work->query = query;
    return deferred_submit(work);
}

/* clang-format off */
const struct route route_recommendations = {
    .method = HTTP_GET,
    .pattern = "/api/v1/users/{id}/recommendations",
    .handle = get_recommendations,
    .summary = "The best movies that the user has not rated, by any model, filtered, with reasons and uncertainty",
    .parameters = (const struct parameter[]){
        {"id", "path", SCHEMA_PATH_ID, "the data set's user id, or that of a user known from live ratings"},
        {"model", "query", SCHEMA_MODEL_NAME, "name of a loaded model; default: the first"},
        {"limit", "query", JSON({"type":"integer","minimum":1,"maximum":1000,"default":10}), "how many"},
        {"offset", "query", JSON({"type":"integer","minimum":0,"maximum":1000000,"default":0}),
            "how many of the best to leave out first"},
        {"genre", "query", SCHEMA_TEXT, "only movies of this genre"},
        {"year_from", "query", JSON({"type":"integer","minimum":0,"maximum":9999}), "only movies of this year or later"},
        {"year_to", "query", JSON({"type":"integer","minimum":0,"maximum":9999}), "only movies of this year or earlier"},
        {"min_ratings", "query", JSON({"type":"integer","minimum":0,"maximum":2147483647}),
            "only movies with at least this many ratings"},
        {"explain", "query", JSON({"type":"integer","minimum":0,"maximum":1,"default":0}),
            "1: say which ratings carried each score (none where the model cannot tell)"},
        {0}},
    .answer = SCHEMA_OBJECT(JSON("userId","model","recommendations"),
        JSON("userId":) SCHEMA_PATH_ID JSON(,"model":) SCHEMA_TEXT JSON(,"recommendations":)
        SCHEMA_LIST(RECOMMENDATION_SCHEMA)),
    .problems = "400 404",
};

/* ---- POST /api/v1/recommendations ---- */

static const char many_body[] = JSON({"oneOf":[)
    JSON({"type":"object","additionalProperties":false,"required":["users"],"properties":{
        "users":{"type":"array","minItems":1,"maxItems":200,"items":) SCHEMA_ID JSON(},
        "limit":{"type":"integer","minimum":1,"maximum":200,"default":10},
        "model":) SCHEMA_MODEL_NAME JSON(}},)
    JSON({"type":"object","additionalProperties":false,"required":["ratings"],"properties":{
        "ratings":{"type":"array","maxItems":10000,"items":)
            SCHEMA_OBJECT(JSON("movieId","rating"), JSON("movieId":) SCHEMA_ID JSON(,"rating":) SCHEMA_STARS) JSON(},
        "limit":{"type":"integer","minimum":1,"maximum":1000,"default":10},
        "genre":{"type":"string"},
        "year_from":{"type":"integer","minimum":0,"maximum":9999},
        "year_to":{"type":"integer","minimum":0,"maximum":9999},
        "min_ratings":{"type":"integer","minimum":0,"maximum":2147483647},
        "explain":{"type":"integer","minimum":0,"maximum":1,"default":0},
        "model":) SCHEMA_MODEL_NAME JSON(}})
    JSON(]});
/* clang-format on */

static int64_t body_int(const json_t *body, const char *key, int64_t otherwise) {
    const json_t *value = json_object_get(body, key);
    return value ? json_as_int(value) : otherwise;
}

struct visitor_work {
    struct deferred deferred;
    const struct snapshot_model *model;
    struct user_ratings ratings;
    reel_recommend_query query;
};

static void release_visitor(struct deferred *deferred) {
    user_ratings_free(&((struct visitor_work *)deferred)->ratings);
}

static reel_status make_visitor(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct visitor_work *work = (struct visitor_work *)deferred;
    reel_recommendation *items = NULL;
    int n, explain = work->query.explain > 0;
    TRY(MEM_RAW(&items, work->query.n, err));
    TRY(recommend_user(work->model, &work->ratings, &work->query, items, &n, err));
    strbuf_puts(out, "{\"model\":");
    json_write_string(out, work->model->name);
    strbuf_puts(out, ",\"recommendations\":");
    write_recommendations(out, request_snapshot(deferred->work.request), &work->ratings, items, n, explain);
    strbuf_add(out, "}", 1);
cleanup:
    mem_free(items);
    return status;
}

struct rated_item {
    int32_t movie, at;
    uint8_t half_stars;
};

static int compare_rated(const void *a, const void *b) {
    const struct rated_item *x = a, *y = b;
    if (x->movie != y->movie) return x->movie < y->movie ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* The visitor's ratings, ascending; of a movie rated twice the last word counts. */
static reel_status read_visitor(const struct reel_dataset *dataset, const json_t *list, struct user_ratings *out,
                                reel_error *err) {
    reel_status status = REEL_OK;
    struct rated_item *items = NULL;
    int32_t n = (int32_t)json_array_size(list);
    *out = (struct user_ratings){.user_id = -1, .user = -1, .live = 1};
    TRY(MEM_RAW(&items, n, err));
    TRY(MEM_RAW(&out->movies, n, err));
    TRY(MEM_RAW(&out->stars, n, err));
    TRY(MEM_RAW(&out->half_stars, n, err));
    for (int32_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        int64_t id = json_as_int(json_object_get(item, "movieId"));
        double stars = json_number_value(json_object_get(item, "rating"));
        items[i] = (struct rated_item){reel_dataset_movie_index(dataset, id), i, (uint8_t)(2 * stars)};
        if (items[i].movie < 0) TRY(error_set(err, REEL_NOT_FOUND, "there is no movie %lld", (long long)id));
    }
    qsort(items, (size_t)n, sizeof *items, compare_rated);
    for (int32_t i = 0; i < n; i++) {
        if (i + 1 < n && items[i].movie == items[i + 1].movie) continue;
        out->movies[out->n] = items[i].movie;
        out->half_stars[out->n] = items[i].half_stars;
        out->stars[out->n++] = 0.5f * (float)items[i].half_stars;
    }
cleanup:
    mem_free(items);
    if (status != REEL_OK) user_ratings_free(out);
    return status;
}

static int visitor_filters(struct request *request, const json_t *body, reel_recommend_query *query) {
    const char *genre = json_string_value(json_object_get(body, "genre"));
    reel_recommend_query_default(query);
    query->n = (int)body_int(body, "limit", LIMIT_DEFAULT);
    query->year_from = (int)body_int(body, "year_from", 0);
    query->year_to = (int)body_int(body, "year_to", 0);
    query->min_ratings = body_int(body, "min_ratings", 0);
    query->explain = body_int(body, "explain", 0) ? REEL_EXPLAIN_MAX : 0;
    if (!genre || !genre[0]) return 1;
    int g = genre_find(request_snapshot(request)->dataset, genre);
    if (g >= 0) query->genre_any = UINT64_C(1) << g;
    if (g < 0) request_problem(request, 404, "the data set has no such genre");
    return g >= 0;
}

static enum request_outcome recommend_visitor(struct request *request, const struct snapshot_model *model) {
    reel_error err;
    const json_t *body = request_json(request);
    struct visitor_work *work = deferred_new(request, sizeof *work, NULL, make_visitor);
    if (!work) return REQUEST_DONE;
    work->deferred.release = release_visitor;
    work->model = model;
    int fine = visitor_filters(request, body, &work->query);
    if (fine && read_visitor(request_snapshot(request)->dataset, json_object_get(body, "ratings"), &work->ratings,
                             &err) != REEL_OK) {
        request_fail(request, &err);
        fine = 0;
    }
    if (fine) return deferred_submit(work);
    deferred_drop(work);
    return REQUEST_DONE;
}

/* ---- many users ---- */

struct many_work {
    struct deferred deferred;
    const struct snapshot_model *model;
    int n_users, limit;
    int64_t user_ids[MANY_USERS_MAX];
    int32_t users[MANY_USERS_MAX]; /* dataset index; -1: scored alone, by folding in */
};

static void begin_result(struct strbuf *out, const struct many_work *work, int i) {
    strbuf_puts(out, i ? ",{\"userId\":" : "{\"userId\":");
    json_write_int(out, work->user_ids[i]);
    strbuf_puts(out, ",\"recommendations\":");
}

static reel_status write_live_user(struct strbuf *out, const struct many_work *work, int i, reel_error *err) {
    reel_status status = REEL_OK;
    const struct request *request = work->deferred.work.request;
    const struct snapshot *snapshot = request_snapshot(request);
    struct user_ratings ratings = {0};
    reel_recommendation items[MANY_LIMIT_MAX];
    reel_recommend_query query;
    int n;
    reel_recommend_query_default(&query);
    query.n = work->limit;
    TRY(user_ratings_load(request_service(request), snapshot, work->user_ids[i], &ratings, err));
    TRY(recommend_user(work->model, &ratings, &query, items, &n, err));
    begin_result(out, work, i);
    write_recommendations(out, snapshot, &ratings, items, n, 0);
    strbuf_add(out, "}", 1);
cleanup:
    user_ratings_free(&ratings);
    return status;
}

static void write_known_user(struct strbuf *out, const struct many_work *work, int i, const int32_t *movies,
                             const float *scores) {
    reel_recommendation items[MANY_LIMIT_MAX];
    int n = 0;
    for (; n < work->limit && movies[n] >= 0; n++)
        items[n] = (reel_recommendation){.movie = movies[n], .score = scores[n], .sd = NAN};
    begin_result(out, work, i);
    write_recommendations(out, request_snapshot(work->deferred.work.request), NULL, items, n, 0);
    strbuf_add(out, "}", 1);
}

static reel_status make_many(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    reel_status status = REEL_OK;
    const struct many_work *work = (const struct many_work *)deferred;
    int32_t known[MANY_USERS_MAX], n_known = 0, *movies = NULL;
    float *scores = NULL;
    for (int i = 0; i < work->n_users; i++)
        if (work->users[i] >= 0) known[n_known++] = work->users[i];
    TRY(MEM_RAW(&movies, n_known * work->limit, err));
    TRY(MEM_RAW(&scores, n_known * work->limit, err));
    TRY(recommend_on_this_thread(work->model, n_known, known, work->limit, movies, scores, err));
    strbuf_puts(out, "{\"model\":");
    json_write_string(out, work->model->name);
    strbuf_puts(out, ",\"results\":[");
    for (int i = 0, at = 0; i < work->n_users; i++)
        if (work->users[i] < 0) {
            TRY(write_live_user(out, work, i, err));
        } else {
            write_known_user(out, work, i, movies + at * work->limit, scores + at * work->limit);
            at++;
        }
    strbuf_puts(out, "]}");
cleanup:
    mem_free(movies);
    mem_free(scores);
    return status;
}

/* Looks the users up; 0 = a problem has been set. */
static int read_users(struct request *request, const json_t *list, struct many_work *work) {
    const struct service *service = request_service(request);
    work->n_users = (int)json_array_size(list);
    for (int i = 0; i < work->n_users; i++) {
        int64_t id = json_as_int(json_array_get(list, (size_t)i));
        int live = user_has_live(service, id);
        work->user_ids[i] = id;
        work->users[i] = live ? -1 : reel_dataset_user_index(request_snapshot(request)->dataset, id);
        if (live || work->users[i] >= 0) continue;
        request_problem(request, 404, "there is no user %lld", (long long)id);
        return 0;
    }
    return 1;
}

static enum request_outcome post_recommendations(struct request *request) {
    if (!request_body_fits(request, many_body)) return REQUEST_DONE;
    const json_t *body = request_json(request);
    const struct snapshot_model *model = request_model(request, json_string_value(json_object_get(body, "model")));
    if (!model) return REQUEST_DONE;
    if (json_object_get(body, "ratings")) return recommend_visitor(request, model);
    struct many_work *work = deferred_new(request, sizeof *work, NULL, make_many);
    if (!work) return REQUEST_DONE;
    work->model = model;
    work->limit = (int)body_int(body, "limit", LIMIT_DEFAULT);
    if (read_users(request, json_object_get(body, "users"), work)) return deferred_submit(work);
    deferred_drop(work);
    return REQUEST_DONE;
}

/* clang-format off */
const struct route route_recommend_many = {
    .method = HTTP_POST,
    .pattern = "/api/v1/recommendations",
    .handle = post_recommendations,
    .summary = "For many users at once, or for a visitor described by ratings, folded in without training",
    .body = many_body,
    .answer = JSON({"oneOf":[)
        SCHEMA_OBJECT(JSON("model","results"), JSON("model":) SCHEMA_TEXT JSON(,"results":)
            SCHEMA_LIST(SCHEMA_OBJECT(JSON("userId","recommendations"),
                JSON("userId":) SCHEMA_ID JSON(,"recommendations":) SCHEMA_LIST(RECOMMENDATION_SCHEMA)))) JSON(,)
        SCHEMA_OBJECT(JSON("model","recommendations"), JSON("model":) SCHEMA_TEXT JSON(,"recommendations":)
            SCHEMA_LIST(RECOMMENDATION_SCHEMA)) JSON(]}),
    .problems = "400 404 413 415 422",
};
/* clang-format on */
