#include "data/explore_facts.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "data/display_text.h"
#include "data/explore_ratings.h"
#include "data/explore_stats.h"

#define NO_GENRES "(no genres listed)"
enum { GENRES_MAX = 64 };

/* n zeroed elements in the arena. */
static reel_status arena_new(struct arena *arena, void **out, int64_t n, size_t size, reel_error *err) {
    size_t bytes = (size_t)n * size;
    *out = arena_alloc(arena, bytes);
    if (!*out) return error_no_memory(err, bytes);
    memset(*out, 0, bytes);
    return REEL_OK;
}
#define ARENA_NEW(arena, out, n, err) arena_new((arena), (void **)(out), (n), sizeof **(out), (err))

static reel_status keep_text(struct arena *arena, const char *text, const char **out, reel_error *err) {
    *out = text_clean(arena, text);
    return *out ? REEL_OK : error_no_memory(err, strlen(text));
}

/* ---- genres ---- */

/* Genres a movie, movies a genre, and movies a pair of genres. */
static reel_status count_genres(const struct reel_dataset *ds, struct arena *arena, struct movie_facts *out,
                                int64_t *n_without, reel_error *err) {
    reel_status status = REEL_OK;
    int64_t *counts = NULL;
    int32_t n_genres = ds->n_genres;
    *n_without = 0;
    TRY(ARENA_NEW(arena, &out->together, (int64_t)n_genres * n_genres, err));
    TRY(MEM_RAW(&counts, ds->n_movies, err));
    for (int32_t m = 0; m < ds->n_movies; m++) {
        int set[GENRES_MAX], n = 0;
        for (uint64_t bits = ds->movie_genres[m]; bits; bits &= bits - 1) set[n++] = __builtin_ctzll(bits);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) out->together[set[i] * n_genres + set[j]]++;
        counts[m] = n ? n : 1;
        *n_without += n == 0;
    }
    TRY(distribution_of(counts, ds->n_movies, arena, &out->genres_each, err));
cleanup:
    mem_free(counts);
    return status;
}

static int by_genre_count(const void *left, const void *right) {
    const struct genre_fact *a = left, *b = right;
    return a->movies != b->movies ? (a->movies < b->movies) - (a->movies > b->movies) : strcmp(a->name, b->name);
}

static int by_pair_count(const void *left, const void *right) {
    const struct genre_pair_fact *a = left, *b = right;
    if (a->movies != b->movies) return (a->movies < b->movies) - (a->movies > b->movies);
    return a->first != b->first ? a->first - b->first : a->second - b->second;
}

static reel_status rank_genres(struct arena *arena, struct movie_facts *out, int64_t n_without, reel_error *err) {
    int32_t n = out->n_genres;
    TRY_RETURN(ARENA_NEW(arena, &out->genres, n + 1, err));
    TRY_RETURN(ARENA_NEW(arena, &out->pairs, (int64_t)n * n, err));
    if (n_without) out->genres[out->n_ranked_genres++] = (struct genre_fact){NO_GENRES, n_without};
    for (int32_t g = 0; g < n; g++) {
        int64_t movies = out->together[(int64_t)g * n + g];
        if (movies) out->genres[out->n_ranked_genres++] = (struct genre_fact){out->genre_names[g], movies};
        for (int32_t h = g + 1; h < n; h++) {
            int64_t both = out->together[(int64_t)g * n + h];
            if (both == 0) continue;
            out->pairs[out->n_pairs++] = (struct genre_pair_fact){g, h, both};
            out->n_pair_occurrences += both;
        }
    }
    qsort(out->genres, (size_t)out->n_ranked_genres, sizeof *out->genres, by_genre_count);
    qsort(out->pairs, (size_t)out->n_pairs, sizeof *out->pairs, by_pair_count);
    return REEL_OK;
}

/* ---- movies ---- */

static reel_status count_years(const struct reel_dataset *ds, struct arena *arena, struct movie_facts *out,
                               reel_error *err) {
    reel_status status = REEL_OK;
    int64_t *years = NULL, n = 0;
    TRY(MEM_RAW(&years, ds->n_movies, err));
    for (int32_t m = 0; m < ds->n_movies; m++)
        if (ds->movie_years[m] > 0) years[n++] = ds->movie_years[m];
    out->n_without_year = ds->n_movies - n;
    TRY(distribution_of(years, n, arena, &out->years, err));
cleanup:
    mem_free(years);
    return status;
}

static reel_status movie_facts_of(const struct reel_dataset *ds, struct arena *arena, struct movie_facts *out,
                                  reel_error *err) {
    const char *placeholders = tensor_set_get(ds->set, "n_placeholders");
    int64_t n_without;
    out->n = ds->n_movies;
    out->n_placeholders = placeholders ? strtoll(placeholders, NULL, 10) : 0;
    if (out->n_placeholders < 0 || out->n_placeholders > out->n) out->n_placeholders = 0;
    out->n_genres = ds->n_genres;
    TRY_RETURN(ARENA_NEW(arena, &out->genre_names, ds->n_genres, err));
    for (int32_t g = 0; g < ds->n_genres; g++)
        TRY_RETURN(keep_text(arena, text_at(&ds->genres, g), &out->genre_names[g], err));
    out->n_without_year = out->n;
    if (out->n_placeholders == out->n) return REEL_OK; /* nothing is known of genres and years */
    TRY_RETURN(count_genres(ds, arena, out, &n_without, err));
    TRY_RETURN(rank_genres(arena, out, n_without, err));
    return count_years(ds, arena, out, err);
}

/* ---- votes ---- */

static reel_status keep_titles(struct arena *arena, struct ranking *ranking, reel_error *err) {
    for (int i = 0; i < ranking->n; i++) {
        if (ranking->first[i].title)
            TRY_RETURN(keep_text(arena, ranking->first[i].title, &ranking->first[i].title, err));
        if (ranking->last[i].title) TRY_RETURN(keep_text(arena, ranking->last[i].title, &ranking->last[i].title, err));
    }
    return REEL_OK;
}

static reel_status keep_all_titles(struct arena *arena, struct votes_facts *votes, reel_error *err) {
    TRY_RETURN(keep_titles(arena, &votes->by_votes, err));
    TRY_RETURN(keep_titles(arena, &votes->by_mean, err));
    return keep_titles(arena, &votes->by_mean_of_many, err);
}

static reel_status rating_facts_of(const struct rating_sums *sums, const struct explore_facts *facts,
                                   struct arena *arena, struct rating_facts *out, reel_error *err) {
    struct value_count values[10];
    int64_t n = 0;
    memcpy(out->histogram, sums->histogram, sizeof out->histogram);
    for (int h = 1; h <= 10; h++)
        if (sums->histogram[h]) values[n++] = (struct value_count){h, sums->histogram[h]};
    out->spread = spread_of_counts(values, n, 0.5);
    double pairs = (double)facts->users.votes.votes.spread.n * (double)facts->movies.votes.votes.spread.n;
    out->density = pairs > 0 ? (double)out->spread.n / pairs : 0.0;
    out->n_without_time = sums->n_without_time;
    out->first_time = sums->first_time;
    out->last_time = sums->last_time;
    return months_of(sums->days, arena, out, err);
}

static reel_status add_votes(reel_context *ctx, const struct reel_dataset *ds, struct explore_facts *out,
                             reel_error *err) {
    reel_status status = REEL_OK;
    struct arena *arena = &out->arena;
    struct rating_sums sums;
    TRY(rating_sums_of(ctx, &ds->ratings, &sums, err));
    struct votes_source users = {ds->n_users, ds->user_ids, ds->ratings.user_offsets, sums.user_sums, NULL};
    struct votes_source movies = {ds->n_movies, ds->movie_ids, ds->ratings.movie_offsets, sums.movie_sums, &ds->titles};
    out->users.n = ds->n_users;
    TRY(votes_facts_of(&users, arena, &out->users.votes, err));
    TRY(context_check(ctx, err));
    TRY(votes_facts_of(&movies, arena, &out->movies.votes, err));
    TRY(keep_all_titles(arena, &out->movies.votes, err));
    TRY(rating_facts_of(&sums, out, arena, &out->ratings, err));
cleanup:
    rating_sums_free(&sums);
    return status;
}

reel_status explore_facts_of(reel_context *ctx, const struct reel_dataset *dataset, const char *source,
                             struct explore_facts *out, reel_error *err) {
    *out = (struct explore_facts){0};
    TRY_RETURN(keep_text(&out->arena, source, &out->source, err));
    TRY_RETURN(keep_text(&out->arena, dataset->fingerprint, &out->fingerprint, err));
    TRY_RETURN(movie_facts_of(dataset, &out->arena, &out->movies, err));
    return add_votes(ctx, dataset, out, err);
}

void explore_facts_free(struct explore_facts *facts) {
    arena_free(&facts->arena);
    *facts = (struct explore_facts){0};
}
