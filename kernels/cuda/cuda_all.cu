#include "kernels/cuda/cuda_all.h"

#include <stdio.h>
#include <string.h>

#include "backend/registry.h"
#include "core/error.h"
#include "core/mem.h"

/* Uploads up to this size go from the host to each device, larger ones to the first and from there to the others:
 * pageable memory leaves the host at some 10 GB/s, and devices are linked at ten times that and more. */
static const size_t SMALL_UPLOAD = (size_t)1 << 16;

/* ---- work on every device ---- */

reel_status cuda_all_use(struct cuda_all *all, reel_error *err) {
    for (int d = 0; d < all->links.n; d++)
        if (all->links.devices[d]->lost) return cuda_backend_use(all->links.devices[d], err);
    return cuda_links_use(&all->links, err);
}

struct all_job {
    struct cuda_all *all;
    cuda_all_task task;
    const void *arg;
    reel_status statuses[CUDA_LINKS_MAX];
    reel_error errors[CUDA_LINKS_MAX];
};

static void run_task(void *arg, int64_t device, int worker) {
    (void)worker;
    struct all_job *job = (struct all_job *)arg;
    job->statuses[device] = job->task(job->all, (int)device, job->arg, &job->errors[device]);
}

reel_status cuda_all_at_once(struct cuda_all *all, cuda_all_task task, const void *arg, reel_error *err) {
    struct all_job job;
    job.all = all;
    job.task = task;
    job.arg = arg;
    thread_pool_run(all->threads, all->links.n, run_task, &job);
    for (int d = 0; d < all->links.n; d++) {
        if (job.statuses[d] == REEL_OK) continue;
        if (err) *err = job.errors[d];
        return job.statuses[d];
    }
    return REEL_OK;
}

reel_status cuda_all_in_turn(struct cuda_all *all, cuda_all_task task, const void *arg, reel_error *err) {
    for (int d = 0; d < all->links.n; d++) TRY_RETURN(task(all, d, arg, err));
    return REEL_OK;
}

/* ---- mirrored memory ---- */

/* How many arrays begin at or below `pointer` on the first device. */
static int mirrors_up_to(const struct cuda_all *all, const char *pointer) {
    int low = 0, high = all->n_mirrors;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (all->mirrors[middle].at[0] <= pointer)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void *cuda_all_mirrored(const struct cuda_all *all, int device, const void *pointer, int *unknown) {
    const char *at = (const char *)pointer;
    if (!pointer) return NULL;
    const int found = mirrors_up_to(all, at) - 1;
    if (found < 0 || (size_t)(at - all->mirrors[found].at[0]) > all->mirrors[found].bytes) {
        *unknown = 1;
        return NULL;
    }
    return all->mirrors[found].at[device] + (at - all->mirrors[found].at[0]);
}

static reel_status unknown_pointer(reel_error *err) {
    return error_set(err, REEL_INTERNAL, "an array is none of this backend's");
}

/* at[d] = the place on each device. */
static reel_status all_places(const struct cuda_all *all, const void *pointer, void *at[CUDA_LINKS_MAX],
                              reel_error *err) {
    int unknown = 0;
    for (int d = 0; d < all->links.n; d++) at[d] = cuda_all_mirrored(all, d, pointer, &unknown);
    return unknown ? unknown_pointer(err) : REEL_OK;
}

reel_status cuda_all_exchange(struct cuda_all *all, const void *pointer, const size_t cuts[], reel_error *err) {
    void *at[CUDA_LINKS_MAX];
    TRY_RETURN(all_places(all, pointer, at, err));
    return cuda_links_exchange(&all->links, at, cuts, err);
}

static reel_status make_room(struct cuda_all *all, reel_error *err) {
    struct mirror *more;
    if (all->n_mirrors < all->room) return REEL_OK;
    const int room = all->room ? 2 * all->room : 64;
    TRY_RETURN(MEM_RAW(&more, room, err));
    if (all->mirrors) memcpy(more, all->mirrors, (size_t)all->n_mirrors * sizeof *more);
    mem_free(all->mirrors);
    all->mirrors = more;
    all->room = room;
    return REEL_OK;
}

static void release_mirror(struct cuda_all *all, const struct mirror *mirror) {
    for (int d = 0; d < all->links.n; d++) {
        struct backend *device = cuda_all_device(all, d);
        device->ops->release(device, mirror->at[d]);
    }
}

static reel_status all_alloc(struct backend *backend, void **out, size_t bytes, reel_error *err) {
    struct cuda_all *all = cuda_all_of(backend);
    struct mirror mirror = {};
    *out = NULL;
    mirror.bytes = bytes;
    TRY_RETURN(cuda_all_use(all, err));
    TRY_RETURN(make_room(all, err));
    for (int d = 0; d < all->links.n; d++) {
        struct backend *device = cuda_all_device(all, d);
        reel_status status = device->ops->alloc(device, (void **)&mirror.at[d], bytes, err);
        if (status == REEL_OK) continue;
        release_mirror(all, &mirror);
        return status;
    }
    const int place = mirrors_up_to(all, mirror.at[0]);
    memmove(all->mirrors + place + 1, all->mirrors + place, (size_t)(all->n_mirrors++ - place) * sizeof mirror);
    all->mirrors[place] = mirror;
    *out = mirror.at[0];
    return REEL_OK;
}

static void all_release(struct backend *backend, void *pointer) {
    struct cuda_all *all = cuda_all_of(backend);
    const int found = mirrors_up_to(all, (const char *)pointer) - 1;
    if (!pointer || found < 0 || all->mirrors[found].at[0] != pointer) return;
    release_mirror(all, &all->mirrors[found]);
    all->n_mirrors--;
    memmove(all->mirrors + found, all->mirrors + found + 1, (size_t)(all->n_mirrors - found) * sizeof *all->mirrors);
}

/* ---- copies ---- */

static reel_status all_upload(struct backend *backend, void *to, const void *from, size_t bytes, reel_error *err) {
    struct cuda_all *all = cuda_all_of(backend);
    void *at[CUDA_LINKS_MAX];
    size_t cuts[CUDA_LINKS_MAX + 1] = {};
    TRY_RETURN(cuda_all_use(all, err));
    if (!bytes) return REEL_OK;
    TRY_RETURN(all_places(all, to, at, err));
    for (int d = 0; d < all->links.n && (d == 0 || bytes <= SMALL_UPLOAD); d++) {
        struct backend *device = cuda_all_device(all, d);
        TRY_RETURN(device->ops->upload(device, at[d], from, bytes, err));
    }
    if (bytes <= SMALL_UPLOAD) return REEL_OK;
    for (int d = 1; d <= all->links.n; d++) cuts[d] = bytes;
    return cuda_links_exchange(&all->links, at, cuts, err);
}

static reel_status all_download(struct backend *backend, void *to, const void *from, size_t bytes, reel_error *err) {
    struct cuda_all *all = cuda_all_of(backend);
    TRY_RETURN(cuda_all_use(all, err));
    return backend->first->ops->download(backend->first, to, from, bytes, err);
}

static reel_status all_zero(struct backend *backend, void *to, size_t bytes, reel_error *err) {
    struct cuda_all *all = cuda_all_of(backend);
    void *at[CUDA_LINKS_MAX];
    TRY_RETURN(cuda_all_use(all, err));
    if (!bytes) return REEL_OK;
    TRY_RETURN(all_places(all, to, at, err));
    for (int d = 0; d < all->links.n; d++) {
        struct backend *device = cuda_all_device(all, d);
        TRY_RETURN(device->ops->zero(device, at[d], bytes, err));
    }
    return REEL_OK;
}

static reel_status sync_task(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    (void)arg;
    struct backend *backend = cuda_all_device(all, device);
    return backend->ops->sync(backend, err);
}

static reel_status all_sync(struct backend *backend, reel_error *err) {
    return cuda_all_in_turn(cuda_all_of(backend), sync_task, NULL, err);
}

/* Of the device that has least. */
static reel_status all_free_memory(struct backend *backend, size_t *bytes, reel_error *err) {
    struct cuda_all *all = cuda_all_of(backend);
    *bytes = SIZE_MAX;
    for (int d = 0; d < all->links.n; d++) {
        size_t free_bytes;
        struct backend *device = cuda_all_device(all, d);
        TRY_RETURN(device->ops->free_memory(device, &free_bytes, err));
        if (free_bytes < *bytes) *bytes = free_bytes;
    }
    return REEL_OK;
}

/* ---- opening and closing ---- */

static void all_close(struct backend *backend) {
    struct cuda_all *all = cuda_all_of(backend);
    cuda_links_close(&all->links);
    for (int d = 0; d < all->links.n; d++)
        if (all->links.devices[d]) cuda_all_device(all, d)->ops->close(cuda_all_device(all, d));
    thread_pool_free(all->threads);
    mem_free(all->mirrors);
    mem_free(all);
}

/* Without sgd_epoch, tree_sums and the spectral operators: each step of theirs needs what the others just did. */
static const struct backend_ops all_ops = {
    .close = all_close,
    .alloc = all_alloc,
    .release = all_release,
    .upload = all_upload,
    .download = all_download,
    .zero = all_zero,
    .sync = all_sync,
    .free_memory = all_free_memory,
    .factor_solve = cuda_all_factor_solve,
    .factor_cg = cuda_all_factor_cg,
    .topk_users = cuda_all_topk_users,
    .predict_pairs = cuda_all_predict_pairs,
    .residuals = cuda_all_residuals,
    .set_sweep = cuda_all_set_sweep,
    .group_sweep = cuda_all_group_sweep,
    .group_add = cuda_all_group_add,
    .moments = cuda_all_moments,
    .gather = cuda_all_gather,
    .add_vectors = cuda_all_add_vectors,
    .pair_scores = cuda_all_pair_scores,
    .forest_pairs = cuda_all_forest_pairs,
    .forest_topk = cuda_all_forest_topk,
};

struct open_args {
    const int *devices;
    struct thread_pool *pool;
};

/* A context takes some tenths of a second to make: all at once. */
static reel_status open_task(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    const struct open_args *args = (const struct open_args *)arg;
    struct backend *opened;
    TRY_RETURN(cuda_backend_open(args->devices[device], args->pool, &opened, err));
    all->links.devices[device] = (struct cuda_backend *)opened;
    all->links.devices[device]->shares_pool = 1;
    return REEL_OK;
}

static reel_status all_new(const int *devices, int n, struct thread_pool *pool, struct backend **out,
                           const char **notice, reel_error *err) {
    reel_status status = REEL_OK;
    struct cuda_all *all;
    const struct open_args args = {.devices = devices, .pool = pool};
    TRY_RETURN(MEM_NEW(&all, 1, err));
    all->ops = all_ops;
    all->ops.name = all->name;
    all->base.ops = &all->ops;
    all->base.pool = pool;
    all->base.several = n;
    all->links.n = n;
    for (int d = 0, length = 0; d < n && length < (int)sizeof all->name; d++)
        length +=
            snprintf(all->name + length, sizeof all->name - (size_t)length, "%s%d", d ? "+" : "cuda:", devices[d]);
    TRY(thread_pool_new(n, &all->threads, err));
    TRY(cuda_all_at_once(all, open_task, &args, err));
    all->base.first = cuda_all_device(all, 0);
    all->ops.factor_k_max = all->base.first->ops->factor_k_max;
    cuda_links_open(&all->links, notice);
    *out = &all->base;
    return REEL_OK;
cleanup:
    all_close(&all->base);
    return status;
}

reel_status cuda_all_open(const int *devices, int n, struct thread_pool *pool, struct backend **out,
                          const char **notice, reel_error *err) {
    int every[CUDA_LINKS_MAX], found;
    *out = NULL;
    TRY_RETURN(cuda_device_count(&found, err));
    if (n == 0) {
        if (found == 1) *notice = "one GPU is here: cuda:all is cuda:0";
        if (found > CUDA_LINKS_MAX)
            return error_set(err, REEL_UNSUPPORTED, "cuda:all takes at most %d GPUs (%d are here; name them: cuda:0+1)",
                             CUDA_LINKS_MAX, found);
        for (n = 0; n < found; n++) every[n] = n;
        devices = every;
    }
    if (n == 1) return cuda_backend_open(devices[0], pool, out, err);
    for (int d = 0; d < n; d++)
        if (devices[d] >= found) return cuda_backend_open(devices[d], pool, out, err); /* says what is there */
    return all_new(devices, n, pool, out, notice, err);
}
