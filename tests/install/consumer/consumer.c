/* A user of an installed Reel, compiled as C and as C++: ratings to recommendations through the public headers alone.
 *
 *     consumer RATINGS_FOLDER WORK_FOLDER */
#include <stdio.h>
#include <stdlib.h>

#include <reel/reel.h>

static int fail(const reel_error *err) {
    fprintf(stderr, "%s: %s\n", reel_status_name(err->status), err->message);
    return 1;
}

static int print_top(const reel_dataset *dataset, const reel_scorer *scorer, reel_error *err) {
    enum { N = 3 };
    reel_recommend_query query;
    reel_recommendation items[N];
    int n = 0;
    reel_recommend_query_default(&query);
    query.user = reel_dataset_user_index(dataset, 2);
    query.n = N;
    if (reel_scorer_recommend(scorer, &query, items, &n, err) != REEL_OK) return fail(err);
    for (int i = 0; i < n; i++) {
        reel_movie movie;
        reel_dataset_get_movie(dataset, items[i].movie, &movie);
        printf("%.2f %s\n", (double)items[i].score, movie.title);
    }
    return n == N ? 0 : 1;
}

static int work(reel_context *ctx, const char *folder, const char *dataset_path) {
    reel_error err;
    reel_dataset *dataset = NULL;
    reel_model *model = NULL;
    reel_scorer *scorer = NULL;
    reel_train_options options;
    const reel_param params[] = {{"factors", "8"}, {"epochs", "2"}};
    reel_train_options_default(&options);
    options.algorithm = "svd";
    options.params = params;
    options.n_params = 2;
    int status = 0;
    if (reel_dataset_import(ctx, folder, NULL, dataset_path, NULL, &err) != REEL_OK ||
        reel_dataset_open(ctx, dataset_path, &dataset, &err) != REEL_OK ||
        reel_train(ctx, dataset, &options, &model, NULL, &err) != REEL_OK ||
        reel_scorer_new(ctx, dataset, model, &scorer, &err) != REEL_OK)
        status = fail(&err);
    else
        status = print_top(dataset, scorer, &err);
    reel_scorer_free(scorer);
    reel_model_free(model);
    reel_dataset_free(dataset);
    return status;
}

int main(int argc, char **argv) {
    reel_context *ctx = NULL;
    reel_error err;
    char path[4096];
    if (argc != 3) return 2;
    snprintf(path, sizeof path, "%s/consumer.reel", argv[2]);
    if (reel_context_new(NULL, &ctx, &err) != REEL_OK) return fail(&err);
    printf("reel %s\n", reel_version());
    int status = work(ctx, argv[1], path);
    reel_context_free(ctx);
    return status;
}
