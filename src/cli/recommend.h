/* The two halves of reel recommend: one user's list, and lists for many users. */
#ifndef CLI_RECOMMEND_H
#define CLI_RECOMMEND_H

#include "scoring.h"

struct recommend_args {
    const char *dataset, *model;
    int64_t user;                      /* -1 = none */
    const char *rated;                 /* file of a visitor's ratings, or NULL */
    const char *users;                 /* file of user ids, or NULL */
    int all;                           /* every user */
    const char *path;                  /* of users or all */
    int explain;                       /* flag */
    const char *candidates, *clusters; /* "cluster" and the cluster file, or NULL */
    struct cli_list genres;
    int64_t min_ratings;
    reel_recommend_query query; /* n, offset, years */
};

/* Prints the list of args->user or of the visitor. */
int recommend_one(struct cli *cli, const struct scoring *scoring, const struct recommend_args *args);
/* Writes the lists of args->users or of everybody: CSV or .npy. */
int recommend_batch(struct cli *cli, const struct scoring *scoring, const struct recommend_args *args);

#endif
