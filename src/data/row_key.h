/* Rows of a file that are keyed by an id: put in order, repeats found. */
#ifndef DATA_ROW_KEY_H
#define DATA_ROW_KEY_H

#include <stddef.h>
#include "data/bad_lines.h"

/* The first member of each record. */
struct row_key {
    int32_t id;
    int64_t line;
};

/* Sorts n records of `size` bytes by id. An id met again is a bad line of `file` ("<noun> 5 was <verb>
 * before, in line 7"): skipping keeps the first, otherwise the repeat that comes first in the file is the
 * error. *n = records left. */
reel_status row_key_unique(void *records, int64_t *n, size_t size, const char *noun, const char *verb, const char *file,
                           struct bad_lines *bad, reel_error *err);

#endif
