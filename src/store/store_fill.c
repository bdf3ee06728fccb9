/* Source system A's three collections (users, movies, metadata) as tables, made of a dataset. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/json_text.h"
#include "core/mem.h"
#include "store/store_state.h"

enum { CLUSTERS_MAX = 64 }; /* bits of a mask */

struct fill {
    struct sql *sql;
    const struct reel_dataset *dataset;
    const int32_t *user_clusters; /* (n_users,) or NULL */
    uint64_t *movie_clusters;     /* (n_movies,) bit c = a user of cluster c rated the movie */
};

/* ---- what the tables were made of ---- */

static void hash_text(XXH3_state_t *state, const struct text_column *column, int64_t n) {
    if (n > 0) XXH3_128bits_update(state, column->text, (size_t)column->offsets[n]);
}

static void hash_metadata(XXH3_state_t *state, const struct metadata *metadata) {
    const size_t n = (size_t)metadata->n;
    if (n == 0) return;
    XXH3_128bits_update(state, metadata->movies, n * sizeof *metadata->movies);
    XXH3_128bits_update(state, metadata->genres, n * sizeof *metadata->genres);
    XXH3_128bits_update(state, metadata->imdb_ids, n * sizeof *metadata->imdb_ids);
    XXH3_128bits_update(state, metadata->revenue, n * sizeof *metadata->revenue);
    XXH3_128bits_update(state, metadata->runtime, n * sizeof *metadata->runtime);
}

/* A hash of everything that goes into the tables: the ratings by the dataset's fingerprint. */
static reel_status hash_source(const struct fill *fill, char out[33], reel_error *err) {
    const struct reel_dataset *ds = fill->dataset;
    const size_t movies = (size_t)ds->n_movies;
    XXH3_state_t *state = XXH3_createState();
    if (!state) return error_set(err, REEL_NO_MEMORY, "out of memory for a hash state");
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, ds->fingerprint, strlen(ds->fingerprint));
    hash_text(state, &ds->titles, ds->n_movies);
    hash_text(state, &ds->genres, ds->n_genres);
    if (ds->movie_years) XXH3_128bits_update(state, ds->movie_years, movies * sizeof *ds->movie_years);
    if (ds->movie_genres) XXH3_128bits_update(state, ds->movie_genres, movies * sizeof *ds->movie_genres);
    if (ds->movie_imdb_ids) XXH3_128bits_update(state, ds->movie_imdb_ids, movies * sizeof *ds->movie_imdb_ids);
    if (ds->movie_tmdb_ids) XXH3_128bits_update(state, ds->movie_tmdb_ids, movies * sizeof *ds->movie_tmdb_ids);
    hash_metadata(state, &ds->metadata);
    if (fill->user_clusters)
        XXH3_128bits_update(state, fill->user_clusters, (size_t)ds->n_users * sizeof *fill->user_clusters);
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
    return REEL_OK;
}

static reel_status is_filled(struct fill *fill, const char *hash, int *filled, reel_error *err) {
    sqlite3_stmt *statement;
    TRY_RETURN(sql_query(fill->sql, &statement, err, "SELECT 1 FROM meta WHERE key = 'collections.hash' AND value = ?",
                         "t", hash));
    reel_status status = sql_step(fill->sql, statement, filled, err);
    sqlite3_finalize(statement);
    return status;
}

/* ---- rows ---- */

/* Binds and runs one row, and makes the statement ready for the next. */
static reel_status insert(struct fill *fill, sqlite3_stmt *statement, int bound, reel_error *err) {
    int row;
    if (bound != SQLITE_OK) return sql_fail(fill->sql, bound, err);
    reel_status status = sql_step(fill->sql, statement, &row, err);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static double mean_stars(const uint8_t *half_stars, int64_t n) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) sum += half_stars[i];
    return (double)sum / (2 * (double)n);
}

static reel_status fill_users(struct fill *fill, sqlite3_stmt *statement, reel_error *err) {
    const struct ratings *all = &fill->dataset->ratings;
    for (int32_t u = 0; u < fill->dataset->n_users; u++) {
        const int64_t begin = all->user_offsets[u], n = all->user_offsets[u + 1] - begin;
        int code = sqlite3_bind_int64(statement, 1, fill->dataset->user_ids[u]);
        if (n > 0) code |= sqlite3_bind_double(statement, 2, mean_stars(all->user_ratings + begin, n));
        code |= sqlite3_bind_int64(statement, 3, n);
        if (fill->user_clusters && fill->user_clusters[u] >= 0)
            code |= sqlite3_bind_int(statement, 4, fill->user_clusters[u]);
        TRY_RETURN(insert(fill, statement, code, err));
    }
    return REEL_OK;
}

/* ["Comedy","Drama"]: the names of the bits. */
static char *genres_json(uint64_t bits, const char *(*name)(const void *arg, int genre), const void *arg) {
    json_t *array = json_array();
    for (; array && bits; bits &= bits - 1) {
        if (json_array_append_new(array, json_string(name(arg, __builtin_ctzll(bits)))) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    char *text = json_text(array, JSON_COMPACT);
    json_decref(array);
    return text;
}

static const char *dataset_genre(const void *arg, int genre) {
    const struct reel_dataset *dataset = arg;
    return text_at(&dataset->genres, genre);
}

static const char *tmdb_genre(const void *arg, int genre) {
    (void)arg;
    return metadata_genre_name(genre);
}

static reel_status bind_json(sqlite3_stmt *statement, int column, char *text, int *code, reel_error *err) {
    if (!text) return error_no_memory(err, 0);
    *code |= sqlite3_bind_text(statement, column, text, -1, SQLITE_TRANSIENT);
    free(text);
    return REEL_OK;
}

static void clusters_text(uint64_t mask, char out[4 * CLUSTERS_MAX]) {
    size_t at = 0;
    out[at++] = '[';
    for (; mask; mask &= mask - 1)
        at += (size_t)snprintf(out + at, 8, "%s%d", at > 1 ? "," : "", __builtin_ctzll(mask));
    out[at++] = ']';
    out[at] = '\0';
}

static reel_status fill_movies(struct fill *fill, sqlite3_stmt *statement, reel_error *err) {
    const struct reel_dataset *ds = fill->dataset;
    const struct ratings *all = &ds->ratings;
    for (int32_t m = 0; m < ds->n_movies; m++) {
        const int64_t begin = all->movie_offsets[m], n = all->movie_offsets[m + 1] - begin;
        char clusters[4 * CLUSTERS_MAX];
        clusters_text(fill->movie_clusters ? fill->movie_clusters[m] : 0, clusters);
        int code = sqlite3_bind_int64(statement, 1, ds->movie_ids[m]);
        code |= sqlite3_bind_text(statement, 2, text_at(&ds->titles, m), -1, SQLITE_STATIC);
        if (ds->movie_years[m]) code |= sqlite3_bind_int(statement, 3, ds->movie_years[m]);
        if (n > 0) code |= sqlite3_bind_double(statement, 4, mean_stars(all->movie_ratings + begin, n));
        code |= sqlite3_bind_int64(statement, 5, n);
        TRY_RETURN(bind_json(statement, 6, genres_json(ds->movie_genres[m], dataset_genre, ds), &code, err));
        code |= sqlite3_bind_text(statement, 7, clusters, -1, SQLITE_TRANSIENT);
        TRY_RETURN(insert(fill, statement, code, err));
    }
    return REEL_OK;
}

/* A row a movie: links, and what The Movies Dataset adds where it was imported. */
static reel_status fill_metadata(struct fill *fill, sqlite3_stmt *statement, reel_error *err) {
    const struct reel_dataset *ds = fill->dataset;
    const struct metadata *metadata = &ds->metadata;
    for (int32_t m = 0, r = 0; m < ds->n_movies; m++) {
        const int has = r < metadata->n && metadata->movies[r] == m;
        int32_t imdb = ds->movie_imdb_ids ? ds->movie_imdb_ids[m] : -1,
                tmdb = ds->movie_tmdb_ids ? ds->movie_tmdb_ids[m] : -1;
        if (has && metadata->imdb_ids[r] >= 0) imdb = metadata->imdb_ids[r];
        int code = sqlite3_bind_int64(statement, 1, ds->movie_ids[m]);
        if (imdb >= 0) code |= sqlite3_bind_int64(statement, 2, imdb);
        if (tmdb >= 0) code |= sqlite3_bind_int64(statement, 3, tmdb);
        if (has && metadata->revenue[r] > 0) code |= sqlite3_bind_int64(statement, 4, metadata->revenue[r]);
        if (has && metadata->runtime[r] > 0) code |= sqlite3_bind_double(statement, 5, (double)metadata->runtime[r]);
        char *genres = has ? genres_json(metadata->genres[r], tmdb_genre, NULL)
                           : genres_json(ds->movie_genres[m], dataset_genre, ds);
        TRY_RETURN(bind_json(statement, 6, genres, &code, err));
        TRY_RETURN(insert(fill, statement, code, err));
        r += has;
    }
    return REEL_OK;
}

typedef reel_status (*fill_fn)(struct fill *fill, sqlite3_stmt *statement, reel_error *err);

static reel_status fill_table(struct fill *fill, const char *clear, const char *text, fill_fn rows, reel_error *err) {
    sqlite3_stmt *statement;
    TRY_RETURN(sql_exec(fill->sql, clear, err));
    TRY_RETURN(sql_query(fill->sql, &statement, err, text, ""));
    reel_status status = rows(fill, statement, err);
    sqlite3_finalize(statement);
    return status;
}

static reel_status put_meta(struct fill *fill, const char *key, const char *value, reel_error *err) {
    return sql_run(fill->sql, err, "INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)", "tt", key, value);
}

static reel_status fill_all(struct fill *fill, const char *hash, reel_error *err) {
    const struct reel_dataset *ds = fill->dataset;
    TRY_RETURN(fill_table(fill, "DELETE FROM users",
                          "INSERT INTO users(user_id, user_rt_mean, n_ratings, cluster) VALUES(?, ?, ?, ?)", fill_users,
                          err));
    TRY_RETURN(fill_table(fill, "DELETE FROM movies",
                          "INSERT INTO movies(movie_id, title, year, movie_rt_mean, popularity, genres, clusters)"
                          " VALUES(?, ?, ?, ?, ?, ?, ?)",
                          fill_movies, err));
    TRY_RETURN(fill_table(fill, "DELETE FROM metadata",
                          "INSERT INTO metadata(movie_id, imdb_id, tmdb_id, revenue, runtime, genres)"
                          " VALUES(?, ?, ?, ?, ?, ?)",
                          fill_metadata, err));
    uint64_t every = ds->n_genres >= 64 ? UINT64_MAX : ((uint64_t)1 << ds->n_genres) - 1;
    char *genres = genres_json(every, dataset_genre, ds);
    if (!genres) return error_no_memory(err, 0);
    reel_status status = put_meta(fill, "dataset.genres", genres, err);
    free(genres);
    if (status == REEL_OK) status = put_meta(fill, "dataset.fingerprint", ds->fingerprint, err);
    if (status == REEL_OK) status = put_meta(fill, "collections.hash", hash, err);
    return status;
}

/* Fills movie_clusters. */
static reel_status spread_clusters(struct fill *fill, reel_error *err) {
    const struct reel_dataset *ds = fill->dataset;
    if (!fill->user_clusters) return REEL_OK;
    TRY_RETURN(MEM_NEW(&fill->movie_clusters, ds->n_movies, err));
    for (int32_t u = 0; u < ds->n_users; u++) {
        int32_t cluster = fill->user_clusters[u];
        if (cluster < -1 || cluster >= CLUSTERS_MAX)
            return error_set(err, REEL_INVALID_ARGUMENT, "cluster %d is out of -1..%d", cluster, CLUSTERS_MAX - 1);
        for (int64_t i = ds->ratings.user_offsets[u]; cluster >= 0 && i < ds->ratings.user_offsets[u + 1]; i++)
            fill->movie_clusters[ds->ratings.user_movies[i]] |= (uint64_t)1 << cluster;
    }
    return REEL_OK;
}

reel_status store_fill(struct store *store, const struct reel_dataset *dataset, const int32_t *user_clusters,
                       reel_error *err) {
    reel_status status = REEL_OK;
    struct fill fill = {.sql = &store->writer, .dataset = dataset, .user_clusters = user_clusters};
    char hash[33];
    int filled = 0;
    TRY(store_check_writable(store, err));
    TRY(hash_source(&fill, hash, err));
    TRY(spread_clusters(&fill, err));
    pthread_mutex_lock(&store->writer.mutex);
    status = is_filled(&fill, hash, &filled, err);
    if (status == REEL_OK && !filled) status = sql_begin(fill.sql, err);
    if (status == REEL_OK && !filled) status = sql_end(fill.sql, fill_all(&fill, hash, err), err);
    pthread_mutex_unlock(&store->writer.mutex);
cleanup:
    mem_free(fill.movie_clusters);
    return status;
}
