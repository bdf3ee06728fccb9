/* Genre similarity: the cosine of TF-IDF vectors as scikit-learn's TfidfVectorizer makes them by default
 * (smooth_idf, norm="l2"), a genre being a token and "(no genres listed)" one too:
 *   idf(t) = ln((1 + n_movies) / (1 + movies with t)) + 1,  weight = idf, a genre being listed once a movie.
 * A catalogue has far fewer distinct genre sets than movies, so cosines are taken between sets. */
#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/top_n.h"
#include "model/similar.h"

enum { NO_GENRES = 64 }; /* the token of the empty set */

static double squared_norm(const double *idf, uint64_t set) {
    double sum = set ? 0 : idf[NO_GENRES] * idf[NO_GENRES];
    for (; set; set &= set - 1) sum += idf[__builtin_ctzll(set)] * idf[__builtin_ctzll(set)];
    return sum;
}

static void fill_idf(const struct reel_dataset *dataset, double *idf) {
    int64_t movies_with[NO_GENRES + 1] = {0};
    for (int32_t m = 0; m < dataset->n_movies; m++) {
        uint64_t set = dataset->movie_genres[m];
        movies_with[NO_GENRES] += set == 0;
        for (; set; set &= set - 1) movies_with[__builtin_ctzll(set)]++;
    }
    for (int t = 0; t <= NO_GENRES; t++) idf[t] = log((1.0 + dataset->n_movies) / (1.0 + (double)movies_with[t])) + 1;
}

/* The place of `set` among ascending sets. */
static int32_t find_set(const uint64_t *sets, int32_t n, uint64_t set) {
    int32_t low = 0;
    while (n > 1) {
        int32_t half = n / 2;
        low += sets[low + half] <= set ? half : 0;
        n -= half;
    }
    return low;
}

reel_status similar_prepare_genre(struct reel_similar_index *index, reel_error *err) {
    reel_status status = REEL_OK;
    const struct reel_dataset *dataset = index->dataset;
    int32_t n = dataset->n_movies;
    uint64_t *sorted = NULL;
    TRY(MEM_RAW(&sorted, (size_t)n * 2, err));
    fill_idf(dataset, index->idf);
    for (int32_t m = 0; m < n; m++) sorted[m] = dataset->movie_genres[m];
    top_n_sort(sorted, (size_t)n, sorted + n);
    TRY(MEM_RAW(&index->sets, n, err));
    for (int32_t i = n; i-- > 0;) /* descending keys to ascending sets */
        if (i == n - 1 || sorted[i] != sorted[i + 1]) index->sets[index->n_sets++] = sorted[i];
    TRY(MEM_RAW(&index->set_norms, index->n_sets, err));
    for (int32_t s = 0; s < index->n_sets; s++) index->set_norms[s] = sqrt(squared_norm(index->idf, index->sets[s]));
    for (int32_t m = 0; m < n; m++) index->row_of[m] = find_set(index->sets, index->n_sets, dataset->movie_genres[m]);
cleanup:
    mem_free(sorted);
    return status;
}

void similar_to_set(const struct reel_similar_index *index, int32_t set, float *by_set, float *out) {
    for (int32_t s = 0; s < index->n_sets; s++) {
        uint64_t common = index->sets[set] & index->sets[s];
        double dot = common || s == set ? squared_norm(index->idf, common) : 0;
        by_set[s] = s == set ? 1 : (float)(dot / (index->set_norms[set] * index->set_norms[s]));
    }
    for (int32_t m = 0; m < index->dataset->n_movies; m++) out[m] = by_set[index->row_of[m]];
}

reel_status similar_by_genre(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err) {
    float *by_set = NULL;
    TRY_RETURN(MEM_RAW(&by_set, index->n_sets, err));
    similar_to_set(index, index->row_of[movie], by_set, out);
    mem_free(by_set);
    return REEL_OK;
}
