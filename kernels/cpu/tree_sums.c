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

enum { COUNT_AT = TREE_COUNT_AT, OWNERS_MAX = 1 << TREE_SEGMENT_BITS, NODES_MAX = 4 };

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

static void workers_begin(const struct tree_sums_args *args, struct worker *workers, int n) {
    int64_t n_words = n_slots(args);
    memset(args->scratch, 0, (size_t)(n * tree_sums_room(args->runs)) * sizeof *args->scratch);
    for (int w = 0; w < n; w++) {
        uint64_t *at = args->scratch + w * tree_sums_room(args->runs);
        workers[w] = (struct worker){.words = at};
        workers[w].unpacked = (struct tree_total *)(void *)(at + n_words);
        workers[w].kinds = workers[w].unpacked + n_words;
    }
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

static void merge(struct tree_sums_args *args, struct worker *workers, int n_workers) {
    int n_kinds = args->runs->n_kinds << args->level;
    for (int64_t slot = 0; slot < n_slots(args); slot++) {
        struct tree_total total = slot_total(workers, n_workers, slot);
        if (args->level == 0) {
            args->movies[slot] = total;
            continue;
        }
        const struct tree_total both = args->above[slot];
        args->movies[2 * slot] = (struct tree_total){both.sum - total.sum, both.count - total.count};
        args->movies[2 * slot + 1] = total;
    }
    for (int w = 0; w < n_workers; w++) {
        const struct worker *worker = &workers[w];
        for (int i = 0; i < n_kinds; i++) add_total(&args->kinds[i], worker->kinds[i]);
        args->squares[0] += worker->squares[0];
        args->squares[1] += worker->squares[1] + (args->squares[0] < worker->squares[0]);
        args->reach |= worker->reach;
    }
}

reel_status cpu_tree_sums(struct backend *backend, struct tree_sums_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    static const task_fn tasks[] = {first_task, second_task, third_task};
    const struct tree_runs *runs = args->runs;
    const size_t size = sizeof(struct tree_total) << args->level;
    struct job job = {.args = args};
    int n = thread_pool_size(backend->pool);
    memset(args->users, 0, (size_t)runs->n_users * size);
    memset(args->kinds, 0, (size_t)runs->n_kinds * size);
    args->squares[0] = args->squares[1] = args->reach = 0;
    TRY(MEM_NEW(&job.workers, n, err));
    workers_begin(args, job.workers, n);
    thread_pool_run(backend->pool, runs->n_parts, args->leaves ? update_task : tasks[args->level], &job);
    merge(args, job.workers, n);
cleanup:
    mem_free(job.workers);
    return status;
}
