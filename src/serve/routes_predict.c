/* Scores of given pairs. */
#include <math.h>
#include <stdlib.h>

#include "core/error.h"
#include "model/scorer.h"
#include "serve/deferred.h"
#include "serve/json_schema.h"
#include "serve/json_write.h"
#include "serve/routes.h"
#include "serve/schemas.h"
#include "serve/user_ratings.h"

enum { PAIRS_MAX = 1000 };

struct predict_work {
    struct deferred deferred;
    const struct snapshot_model *model;
    int n;
    int64_t user_ids[PAIRS_MAX], movie_ids[PAIRS_MAX];
    int32_t users[PAIRS_MAX], movies[PAIRS_MAX]; /* dataset indices, -1 = unknown */
    uint8_t live[PAIRS_MAX];                     /* 1 = the user has live ratings, still to be folded in */
    float scores[PAIRS_MAX], sds[PAIRS_MAX];
};

/* Scores of all movies for one user whose ratings are folded in. */
struct folded {
    float *scores, *sds;
};

static reel_status fold(const struct predict_work *work, int64_t user_id, struct folded *folded, reel_error *err) {
    const struct request *request = work->deferred.work.request;
    const struct snapshot *snapshot = request_snapshot(request);
    struct user_ratings ratings;
    if (!folded->scores) TRY_RETURN(MEM_RAW(&folded->scores, snapshot->dataset->n_movies, err));
    if (!folded->sds) TRY_RETURN(MEM_RAW(&folded->sds, snapshot->dataset->n_movies, err));
    TRY_RETURN(user_ratings_load(request_service(request), snapshot, user_id, &ratings, err));
    reel_status status = scorer_visitor_scores(work->model->scorer, ratings.n, ratings.movies, ratings.stars, 0,
                                               folded->scores, folded->sds, err);
    user_ratings_free(&ratings);
    return status;
}

/* The pairs from `first` on that are of the same user get the folded scores. */
static void take_folded(struct predict_work *work, int first, const struct folded *folded) {
    for (int i = first; i < work->n; i++) {
        if (work->user_ids[i] != work->user_ids[first]) continue;
        work->live[i] = 0;
        if (work->movies[i] < 0) continue;
        work->scores[i] = scorer_clip(work->model->scorer, folded->scores[work->movies[i]]);
        work->sds[i] = folded->sds[work->movies[i]];
    }
}

/* Scores of users with live ratings take the place of the model's. */
static reel_status predict_live(struct predict_work *work, reel_error *err) {
    reel_status status = REEL_OK;
    struct folded folded = {0};
    for (int i = 0; i < work->n; i++) {
        if (!work->live[i]) continue;
        TRY(fold(work, work->user_ids[i], &folded, err));
        take_folded(work, i, &folded);
    }
cleanup:
    mem_free(folded.scores);
    mem_free(folded.sds);
    return status;
}

static reel_status make_predictions(struct deferred *deferred, struct strbuf *out, reel_error *err) {
    struct predict_work *work = (struct predict_work *)deferred;
    TRY_RETURN(reel_scorer_predict(work->model->scorer, work->n, work->users, work->movies, NULL, work->scores,
                                   work->sds, err));
    TRY_RETURN(predict_live(work, err));
    strbuf_puts(out, "{\"model\":");
    json_write_string(out, work->model->name);
    strbuf_puts(out, ",\"predictions\":[");
    for (int i = 0; i < work->n; i++) {
        strbuf_puts(out, i ? ",{\"userId\":" : "{\"userId\":");
        json_write_int(out, work->user_ids[i]);
        strbuf_puts(out, ",\"movieId\":");
        json_write_int(out, work->movie_ids[i]);
        strbuf_puts(out, ",\"score\":");
        json_write_decimal(out, (double)work->scores[i], 3);
        if (isfinite(work->sds[i])) {
            strbuf_puts(out, ",\"sd\":");
            json_write_decimal(out, (double)work->sds[i], 3);
        }
        strbuf_add(out, "}", 1);
    }
    strbuf_puts(out, "]}");
    return REEL_OK;
}

/* clang-format off */
static const char predictions_body[] = JSON({"type":"object","additionalProperties":false,"required":["pairs"],"properties":{
    "pairs":{"type":"array","maxItems":1000,"items":)
        SCHEMA_OBJECT(JSON("userId","movieId"), JSON("userId":) SCHEMA_ID JSON(,"movieId":) SCHEMA_ID) JSON(},
    "model":) SCHEMA_MODEL_NAME JSON(}});
/* clang-format on */

/* 1 if live ratings of the user are to be folded in: a user unknown to the data set may have taken all of them back. */
static int needs_fold(const struct request *request, int64_t user_id, int32_t user) {
    struct user_ratings ratings;
    if (!user_has_live(request_service(request), user_id)) return 0;
    if (user >= 0) return 1;
    if (user_ratings_load(request_service(request), request_snapshot(request), user_id, &ratings, NULL) != REEL_OK)
        return 0;
    user_ratings_free(&ratings);
    return 1;
}

static enum request_outcome post_predictions(struct request *request) {
    if (!request_body_fits(request, predictions_body)) return REQUEST_DONE;
    const json_t *body = request_json(request), *pairs = json_object_get(body, "pairs");
    const struct snapshot_model *model = request_model(request, json_string_value(json_object_get(body, "model")));
    if (!model) return REQUEST_DONE;
    struct predict_work *work = deferred_new(request, sizeof *work, NULL, make_predictions);
    if (!work) return REQUEST_DONE;
    const struct reel_dataset *dataset = request_snapshot(request)->dataset;
    work->model = model;
    work->n = (int)json_array_size(pairs);
    for (int i = 0; i < work->n; i++) {
        const json_t *pair = json_array_get(pairs, (size_t)i);
        work->user_ids[i] = json_as_int(json_object_get(pair, "userId"));
        work->movie_ids[i] = json_as_int(json_object_get(pair, "movieId"));
        work->users[i] = reel_dataset_user_index(dataset, work->user_ids[i]);
        work->movies[i] = reel_dataset_movie_index(dataset, work->movie_ids[i]);
        work->live[i] = (uint8_t)needs_fold(request, work->user_ids[i], work->users[i]);
    }
    return deferred_submit(work);
}

/* clang-format off */
const struct route route_predictions = {
    .method = HTTP_POST,
    .pattern = "/api/v1/predictions",
    .handle = post_predictions,
    .summary = "Scores of (user, movie) pairs; of users and movies that the model does not know, what is known (the mean, a bias)",
    .body = predictions_body,
    .answer = SCHEMA_OBJECT(JSON("model","predictions"), JSON("model":) SCHEMA_TEXT JSON(,"predictions":)
        SCHEMA_LIST(JSON({"type":"object","additionalProperties":false,"required":["userId","movieId","score"],
            "properties":{"userId":) SCHEMA_ID JSON(,"movieId":) SCHEMA_ID JSON(,"score":) SCHEMA_SCORE
            JSON(,"sd":{"type":"number","minimum":0}}}))),
    .problems = "400 404 413 415",
};
/* clang-format on */
