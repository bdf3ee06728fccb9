#include "serve/snapshot.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "core/error.h"
#include "serve/snapshot_parts.h"

/* ---- loading ---- */

static reel_status load_base(const reel_serve_options *options, const struct snapshot *previous,
                             struct snapshot *snapshot, reel_error *err) {
    struct file_stamp stamp;
    TRY_RETURN(file_stamp_get(options->dataset, &stamp, err));
    if (previous && file_stamp_equal(&stamp, &previous->base->stamp))
        snapshot->base = base_part_retain(previous->base);
    else
        TRY_RETURN(base_part_load(options->dataset, &snapshot->base, err));
    const struct base_part *base = snapshot->base;
    snapshot->dataset = base->dataset;
    snapshot->genre_index = base->genre_index;
    snapshot->fragment_offsets = base->fragment_offsets;
    snapshot->fragments = base->fragments;
    snapshot->user_means = base->user_means;
    snapshot->movie_means = base->movie_means;
    return REEL_OK;
}

/* The same file, bound to the same dataset and no worse equipped, as it was loaded before; else NULL. */
static struct model_part *known_model(const struct snapshot *previous, const struct snapshot *snapshot,
                                      const reel_serve_model *wanted, int with_index, const struct file_stamp *stamp) {
    const struct snapshot_model *known = previous ? snapshot_model_find(previous, wanted->name) : NULL;
    if (!known || known->part->base != snapshot->base || strcmp(known->path, wanted->path) != 0 ||
        !file_stamp_equal(stamp, &known->part->stamp) || (with_index && known != previous->models))
        return NULL;
    return model_part_retain(known->part);
}

static reel_status load_model(const reel_serve_model *wanted, const struct snapshot *previous, const char *fresh,
                              struct snapshot *snapshot, reel_error *err) {
    struct snapshot_model *model = &snapshot->models[snapshot->n_models];
    struct file_stamp stamp;
    int with_index = snapshot->n_models == 0;
    if (!wanted->name || !wanted->name[0] || strlen(wanted->name) >= sizeof model->name ||
        strspn(wanted->name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(wanted->name))
        return error_set(err, REEL_INVALID_ARGUMENT, "a model's name must match [a-z0-9_-]{1,32} (found '%.40s')",
                         wanted->name ? wanted->name : "");
    if (snapshot_model_find(snapshot, wanted->name))
        return error_set(err, REEL_INVALID_ARGUMENT, "there are two models called %s", wanted->name);
    TRY_RETURN(file_stamp_get(wanted->path, &stamp, err));
    if (!fresh || strcmp(fresh, wanted->name) != 0)
        model->part = known_model(previous, snapshot, wanted, with_index, &stamp);
    if (!model->part)
        TRY_RETURN(model_part_load(snapshot->base, wanted->path, with_index, snapshot->generation, &model->part, err));
    memcpy(model->name, wanted->name, strlen(wanted->name) + 1);
    model->path = model->part->path;
    model->model = model->part->model;
    model->scorer = model->part->scorer;
    model->factor_index = model->part->factor_index;
    model->generation = model->part->generation;
    snapshot->n_models++;
    return REEL_OK;
}

static reel_status load_models(const reel_serve_options *options, const struct snapshot *previous, const char *fresh,
                               struct snapshot *snapshot, reel_error *err) {
    if (options->n_models > SNAPSHOT_MODELS_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "at most %d models can be served (found %zu)", SNAPSHOT_MODELS_MAX,
                         options->n_models);
    for (size_t i = 0; i < options->n_models; i++)
        TRY_RETURN(load_model(&options->models[i], previous, fresh, snapshot, err));
    if (snapshot->n_models == 0) return REEL_OK;
    snapshot->factor_model = snapshot->tree_model = snapshot->models;
    snapshot->factor_index = snapshot->models[0].factor_index;
    for (int i = snapshot->n_models - 1; i >= 0; i--)
        if (strcmp(reel_model_algorithm(snapshot->models[i].model), "gbdt") == 0)
            snapshot->tree_model = &snapshot->models[i];
    return REEL_OK;
}

static reel_status load_clusters(const reel_serve_options *options, const struct snapshot *previous, const char *fresh,
                                 struct snapshot *snapshot, reel_error *err) {
    struct file_stamp stamp;
    if (!options->clusters) return REEL_OK;
    TRY_RETURN(file_stamp_get(options->clusters, &stamp, err));
    struct cluster_part *known = previous ? previous->clustering : NULL;
    if (known && known->base == snapshot->base && file_stamp_equal(&stamp, &known->stamp) &&
        (!fresh || strcmp(fresh, "clusters") != 0))
        snapshot->clustering = cluster_part_retain(known);
    else
        TRY_RETURN(cluster_part_load(snapshot->base, options->clusters, &snapshot->clustering, err));
    snapshot->clusters = snapshot->clustering->clusters;
    snapshot->user_clusters = snapshot->clustering->user_clusters;
    snapshot->cluster_candidates = snapshot->clustering->candidates;
    return REEL_OK;
}

reel_status snapshot_load(const reel_serve_options *options, const struct snapshot *previous, const char *fresh,
                          uint64_t generation, struct snapshot **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct snapshot *snapshot;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&snapshot, 1, err));
    atomic_init(&snapshot->references, 1);
    snapshot->generation = generation;
    TRY(load_base(options, previous, snapshot, err));
    TRY(load_models(options, previous, fresh, snapshot, err));
    TRY(load_clusters(options, previous, fresh, snapshot, err));
    *out = snapshot;
    snapshot = NULL;
cleanup:
    snapshot_release(snapshot);
    return status;
}

const struct snapshot_model *snapshot_model_find(const struct snapshot *snapshot, const char *name) {
    for (int i = 0; i < snapshot->n_models; i++)
        if (strcmp(snapshot->models[i].name, name) == 0) return &snapshot->models[i];
    return NULL;
}

/* Readers hold snapshots as const: only the count changes. */
static _Atomic int64_t *references(const struct snapshot *snapshot) {
    return (_Atomic int64_t *)(uintptr_t)&snapshot->references;
}

void snapshot_retain(const struct snapshot *snapshot) {
    atomic_fetch_add_explicit(references(snapshot), 1, memory_order_relaxed);
}

void snapshot_release(const struct snapshot *snapshot) {
    if (!snapshot || atomic_fetch_sub_explicit(references(snapshot), 1, memory_order_acq_rel) != 1) return;
    for (int i = 0; i < SNAPSHOT_MODELS_MAX; i++) model_part_release(snapshot->models[i].part);
    cluster_part_release(snapshot->clustering);
    base_part_release(snapshot->base);
    mem_free((void *)(uintptr_t)snapshot);
}

/* ---- the current one ---- */

/* A cache line each, so that readers do not disturb one another. */
struct hazard {
    _Alignas(64) _Atomic(struct snapshot *) pinning;
};

struct snapshot_cell {
    _Atomic(struct snapshot *) current;
    pthread_mutex_t lock; /* swaps, and readers without a slot */
    int n_slots;
    struct hazard *slots;
};

reel_status snapshot_cell_new(int slots, struct snapshot_cell **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct snapshot_cell *cell;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&cell, 1, err));
    TRY(MEM_NEW(&cell->slots, slots, err));
    cell->n_slots = slots;
    pthread_mutex_init(&cell->lock, NULL);
    *out = cell;
    cell = NULL;
cleanup:
    mem_free(cell);
    return status;
}

void snapshot_cell_free(struct snapshot_cell *cell) {
    if (!cell) return;
    snapshot_release(atomic_load(&cell->current));
    pthread_mutex_destroy(&cell->lock);
    mem_free(cell->slots);
    mem_free(cell);
}

const struct snapshot *snapshot_pin(struct snapshot_cell *cell, int slot) {
    struct snapshot *snapshot;
    if (slot < 0) {
        pthread_mutex_lock(&cell->lock);
        snapshot = atomic_load(&cell->current);
        if (snapshot) snapshot_retain(snapshot);
        pthread_mutex_unlock(&cell->lock);
        return snapshot;
    }
    _Atomic(struct snapshot *) *pinning = &cell->slots[slot].pinning;
    do {
        snapshot = atomic_load(&cell->current);
        atomic_store(pinning, snapshot);
    } while (snapshot != atomic_load(&cell->current));
    if (snapshot) snapshot_retain(snapshot);
    atomic_store_explicit(pinning, NULL, memory_order_release);
    return snapshot;
}

void snapshot_swap(struct snapshot_cell *cell, struct snapshot *next) {
    pthread_mutex_lock(&cell->lock);
    struct snapshot *old = atomic_exchange(&cell->current, next);
    for (int i = 0; old && i < cell->n_slots; i++)
        while (atomic_load(&cell->slots[i].pinning) == old) sched_yield();
    pthread_mutex_unlock(&cell->lock);
    snapshot_release(old);
}
