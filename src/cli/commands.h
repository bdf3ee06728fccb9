/* X(name, summary): every subcommand in the order of `reel --help`; cmd_<name>.c has `int cmd_<name>(...)`. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#define CLI_COMMANDS(X)                                                            \
    X(import, "read MovieLens data or any CSV of ratings into a dataset")          \
    X(gen, "write a synthetic twin of a MovieLens set, with a known truth")        \
    X(predict, "scores of (user, movie) pairs, in bulk")                           \
    X(recommend, "the best unseen movies of users, old and new")                   \
    X(similar, "the movies most like one")                                         \
    X(cluster, "cluster users by taste, and what each cluster likes")              \
    X(explore, "report on movies, votes and ratings: text, JSON, HTML with plots") \
    X(info, "describe a dataset or model file")                                    \
    X(verify, "check a dataset or model file in full, hashes included")            \
    X(train, "fit a model and save it")                                            \
    X(cv, "cross-validate an algorithm")                                           \
    X(compare, "rank several models on the same folds")                            \
    X(export, "models as .npy and for XGBoost, collections as NDJSON")             \
    X(import_model, "trees that XGBoost or LightGBM saved, for scoring")           \
    X(eval, "measure a saved model on a file of ratings")                          \
    X(features, "write the table of features that trees see")                      \
    X(split, "write folds as CSV files")                                           \
    X(serve, "the HTTP service")                                                   \
    X(jobs, "jobs of a service: list, submit, cancel, run")                        \
    X(doctor, "what this machine and build offer, and what to install")

#endif
