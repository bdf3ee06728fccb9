#include "model/row_score.h"

#include "core/error.h"
#include "core/mem.h"

enum { ROWS_A_TASK = 1 << 13 };

/* ---- masks ---- */

struct decision {
    int column;
    float threshold;
    uint64_t left, right; /* leaves below */
};

struct decisions {
    struct row_scorer *scorer;
    int n;
    struct decision at[ROW_SCORE_LEAVES];
    enum star_table table; /* whose rows are at work */
    int64_t n_rows;
};

/* Numbers the leaves below node `at`; returns their bits. */
static uint64_t number_leaves(struct decisions *decisions, int32_t at) {
    struct row_scorer *scorer = decisions->scorer;
    const struct forest_node node = scorer->tree->nodes.nodes[at];
    if (node.column < 0) {
        scorer->leaves[scorer->n_leaves] = node.value;
        return UINT64_C(1) << scorer->n_leaves++;
    }
    struct decision *decision = &decisions->at[decisions->n++];
    *decision = (struct decision){.column = node.column, .threshold = node.value};
    decision->left = number_leaves(decisions, node.left);
    decision->right = number_leaves(decisions, node.right);
    return decision->left | decision->right;
}

static void mask_rows(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct decisions *decisions = arg;
    const struct star *star = decisions->scorer->data->star;
    uint64_t *masks = decisions->scorer->masks[decisions->table];
    const int64_t begin = task * ROWS_A_TASK, end = begin + ROWS_A_TASK;
    const int64_t last = end < decisions->n_rows ? end : decisions->n_rows;
    for (int64_t row = begin; row < last; row++) masks[row] = UINT64_MAX;
    for (int d = 0; d < decisions->n; d++) {
        const struct decision decision = decisions->at[d];
        const struct star_column *column = &star->columns[decision.column];
        if (column->table != decisions->table) continue;
        for (int64_t row = begin; row < last; row++)
            masks[row] &= ~(column->values[row] > decision.threshold ? decision.left : decision.right);
    }
}

reel_status row_scorer_new(reel_context *ctx, const struct row_data *data, const struct row_tree *tree,
                           struct row_scorer *scorer, reel_error *err) {
    struct decisions decisions = {.scorer = scorer};
    *scorer = (struct row_scorer){.data = data, .tree = tree};
    if (tree->nodes.n_nodes > 2 * ROW_SCORE_LEAVES - 1) return REEL_OK;
    number_leaves(&decisions, 0);
    for (int t = 0; t < STAR_TABLES; t++) {
        decisions.table = (enum star_table)t;
        decisions.n_rows = (int64_t)data->star->n_rows[t] + 1;
        TRY_RETURN(MEM_RAW(&scorer->masks[t], decisions.n_rows, err));
        thread_pool_run(ctx->pool, (decisions.n_rows + ROWS_A_TASK - 1) / ROWS_A_TASK, mask_rows, &decisions);
    }
    return REEL_OK;
}

void row_scorer_free(struct row_scorer *scorer) {
    for (int t = 0; t < STAR_TABLES; t++) mem_free(scorer->masks[t]);
    *scorer = (struct row_scorer){0};
}

/* ---- scores ---- */

static float walk(const struct row_scorer *scorer, const int32_t *rows) {
    const struct forest_node *nodes = scorer->tree->nodes.nodes, *node = nodes;
    while (node->column >= 0) {
        const struct star_column *column = &scorer->data->star->columns[node->column];
        node = &nodes[column->values[rows[column->table]] > node->value ? node->right : node->left];
    }
    return node->value;
}

void row_scorer_user(const struct row_scorer *scorer, int32_t user, float *scores) {
    const struct row_data *data = scorer->data;
    const struct ratings *ratings = data->ratings;
    const int64_t begin = ratings->user_offsets[user], end = ratings->user_offsets[user + 1];
    for (int64_t i = begin; i < end; i++) {
        const uint8_t half_stars = ratings->user_ratings[i];
        const int32_t rows[STAR_TABLES] = {features_row(data->stride, user, half_stars),
                                           features_row(data->stride, ratings->user_movies[i], half_stars),
                                           data->hours[i]};
        if (scorer->n_leaves == 0) {
            scores[i - begin] = walk(scorer, rows);
            continue;
        }
        const uint64_t open = scorer->masks[STAR_USER][rows[STAR_USER]] & scorer->masks[STAR_MOVIE][rows[STAR_MOVIE]] &
                              scorer->masks[STAR_CALENDAR][rows[STAR_CALENDAR]];
        scores[i - begin] = scorer->leaves[__builtin_ctzll(open)];
    }
}
