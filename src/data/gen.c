#include "data/gen.h"

void reel_gen_options_default(reel_gen_options *options) {
    *options = (reel_gen_options){.like = "ml-20m"};
}

struct round {
    task_fn fn;
    void *arg;
    int64_t first;
};

static void run_task(void *arg, int64_t task, int worker) {
    const struct round *round = arg;
    round->fn(round->arg, round->first + task, worker);
}

reel_status gen_run_blocks(const struct gen *gen, const char *stage, task_fn fn, void *arg, reel_error *err) {
    struct round round = {.fn = fn, .arg = arg};
    enum { BLOCKS_A_ROUND = 64 };
    while (round.first < gen->n_blocks) {
        int64_t n = gen->n_blocks - round.first < BLOCKS_A_ROUND ? gen->n_blocks - round.first : BLOCKS_A_ROUND;
        thread_pool_run(gen->ctx->pool, n, run_task, &round);
        round.first += n;
        TRY_RETURN(context_check(gen->ctx, err));
        context_progress(gen->ctx, stage, "ratings", gen->user_offsets[gen->block_users[round.first]], gen->n_ratings,
                         NULL, 0, round.first == gen->n_blocks);
    }
    return REEL_OK;
}

/* Fills in what was left 0: users and ratings keep the real set's ratings a user. */
static reel_status resolve_sizes(struct gen *gen, const reel_gen_options *options, reel_error *err) {
    const struct gen_profile *profile = gen->profile;
    double mean = (double)profile->n_ratings / profile->n_users;
    if (options->n_users < 0 || options->n_movies < 0 || options->n_ratings < 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "users, movies and ratings cannot be negative");
    if (options->n_ratings > (int64_t)1 << 36)
        return error_set(err, REEL_INVALID_ARGUMENT, "at most %lld ratings can be made (found %lld)", 1LL << 36,
                         (long long)options->n_ratings);
    gen->n_users = options->n_users;
    gen->n_ratings = options->n_ratings;
    if (!gen->n_users && !gen->n_ratings) {
        gen->n_users = profile->n_users;
        gen->n_ratings = profile->n_ratings;
    } else if (!gen->n_ratings) {
        gen->n_ratings = (int64_t)(mean * gen->n_users + 0.5);
    } else if (!gen->n_users) {
        double users = (double)gen->n_ratings / mean + 0.5;
        gen->n_users = gen->n_ratings == profile->n_ratings ? profile->n_users : users < 1 ? 1 : (int32_t)users;
    }
    /* A catalogue brings its own number. */
    gen->n_movies = options->n_movies || options->catalogue ? options->n_movies : profile->n_movies;
    gen->factors = options->factors ? options->factors : 20;
    if (gen->factors < 1 || gen->factors > GEN_FACTORS_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "factors must be 1..%d (found %d)", GEN_FACTORS_MAX, gen->factors);
    gen->stride = (gen->factors + 3) / 4 * 4;
    return REEL_OK;
}

/* How many movies are rated: the real set's share, more if the users need more, fewer if ratings are few. */
static reel_status resolve_rated(struct gen *gen, reel_error *err) {
    const struct gen_profile *profile = gen->profile;
    if (gen->n_ratings < (int64_t)GEN_MIN_USER_RATINGS * gen->n_users)
        return error_set(err, REEL_INVALID_ARGUMENT, "%lld ratings are too few for %d users: each rates at least %d",
                         (long long)gen->n_ratings, gen->n_users, GEN_MIN_USER_RATINGS);
    if (gen->n_ratings > (int64_t)gen->n_users * gen->n_movies)
        return error_set(err, REEL_INVALID_ARGUMENT, "%lld ratings do not fit %d users x %d movies",
                         (long long)gen->n_ratings, gen->n_users, gen->n_movies);
    int64_t rated = (int64_t)((double)gen->n_movies * profile->n_rated / profile->n_movies + 0.5);
    int64_t least = (gen->n_ratings + gen->n_users - 1) / gen->n_users;
    if (rated > gen->n_ratings / 4) rated = gen->n_ratings / 4;
    if (rated < least) rated = least;
    gen->n_rated = (int32_t)rated;
    return REEL_OK;
}

static reel_status gen_make(struct gen *gen, const reel_gen_options *options, const char *out_dir, double *oracle_rmse,
                            reel_error *err) {
    TRY_RETURN(resolve_sizes(gen, options, err));
    TRY_RETURN(gen_catalogue_load(gen, options->catalogue, err));
    TRY_RETURN(resolve_rated(gen, err));
    TRY_RETURN(gen_users_plan(gen, err));
    TRY_RETURN(gen_movies_plan(gen, err));
    TRY_RETURN(gen_weights_fit(gen, err));
    TRY_RETURN(gen_picks_draw(gen, err));
    TRY_RETURN(gen_picks_repair(gen, err));
    TRY_RETURN(gen_scale_fit(gen, err));
    return gen_write(gen, out_dir, oracle_rmse, err);
}

void gen_free(struct gen *gen) {
    gen_catalogue_free(&gen->catalogue);
    gen_scale_free(&gen->scale);
    void *arrays[] = {gen->movie_bias, gen->movie_drift,  gen->movie_factors, gen->released,
                      gen->releases,   gen->user_offsets, gen->movie_targets, gen->user_last,
                      gen->weights,    gen->block_users,  gen->picks};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) mem_free(arrays[i]);
}

reel_status reel_gen(reel_context *ctx, const reel_gen_options *options, const char *out_dir, reel_gen_report *report,
                     reel_error *err) {
    double start = clock_seconds(), oracle_rmse = 0;
    struct gen gen = {.ctx = ctx, .seed = options->seed};
    const char *like = options->like ? options->like : "ml-20m";
    gen.profile = gen_profile_find(like);
    if (!gen.profile)
        return error_set(err, REEL_INVALID_ARGUMENT, "nothing like '%.60s' is known (known: %s)", like,
                         gen_profile_names);
    reel_status status = gen_make(&gen, options, out_dir, &oracle_rmse, err);
    if (status == REEL_OK && report)
        *report = (reel_gen_report){.n_users = gen.n_users,
                                    .n_movies = gen.n_movies,
                                    .n_rated = gen.n_rated,
                                    .n_ratings = gen.n_ratings,
                                    .oracle_rmse = oracle_rmse,
                                    .seconds = clock_seconds() - start};
    gen_free(&gen);
    return status;
}
