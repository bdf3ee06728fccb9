/* From latent ratings to stars: cuts at the quantiles that give the wanted histogram, and what the truth
 * predicts through them. */
#include "data/gen.h"

struct census {
    const struct gen *gen;
    int64_t *counts; /* (workers, 2, GEN_BINS) */
};

static void count_block(void *arg, int64_t block, int worker) {
    const struct census *census = arg;
    const struct gen *gen = census->gen;
    int64_t *counts = census->counts + (int64_t)worker * 2 * GEN_BINS;
    struct gen_user user;
    for (int32_t u = gen->block_users[block]; u < gen->block_users[block + 1]; u++) {
        gen_user_draw(gen, u, &user);
        for (int64_t i = gen->user_offsets[u]; i < gen->user_offsets[u + 1]; i++) {
            struct gen_rating rating = gen_rate(gen, &user, i, gen->picks[i]);
            counts[(rating.time >= GEN_HALF_STARS_FROM) * GEN_BINS + gen_bin(rating.latent)]++;
        }
    }
}

/* first[v]: bin where v + 1 half stars begin, v = 0..9. wanted[v] adds up to the sum of counts; each cut is the bin
 * edge nearest to its cumulated count. */
static void find_cuts(const int64_t *counts, const double *wanted, int32_t *first) {
    double below = 0, goal = 0;
    int32_t bin = 0;
    first[0] = 0;
    for (int v = 1; v < 10; v++) {
        goal += wanted[v - 1];
        while (bin < GEN_BINS && below + 0.5 * (double)counts[bin] < goal) below += (double)counts[bin++];
        first[v] = bin;
    }
}

static void fill_stars(const int32_t *first, uint8_t *stars) {
    for (int v = 0; v < 10; v++)
        for (int32_t bin = first[v]; bin < GEN_BINS; bin++) stars[bin] = (uint8_t)(v + 1);
}

/* E[stars | mean] = 0.5 (1 + sum over cuts of P(latent >= cut)). */
static void fill_expected(const int32_t *first, double noise, float *expected) {
    for (int i = 0; i <= GEN_EXPECT; i++) {
        double mean = -8 + 16.0 * i / GEN_EXPECT, sum = 1;
        for (int v = 1; v < 10; v++) {
            double cut = -8 + 16.0 * first[v] / GEN_BINS;
            sum += first[v] == 0          ? 1
                   : first[v] == GEN_BINS ? 0
                                          : 0.5 * erfc((cut - mean) / (noise * 1.4142135623730951));
        }
        expected[i] = (float)(0.5 * sum);
    }
}

double gen_scale_expect(const struct gen_scale *scale, int halves, float mean) {
    float at = (mean + 8) * ((float)GEN_EXPECT / 16);
    at = at < 0 ? 0 : at > GEN_EXPECT - 1 ? GEN_EXPECT - 1 : at;
    int i = (int)at;
    const float *expected = scale->expected[halves];
    return expected[i] + (at - (float)i) * (expected[i + 1] - expected[i]);
}

/* Whole-star time takes the same part of every whole-star count; what is left is for the time after it. */
static void share_histogram(const struct gen *gen, int64_t early, double wanted[2][10]) {
    double total = 0, whole = 0, late = 0, scale;
    for (int v = 0; v < 10; v++) {
        total += (double)gen->profile->histogram[v];
        if (v % 2) whole += (double)gen->profile->histogram[v];
    }
    scale = (double)gen->n_ratings / total;
    for (int v = 0; v < 10; v++) {
        double all = scale * (double)gen->profile->histogram[v];
        wanted[0][v] = v % 2 ? (double)early * (double)gen->profile->histogram[v] / whole : 0;
        wanted[1][v] = all > wanted[0][v] ? all - wanted[0][v] : 0;
        late += wanted[1][v];
    }
    for (int v = 0; v < 10 && late > 0; v++) wanted[1][v] *= (double)(gen->n_ratings - early) / late;
}

reel_status gen_scale_fit(struct gen *gen, reel_error *err) {
    int workers = thread_pool_size(gen->ctx->pool);
    struct census census = {.gen = gen};
    reel_status status = REEL_OK;
    TRY(MEM_NEW(&census.counts, (int64_t)workers * 2 * GEN_BINS, err));
    for (int part = 0; part < 2; part++) TRY(MEM_RAW(&gen->scale.stars[part], GEN_BINS, err));
    TRY(gen_run_blocks(gen, "plant ratings", count_block, &census, err));
    for (int w = 1; w < workers; w++)
        for (int i = 0; i < 2 * GEN_BINS; i++) census.counts[i] += census.counts[(int64_t)w * 2 * GEN_BINS + i];
    int64_t early = 0;
    for (int i = 0; i < GEN_BINS; i++) early += census.counts[i];
    double wanted[2][10];
    share_histogram(gen, early, wanted);
    for (int part = 0; part < 2; part++) {
        int32_t first[10];
        find_cuts(census.counts + part * GEN_BINS, wanted[part], first);
        fill_stars(first, gen->scale.stars[part]);
        fill_expected(first, gen->profile->noise, gen->scale.expected[part]);
    }
cleanup:
    mem_free(census.counts);
    return status;
}

void gen_scale_free(struct gen_scale *scale) {
    mem_free(scale->stars[0]);
    mem_free(scale->stars[1]);
}
