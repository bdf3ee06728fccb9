/* What snapshots share: each part is loaded once from its files, reference-counted and immutable. */
#ifndef SERVE_SNAPSHOT_PARTS_H
#define SERVE_SNAPSHOT_PARTS_H

#include <sys/stat.h>
#include "core/context.h"
#include "serve/snapshot.h"

/* Which file it was; a file that is replaced gets another inode. */
struct file_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};
reel_status file_stamp_get(const char *path, struct file_stamp *stamp, reel_error *err);
int file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

struct base_part {
    _Atomic int64_t references;
    struct file_stamp stamp;
    reel_context *ctx;
    reel_dataset *dataset;
    reel_similar_index *genre_index;
    int64_t *fragment_offsets;
    char *fragments;
    double *user_means, *movie_means;
};
reel_status base_part_load(const char *path, struct base_part **out, reel_error *err);
struct base_part *base_part_retain(struct base_part *part);
void base_part_release(struct base_part *part); /* takes NULL; so do the others */

struct model_part {
    _Atomic int64_t references;
    struct file_stamp stamp;
    struct base_part *base;
    reel_context *ctx;
    char *path;
    reel_model *model;
    reel_scorer *scorer;
    reel_similar_index *factor_index;
    uint64_t generation;
};
/* `with_index`: similar movies by the model's factors, where it has some. */
reel_status model_part_load(struct base_part *base, const char *path, int with_index, uint64_t generation,
                            struct model_part **out, reel_error *err);
struct model_part *model_part_retain(struct model_part *part);
void model_part_release(struct model_part *part);

struct cluster_part {
    _Atomic int64_t references;
    struct file_stamp stamp;
    struct base_part *base;
    reel_clusters *clusters;
    int32_t *user_clusters;
    uint8_t **candidates;
};
reel_status cluster_part_load(struct base_part *base, const char *path, struct cluster_part **out, reel_error *err);
struct cluster_part *cluster_part_retain(struct cluster_part *part);
void cluster_part_release(struct cluster_part *part);

#endif
