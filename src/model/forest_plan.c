#include "model/forest_plan.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum { BIG_CELLS = 512, CELLS_MAX = 65536, MASK_WORDS = FOREST_LEAVES_MAX / 64 };

/* A bit a leaf of one tree: those that a movie leaves open. */
struct leaf_mask {
    uint64_t words[MASK_WORDS];
};

/* How one tree sees the movies. */
struct tree_cells {
    int32_t n;
    struct leaf_mask *masks; /* (n,) of each cell */
    int too_many;
    reel_status status;
};

/* Trees whose cells are counted together. */
struct group {
    int32_t n_cells, n_trees;
    uint16_t *codes;  /* (M,) */
    int32_t *members; /* (n_trees,) room for all */
};

struct planner {
    reel_context *ctx;
    const struct forest *forest;
    struct forest_planned *out;
    int32_t n_movies, n_trees;
    int32_t columns[STAR_COLUMNS_MAX]; /* place of a model's column in a row */
    uint16_t *codes;                   /* (T, M) */
    struct tree_cells *cells;          /* (T,) */
    int32_t **slots;                   /* by worker: hash of masks */
    int64_t n_slots;                   /* a power of two */
    struct leaf_mask *masks;           /* (workers, M + 1) */
    struct group *groups;              /* (n_groups,) of T; small ones first once sorted */
    int32_t n_groups;
    int32_t *joint; /* (BIG_CELLS^2,) scratch of a join */
};

_Static_assert((int)STAR_COLUMNS_MAX <= (int)FOREST_COLUMNS_MAX && (int)STAR_TABLES == (int)FOREST_TABLES,
               "every model's row is one of the operators'");

/* Each node but the root is a child (forest_bind checks it): n leaves have n - 1 nodes above them. */
static int32_t leaves_of(const struct forest *forest, int32_t t) {
    return (forest->offsets[t + 1] - forest->offsets[t] + 1) / 2;
}

/* ---- rows ---- */

static void place_columns(struct planner *planner) {
    const struct forest_columns *columns = &planner->forest->columns;
    struct forest_plan *plan = &planner->out->plan;
    int32_t next = 0;
    for (int t = 0; t < STAR_TABLES; t++) {
        for (int c = 0; c < columns->n; c++)
            if (columns->tables[c] == t) planner->columns[c] = next++;
        plan->n_columns[t] = next - (t > 0 ? plan->n_columns[0] : 0) - (t > 1 ? plan->n_columns[1] : 0);
    }
    planner->out->user_mean = columns->user_mean < 0 ? -1 : planner->columns[columns->user_mean];
}

/* One table row-major: rows by `map` (NULL = as they are), then the model's row `last`, which is that of the unknown.
 */
static reel_status fill_rows(struct planner *planner, int table, int64_t n_rows, const int32_t *map, int32_t last,
                             reel_error *err) {
    const struct forest_columns *columns = &planner->forest->columns;
    int64_t width = planner->out->plan.n_columns[table], at = 0;
    TRY_RETURN(MEM_RAW(&planner->out->rows[table], n_rows * width, err));
    for (int c = 0; c < columns->n; c++) {
        if (columns->tables[c] != table) continue;
        float *to = planner->out->rows[table] + at++;
        for (int64_t row = 0; row < n_rows; row++) {
            int64_t from = row == n_rows - 1 ? last : map && map[row] < 0 ? last : map ? map[row] : row;
            to[row * width] = columns->values[c][from];
        }
    }
    return REEL_OK;
}

/* ---- cells of a tree ---- */

static struct leaf_mask open_leaves(const struct planner *planner, int32_t root, const float *movie) {
    const struct forest *forest = planner->forest;
    const int32_t first = planner->out->plan.n_columns[0];
    struct leaf_mask mask = {{0}};
    int32_t open[FOREST_STACK], at = root;
    int n_open = 0;
    for (;;) {
        const struct tree_step *node = &forest->nodes[at];
        if (node->column < 0) {
            mask.words[node->right >> 6] |= UINT64_C(1) << (node->right & 63);
            if (n_open == 0) return mask;
            at = open[--n_open];
        } else if (forest->columns.tables[node->column] == STAR_MOVIE) {
            float value = movie[planner->columns[node->column] - first];
            at = value > node->threshold ? node->right : node->left;
        } else {
            open[n_open++] = node->right;
            at = node->left;
        }
    }
}

static uint64_t hash_mask(const struct leaf_mask *mask) {
    uint64_t hash = 0;
    for (int i = 0; i < MASK_WORDS; i++)
        hash = (hash ^ mask->words[i]) * UINT64_C(0x9E3779B97F4A7C15), hash ^= hash >> 29;
    return hash;
}

/* The cell of a mask among the `n` found so far, a new one at the end. */
static int32_t find_cell(int32_t *slots, int64_t n_slots, struct leaf_mask *found, int32_t n,
                         const struct leaf_mask *mask) {
    int64_t at = (int64_t)(hash_mask(mask) & (uint64_t)(n_slots - 1));
    while (slots[at] && memcmp(&found[slots[at] - 1], mask, sizeof *mask) != 0) at = (at + 1) & (n_slots - 1);
    if (!slots[at]) {
        slots[at] = n + 1;
        found[n] = *mask;
    }
    return slots[at] - 1;
}

static void cell_task(void *arg, int64_t task, int worker) {
    struct planner *planner = arg;
    struct tree_cells *cells = &planner->cells[task];
    int32_t *slots = planner->slots[worker];
    struct leaf_mask *found = planner->masks + worker * ((int64_t)planner->n_movies + 1);
    const int64_t width = planner->out->plan.n_columns[1];
    uint16_t *codes = planner->codes + task * planner->n_movies;
    memset(slots, 0, sizeof *slots * (size_t)planner->n_slots);
    for (int32_t m = 0; m < planner->n_movies; m++) {
        struct leaf_mask mask = open_leaves(planner, planner->forest->offsets[task], planner->out->rows[1] + m * width);
        int32_t cell = find_cell(slots, planner->n_slots, found, cells->n, &mask);
        if (cell == CELLS_MAX) {
            cells->too_many = 1;
            return;
        }
        if (cell == cells->n) cells->n++;
        codes[m] = (uint16_t)cell;
    }
    cells->status = MEM_RAW(&cells->masks, cells->n, NULL);
    if (cells->status == REEL_OK) memcpy(cells->masks, found, sizeof *found * (size_t)cells->n);
}

static reel_status rooms_new(struct planner *planner, reel_error *err) {
    int n = thread_pool_size(planner->ctx->pool);
    for (planner->n_slots = 64; planner->n_slots < 2 * (int64_t)planner->n_movies;) planner->n_slots *= 2;
    TRY_RETURN(MEM_NEW(&planner->slots, n, err));
    TRY_RETURN(MEM_RAW(&planner->masks, n * ((int64_t)planner->n_movies + 1), err));
    for (int i = 0; i < n; i++) {
        TRY_RETURN(MEM_RAW(&planner->slots[i], planner->n_slots, err));
    }
    return REEL_OK;
}

/* *possible = 0 if a tree tells too many movies apart. */
static reel_status find_cells(struct planner *planner, int *possible, reel_error *err) {
    TRY_RETURN(rooms_new(planner, err));
    TRY_RETURN(MEM_RAW(&planner->codes, (int64_t)planner->n_trees * planner->n_movies, err));
    TRY_RETURN(MEM_NEW(&planner->cells, planner->n_trees, err));
    thread_pool_run(planner->ctx->pool, planner->n_trees, cell_task, planner);
    for (int32_t t = 0; t < planner->n_trees; t++) {
        if (planner->cells[t].status != REEL_OK) return error_no_memory(err, sizeof(struct leaf_mask) * CELLS_MAX);
        *possible &= !planner->cells[t].too_many;
    }
    return REEL_OK;
}

/* ---- groups ---- */

/* Puts tree t into the group if both together have at most `limit` cells. */
static int join_group(struct planner *planner, struct group *group, int32_t t, int32_t limit) {
    const uint16_t *codes = planner->codes + (int64_t)t * planner->n_movies;
    const int32_t width = planner->cells[t].n;
    int32_t n = 0, *joint = planner->joint;
    if (width > limit) return 0;
    memset(joint, 0, sizeof *joint * (size_t)(group->n_cells * width));
    for (int32_t m = 0; m < planner->n_movies; m++) {
        int32_t *cell = &joint[group->codes[m] * width + codes[m]];
        if (*cell) continue;
        if (n == limit) return 0;
        *cell = ++n;
    }
    for (int32_t m = 0; m < planner->n_movies; m++)
        group->codes[m] = (uint16_t)(joint[group->codes[m] * width + codes[m]] - 1);
    group->n_cells = n;
    group->members[group->n_trees++] = t;
    return 1;
}

static reel_status new_group(struct planner *planner, int32_t t, reel_error *err) {
    struct group *group = &planner->groups[planner->n_groups++];
    TRY_RETURN(MEM_RAW(&group->codes, planner->n_movies, err));
    TRY_RETURN(MEM_RAW(&group->members, planner->n_trees, err));
    memcpy(group->codes, planner->codes + (int64_t)t * planner->n_movies,
           sizeof *group->codes * (size_t)planner->n_movies);
    group->n_cells = planner->cells[t].n;
    group->members[0] = t;
    group->n_trees = 1;
    return REEL_OK;
}

/* First fit in the order of trees, small trees first, then those that no small group can hold. */
static reel_status make_groups(struct planner *planner, reel_error *err) {
    TRY_RETURN(MEM_NEW(&planner->groups, planner->n_trees, err));
    TRY_RETURN(MEM_RAW(&planner->joint, BIG_CELLS * BIG_CELLS, err));
    for (int big = 0; big < 2; big++) {
        const int32_t limit = big ? BIG_CELLS : FOREST_SMALL_CELLS, first = planner->n_groups;
        for (int32_t t = 0; t < planner->n_trees; t++) {
            int joined = 0;
            if ((planner->cells[t].n > FOREST_SMALL_CELLS) != big) continue;
            TRY_RETURN(context_check(planner->ctx, err));
            for (int32_t g = first; g < planner->n_groups && !joined; g++)
                joined = planner->groups[g].n_cells <= limit && join_group(planner, &planner->groups[g], t, limit);
            if (!joined) TRY_RETURN(new_group(planner, t, err));
        }
        if (!big) planner->out->plan.n_small = planner->n_groups;
    }
    return REEL_OK;
}

/* ---- the plan ---- */

/* Nodes and roots in the order of groups. */
static reel_status put_trees(struct planner *planner, reel_error *err) {
    const struct forest *forest = planner->forest;
    struct forest_planned *out = planner->out;
    int32_t n_nodes = forest->offsets[forest->n_trees], at = 0, tree = 0, leaf = 0;
    TRY_RETURN(MEM_RAW(&out->nodes, n_nodes, err));
    TRY_RETURN(MEM_RAW(&out->roots, planner->n_trees, err));
    for (int32_t g = 0; g < planner->n_groups; g++)
        for (int32_t i = 0; i < planner->groups[g].n_trees; i++) {
            int32_t t = planner->groups[g].members[i], first = forest->offsets[t], shift = at - first;
            out->roots[tree++] = at;
            for (int32_t from = first; from < forest->offsets[t + 1]; from++) {
                struct tree_step node = forest->nodes[from];
                if (node.column < 0)
                    node.right = leaf++;
                else
                    node.column = planner->columns[node.column], node.left += shift, node.right += shift;
                out->nodes[at++] = node;
            }
        }
    out->plan.n_nodes = at;
    out->plan.n_leaves = leaf;
    return REEL_OK;
}

static int64_t padded_cells(const struct group *group) {
    return group->n_cells > FOREST_SMALL_CELLS ? (group->n_cells + INT64_C(63)) / 64 * 64 : FOREST_SMALL_CELLS;
}

/* Codes, and where cells and cell sets lie. *possible = 0 if there are too many for 32 bits. */
static reel_status put_groups(struct planner *planner, int *possible, reel_error *err) {
    struct forest_planned *out = planner->out;
    int32_t n = planner->n_groups, tree = 0, leaf = 0;
    int64_t cells = 0;
    out->plan.padded = (planner->n_movies + INT64_C(255)) / FOREST_BLOCK * FOREST_BLOCK;
    TRY_RETURN(MEM_NEW(&out->group_trees, (int64_t)n + 1, err));
    TRY_RETURN(MEM_NEW(&out->group_cells, (int64_t)n + 1, err));
    TRY_RETURN(MEM_NEW(&out->codes, n * out->plan.padded, err));
    TRY_RETURN(MEM_NEW(&out->leaf_sets, (int64_t)out->plan.n_leaves + 1, err));
    for (int32_t g = 0; g < n; g++) {
        const struct group *group = &planner->groups[g];
        cells += padded_cells(group);
        if (cells > INT32_MAX) return *possible = 0, REEL_OK;
        out->group_trees[g + 1] = out->group_trees[g] + group->n_trees;
        out->group_cells[g + 1] = (int32_t)cells;
        memcpy(out->codes + g * out->plan.padded, group->codes, sizeof *group->codes * (size_t)planner->n_movies);
        for (; tree < out->group_trees[g + 1]; tree++) {
            int32_t end = tree + 1 < planner->n_trees ? out->roots[tree + 1] : out->plan.n_nodes;
            for (int32_t at = out->roots[tree]; at < end; at++)
                if (out->nodes[at].column < 0)
                    out->leaf_sets[leaf + 1] = out->leaf_sets[leaf] + padded_cells(group) / 64, leaf++;
        }
    }
    out->plan.n_cells = (int32_t)cells;
    return REEL_OK;
}

/* The first movie of each of the group's cells. */
static void first_movies(const struct planner *planner, const struct group *group, int32_t *movies) {
    for (int32_t m = planner->n_movies - 1; m >= 0; m--) movies[group->codes[m]] = m;
}

static reel_status put_sets(struct planner *planner, reel_error *err) {
    reel_status status = REEL_OK;
    struct forest_planned *out = planner->out;
    int32_t *movies = NULL, leaf = 0;
    TRY(MEM_NEW(&out->cell_sets, out->leaf_sets[out->plan.n_leaves], err));
    TRY(MEM_RAW(&movies, CELLS_MAX, err));
    for (int32_t g = 0; g < planner->n_groups; g++) {
        const struct group *group = &planner->groups[g];
        first_movies(planner, group, movies);
        for (int32_t i = 0; i < group->n_trees; i++) {
            int32_t t = group->members[i], n_leaves = leaves_of(planner->forest, t);
            for (int32_t c = 0; c < group->n_cells; c++) {
                uint16_t cell = planner->codes[(int64_t)t * planner->n_movies + movies[c]];
                const struct leaf_mask *mask = &planner->cells[t].masks[cell];
                for (int w = 0; w < MASK_WORDS; w++)
                    for (uint64_t bits = mask->words[w]; bits; bits &= bits - 1) {
                        int64_t set = out->leaf_sets[leaf + 64 * w + __builtin_ctzll(bits)];
                        out->cell_sets[set + c / 64] |= UINT64_C(1) << c % 64;
                    }
            }
            leaf += n_leaves;
        }
    }
cleanup:
    mem_free(movies);
    return status;
}

/* Elements of each of the plan's arrays. */
struct array_sizes {
    int64_t rows[FOREST_TABLES], groups, codes, leaves, sets;
};

static struct array_sizes sizes_of(const struct forest_planned *planned) {
    const struct forest_plan *plan = &planned->plan;
    const int64_t rows[FOREST_TABLES] = {(int64_t)plan->n_users + 1, (int64_t)plan->n_movies + 1, STAR_HOURS + 1};
    struct array_sizes sizes = {.groups = (int64_t)plan->n_groups + 1,
                                .codes = plan->n_groups * plan->padded,
                                .leaves = (int64_t)plan->n_leaves + 1,
                                .sets = planned->leaf_sets[plan->n_leaves]};
    for (int t = 0; t < FOREST_TABLES; t++) sizes.rows[t] = rows[t] * plan->n_columns[t];
    return sizes;
}

size_t forest_plan_bytes(const struct forest_planned *planned) {
    const struct array_sizes sizes = sizes_of(planned);
    const size_t floats = (size_t)(sizes.rows[0] + sizes.rows[1] + sizes.rows[2]);
    return sizeof(float) * floats + sizeof(struct tree_step) * (size_t)planned->plan.n_nodes +
           sizeof(int32_t) * ((size_t)planned->plan.n_trees + 2 * (size_t)sizes.groups) +
           sizeof(uint16_t) * (size_t)sizes.codes + sizeof(int64_t) * (size_t)(sizes.leaves + sizes.sets);
}

reel_status forest_plan_place(const struct forest_planned *planned, struct job_memory *job, struct forest_plan *out,
                              reel_error *err) {
    const struct array_sizes sizes = sizes_of(planned);
    *out = planned->plan;
    for (int t = 0; t < FOREST_TABLES; t++)
        TRY_RETURN(JOB_CONSTANT(job, &out->rows[t], planned->rows[t], sizes.rows[t], err));
    TRY_RETURN(JOB_CONSTANT(job, &out->nodes, planned->nodes, out->n_nodes, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->roots, planned->roots, out->n_trees, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->group_trees, planned->group_trees, sizes.groups, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->group_cells, planned->group_cells, sizes.groups, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->codes, planned->codes, sizes.codes, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->leaf_sets, planned->leaf_sets, sizes.leaves, err));
    return JOB_CONSTANT(job, &out->cell_sets, planned->cell_sets, sizes.sets, err);
}

/* The plan as host operators read it. */
static void point_to_arrays(struct forest_planned *out) {
    struct forest_plan *plan = &out->plan;
    for (int t = 0; t < FOREST_TABLES; t++) plan->rows[t] = out->rows[t];
    plan->nodes = out->nodes;
    plan->roots = out->roots;
    plan->group_trees = out->group_trees;
    plan->group_cells = out->group_cells;
    plan->codes = out->codes;
    plan->leaf_sets = out->leaf_sets;
    plan->cell_sets = out->cell_sets;
}

static void planner_free(struct planner *planner) {
    for (int i = 0; i < thread_pool_size(planner->ctx->pool); i++) {
        if (planner->slots) mem_free(planner->slots[i]);
    }
    for (int32_t t = 0; t < planner->n_trees; t++) {
        if (planner->cells) mem_free(planner->cells[t].masks);
        if (!planner->groups) continue;
        mem_free(planner->groups[t].codes);
        mem_free(planner->groups[t].members);
    }
    void *all[] = {planner->slots, planner->masks, planner->codes, planner->cells, planner->groups, planner->joint};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) mem_free(all[i]);
}

static int has_plan(const struct forest *forest) {
    int fits = forest->fixed;
    for (int32_t t = 0; t < forest->n_trees && fits; t++) fits = leaves_of(forest, t) <= FOREST_LEAVES_MAX;
    return fits;
}

reel_status forest_plan_new(reel_context *ctx, const struct reel_model *model, const struct forest *forest,
                            int32_t n_movies, const int32_t *movie_map, struct forest_planned **out, reel_error *err) {
    reel_status status = REEL_OK;
    int possible = 1;
    struct planner planner = {.ctx = ctx, .forest = forest, .n_movies = n_movies, .n_trees = forest->n_trees};
    *out = NULL;
    if (!has_plan(forest)) return REEL_OK;
    TRY(MEM_NEW(&planner.out, 1, err));
    planner.out->plan = (struct forest_plan){.n_users = model->n_users,
                                             .n_movies = n_movies,
                                             .base = forest->fixed_base,
                                             .shift = forest->shift,
                                             .n_trees = forest->n_trees};
    place_columns(&planner);
    TRY(fill_rows(&planner, STAR_USER, (int64_t)model->n_users + 1, NULL, model->n_users, err));
    TRY(fill_rows(&planner, STAR_MOVIE, (int64_t)n_movies + 1, movie_map, model->n_movies, err));
    TRY(fill_rows(&planner, STAR_CALENDAR, STAR_HOURS + 1, NULL, STAR_HOURS, err));
    TRY(find_cells(&planner, &possible, err));
    if (possible) TRY(make_groups(&planner, err));
    if (possible) TRY(put_trees(&planner, err));
    planner.out->plan.n_groups = planner.n_groups;
    if (possible) TRY(put_groups(&planner, &possible, err));
    if (!possible) goto cleanup;
    TRY(put_sets(&planner, err));
    point_to_arrays(planner.out);
    *out = planner.out;
    planner.out = NULL;
cleanup:
    forest_plan_free(planner.out);
    planner_free(&planner);
    return status;
}

void forest_plan_free(struct forest_planned *planned) {
    if (!planned) return;
    for (int t = 0; t < FOREST_TABLES; t++) mem_free(planned->rows[t]);
    void *all[] = {planned->nodes, planned->roots,     planned->group_trees, planned->group_cells,
                   planned->codes, planned->leaf_sets, planned->cell_sets};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) mem_free(all[i]);
    mem_free(planned);
}

void forest_plan_visitor(const struct forest_planned *planned, int64_t n, const float *stars, float *values) {
    const struct forest_plan *plan = &planned->plan;
    const float *unknown = planned->rows[0] + (int64_t)plan->n_users * plan->n_columns[0];
    double sum = 0;
    memcpy(values, unknown, sizeof *values * (size_t)plan->n_columns[0]);
    for (int64_t i = 0; i < n; i++) sum += (double)stars[i];
    if (n && planned->user_mean >= 0) values[planned->user_mean] = (float)(sum / (double)n);
}
