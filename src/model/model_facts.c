/* What a model tells of itself: feature importances and losses by stage. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json_text.h"
#include "data/star.h"
#include "model/model.h"

struct importance {
    const char *feature;
    float share;
};

static int compare(const void *a, const void *b) {
    const struct importance *x = a, *y = b;
    if (x->share != y->share) return x->share > y->share ? -1 : 1;
    return strcmp(x->feature, y->feature);
}

/* Name c of a text column, NULL where the texts are no texts: a model of another kind was not asked for them before. */
static const char *name_at(const struct tensor *offsets, const struct tensor *names, int64_t c) {
    const int64_t *begins = offsets->data;
    if (begins[c] < 0 || begins[c] >= begins[c + 1] || begins[c + 1] > names->n) return NULL;
    const char *text = (const char *)names->data + begins[c];
    return text[begins[c + 1] - begins[c] - 1] == '\0' ? text : NULL;
}

/* 1 when there is nothing to add or it was added. */
static int add_importances(const struct tensor_set *set, json_t *object) {
    struct importance sorted[STAR_COLUMNS_MAX];
    const struct tensor *shares = tensor_set_find(set, "importances");
    const struct tensor *offsets = tensor_set_find(set, "column_name_offsets"), *names;
    names = tensor_set_find(set, "column_names");
    if (!shares || !offsets || !names || shares->dtype != DTYPE_F32 || shares->n > STAR_COLUMNS_MAX ||
        offsets->dtype != DTYPE_I64 || names->dtype != DTYPE_U8 || offsets->n != shares->n + 1)
        return 1;
    for (int64_t c = 0; c < shares->n; c++) {
        sorted[c] = (struct importance){name_at(offsets, names, c), ((const float *)shares->data)[c]};
        if (!sorted[c].feature || !isfinite(sorted[c].share)) return 1;
    }
    qsort(sorted, (size_t)shares->n, sizeof *sorted, compare);
    json_t *list = json_array();
    int good = list != NULL;
    for (int64_t c = 0; good && c < shares->n; c++)
        good = json_array_append_new(
                   list, json_pack("{s:s,s:f}", "feature", sorted[c].feature, "share", (double)sorted[c].share)) == 0;
    return json_object_set_new(object, "importances", list) == 0 && good;
}

static int add_losses(const struct tensor_set *set, const char *name, json_t *object) {
    const struct tensor *losses = tensor_set_find(set, name);
    if (!losses || losses->dtype != DTYPE_F64) return 1;
    json_t *list = json_array();
    int good = list != NULL;
    for (int64_t i = 0; good && i < losses->n; i++) {
        double loss = ((const double *)losses->data)[i];
        good = json_array_append_new(list, isfinite(loss) ? json_real(loss) : json_null()) == 0;
    }
    return json_object_set_new(object, name, list) == 0 && good;
}

char *reel_model_facts(const reel_model *model) {
    json_t *object = json_object();
    int good = object && add_importances(model->set, object) && add_losses(model->set, "train_loss", object) &&
               add_losses(model->set, "validation_loss", object);
    char *text = good ? json_text(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}
