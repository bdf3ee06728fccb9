#include "scoring.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

reel_status scoring_open(struct cli *cli, const char *dataset, const char *model, int scorer, struct scoring *out,
                         reel_error *err) {
    *out = (struct scoring){0};
    reel_status status = reel_dataset_open(cli->ctx, dataset, &out->dataset, err);
    if (status == REEL_OK && model) status = reel_model_open(cli->ctx, model, &out->model, err);
    if (status == REEL_OK && model && scorer)
        status = reel_scorer_new(cli->ctx, out->dataset, out->model, &out->scorer, err);
    if (status != REEL_OK) scoring_close(out);
    return status;
}

void scoring_close(struct scoring *scoring) {
    reel_scorer_free(scoring->scorer);
    reel_model_free(scoring->model);
    reel_dataset_free(scoring->dataset);
    *scoring = (struct scoring){0};
}

static reel_status not_found(const char *what, int64_t id, const char *mend, reel_error *err) {
    err->status = REEL_NOT_FOUND;
    snprintf(err->message, sizeof err->message, "the dataset has no %s %" PRId64 "%s", what, id, mend);
    return REEL_NOT_FOUND;
}

reel_status scoring_find_movie(const reel_dataset *dataset, int64_t id, int32_t *index, reel_error *err) {
    *index = reel_dataset_movie_index(dataset, id);
    return *index >= 0 ? REEL_OK : not_found("movie", id, "", err);
}

reel_status scoring_find_user(const reel_dataset *dataset, int64_t id, int32_t *index, reel_error *err) {
    *index = reel_dataset_user_index(dataset, id);
    return *index >= 0 ? REEL_OK : not_found("user", id, " (--rated FILE takes a new user's ratings)", err);
}

static int genre_index(const reel_dataset *dataset, int n_genres, const char *name) {
    for (int g = 0; g < n_genres; g++)
        if (strcasecmp(name, reel_dataset_genre(dataset, g)) == 0) return g;
    return -1;
}

reel_status scoring_genre_bits(const reel_dataset *dataset, const struct cli_list *list, uint64_t *bits,
                               reel_error *err) {
    reel_dataset_info info;
    reel_dataset_get_info(dataset, &info);
    *bits = 0;
    for (size_t i = 0; i < list->n; i++) {
        int g = genre_index(dataset, info.n_genres, list->items[i]);
        if (g >= 0) {
            *bits |= UINT64_C(1) << g;
            continue;
        }
        char known[560];
        size_t used = 0;
        for (int k = 0; k < info.n_genres && used < sizeof known; k++)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", k ? ", " : "",
                                     reel_dataset_genre(dataset, k));
        err->status = REEL_INVALID_ARGUMENT;
        snprintf(err->message, sizeof err->message, "there is no genre %.40s (known: %s)", list->items[i],
                 info.n_genres ? known : "none");
        return REEL_INVALID_ARGUMENT;
    }
    return REEL_OK;
}

json_t *scoring_movie_json(const reel_dataset *dataset, int32_t movie) {
    reel_movie facts;
    reel_dataset_get_movie(dataset, movie, &facts);
    json_t *genres = json_array();
    for (uint64_t bits = facts.genre_bits; bits; bits &= bits - 1)
        json_array_append_new(genres, json_string(reel_dataset_genre(dataset, __builtin_ctzll(bits))));
    return json_pack("{s:i,s:s,s:o}", "id", facts.id, "title", facts.title, "genres", genres);
}

json_t *scoring_number(double value, int decimals) {
    double scale = pow(10, decimals);
    return isfinite(value) ? json_real(round(value * scale) / scale) : json_null();
}

const char *scoring_genres(const reel_dataset *dataset, uint64_t bits, char *out, size_t size) {
    if (!bits) return "(no genres listed)";
    size_t used = 0;
    out[0] = '\0';
    for (; bits && used < size; bits &= bits - 1)
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "|" : "",
                                 reel_dataset_genre(dataset, __builtin_ctzll(bits)));
    return out;
}

int scoring_title_width(const char *title) {
    int width = 0;
    for (; *title; title++) width += (*title & 0xc0) != 0x80;
    return width;
}

void scoring_print_title(const char *title, int width) {
    printf("%s%*s", title, width > scoring_title_width(title) ? width - scoring_title_width(title) : 0, "");
}

double scoring_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
