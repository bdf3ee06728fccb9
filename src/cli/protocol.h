/* What train, cv, compare, eval and split share: protocol options, algorithm help, output that is checked before the
 * work, and figures as JSON. */
#ifndef CLI_PROTOCOL_H
#define CLI_PROTOCOL_H

#include "cli.h"

/* "seed-a" and "honest-a" are the holdout of source system A: users with 100 < ratings < 1000 alone, seed-a with
 * feature means that leak. Sets both fields and returns 1 for those names, else 0. */
int protocol_of_system_a(const char *name, reel_user_range *users, int *leak_means);

/* "random", "time" or "per-user"; NULL = random. Returns -1 to go on, else an exit status. */
int protocol_split(const struct cli *cli, const char *text, reel_split_kind *out);

/* The options of cv and compare, as the command line gives them. */
struct protocol_args {
    const char *protocol, *split;
    int folds, repeats; /* 0 = not given */
    double holdout;     /* 0 = not given */
    struct cli_list train_files, test_files;
};
#define PROTOCOL_OPTIONS(args)                                                                                         \
    {"--protocol", NULL, CLI_TEXT, &(args).protocol, "P", "cv5 (default), holdout (90/10), time, seed-a or honest-a"}, \
        {"--folds", NULL, CLI_INT, &(args).folds, "N", "number of folds (default 5)"},                                 \
        {"--split", NULL, CLI_TEXT, &(args).split, "KIND", "random (default), time or per-user"},                      \
        {"--holdout", NULL, CLI_REAL, &(args).holdout, "SHARE", "hold this share out instead of folds"}, {             \
        "--repeats", NULL, CLI_INT, &(args).repeats, "N", "how many holdouts, seeds rising by 1 (default 1)"           \
    }

/* Fills `out` of the options and the seed. Returns -1 to go on, else an exit status. */
int protocol_parse(const struct cli *cli, const struct protocol_args *args, reel_protocol *out);
/* "5 random folds", "a random 10 % holdout", ...: what the protocol does, in words. */
void protocol_describe(const reel_protocol *protocol, char *out, size_t size);

/* Prints the parameters of `algorithm`, or of none the list of algorithms, after --help. */
void protocol_algorithm_help(const char *algorithm);

/* Finds out before hours of work whether `path` can be written. Returns -1 to go on, else an exit status. */
int protocol_check_output(const struct cli *cli, const char *path);

/* Adds `value`, taken over, to an object or array; when memory is out *json becomes NULL and stays so, and
 * cli_print_json reports it, so that no answer lacks a field. */
void protocol_add(json_t **json, const char *key, json_t *value);
void protocol_append(json_t **json, json_t *value);
/* NaN and infinities become null. */
json_t *protocol_real(double value);
/* {"rmse","mae","r2"} */
json_t *protocol_metrics(const reel_metrics *metrics);
/* {"n","relevant","n_users","precision",...} */
json_t *protocol_ranking(const reel_ranking *ranking);
/* One line of ranking metrics. */
void protocol_print_ranking(const char *name, const reel_ranking *ranking);
/* {"folds":[...],"mean":{...},"std":{...},...} */
json_t *protocol_cv_json(const reel_cv_report *report);
/* Adds dataset fingerprint, seed, threads, device and commit: what a figure needs to be repeated. */
void protocol_add_origin(const struct cli *cli, const reel_dataset *dataset, json_t **object);

#endif
