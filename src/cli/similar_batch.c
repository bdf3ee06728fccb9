/* reel similar --all: every movie's list. */
#include <stdio.h>
#include <stdlib.h>

#include "output.h"
#include "similar_batch.h"

enum { BATCH_ITEMS = 1 << 24 }; /* items in memory at once: 128 MiB */

struct batch {
    const reel_dataset *dataset;
    int32_t n_movies;
    int n, npy;
    int32_t batch_movies;
    int32_t *movies;  /* (batch_movies,) */
    int32_t *similar; /* (batch_movies, n) */
    float *similarities;
    struct output *out;
};

static int32_t id_of(const struct batch *batch, int32_t movie) {
    reel_movie facts;
    if (movie < 0) return -1;
    reel_dataset_get_movie(batch->dataset, movie, &facts);
    return facts.id;
}

static void write_heading(const struct batch *batch) {
    char descr[160];
    if (!batch->npy) {
        output_text(batch->out, "movieId,similarId,similarity\n");
        return;
    }
    snprintf(descr, sizeof descr, "[('movie', '<i4'), ('movies', '<i4', (%d,)), ('similarities', '<f4', (%d,))]",
             batch->n, batch->n);
    output_npy_header(batch->out, descr, batch->n_movies);
}

/* A line an item. */
static void write_csv(const struct batch *batch, int32_t count) {
    for (int32_t i = 0; i < count; i++)
        for (int at = 0; at < batch->n && batch->similar[(int64_t)i * batch->n + at] >= 0; at++) {
            output_integer(batch->out, id_of(batch, batch->movies[i]));
            output_text(batch->out, ",");
            output_integer(batch->out, id_of(batch, batch->similar[(int64_t)i * batch->n + at]));
            output_text(batch->out, ",");
            output_decimal(batch->out, (double)batch->similarities[(int64_t)i * batch->n + at], 6);
            output_text(batch->out, "\n");
        }
}

/* A record a movie: movie i4, movies (n,) i4 with -1 past the end, similarities (n,) f4 with NaN there. */
static void write_npy(const struct batch *batch, int32_t count) {
    const size_t n = (size_t)batch->n;
    for (int32_t i = 0; i < count; i++) {
        int32_t id = id_of(batch, batch->movies[i]), *similar = batch->similar + (size_t)i * n;
        for (size_t at = 0; at < n; at++) similar[at] = id_of(batch, similar[at]);
        output_bytes(batch->out, &id, sizeof id);
        output_bytes(batch->out, similar, n * sizeof *similar);
        output_bytes(batch->out, batch->similarities + (size_t)i * n, n * sizeof *batch->similarities);
    }
}

static reel_status run_batches(struct batch *batch, reel_similar_index *index, double *seconds, reel_error *err) {
    write_heading(batch);
    for (int32_t first = 0; first < batch->n_movies; first += batch->batch_movies) {
        int32_t left = batch->n_movies - first, count = left < batch->batch_movies ? left : batch->batch_movies;
        double start = scoring_clock();
        for (int32_t i = 0; i < count; i++) batch->movies[i] = first + i;
        reel_status status = reel_similar_index_query_many(index, count, batch->movies, batch->n, batch->similar,
                                                           batch->similarities, err);
        if (status != REEL_OK) return status;
        *seconds += scoring_clock() - start;
        if (batch->npy)
            write_npy(batch, count);
        else
            write_csv(batch, count);
    }
    return output_commit(batch->out, err);
}

static reel_status batch_new(const char *path, int n, struct batch *batch, reel_error *err) {
    reel_dataset_info info;
    reel_dataset_get_info(batch->dataset, &info);
    batch->n_movies = info.n_movies;
    batch->n = n < info.n_movies ? n : info.n_movies > 0 ? info.n_movies : 1;
    batch->npy = output_is_npy(path);
    batch->batch_movies = BATCH_ITEMS / batch->n + 1;
    if (batch->batch_movies > info.n_movies) batch->batch_movies = info.n_movies;
    const size_t movies = (size_t)batch->batch_movies, items = movies * (size_t)batch->n;
    batch->movies = malloc(movies * sizeof *batch->movies + 1);
    batch->similar = malloc(items * sizeof *batch->similar + 1);
    batch->similarities = malloc(items * sizeof *batch->similarities + 1);
    struct output *out = malloc(sizeof *out);
    reel_status status = REEL_NO_MEMORY;
    *err = (reel_error){REEL_NO_MEMORY, "out of memory"};
    if (batch->movies && batch->similar && batch->similarities && out) status = output_begin(out, path, err);
    if (status == REEL_OK)
        batch->out = out;
    else
        free(out);
    return status;
}

static void batch_free(struct batch *batch) {
    if (batch->out) output_abort(batch->out);
    free(batch->out);
    free(batch->movies);
    free(batch->similar);
    free(batch->similarities);
}

int similar_batch(struct cli *cli, const struct scoring *scoring, reel_similarity by, int n, const char *path) {
    struct batch batch = {.dataset = scoring->dataset};
    reel_similar_index *index = NULL;
    reel_error err;
    int code = CLI_OK;
    double start = scoring_clock(), seconds = 0;
    reel_status status = reel_similar_index_new(cli->ctx, scoring->dataset, scoring->model, by, &index, &err);
    seconds = scoring_clock() - start;
    if (status == REEL_OK) status = batch_new(path, n, &batch, &err);
    if (status == REEL_OK) status = run_batches(&batch, index, &seconds, &err);
    if (status != REEL_OK)
        code = cli_fail(cli, &err);
    else if (cli->json)
        code = cli_print_json(cli, json_pack("{s:s,s:i,s:i,s:f}", "file", path, "n_movies", batch.n_movies, "n",
                                             batch.n, "seconds", seconds));
    else if (path && !cli->quiet)
        printf("%s: the %d most similar of %s movies, in %.2f s\n", path, batch.n, cli_thousands(batch.n_movies),
               seconds);
    batch_free(&batch);
    reel_similar_index_free(index);
    return code;
}
