/* The loop of sgd_epoch over one tile, written once over `vec16`, 16 floats, which the including file defines with
 *   vec16_load vec16_store (64-byte aligned), vec16_set1, vec16_mul, vec16_fma (a * b + c), vec16_add,
 *   vec16_sum (the tree of backend/sgd_ops.h).
 *
 * The rows of a rating depend on the visit before through the user's row, a chain of about 70 cycles; so two
 * users, one a stream, are visited side by side. Their movies are nearly always different; when they are not, the
 * second visit waits for the first, as the sequential program says. A user's row stays in registers for a run. */
#ifndef KERNELS_CPU_SGD_TILE_LOOP_H
#define KERNELS_CPU_SGD_TILE_LOOP_H

#include <immintrin.h>

#include "kernels/cpu/sgd_tile.h"

#define SGD_INLINE static inline __attribute__((always_inline))

enum { VECTORS_MAX = 9, MOVIES_AHEAD = 3 };

/* One stream under way. */
struct walk {
    const uint32_t *entry;
    const int32_t *user;
    float *row; /* of *user */
};

SGD_INLINE float *movie_row(const struct sgd_epoch_args *args, uint32_t entry) {
    return args->movies + (int64_t)sgd_entry_movie(entry) * args->stride;
}

SGD_INLINE void prefetch_row(const float *row, int vectors) {
    for (int v = 0; v < vectors; v++) _mm_prefetch((const char *)(row + v * SGD_LANES), _MM_HINT_T0);
}

SGD_INLINE float vec_dot(const vec16 *p, const float *q, int vectors) {
    vec16 even = vec16_mul(p[0], vec16_load(q)), odd = vec16_set1(0);
    if (vectors > 1) odd = vec16_mul(p[1], vec16_load(q + SGD_LANES));
    for (int v = 2; v < vectors; v += 2) even = vec16_fma(p[v], vec16_load(q + v * SGD_LANES), even);
    for (int v = 3; v < vectors; v += 2) odd = vec16_fma(p[v], vec16_load(q + v * SGD_LANES), odd);
    return vec16_sum(vec16_add(even, odd));
}

SGD_INLINE void update_vector(vec16 *p, float *q, vec16 user_step, vec16 user_keep, vec16 movie_step,
                              vec16 movie_keep) {
    vec16 old_p = *p, old_q = vec16_load(q);
    *p = vec16_fma(user_step, old_q, vec16_mul(user_keep, old_p));
    vec16_store(q, vec16_fma(movie_step, old_p, vec16_mul(movie_keep, old_q)));
}

/* The last vector holds the bias lanes, with rates of their own. */
SGD_INLINE void update(const struct sgd_epoch_args *args, vec16 *p, float *q, float error, int vectors) {
    const int last = (vectors - 1) * SGD_LANES;
    vec16 user_keep = vec16_set1(args->user_keep[0]), movie_keep = vec16_set1(args->movie_keep[0]);
    vec16 user_step = vec16_set1(error * args->user_step[0]), movie_step = vec16_set1(error * args->movie_step[0]);
    for (int v = 0; v + 1 < vectors; v++)
        update_vector(p + v, q + v * SGD_LANES, user_step, user_keep, movie_step, movie_keep);
    vec16 errors = vec16_set1(error);
    update_vector(p + vectors - 1, q + last, vec16_mul(errors, vec16_load(args->user_step + last)),
                  vec16_load(args->user_keep + last), vec16_mul(errors, vec16_load(args->movie_step + last)),
                  vec16_load(args->movie_keep + last));
}

SGD_INLINE void load_row(vec16 *p, const float *row, int vectors) {
    for (int v = 0; v < vectors; v++) p[v] = vec16_load(row + v * SGD_LANES);
}

SGD_INLINE void store_row(float *row, const vec16 *p, int vectors) {
    for (int v = 0; v < vectors; v++) vec16_store(row + v * SGD_LANES, p[v]);
}

SGD_INLINE void start_walk(const struct sgd_epoch_args *args, struct walk *walk, vec16 *p, int vectors) {
    walk->row = args->users + (int64_t)*walk->user * args->stride;
    load_row(p, walk->row, vectors);
    prefetch_row(args->users + (int64_t)walk->user[1] * args->stride, vectors);
}

/* Steps past an entry; at the end of a run the next user's row replaces this one's. */
SGD_INLINE void step_walk(const struct sgd_epoch_args *args, struct walk *walk, vec16 *p, const uint32_t *end,
                          int vectors) {
    if (!sgd_entry_last(*walk->entry++)) return;
    store_row(walk->row, p, vectors);
    walk->user++;
    if (walk->entry < end) start_walk(args, walk, p, vectors);
}

SGD_INLINE double visit_one(const struct sgd_epoch_args *args, const struct walk *walk, vec16 *p, int vectors) {
    float *q = movie_row(args, *walk->entry);
    float error = args->value[sgd_entry_value(*walk->entry)] - vec_dot(p, q, vectors);
    update(args, p, q, error, vectors);
    return (double)error * (double)error;
}

SGD_INLINE double walk_alone(const struct sgd_epoch_args *args, struct walk *walk, vec16 *p, const uint32_t *end,
                             int vectors, double squared) {
    while (walk->entry < end) {
        prefetch_row(movie_row(args, walk->entry[MOVIES_AHEAD]), vectors);
        squared += visit_one(args, walk, p, vectors);
        step_walk(args, walk, p, end, vectors);
    }
    return squared;
}

SGD_INLINE double tile_loop(const struct sgd_epoch_args *args, const struct sgd_tile *tile, int vectors, vec16 *pa,
                            vec16 *pb) {
    struct walk a = {.entry = args->entries + tile->entry_begin, .user = args->run_users + tile->run_begin};
    struct walk b = {.entry = a.entry + tile->n_entries[0], .user = a.user + tile->n_runs[0]};
    const uint32_t *a_end = b.entry, *b_end = b.entry + tile->n_entries[1];
    double squared = 0;
    if (a.entry == a_end) return 0;
    if (b.entry == b_end) b.user = a.user; /* stream 1 may be empty; a row is loaded all the same, then not used */
    start_walk(args, &a, pa, vectors);
    start_walk(args, &b, pb, vectors);
    while (a.entry < a_end && b.entry < b_end) {
        float *qa = movie_row(args, *a.entry), *qb = movie_row(args, *b.entry);
        prefetch_row(movie_row(args, a.entry[MOVIES_AHEAD]), vectors);
        prefetch_row(movie_row(args, b.entry[MOVIES_AHEAD]), vectors);
        if (__builtin_expect(qa == qb, 0)) {
            squared += visit_one(args, &a, pa, vectors);
            squared += visit_one(args, &b, pb, vectors);
        } else {
            float error_a = args->value[sgd_entry_value(*a.entry)] - vec_dot(pa, qa, vectors);
            float error_b = args->value[sgd_entry_value(*b.entry)] - vec_dot(pb, qb, vectors);
            update(args, pa, qa, error_a, vectors);
            update(args, pb, qb, error_b, vectors);
            squared += (double)error_a * (double)error_a;
            squared += (double)error_b * (double)error_b;
        }
        step_walk(args, &a, pa, a_end, vectors);
        step_walk(args, &b, pb, b_end, vectors);
    }
    squared = walk_alone(args, &a, pa, a_end, vectors, squared);
    return walk_alone(args, &b, pb, b_end, vectors, squared);
}

#endif
