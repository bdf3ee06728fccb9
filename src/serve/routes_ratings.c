/* Live ratings: on disk before they are answered. */
#include <stdlib.h>
#include <time.h>

#include "core/error.h"
#include "serve/deferred.h"
#include "serve/json_schema.h"
#include "serve/json_write.h"
#include "serve/routes.h"
#include "serve/schemas.h"
#include "serve/user_ratings.h"

/* A write on its way to the disk. */
struct rating_write {
    struct request *request;
    int32_t user_id;
    struct store_rating rating;
};

static void write_rating(struct strbuf *out, const struct rating_write *write) {
    strbuf_puts(out, "{\"userId\":");
    json_write_int(out, write->user_id);
    strbuf_puts(out, ",\"movieId\":");
    json_write_int(out, write->rating.movie_id);
    strbuf_puts(out, ",\"rating\":");
    if (write->rating.half_stars)
        json_write_stars(out, write->rating.half_stars);
    else
        strbuf_puts(out, "null");
    strbuf_puts(out, ",\"time\":");
    json_write_int(out, write->rating.time);
    strbuf_add(out, "}", 1);
}

/* On the store's writer thread. */
static void written(void *arg, reel_status status, const char *message) {
    struct rating_write *write = arg;
    struct request *request = write->request;
    (void)message; /* names files: the store's log has it */
    if (status == REEL_OK) {
        struct strbuf out = {0};
        write_rating(&out, write);
        answer_text(request, &out);
    } else {
        request_problem(request, 503, "the rating could not be written to disk; nothing was changed");
    }
    free(write);
    request_finish(request);
}

/* The user id of the path as the store keeps it. */
static int path_user(struct request *request, int32_t *user_id) {
    int64_t id;
    if (request_path_int(request, "id", &id) < 1) return 0;
    if (id > INT32_MAX) {
        request_problem(request, 404, "there is no user %lld; ids end at %d", (long long)id, INT32_MAX);
        return 0;
    }
    *user_id = (int32_t)id;
    return 1;
}

static int known_movie(struct request *request, int64_t id) {
    if (reel_dataset_movie_index(request_snapshot(request)->dataset, id) >= 0) return 1;
    request_problem(request, 404, "there is no movie %lld", (long long)id);
    return 0;
}

static int need_store(struct request *request) {
    if (request_service(request)->store) return 1;
    request_problem(request, 403, "the service was started without a store: nothing can be written");
    return 0;
}

static enum request_outcome submit(struct request *request, int32_t user_id, int64_t movie_id, int half_stars) {
    reel_error err;
    struct rating_write *write = malloc(sizeof *write);
    if (!write) {
        error_no_memory(&err, sizeof *write);
        request_fail(request, &err);
        return REQUEST_DONE;
    }
    *write = (struct rating_write){request, user_id, {(int32_t)movie_id, (uint8_t)half_stars, (uint32_t)time(NULL)}};
    reel_status status = store_rate(request_service(request)->store, user_id, write->rating, written, write, &err);
    if (status == REEL_OK) return REQUEST_DEFERRED;
    free(write);
    if (status == REEL_UNSUPPORTED || status == REEL_IO)
        request_problem(request, 503, "the store cannot be written now (it is read-only); ratings can only be read");
    else
        request_fail(request, &err);
    return REQUEST_DONE;
}

/* ---- POST /api/v1/users/{id}/ratings ---- */

/* clang-format off */
static const char rate_body[] = SCHEMA_OBJECT(JSON("movieId","rating"),
    JSON("movieId":) SCHEMA_ID JSON(,"rating":) SCHEMA_STARS);
#define SCHEMA_RATING_ANSWER SCHEMA_OBJECT(JSON("userId","movieId","rating","time"),                      \
    JSON("userId":) SCHEMA_ID JSON(,"movieId":) SCHEMA_ID JSON(,"rating":{"type":["number","null"]},"time":) SCHEMA_COUNT)
/* clang-format on */

static enum request_outcome post_rating(struct request *request) {
    int32_t user_id;
    if (!path_user(request, &user_id) || !need_store(request) || !request_body_fits(request, rate_body))
        return REQUEST_DONE;
    const json_t *body = request_json(request);
    int64_t movie_id = json_as_int(json_object_get(body, "movieId"));
    if (!known_movie(request, movie_id)) return REQUEST_DONE;
    int half_stars = (int)(2 * json_number_value(json_object_get(body, "rating")));
    return submit(request, user_id, movie_id, half_stars);
}

/* clang-format off */
const struct route route_rate = {
    .method = HTTP_POST,
    .pattern = "/api/v1/users/{id}/ratings",
    .handle = post_rating,
    .access = ACCESS_WRITE,
    .summary = "Rates a movie, anew or again; on disk before the answer. Users unknown to the data set are welcome",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "user id"}, {0}},
    .body = rate_body,
    .answer = SCHEMA_RATING_ANSWER,
    .problems = "400 404 413 415 422",
};
/* clang-format on */

/* ---- DELETE /api/v1/users/{id}/ratings/{movieId} ---- */

static int has_rated(struct request *request, int32_t user_id, int64_t movie_id) {
    reel_error err;
    struct user_ratings ratings;
    const struct snapshot *snapshot = request_snapshot(request);
    if (user_ratings_load(request_service(request), snapshot, user_id, &ratings, &err) != REEL_OK) {
        request_fail(request, &err);
        return 0;
    }
    int rated = user_ratings_find(&ratings, reel_dataset_movie_index(snapshot->dataset, movie_id));
    user_ratings_free(&ratings);
    if (!rated) request_problem(request, 404, "user %d has not rated movie %lld", user_id, (long long)movie_id);
    return rated;
}

static enum request_outcome delete_rating(struct request *request) {
    int32_t user_id;
    int64_t movie_id;
    if (!path_user(request, &user_id) || request_path_int(request, "movieId", &movie_id) < 1 || !need_store(request) ||
        !known_movie(request, movie_id) || !has_rated(request, user_id, movie_id))
        return REQUEST_DONE;
    return submit(request, user_id, movie_id, 0);
}

/* clang-format off */
const struct route route_unrate = {
    .method = HTTP_DELETE,
    .pattern = "/api/v1/users/{id}/ratings/{movieId}",
    .handle = delete_rating,
    .access = ACCESS_WRITE,
    .summary = "Takes a rating away, the data set's own too; on disk before the answer",
    .parameters = (const struct parameter[]){{"id", "path", SCHEMA_PATH_ID, "user id"},
                                             {"movieId", "path", SCHEMA_PATH_ID, "the data set's movie id"}, {0}},
    .answer = SCHEMA_RATING_ANSWER,
    .problems = "400 404",
};
/* clang-format on */
