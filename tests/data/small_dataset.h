/* A small valid dataset as a tensor set, for tests that open, corrupt and train on one. */
#ifndef TESTS_DATA_SMALL_DATASET_H
#define TESTS_DATA_SMALL_DATASET_H

#include <unistd.h>

#include "core/tensor_file.h"
#include "data/dataset.h"
#include "data/random_ratings.h"

/* Left out, or made one entry shorter, when the name matches; NULL = a complete dataset. */
struct small_dataset_fault {
    const char *missing, *shortened, *mistyped;
};

static inline void add_tensor(struct tensor_set *set, const char *name, enum dtype dtype, int64_t n, const void *data,
                              const struct small_dataset_fault *fault) {
    reel_error err;
    void *to;
    if (fault->missing && strcmp(fault->missing, name) == 0) return;
    if (fault->shortened && strcmp(fault->shortened, name) == 0) n--;
    if (fault->mistyped && strcmp(fault->mistyped, name) == 0) dtype = dtype == DTYPE_F64 ? DTYPE_I8 : DTYPE_F64;
    REQUIRE_OK(tensor_set_add1(set, name, dtype, n, &to, &err), err);
    if (n && dtype != DTYPE_F64) memcpy(to, data, (size_t)n * dtype_size(dtype));
}

/* Text i is texts[i % n_texts]. */
static inline void add_texts(struct tensor_set *set, const char *offsets_name, const char *texts_name, size_t n,
                             const char *const *texts, size_t n_texts, const struct small_dataset_fault *fault) {
    size_t bytes = 1;
    for (size_t i = 0; i < n; i++) bytes += strlen(texts[i % n_texts]) + 1;
    int64_t *offsets = calloc(n + 1, sizeof *offsets);
    char *all = calloc(bytes, 1);
    if (!offsets || !all) exit(1);
    for (size_t i = 0; i < n; i++) offsets[i + 1] = offsets[i] + (int64_t)strlen(texts[i % n_texts]) + 1;
    for (size_t i = 0; i < n; i++) memcpy(all + offsets[i], texts[i % n_texts], strlen(texts[i % n_texts]));
    add_tensor(set, offsets_name, DTYPE_I64, (int64_t)n + 1, offsets, fault);
    add_tensor(set, texts_name, DTYPE_U8, offsets[n], all, fault);
    free(offsets), free(all);
}

static inline void add_genome(struct tensor_set *set, const struct small_dataset_fault *fault) {
    static const char *const tags[] = {"dark", "funny", "slow"};
    const int32_t movies[] = {1, 4};
    reel_error err;
    float *relevance;
    add_tensor(set, "genome_movies", DTYPE_I32, 2, movies, fault);
    if (!fault->missing || strcmp(fault->missing, "genome_relevance") != 0) {
        REQUIRE_OK(
            tensor_set_add(set, "genome_relevance", DTYPE_F32, 2, (const int64_t[]){2, 3}, (void **)&relevance, &err),
            err);
        for (int i = 0; i < 6; i++) relevance[i] = (float)i / 6;
    }
    add_texts(set, "genome_tag_offsets", "genome_tags", 3, tags, 3, fault);
}

/* User ids are 10, 20, ...; movie ids 5, 10, ... */
static inline struct tensor_set *small_dataset_set(const struct ratings *r, const struct small_dataset_fault *fault) {
    static const char *const genres[] = {"Action", "Comedy", "Drama"};
    static const char *const titles[] = {"Even, The (2001)", "Odd (1999)"};
    static const char *const tags[] = {"good", "b\xc3\xa4r"};
    struct tensor_set *set;
    reel_error err;
    int32_t *user_ids = malloc((size_t)r->n_users * sizeof *user_ids);
    int32_t *movie_ids = malloc((size_t)r->n_movies * sizeof *movie_ids);
    int16_t *years = calloc((size_t)r->n_movies, sizeof *years);
    uint64_t *bits = calloc((size_t)r->n_movies, sizeof *bits);
    for (int32_t u = 0; u < r->n_users; u++) user_ids[u] = 10 * (u + 1);
    for (int32_t m = 0; m < r->n_movies; m++) {
        movie_ids[m] = 5 * (m + 1);
        years[m] = m % 2 ? 1999 : 2001;
        bits[m] = (uint64_t)(m % 8);
    }
    REQUIRE_OK(tensor_set_new(&set, &err), err);
    add_tensor(set, "user_ids", DTYPE_I32, r->n_users, user_ids, fault);
    add_tensor(set, "movie_ids", DTYPE_I32, r->n_movies, movie_ids, fault);
    add_tensor(set, "user_offsets", DTYPE_I64, r->n_users + 1, r->user_offsets, fault);
    add_tensor(set, "user_movies", DTYPE_I32, r->n_ratings, r->user_movies, fault);
    add_tensor(set, "user_ratings", DTYPE_U8, r->n_ratings, r->user_ratings, fault);
    add_tensor(set, "user_times", DTYPE_U32, r->n_ratings, r->user_times, fault);
    add_tensor(set, "movie_offsets", DTYPE_I64, r->n_movies + 1, r->movie_offsets, fault);
    add_tensor(set, "movie_users", DTYPE_I32, r->n_ratings, r->movie_users, fault);
    add_tensor(set, "movie_ratings", DTYPE_U8, r->n_ratings, r->movie_ratings, fault);
    add_texts(set, "movie_title_offsets", "movie_titles", (size_t)r->n_movies, titles, 2, fault);
    add_tensor(set, "movie_years", DTYPE_I16, r->n_movies, years, fault);
    add_tensor(set, "movie_genres", DTYPE_U64, r->n_movies, bits, fault);
    add_tensor(set, "movie_imdb_ids", DTYPE_I32, r->n_movies, movie_ids, fault);
    add_tensor(set, "movie_tmdb_ids", DTYPE_I32, r->n_movies, movie_ids, fault);
    add_texts(set, "genre_name_offsets", "genre_names", 3, genres, 3, fault);
    add_tensor(set, "tag_users", DTYPE_I32, 2, (const int32_t[]){0, 1}, fault);
    add_tensor(set, "tag_movies", DTYPE_I32, 2, (const int32_t[]){3, 2}, fault);
    add_tensor(set, "tag_times", DTYPE_U32, 2, (const uint32_t[]){7, 8}, fault);
    add_texts(set, "tag_text_offsets", "tag_texts", 2, tags, 2, fault);
    add_genome(set, fault);
    static const char *const metadata[][2] = {{"format", "reel-dataset"},
                                              {"version", "1"},
                                              {"scale.min", "1"},
                                              {"scale.max", "10"},
                                              {"source.format", "test"},
                                              {"n_placeholders", "0"},
                                              {"fingerprint", "0123456789abcdef0123456789abcdef"}};
    for (size_t i = 0; i < sizeof metadata / sizeof metadata[0]; i++)
        REQUIRE_OK(tensor_set_put(set, metadata[i][0], metadata[i][1], &err), err);
    free(user_ids), free(movie_ids), free(years), free(bits);
    return set;
}

/* A path in the temporary folder that belongs to this process. */
static inline const char *scratch_path(const char *name) {
    static char path[512];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/reel-test-%ld-%s", folder ? folder : "/tmp", (long)getpid(), name);
    return path;
}

/* Writes the set, frees it, opens the file (which is unlinked at once). */
static inline reel_status open_set(reel_context *ctx, struct tensor_set *set, reel_dataset **out, reel_error *err) {
    const char *path = scratch_path("dataset.reel");
    REQUIRE_OK(tensor_file_write(path, set, ctx->pool, err), *err);
    tensor_set_free(set);
    reel_status status = reel_dataset_open(ctx, path, out, err);
    unlink(path);
    return status;
}

#endif
