/* A dataset with later ratings put in: what was rated, changed and taken away since it was imported. */
#ifndef DATA_DATASET_MERGE_H
#define DATA_DATASET_MERGE_H

#include "data/dataset.h"

/* A user's word on a movie, by the data set's own ids. */
struct late_rating {
    int32_t user_id, movie_id;
    uint8_t half_stars; /* 1..10; 0 = taken away */
    uint32_t time;
};

/* The tensors of the new dataset, and the memory they borrow beside the old dataset's, which must outlive this.
 * Zero-initialise. */
struct dataset_merge {
    struct tensor_set *set;
    struct ratings ratings; /* owned: both orders */
    int32_t *user_ids, *tag_users;
    int32_t *old_users; /* (n_users,) index in the old dataset, -1 = new */
    char fingerprint[33];
    /* late ratings that ... */
    int64_t n_added, n_changed, n_removed;
    int64_t n_older;   /* lost against a newer rating of the dataset */
    int64_t n_unknown; /* were of movies that the dataset lacks, and dropped */
    int64_t n_void;    /* took away what was not there */
    int32_t n_new_users;
};

/* `late` (n,) ascends by (user_id, movie_id) without repeats. The latest word wins: a late rating against the dataset's
 * rating of that pair unless its time is smaller. New users are added; a user keeps their place when all of their
 * ratings are taken away. Free the merge, whatever the result. NO_MEMORY, CANCELLED. */
reel_status dataset_merge(reel_context *ctx, const struct reel_dataset *dataset, const struct late_rating *late,
                          int64_t n, struct dataset_merge *merge, reel_error *err);
void dataset_merge_free(struct dataset_merge *merge);

#endif
