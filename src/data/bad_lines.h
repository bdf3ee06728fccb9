/* What to do about a malformed line: stop with an error that names it, or (skip_bad) count it, list the
 * first few and go on. */
#ifndef DATA_BAD_LINES_H
#define DATA_BAD_LINES_H

#include "core/context.h"

struct bad_lines {
    reel_context *ctx;
    int skip;           /* 1: go on */
    int64_t max_listed; /* how many are logged in full, over all files */
    int64_t listed;     /* logged so far */
    int64_t count;      /* met so far; only skipped ones are counted */
};

/* A bad line of `file`. Stopping: fills *err with "FILE:LINE: ..." and returns BAD_INPUT. Skipping: counts
 * and perhaps logs it, returns OK. */
__attribute__((format(printf, 5, 6))) reel_status bad_lines_add(struct bad_lines *bad, const char *file, int64_t line,
                                                                reel_error *err, const char *format, ...);
/* Logs a line that was counted elsewhere while there is room in the list; 0 when the list is full. */
__attribute__((format(printf, 4, 5))) int bad_lines_list(struct bad_lines *bad, const char *file, int64_t line,
                                                         const char *format, ...);

#endif
