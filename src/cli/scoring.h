/* What predict, recommend and similar share. */
#ifndef CLI_SCORING_H
#define CLI_SCORING_H

#include "cli.h"

struct scoring {
    reel_dataset *dataset;
    reel_model *model;   /* NULL where the command needs none */
    reel_scorer *scorer; /* NULL where the command needs none */
};

/* Opens a dataset and, if `model` is not NULL, a model and, if `scorer` is not 0, the two bound together. */
reel_status scoring_open(struct cli *cli, const char *dataset, const char *model, int scorer, struct scoring *out,
                         reel_error *err);
void scoring_close(struct scoring *scoring);

/* Fails with NOT_FOUND. */
reel_status scoring_find_movie(const reel_dataset *dataset, int64_t id, int32_t *index, reel_error *err);
reel_status scoring_find_user(const reel_dataset *dataset, int64_t id, int32_t *index, reel_error *err);
/* Bits of the genres named in `list`, in any case; INVALID_ARGUMENT lists the dataset's genres. */
reel_status scoring_genre_bits(const reel_dataset *dataset, const struct cli_list *list, uint64_t *bits,
                               reel_error *err);

/* {"id","title","genres":[...]} */
json_t *scoring_movie_json(const reel_dataset *dataset, int32_t movie);
/* A number with `decimals` digits, null for NaN. */
json_t *scoring_number(double value, int decimals);
/* "Action|Drama", or "(no genres listed)". */
const char *scoring_genres(const reel_dataset *dataset, uint64_t bits, char *out, size_t size);
/* Columns that a title takes on a terminal: its characters, not its bytes. */
int scoring_title_width(const char *title);
void scoring_print_title(const char *title, int width);

double scoring_clock(void);

#endif
