#include "model/sgd_grid.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/sgd_rows.h"

/* Entries of SLOTS users take turns: as many visits as a processor overlaps. TILE_RATINGS is long enough that the end
 * of a tile, where users run out, does not matter, and short enough that a tile's order is shuffled often. */
enum { TILE_RATINGS = 4096, SLOTS = 4 };

int sgd_grid_bands(int64_t n_ratings) {
    return n_ratings < 300000 ? 4 : n_ratings < 5000000 ? 8 : 16;
}

/* A power of two with some 64 ratings a block: enough to pay for handing a band from warp to warp. */
int sgd_grid_device_bands(int64_t n_ratings) {
    int bands = 4;
    while (bands < SGD_BANDS_MAX && 4 * (int64_t)bands * bands * 64 <= n_ratings) bands *= 2;
    return bands;
}

/* ---- tiles ---- */

/* A unit is the users of one row of tiles: unit t of user band b gives tile t of every block of that band. */
struct unit {
    int32_t row_begin, row_end, user_band, index; /* index: among the band's units */
    int32_t n_ratings;
};

/* What a worker needs to fill one unit's tiles. */
struct scratch {
    int32_t *lengths;  /* (SGD_TILE_USERS, n_movie_bands) ratings of a user by band */
    int32_t *ends;     /* the same shape: where they end in `entries` */
    uint32_t *entries; /* (most ratings of a unit,) by band, then by user */
};

struct builder {
    const struct ratings *ratings;
    struct sgd_grid *grid;
    struct sgd_side users, movies;
    uint16_t *movie_bands; /* (n_movies,) */
    struct unit *units;
    int32_t n_units;
    struct scratch *scratch; /* (threads,) */
};

/* Cuts every band's users into units of about TILE_RATINGS ratings a movie band. With units == NULL only counts. */
static int32_t cut_units(const struct builder *builder, struct unit *units) {
    const struct sgd_side *users = &builder->users;
    int64_t most = (int64_t)TILE_RATINGS * builder->movies.n_bands;
    int32_t n = 0;
    for (int32_t band = 0; band < users->n_bands; band++) {
        int32_t index = 0, row = users->band_begins[band];
        while (row < users->band_begins[band + 1]) {
            struct unit unit = {.row_begin = row, .user_band = band, .index = index++};
            int64_t sum = 0;
            while (row < users->band_begins[band + 1] && row - unit.row_begin < SGD_TILE_USERS && sum < most)
                sum += users->row_counts[row++];
            unit.row_end = row;
            unit.n_ratings = (int32_t)sum; /* below TILE_RATINGS * bands + the movies of one user */
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

static void count_unit(void *arg, int64_t task, int worker) {
    const struct builder *builder = arg;
    const struct ratings *ratings = builder->ratings;
    const struct unit *unit = &builder->units[task];
    const int32_t *begins = builder->movies.band_begins;
    int32_t n_bands = builder->movies.n_bands, *lengths = builder->scratch[worker].lengths;
    memset(lengths, 0, (size_t)n_bands * sizeof *lengths);
    for (int32_t row = unit->row_begin; row < unit->row_end; row++) {
        int32_t user = builder->users.indices[row];
        for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++)
            lengths[builder->movie_bands[ratings->user_movies[i]]]++;
    }
    for (int32_t band = 0; band < n_bands; band++)
        *tile_of(builder, unit, band) = (struct sgd_tile){.n_entries = lengths[band],
                                                          .user_begin = unit->row_begin,
                                                          .movie_begin = begins[band],
                                                          .one_movie = begins[band + 1] - begins[band] == 1};
}

/* Sorts the unit's ratings by movie band, then user, into scratch->entries. */
static void gather_unit(const struct builder *builder, const struct unit *unit, const struct scratch *scratch) {
    const struct ratings *ratings = builder->ratings;
    int32_t n_bands = builder->movies.n_bands, n_rows = unit->row_end - unit->row_begin, sum = 0;
    memset(scratch->lengths, 0, (size_t)n_rows * (size_t)n_bands * sizeof *scratch->lengths);
    for (int32_t i = 0; i < n_rows; i++) {
        int32_t user = builder->users.indices[unit->row_begin + i];
        for (int64_t r = ratings->user_offsets[user]; r < ratings->user_offsets[user + 1]; r++)
            scratch->lengths[i * n_bands + builder->movie_bands[ratings->user_movies[r]]]++;
    }
    for (int32_t band = 0; band < n_bands; band++)
        for (int32_t i = 0; i < n_rows; i++) {
            scratch->ends[i * n_bands + band] = sum;
            sum += scratch->lengths[i * n_bands + band];
        }
    for (int32_t i = 0; i < n_rows; i++) {
        int32_t user = builder->users.indices[unit->row_begin + i];
        for (int64_t r = ratings->user_offsets[user]; r < ratings->user_offsets[user + 1]; r++) {
            int32_t movie = ratings->user_movies[r], band = builder->movie_bands[movie];
            int32_t movie_row = builder->movies.rows[movie] - builder->movies.band_begins[band];
            scratch->entries[scratch->ends[i * n_bands + band]++] = sgd_entry(i, movie_row, ratings->user_ratings[r]);
        }
    }
}

/* The users of a tile whose ratings are being written. */
struct slots {
    int32_t next[SLOTS], end[SLOTS], n; /* ranges of scratch->entries */
    int32_t row;                        /* the next user to look at */
};

/* Puts the next user who has ratings in this band into a slot; 0 when there is none. */
static int fill_slot(struct slots *slots, int32_t slot, const struct scratch *scratch, int32_t band, int32_t n_bands,
                     int32_t n_rows) {
    while (slots->row < n_rows) {
        int32_t at = slots->row++ * n_bands + band;
        if (scratch->lengths[at] == 0) continue;
        slots->end[slot] = scratch->ends[at];
        slots->next[slot] = scratch->ends[at] - scratch->lengths[at];
        return 1;
    }
    return 0;
}

/* Writes one tile's entries: the users in the slots give one rating each in turn; a user whose ratings are all
 * written makes room for the next. */
static void interleave(const struct scratch *scratch, int32_t band, int32_t n_bands, int32_t n_rows, uint32_t *out) {
    struct slots slots = {.n = 0};
    while (slots.n < SLOTS && fill_slot(&slots, slots.n, scratch, band, n_bands, n_rows)) slots.n++;
    for (int32_t slot = 0; slots.n > 0; slot = slot + 1 < slots.n ? slot + 1 : 0) {
        *out++ = scratch->entries[slots.next[slot]++];
        if (slots.next[slot] < slots.end[slot] || fill_slot(&slots, slot, scratch, band, n_bands, n_rows)) continue;
        slots.n--;
        slots.next[slot] = slots.next[slots.n];
        slots.end[slot] = slots.end[slots.n];
    }
}

static void fill_unit(void *arg, int64_t task, int worker) {
    const struct builder *builder = arg;
    const struct unit *unit = &builder->units[task];
    const struct scratch *scratch = &builder->scratch[worker];
    gather_unit(builder, unit, scratch);
    for (int32_t band = 0; band < builder->movies.n_bands; band++)
        interleave(scratch, band, builder->movies.n_bands, unit->row_end - unit->row_begin,
                   builder->grid->entries + tile_of(builder, unit, band)->entry_begin);
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

static reel_status scratch_new(struct builder *builder, int threads, reel_error *err) {
    int32_t most = 0;
    size_t n = (size_t)SGD_TILE_USERS * (size_t)builder->movies.n_bands;
    for (int32_t t = 0; t < builder->n_units; t++)
        if (builder->units[t].n_ratings > most) most = builder->units[t].n_ratings;
    TRY_RETURN(MEM_NEW(&builder->scratch, threads, err));
    for (int t = 0; t < threads; t++) {
        TRY_RETURN(MEM_RAW(&builder->scratch[t].lengths, n, err));
        TRY_RETURN(MEM_RAW(&builder->scratch[t].ends, n, err));
        TRY_RETURN(MEM_RAW(&builder->scratch[t].entries, most, err));
    }
    return REEL_OK;
}

static void scratch_free(struct scratch *scratch, int threads) {
    for (int t = 0; scratch && t < threads; t++) {
        mem_free(scratch[t].lengths);
        mem_free(scratch[t].ends);
        mem_free(scratch[t].entries);
    }
    mem_free(scratch);
}

static reel_status build_tiles(reel_context *ctx, struct builder *builder, reel_error *err) {
    struct sgd_grid *grid = builder->grid;
    int32_t n_blocks = grid->n_user_bands * grid->n_movie_bands;
    builder->n_units = cut_units(builder, NULL);
    int64_t n_tiles = (int64_t)builder->n_units * grid->n_movie_bands, n_entries = 0;
    grid->n_tiles = n_tiles;
    TRY_RETURN(MEM_NEW(&builder->units, builder->n_units, err));
    cut_units(builder, builder->units);
    TRY_RETURN(scratch_new(builder, thread_pool_size(ctx->pool), err));
    TRY_RETURN(MEM_NEW(&grid->block_tiles, n_blocks + 1, err));
    TRY_RETURN(MEM_NEW(&grid->tiles, n_tiles, err));
    TRY_RETURN(MEM_NEW(&grid->block_order, n_blocks, err));
    TRY_RETURN(MEM_NEW(&grid->tile_order, n_tiles, err));
    TRY_RETURN(MEM_NEW(&grid->entries, builder->ratings->n_ratings + SGD_AHEAD, err));
    note_blocks(builder);
    thread_pool_run(ctx->pool, builder->n_units, count_unit, builder);
    TRY_RETURN(context_check(ctx, err));
    for (int64_t t = 0; t < n_tiles; t++) {
        grid->tiles[t].entry_begin = n_entries;
        n_entries += grid->tiles[t].n_entries;
    }
    thread_pool_run(ctx->pool, builder->n_units, fill_unit, builder);
    return context_check(ctx, err);
}

/* The maps that outlive the building move from the sides to the grid. */
static void keep_rows(struct sgd_grid *grid, struct sgd_side *users, struct sgd_side *movies) {
    grid->n_user_rows = users->n_rows;
    grid->n_movie_rows = movies->n_rows;
    grid->user_rows = users->rows;
    grid->row_users = users->indices;
    grid->movie_rows = movies->rows;
    grid->row_movies = movies->indices;
    users->rows = users->indices = movies->rows = movies->indices = NULL;
}

static reel_status check_bands(const struct sgd_side *movies, reel_error *err) {
    for (int32_t band = 0; band < movies->n_bands; band++) {
        int32_t n = movies->band_begins[band + 1] - movies->band_begins[band];
        if (n > SGD_TILE_MOVIES)
            return error_set(err, REEL_UNSUPPORTED, "a movie band has %d movies, more than %d: ask for more bands", n,
                             SGD_TILE_MOVIES);
    }
    return REEL_OK;
}

reel_status sgd_grid_build(reel_context *ctx, const struct ratings *ratings, int bands, uint64_t seed,
                           struct sgd_grid *grid, reel_error *err) {
    reel_status status = REEL_OK;
    struct builder builder = {.ratings = ratings, .grid = grid};
    *grid = (struct sgd_grid){.n_user_bands = bands, .n_movie_bands = bands};
    TRY(sgd_side_new(&builder.users, ratings->n_users, bands, err));
    TRY(sgd_side_new(&builder.movies, ratings->n_movies, bands, err));
    TRY(sgd_rows_order(ratings, seed, &builder.users, &builder.movies, err));
    TRY(check_bands(&builder.movies, err));
    TRY(MEM_NEW(&builder.movie_bands, ratings->n_movies, err));
    for (int32_t band = 0; band < bands; band++)
        for (int32_t row = builder.movies.band_begins[band]; row < builder.movies.band_begins[band + 1]; row++)
            builder.movie_bands[builder.movies.indices[row]] = (uint16_t)band;
    TRY(build_tiles(ctx, &builder, err));
    keep_rows(grid, &builder.users, &builder.movies);
cleanup:
    sgd_side_free(&builder.users);
    sgd_side_free(&builder.movies);
    mem_free(builder.movie_bands);
    mem_free(builder.units);
    scratch_free(builder.scratch, thread_pool_size(ctx->pool));
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
        sgd_shuffle(orders[which], n, seed, PHILOX_SHUFFLE_BLOCKS, (uint32_t)(epoch * ORDERS + which));
    }
    for (int32_t round = 0; round < n; round++)
        for (int32_t i = 0; i < n; i++) {
            int32_t movie_band = orders[MOVIES][(i + orders[ROUNDS][round]) % n];
            grid->block_order[round * n + i] = orders[USERS][i] * n + movie_band;
        }
}

void sgd_grid_shuffle(struct sgd_grid *grid, uint64_t seed, int epoch) {
    const int32_t n_blocks = grid->n_user_bands * grid->n_movie_bands;
    const uint32_t streams = n_blocks > 4096 ? (uint32_t)n_blocks : 4096;
    shuffle_blocks(grid, seed, epoch);
    for (int32_t b = 0; b < n_blocks; b++) {
        int64_t begin = grid->block_tiles[b], end = grid->block_tiles[b + 1];
        for (int64_t t = begin; t < end; t++) grid->tile_order[t] = (int32_t)t;
        /* A sub-stream for each (epoch, block). */
        uint32_t sub = (uint32_t)epoch * streams + (uint32_t)b;
        sgd_shuffle(grid->tile_order + begin, (int32_t)(end - begin), seed, PHILOX_SHUFFLE_TILES, sub);
    }
}
