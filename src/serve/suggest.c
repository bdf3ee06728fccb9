#include "serve/suggest.h"

#include <math.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/top_n.h"
#include "model/scorer.h"
#include "serve/json_write.h"

/* Lists come from the engine in the order of raw scores; some more than wanted are asked for, so that movies whose
 * shown scores tie with the last one's are all there to be put into order. */
enum { ROOM = SUGGEST_MAX + 50 };

reel_status recommend_on_this_thread(const struct snapshot_model *model, int64_t n_users, const int32_t *users, int n,
                                     int32_t *movies, float *scores, reel_error *err) {
    reel_status status = REEL_OK;
    reel_context *ctx = NULL;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = 1;
    options.device = "cpu";
    TRY(reel_context_new(&options, &ctx, err));
    /* A copy that shares everything with the model's scorer but the threads. */
    struct reel_scorer scorer = *model->scorer;
    scorer.ctx = ctx;
    TRY(context_backend(ctx, &scorer.backend, err));
    scorer.device = scorer.backend;
    scorer.bulk = (struct scorer_bulk){0};
    TRY(reel_scorer_recommend_many(&scorer, n_users, users, n, NULL, movies, scores, err));
cleanup:
    reel_context_free(ctx);
    return status;
}

static int compare_suggestions(const void *a, const void *b) {
    const struct suggestion *x = a, *y = b;
    if (x->thousandths != y->thousandths) return x->thousandths > y->thousandths ? -1 : 1;
    return (x->movie > y->movie) - (x->movie < y->movie);
}

static struct suggestion shown(int32_t movie, float score) {
    return (struct suggestion){movie, (int32_t)json_decimal_units((double)score, SUGGEST_DECIMALS)};
}

/* Selects from all scores (n_movies,) raw; the seen ones are -infinity. */
static void select_shown(const struct reel_scorer *scorer, const float *scores, struct suggestions *out) {
    uint64_t keys[2 * SUGGEST_MAX + 32];
    struct top_n top;
    top_n_init(&top, keys, SUGGEST_MAX);
    for (int32_t m = 0; m < scorer->dataset->n_movies; m++) {
        if (!(scores[m] > -INFINITY)) continue;
        float units = (float)shown(m, scorer_clip(scorer, scores[m])).thousandths;
        if (units >= top.floor) top_n_offer(&top, units, (uint32_t)m);
    }
    out->n = (int)top_n_finish(&top);
    for (int i = 0; i < out->n; i++)
        out->items[i] = (struct suggestion){(int32_t)top_n_rank(keys[i]), (int32_t)top_n_score(keys[i])};
}

reel_status suggest_one(const struct snapshot_model *model, const struct reel_dataset *dataset,
                        const struct user_ratings *ratings, struct suggestions *out, reel_error *err) {
    reel_status status = REEL_OK;
    float *scores = NULL;
    TRY(MEM_RAW(&scores, dataset->n_movies, err));
    if (ratings->live)
        TRY(scorer_visitor_scores(model->scorer, ratings->n, ratings->movies, ratings->stars, 0, scores, NULL, err));
    else
        TRY(scorer_user_scores(model->scorer, ratings->user, 0, scores, NULL, err));
    if (!ratings->live)
        scorer_mask_seen(model->scorer, ratings->user, scores);
    else
        for (int64_t i = 0; i < ratings->n; i++) scores[ratings->movies[i]] = -INFINITY;
    select_shown(model->scorer, scores, out);
cleanup:
    mem_free(scores);
    return status;
}

/* From a list of up to ROOM movies by raw score; 0 = it does not say enough. */
static int from_list(const int32_t *movies, const float *scores, struct suggestions *out) {
    struct suggestion items[ROOM];
    int n = 0;
    for (; n < ROOM && movies[n] >= 0; n++) items[n] = shown(movies[n], scores[n]);
    if (n == ROOM && items[ROOM - 1].thousandths == items[SUGGEST_MAX - 1].thousandths) return 0;
    qsort(items, (size_t)n, sizeof *items, compare_suggestions);
    out->n = n < SUGGEST_MAX ? n : SUGGEST_MAX;
    for (int i = 0; i < out->n; i++) out->items[i] = items[i];
    return 1;
}

reel_status suggest_many(const struct snapshot_model *model, const struct reel_dataset *dataset, int64_t n_users,
                         const int32_t *users, struct suggestions *out, reel_error *err) {
    reel_status status = REEL_OK;
    int32_t *movies = NULL;
    float *scores = NULL;
    TRY(MEM_RAW(&movies, n_users * ROOM, err));
    TRY(MEM_RAW(&scores, n_users * ROOM, err));
    TRY(recommend_on_this_thread(model, n_users, users, ROOM, movies, scores, err));
    for (int64_t i = 0; i < n_users; i++)
        if (!from_list(movies + i * ROOM, scores + i * ROOM, &out[i]))
            TRY(suggest_one(model, dataset, &(struct user_ratings){.user = users[i]}, &out[i], err));
cleanup:
    mem_free(movies);
    mem_free(scores);
    return status;
}
