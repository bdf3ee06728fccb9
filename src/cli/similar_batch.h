/* The second half of reel similar: lists of all movies. */
#ifndef CLI_SIMILAR_BATCH_H
#define CLI_SIMILAR_BATCH_H

#include "scoring.h"

/* Writes the n most similar movies of every movie: CSV, or .npy; `path` NULL = CSV to stdout. */
int similar_batch(struct cli *cli, const struct scoring *scoring, reel_similarity by, int n, const char *path);

#endif
