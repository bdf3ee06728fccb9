/* set_sweep on CUDA, once a sweep: chunks of long lists, the rows' parts, and which columns of a batch a row has.
 * Included by set_sweep.cu alone. */
#ifndef KERNELS_CUDA_SET_LISTS_H
#define KERNELS_CUDA_SET_LISTS_H

#include "kernels/cuda/set_params.h"

enum { SCAN_THREADS = 1024, SCAN_WARPS = SCAN_THREADS / 32 };

/* Sum of the values of the block's threads before this one. */
static __device__ __forceinline__ uint64_t block_before(uint64_t value) {
    __shared__ uint64_t totals[SCAN_WARPS];
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    uint64_t sum = value, before = 0;
    for (unsigned by = 1; by < 32; by *= 2) {
        const uint64_t other = __shfl_up_sync(WHOLE_WARP, sum, by);
        if (lane >= (int)by) sum += other;
    }
    if (lane == 31) totals[warp] = sum;
    __syncthreads();
    for (int w = 0; w < warp; w++) before += totals[w];
    return before + sum - value;
}

static __device__ __forceinline__ uint64_t chunks_of(const struct chunk_table &table, int64_t i) {
    const int64_t n = table.offsets[i + 1] - table.offsets[i];
    const uint64_t chunks = n ? (uint64_t)((n + table.size - 1) / table.size) : 1;
    return chunks > 1 ? chunks << 32 | chunks : chunks;
}

/* One block. */
static __global__ void __launch_bounds__(SCAN_THREADS) chunks_kernel(const __grid_constant__ struct chunk_table table) {
    const int64_t each = ((int64_t)table.n + SCAN_THREADS - 1) / SCAN_THREADS, from = threadIdx.x * each;
    const int64_t end = from + each < table.n ? from + each : table.n;
    uint64_t sum = 0;
    for (int64_t i = from; i < end; i++) sum += chunks_of(table, i);
    uint64_t before = block_before(sum);
    for (int64_t i = from; i < end; i++) {
        table.first[i] = before;
        before += chunks_of(table, i);
    }
    if (from < table.n && end == table.n) table.first[table.n] = before;
}

static __global__ void __launch_bounds__(THREADS) owners_kernel(const __grid_constant__ struct chunk_table table) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= table.n) return;
    for (uint32_t chunk = (uint32_t)table.first[i]; chunk < (uint32_t)table.first[i + 1]; chunk++)
        table.owner[chunk] = (int32_t)i;
}

/* ---- parts of the rows, with about as many ratings each ---- */

/* Never falls from one row to the next. */
static __device__ __forceinline__ int part_of(const struct sweep_params &p, int64_t row) {
    const int64_t n = p.offsets[p.n_rows];
    return n ? smaller(p.offsets[row] * PARTS / n, PARTS - 1) : 0;
}

static __global__ void __launch_bounds__(THREADS) parts_kernel(const __grid_constant__ struct sweep_params p) {
    const int part = (int)threadIdx.x;
    if (part > PARTS) return;
    int32_t low = 0, high = p.n_rows;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (part_of(p, middle) < part)
            low = middle + 1;
        else
            high = middle;
    }
    p.part_row[part] = part < PARTS ? low : p.n_rows;
}

/* First place from `low` on, below `high`, whose index is not below `index`; else `high`. */
static __device__ __forceinline__ int64_t place_of(const int32_t *indices, int64_t low, int64_t high, int32_t index) {
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (indices[middle] < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A thread a column and part. */
static __global__ void __launch_bounds__(THREADS) cuts_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, column = at / PARTS;
    if (column >= p.n_columns) return;
    const int64_t begin = p.column_offsets[column], end = p.column_offsets[column + 1];
    p.cut[at] = (uint32_t)(place_of(p.column_rows, begin, end, p.part_row[at % PARTS]) - begin);
}

/* A block a part. */
static __global__ void __launch_bounds__(SCAN_THREADS) begins_kernel(const __grid_constant__ struct sweep_params p) {
    const int part = (int)blockIdx.x;
    const int64_t each = ((int64_t)p.n_columns + SCAN_THREADS - 1) / SCAN_THREADS, from = threadIdx.x * each;
    const int64_t end = from + each < p.n_columns ? from + each : p.n_columns;
    uint32_t *begin = p.begin + (int64_t)part * (p.n_columns + 1), sum = 0;
    for (int64_t c = from; c < end; c++) {
        const uint32_t *cut = p.cut + c * PARTS + part;
        const uint32_t n = (uint32_t)(p.column_offsets[c + 1] - p.column_offsets[c]);
        begin[c] = sum;
        sum += (part + 1 < PARTS ? cut[1] : n) - cut[0];
    }
    const uint32_t before = (uint32_t)block_before(sum);
    for (int64_t c = from; c < end; c++) begin[c] += before;
    if (from < p.n_columns && end == p.n_columns) begin[p.n_columns] = before + sum;
}

/* ---- which columns of a batch a row has ---- */

static __device__ __forceinline__ uint64_t members_of(const struct sweep_params &p, int32_t row, int32_t column) {
    const int32_t first = column / BATCH * BATCH;
    const int64_t begin = p.offsets[row], end = p.offsets[row + 1];
    const int64_t place = place_of(p.columns, begin, end, column);
    uint64_t members = 0;
    for (int64_t at = place; at >= begin && p.columns[at] >= first; at--)
        members |= (uint64_t)1 << (p.columns[at] - first);
    for (int64_t at = place + 1; at < end && p.columns[at] < first + BATCH; at++)
        members |= (uint64_t)1 << (p.columns[at] - first);
    return members;
}

static __global__ void __launch_bounds__(THREADS) lists_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t n_chunks = (uint32_t)p.column_chunks.first[p.n_columns];
    for (int64_t chunk = blockIdx.x; chunk < n_chunks; chunk += gridDim.x) {
        const struct span span = span_of(p.column_chunks, chunk);
        const int32_t column = span.owner;
        const uint64_t own = (uint64_t)1 << column % BATCH;
        for (int64_t i = span.begin + threadIdx.x; i < span.end; i += THREADS) {
            const int32_t row = p.column_rows[i];
            const int part = part_of(p, row);
            const uint64_t members = members_of(p, row, column);
            const int64_t place = i - p.column_offsets[column] - p.cut[(int64_t)column * PARTS + part];
            const int64_t to =
                p.offsets[p.part_row[part]] + p.begin[(int64_t)part * (p.n_columns + 1) + column] + place;
            p.members[i] = members;
            p.list_row[to] = row;
            p.list_members[to] = members & (own - 1) ? 0 : members;
        }
    }
}

#endif
