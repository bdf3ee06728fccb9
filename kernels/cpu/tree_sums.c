/* tree_sums on the CPU.
 *
 * Within a run only the movie changes, so the sums of its user and calendar kind stay in registers, and the one
 * scattered access a rating is the movie's sum. What must stay in cache for it is kept small: sum and count share a
 * 64-bit word (count above bit COUNT_AT; words are unpacked before either part can overflow), and below the root only
 * what goes right is summed up: what goes left is what the level above has less that. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/cpu/cpu_forest.h"

enum { COUNT_AT = TREE_COUNT_AT, OWNERS_MAX = 1 << TREE_SEGMENT_BITS, NODES_MAX = 4, ROWS_A_TASK = 1 << 13 };

struct worker {
    uint64_t *words;             /* (M, slots): all at the root, what goes right of each node below it */
    struct tree_total *unpacked; /* (M, slots) */
    struct tree_total *kinds;    /* (K, nodes) */
    int64_t n_owners;            /* since words were unpacked */
    uint64_t squares[2];
    uint32_t reach;
};

struct job {
    struct tree_sums_args *args;
    struct worker *workers;
    int n_workers;
};

static inline struct tree_total unpack(uint64_t word) {
    int64_t sum = (int64_t)(word << (64 - COUNT_AT)) >> (64 - COUNT_AT);
    return (struct tree_total){sum, (int64_t)((word - (uint64_t)sum) >> COUNT_AT)};
}

static inline void add_total(struct tree_total *to, struct tree_total from) {
    to->sum += from.sum;
    to->count += from.count;
}

/* Movies times words of each. */
static int64_t n_slots(const struct tree_sums_args *args) {
    return (int64_t)args->runs->n_movies << (args->level ? args->level - 1 : 0);
}

/* An owner rates a movie once: 2^14 owners of residuals below 2^31 stay below 2^46, and below 2^17 counts. */
static void unpack_words(const struct tree_sums_args *args, struct worker *worker) {
    int64_t n = n_slots(args);
    for (int64_t i = 0; i < n; i++) add_total(&worker->unpacked[i], unpack(worker->words[i]));
    memset(worker->words, 0, (size_t)n * sizeof *worker->words);
    worker->n_owners = 0;
}

/* One run; `level` and `update` are constants where it is inlined. */
static inline __attribute__((always_inline)) void sum_run(const struct tree_sums_args *args, struct worker *worker,
                                                          int64_t run, int level, int update) {
    const struct tree_runs *runs = args->runs;
    const int32_t user = runs->users[run], kind = runs->kinds[run];
    const uint8_t *movie_bits = args->movie_bits, bits = args->user_bits[user] | args->kind_bits[kind];
    const int32_t *movies = runs->movies;
    int32_t *residuals = args->residuals;
    uint64_t *words = worker->words, all = 0, right = 0, left_right = 0, right_right = 0;
    uint64_t low = worker->squares[0], high = worker->squares[1];
    uint32_t reach = worker->reach;
    for (int64_t i = runs->begins[run]; i < runs->begins[run + 1]; i++) {
        const int64_t movie = movies[i];
        const uint64_t path = bits | movie_bits[movie];
        int64_t residual = residuals[i];
        if (update) {
            residual -= args->leaves[path];
            residuals[i] = (int32_t)residual;
            uint64_t square = (uint64_t)(residual * residual);
            low += square;
            high += low < square;
            reach |= (uint32_t)(residual ^ residual >> 63);
        }
        const uint64_t word = (uint64_t)residual + (UINT64_C(1) << COUNT_AT);
        all += word;
        if (level == 0) words[movie] += word;
        if (level == 1) {
            uint64_t to_right = word & (0 - (path & 1));
            words[movie] += to_right;
            right += to_right;
        }
        if (level == 2) {
            uint64_t first = path & 1, second = 0 - (path >> (1 + first) & 1), to_right = word & (0 - first);
            words[2 * movie + (int64_t)first] += word & second;
            right += to_right;
            right_right += to_right & second;
            left_right += word & second;
        }
    }
    if (update) worker->squares[0] = low, worker->squares[1] = high, worker->reach = reach;
    uint64_t nodes[NODES_MAX] = {all};
    if (level == 1) nodes[0] = all - right, nodes[1] = right;
    if (level == 2) {
        left_right -= right_right;
        nodes[0] = all - right - left_right, nodes[1] = left_right;
        nodes[2] = right - right_right, nodes[3] = right_right;
    }
    for (int node = 0; node < 1 << level; node++) {
        struct tree_total total = unpack(nodes[node]);
        add_total(&args->users[((int64_t)user << level) + node], total);
        add_total(&worker->kinds[(kind << level) + node], total);
    }
}

static inline __attribute__((always_inline)) void sum_part(const struct job *job, int64_t part, int index, int level,
                                                           int update) {
    const struct tree_runs *runs = job->args->runs;
    struct worker *worker = &job->workers[index];
    int32_t owner = -1;
    for (int64_t run = runs->parts[part]; run < runs->parts[part + 1]; run++) {
        const int32_t own = runs->owners ? runs->owners[runs->users[run]] : runs->users[run];
        if (own != owner) {
            if (worker->n_owners == OWNERS_MAX) unpack_words(job->args, worker);
            worker->n_owners++;
            owner = own;
        }
        sum_run(job->args, worker, run, level, update);
    }
}

static void first_task(void *job, int64_t part, int worker) {
    sum_part(job, part, worker, 0, 0);
}
static void update_task(void *job, int64_t part, int worker) {
    sum_part(job, part, worker, 0, 1);
}
static void second_task(void *job, int64_t part, int worker) {
    sum_part(job, part, worker, 1, 0);
}
static void third_task(void *job, int64_t part, int worker) {
    sum_part(job, part, worker, 2, 0);
}

static int64_t n_tasks(int64_t rows) {
    return (rows + ROWS_A_TASK - 1) / ROWS_A_TASK;
}

static int64_t task_end(int64_t task, int64_t rows) {
    return (task + 1) * ROWS_A_TASK < rows ? (task + 1) * ROWS_A_TASK : rows;
}

/* A worker's scratch, then users. */
static void clear_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct job *job = arg;
    const struct tree_sums_args *args = job->args;
    const int64_t n = n_slots(args), n_kinds = (int64_t)args->runs->n_kinds << args->level;
    if (task < job->n_workers) {
        uint64_t *at = args->scratch + task * tree_sums_room(args->runs);
        memset(at, 0, (size_t)(3 * n + 2 * n_kinds) * sizeof *at);
        job->workers[task] = (struct worker){.words = at, .unpacked = (struct tree_total *)(void *)(at + n)};
        job->workers[task].kinds = job->workers[task].unpacked + n;
        return;
    }
    task -= job->n_workers;
    int64_t first = task * ROWS_A_TASK, end = task_end(task, args->runs->n_users);
    memset(args->users + (first << args->level), 0, (size_t)((end - first) << args->level) * sizeof *args->users);
}

/* What all workers have in a slot. */
static struct tree_total slot_total(const struct worker *workers, int n_workers, int64_t slot) {
    struct tree_total total = {0, 0};
    for (int w = 0; w < n_workers; w++) {
        add_total(&total, workers[w].unpacked[slot]);
        add_total(&total, unpack(workers[w].words[slot]));
    }
    return total;
}

static void merge_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct job *job = arg;
    const struct tree_sums_args *args = job->args;
    const int64_t end = task_end(task, n_slots(args));
    for (int64_t slot = task * ROWS_A_TASK; slot < end; slot++) {
        struct tree_total total = slot_total(job->workers, job->n_workers, slot);
        if (args->level == 0) {
            args->movies[slot] = total;
            continue;
        }
        const struct tree_total both = args->above[slot];
        args->movies[2 * slot] = (struct tree_total){both.sum - total.sum, both.count - total.count};
        args->movies[2 * slot + 1] = total;
    }
}

/* The kinds, which are few, and the report. */
static void merge_rest(const struct job *job) {
    struct tree_sums_args *args = job->args;
    int n_kinds = args->runs->n_kinds << args->level;
    memset(args->kinds, 0, (size_t)n_kinds * sizeof *args->kinds);
    args->squares[0] = args->squares[1] = args->reach = 0;
    for (int w = 0; w < job->n_workers; w++) {
        const struct worker *worker = &job->workers[w];
        for (int i = 0; i < n_kinds; i++) add_total(&args->kinds[i], worker->kinds[i]);
        args->squares[0] += worker->squares[0];
        args->squares[1] += worker->squares[1] + (args->squares[0] < worker->squares[0]);
        args->reach |= worker->reach;
    }
}

reel_status cpu_tree_sums(struct backend *backend, struct tree_sums_args *args, reel_error *err) {
    static const task_fn tasks[] = {first_task, second_task, third_task};
    const struct tree_runs *runs = args->runs;
    struct job job = {.args = args, .n_workers = thread_pool_size(backend->pool)};
    TRY_RETURN(MEM_NEW(&job.workers, job.n_workers, err));
    thread_pool_run(backend->pool, job.n_workers + n_tasks(runs->n_users), clear_task, &job);
    thread_pool_run(backend->pool, runs->n_parts, args->leaves ? update_task : tasks[args->level], &job);
    thread_pool_run(backend->pool, n_tasks(n_slots(args)), merge_task, &job);
    merge_rest(&job);
    mem_free(job.workers);
    return REEL_OK;
}
