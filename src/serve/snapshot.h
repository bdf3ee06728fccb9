/* Everything that requests read, immutable: dataset, models, clusters, indices, and what is prebuilt of them. A reload
 * makes a new snapshot and swaps it in; the old one goes when its last request has finished. Snapshots share the parts
 * whose files have not changed. */
#ifndef SERVE_SNAPSHOT_H
#define SERVE_SNAPSHOT_H

#include <reel/cluster.h>
#include <reel/serve.h>
#include "data/dataset.h"
#include "serve/http.h"

enum { SNAPSHOT_MODELS_MAX = 32 };

struct snapshot_model {
    char name[33];
    char *path;
    reel_model *model;
    reel_scorer *scorer;
    uint64_t generation;              /* differs after every load of this model; part of cache keys */
    reel_similar_index *factor_index; /* of the first model; NULL = none */
    struct model_part *part;          /* owns all of the above */
};

struct snapshot {
    reel_dataset *dataset;
    struct snapshot_model models[SNAPSHOT_MODELS_MAX];
    int n_models;
    const struct snapshot_model *factor_model; /* B's suggested_movies: the first model; NULL = none */
    const struct snapshot_model *tree_model; /* A's recommendation: the first gbdt model, else the first; NULL = none */
    reel_clusters *clusters;                 /* NULL = none */
    int32_t *user_clusters;                  /* (n_users,) -1 = none; NULL without clusters */
    uint8_t **cluster_candidates;            /* (k,) each (n_movies,) */
    reel_similar_index *genre_index;
    const reel_similar_index *factor_index; /* NULL = the first model has no factors */
    /* Prebuilt texts: fragment m = bytes fragment_offsets[m] .. [m+1]-1 of `fragments`:
     * "id":1,"title":"Toy Story (1995)","genres":["Adventure","Animation"]   (without braces) */
    int64_t *fragment_offsets; /* (n_movies + 1,) */
    char *fragments;
    double *user_means;              /* (n_users,) stars */
    double *movie_means;             /* (n_movies,) stars, NaN without ratings */
    uint64_t generation;             /* differs from snapshot to snapshot */
    struct base_part *base;          /* owns dataset, genre_index, fragments, means */
    struct cluster_part *clustering; /* owns the clusters; NULL without */
    _Atomic int64_t references;
};

/* Opens what the options name. Parts of `previous` (may be NULL) whose files are the same are used again, but for the
 * model called `fresh` (NULL = none). `generation` must be one that no earlier load had. */
reel_status snapshot_load(const reel_serve_options *options, const struct snapshot *previous, const char *fresh,
                          uint64_t generation, struct snapshot **out, reel_error *err);
void snapshot_retain(const struct snapshot *snapshot);
void snapshot_release(const struct snapshot *snapshot); /* takes NULL */
const struct snapshot_model *snapshot_model_find(const struct snapshot *snapshot, const char *name);

/* The current snapshot, for readers that take no lock: a reader announces what it is about to pin in a slot of its own
 * (hazard pointers, Michael 2004); the swap waits until no slot names the old one. */
struct snapshot_cell;
reel_status snapshot_cell_new(int slots, struct snapshot_cell **out, reel_error *err);
void snapshot_cell_free(struct snapshot_cell *cell); /* releases what is in it; takes NULL */
/* A reference to what is current, NULL before the first swap. `slot` 0..slots-1 belongs to one thread; -1 = any thread,
 * under the swap's lock. */
const struct snapshot *snapshot_pin(struct snapshot_cell *cell, int slot);
/* Takes the reference over. */
void snapshot_swap(struct snapshot_cell *cell, struct snapshot *next);

/* {"id":..,"title":..,"genres":[..]} without braces, prebuilt. */
static inline const char *snapshot_fragment(const struct snapshot *snapshot, int32_t movie, size_t *size) {
    *size = (size_t)(snapshot->fragment_offsets[movie + 1] - snapshot->fragment_offsets[movie]);
    return snapshot->fragments + snapshot->fragment_offsets[movie];
}

#endif
