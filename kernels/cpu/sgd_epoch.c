/* sgd_epoch on the CPU: the plain visit, which is the specification (see backend/sgd_ops.h), and the schedule.
 *
 * The schedule runs a block as soon as the blocks before it in block_order that share its user band or its movie
 * band are done. Any such execution gives the bits of the sequential one, so nothing depends on the threads, and
 * no thread waits at a barrier while a block is ready. */
#include <math.h>
#include <pthread.h>

#include "backend/registry.h"
#include "core/doctor.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/cpu/sgd_tile.h"

/* ---- the plain visit ---- */

static float sum_lanes(const float *even, const float *odd) {
    float sum[SGD_LANES];
    for (int l = 0; l < SGD_LANES; l++) sum[l] = even[l] + odd[l];
    for (int half = SGD_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) sum[l] = sum[l] + sum[l + half];
    return sum[0];
}

static float dot(const float *p, const float *q, int stride) {
    float part[2][SGD_LANES] = {{0}};
    for (int l = 0; l < stride; l++) {
        float *sum = &part[l / SGD_LANES % 2][l % SGD_LANES];
        *sum = l < 2 * SGD_LANES ? p[l] * q[l] : fmaf(p[l], q[l], *sum);
    }
    return sum_lanes(part[0], part[1]);
}

static double visit(const struct sgd_epoch_args *args, float *p, float *q, float value) {
    float error = value - dot(p, q, args->stride);
    for (int l = 0; l < args->stride; l++) {
        float old = p[l];
        p[l] = fmaf(error * args->user_step[l], q[l], args->user_keep[l] * old);
        q[l] = fmaf(error * args->movie_step[l], old, args->movie_keep[l] * q[l]);
    }
    return (double)error * (double)error;
}

/* SGD_GROUP visits of one movie; users (SGD_GROUP,) their rows. Returns the squared errors added to `squared`. */
static double visit_group(const struct sgd_epoch_args *args, float *const *users, float *q, const float *values,
                          double squared) {
    float errors[SGD_GROUP];
    for (int v = 0; v < SGD_GROUP; v++) {
        errors[v] = values[v] - dot(users[v], q, args->stride);
        squared += (double)errors[v] * (double)errors[v];
    }
    for (int l = 0; l < args->stride; l++) {
        float keep = args->movie_keep[l], twice = keep * keep, sum = twice * twice * q[l];
        for (int v = 0; v < SGD_GROUP; v++) {
            float old = users[v][l];
            users[v][l] = fmaf(errors[v] * args->user_step[l], q[l], args->user_keep[l] * old);
            sum = fmaf(errors[v] * args->movie_step[l], old, sum);
        }
        q[l] = sum;
    }
    return squared;
}

/* The groups of a tile of one movie; what is left of the entries is not visited. */
static double visit_groups(const struct sgd_epoch_args *args, const struct sgd_tile *tile) {
    float *movie = args->movies + (int64_t)tile->movie_begin * args->stride;
    const uint32_t *entries = args->entries + tile->entry_begin;
    double squared = 0;
    for (int32_t i = 0; i + SGD_GROUP <= tile->n_entries; i += SGD_GROUP) {
        float *users[SGD_GROUP], values[SGD_GROUP];
        for (int v = 0; v < SGD_GROUP; v++) {
            int64_t user = tile->user_begin + sgd_entry_user(entries[i + v]);
            users[v] = args->users + user * args->stride;
            values[v] = args->value[sgd_entry_value(entries[i + v])];
        }
        squared = visit_group(args, users, movie, values, squared);
    }
    return squared;
}

double sgd_tile_generic(const struct sgd_epoch_args *args, const struct sgd_tile *tile) {
    float *users = args->users + (int64_t)tile->user_begin * args->stride;
    float *movies = args->movies + (int64_t)tile->movie_begin * args->stride;
    int32_t i = tile->one_movie ? tile->n_entries / SGD_GROUP * SGD_GROUP : 0;
    double squared = tile->one_movie ? visit_groups(args, tile) : 0;
    for (; i < tile->n_entries; i++) {
        uint32_t entry = args->entries[tile->entry_begin + i];
        squared += visit(args, users + (int64_t)sgd_entry_user(entry) * args->stride,
                         movies + (int64_t)sgd_entry_movie(entry) * args->stride, args->value[sgd_entry_value(entry)]);
    }
    return squared;
}

/* ---- the schedule ---- */

struct schedule {
    const struct sgd_epoch_args *args;
    double (*run_tile)(const struct sgd_epoch_args *args, const struct sgd_tile *tile);
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int32_t n_blocks, n_done, first; /* blocks before place `first` of block_order are all started */
    uint8_t *started;                /* (n_blocks,) by place in block_order */
    uint8_t *user_busy, *movie_busy; /* (bands,) scratch of find_ready */
    uint8_t *done;                   /* (n_blocks,) by place */
    int stopped;
};

/* The first place whose block may start: no unfinished block before it shares a band. -1 if there is none now. */
static int32_t find_ready(struct schedule *schedule) {
    const struct sgd_epoch_args *args = schedule->args;
    for (int32_t u = 0; u < args->n_user_bands; u++) schedule->user_busy[u] = 0;
    for (int32_t m = 0; m < args->n_movie_bands; m++) schedule->movie_busy[m] = 0;
    for (int32_t place = schedule->first; place < schedule->n_blocks; place++) {
        if (schedule->done[place]) continue;
        uint8_t *user = &schedule->user_busy[args->block_order[place] / args->n_movie_bands];
        uint8_t *movie = &schedule->movie_busy[args->block_order[place] % args->n_movie_bands];
        if (!schedule->started[place] && !*user && !*movie) return place;
        *user = *movie = 1;
    }
    return -1;
}

static void run_block(struct schedule *schedule, int32_t block) {
    const struct sgd_epoch_args *args = schedule->args;
    double squared = 0;
    for (int64_t t = args->block_tiles[block]; t < args->block_tiles[block + 1]; t++)
        squared += schedule->run_tile(args, &args->tiles[args->tile_order[t]]);
    args->block_squared[block] = squared;
}

static void work(void *arg, int64_t task, int worker) {
    (void)task, (void)worker;
    struct schedule *schedule = arg;
    const struct sgd_epoch_args *args = schedule->args;
    pthread_mutex_lock(&schedule->mutex);
    while (schedule->n_done < schedule->n_blocks && !schedule->stopped) {
        int32_t place = find_ready(schedule);
        if (place < 0) {
            pthread_cond_wait(&schedule->changed, &schedule->mutex);
            continue;
        }
        schedule->started[place] = 1;
        pthread_mutex_unlock(&schedule->mutex);
        int stop = args->stop && args->stop(args->stop_arg);
        if (!stop) run_block(schedule, args->block_order[place]);
        pthread_mutex_lock(&schedule->mutex);
        schedule->done[place] = 1;
        schedule->n_done++;
        schedule->stopped |= stop;
        while (schedule->first < schedule->n_blocks && schedule->done[schedule->first]) schedule->first++;
        pthread_cond_broadcast(&schedule->changed);
    }
    pthread_mutex_unlock(&schedule->mutex);
}

typedef double (*tile_function)(const struct sgd_epoch_args *args, const struct sgd_tile *tile);

static tile_function choose_tile(void) {
#if defined(__x86_64__)
    enum simd_level level = simd_level();
    if (level == SIMD_AVX512) return sgd_tile_avx512;
    if (level == SIMD_AVX2) return sgd_tile_avx2;
#endif
    return sgd_tile_generic;
}

reel_status cpu_sgd_epoch(struct backend *backend, const struct sgd_epoch_args *args, reel_error *err) {
    int32_t n_blocks = args->n_user_bands * args->n_movie_bands;
    uint8_t *flags;
    TRY_RETURN(MEM_NEW(&flags, 2 * (int64_t)n_blocks + args->n_user_bands + args->n_movie_bands, err));
    struct schedule schedule = {.args = args,
                                .run_tile = choose_tile(),
                                .n_blocks = n_blocks,
                                .started = flags,
                                .done = flags + n_blocks,
                                .user_busy = flags + 2 * (int64_t)n_blocks,
                                .movie_busy = flags + 2 * (int64_t)n_blocks + args->n_user_bands};
    pthread_mutex_init(&schedule.mutex, NULL);
    pthread_cond_init(&schedule.changed, NULL);
    thread_pool_run(backend->pool, thread_pool_size(backend->pool), work, &schedule);
    pthread_cond_destroy(&schedule.changed);
    pthread_mutex_destroy(&schedule.mutex);
    mem_free(flags);
    if (args->meanwhile && !schedule.stopped) args->meanwhile(args->meanwhile_arg);
    return schedule.stopped ? error_set(err, REEL_CANCELLED, "interrupted; nothing was changed") : REEL_OK;
}
