#include "model/row_tree.h"

#include "core/error.h"
#include "core/mem.h"
#include "model/row_top.h"

/* ---- shared data ---- */

static void place_hours(void *arg, int64_t user, int worker) {
    (void)worker;
    struct row_data *data = arg;
    const struct ratings *ratings = data->ratings;
    for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++)
        data->hours[i] = (uint8_t)star_hour(ratings->user_times ? ratings->user_times[i] : 0);
}

reel_status row_data_new(reel_context *ctx, const struct ratings *ratings, const struct features *features,
                         struct row_data *data, reel_error *err) {
    *data = (struct row_data){.ratings = ratings, .star = features_training(features), .stride = features->stride};
    if (ratings->n_ratings > INT32_MAX)
        return error_set(err, REEL_UNSUPPORTED, "at most %d ratings are possible here (found %lld)", INT32_MAX,
                         (long long)ratings->n_ratings);
    TRY_RETURN(tree_columns_new(ctx, data->star, &data->columns, err));
    TRY_RETURN(MEM_RAW(&data->hours, ratings->n_ratings, err));
    thread_pool_run(ctx->pool, ratings->n_users, place_hours, data);
    return REEL_OK;
}

void row_data_free(struct row_data *data) {
    tree_columns_free(&data->columns);
    mem_free(data->hours);
    *data = (struct row_data){0};
}

/* ---- growing ---- */

reel_status row_tree_grow(reel_context *ctx, const struct row_data *data, const uint16_t *copies,
                          const struct row_limits *limits, int alone, struct row_tree *tree, reel_error *err) {
    reel_status status = REEL_OK;
    struct row_records records = {0};
    struct row_part parts[ROW_TOP_NODES];
    int32_t root;
    int n_parts = 0;
    *tree = (struct row_tree){0};
    TRY(forest_begin_tree(&tree->nodes, err));
    TRY(forest_add_node(&tree->nodes, (struct forest_node){-1, 0, 0, 0}, &root, err));
    TRY(row_top_grow(ctx, data, copies, limits, alone, tree, &records, parts, &n_parts, err));
    if (n_parts > 0) TRY(row_lists_grow(ctx, data, limits, alone, &records, parts, n_parts, tree, err));
cleanup:
    row_records_free(&records);
    return status;
}

void row_tree_free(struct row_tree *tree) {
    forest_builder_free(&tree->nodes);
}
