/* What the targets of other programs' trees share: any bytes are read as a model over a small star. What is accepted
 * must be a forest: children behind their parents, known columns, finite numbers. */
#ifndef TESTS_FUZZ_FOREIGN_H
#define TESTS_FUZZ_FOREIGN_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/foreign_forest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition) {
    if (!condition) abort();
}

static void check_forest(const struct foreign_forest *forest) {
    const struct forest_builder *builder = &forest->builder;
    demand(builder->n_trees > 0 && isfinite(forest->base));
    for (int32_t t = 0; t < builder->n_trees; t++)
        for (int32_t at = builder->offsets[t]; at < builder->offsets[t + 1]; at++) {
            const struct forest_node *node = &builder->nodes[at];
            demand(node->column >= -1 && node->column < forest->star->n_columns && isfinite(node->value));
            if (node->column < 0) continue;
            demand(node->left > at && node->left < builder->offsets[t + 1]);
            demand(node->right > at && node->right < builder->offsets[t + 1]);
        }
}

static void read_as(reel_status (*read)(struct foreign_forest *forest, const char *data, size_t size, reel_error *err),
                    const uint8_t *data, size_t size) {
    static const struct star star = {
        .n_columns = 3, .columns = {{.name = "user_rt_mean"}, {.name = "popularity"}, {.name = "Science Fiction"}}};
    struct foreign_forest forest = {.path = "input", .star = &star};
    reel_error err;
    /* Memory of the exact size, so that a read past the end is seen. */
    char *copy = malloc(size + 1);
    demand(copy != NULL);
    if (size) memcpy(copy, data, size);
    char *exact = realloc(copy, size ? size : 1);
    reel_status status = read(&forest, exact ? exact : copy, size, &err);
    if (status == REEL_OK) check_forest(&forest);
    demand(status == REEL_OK || status == REEL_BAD_INPUT);
    if (status != REEL_OK) demand(strncmp(err.message, "input", 5) == 0);
    foreign_free(&forest);
    free(exact ? exact : copy);
}

#endif
