#include "model/sgd_rows.h"

#include <stdlib.h>

#include "core/error.h"
#include "core/mem.h"

struct sort_item {
    uint64_t key;
    int32_t index;
};

static int compare_items(const void *a, const void *b) {
    const struct sort_item *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static uint64_t random_key(uint64_t seed, enum philox_stream purpose, uint32_t sub, int64_t index) {
    struct philox4 words = philox_block(seed, philox_stream(purpose, sub), (uint64_t)index);
    return (uint64_t)words.v[1] << 32 | words.v[0];
}

void sgd_shuffle(int32_t *numbers, int32_t n, uint64_t seed, enum philox_stream purpose, uint32_t sub) {
    for (int32_t i = n - 1; i > 0; i--) {
        int32_t j = (int32_t)(random_key(seed, purpose, sub, i) % (uint64_t)(i + 1));
        int32_t number = numbers[i];
        numbers[i] = numbers[j];
        numbers[j] = number;
    }
}

/* Cuts rows in order into bands of about equal weight: band b is begins[b] .. begins[b+1]-1. */
static void cut_bands(const int64_t *weights, int32_t n, int32_t n_bands, int32_t *begins) {
    int64_t total = 0, sum = 0;
    for (int32_t i = 0; i < n; i++) total += weights[i];
    int32_t row = 0;
    for (int32_t band = 0; band < n_bands; band++) {
        begins[band] = row;
        for (; row < n && (sum + weights[row] / 2) * n_bands < total * (band + 1); row++) sum += weights[row];
    }
    begins[n_bands] = n;
}

reel_status sgd_side_new(struct sgd_side *side, int32_t n, int32_t n_bands, reel_error *err) {
    *side = (struct sgd_side){.n = n, .n_bands = n_bands};
    TRY_RETURN(MEM_NEW(&side->counts, n, err));
    TRY_RETURN(MEM_NEW(&side->row_counts, n, err));
    TRY_RETURN(MEM_NEW(&side->rows, n, err));
    TRY_RETURN(MEM_NEW(&side->indices, n, err));
    return MEM_NEW(&side->band_begins, n_bands + 1, err);
}

void sgd_side_free(struct sgd_side *side) {
    mem_free(side->counts);
    mem_free(side->row_counts);
    mem_free(side->rows);
    mem_free(side->indices);
    mem_free(side->band_begins);
    *side = (struct sgd_side){0};
}

/* Gives rows to the items in their order; those without ratings sort last and get none. */
static void number_rows(struct sgd_side *side, const struct sort_item *items) {
    for (int32_t i = 0; i < side->n; i++) {
        int32_t index = items[i].index;
        int rated = side->counts[index] > 0;
        side->rows[index] = rated ? side->n_rows : -1;
        if (!rated) continue;
        side->indices[side->n_rows] = index;
        side->row_counts[side->n_rows++] = side->counts[index];
    }
}

/* Users in random order, cut into bands. */
static void order_users(struct sgd_side *users, uint64_t seed, struct sort_item *items) {
    for (int32_t u = 0; u < users->n; u++)
        items[u] = (struct sort_item){random_key(seed, PHILOX_SHUFFLE_USERS, 0, u), u};
    qsort(items, (size_t)users->n, sizeof *items, compare_items);
    number_rows(users, items);
    cut_bands(users->row_counts, users->n_rows, users->n_bands, users->band_begins);
}

/* Movies by falling count, each to the band with the fewest ratings so far; then band after band. */
static void order_movies(struct sgd_side *movies, struct sort_item *items, int64_t *band_counts) {
    for (int32_t m = 0; m < movies->n; m++) items[m] = (struct sort_item){UINT64_MAX - (uint64_t)movies->counts[m], m};
    qsort(items, (size_t)movies->n, sizeof *items, compare_items);
    for (int32_t i = 0; i < movies->n; i++) {
        int32_t lightest = 0;
        for (int32_t band = 1; band < movies->n_bands; band++)
            if (band_counts[band] < band_counts[lightest]) lightest = band;
        int64_t count = movies->counts[items[i].index];
        band_counts[lightest] += count;
        movies->band_begins[lightest + 1] += count > 0;
        items[i].key = (uint64_t)lightest << 32 | (uint64_t)i;
    }
    for (int32_t band = 0; band < movies->n_bands; band++) movies->band_begins[band + 1] += movies->band_begins[band];
    qsort(items, (size_t)movies->n, sizeof *items, compare_items);
    number_rows(movies, items);
}

reel_status sgd_rows_order(const struct ratings *ratings, uint64_t seed, struct sgd_side *users,
                           struct sgd_side *movies, reel_error *err) {
    reel_status status = REEL_OK;
    struct sort_item *items = NULL;
    int64_t *band_counts = NULL;
    TRY(MEM_NEW(&items, users->n > movies->n ? users->n : movies->n, err));
    TRY(MEM_NEW(&band_counts, movies->n_bands, err));
    for (int32_t u = 0; u < users->n; u++) users->counts[u] = ratings->user_offsets[u + 1] - ratings->user_offsets[u];
    for (int64_t i = 0; i < ratings->n_ratings; i++) movies->counts[ratings->user_movies[i]]++;
    order_users(users, seed, items);
    order_movies(movies, items, band_counts);
cleanup:
    mem_free(items);
    mem_free(band_counts);
    return status;
}
