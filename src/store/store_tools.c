/* What `reel import --store` and `reel export` do with a store. */
#include <reel/serve.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/mem.h"
#include "data/dataset_merge.h"
#include "data/dataset_write.h"
#include "store/store.h"

/* ---- live ratings into a dataset ---- */

struct late_list {
    struct late_rating *items;
    int64_t n, capacity;
};

static reel_status collect(void *arg, int32_t user_id, const struct store_rating *rating, reel_error *err) {
    struct late_list *list = arg;
    if (list->n == list->capacity) {
        struct late_rating *grown;
        int64_t capacity = list->capacity ? 2 * list->capacity : 1024;
        TRY_RETURN(MEM_RAW(&grown, capacity, err));
        if (list->n) memcpy(grown, list->items, (size_t)list->n * sizeof *grown);
        mem_free(list->items);
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->n++] = (struct late_rating){user_id, rating->movie_id, rating->half_stars, rating->time};
    return REEL_OK;
}

static reel_status read_live(const char *path, struct late_list *list, reel_error *err) {
    struct store *store;
    TRY_RETURN(store_open(path, 1, &store, err));
    reel_status status = store_each_rating(store, collect, list, err);
    store_close(store);
    return status;
}

/* The first few movies that the dataset lacks, each once. */
static void name_unknown(const struct reel_dataset *dataset, const struct late_list *list, int32_t *ids, int max) {
    int found = 0;
    for (int i = 0; i < max; i++) ids[i] = -1;
    for (int64_t i = 0; i < list->n && found < max; i++) {
        const int32_t id = list->items[i].movie_id;
        if (reel_dataset_movie_index(dataset, id) >= 0) continue;
        int known = 0;
        for (int k = 0; k < found; k++) known |= ids[k] == id;
        if (!known) ids[found++] = id;
    }
}

reel_status reel_store_merge(reel_context *ctx, const char *store, const char *dataset_path, const char *out_path,
                             reel_merge_report *report, reel_error *err) {
    reel_status status = REEL_OK;
    const double begin = clock_seconds();
    struct late_list list = {0};
    struct dataset_merge merge = {0};
    reel_dataset *dataset = NULL;
    int64_t bytes;
    TRY(read_live(store, &list, err));
    TRY(reel_dataset_open(ctx, dataset_path, &dataset, err));
    context_progress(ctx, "merge", "ratings", 0, list.n, NULL, 0, 0);
    TRY(dataset_merge(ctx, dataset, list.items, list.n, &merge, err));
    context_progress(ctx, "merge", "ratings", list.n, list.n, NULL, 0, 1);
    TRY(dataset_write(ctx, merge.set, out_path, &bytes, err));
    if (!report) goto cleanup;
    *report = (reel_merge_report){.n_live = list.n,
                                  .n_added = merge.n_added,
                                  .n_changed = merge.n_changed,
                                  .n_removed = merge.n_removed,
                                  .n_older = merge.n_older,
                                  .n_unknown = merge.n_unknown,
                                  .n_void = merge.n_void,
                                  .n_new_users = merge.n_new_users,
                                  .n_users = merge.ratings.n_users,
                                  .n_movies = merge.ratings.n_movies,
                                  .n_ratings = merge.ratings.n_ratings,
                                  .bytes = bytes,
                                  .seconds = clock_seconds() - begin};
    name_unknown(dataset, &list, report->unknown_movies, 5);
    memcpy(report->fingerprint, merge.fingerprint, sizeof report->fingerprint);
cleanup:
    dataset_merge_free(&merge);
    reel_dataset_free(dataset);
    mem_free(list.items);
    return status;
}

/* ---- collections ---- */

static reel_status export(struct store *store, const char *dir, char **json, reel_error *err) {
    int64_t counts[STORE_COLLECTIONS];
    TRY_RETURN(store_export(store, dir, counts, err));
    json_t *object = json_pack("{s:[s+,s+,s+],s:I,s:I,s:I}", "files", dir, "/users.ndjson", dir, "/movies.ndjson", dir,
                               "/metadata.ndjson", "users", (json_int_t)counts[0], "movies", (json_int_t)counts[1],
                               "metadata", (json_int_t)counts[2]);
    *json = json_text(object, JSON_COMPACT);
    json_decref(object);
    return *json ? REEL_OK : error_no_memory(err, 0);
}

reel_status reel_store_export(reel_context *ctx, const char *path, const char *dir, char **json, reel_error *err) {
    struct store *store;
    *json = NULL;
    TRY_RETURN(context_check(ctx, err));
    TRY_RETURN(store_open(path, 1, &store, err));
    reel_status status = export(store, dir, json, err);
    store_close(store);
    return status;
}

reel_status reel_dataset_export(reel_context *ctx, const char *path, const char *dir, char **json, reel_error *err) {
    reel_status status = REEL_OK;
    struct store *store = NULL;
    reel_dataset *dataset = NULL;
    *json = NULL;
    TRY(reel_dataset_open(ctx, path, &dataset, err));
    TRY(store_open(":memory:", 0, &store, err));
    TRY(store_fill(store, dataset, NULL, err));
    TRY(export(store, dir, json, err));
cleanup:
    store_close(store);
    reel_dataset_free(dataset);
    return status;
}
