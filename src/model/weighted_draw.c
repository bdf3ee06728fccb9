#include "model/weighted_draw.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/common/philox.h"

enum { CHUNK = 1 << 14 }; /* a multiple of a block's four words */

struct draw {
    uint64_t seed, stream;
    int64_t n, n_chunks;
    const double *weights;
    float *gaps;
    uint16_t *copies;
    double *places; /* (n_chunks + 1,) sums of the gaps before a chunk */
    double *below;  /* (n_chunks + 1,) sums of the weights before a chunk */
    double scale;   /* weight a gap of 1 */
};

static int64_t end_of(const struct draw *draw, int64_t chunk) {
    return (chunk + 1) * CHUNK < draw->n ? (chunk + 1) * CHUNK : draw->n;
}

static float gap_of(uint32_t word) {
    return -logf((float)philox_uniform(word));
}

static void sum_task(void *arg, int64_t chunk, int worker) {
    (void)worker;
    const struct draw *draw = arg;
    struct philox4 words = {{0}};
    double gaps = 0, weights = 0;
    for (int64_t i = chunk * CHUNK; i < end_of(draw, chunk); i++) {
        if (i % 4 == 0) words = philox_block(draw->seed, draw->stream, (uint64_t)i / 4);
        draw->gaps[i] = gap_of(words.v[i % 4]);
        gaps += (double)draw->gaps[i];
        weights += draw->weights[i];
    }
    draw->places[chunk + 1] = gaps;
    draw->below[chunk + 1] = weights;
}

/* The last chunk of gaps that begins below `weight`, or the first. */
static int64_t find_chunk(const struct draw *draw, double weight) {
    int64_t low = 0, high = draw->n_chunks - 1;
    while (low < high) {
        int64_t middle = high - (high - low) / 2;
        if (draw->places[middle] * draw->scale < weight)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Places never pass the sum at their chunk's end, so that none is met twice or lost. */
static void place_task(void *arg, int64_t chunk, int worker) {
    (void)worker;
    const struct draw *draw = arg;
    const double low = draw->below[chunk], high = chunk + 1 < draw->n_chunks ? draw->below[chunk + 1] : INFINITY;
    const int64_t last = end_of(draw, chunk) - 1;
    int64_t at = chunk * CHUNK;
    double below = low + draw->weights[at];
    memset(draw->copies + at, 0, (size_t)(last + 1 - at) * sizeof *draw->copies);
    for (int64_t c = find_chunk(draw, low); c < draw->n_chunks && draw->places[c] * draw->scale < high; c++) {
        double place = draw->places[c];
        for (int64_t i = c * CHUNK; i < end_of(draw, c); i++) {
            place += (double)draw->gaps[i];
            const double weight = fmin(place, draw->places[c + 1]) * draw->scale;
            if (weight < low) continue;
            if (weight >= high) break;
            while (at < last && below <= weight) below += draw->weights[++at];
            if (draw->copies[at] < UINT16_MAX) draw->copies[at]++;
        }
    }
}

reel_status weighted_draw(reel_context *ctx, uint64_t seed, uint64_t stream, int64_t n, const double *weights,
                          float *gaps, uint16_t *copies, reel_error *err) {
    reel_status status = REEL_OK;
    struct draw draw = {.seed = seed,
                        .stream = stream,
                        .n = n,
                        .n_chunks = (n + CHUNK - 1) / CHUNK,
                        .weights = weights,
                        .gaps = gaps,
                        .copies = copies};
    TRY(MEM_NEW(&draw.places, draw.n_chunks + 1, err));
    TRY(MEM_NEW(&draw.below, draw.n_chunks + 1, err));
    thread_pool_run(ctx->pool, draw.n_chunks, sum_task, &draw);
    for (int64_t c = 0; c < draw.n_chunks; c++) {
        draw.places[c + 1] += draw.places[c];
        draw.below[c + 1] += draw.below[c];
    }
    /* One gap more than there are numbers. */
    const struct philox4 words = philox_block(seed, stream, (uint64_t)n / 4);
    draw.scale = draw.below[draw.n_chunks] / (draw.places[draw.n_chunks] + (double)gap_of(words.v[n % 4]));
    thread_pool_run(ctx->pool, draw.n_chunks, place_task, &draw);
cleanup:
    mem_free(draw.places);
    mem_free(draw.below);
    return status;
}
