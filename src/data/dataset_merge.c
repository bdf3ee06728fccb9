#include "data/dataset_merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/fingerprint.h"

/* One merge under way: the by-user order of the result, written front to back. */
struct merger {
    const struct reel_dataset *dataset;
    struct dataset_merge *merge;
    int64_t *offsets;
    int32_t *movies;
    uint8_t *half_stars;
    uint32_t *times;
    int64_t n;
};

/* ---- users ---- */

static reel_status unite_users(struct merger *merger, const struct late_rating *late, int64_t n, reel_error *err) {
    const struct reel_dataset *ds = merger->dataset;
    struct dataset_merge *merge = merger->merge;
    int64_t late_users = 0;
    int32_t users = 0;
    for (int64_t i = 0; i < n; i++) late_users += i == 0 || late[i].user_id != late[i - 1].user_id;
    if (ds->n_users + late_users > INT32_MAX - 1) return error_set(err, REEL_BAD_INPUT, "more than 2^31 users");
    TRY_RETURN(MEM_RAW(&merge->user_ids, ds->n_users + late_users, err));
    TRY_RETURN(MEM_RAW(&merge->old_users, ds->n_users + late_users, err));
    int64_t i = 0;
    for (int32_t u = 0; u < ds->n_users || i < n;) {
        /* A new user needs one rating that counts. */
        if (i < n && (u == ds->n_users || late[i].user_id < ds->user_ids[u])) {
            int32_t id = late[i].user_id;
            int counts = 0;
            for (; i < n && late[i].user_id == id; i++)
                counts |= late[i].half_stars && reel_dataset_movie_index(ds, late[i].movie_id) >= 0;
            if (!counts) continue;
            merge->old_users[users] = -1;
            merge->user_ids[users++] = id;
            continue;
        }
        while (i < n && late[i].user_id == ds->user_ids[u]) i++;
        merge->old_users[users] = u;
        merge->user_ids[users++] = ds->user_ids[u++];
    }
    merge->n_new_users = users - ds->n_users;
    merge->ratings.n_users = users;
    merge->ratings.n_movies = ds->n_movies;
    return REEL_OK;
}

/* ---- ratings ---- */

static void keep(struct merger *merger, int32_t movie, uint8_t half_stars, uint32_t time) {
    merger->movies[merger->n] = movie;
    merger->half_stars[merger->n] = half_stars;
    merger->times[merger->n++] = time;
}

/* A late word on a movie that the dataset has no rating of. */
static void put_new(struct merger *merger, int32_t movie, const struct late_rating *late) {
    if (late->half_stars) keep(merger, movie, late->half_stars, late->time);
    merger->merge->n_added += late->half_stars != 0;
    merger->merge->n_void += late->half_stars == 0;
}

/* ... and on one that has rating i. */
static void put_again(struct merger *merger, int64_t i, const struct late_rating *late) {
    const struct ratings *old = &merger->dataset->ratings;
    if (late->time < old->user_times[i]) {
        keep(merger, old->user_movies[i], old->user_ratings[i], old->user_times[i]);
        merger->merge->n_older++;
    } else if (late->half_stars) {
        keep(merger, old->user_movies[i], late->half_stars, late->time);
        merger->merge->n_changed++;
    } else {
        merger->merge->n_removed++;
    }
}

/* The late ratings late[0..n-1] of one user, merged with the old ratings begin..end-1 of theirs. */
static void merge_user(struct merger *merger, int64_t begin, int64_t end, const struct late_rating *late, int64_t n) {
    const struct ratings *old = &merger->dataset->ratings;
    int64_t i = begin;
    for (int64_t l = 0; l < n; l++) {
        int32_t movie = reel_dataset_movie_index(merger->dataset, late[l].movie_id);
        if (movie < 0) {
            merger->merge->n_unknown++;
            continue;
        }
        for (; i < end && old->user_movies[i] < movie; i++)
            keep(merger, old->user_movies[i], old->user_ratings[i], old->user_times[i]);
        if (i < end && old->user_movies[i] == movie)
            put_again(merger, i++, &late[l]);
        else
            put_new(merger, movie, &late[l]);
    }
    for (; i < end; i++) keep(merger, old->user_movies[i], old->user_ratings[i], old->user_times[i]);
}

/* Late ratings of a user who is not in the result: they are counted only. */
static int64_t skip_user(struct merger *merger, const struct late_rating *late, int64_t n) {
    int64_t i = 0;
    for (; i < n && late[i].user_id == late[0].user_id; i++) {
        int known = reel_dataset_movie_index(merger->dataset, late[i].movie_id) >= 0;
        merger->merge->n_void += known;
        merger->merge->n_unknown += !known;
    }
    return i;
}

static void merge_users(struct merger *merger, const struct late_rating *late, int64_t n) {
    const int64_t *old_offsets = merger->dataset->ratings.user_offsets;
    const struct dataset_merge *merge = merger->merge;
    int64_t i = 0;
    for (int32_t u = 0; u < merge->ratings.n_users; u++) {
        while (i < n && late[i].user_id < merge->user_ids[u]) i += skip_user(merger, late + i, n - i);
        int64_t first = i;
        while (i < n && late[i].user_id == merge->user_ids[u]) i++;
        int32_t old = merge->old_users[u];
        merger->offsets[u] = merger->n;
        merge_user(merger, old < 0 ? 0 : old_offsets[old], old < 0 ? 0 : old_offsets[old + 1], late + first, i - first);
    }
    while (i < n) i += skip_user(merger, late + i, n - i);
    merger->offsets[merge->ratings.n_users] = merger->n;
}

static reel_status build_by_user(struct merger *merger, const struct late_rating *late, int64_t n, reel_error *err) {
    struct ratings *out = &merger->merge->ratings;
    const int64_t room = merger->dataset->n_ratings + n;
    TRY_RETURN(MEM_NEW(&merger->offsets, (int64_t)out->n_users + 1, err));
    out->owned[0] = merger->offsets;
    TRY_RETURN(MEM_RAW(&merger->movies, room, err));
    out->owned[1] = merger->movies;
    TRY_RETURN(MEM_RAW(&merger->half_stars, room, err));
    out->owned[2] = merger->half_stars;
    TRY_RETURN(MEM_RAW(&merger->times, room, err));
    out->owned[3] = merger->times;
    merge_users(merger, late, n);
    out->n_ratings = merger->n;
    out->user_offsets = merger->offsets;
    out->user_movies = merger->movies;
    out->user_ratings = merger->half_stars;
    out->user_times = merger->times;
    return REEL_OK;
}

/* A counting sort: users ascend within a movie because they are met in order. */
static reel_status build_by_movie(struct merger *merger, reel_error *err) {
    struct ratings *out = &merger->merge->ratings;
    int64_t *offsets, *next;
    int32_t *users;
    uint8_t *half_stars;
    TRY_RETURN(MEM_NEW(&offsets, (int64_t)out->n_movies + 1, err));
    out->owned[4] = offsets;
    TRY_RETURN(MEM_RAW(&users, out->n_ratings, err));
    out->owned[5] = users;
    TRY_RETURN(MEM_RAW(&half_stars, out->n_ratings, err));
    out->owned[6] = half_stars;
    for (int64_t i = 0; i < out->n_ratings; i++) offsets[out->user_movies[i] + 1]++;
    for (int32_t m = 0; m < out->n_movies; m++) offsets[m + 1] += offsets[m];
    TRY_RETURN(MEM_RAW(&next, out->n_movies, err));
    if (out->n_movies) memcpy(next, offsets, (size_t)out->n_movies * sizeof *next);
    for (int32_t u = 0; u < out->n_users; u++)
        for (int64_t i = out->user_offsets[u]; i < out->user_offsets[u + 1]; i++) {
            int64_t at = next[out->user_movies[i]]++;
            users[at] = u;
            half_stars[at] = out->user_ratings[i];
        }
    mem_free(next);
    out->movie_offsets = offsets;
    out->movie_users = users;
    out->movie_ratings = half_stars;
    return REEL_OK;
}

/* ---- tensors ---- */

/* Tags keep their order: new users only push the others' indices up. */
static reel_status move_tags(struct merger *merger, reel_error *err) {
    const struct reel_dataset *ds = merger->dataset;
    struct dataset_merge *merge = merger->merge;
    reel_status status = REEL_OK;
    int32_t *new_users = NULL;
    TRY(MEM_RAW(&new_users, ds->n_users, err));
    TRY(MEM_RAW(&merge->tag_users, ds->n_tags, err));
    for (int32_t u = 0; u < merge->ratings.n_users; u++)
        if (merge->old_users[u] >= 0) new_users[merge->old_users[u]] = u;
    for (int64_t i = 0; i < ds->n_tags; i++) merge->tag_users[i] = new_users[ds->tag_users[i]];
cleanup:
    mem_free(new_users);
    return status;
}

/* Every tensor of the old dataset in its order, so that the file has the bytes that an import of the merged CSVs would
 * give: the changed ones from the merge, the others (movies, genres, tags, genome, metadata) as they are. */
static reel_status add_tensors(const struct dataset_merge *merge, const struct reel_dataset *dataset, reel_error *err) {
    const struct ratings *r = &merge->ratings;
    const int64_t users = r->n_users, n = r->n_ratings, movies = r->n_movies;
    const struct {
        const char *name;
        int64_t n;
        const void *data;
    } changed[] = {
        {"user_ids", users, merge->user_ids},
        {"user_offsets", users + 1, r->user_offsets},
        {"user_movies", n, r->user_movies},
        {"user_ratings", n, r->user_ratings},
        {"user_times", n, r->user_times},
        {"movie_offsets", movies + 1, r->movie_offsets},
        {"movie_users", n, r->movie_users},
        {"movie_ratings", n, r->movie_ratings},
        {"tag_users", dataset->n_tags, merge->tag_users},
    };
    for (size_t i = 0; i < tensor_set_count(dataset->set); i++) {
        const struct tensor *tensor = tensor_set_at(dataset->set, i);
        const int64_t *shape = tensor->shape;
        const void *data = tensor->data;
        for (size_t c = 0; c < sizeof changed / sizeof changed[0]; c++) {
            if (strcmp(changed[c].name, tensor->name) != 0) continue;
            shape = &changed[c].n;
            data = changed[c].data;
        }
        TRY_RETURN(tensor_set_add_borrowed(merge->set, tensor->name, tensor->dtype, tensor->n_dims, shape, data, err));
    }
    return REEL_OK;
}

static reel_status copy_strings(const struct tensor_set *from, struct tensor_set *set, reel_error *err) {
    const char *key, *value;
    for (size_t i = 0; tensor_set_metadata_at(from, i, &key, &value); i++)
        if (strncmp(key, "xxh3.", 5) != 0 && strcmp(key, "header.xxh3") != 0)
            TRY_RETURN(tensor_set_put(set, key, value, err));
    return REEL_OK;
}

static reel_status put_figures(struct dataset_merge *merge, reel_error *err) {
    unsigned seen = 0; /* bit r = rating r occurs */
    for (int64_t i = 0; i < merge->ratings.n_ratings; i++) seen |= 1u << merge->ratings.user_ratings[i];
    if (!seen) seen = 1u << 1 | 1u << 10;
    TRY_RETURN(tensor_set_putf(merge->set, "scale.min", err, "%d", __builtin_ctz(seen)));
    TRY_RETURN(tensor_set_putf(merge->set, "scale.max", err, "%d", 31 - __builtin_clz(seen)));
    return tensor_set_put(merge->set, "fingerprint", merge->fingerprint, err);
}

reel_status dataset_merge(reel_context *ctx, const struct reel_dataset *dataset, const struct late_rating *late,
                          int64_t n, struct dataset_merge *merge, reel_error *err) {
    struct merger merger = {.dataset = dataset, .merge = merge};
    TRY_RETURN(unite_users(&merger, late, n, err));
    TRY_RETURN(build_by_user(&merger, late, n, err));
    TRY_RETURN(context_check(ctx, err));
    TRY_RETURN(build_by_movie(&merger, err));
    TRY_RETURN(move_tags(&merger, err));
    TRY_RETURN(dataset_fingerprint(&merge->ratings, merge->user_ids, dataset->movie_ids, merge->fingerprint, err));
    TRY_RETURN(tensor_set_new(&merge->set, err));
    TRY_RETURN(add_tensors(merge, dataset, err));
    TRY_RETURN(copy_strings(dataset->set, merge->set, err));
    TRY_RETURN(put_figures(merge, err));
    return context_check(ctx, err);
}

void dataset_merge_free(struct dataset_merge *merge) {
    tensor_set_free(merge->set);
    ratings_free(&merge->ratings);
    mem_free(merge->user_ids);
    mem_free(merge->old_users);
    mem_free(merge->tag_users);
    *merge = (struct dataset_merge){0};
}
