/* Trees that other programs saved, checked node by node before they become a forest of named feature columns.
 *
 * What "missing" values would do is of no interest: no column of the feature star is ever missing. */
#ifndef MODEL_FOREIGN_FOREST_H
#define MODEL_FOREIGN_FOREST_H

#include "model/forest.h"

struct foreign_forest {
    const char *path;        /* for messages */
    const struct star *star; /* the columns there are */
    int32_t n_features;
    int32_t *columns;              /* (n_features,) of the star; -1 = it has none of that name */
    char (*names)[64];             /* (n_features,) cut to that length */
    struct forest_builder builder; /* the trees so far */
    double base;
};

/* A node as the file has it, children by their place in the tree. */
struct foreign_node {
    int32_t feature;     /* -1 = leaf */
    int32_t left, right; /* anything: not yet checked */
    float value;         /* values above go right; or what the leaf adds; finite */
};

/* Room for n features, none of which has a column yet; n <= 2^20. */
reel_status foreign_begin(struct foreign_forest *forest, int64_t n_features, reel_error *err);
/* The name of the next feature; ' ' and '_' are the same. BAD_INPUT when there are more than was said. */
reel_status foreign_name(struct foreign_forest *forest, int32_t feature, const char *name, size_t length,
                         reel_error *err);
/* Adds tree number `tree`, its root first. BAD_INPUT: a child out of range or reached twice, a feature that the file or
 * the star does not have, more than FOREST_DEPTH_MAX levels. */
reel_status foreign_add_tree(struct foreign_forest *forest, int32_t tree, const struct foreign_node *nodes, int32_t n,
                             reel_error *err);
void foreign_free(struct foreign_forest *forest);

/* XGBoost's JSON model (since 1.0): gbtree, one output, objectives whose scores are sums of leaves. It goes left where
 * x < t; so values above the float below t go right. */
reel_status xgboost_read(struct foreign_forest *forest, const char *data, size_t size, reel_error *err);
/* LightGBM's text model (v3, v4): one output, no linear leaves, no categories. It goes left where x <= t, t a double;
 * so values above the largest float that is not above t go right. Leaves are rounded to float. */
reel_status lightgbm_read(struct foreign_forest *forest, const char *data, size_t size, reel_error *err);

#endif
