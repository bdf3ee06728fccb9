/* The first levels of a deep tree, level by level over all ratings in their order: one pass a level sums them by (row,
 * node) of each table. Where a rating stands is not stored: a row of a table has a bit for each node of the level that
 * a rating with it may be in, and the bits of a rating's three rows have one in common (as the leaf masks of
 * QuickScorer; Lucchese et al., SIGIR 2015). */
#ifndef MODEL_ROW_TOP_H
#define MODEL_ROW_TOP_H

#include "model/row_lists.h"

enum { ROW_TOP_NODES = 1 << ROW_TOP_LEVELS };

/* Grows limits->levels levels of a tree whose root was added as a leaf. Nodes that remain to be grown are parts (up to
 * ROW_TOP_NODES), with their ratings that count as records, which row_records_free frees, whatever the result. */
reel_status row_top_grow(reel_context *ctx, const struct row_data *data, const uint16_t *copies,
                         const struct row_limits *limits, int alone, struct row_tree *tree, struct row_records *records,
                         struct row_part *parts, int *n_parts, reel_error *err);
void row_records_free(struct row_records *records);

#endif
