/* reel predict: scores of (user, movie[, time]) rows. */
#include <stdio.h>
#include <stdlib.h>

#include "output.h"
#include "scoring.h"

static void write_csv(struct output *out, const reel_rows *rows, const float *scores) {
    output_text(out, "userId,movieId,score\n");
    for (int64_t i = 0; i < rows->n; i++) {
        output_integer(out, rows->user_ids[i]);
        output_text(out, ",");
        output_integer(out, rows->movie_ids[i]);
        output_text(out, ",");
        output_decimal(out, (double)scores[i], 4);
        output_text(out, "\n");
    }
}

static reel_status write_scores(const char *path, const reel_rows *rows, const float *scores, reel_error *err) {
    struct output *out = malloc(sizeof *out);
    if (!out) {
        *err = (reel_error){REEL_NO_MEMORY, "out of memory"};
        return REEL_NO_MEMORY;
    }
    reel_status status = output_begin(out, path, err);
    if (status == REEL_OK) {
        if (output_is_npy(path)) {
            output_npy_header(out, "'<f4'", rows->n);
            output_bytes(out, scores, (size_t)rows->n * sizeof *scores);
        } else {
            write_csv(out, rows, scores);
        }
        status = output_commit(out, err);
    }
    free(out);
    return status;
}

static int predict(struct cli *cli, const struct scoring *scoring, const char *pairs, const char *path) {
    reel_error err;
    reel_rows rows;
    if (reel_rows_read(cli->ctx, scoring->dataset, pairs, REEL_ROWS_PAIRS, &rows, &err) != REEL_OK)
        return cli_fail(cli, &err);
    int status = CLI_OK;
    float *scores = malloc((size_t)rows.n * sizeof *scores + 1);
    double start = scoring_clock(), seconds = 0;
    reel_status done = REEL_NO_MEMORY;
    err = (reel_error){REEL_NO_MEMORY, "out of memory"};
    if (scores) {
        done =
            reel_scorer_predict_many(scoring->scorer, rows.n, rows.users, rows.movies, rows.times, scores, NULL, &err);
        seconds = scoring_clock() - start;
    }
    if (done == REEL_OK) done = write_scores(path, &rows, scores, &err);
    if (done != REEL_OK) status = cli_fail(cli, &err);
    double rate = seconds > 0 ? (double)rows.n / seconds : 0;
    if (status == CLI_OK && cli->json)
        status = cli_print_json(cli, json_pack("{s:s,s:I,s:f,s:f}", "file", path, "n", (json_int_t)rows.n, "seconds",
                                               seconds, "pairs_per_second", rate));
    else if (status == CLI_OK && path && !cli->quiet)
        printf("%s: %s scores, predicted in %.3f s (%s pairs/s)\n", path, cli_thousands(rows.n), seconds,
               cli_thousands((int64_t)rate));
    free(scores);
    reel_rows_free(&rows);
    return status;
}

int cmd_predict(struct cli *cli, int argc, char **argv) {
    const char *dataset, *model = NULL, *pairs = NULL, *path = NULL;
    const struct cli_option options[] = {
        {"--model", "-m", CLI_TEXT, &model, "FILE", "the model"},
        {"--pairs", NULL, CLI_TEXT, &pairs, "FILE", "CSV of userId,movieId[,timestamp]; ids nobody knows are fine"},
        {"--output", "-o", CLI_TEXT, &path, "FILE", "where to: .npy (float32) or CSV (default: CSV to stdout)"},
        {0},
    };
    int status = cli_parse(
        cli, "DATASET --model FILE --pairs FILE [-o FILE]",
        "Predicts the ratings of (user, movie) pairs, in stars on the rating scale, row by row. Where\n"
        "the model does not know a user or a movie, what is known decides: mean and biases.",
        "reel predict ml.reel --model svd.model --pairs pairs.csv -o scores.npy", options, argc, argv, &dataset, 1, 1);
    if (status >= 0) return status;
    if (!model) return cli_usage(cli, "--model FILE is needed");
    if (!pairs) return cli_usage(cli, "--pairs FILE is needed");
    if (cli->json && !path) return cli_usage(cli, "--json needs -o FILE: stdout is for the JSON object");
    status = cli_context(cli);
    if (status >= 0) return status;
    struct scoring scoring;
    reel_error err;
    if (scoring_open(cli, dataset, model, 1, &scoring, &err) != REEL_OK) return cli_fail(cli, &err);
    status = predict(cli, &scoring, pairs, path);
    scoring_close(&scoring);
    return status;
}
