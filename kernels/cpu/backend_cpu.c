/* The CPU backend: plain memory, operators that run on the context's thread pool. */
#include "kernels/cpu/backend_cpu.h"

#include <string.h>

#include "backend/factor_ops.h"
#include "backend/registry.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/cpu/cpu_factor.h"
#include "kernels/cpu/cpu_forest.h"
#include "kernels/cpu/cpu_spectral.h"
#include "kernels/cpu/cpu_topk.h"
#include "kernels/cpu/sgd_tile.h"

struct cpu_backend {
    struct backend base; /* first, so that a struct backend * is one of these */
    void *scratch;
    size_t scratch_bytes;
};

static void cpu_close(struct backend *backend) {
    mem_free(((struct cpu_backend *)backend)->scratch);
    mem_free(backend);
}

reel_status cpu_scratch(struct backend *backend, size_t bytes, void **out, reel_error *err) {
    struct cpu_backend *cpu = (struct cpu_backend *)backend;
    if (cpu->scratch_bytes < bytes) {
        mem_free(cpu->scratch);
        cpu->scratch = NULL;
        cpu->scratch_bytes = 0;
        TRY_RETURN(mem_alloc(&cpu->scratch, bytes, 1, err));
        cpu->scratch_bytes = bytes;
    }
    *out = cpu->scratch;
    return REEL_OK;
}

static reel_status cpu_alloc(struct backend *backend, void **out, size_t bytes, reel_error *err) {
    (void)backend;
    return mem_alloc(out, bytes, 1, err);
}

static void cpu_release(struct backend *backend, void *pointer) {
    (void)backend;
    mem_free(pointer);
}

static reel_status cpu_copy(struct backend *backend, void *to, const void *from, size_t bytes, reel_error *err) {
    (void)backend, (void)err;
    if (bytes) memcpy(to, from, bytes);
    return REEL_OK;
}

static reel_status cpu_zero(struct backend *backend, void *at, size_t bytes, reel_error *err) {
    (void)backend, (void)err;
    if (bytes) memset(at, 0, bytes);
    return REEL_OK;
}

static reel_status cpu_sync(struct backend *backend, reel_error *err) {
    (void)backend, (void)err;
    return REEL_OK;
}

static const struct backend_ops cpu_ops = {
    .name = "cpu",
    .uses_host_memory = 1,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_copy,
    .download = cpu_copy,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .sgd_epoch = cpu_sgd_epoch,
    .factor_solve = cpu_factor_solve,
    .factor_k_max = FACTOR_K_MAX,
    .factor_cg = cpu_factor_cg,
    .score_movies = cpu_score_movies,
    .topk_users = cpu_topk_users,
    .predict_pairs = cpu_predict_pairs,
    .residuals = cpu_residuals,
    .set_sweep = cpu_set_sweep,
    .group_sweep = cpu_group_sweep,
    .group_add = cpu_group_add,
    .moments = cpu_moments,
    .gather = cpu_gather,
    .add_vectors = cpu_add_vectors,
    .pair_scores = cpu_pair_scores,
    .affinity_apply = cpu_affinity_apply,
    .block_dot = cpu_block_dot,
    .block_update = cpu_block_update,
    .block_scale = cpu_block_scale,
    .eigen_symmetric = cpu_eigen_symmetric,
    .kmeans_assign = cpu_kmeans_assign,
    .forest_movies = cpu_forest_movies,
    .forest_pairs = cpu_forest_pairs,
    .forest_topk = cpu_forest_topk,
    .tree_sums = cpu_tree_sums,
    .tree_splits = cpu_tree_splits,
    .tree_bits = cpu_tree_bits,
};

reel_status cpu_backend_open(struct thread_pool *pool, struct backend **out, reel_error *err) {
    struct cpu_backend *cpu;
    TRY_RETURN(MEM_NEW(&cpu, 1, err));
    cpu->base = (struct backend){.ops = &cpu_ops, .pool = pool};
    *out = &cpu->base;
    return REEL_OK;
}
