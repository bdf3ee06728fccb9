#include "serve/recommend_json.h"

#include <math.h>
#include <strings.h>

#include "core/error.h"
#include "model/model.h"
#include "serve/json_write.h"

/* Models made of factors give the deviations of a known user's movies only when asked pair by pair. */
static reel_status add_deviations(const struct snapshot_model *model, int32_t user, reel_recommendation *items, int n,
                                  reel_error *err) {
    enum { CHUNK = 256 };
    int32_t users[CHUNK], movies[CHUNK];
    float scores[CHUNK], sds[CHUNK];
    for (int first = 0; first < n; first += CHUNK) {
        int chunk = n - first < CHUNK ? n - first : CHUNK;
        for (int i = 0; i < chunk; i++) users[i] = user, movies[i] = items[first + i].movie;
        TRY_RETURN(reel_scorer_predict(model->scorer, chunk, users, movies, NULL, scores, sds, err));
        for (int i = 0; i < chunk; i++) items[first + i].sd = sds[i];
    }
    return REEL_OK;
}

reel_status recommend_user(const struct snapshot_model *model, const struct user_ratings *ratings,
                           reel_recommend_query *query, reel_recommendation *items, int *n_items, reel_error *err) {
    if (!model->model->algorithm->explain) query->explain = 0;
    query->user = ratings->live ? -1 : ratings->user;
    query->n_rated = ratings->n;
    query->rated_movies = ratings->movies;
    query->rated_stars = ratings->stars;
    TRY_RETURN(reel_scorer_recommend(model->scorer, query, items, n_items, err));
    return query->user < 0 || *n_items == 0 || isfinite(items[0].sd)
               ? REEL_OK
               : add_deviations(model, query->user, items, *n_items, err);
}

static void write_because(struct strbuf *out, const struct snapshot *snapshot, const struct user_ratings *ratings,
                          const reel_recommendation *item) {
    strbuf_puts(out, ",\"because\":[");
    for (int i = 0; i < item->n_explain; i++) {
        int32_t movie = item->explain_movie[i];
        strbuf_puts(out, i ? ",{\"movieId\":" : "{\"movieId\":");
        json_write_int(out, snapshot->dataset->movie_ids[movie]);
        strbuf_puts(out, ",\"title\":");
        json_write_string(out, text_at(&snapshot->dataset->titles, movie));
        strbuf_puts(out, ",\"rating\":");
        json_write_stars(out, user_ratings_find(ratings, movie));
        strbuf_puts(out, ",\"share\":");
        json_write_decimal(out, (double)item->explain_share[i], 4);
        strbuf_add(out, "}", 1);
    }
    strbuf_add(out, "]", 1);
}

void write_recommendations(struct strbuf *out, const struct snapshot *snapshot, const struct user_ratings *ratings,
                           const reel_recommendation *items, int n, int explain) {
    strbuf_add(out, "[", 1);
    for (int i = 0; i < n; i++) {
        size_t size;
        const char *fragment = snapshot_fragment(snapshot, items[i].movie, &size);
        strbuf_puts(out, i ? ",{" : "{");
        strbuf_add(out, fragment, size);
        strbuf_puts(out, ",\"score\":");
        json_write_decimal(out, (double)items[i].score, 3);
        if (isfinite(items[i].sd)) {
            strbuf_puts(out, ",\"sd\":");
            json_write_decimal(out, (double)items[i].sd, 3);
        }
        if (explain) write_because(out, snapshot, ratings, &items[i]);
        strbuf_add(out, "}", 1);
    }
    strbuf_add(out, "]", 1);
}

int genre_find(const struct reel_dataset *dataset, const char *name) {
    for (int g = 0; g < dataset->n_genres; g++)
        if (strcasecmp(name, reel_dataset_genre(dataset, g)) == 0) return g;
    return -1;
}
