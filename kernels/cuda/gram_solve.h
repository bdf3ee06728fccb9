/* Cholesky factor and back substitution of a matrix that a thread block holds in its registers.
 *
 * The matrix is [A b] with `rows` rows and rows + 1 columns, A symmetric; it turns into [U y], A = U^T U and U^T y = b.
 * Of each tile of 4 * WARPS rows by 8 columns on or above the diagonal a thread holds one element: warp w rows 4 w ..
 * 4 w + 3 of every tile, so that four rows in a row, a panel, belong to one warp. A warp's tiles begin at its own
 * diagonal: its tile (r, c) covers the columns from 8 (c + w / 2) on.
 *
 * A panel's warp puts its raw rows into shared memory, factors the 4 x 4 on the diagonal, every lane the same one, and
 * takes each column through the forward substitution. All warps then take the four finished rows off the rows that they
 * hold below, reading four factors at a time. The warp of the next panel does so for that panel's row of tiles only,
 * finishes it, and catches up on its other rows then: while one warp is at a panel, the others are at the rest. They
 * meet once a panel, at a barrier that its own warp does not wait at.
 *
 * Panels stay in shared memory: the four rows' elements of a column are neighbours, columns from the tile with the
 * diagonal on, four floats of padding behind each panel so that 32 rows' elements of a column are in 32 banks. */
#ifndef KERNELS_CUDA_GRAM_SOLVE_H
#define KERNELS_CUDA_GRAM_SOLVE_H

#include <cuda_runtime.h>
#include <float.h>
#include <math.h>

enum { PANEL_ROWS = 4 };

/* The four elements of column c in panel `panel` lie at floats panel_at(tiles, panel) + 4 c and up; tiles = columns / 8
 * rounded up. */
static inline __host__ __device__ int panel_at(int tiles, int panel) {
    return 32 * (tiles * panel - (panel - 1) * (panel - 1) / 4 - panel / 2) + 4 * panel;
}

/* Floats of the panels of `rows` rows. Dead rows and columns, up to the `columns`-th, read on behind the last one. */
static inline __host__ __device__ int panels_size(int tiles, int rows, int columns) {
    const int panels = (rows + PANEL_ROWS - 1) / PANEL_ROWS;
    return panel_at(tiles, panels) + 32 * (panels / 2) + 4 * (columns - 8 * tiles);
}

/* ---- the registers ---- */

/* For LEAST to TILES tiles of eight columns. */
template <int WARPS, int LEAST, int TILES> struct held_matrix {
    enum {
        TILE_ROWS = PANEL_ROWS * WARPS,
        ROW_TILES = (8 * TILES - 2 + TILE_ROWS) / TILE_ROWS,
        SURE = LEAST - (WARPS - 1) / 2,          /* tiles of columns that every warp has */
        COLUMNS = 8 * TILES + PANEL_ROWS * WARPS /* no thread looks at more, rows or columns */
    };

    /* Where row of tiles r begins. */
    static constexpr __host__ __device__ int first(int r) {
        return WARPS * r / 2;
    }

    static constexpr __host__ __device__ int at(int r, int c) {
        return r * TILES - (WARPS == 1 ? (r - 1) * (r - 1) / 4 : WARPS / 2 * (r * (r - 1) / 2)) + c - first(r);
    }

    float element[ROW_TILES * TILES -
                  (WARPS == 1 ? (ROW_TILES - 1) * (ROW_TILES - 1) / 4 : WARPS / 2 * (ROW_TILES * (ROW_TILES - 1) / 2))];
};

/* What a thread knows of its place. */
struct held_place {
    int tiles, rows;
    int warp, row, column; /* of a tile of its warp */
    int end;               /* the warp's tiles of columns */
};

static __device__ __forceinline__ struct held_place held_place_of(int tiles, int rows) {
    const int lane = (int)threadIdx.x % 32;
    const int warp = __shfl_sync(~0u, (int)threadIdx.x / 32, 0); /* tells the compiler that it is the same for all */
    return {tiles, rows, warp, PANEL_ROWS * warp + lane / 8, warp / 2 * 8 + lane % 8, tiles - warp / 2};
}

/* ---- the factor ---- */

/* 1 / sqrt(x) within two last places, as if the pivot were four off. Not finite where x is below FLT_MIN. */
static __device__ __forceinline__ float reciprocal_root(float x) {
#if defined(REEL_CUDA_EMULATED)
    return x < FLT_MIN ? (x < 0 ? NAN : INFINITY) : rsqrtf(x);
#else
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/* Everyone comes here once a panel; its own warp does not wait for the others. */
template <int WARPS> static __device__ __forceinline__ void meet(int panel, int owner) {
    if (WARPS == 1) {
        __syncwarp();
        return;
    }
#if defined(REEL_CUDA_EMULATED)
    (void)panel;
    emulated_meet(!owner);
#else
    /* Two barriers in turn: an owner may come to the next one while others have not come to this one. */
    if (owner && panel % 2 == 0) asm volatile("bar.arrive 1, %0;" ::"n"(32 * WARPS) : "memory");
    if (owner && panel % 2 != 0) asm volatile("bar.arrive 2, %0;" ::"n"(32 * WARPS) : "memory");
    if (!owner && panel % 2 == 0) asm volatile("bar.sync 1, %0;" ::"n"(32 * WARPS) : "memory");
    if (!owner && panel % 2 != 0) asm volatile("bar.sync 2, %0;" ::"n"(32 * WARPS) : "memory");
#endif
}

/* U of the diagonal block but for its diagonal, whose reciprocal is `scale`. */
struct panel_factor {
    float u01, u02, u03, u12, u13, u23;
    float4 scale;
};

static __device__ __forceinline__ struct panel_factor factor_block(const float4 *block) {
    const float4 b0 = block[0], b1 = block[1], b2 = block[2], b3 = block[3]; /* columns */
    struct panel_factor f;
    f.scale.x = reciprocal_root(b0.x);
    f.u01 = b1.x * f.scale.x;
    f.u02 = b2.x * f.scale.x;
    f.u03 = b3.x * f.scale.x;
    f.scale.y = reciprocal_root(fmaf(-f.u01, f.u01, b1.y));
    f.u12 = fmaf(-f.u01, f.u02, b2.y) * f.scale.y;
    f.u13 = fmaf(-f.u01, f.u03, b3.y) * f.scale.y;
    f.scale.z = reciprocal_root(fmaf(-f.u12, f.u12, fmaf(-f.u02, f.u02, b2.z)));
    f.u23 = fmaf(-f.u12, f.u13, fmaf(-f.u02, f.u03, b3.z)) * f.scale.z;
    f.scale.w = reciprocal_root(fmaf(-f.u23, f.u23, fmaf(-f.u13, f.u13, fmaf(-f.u03, f.u03, b3.w))));
    return f;
}

/* A column's way through the forward substitution. */
static __device__ __forceinline__ float4 substitute(const struct panel_factor &f, float4 v) {
    v.x *= f.scale.x;
    v.y = fmaf(-f.u01, v.x, v.y) * f.scale.y;
    v.z = fmaf(-f.u12, v.y, fmaf(-f.u02, v.x, v.z)) * f.scale.z;
    v.w = fmaf(-f.u23, v.z, fmaf(-f.u13, v.y, fmaf(-f.u03, v.x, v.w))) * f.scale.w;
    return v;
}

/* Zeros for the rows from the n-th on. */
static __device__ __forceinline__ float4 first_rows(float4 v, int n) {
    return make_float4(v.x, n > 1 ? v.y : 0, n > 2 ? v.z : 0, n > 3 ? v.w : 0);
}

enum { BATCH = 3 }; /* columns that a lane has under way */

static __device__ __forceinline__ void load_columns(const float4 *u, int column, int columns, float4 (&v)[BATCH]) {
#pragma unroll
    for (int i = 0; i < BATCH; i++)
        if (column + 32 * i < columns) v[i] = u[column + 32 * i];
}

/* Finishes the raw rows of a panel, one warp; `inverse` gets the reciprocals of the diagonal. Rows past the last one
 * turn into zeros. */
static __device__ __forceinline__ void finish_rows(float4 *u, int panel, int tiles, int rows, float4 *inverse) {
    const int lane = (int)threadIdx.x % 32, n = rows - PANEL_ROWS * panel, columns = 8 * tiles;
    int column = panel / 2 * 8 + lane;
    float4 v[BATCH];
    __syncwarp();
    load_columns(u, column, columns, v);
    const struct panel_factor f = factor_block(u + PANEL_ROWS * panel);
    if (lane == 0) inverse[panel] = n < PANEL_ROWS ? first_rows(f.scale, n) : f.scale;
    __syncwarp(); /* all have read the block */
#pragma unroll 1
    while (column < columns) {
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            const float4 w = substitute(f, v[i]);
            if (column + 32 * i < columns) u[column + 32 * i] = w;
        }
        column += 32 * BATCH;
        load_columns(u, column, columns, v);
    }
    if (n < PANEL_ROWS)
        for (column = panel / 2 * 8 + lane; column < columns; column += 32) u[column] = first_rows(u[column], n);
    __syncwarp();
}

/* Element `at` of a panel of `columns`. Behind the last one lies what is never used, perhaps a panel that is being
 * made. */
static __device__ __forceinline__ float4 panel_element(const float4 *u, int at, int columns) {
#if defined(REEL_CUDA_EMULATED)
    if (at >= columns) return make_float4(0, 0, 0, 0);
#endif
    (void)columns;
    return u[at];
}

/* Takes a panel's rows off rows of tiles FROM .. TO - 1, whatever is in the tiles of columns past the last one. */
template <int FROM, int TO, int WARPS, int LEAST, int TILES>
static __device__ __forceinline__ void take_off(held_matrix<WARPS, LEAST, TILES> &matrix, const float4 *u,
                                                const struct held_place &place) {
    typedef held_matrix<WARPS, LEAST, TILES> held;
    if constexpr (FROM < TO) {
        float4 left[TO - FROM];
#pragma unroll
        for (int r = FROM; r < TO; r++)
            left[r - FROM] = panel_element(u, held::TILE_ROWS * r + place.row, 8 * place.tiles);
#pragma unroll
        for (int c = held::first(FROM); c < TILES; c++) {
            if (c >= held::SURE && (c - held::SURE) % 4 == 0 && c >= place.end) break;
            const float4 right = panel_element(u, 8 * c + place.column, 8 * place.tiles);
#pragma unroll
            for (int r = FROM; r < TO; r++) {
                if (held::first(r) > c) break;
                float sum = matrix.element[held::at(r, c)];
                sum = fmaf(-left[r - FROM].x, right.x, sum);
                sum = fmaf(-left[r - FROM].y, right.y, sum);
                sum = fmaf(-left[r - FROM].z, right.z, sum);
                matrix.element[held::at(r, c)] = fmaf(-left[r - FROM].w, right.w, sum);
            }
        }
    }
}

/* Puts the warp's raw rows of row of tiles ROW into a panel. */
template <int ROW, int WARPS, int LEAST, int TILES>
static __device__ __forceinline__ void put_rows(const held_matrix<WARPS, LEAST, TILES> &matrix, float *u,
                                                const struct held_place &place) {
    typedef held_matrix<WARPS, LEAST, TILES> held;
    float *at = u + 4 * place.column + place.row % PANEL_ROWS;
#pragma unroll
    for (int c = held::first(ROW); c < TILES; c++)
        if (c < held::SURE || c < place.end) at[32 * c] = matrix.element[held::at(ROW, c)];
}

/* The panels of row of tiles ROW and of those below. What the panel's own warp has not taken off its lower rows yet is
 * the panel before. */
template <int ROW, int WARPS, int LEAST, int TILES>
static __device__ __forceinline__ void factor_from(held_matrix<WARPS, LEAST, TILES> &matrix, float *panels,
                                                   float4 *inverse, const struct held_place &place) {
    typedef held_matrix<WARPS, LEAST, TILES> held;
    enum { END = held::ROW_TILES };
    const int n_panels = (place.rows + PANEL_ROWS - 1) / PANEL_ROWS;
#pragma unroll 1
    for (int own = 0; own < WARPS; own++) {
        const int panel = ROW * WARPS + own, owner = place.warp == own;
        if (panel >= n_panels) return;
        float4 *u = (float4 *)(panels + panel_at(place.tiles, panel));
        if (owner) {
            put_rows<ROW>(matrix, (float *)u, place);
            finish_rows(u, panel, place.tiles, place.rows, inverse);
        }
        if (panel + 1 == n_panels) return;
        meet<WARPS>(panel, owner);
        if (place.warp > own + 1)
            take_off<ROW, END>(matrix, u, place);
        else if (place.warp == own + 1)
            take_off<ROW, ROW + 1>(matrix, u, place);
        else if (WARPS > 1 && ROW + 1 < END && own == WARPS - 1 && place.warp == 0)
            take_off<ROW + 1, ROW + 2>(matrix, u, place);
        else {
            if (WARPS > 1 && owner && panel > 0)
                take_off<ROW + 1, END>(matrix, (float4 *)(panels + panel_at(place.tiles, panel - 1)), place);
            take_off<ROW + 1, END>(matrix, u, place);
        }
    }
    if constexpr (ROW + 1 < END) factor_from<ROW + 1>(matrix, panels, inverse, place);
}

/* ---- the solution ---- */

/* U x = y by one warp: element e of lane l is row 32 e + l, y before and x behind. 0 for a lane that sees a pivot that
 * was not positive and finite, or an element that is not finite. */
template <int ELEMENTS>
static __device__ __forceinline__ int back_substitute(float (&y)[ELEMENTS], const float *panels, const float4 *inverse,
                                                      int tiles, int rows) {
    const int lane = (int)threadIdx.x % 32;
    const float *u[ELEMENTS]; /* this lane's rows */
    int good = 1;
#pragma unroll
    for (int e = 0; e < ELEMENTS; e++) {
        const int row = 32 * e + lane < rows ? 32 * e + lane : rows - 1;
        const float scale = ((const float *)inverse)[row];
        good &= scale > 0 && scale <= FLT_MAX;
        u[e] = panels + panel_at(tiles, row / PANEL_ROWS) + row % PANEL_ROWS;
    }
#pragma unroll
    for (int e = ELEMENTS - 1; e >= 0; e--) {
        const int last = (rows - 1) / PANEL_ROWS;
#pragma unroll 1
        for (int panel = last < 8 * e + 7 ? last : 8 * e + 7; panel >= 8 * e; panel--) {
            const int first = panel % 8 * PANEL_ROWS;
            const float4 *block = (const float4 *)(panels + panel_at(tiles, panel)) + PANEL_ROWS * panel;
            const float4 scale = inverse[panel], b1 = block[1], b2 = block[2], b3 = block[3];
            float4 x = make_float4(__shfl_sync(~0u, y[e], first), __shfl_sync(~0u, y[e], first + 1),
                                   __shfl_sync(~0u, y[e], first + 2), __shfl_sync(~0u, y[e], first + 3));
            x.w *= scale.w;
            x.z = fmaf(-b3.z, x.w, x.z) * scale.z;
            x.y = fmaf(-b2.y, x.z, fmaf(-b3.y, x.w, x.y)) * scale.y;
            x.x = fmaf(-b1.x, x.y, fmaf(-b2.x, x.z, fmaf(-b3.x, x.w, x.x))) * scale.x;
#pragma unroll
            for (int above = 0; above <= e; above++) {
                const float *at = u[above] + 4 * PANEL_ROWS * panel;
                const float sum = fmaf(-at[0], x.x, fmaf(-at[4], x.y, fmaf(-at[8], x.z, fmaf(-at[12], x.w, y[above]))));
                if (above < e || lane < first) y[above] = sum;
            }
            if (lane / PANEL_ROWS == panel % 8)
                y[e] = lane % 4 == 0 ? x.x : lane % 4 == 1 ? x.y : lane % 4 == 2 ? x.z : x.w;
        }
    }
#pragma unroll
    for (int e = 0; e < ELEMENTS; e++) good &= 32 * e + lane >= rows || isfinite(y[e]);
    return good;
}

#endif
