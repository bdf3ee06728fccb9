/* set_sweep's parameters on CUDA, and what its kernels share. Included by set_*.h and set_sweep.cu alone. */
#ifndef KERNELS_CUDA_SET_PARAMS_H
#define KERNELS_CUDA_SET_PARAMS_H

#include "backend/gibbs_ops.h"

enum {
    B = SET_SWEEP_BLOCK,
    MATRIX = B * B,
    THREADS = 256,
    WARPS = THREADS / 32,
    BATCH = 64, /* columns whose draws are one product; bits of a word */
    SIDE = BATCH * B,
    TILE = 64, /* a batch's triangular matrix (SIDE, SIDE) is kept as tiles on and below the diagonal */
    TILE_COLUMNS = TILE / B,
    TILES = SIDE / TILE,
    LOWER = TILES * (TILES + 1) / 2,
#if defined(REEL_CUDA_EMULATED) /* so that small cases reach all code */
    GROUP = 16,
    COLUMN_CHUNK = 512,
#else
    GROUP = 256,         /* batches whose matrices are in memory at a time */
    COLUMN_CHUNK = 2048, /* ratings of a column that are worked on at once */
#endif
    PARTS = 128,    /* of the rows; a block of draws_kernel has one */
    ROW_CHUNK = 256 /* ratings of a row */
};

/* Lists (of a column, or of a row) in chunks of `size` ratings, at least one each. */
struct chunk_table {
    const int64_t *offsets; /* (n + 1,) of the lists */
    int32_t n;
    uint32_t size;
    /* (n + 1,) chunks before list i; in the upper half those of lists that have more than one */
    uint64_t *first;
    int32_t *owner; /* list of each chunk */
};

struct sweep_params {
    int k, d, stride, biases;
    int32_t n_rows, n_columns;
    const int64_t *offsets, *column_offsets;
    const int32_t *columns, *column_rows;
    const float *column_vectors;
    float *features, *row_sums, *residual;
    float alpha;
    uint64_t seed, stream;
    /* made once a sweep */
    struct chunk_table row_chunks, column_chunks;
    int32_t *part_row; /* (PARTS + 1,) first row of each part */
    uint32_t *cut;     /* (n_columns, PARTS) place in the column's list of the part's first row */
    uint32_t *begin;   /* (PARTS, n_columns + 1) ratings of the part before the column */
    int32_t *list_row; /* (n,) rows by part, column, row */
    /* for each rating which columns of the batch its row has: by column; and by part, 0 but for the first of them */
    uint64_t *members, *list_members;
    /* of the block at work: dimensions first .. first + width - 1; width 0 when all are drawn */
    int first, width, last_width; /* last_width: of the block before; 0 when there is none */
    float prior_mean[B], prior_precision[B];
    float *x, *last_x;        /* (n_columns, B) coefficients, and those of the block before */
    float *h, *q;             /* (n_rows, B, B), (n_rows, B) */
    float *moved;             /* (n_rows, B) sum of the changes of the row's columns */
    float *row_parts;         /* (chunks of shared rows, MATRIX + B) */
    float *sum, *gain;        /* (n_columns, B, B), whole batches: one array, gain takes the place of sum */
    float *shift, *pull;      /* (n_columns, B), whole batches */
    float *column_parts;      /* (chunks of shared columns, BATCH, B, B) */
    float *pairs, *inverse;   /* (GROUP, LOWER, TILE, TILE) */
    int32_t batch, n_batches; /* whose matrices those are */
    /* what blocks tell each other, each word with the draw's number: (SIDE, PARTS), (SIDE,), (SIDE,) */
    uint64_t *partial, *pulls, *changes;
    uint32_t number; /* of the draw of `batch` */
};

static const unsigned WHOLE_WARP = 0xffffffffu;

static __device__ __forceinline__ int smaller(int64_t a, int b) {
    return a < b ? (int)a : b;
}

/* ---- chunks ---- */

struct span {
    int32_t owner;
    uint32_t chunk, chunks, slot; /* slot: place among the chunks of lists that have several */
    int64_t begin, end;
};

static __device__ __forceinline__ struct span span_of(const struct chunk_table &table, int64_t chunk) {
    const int32_t owner = table.owner[chunk];
    const uint64_t first = table.first[owner];
    const uint32_t at = (uint32_t)chunk - (uint32_t)first, chunks = (uint32_t)table.first[owner + 1] - (uint32_t)first;
    const int64_t begin = table.offsets[owner] + (int64_t)at * table.size, end = table.offsets[owner + 1];
    return {owner, at, chunks, (uint32_t)(first >> 32) + at, begin, at + 1 < chunks ? begin + table.size : end};
}

/* ---- a batch's matrices ---- */

static __device__ __forceinline__ float *tile_at(float *matrices, int64_t batch, int i, int j) {
    return matrices + (batch * LOWER + i * (i + 1) / 2 + j) * (TILE * TILE);
}

/* Where element (row, column) is, row >= column but for the diagonal's tiles. */
static __device__ __forceinline__ float *element_at(float *matrices, int64_t batch, int row, int column) {
    return tile_at(matrices, batch, row / TILE, column / TILE) + row % TILE * TILE + column % TILE;
}

#endif
