/* Growing a deep tree node by node over lists of records, a rating each. A node sums its records by user, movie and
 * hour, then goes through each column's values in order: over all of them where there are few, else over those of the
 * users and movies that occur, sorted. A node's records go to its children in their order, so that a user's stay
 * together and sums are added to where they were. */
#ifndef MODEL_ROW_LISTS_H
#define MODEL_ROW_LISTS_H

#include "model/row_split.h"

/* A rating that counts. */
struct row_record {
    int32_t user, movie; /* rows of the training star */
    uint16_t copies;     /* > 0 */
    uint8_t hour, half_stars;
};

/* Records (n,) ordered by part, and room for as many. */
struct row_records {
    int64_t n;
    struct row_record *at[2];
};

/* Grows parts (n_parts,), whose nodes stand in the tree as leaves, down to the leaves. With `alone` on the calling
 * thread only. Overwrites the records. */
reel_status row_lists_grow(reel_context *ctx, const struct row_data *data, const struct row_limits *limits, int alone,
                           const struct row_records *records, const struct row_part *parts, int n_parts,
                           struct row_tree *tree, reel_error *err);

#endif
