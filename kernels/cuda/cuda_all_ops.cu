/* The operators of several devices. Each calls the operators of one device with that device's pointers. */
#include "backend/factor_ops.h"
#include "backend/gibbs_ops.h"
#include "backend/topk_ops.h"
#include "backend/tree_ops.h"
#include "core/error.h"
#include "kernels/cuda/cuda_all.h"
#include "kernels/cuda/cuda_ops.h"

/* Turns pointers into the first device's arrays into those of `device`. */
template <typename... Element>
static reel_status move_to(const struct cuda_all *all, int device, reel_error *err, Element *&...pointers) {
    int unknown = 0;
    ((pointers = (Element *)cuda_all_mirrored(all, device, pointers, &unknown)), ...);
    return unknown ? error_set(err, REEL_INTERNAL, "an operator was given an array that is none of this backend's")
                   : REEL_OK;
}

/* ---- factor_solve, factor_cg: rows in parts ---- */

/* cuts[p] = the first row whose predecessors, solved, cost p shares of all: parts of whole rows. A row costs its
 * ratings and `solving` more. Thread p finds cut p. */
static __global__ void cut_rows_kernel(const int64_t *offsets, int32_t n_rows, int solving, int parts, int32_t *cuts) {
    const int part = (int)threadIdx.x;
    if (part > parts) return;
    const int64_t total = offsets[n_rows] + (int64_t)n_rows * solving;
    int32_t low = 0, high = n_rows;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if ((offsets[middle] + (int64_t)middle * solving) * parts >= total * part)
            high = middle;
        else
            low = middle + 1;
    }
    cuts[part] = part == parts ? n_rows : low;
}

struct solve_job {
    const struct factor_solve_args *args;
    reel_status (*solve)(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
    int32_t cuts[CUDA_LINKS_MAX + 1];
};

/* docs/gpu.md: a row's solution takes the time of some d ratings. */
static reel_status cut_rows(struct cuda_all *all, struct solve_job *job, reel_error *err) {
    const struct factor_solve_args *args = job->args;
    struct cuda_backend *first = all->links.devices[0];
    int32_t *cuts;
    TRY_RETURN(cuda_backend_use(first, err));
    TRY_RETURN(cuda_scratch(first, 0, sizeof job->cuts, (void **)&cuts, err));
    cut_rows_kernel<<<1, 32, 0, first->stream>>>(args->offsets, args->n_rows, args->k + 1, all->links.n, cuts);
    TRY_RETURN(cuda_launched(first, "cut_rows_kernel", err));
    return first->base.ops->download(&first->base, job->cuts, cuts, sizeof job->cuts, err);
}

static reel_status solve_part(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    const struct solve_job *job = (const struct solve_job *)arg;
    const int32_t first = job->cuts[device];
    struct factor_solve_args args = *job->args;
    TRY_RETURN(move_to(all, device, err, args.offsets, args.columns, args.ratings, args.residual, args.column_vectors,
                       args.row_offsets, args.row_vectors));
    args.first_row += first;
    args.n_rows = job->cuts[device + 1] - first;
    args.offsets += first;
    if (args.row_offsets) args.row_offsets += (int64_t)first * args.stride;
    args.row_vectors += (int64_t)first * args.stride;
    return job->solve(cuda_all_device(all, device), &args, err);
}

static reel_status solve_in_parts(struct cuda_all *all, struct solve_job *job, reel_error *err) {
    const struct factor_solve_args *args = job->args;
    size_t bytes[CUDA_LINKS_MAX + 1];
    TRY_RETURN(cuda_all_use(all, err));
    if (args->n_rows > 0) TRY_RETURN(cut_rows(all, job, err));
    TRY_RETURN(cuda_all_at_once(all, solve_part, job, err));
    for (int p = 0; p <= all->links.n; p++)
        bytes[p] = (size_t)job->cuts[p] * (size_t)args->stride * sizeof *args->row_vectors;
    return cuda_all_exchange(all, args->row_vectors, bytes, err);
}

reel_status cuda_all_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err) {
    struct solve_job job = {.args = args, .solve = cuda_factor_solve};
    return solve_in_parts(cuda_all_of(backend), &job, err);
}

reel_status cuda_all_factor_cg(struct backend *backend, const struct factor_solve_args *args, reel_error *err) {
    struct solve_job job = {.args = args, .solve = cuda_factor_cg};
    return solve_in_parts(cuda_all_of(backend), &job, err);
}

/* ---- topk_users, forest_topk: users in parts ---- */

/* Whole tiles of users to a device (kernels/cuda/topk_users.cu, forest_score.cu), so that no block is half empty. */
enum { USER_TILE = 128 };

static int64_t first_user(int64_t n, int parts, int part) {
    return part == parts ? n : part_begin(n, parts, part) / USER_TILE * USER_TILE;
}

static reel_status topk_part(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct topk_users_args args = *(const struct topk_users_args *)arg;
    struct factor_panels panels = *args.panels;
    const int64_t first = first_user(args.n_users, all->links.n, device);
    TRY_RETURN(move_to(all, device, err, panels.factors, panels.bias, panels.movies, panels.positions,
                       args.user_factors, args.user_bias, args.seen_offsets, args.seen_movies));
    args.panels = &panels;
    args.n_users = first_user(args.n_users, all->links.n, device + 1) - first;
    args.rows += first;
    if (args.seen_rows) args.seen_rows += first;
    args.movies += first * args.n;
    args.scores += first * args.n;
    return cuda_topk_users(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_topk_users(struct backend *backend, const struct topk_users_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_at_once(cuda_all_of(backend), topk_part, args, err);
}

static reel_status move_plan(const struct cuda_all *all, int device, struct forest_plan *plan, reel_error *err) {
    return move_to(all, device, err, plan->rows[0], plan->rows[1], plan->rows[2], plan->nodes, plan->roots,
                   plan->group_trees, plan->group_cells, plan->codes, plan->leaf_sets, plan->cell_sets);
}

static reel_status forest_topk_part(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct forest_topk_args args = *(const struct forest_topk_args *)arg;
    struct forest_plan plan = *args.plan;
    const int64_t first = first_user(args.n_users, all->links.n, device);
    TRY_RETURN(move_plan(all, device, &plan, err));
    TRY_RETURN(move_to(all, device, err, args.seen_offsets, args.seen_movies));
    args.plan = &plan;
    args.n_users = first_user(args.n_users, all->links.n, device + 1) - first;
    args.users += first;
    if (args.seen_rows) args.seen_rows += first;
    args.movies += first * args.n;
    args.scores += first * args.n;
    return cuda_forest_topk(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_forest_topk(struct backend *backend, const struct forest_topk_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_at_once(cuda_all_of(backend), forest_topk_part, args, err);
}

/* ---- predict_pairs, forest_pairs: pairs in parts ---- */

static reel_status predict_part(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct predict_pairs_args args = *(const struct predict_pairs_args *)arg;
    const int64_t first = part_begin(args.n, all->links.n, device);
    TRY_RETURN(move_to(all, device, err, args.user_factors, args.movie_factors, args.user_bias, args.movie_bias));
    args.n = part_begin(args.n, all->links.n, device + 1) - first;
    args.users += first;
    args.movies += first;
    args.scores += first;
    return cuda_predict_pairs(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_predict_pairs(struct backend *backend, const struct predict_pairs_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_at_once(cuda_all_of(backend), predict_part, args, err);
}

static reel_status forest_pairs_part(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct forest_pairs_args args = *(const struct forest_pairs_args *)arg;
    struct forest_plan plan = *args.plan;
    const int64_t first = part_begin(args.n, all->links.n, device);
    TRY_RETURN(move_plan(all, device, &plan, err));
    args.plan = &plan;
    args.n = part_begin(args.n, all->links.n, device + 1) - first;
    args.users += first;
    args.movies += first;
    args.hours += first;
    args.scores += first;
    return cuda_forest_pairs(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_forest_pairs(struct backend *backend, const struct forest_pairs_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_at_once(cuda_all_of(backend), forest_pairs_part, args, err);
}

/* ---- residuals, pair_scores: ratings in parts ---- */

struct residuals_job {
    const struct residuals_args *args;
    double *sums; /* (CUDA_RESIDUAL_PARTS,) */
};

static int first_part(const struct cuda_all *all, int device) {
    return (int)part_begin(CUDA_RESIDUAL_PARTS, all->links.n, device);
}

static reel_status residuals_part(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    const struct residuals_job *job = (const struct residuals_job *)arg;
    const int first = first_part(all, device);
    struct residuals_args args = *job->args;
    TRY_RETURN(move_to(all, device, err, args.offsets, args.columns, args.ratings, args.effects, args.row_vectors,
                       args.column_vectors, args.out));
    return cuda_residual_parts(cuda_all_device(all, device), &args, first, first_part(all, device + 1) - first,
                               job->sums + first, err);
}

static reel_status exchange_residuals(struct cuda_all *all, const struct residuals_args *args, reel_error *err) {
    int64_t n;
    size_t bytes[CUDA_LINKS_MAX + 1];
    TRY_RETURN(all->base.ops->download(&all->base, &n, args->offsets + args->n_rows, sizeof n, err));
    for (int p = 0; p <= all->links.n; p++)
        bytes[p] = (size_t)cuda_residual_begin(n, first_part(all, p)) * sizeof *args->out;
    return cuda_all_exchange(all, args->out, bytes, err);
}

reel_status cuda_all_residuals(struct backend *backend, const struct residuals_args *args, reel_error *err) {
    struct cuda_all *all = cuda_all_of(backend);
    double sums[CUDA_RESIDUAL_PARTS];
    const struct residuals_job job = {.args = args, .sums = sums};
    *args->sum_squares = 0;
    TRY_RETURN(cuda_all_use(all, err));
    TRY_RETURN(cuda_all_at_once(all, residuals_part, &job, err));
    for (int part = 0; part < CUDA_RESIDUAL_PARTS; part++) *args->sum_squares += sums[part];
    return args->out ? exchange_residuals(all, args, err) : REEL_OK;
}

static reel_status pair_scores_part(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct pair_scores_args args = *(const struct pair_scores_args *)arg;
    const int64_t first = part_begin(args.n, all->links.n, device);
    TRY_RETURN(move_to(all, device, err, args.rows, args.columns, args.row_vectors, args.column_vectors, args.out));
    args.n = part_begin(args.n, all->links.n, device + 1) - first;
    args.rows += first;
    args.columns += first;
    args.out += first;
    return cuda_pair_scores(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_pair_scores(struct backend *backend, const struct pair_scores_args *args, reel_error *err) {
    struct cuda_all *all = cuda_all_of(backend);
    size_t bytes[CUDA_LINKS_MAX + 1];
    TRY_RETURN(cuda_all_use(all, err));
    TRY_RETURN(cuda_all_in_turn(all, pair_scores_part, args, err));
    for (int p = 0; p <= all->links.n; p++) bytes[p] = (size_t)part_begin(args->n, all->links.n, p) * sizeof *args->out;
    return cuda_all_exchange(all, args->out, bytes, err);
}

/* ---- the same on every device ---- */

static reel_status set_sweep_on(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct set_sweep_args args = *(const struct set_sweep_args *)arg;
    TRY_RETURN(move_to(all, device, err, args.offsets, args.columns, args.column_offsets, args.column_rows,
                       args.column_vectors, args.features, args.row_sums, args.residual));
    return cuda_set_sweep(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_set_sweep(struct backend *backend, const struct set_sweep_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_at_once(cuda_all_of(backend), set_sweep_on, args, err); /* thousands of launches */
}

static reel_status group_sweep_on(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct group_sweep_args args = *(const struct group_sweep_args *)arg;
    TRY_RETURN(move_to(all, device, err, args.offsets, args.positions, args.effects, args.residual));
    return cuda_group_sweep(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_group_sweep(struct backend *backend, const struct group_sweep_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_in_turn(cuda_all_of(backend), group_sweep_on, args, err);
}

static reel_status group_add_on(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct group_add_args args = *(const struct group_add_args *)arg;
    TRY_RETURN(move_to(all, device, err, args.offsets, args.positions, args.effects, args.out));
    return cuda_group_add(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_group_add(struct backend *backend, const struct group_add_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_in_turn(cuda_all_of(backend), group_add_on, args, err);
}

static reel_status gather_on(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct gather_args args = *(const struct gather_args *)arg;
    TRY_RETURN(move_to(all, device, err, args.index, args.in, args.out));
    return cuda_gather(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_gather(struct backend *backend, const struct gather_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_in_turn(cuda_all_of(backend), gather_on, args, err);
}

static reel_status add_vectors_on(struct cuda_all *all, int device, const void *arg, reel_error *err) {
    struct add_vectors_args args = *(const struct add_vectors_args *)arg;
    TRY_RETURN(move_to(all, device, err, args.a, args.b, args.out));
    return cuda_add_vectors(cuda_all_device(all, device), &args, err);
}

reel_status cuda_all_add_vectors(struct backend *backend, const struct add_vectors_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_all_in_turn(cuda_all_of(backend), add_vectors_on, args, err);
}

/* ---- the first alone ---- */

reel_status cuda_all_moments(struct backend *backend, const struct moments_args *args, reel_error *err) {
    TRY_RETURN(cuda_all_use(cuda_all_of(backend), err));
    return cuda_moments(backend->first, args, err);
}
