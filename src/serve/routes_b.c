/* Source system B: users, their suggestions, movies, similar movies. */
#include "core/error.h"
#include "serve/deferred.h"
#include "serve/json_write.h"
#include "serve/routes.h"
#include "serve/schemas.h"
#include "serve/server.h"
#include "serve/suggest.h"

/* "title":...,"genres":[...] of a movie: its fragment without the id. */
static void write_title(struct strbuf *out, const struct snapshot *snapshot, int32_t movie) {
    size_t size, id = 0;
    const char *fragment = snapshot_fragment(snapshot, movie, &size);
    while (fragment[id] != ',') id++;
    strbuf_add(out, fragment + id + 1, size - id - 1);
}

static void write_movie(struct strbuf *out, const struct snapshot *snapshot, int32_t movie) {
    size_t size;
    const char *fragment = snapshot_fragment(snapshot, movie, &size);
    strbuf_add(out, fragment, size);
}

/* The dataset index of the movie {id}; -1 = a problem has been set. */
static int32_t path_movie(struct request *request) {
    int64_t id;
    if (request_path_int(request, "id", &id) < 1) return -1;
    int32_t movie = reel_dataset_movie_index(request_snapshot(request)->dataset, id);
    if (movie < 0) request_problem(request, 404, "there is no movie %lld", (long long)id);
    return movie;
}

/* ---- GET /api/v1/users/{id} ---- */

enum { INLINE_RATINGS = 100 }; /* users with more of them are written by a worker */

struct user_work {
    struct deferred deferred;
    int64_t user_id;
};

/* First tag of (user, movie) or behind; tags are ordered by both. */
static int64_t first_tag(const struct reel_dataset *dataset, int32_t user, int32_t movie) {
    int64_t low = 0, high = dataset->n_tags;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (dataset->tag_users[middle] < user ||
            (dataset->tag_users[middle] == user && dataset->tag_movies[middle] < movie))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void write_tags(struct strbuf *out, const struct reel_dataset *dataset, int32_t user, int32_t movie) {
    int64_t first = user < 0 ? dataset->n_tags : first_tag(dataset, user, movie), at = first;
    strbuf_puts(out, "\"tags\":[");
    for (; at < dataset->n_tags && dataset->tag_users[at] == user && dataset->tag_movies[at] == movie; at++) {
        if (at > first) strbuf_add(out, ",", 1);
        json_write_string(out, text_at(&dataset->tags, at));
    }
    strbuf_add(out, "],", 2);
}

static void write_user(struct strbuf *out, const struct snapshot *snapshot, const struct user_ratings *ratings) {
    const struct reel_dataset *dataset = snapshot->dataset;
    const char *comma = "";
    strbuf_puts(out, "{\"id\":");
    json_write_int(out, ratings->user_id);
    strbuf_puts(out, ",\"movies\":[");
    for (int half_stars = 10; half_stars > 0; half_stars--)
        for (int64_t i = 0; i < ratings->n; i++) {
            if (ratings->half_stars[i] != half_stars) continue;
            strbuf_puts(out, comma);
            strbuf_puts(out, "{\"movieId\":");
            json_write_int(out, dataset->movie_ids[ratings->movies[i]]);
            strbuf_puts(out, ",\"rating\":");
            json_write_stars(out, half_stars);
            strbuf_add(out, ",", 1);
            write_tags(out, dataset, ratings->user, ratings->movies[i]);
            write_title(out, snapshot, ratings->movies[i]);
            strbuf_add(out, "}", 1);
            comma = ",";
        }
    strbuf_puts(out, "]}");
}

static reel_status make_user(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    struct user_work *work = (struct user_work *)deferred;
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    struct user_ratings ratings;
    TRY_RETURN(user_ratings_load(request_service(deferred->work.request), snapshot, work->user_id, &ratings, err));
    write_user(out, snapshot, &ratings);
    user_ratings_free(&ratings);
    return REEL_OK;
}

static enum request_outcome get_user(struct request *request) {
    int64_t id;
    const struct snapshot *snapshot = request_snapshot(request);
    if (request_path_int(request, "id", &id) < 1) return REQUEST_DONE;
    struct answer_key key = {.route = &route_user,
                             .snapshot = snapshot->generation,
                             .subject = id,
                             .store_version = request_store_version(request, id)};
    if (answer_from_cache(request, &key)) return REQUEST_DONE;
    int32_t user = reel_dataset_user_index(snapshot->dataset, id);
    int64_t n = user < 0 ? 0 : reel_dataset_user_ratings(snapshot->dataset, user, NULL, NULL, NULL);
    struct user_work *work = deferred_new(request, sizeof *work, &key, make_user);
    if (!work) return REQUEST_DONE;
    work->user_id = id;
    return n > INLINE_RATINGS ? deferred_submit(work) : deferred_run_now(work);
}

/* clang-format off */
const struct route route_user = {
    .method = HTTP_GET,
    .pattern = "/api/v1/users/{id}",
    .handle = get_user,
    .summary = "What a user rated, best first, with the user's own tags; live ratings included",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "the data set's user id"}, {0}},
    .answer = SCHEMA_OBJECT(JSON("id","movies"),
        JSON("id":) SCHEMA_PATH_ID JSON(,"movies":)
        SCHEMA_LIST(SCHEMA_OBJECT(JSON("movieId","rating","tags","title","genres"),
            JSON("movieId":) SCHEMA_ID JSON(,"rating":) SCHEMA_STARS JSON(,"tags":) SCHEMA_TEXTS
            JSON(,"title":) SCHEMA_TEXT JSON(,"genres":) SCHEMA_TEXTS))),
    .problems = "400 404",
};
/* clang-format on */

/* ---- GET /api/v1/users/{id}/suggested_movies ---- */

struct suggest_work {
    struct deferred deferred;
    const struct snapshot_model *model;
    int64_t user_id;
    int32_t user; /* dataset index; -1 or live ratings: alone */
};

static void write_suggestions(struct strbuf *out, const struct snapshot *snapshot, const struct suggestions *list) {
    strbuf_puts(out, "{\"suggested_movies\":[");
    for (int i = 0; i < list->n; i++) {
        strbuf_puts(out, i ? ",{" : "{");
        write_movie(out, snapshot, list->items[i].movie);
        strbuf_puts(out, ",\"estimated_score\":");
        json_write_decimal(out, list->items[i].thousandths / 1000.0, SUGGEST_DECIMALS);
        strbuf_add(out, "}", 1);
    }
    strbuf_puts(out, "]}");
}

static reel_status make_suggestions(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct suggest_work *work = (struct suggest_work *)deferred;
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    struct user_ratings ratings = {0};
    struct suggestions list;
    TRY(user_ratings_load(request_service(deferred->work.request), snapshot, work->user_id, &ratings, err));
    TRY(suggest_one(work->model, snapshot->dataset, &ratings, &list, err));
    write_suggestions(out, snapshot, &list);
cleanup:
    user_ratings_free(&ratings);
    return status;
}

/* One batch: users of one model of one snapshot, known and without live ratings. */
static void run_suggestions(struct work **works, int n, int worker) {
    (void)worker;
    reel_error err = {REEL_OK, ""};
    int32_t *users = NULL;
    struct suggestions *lists = NULL;
    const struct suggest_work *first = (const struct suggest_work *)works[0];
    const struct snapshot *snapshot = request_snapshot(works[0]->request);
    reel_status status = MEM_RAW(&users, n, &err);
    if (status == REEL_OK) status = MEM_RAW(&lists, n, &err);
    for (int i = 0; status == REEL_OK && i < n; i++) users[i] = ((struct suggest_work *)works[i])->user;
    if (status == REEL_OK) status = suggest_many(first->model, snapshot->dataset, n, users, lists, &err);
    for (int i = 0; i < n; i++) {
        /* Finishing a request may end its snapshot, so each is asked for its own. */
        struct strbuf out = {0};
        if (status == REEL_OK) write_suggestions(&out, request_snapshot(works[i]->request), &lists[i]);
        deferred_answer((struct deferred *)works[i], status, &out, &err);
    }
    mem_free(users);
    mem_free(lists);
}

static struct answer_key suggestions_key(const struct snapshot *snapshot, const struct snapshot_model *model,
                                         int64_t id, uint64_t store_version) {
    return (struct answer_key){.route = &route_suggested_movies,
                               .snapshot = snapshot->generation,
                               .model = model_tag(model),
                               .subject = id,
                               .store_version = store_version};
}

static enum request_outcome get_suggested_movies(struct request *request) {
    int64_t id;
    const struct snapshot *snapshot = request_snapshot(request);
    if (request_path_int(request, "id", &id) < 1) return REQUEST_DONE;
    const struct snapshot_model *model = request_model(request, NULL);
    if (!model) return REQUEST_DONE;
    struct answer_key key = suggestions_key(snapshot, model, id, request_store_version(request, id));
    if (answer_from_cache(request, &key)) return REQUEST_DONE;
    int32_t user = reel_dataset_user_index(snapshot->dataset, id);
    int live = user_has_live(request_service(request), id);
    if (user < 0 && !live) {
        request_problem(request, 404, "there is no user %lld", (long long)id);
        return REQUEST_DONE;
    }
    struct suggest_work *work = deferred_new(request, sizeof *work, &key, make_suggestions);
    if (!work) return REQUEST_DONE;
    work->model = model;
    work->user_id = id;
    work->user = user;
    /* The address of a loaded model names the batch: same model, same snapshot. */
    return live ? deferred_submit(work) : deferred_submit_batch(work, (uint64_t)(uintptr_t)model, run_suggestions);
}

/* ---- the same beforehand: precompute jobs ---- */

enum { PRECOMPUTE_BATCH = 64 };

struct ahead {
    struct service *service;
    const struct snapshot *snapshot;
    const struct snapshot_model *model;
    int64_t bytes;
};

/* Puts the lists of n users without live ratings into the cache. */
static reel_status suggest_ahead(struct ahead *ahead, int n, const int32_t *users, struct suggestions *lists,
                                 reel_error *err) {
    const struct store *store = ahead->service->store;
    const struct reel_dataset *dataset = ahead->snapshot->dataset;
    TRY_RETURN(suggest_many(ahead->model, dataset, n, users, lists, err));
    for (int i = 0; i < n; i++) {
        int32_t id = dataset->user_ids[users[i]];
        uint64_t version = store ? store_user_version(store, id) : 0;
        if (user_has_live(ahead->service, id)) continue;
        struct answer_key key = suggestions_key(ahead->snapshot, ahead->model, id, version);
        struct strbuf out = {0};
        write_suggestions(&out, ahead->snapshot, &lists[i]);
        if (out.failed || !answer_into_cache(ahead->service, &key, &out)) {
            strbuf_free(&out);
            return error_no_memory(err, 0);
        }
        ahead->bytes += (int64_t)out.length;
        strbuf_free(&out);
    }
    return REEL_OK;
}

static reel_status suggest_all_ahead(struct ahead *ahead, reel_context *ctx, reel_error *err) {
    reel_status status = REEL_OK;
    const int32_t n_users = ahead->snapshot->dataset->n_users;
    struct suggestions *lists = NULL;
    int32_t users[PRECOMPUTE_BATCH], done = 0;
    TRY(MEM_RAW(&lists, PRECOMPUTE_BATCH, err));
    while (done < n_users && ahead->bytes < ahead->service->options.cache_bytes / 10 * 9) {
        int n = n_users - done < PRECOMPUTE_BATCH ? n_users - done : PRECOMPUTE_BATCH;
        for (int i = 0; i < n; i++) users[i] = done + i;
        TRY(context_check(ctx, err));
        TRY(suggest_ahead(ahead, n, users, lists, err));
        done += n;
        context_progress(ctx, "precompute", "users", done, n_users, NULL, 0, done == n_users);
    }
cleanup:
    mem_free(lists);
    return status;
}

reel_status precompute_suggestions(struct service *service, reel_context *ctx, const char *name, reel_error *err) {
    reel_status status;
    const struct snapshot *snapshot = snapshot_pin(service->snapshots, -1);
    struct ahead ahead = {service, snapshot, snapshot_model_find(snapshot, name), 0};
    if (!ahead.model)
        status = error_set(err, REEL_NOT_FOUND, "no model called %.40s is loaded", name);
    else
        status = suggest_all_ahead(&ahead, ctx, err);
    snapshot_release(snapshot);
    return status;
}

/* clang-format off */
const struct route route_suggested_movies = {
    .method = HTTP_GET,
    .pattern = "/api/v1/users/{id}/suggested_movies",
    .handle = get_suggested_movies,
    .summary = "The 150 best movies that the user has not rated, by the first model",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "the data set's user id"}, {0}},
    .answer = SCHEMA_OBJECT(JSON("suggested_movies"), JSON("suggested_movies":)
        SCHEMA_LIST(SCHEMA_OBJECT(MOVIE_KEYS JSON(,"estimated_score"),
            MOVIE_PROPERTIES JSON(,"estimated_score":) SCHEMA_SCORE))),
    .problems = "400 404",
};
/* clang-format on */

/* ---- GET /api/v1/movies/{id} ---- */

static enum request_outcome get_movie(struct request *request) {
    int32_t movie = path_movie(request);
    if (movie < 0) return REQUEST_DONE;
    struct strbuf out = {0};
    strbuf_add(&out, "{", 1);
    write_movie(&out, request_snapshot(request), movie);
    strbuf_add(&out, "}", 1);
    return answer_text(request, &out);
}

/* clang-format off */
const struct route route_movie = {
    .method = HTTP_GET,
    .pattern = "/api/v1/movies/{id}",
    .handle = get_movie,
    .summary = "Title and genres of a movie",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "the data set's movie id"}, {0}},
    .answer = SCHEMA_OBJECT(MOVIE_KEYS, MOVIE_PROPERTIES),
    .problems = "400 404",
};
/* clang-format on */

/* ---- GET /api/v1/movies/{id}/most_similar_movies ---- */

enum { SIMILAR_MAX = 100 };

struct similar_work {
    struct deferred deferred;
    int32_t movie;
};

static reel_status make_similar(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    const struct snapshot *snapshot = request_snapshot(deferred->work.request);
    reel_similar_movie items[SIMILAR_MAX];
    int n;
    TRY_RETURN(reel_similar_index_query(snapshot->genre_index, ((struct similar_work *)deferred)->movie, SIMILAR_MAX,
                                        items, &n, err));
    strbuf_puts(out, "{\"most_similar_movies\":[");
    for (int i = 0; i < n; i++) {
        strbuf_puts(out, i ? ",{" : "{");
        write_movie(out, snapshot, items[i].movie);
        strbuf_puts(out, ",\"cosine_similarity\":");
        json_write_decimal(out, (double)items[i].similarity, 2);
        strbuf_add(out, "}", 1);
    }
    strbuf_puts(out, "]}");
    return REEL_OK;
}

static enum request_outcome get_similar(struct request *request) {
    int32_t movie = path_movie(request);
    if (movie < 0) return REQUEST_DONE;
    struct answer_key key = {
        .route = &route_most_similar_movies, .snapshot = request_snapshot(request)->generation, .subject = movie};
    if (answer_from_cache(request, &key)) return REQUEST_DONE;
    struct similar_work *work = deferred_new(request, sizeof *work, &key, make_similar);
    if (!work) return REQUEST_DONE;
    work->movie = movie;
    return deferred_submit(work);
}

/* clang-format off */
const struct route route_most_similar_movies = {
    .method = HTTP_GET,
    .pattern = "/api/v1/movies/{id}/most_similar_movies",
    .handle = get_similar,
    .summary = "The 100 movies most like one by the cosine of their TF-IDF genre vectors",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "the data set's movie id"}, {0}},
    .answer = SCHEMA_OBJECT(JSON("most_similar_movies"), JSON("most_similar_movies":)
        SCHEMA_LIST(SCHEMA_OBJECT(MOVIE_KEYS JSON(,"cosine_similarity"),
            MOVIE_PROPERTIES JSON(,"cosine_similarity":{"type":"number","minimum":0,"maximum":1})))),
    .problems = "400 404",
};
/* clang-format on */
