/* The loop of sgd_epoch over one tile, written once over `vec16`, 16 floats, which the including file defines with
 *   vec16_load vec16_store (64-byte aligned), vec16_set1, vec16_mul, vec16_fma (a * b + c), vec16_add,
 *   vec16_sum (the tree of backend/sgd_ops.h), and VEC16_ROOM, how many vec16 stay in registers.
 *
 * A visit is a chain of some 60 cycles from the rows to the rows; the loop has no branch, and neighbouring entries
 * have different users and mostly different movies, so the processor overlaps their chains by itself. */
#ifndef KERNELS_CPU_SGD_TILE_LOOP_H
#define KERNELS_CPU_SGD_TILE_LOOP_H

#include <immintrin.h>

#include "kernels/cpu/sgd_tile.h"

#define SGD_INLINE static inline __attribute__((always_inline))

/* How many visits before its own a rating's rows are fetched. Both rows are: the movie's is anywhere in its band, and
 * the user's, though users come in row order, is too far from the last for the processor to foresee. */
enum { FETCH_AHEAD = 28 };

SGD_INLINE void prefetch_row(const float *row, int vectors) {
    for (int v = 0; v < vectors; v++) _mm_prefetch((const char *)(row + v * SGD_LANES), _MM_HINT_T0);
}

/* One step of the dot: vectors of even and odd number have a partial sum each. */
SGD_INLINE void dot_step(vec16 *sum, vec16 p, vec16 q, int v) {
    sum[v % 2] = v < 2 ? vec16_mul(p, q) : vec16_fma(p, q, sum[v % 2]);
}

/* What does not change from visit to visit. */
struct rates {
    float user_step, movie_step;
    vec16 user_keep, movie_keep;
    /* Of the last vector, which holds the bias lanes. */
    vec16 last_user_step, last_movie_step, last_user_keep, last_movie_keep;
};

SGD_INLINE struct rates load_rates(const struct sgd_epoch_args *args, int vectors) {
    const int last = (vectors - 1) * SGD_LANES;
    return (struct rates){.user_step = args->user_step[0],
                          .movie_step = args->movie_step[0],
                          .user_keep = vec16_set1(args->user_keep[0]),
                          .movie_keep = vec16_set1(args->movie_keep[0]),
                          .last_user_step = vec16_load(args->user_step + last),
                          .last_movie_step = vec16_load(args->movie_step + last),
                          .last_user_keep = vec16_load(args->user_keep + last),
                          .last_movie_keep = vec16_load(args->movie_keep + last)};
}

/* The new p and q of one vector. */
SGD_INLINE void update(float *user, float *movie, vec16 p, vec16 q, vec16 user_step, vec16 movie_step, vec16 user_keep,
                       vec16 movie_keep) {
    vec16_store(user, vec16_fma(user_step, q, vec16_mul(user_keep, p)));
    vec16_store(movie, vec16_fma(movie_step, p, vec16_mul(movie_keep, q)));
}

/* Visits one rating; `p` and `q` have room for the rows if they fit in registers, else the rows are read twice. */
SGD_INLINE float visit(const struct rates *rates, float *user, float *movie, float value, int vectors) {
    enum { LANES = SGD_LANES };
    const int last = vectors - 1, fits = 2 * vectors <= VEC16_ROOM;
    vec16 p[VEC16_ROOM / 2], q[VEC16_ROOM / 2], sum[2] = {vec16_set1(0), vec16_set1(0)};
    for (int v = 0; v < vectors; v++) {
        vec16 x = vec16_load(user + v * LANES), y = vec16_load(movie + v * LANES);
        if (fits) p[v] = x, q[v] = y;
        dot_step(sum, x, y, v);
    }
    float error = value - vec16_sum(vec16_add(sum[0], sum[1]));
    vec16 user_step = vec16_set1(error * rates->user_step), movie_step = vec16_set1(error * rates->movie_step);
    /* Without the fence the compiler would not read again, but copy what it has read to the stack. */
    if (!fits) __asm__ volatile("" ::: "memory");
    for (int v = 0; v < last; v++)
        update(user + v * LANES, movie + v * LANES, fits ? p[v] : vec16_load(user + v * LANES),
               fits ? q[v] : vec16_load(movie + v * LANES), user_step, movie_step, rates->user_keep, rates->movie_keep);
    vec16 errors = vec16_set1(error);
    update(user + last * LANES, movie + last * LANES, fits ? p[last] : vec16_load(user + last * LANES),
           fits ? q[last] : vec16_load(movie + last * LANES), vec16_mul(errors, rates->last_user_step),
           vec16_mul(errors, rates->last_movie_step), rates->last_user_keep, rates->last_movie_keep);
    return error;
}

/* ---- groups of visits of one movie ---- */

SGD_INLINE float error_of(const float *user, const float *movie, float value, int vectors) {
    vec16 sum[2] = {vec16_set1(0), vec16_set1(0)};
    for (int v = 0; v < vectors; v++)
        dot_step(sum, vec16_load(user + v * SGD_LANES), vec16_load(movie + v * SGD_LANES), v);
    return value - vec16_sum(vec16_add(sum[0], sum[1]));
}

/* The new rows of a group from lane l on, one vector of each. */
SGD_INLINE void update_group(const struct sgd_epoch_args *args, float *const *users, float *movie, const float *errors,
                             int l) {
    const vec16 user_step = vec16_load(args->user_step + l), user_keep = vec16_load(args->user_keep + l);
    const vec16 movie_step = vec16_load(args->movie_step + l), movie_keep = vec16_load(args->movie_keep + l);
    const vec16 q = vec16_load(movie + l), twice = vec16_mul(movie_keep, movie_keep);
    vec16 sum = vec16_mul(vec16_mul(twice, twice), q);
    for (int g = 0; g < SGD_GROUP; g++) {
        vec16 p = vec16_load(users[g] + l), error = vec16_set1(errors[g]);
        vec16_store(users[g] + l, vec16_fma(vec16_mul(error, user_step), q, vec16_mul(user_keep, p)));
        sum = vec16_fma(vec16_mul(error, movie_step), p, sum);
    }
    vec16_store(movie + l, sum);
}

/* The groups of a tile of one movie; what is left of the entries is not visited. A function of its own: inlined it
 * would take registers from the loop over single visits, where all of a CPU's time goes. */
static __attribute__((noinline)) double group_loop(const struct sgd_epoch_args *args, const struct sgd_tile *tile,
                                                   int vectors) {
    const int64_t stride = (int64_t)vectors * SGD_LANES;
    float *movie = args->movies + tile->movie_begin * stride;
    const uint32_t *entries = args->entries + tile->entry_begin;
    double squared = 0;
    for (int32_t i = 0; i + SGD_GROUP <= tile->n_entries; i += SGD_GROUP) {
        float *users[SGD_GROUP], errors[SGD_GROUP];
        for (int g = 0; g < SGD_GROUP; g++) {
            users[g] = args->users + (tile->user_begin + sgd_entry_user(entries[i + g])) * stride;
            errors[g] = error_of(users[g], movie, args->value[sgd_entry_value(entries[i + g])], vectors);
            squared += (double)errors[g] * (double)errors[g];
        }
        for (int v = 0; v < vectors; v++) update_group(args, users, movie, errors, v * SGD_LANES);
    }
    return squared;
}

/* ---- a tile ---- */

SGD_INLINE double tile_loop(const struct sgd_epoch_args *args, const struct sgd_tile *tile, int vectors) {
    const int64_t stride = (int64_t)vectors * SGD_LANES;
    float *users = args->users + tile->user_begin * stride, *movies = args->movies + tile->movie_begin * stride;
    const uint32_t *entries = args->entries + tile->entry_begin, *end = entries + tile->n_entries;
    const struct rates rates = load_rates(args, vectors);
    const float *value = args->value;
    double squared = 0;
    if (tile->one_movie) {
        squared = group_loop(args, tile, vectors);
        entries += tile->n_entries / SGD_GROUP * SGD_GROUP;
    }
    for (; entries < end; entries++) {
        /* Past the tile's end these are rows of another tile, fetched in vain. */
        prefetch_row(movies + sgd_entry_movie(entries[FETCH_AHEAD]) * stride, vectors);
        prefetch_row(users + sgd_entry_user(entries[FETCH_AHEAD]) * stride, vectors);
        float error = visit(&rates, users + sgd_entry_user(*entries) * stride,
                            movies + sgd_entry_movie(*entries) * stride, value[sgd_entry_value(*entries)], vectors);
        squared += (double)error * (double)error;
    }
    return squared;
}

#endif
