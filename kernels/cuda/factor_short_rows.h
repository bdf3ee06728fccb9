/* What is made ready, once a half-step, for rows that are solved in as many unknowns as they have ratings
 * (factor_dual.h). */
#ifndef KERNELS_CUDA_FACTOR_SHORT_ROWS_H
#define KERNELS_CUDA_FACTOR_SHORT_ROWS_H

#include <math.h>

#include "kernels/cuda/factor_basis.h"
#include "kernels/cuda/factor_gram.h"

/* The prior is ridge I with mean 0 and nothing is drawn: coordinates stay as they are. */
static inline int plain_prior(const struct factor_solve_args *args, int solved) {
    if (args->noise || args->row_offsets) return 0;
    for (int i = 0; i < solved; i++) {
        const float *row = args->prior_precision + (size_t)i * (size_t)args->stride;
        if (row[i] != args->prior_precision[0] || args->prior_shift[i] != 0) return 0;
        for (int j = 0; j < solved; j++)
            if (j != i && row[j] != 0) return 0;
    }
    return args->prior_precision[0] > 0;
}

static inline int has_mean(const struct factor_solve_args *args, int solved) {
    int mean = args->noise || args->row_offsets;
    for (int i = 0; i < solved; i++) mean |= args->prior_shift[i] != 0;
    return mean;
}

/* The columns' vectors in the prior's coordinates, in working memory. */
static inline reel_status enter_basis(struct cuda_backend *cuda, const struct factor_solve_args *args,
                                      struct solve_params *p, struct basis *basis, reel_error *err) {
    const size_t vectors = factor_aligned((size_t)args->n_columns * (size_t)p->stride * sizeof(float));
    const struct basis_change change = {.in = p->column_vectors,
                                        .n = args->n_columns,
                                        .d = p->solved,
                                        .stride = p->stride,
                                        .one = p->biases ? p->k : -1,
                                        .clear = 1};
    char *at;
    TRY_RETURN(basis_place(cuda, args, p->solved, vectors + halves_bytes(args->n_columns, p->solved), basis, &at, err));
    TRY_RETURN(basis_launch(cuda, &change, basis->columns, (float *)at, err));
    p->dual.vectors = (float *)at;
    p->dual.halves = (uint4 *)(at + vectors);
    p->dual.mean = basis->mean;
    p->dual.largest = &p->report->largest_in_basis;
    return halves_make(cuda, p->dual.vectors, args->n_columns, p->solved, p->stride, &p->report->largest_in_basis,
                       (uint4 *)(at + vectors), err);
}

/* How short rows are solved; returns the ratings of the longest one, -1: all rows are solved in d unknowns. */
static inline int plan_short_rows(const struct factor_solve_args *args, struct solve_params *p) {
    struct dual_params *dual = &p->dual;
    const int plain = plain_prior(args, p->solved);
    *dual = {.unit = !plain, .elements = plain ? p->k : p->solved, .target_noise = factor_target_noise(p->solved)};
    dual->centre = !plain && has_mean(args, p->solved);
    dual->pieces = halves_pieces(dual->elements);
    dual->width = (dual->pieces + 1) / 2 * 2;
    dual->noise_scale = 1 / sqrtf(args->alpha);
    dual->diagonal = 1 / args->alpha;
    dual->precision = args->prior_precision[0];
    dual->vectors = p->column_vectors;
    dual->halves = p->halves;
    dual->largest = &p->report->largest;
    return plain || (args->prior_root && args->ridge_per_rating == 0) ? factor_short_row(p->solved) : -1;
}

#endif
