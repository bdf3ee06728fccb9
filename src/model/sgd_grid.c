#include "model/sgd_grid.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/philox.h"

enum { TILE_RATINGS = 2048, UNIT_ROWS = 1024 };

int sgd_grid_bands(int64_t n_ratings) {
    return n_ratings < 300000 ? 4 : 8;
}

/* ---- orders ---- */

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

/* A seeded permutation of n numbers in place (Fisher and Yates). */
static void shuffle(int32_t *numbers, int32_t n, uint64_t seed, enum philox_stream purpose, uint32_t sub) {
    for (int32_t i = n - 1; i > 0; i--) {
        int32_t j = (int32_t)(random_key(seed, purpose, sub, i) % (uint64_t)(i + 1));
        int32_t number = numbers[i];
        numbers[i] = numbers[j];
        numbers[j] = number;
    }
}

/* ---- rows ---- */

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

struct side {
    int32_t n, n_rows, n_bands;
    int64_t *counts;      /* (n,) ratings of each index */
    int64_t *row_counts;  /* (n,) of each row */
    int32_t *rows;        /* (n,) row of an index, -1 = none */
    int32_t *indices;     /* (n,) index of a row */
    int32_t *band_begins; /* (n_bands + 1,) rows */
};

static reel_status side_new(struct side *side, int32_t n, int32_t n_bands, reel_error *err) {
    *side = (struct side){.n = n, .n_bands = n_bands};
    TRY_RETURN(MEM_NEW(&side->counts, n, err));
    TRY_RETURN(MEM_NEW(&side->row_counts, n, err));
    TRY_RETURN(MEM_NEW(&side->rows, n, err));
    TRY_RETURN(MEM_NEW(&side->indices, n, err));
    return MEM_NEW(&side->band_begins, n_bands + 1, err);
}

static void side_free(struct side *side) {
    mem_free(side->counts);
    mem_free(side->row_counts);
    mem_free(side->rows);
    mem_free(side->indices);
    mem_free(side->band_begins);
    *side = (struct side){0};
}

/* Gives rows to the items in their order; those without ratings sort last and get none. */
static void number_rows(struct side *side, const struct sort_item *items) {
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
static void order_users(struct side *users, uint64_t seed, struct sort_item *items) {
    for (int32_t u = 0; u < users->n; u++)
        items[u] = (struct sort_item){random_key(seed, PHILOX_SHUFFLE_USERS, 0, u), u};
    qsort(items, (size_t)users->n, sizeof *items, compare_items);
    number_rows(users, items);
    cut_bands(users->row_counts, users->n_rows, users->n_bands, users->band_begins);
}

/* Movies by falling count, each to the band with the fewest ratings so far; then band after band. */
static void order_movies(struct side *movies, struct sort_item *items, int64_t *band_counts) {
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

static reel_status order_rows(const struct ratings *ratings, uint64_t seed, struct side *users, struct side *movies,
                              reel_error *err) {
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

/* ---- tiles ---- */

/* A unit is the users of one row of tiles: unit t of user band b gives tile t of every block of that band. */
struct unit {
    int32_t row_begin, row_end, user_band, index; /* index: among the band's units */
};

struct builder {
    const struct ratings *ratings;
    struct sgd_grid *grid;
    struct side users, movies;
    uint16_t *movie_bands; /* (n_movies,) */
    struct unit *units;
    int32_t n_units;
    int64_t *cursors; /* (threads, UNIT_ROWS, n_movie_bands) where the next entry of a user goes */
    int32_t *lengths; /* the same shape: entries of the run that are still to come */
};

/* Cuts every band's users into units of about TILE_RATINGS ratings a movie band. With units == NULL only counts
 * and notes where each band's units begin. */
static int32_t cut_units(const struct builder *builder, struct unit *units) {
    const struct side *users = &builder->users;
    int64_t most = (int64_t)TILE_RATINGS * builder->movies.n_bands;
    int32_t n = 0;
    for (int32_t band = 0; band < users->n_bands; band++) {
        int32_t index = 0, row = users->band_begins[band];
        while (row < users->band_begins[band + 1]) {
            struct unit unit = {.row_begin = row, .user_band = band, .index = index++};
            int64_t sum = 0;
            while (row < users->band_begins[band + 1] && row - unit.row_begin < UNIT_ROWS && sum < most)
                sum += users->row_counts[row++];
            unit.row_end = row;
            if (units) units[n] = unit;
            n++;
        }
    }
    return n;
}

static struct sgd_tile *tile_of(const struct builder *builder, const struct unit *unit, int32_t movie_band) {
    int32_t block = unit->user_band * builder->movies.n_bands + movie_band;
    return &builder->grid->tiles[builder->grid->block_tiles[block] + unit->index];
}

/* Run lengths of the unit's users by movie band into lengths (rows, n_movie_bands). */
static void count_runs(const struct builder *builder, const struct unit *unit, int32_t *lengths) {
    const struct ratings *ratings = builder->ratings;
    int32_t n_bands = builder->movies.n_bands;
    memset(lengths, 0, (size_t)(unit->row_end - unit->row_begin) * (size_t)n_bands * sizeof *lengths);
    for (int32_t row = unit->row_begin; row < unit->row_end; row++, lengths += n_bands) {
        int32_t user = builder->users.indices[row];
        for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++)
            lengths[builder->movie_bands[ratings->user_movies[i]]]++;
    }
}

static size_t scratch_size(const struct builder *builder) {
    return (size_t)UNIT_ROWS * (size_t)builder->movies.n_bands;
}

/* First pass over a unit: deals each run to the stream that is shorter so far. */
static void count_unit(void *arg, int64_t task, int worker) {
    const struct builder *builder = arg;
    const struct unit *unit = &builder->units[task];
    int32_t *lengths = builder->lengths + (size_t)worker * scratch_size(builder);
    count_runs(builder, unit, lengths);
    for (int32_t band = 0; band < builder->movies.n_bands; band++) {
        struct sgd_tile tile = {0};
        for (int32_t i = 0; i < unit->row_end - unit->row_begin; i++) {
            int32_t length = lengths[i * builder->movies.n_bands + band];
            int stream = tile.n_entries[1] < tile.n_entries[0];
            tile.n_entries[stream] += length;
            tile.n_runs[stream] += length > 0;
        }
        *tile_of(builder, unit, band) = tile;
    }
}

/* Second pass: the same dealing, now with places; fills run_users and the cursors. */
static void place_runs(const struct builder *builder, const struct unit *unit, const int32_t *lengths,
                       int64_t *cursors) {
    int32_t n_bands = builder->movies.n_bands;
    for (int32_t band = 0; band < n_bands; band++) {
        const struct sgd_tile *tile = tile_of(builder, unit, band);
        int32_t entries[SGD_STREAMS] = {0}, runs[SGD_STREAMS] = {0};
        for (int32_t row = unit->row_begin; row < unit->row_end; row++) {
            size_t at = (size_t)(row - unit->row_begin) * (size_t)n_bands + (size_t)band;
            if (lengths[at] == 0) continue;
            int stream = entries[1] < entries[0];
            cursors[at] = tile->entry_begin + (stream ? tile->n_entries[0] : 0) + entries[stream];
            builder->grid->run_users[tile->run_begin + (stream ? tile->n_runs[0] : 0) + runs[stream]] = row;
            entries[stream] += lengths[at];
            runs[stream]++;
        }
    }
}

static void fill_unit(void *arg, int64_t task, int worker) {
    const struct builder *builder = arg;
    const struct ratings *ratings = builder->ratings;
    const struct unit *unit = &builder->units[task];
    int32_t *lengths = builder->lengths + (size_t)worker * scratch_size(builder);
    int64_t *cursors = builder->cursors + (size_t)worker * scratch_size(builder);
    count_runs(builder, unit, lengths);
    place_runs(builder, unit, lengths, cursors);
    for (int32_t row = unit->row_begin; row < unit->row_end; row++) {
        int32_t user = builder->users.indices[row];
        for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
            int32_t movie = ratings->user_movies[i], band = builder->movie_bands[movie];
            builder->grid->entries[cursors[band]++] =
                sgd_entry(builder->movies.rows[movie], --lengths[band] == 0, ratings->user_ratings[i]);
        }
        lengths += builder->movies.n_bands;
        cursors += builder->movies.n_bands;
    }
}

/* ---- building ---- */

static void note_blocks(const struct builder *builder) {
    struct sgd_grid *grid = builder->grid;
    int32_t n_bands = builder->movies.n_bands;
    for (int32_t t = 0; t < builder->n_units; t++)
        for (int32_t band = 0; band < n_bands; band++)
            grid->block_tiles[builder->units[t].user_band * n_bands + band + 1]++;
    for (int32_t b = 0; b < grid->n_user_bands * grid->n_movie_bands; b++)
        grid->block_tiles[b + 1] += grid->block_tiles[b];
}

static int64_t place_tiles(struct sgd_grid *grid, int64_t n_tiles) {
    int64_t entries = 0, runs = 0;
    for (int64_t t = 0; t < n_tiles; t++) {
        grid->tiles[t].entry_begin = entries;
        grid->tiles[t].run_begin = runs;
        entries += (int64_t)grid->tiles[t].n_entries[0] + grid->tiles[t].n_entries[1];
        runs += (int64_t)grid->tiles[t].n_runs[0] + grid->tiles[t].n_runs[1];
    }
    return runs;
}

static reel_status build_tiles(reel_context *ctx, struct builder *builder, reel_error *err) {
    struct sgd_grid *grid = builder->grid;
    int32_t n_blocks = grid->n_user_bands * grid->n_movie_bands;
    size_t scratch = (size_t)thread_pool_size(ctx->pool) * scratch_size(builder);
    builder->n_units = cut_units(builder, NULL);
    int64_t n_tiles = (int64_t)builder->n_units * grid->n_movie_bands;
    TRY_RETURN(MEM_NEW(&builder->units, builder->n_units, err));
    TRY_RETURN(MEM_NEW(&builder->lengths, scratch, err));
    TRY_RETURN(MEM_NEW(&builder->cursors, scratch, err));
    TRY_RETURN(MEM_NEW(&grid->block_tiles, n_blocks + 1, err));
    TRY_RETURN(MEM_NEW(&grid->tiles, n_tiles, err));
    TRY_RETURN(MEM_NEW(&grid->block_order, n_blocks, err));
    TRY_RETURN(MEM_NEW(&grid->tile_order, n_tiles, err));
    TRY_RETURN(MEM_NEW(&grid->entries, builder->ratings->n_ratings + SGD_AHEAD, err));
    cut_units(builder, builder->units);
    note_blocks(builder);
    thread_pool_run(ctx->pool, builder->n_units, count_unit, builder);
    TRY_RETURN(context_check(ctx, err));
    TRY_RETURN(MEM_NEW(&grid->run_users, place_tiles(grid, n_tiles) + SGD_AHEAD, err));
    thread_pool_run(ctx->pool, builder->n_units, fill_unit, builder);
    return context_check(ctx, err);
}

/* The maps that outlive the building move from the sides to the grid. */
static void keep_rows(struct sgd_grid *grid, struct side *users, struct side *movies) {
    grid->n_user_rows = users->n_rows;
    grid->n_movie_rows = movies->n_rows;
    grid->user_rows = users->rows;
    grid->row_users = users->indices;
    grid->movie_rows = movies->rows;
    grid->row_movies = movies->indices;
    users->rows = users->indices = movies->rows = movies->indices = NULL;
}

reel_status sgd_grid_build(reel_context *ctx, const struct ratings *ratings, int bands, uint64_t seed,
                           struct sgd_grid *grid, reel_error *err) {
    reel_status status = REEL_OK;
    struct builder builder = {.ratings = ratings, .grid = grid};
    *grid = (struct sgd_grid){.n_user_bands = bands, .n_movie_bands = bands};
    if (ratings->n_movies > SGD_MAX_MOVIES)
        return error_set(err, REEL_UNSUPPORTED, "svd takes up to %d movies (found %d)", SGD_MAX_MOVIES,
                         ratings->n_movies);
    TRY(side_new(&builder.users, ratings->n_users, bands, err));
    TRY(side_new(&builder.movies, ratings->n_movies, bands, err));
    TRY(order_rows(ratings, seed, &builder.users, &builder.movies, err));
    TRY(MEM_NEW(&builder.movie_bands, ratings->n_movies, err));
    for (int32_t band = 0; band < bands; band++)
        for (int32_t row = builder.movies.band_begins[band]; row < builder.movies.band_begins[band + 1]; row++)
            builder.movie_bands[builder.movies.indices[row]] = (uint16_t)band;
    TRY(build_tiles(ctx, &builder, err));
    keep_rows(grid, &builder.users, &builder.movies);
cleanup:
    side_free(&builder.users);
    side_free(&builder.movies);
    mem_free(builder.movie_bands);
    mem_free(builder.units);
    mem_free(builder.lengths);
    mem_free(builder.cursors);
    return status;
}

void sgd_grid_free(struct sgd_grid *grid) {
    mem_free(grid->user_rows);
    mem_free(grid->movie_rows);
    mem_free(grid->row_users);
    mem_free(grid->row_movies);
    mem_free(grid->block_tiles);
    mem_free(grid->tiles);
    mem_free(grid->entries);
    mem_free(grid->run_users);
    mem_free(grid->block_order);
    mem_free(grid->tile_order);
    *grid = (struct sgd_grid){0};
}

/* ---- the order of an epoch ---- */

/* Three permutations of 0..n-1 in one array: of user bands, of movie bands and of the rounds. */
static void shuffle_blocks(struct sgd_grid *grid, uint64_t seed, int epoch) {
    enum { USERS, MOVIES, ROUNDS, ORDERS };
    int32_t n = grid->n_user_bands, orders[ORDERS][SGD_BANDS_MAX];
    for (int which = 0; which < ORDERS; which++) {
        for (int32_t i = 0; i < n; i++) orders[which][i] = i;
        shuffle(orders[which], n, seed, PHILOX_SHUFFLE_BLOCKS, (uint32_t)(epoch * ORDERS + which));
    }
    for (int32_t round = 0; round < n; round++)
        for (int32_t i = 0; i < n; i++) {
            int32_t movie_band = orders[MOVIES][(i + orders[ROUNDS][round]) % n];
            grid->block_order[round * n + i] = orders[USERS][i] * n + movie_band;
        }
}

void sgd_grid_shuffle(struct sgd_grid *grid, uint64_t seed, int epoch) {
    shuffle_blocks(grid, seed, epoch);
    for (int32_t b = 0; b < grid->n_user_bands * grid->n_movie_bands; b++) {
        int64_t begin = grid->block_tiles[b], end = grid->block_tiles[b + 1];
        for (int64_t t = begin; t < end; t++) grid->tile_order[t] = (int32_t)t;
        /* A sub-stream for each (epoch, block). */
        uint32_t sub = (uint32_t)epoch * SGD_BANDS_MAX * SGD_BANDS_MAX + (uint32_t)b;
        shuffle(grid->tile_order + begin, (int32_t)(end - begin), seed, PHILOX_SHUFFLE_TILES, sub);
    }
}
