#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/checkpoint.h"
#include "model/gbdt.h"

/* Arrays that are written and read as they lie in memory. */
struct part {
    const char *name;
    enum dtype dtype;
    int64_t n;
    void *data;
};
enum { N_PARTS = 9, NODE_WORDS = sizeof(struct forest_node) / sizeof(int32_t) };

static void list_parts(struct boosting *boosting, struct part parts[N_PARTS]) {
    const struct part list[N_PARTS] = {
        {"residuals", DTYPE_I32, boosting->input.ratings->n_ratings, boosting->pass.rows.residuals},
        {"train_loss", DTYPE_F64, boosting->n_trees, boosting->train_loss},
        {"validation_loss", DTYPE_F64, boosting->n_trees, boosting->validation_loss},
        {"test_rmse", DTYPE_F64, boosting->n_trees, boosting->test_rmse},
        {"importances", DTYPE_F64, boosting->features.star.n_columns, boosting->importances},
        {"recent", DTYPE_F64, boosting->patience, boosting->recent},
        {"test_scores", DTYPE_F64, boosting->on_test.pairs->n, boosting->on_test.scores},
        {"validation_scores", DTYPE_F64, boosting->on_validation.pairs->n, boosting->on_validation.scores},
        {"squared", DTYPE_F64, 1, &boosting->pass.squared},
    };
    memcpy(parts, list, sizeof list);
}

/* ---- writing ---- */

static reel_status put_array(struct tensor_set *set, const char *name, enum dtype dtype, int64_t n, const void *from,
                             reel_error *err) {
    void *data;
    TRY_RETURN(tensor_set_add1(set, name, dtype, n, &data, err));
    if (n) memcpy(data, from, (size_t)n * dtype_size(dtype));
    return REEL_OK;
}

static reel_status put_epochs(const struct fit_output *output, struct tensor_set *set, reel_error *err) {
    void *data;
    TRY_RETURN(tensor_set_add1(set, "train_rmse", DTYPE_F64, output->n_epochs, &data, err));
    for (int i = 0; i < output->n_epochs; i++) ((double *)data)[i] = output->epochs[i].train_rmse;
    return REEL_OK;
}

/* Of squared errors the leaves of the latest tree still wait for the next root pass. */
static reel_status take_leaves(struct boosting *boosting, reel_error *err) {
    if (!boosting->pass.leaves) return REEL_OK;
    TRY_RETURN(tree_pass_run(boosting->ctx, &boosting->pass, err));
    boosting->pass.leaves = NULL;
    boosting->pass.split_level = -1;
    return REEL_OK;
}

reel_status gbdt_checkpoint_write(struct boosting *boosting, const struct fit_output *output, int stage,
                                  reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    struct part parts[N_PARTS];
    const struct forest_builder *forest = &boosting->forest;
    TRY(take_leaves(boosting, err));
    list_parts(boosting, parts);
    TRY(tensor_set_new(&set, err));
    for (int i = 0; i < N_PARTS; i++)
        TRY(put_array(set, parts[i].name, parts[i].dtype, parts[i].n, parts[i].data, err));
    TRY(put_array(set, "nodes", DTYPE_I32, (int64_t)forest->n_nodes * NODE_WORDS, forest->nodes, err));
    TRY(put_array(set, "tree_offsets", DTYPE_I32, (int64_t)forest->n_trees + 1, forest->offsets, err));
    TRY(put_array(set, "reach", DTYPE_I64, 1, &boosting->reach, err));
    TRY(put_epochs(output, set, err));
    TRY(checkpoint_write(boosting->ctx, &boosting->input, "gbdt", stage, set, err));
cleanup:
    tensor_set_free(set);
    return status;
}

/* ---- reading ---- */

static reel_status take_array(const struct tensor_set *set, const char *name, enum dtype dtype, int64_t n, void *to,
                              reel_error *err) {
    const struct tensor *tensor;
    TRY_RETURN(tensor_set_require(set, name, dtype, 1, &n, &tensor, err));
    if (n) memcpy(to, tensor->data, tensor->bytes);
    return REEL_OK;
}

static reel_status take_trees(struct boosting *boosting, const struct tensor_set *set, int64_t n_trees,
                              reel_error *err) {
    const struct tensor *offsets, *nodes;
    int64_t n = n_trees + 1;
    int32_t at;
    TRY_RETURN(tensor_set_require(set, "tree_offsets", DTYPE_I32, 1, &n, &offsets, err));
    const int32_t *ends = offsets->data;
    n = (int64_t)ends[n_trees] * NODE_WORDS;
    TRY_RETURN(tensor_set_require(set, "nodes", DTYPE_I32, 1, &n, &nodes, err));
    for (int64_t t = 0; t < n_trees; t++) {
        TRY_RETURN(forest_begin_tree(&boosting->forest, err));
        if (ends[t] < 0 || ends[t] >= ends[t + 1] || ends[t + 1] > ends[n_trees])
            return error_set(err, REEL_CORRUPT, "%s: tree_offsets do not ascend", tensor_set_path(set));
        for (int32_t i = ends[t]; i < ends[t + 1]; i++)
            TRY_RETURN(forest_add_node(&boosting->forest, ((const struct forest_node *)nodes->data)[i], &at, err));
    }
    return REEL_OK;
}

static reel_status take_epochs(const struct tensor_set *set, struct fit_output *output, reel_error *err) {
    const struct tensor *rmse;
    int64_t any = -1;
    TRY_RETURN(tensor_set_require(set, "train_rmse", DTYPE_F64, 1, &any, &rmse, err));
    for (int i = 0; i < rmse->n; i++)
        TRY_RETURN(fit_output_epoch(output, (reel_epoch){i + 1, ((const double *)rmse->data)[i], NAN, 0}, err));
    return REEL_OK;
}

reel_status gbdt_checkpoint_read(struct boosting *boosting, struct fit_output *output, int *stage, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    struct part parts[N_PARTS];
    int64_t step;
    list_parts(boosting, parts);
    TRY(checkpoint_read(boosting->ctx, &boosting->input, "gbdt", &set, &step, err));
    if (!set) return REEL_OK;
    for (int i = 0; i < N_PARTS; i++)
        TRY(take_array(set, parts[i].name, parts[i].dtype, parts[i].n, parts[i].data, err));
    TRY(take_array(set, "reach", DTYPE_I64, 1, &boosting->reach, err));
    TRY(take_trees(boosting, set, step, err));
    TRY(take_epochs(set, output, err));
    *stage = (int)step;
cleanup:
    tensor_set_free(set);
    return status;
}
