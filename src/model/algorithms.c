/* The table of algorithms: the one place that lists them. */
#include <string.h>

#include "core/mem.h"
#include "model/model.h"

#define ALGORITHMS(X) X(mean) X(bias) X(svd) X(als) X(bmf) X(blend) X(gbdt) X(forest) X(tree) X(adaboost) X(linear)

#define ALGORITHM_NAME(name) #name,
static const char *const algorithm_names[] = {ALGORITHMS(ALGORITHM_NAME) NULL};
#define ALGORITHM_ENTRY(name) &algorithm_##name,
static const struct algorithm *const algorithms[] = {ALGORITHMS(ALGORITHM_ENTRY)};

const char *const *reel_algorithms(void) {
    return algorithm_names;
}

const struct algorithm *algorithm_find(const char *name) {
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
        if (strcmp(algorithms[i]->name, name) == 0) return algorithms[i];
    /* Scores, but is not fitted: no name on the list. */
    return strcmp(name, algorithm_imported.name) == 0 ? &algorithm_imported : NULL;
}

static void describe_param(struct strbuf *text, const struct param_spec *spec) {
    strbuf_printf(text, "  %s=%s", spec->key, *spec->default_value ? spec->default_value : "(unset)");
    strbuf_printf(text, "  %s", spec->help);
    if (spec->type == PARAM_CHOICE) strbuf_printf(text, " (%s)", spec->choices);
    if (spec->type == PARAM_INT || spec->type == PARAM_REAL)
        strbuf_printf(text, " (%.10g to %.10g)", spec->min, spec->max);
    strbuf_puts(text, "\n");
}

char *reel_algorithm_help(const char *name) {
    const struct algorithm *algorithm = name ? algorithm_find(name) : NULL;
    if (!algorithm) return NULL;
    struct strbuf text = {0};
    strbuf_printf(&text, "%s: %s\n", algorithm->name, algorithm->summary);
    for (size_t i = 0; i < algorithm->n_params; i++) describe_param(&text, &algorithm->params[i]);
    return strbuf_take(&text);
}
