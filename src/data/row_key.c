#include "data/row_key.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"

static int compare_keys(const void *a, const void *b) {
    const struct row_key *left = a, *right = b;
    if (left->id != right->id) return left->id < right->id ? -1 : 1;
    return left->line < right->line ? -1 : left->line > right->line;
}

static reel_status repeat(const struct row_key *again, const struct row_key *first, const char *noun, const char *verb,
                          const char *file, struct bad_lines *bad, reel_error *err) {
    return bad_lines_add(bad, file, again->line, err, "%s %" PRId32 " was %s before, in line %" PRId64, noun, again->id,
                         verb, first->line);
}

reel_status row_key_unique(void *records, int64_t *n, size_t size, const char *noun, const char *verb, const char *file,
                           struct bad_lines *bad, reel_error *err) {
    char *base = records;
    struct row_key *first = NULL, *earliest = NULL, *earliest_first = NULL;
    int64_t kept = 0;
    int ascending = 1;
    for (int64_t i = 1; i < *n; i++)
        ascending &= ((struct row_key *)(void *)(base + (size_t)(i - 1) * size))->id <
                     ((struct row_key *)(void *)(base + (size_t)i * size))->id;
    if (ascending) return REEL_OK;
    qsort(records, (size_t)*n, size, compare_keys);
    for (int64_t i = 0; i < *n; i++) {
        struct row_key *key = (struct row_key *)(void *)(base + (size_t)i * size);
        if (first && first->id == key->id) {
            if (bad->skip) TRY_RETURN(repeat(key, first, noun, verb, file, bad, err));
            if (!earliest || key->line < earliest->line) {
                earliest = key;
                earliest_first = first;
            }
            continue;
        }
        first = (struct row_key *)(void *)(base + (size_t)kept++ * size);
        /* Without skipping the first repeat in the file is still to be told: nothing moves until then. */
        if (!bad->skip) first = key;
        if (bad->skip && first != key) memcpy(first, key, size);
    }
    if (earliest && !bad->skip) return repeat(earliest, earliest_first, noun, verb, file, bad, err);
    *n = kept;
    return REEL_OK;
}
