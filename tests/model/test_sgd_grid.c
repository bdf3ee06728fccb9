/* The grid: every rating once, bands balanced and disjoint, neighbouring entries of different users, orders that are
 * permutations. */
#include "tests/test.h"

#include "model/sgd_grid.h"
#include "tests/data/random_ratings.h"

/* Checks one tile and ticks off its ratings in `seen`; returns how many entries have the user of the one before. */
static int32_t check_tile(const struct sgd_grid *grid, const struct ratings *ratings, const struct sgd_tile *tile,
                          uint8_t *seen) {
    int32_t repeats = 0, before = -1;
    for (int32_t i = 0; i < tile->n_entries; i++) {
        uint32_t entry = grid->entries[tile->entry_begin + i];
        int32_t user = grid->row_users[tile->user_begin + sgd_entry_user(entry)];
        int32_t movie = grid->row_movies[tile->movie_begin + sgd_entry_movie(entry)];
        int64_t at = ratings->user_offsets[user];
        while (at < ratings->user_offsets[user + 1] && ratings->user_movies[at] != movie) at++;
        CHECK(at < ratings->user_offsets[user + 1]);
        CHECK_INT(seen[at], 0);
        seen[at] = 1;
        CHECK_INT(sgd_entry_value(entry), ratings->user_ratings[at]);
        repeats += user == before;
        before = user;
    }
    return repeats;
}

/* Each user row belongs to the blocks of one user band, each movie row to those of one movie band. */
static void check_bands(const struct sgd_grid *grid, int32_t *user_band, int32_t *movie_band) {
    for (int32_t b = 0; b < grid->n_user_bands * grid->n_movie_bands; b++)
        for (int64_t t = grid->block_tiles[b]; t < grid->block_tiles[b + 1]; t++) {
            const struct sgd_tile *tile = &grid->tiles[t];
            for (int64_t e = tile->entry_begin; e < tile->entry_begin + tile->n_entries; e++) {
                int32_t *user = &user_band[tile->user_begin + sgd_entry_user(grid->entries[e])];
                int32_t *movie = &movie_band[tile->movie_begin + sgd_entry_movie(grid->entries[e])];
                CHECK(*user == -1 || *user == b / grid->n_movie_bands);
                CHECK(*movie == -1 || *movie == b % grid->n_movie_bands);
                *user = b / grid->n_movie_bands;
                *movie = b % grid->n_movie_bands;
            }
        }
}

static void check_order(struct sgd_grid *grid, int epoch) {
    int32_t n_blocks = grid->n_user_bands * grid->n_movie_bands, n = grid->n_user_bands;
    int64_t n_tiles = grid->block_tiles[n_blocks];
    uint8_t *seen = calloc((size_t)n_blocks + (size_t)n_tiles + 1, 1);
    sgd_grid_shuffle(grid, 4, epoch);
    for (int32_t i = 0; i < n_blocks; i++) CHECK_INT(seen[grid->block_order[i]]++, 0);
    for (int32_t round = 0; round < n; round++) /* a round's blocks share no band */
        for (int32_t i = 0; i < n; i++)
            for (int32_t j = 0; j < i; j++) {
                int32_t a = grid->block_order[round * n + i], b = grid->block_order[round * n + j];
                CHECK(a / n != b / n && a % n != b % n);
            }
    for (int32_t b = 0; b < n_blocks; b++)
        for (int64_t t = grid->block_tiles[b]; t < grid->block_tiles[b + 1]; t++) {
            CHECK(grid->tile_order[t] >= grid->block_tiles[b] && grid->tile_order[t] < grid->block_tiles[b + 1]);
            CHECK_INT(seen[n_blocks + grid->tile_order[t]]++, 0);
        }
    free(seen);
}

/* A tile is marked as one of one movie exactly when its band has one row; its users then are all different. */
static void check_one_movie(const struct sgd_grid *grid, const int32_t *movie_band) {
    for (int32_t b = 0; b < grid->n_user_bands * grid->n_movie_bands; b++) {
        int32_t n_movies = 0;
        for (int32_t row = 0; row < grid->n_movie_rows; row++) n_movies += movie_band[row] == b % grid->n_movie_bands;
        for (int64_t t = grid->block_tiles[b]; t < grid->block_tiles[b + 1]; t++) {
            const struct sgd_tile *tile = &grid->tiles[t];
            uint8_t seen[SGD_TILE_USERS] = {0};
            CHECK_INT(tile->one_movie, n_movies == 1);
            for (int32_t i = 0; tile->one_movie && i < tile->n_entries; i++)
                CHECK_INT(seen[sgd_entry_user(grid->entries[tile->entry_begin + i])]++, 0);
        }
    }
}

static int32_t *minus_ones(int32_t n) {
    int32_t *numbers = malloc((size_t)(n + 1) * sizeof *numbers);
    for (int32_t i = 0; i < n; i++) numbers[i] = -1;
    return numbers;
}

static void check_grid(int32_t n_users, int32_t n_movies, uint32_t percent, int bands, int balanced) {
    reel_context *ctx = context_of(2);
    struct ratings ratings = random_ratings(n_users, n_movies, percent, 21);
    struct sgd_grid grid;
    reel_error err;
    REQUIRE_OK(sgd_grid_build(ctx, &ratings, bands, 9, &grid, &err), err);
    uint8_t *seen = calloc((size_t)ratings.n_ratings + 1, 1);
    int32_t *user_band = minus_ones(n_users), *movie_band = minus_ones(n_movies);
    int64_t repeats = 0;
    for (int32_t b = 0; b < bands * bands; b++) {
        int64_t n = 0;
        for (int64_t t = grid.block_tiles[b]; t < grid.block_tiles[b + 1]; t++) {
            repeats += check_tile(&grid, &ratings, &grid.tiles[t], seen);
            n += grid.tiles[t].n_entries;
        }
        if (balanced) CHECK_NEAR((double)n * bands * bands / (double)ratings.n_ratings, 1, 0.15);
    }
    if (balanced) CHECK(repeats < ratings.n_ratings / 100);
    for (int64_t i = 0; i < ratings.n_ratings; i++) CHECK(seen[i]);
    check_bands(&grid, user_band, movie_band);
    check_one_movie(&grid, movie_band);
    for (int32_t u = 0; u < n_users; u++) {
        int rated = ratings.user_offsets[u + 1] > ratings.user_offsets[u];
        CHECK((grid.user_rows[u] >= 0) == rated);
        if (rated) CHECK_INT(grid.row_users[grid.user_rows[u]], u);
    }
    for (int32_t row = 0; row < grid.n_movie_rows; row++) CHECK_INT(grid.movie_rows[grid.row_movies[row]], row);
    for (int epoch = 0; epoch < 4; epoch++) check_order(&grid, epoch);
    free(seen);
    free(user_band);
    free(movie_band);
    sgd_grid_free(&grid);
    ratings_free(&ratings);
    reel_context_free(ctx);
}

static void test_grids(void) {
    check_grid(0, 0, 0, 2, 0);
    check_grid(5, 5, 0, 2, 0);
    check_grid(1, 1, 100, 1, 0);
    check_grid(1, 1, 100, 6, 0);
    check_grid(30, 20, 50, 3, 0);
    check_grid(2000, 100, 50, 4, 1);
    check_grid(4000, 9, 20, 2, 0); /* more users than a tile takes */
    check_grid(7, 3000, 90, 5, 0);
    check_grid(1500, 1, 80, 1, 0); /* bands of one movie, alone and among others */
    check_grid(50, 3, 60, 5, 0);
    check_grid(200, 9, 60, 6, 0);
}

int main(void) {
    RUN(test_grids);
    TEST_EXIT();
}
