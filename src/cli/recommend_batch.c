#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "recommend.h"

enum { BATCH_ITEMS = 1 << 25 }; /* items in memory at once: 256 MiB */

struct batch {
    const struct scoring *scoring;
    int64_t n_users;
    int32_t *users; /* (n_users,) dense indices; owned */
    int n;
    const reel_recommend_query *query;
    int npy;
    int64_t batch_users;
    int32_t *movies; /* (batch_users, n) */
    float *scores;   /* (batch_users, n) */
    struct output *out;
};

static reel_status no_memory(reel_error *err) {
    *err = (reel_error){REEL_NO_MEMORY, "out of memory"};
    return REEL_NO_MEMORY;
}

static reel_status list_users(struct cli *cli, const char *path, struct batch *batch, reel_error *err) {
    if (path) {
        reel_rows rows;
        reel_status status = reel_rows_read(cli->ctx, batch->scoring->dataset, path, REEL_ROWS_USERS, &rows, err);
        if (status != REEL_OK) return status;
        batch->n_users = rows.n;
        batch->users = malloc((size_t)rows.n * sizeof *batch->users + 1);
        if (batch->users && rows.n) memcpy(batch->users, rows.users, (size_t)rows.n * sizeof *batch->users);
        reel_rows_free(&rows);
        return batch->users ? REEL_OK : no_memory(err);
    }
    reel_dataset_info info;
    reel_dataset_get_info(batch->scoring->dataset, &info);
    batch->n_users = info.n_users;
    batch->users = malloc((size_t)info.n_users * sizeof *batch->users + 1);
    for (int32_t u = 0; batch->users && u < info.n_users; u++) batch->users[u] = u;
    return batch->users ? REEL_OK : no_memory(err);
}

static int32_t movie_id(const struct batch *batch, int32_t movie) {
    reel_movie facts;
    if (movie < 0) return -1;
    reel_dataset_get_movie(batch->scoring->dataset, movie, &facts);
    return facts.id;
}

/* A line an item. */
static void write_csv(const struct batch *batch, int64_t first, int64_t count) {
    for (int64_t i = 0; i < count * batch->n; i++) {
        if (batch->movies[i] < 0) continue;
        output_integer(batch->out, reel_dataset_user_id(batch->scoring->dataset, batch->users[first + i / batch->n]));
        output_text(batch->out, ",");
        output_integer(batch->out, movie_id(batch, batch->movies[i]));
        output_text(batch->out, ",");
        output_decimal(batch->out, (double)batch->scores[i], 4);
        output_text(batch->out, "\n");
    }
}

/* A record a user: user i4, movies (n,) i4 with -1 past the end, scores (n,) f4 with NaN there. */
static void write_npy(const struct batch *batch, int64_t first, int64_t count) {
    size_t n = (size_t)batch->n;
    for (int64_t u = 0; u < count; u++) {
        int32_t id = reel_dataset_user_id(batch->scoring->dataset, batch->users[first + u]);
        int32_t *movies = batch->movies + u * batch->n;
        for (size_t i = 0; i < n; i++) movies[i] = movie_id(batch, movies[i]);
        output_bytes(batch->out, &id, sizeof id);
        output_bytes(batch->out, movies, n * sizeof *movies);
        output_bytes(batch->out, batch->scores + u * batch->n, n * sizeof *batch->scores);
    }
}

static void write_heading(const struct batch *batch) {
    char descr[160];
    if (!batch->npy) {
        output_text(batch->out, "userId,movieId,score\n");
        return;
    }
    snprintf(descr, sizeof descr, "[('user', '<i4'), ('movies', '<i4', (%d,)), ('scores', '<f4', (%d,))]", batch->n,
             batch->n);
    output_npy_header(batch->out, descr, batch->n_users);
}

static reel_status run_batches(struct batch *batch, double *seconds, reel_error *err) {
    write_heading(batch);
    for (int64_t first = 0; first < batch->n_users; first += batch->batch_users) {
        int64_t left = batch->n_users - first, count = left < batch->batch_users ? left : batch->batch_users;
        double start = scoring_clock();
        reel_status status = reel_scorer_recommend_many(batch->scoring->scorer, count, batch->users + first, batch->n,
                                                        batch->query, batch->movies, batch->scores, err);
        if (status != REEL_OK) return status;
        *seconds += scoring_clock() - start;
        if (batch->npy)
            write_npy(batch, first, count);
        else
            write_csv(batch, first, count);
    }
    return output_commit(batch->out, err);
}

static reel_status batch_new(struct cli *cli, const struct recommend_args *args, struct batch *batch, reel_error *err) {
    reel_dataset_info info;
    reel_dataset_get_info(batch->scoring->dataset, &info);
    batch->query = &args->query;
    batch->npy = output_is_npy(args->path);
    batch->n = args->query.n < info.n_movies ? args->query.n : info.n_movies > 0 ? info.n_movies : 1;
    reel_status status = list_users(cli, args->users, batch, err);
    if (status != REEL_OK) return status;
    batch->batch_users = BATCH_ITEMS / batch->n + 1;
    if (batch->batch_users > batch->n_users) batch->batch_users = batch->n_users;
    size_t items = (size_t)batch->batch_users * (size_t)batch->n;
    batch->movies = malloc(items * sizeof *batch->movies + 1);
    batch->scores = malloc(items * sizeof *batch->scores + 1);
    batch->out = malloc(sizeof *batch->out);
    if (!batch->movies || !batch->scores || !batch->out) {
        free(batch->out);
        batch->out = NULL;
        return no_memory(err);
    }
    status = output_begin(batch->out, args->path, err);
    if (status == REEL_OK) return REEL_OK;
    free(batch->out);
    batch->out = NULL;
    return status;
}

static void batch_free(struct batch *batch) {
    if (batch->out) output_abort(batch->out);
    free(batch->out);
    free(batch->users);
    free(batch->movies);
    free(batch->scores);
}

int recommend_batch(struct cli *cli, const struct scoring *scoring, const struct recommend_args *args) {
    struct batch batch = {.scoring = scoring};
    reel_error err;
    double seconds = 0;
    reel_status status = batch_new(cli, args, &batch, &err);
    if (status == REEL_OK) status = run_batches(&batch, &seconds, &err);
    double rate = seconds > 0 ? (double)batch.n_users / seconds : 0;
    int code = CLI_OK;
    if (status != REEL_OK)
        code = cli_fail(cli, &err);
    else if (cli->json)
        code = cli_print_json(cli, json_pack("{s:s,s:I,s:i,s:f,s:f}", "file", args->path, "n_users",
                                             (json_int_t)batch.n_users, "n", batch.n, "seconds", seconds,
                                             "users_per_second", rate));
    else if (args->path && !cli->quiet)
        printf("%s: top %d of %s users, in %.2f s (%s users/s)\n", args->path, batch.n, cli_thousands(batch.n_users),
               seconds, cli_thousands((int64_t)rate));
    batch_free(&batch);
    return code;
}
